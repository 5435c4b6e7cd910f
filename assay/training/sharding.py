"""One learner over several processes: weights, gradients and moments sharded (FSDP2).

With an initialised process group each process holds a part of every weight and computes a part of
every forward pass. Without one, all of this does nothing. It uses torch's own `fully_shard` and
`torch.distributed.checkpoint`: accelerate would add nothing.

This module does not check that all processes make the same calls in the same order. They must.
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

from assay.inference.expert_stacks import split_experts, stack_experts

#: Folder for the parts of all processes, beside a state that is being written.
PARTS = ".parts.tmp"


def is_in_team() -> bool:
    """Return whether this process has joined a team, even a team of one."""
    return dist.is_available() and dist.is_initialized()


def get_team() -> tuple[int, int]:
    """This process's rank, and the number of processes; (0, 1) without a team."""
    return (dist.get_rank(), dist.get_world_size()) if is_in_team() else (0, 1)


def shard(model: nn.Module, device: torch.device, offload: bool) -> None:
    """Spread a model's weights over the team: each layer is gathered at its turn. Weights on
    torch's `meta` device then have no values, in each process its own part.

    Args:
        offload: keep weights and gradients on the CPU, where they are updated, and bring a layer's
            to the device at its turn.
    """
    place = torch.device("cpu") if offload else device
    empty = next(model.parameters()).is_meta
    if not empty:
        model.to(place)
    mesh = init_device_mesh(device.type, (get_team()[1],))
    # a GPU copies from pinned memory
    policy = CPUOffloadPolicy(pin_memory=device.type != "cpu") if offload else OffloadPolicy()
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for layer in module:
                fully_shard(layer, mesh=mesh, offload_policy=policy)
    fully_shard(model, mesh=mesh, offload_policy=policy)
    if empty:
        buffers = dict(model.named_buffers())
        model.to_empty(device=place)
        for name, buffer in buffers.items():
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, buffer.to(device))


def gather(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be spread, on every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """Spread a whole tensor as `like` is."""
    if isinstance(like, DTensor) and tensor.shape == like.shape:
        return distribute_tensor(tensor, like.device_mesh, like.placements)
    return tensor


def load_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill spread tensors from the safetensors files of a folder, by name: each process reads its
    own rows. The number of processes that wrote them may differ. Raises RuntimeError: one of them
    lacks a tensor, or has it in another size."""
    try:
        load(dict(tensors), storage_reader=HuggingFaceStorageReader(str(folder)))
    except CheckpointException as error:  # of any process, reported to all
        raise RuntimeError(f"{folder} cannot be read: {_name_reason(error)}") from None


def load_weights(weights: Mapping[str, Tensor], family: str, folder: Path) -> None:
    """The same for the weights of a model. Stacked experts have tensors of their own in files: each
    process reads all of a stack, one after the other.

    Args:
        weights: by their names in the model.
        family: its `model_type`.
    """
    alone: dict[str, Tensor] = {}
    for name, weight in weights.items():
        outline = torch.empty(weight.shape, dtype=weight.dtype, device="meta")
        parts = {
            n: torch.empty_like(p, device="cpu") for n, p in split_experts(family, name, outline)
        }
        if len(parts) == 1:
            alone |= dict.fromkeys(parts, weight)
            continue
        load_tensors(parts, folder)
        (whole,) = stack_experts(family, parts).values()
        with torch.no_grad():
            weight.copy_(spread(whole.to(weight.device), weight))
    load_tensors(alone, folder)


def load_file_into(tensors: Mapping[str, Tensor], path: Path) -> None:
    """The same from one file, whatever else its folder has."""
    with ExitStack() as stack:
        fault = None
        try:
            alone = Path(stack.enter_context(TemporaryDirectory(prefix="assay-")))
            (alone / "state.safetensors").symlink_to(path.resolve(strict=True))
        except OSError as error:
            fault = str(error)
        agree({}, fault)
        load_tensors(tensors, alone)


def agree(seen: Mapping[str, str], fault: str | None) -> None:
    """Raise an error in all processes if one of them has failed.

    Args:
        seen: values by name that all should have alike.
        fault: the fault of this process; None: nothing.

    Raises:
        RuntimeError: in every process, if one has a fault, or values differ: names these.
    """
    reports: list[tuple[Mapping[str, str], str | None]] = [({}, None)] * get_team()[1]
    dist.all_gather_object(reports, (seen, fault))
    first, _ = reports[0]
    for rank, (other, why) in enumerate(reports):
        if why is not None:
            raise RuntimeError(f"process {rank}: {why}")
        names = [n for n in dict.fromkeys([*first, *other]) if first.get(n) != other.get(n)]
        if names:
            theirs, ours = (
                ", ".join(f"{name} {values.get(name)}" for name in names)
                for values in (other, first)
            )
            raise RuntimeError(f"process {rank} sees {theirs}, and the first {ours}")


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file. In a team each process writes its part. Then the first process
    assembles them, a part of a tensor at a time."""
    if not is_in_team():
        save_file(dict(tensors), path)
        return
    rank, _ = get_team()
    parts = path.parent / PARTS
    if rank == 0:
        shutil.rmtree(parts, ignore_errors=True)  # of a killed team
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
    """Sum each value over the team."""
    if not is_in_team():
        return values
    total: Any = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total]
