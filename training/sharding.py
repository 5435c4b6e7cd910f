"""One learner over several processes: weights, gradients and moments sharded (FSDP2).

With an initialised process group each process holds a part of every weight and computes a part of
every forward pass. Without one, all of this does nothing. It is torch's own `fully_shard` and
`torch.distributed.checkpoint`: there is nothing here that accelerate would add.

It does not know whether all processes make the same calls in the same order. They must.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

#: Folder beside a state that is being written, with each process's part of it.
PARTS = ".parts.tmp"


def is_in_team() -> bool:
    """Whether this process has joined a team, if only of one."""
    return dist.is_available() and dist.is_initialized()


def get_team() -> tuple[int, int]:
    """This process's rank, and how many there are; (0, 1) for one that is alone."""
    return (dist.get_rank(), dist.get_world_size()) if is_in_team() else (0, 1)


def shard(model: nn.Module, device: torch.device, offload: bool) -> None:
    """Spreads a model's weights over the team: each layer is gathered when it is its turn. A model
    on torch's `meta` device then has weights without values, in each process its own part.

    Args:
        offload: keep weights and gradients on the processor, where they are updated, and bring a
            layer's to the device for its turn.
    """
    place = torch.device("cpu") if offload else device
    empty = next(model.parameters()).is_meta
    if not empty:
        model.to(place)
    mesh = init_device_mesh(device.type, (get_team()[1],))
    # pinned memory is what a card copies from
    policy = CPUOffloadPolicy(pin_memory=device.type != "cpu") if offload else OffloadPolicy()
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for layer in module:
                fully_shard(layer, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)
    if empty:
        model.to_empty(device=place)
        _compute_buffers(model, device)


def _compute_buffers(model: nn.Module, device: torch.device) -> None:
    """Computes the buffers that no file holds: a rotary embedding's frequencies, from its
    config."""
    for module in model.modules():
        own = dict(module.named_buffers(recurse=False))
        if own:
            make: Any = type(module)
            fresh = make(module.config)
            for name in own:
                setattr(module, name, fresh.get_buffer(name).to(device))


def gather(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread, on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread as `like` is."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def load_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fills tensors that are spread from the safetensors files of a folder, by name: each process
    reads its own rows. Another number of processes may have written them. Raises RuntimeError: one
    of them lacks a tensor, or has it in another size."""
    try:
        load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)))
    except CheckpointException as error:  # of whichever process, told to all
        raise RuntimeError(f"{folder} cannot be read: {_name_reason(error)}") from None


def load_file_into(tensors: Mapping[str, Tensor], path: Path) -> None:
    """The same from one file, whatever lies beside it."""
    with ExitStack() as stack:
        fault = None
        try:
            alone = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
            (alone / "state.safetensors").symlink_to(path.resolve(strict=True))
        except OSError as error:
            fault = str(error)
        agree(None, fault)
        load_tensors(tensors, alone)


def agree(seen: object, fault: str | None) -> None:
    """Raises in all processes where one of them alone has failed.

    Args:
        seen: what all should see alike.
        fault: what is wrong in this process; None: nothing.

    Raises:
        RuntimeError: in every process, if something is wrong in one, or seen otherwise.
    """
    found: list[tuple[object, str | None]] = [(None, None)] * get_team()[1]
    dist.all_gather_object(found, (seen, fault))
    for rank, (other, why) in enumerate(found):
        if why is not None:
            raise RuntimeError(f"process {rank}: {why}")
        if other != found[0][0]:
            raise RuntimeError(f"process {rank} sees {other}, and the first {found[0][0]}")


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes one safetensors file. Of a team each process writes its part; then the first puts them
    together, a part of a tensor at a time."""
    if not is_in_team():
        save_file(dict(tensors), path)
        return
    rank, _ = get_team()
    parts = path.parent / PARTS
    if rank == 0:
        shutil.rmtree(parts, ignore_errors=True)  # of a team that was killed
    dist.barrier()
    writer = HuggingFaceStorageWriter(str(parts), save_distributed=True, enable_consolidation=True)
    try:
        save(dict(tensors), storage_writer=writer)
        if rank == 0:
            (whole,) = parts.glob("*.safetensors")
            os.replace(whole, path)
    except CheckpointException as error:
        raise OSError(f"{path} cannot be written: {_name_reason(error)}") from None
    finally:
        if rank == 0:
            shutil.rmtree(parts, ignore_errors=True)


def _name_reason(error: CheckpointException) -> str:
    """The error of the first process that failed, on one line."""
    reasons = [str(failure[0]) for failure in error.failures.values()]
    return reasons[0].partition("\n")[0]


def add_up(values: list[float]) -> list[float]:
    """Each value, summed over the team."""
    if not is_in_team():
        return values
    total: Any = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total]
