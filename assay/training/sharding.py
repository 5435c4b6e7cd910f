"""One learner over several processes: weights, gradients and moments sharded (FSDP2).

With an initialised process group each process holds a part of every weight and computes a part of
every forward pass. Without one, all of this does nothing. It uses torch's own `fully_shard`:
accelerate would add nothing.

Only the first process reads and writes files. `torch.distributed.checkpoint` has each process read
and write its own, in a folder that all of them see: processes on several hosts have none.

This module does not check that all processes make the same calls in the same order. They must.
"""

import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from assay.inference.expert_stacks import split_experts, stack_experts
from assay.inference.folder import make_header

_T = TypeVar("_T")
#: Types of numbers → their names in safetensors files.
_KINDS = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_TYPES = {name: kind for kind, name in _KINDS.items()}
#: Most bytes of what `tell` and `agree` send: names of tensors, settings, a fault. Of a fault, most
#: characters.
_WORDS_MAX, _FAULT_MAX = 1 << 26, 1 << 14


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


def load_tensors(tensors: Mapping[str, Tensor], place: Path, family: str | None = None) -> None:
    """Fill spread tensors from safetensors files, by name. The first process reads them, a tensor
    at a time, and hands each process its own rows: the others need no files. The number of
    processes that wrote them may differ.

    Args:
        tensors: the same names, in the same order, in all processes.
        place: a file, or a folder of files.
        family: a model's `model_type`. Its stacked experts have tensors of their own in files.

    Raises:
        OSError: in every process: a file cannot be read at present, or rows did not arrive as they
            were sent.
        DisagreementError: in every process: a file is not safetensors, or a tensor is missing or
            has another size.
    """
    rank, size = get_team()
    sent, own = [sha256() for _ in range(size)], sha256()
    unread: str | None = None
    with ExitStack() as opened:
        files, fault = _Files(place, family, opened), None
        kinds: list[torch.dtype] = []
        if rank == 0:
            try:
                kinds = files.find(tensors)
            except OSError as error:
                unread = str(error)
            except (SafetensorError, ValueError) as error:
                fault = f"{place} cannot be read: {error}"
        _agree_on_file(f"{place} cannot be read", unread)
        agree({}, fault)
        told = tell([_KINDS[kind] for kind in kinds])
        for (name, tensor), kind in zip(tensors.items(), told, strict=True):
            whole = torch.empty(tensor.shape, dtype=_TYPES[kind], device=_find_device(tensor))
            if rank == 0:
                try:
                    whole = files.read(name)
                except (OSError, SafetensorError) as error:  # the others wait for something
                    unread = unread or str(error)
            part = _hand_out(whole, tensor)
            _get_own(tensor).copy_(part)
            if size > 1:
                own.update(_view_bytes(part))
                for share, rows in zip(sent, _split(whole, tensor, size), strict=False):
                    share.update(_view_bytes(rows))
    expected = tell([share.hexdigest() for share in sent])
    if size > 1 and own.hexdigest() != expected[rank]:
        unread = unread or "tensors did not arrive as they were sent"
    _agree_on_file(f"{place} cannot be read", unread)


class _Files:
    """The tensors of safetensors files, as the first process reads them.

    Args:
        place, family: see `load_tensors`.
        opened: closes the files.
    """

    def __init__(self, place: Path, family: str | None, opened: ExitStack) -> None:
        self._place = place
        self._family = family
        self._opened = opened
        self._stored: dict[str, Any] = {}
        self._parts: dict[str, list[str]] = {}

    def find(self, tensors: Mapping[str, Tensor]) -> list[torch.dtype]:
        """The stored types of tensors, in their order.

        Raises:
            OSError, SafetensorError: a file cannot be read.
            ValueError: a tensor is missing, or has another size or type.
        """
        place = self._place
        for path in sorted(place.glob("*.safetensors")) if place.is_dir() else [place]:
            file = self._opened.enter_context(safe_open(path, framework="pt"))
            self._stored |= dict.fromkeys(file.keys(), file)
        return [self._find_one(name, tensor) for name, tensor in tensors.items()]

    def _find_one(self, name: str, tensor: Tensor) -> torch.dtype:
        outline = torch.empty(tensor.shape, device="meta")
        parts = {name: outline}
        if self._family is not None:
            parts = dict(split_experts(self._family, name, outline))
        kinds = set()
        for part, wanted in parts.items():
            if part not in self._stored:
                raise ValueError(f"it has no tensor {part}")
            stored = self._stored[part].get_slice(part)
            kinds.add(stored.get_dtype())
            if list(wanted.shape) != stored.get_shape():
                is_of = f"is of size {stored.get_shape()}, not {list(wanted.shape)}"
                raise ValueError(f"its tensor {part} {is_of}")
        self._parts[name] = list(parts)
        for kind, called in _KINDS.items():
            if kinds == {called}:
                return kind
        raise ValueError(f"its tensor {name} has numbers of type {', '.join(sorted(kinds))}")

    def read(self, name: str) -> Tensor:
        """A tensor that was found. Raises OSError, SafetensorError."""
        parts = {part: self._stored[part].get_tensor(part) for part in self._parts[name]}
        if len(parts) > 1:
            assert self._family is not None
            parts = stack_experts(self._family, parts)
        (whole,) = parts.values()
        return whole


def read_names(path: Path) -> list[str]:
    """The names of a file's tensors, sorted, in every process; the first one reads it.

    Raises:
        OSError: in every process: it cannot be read at present.
        DisagreementError: in every process: it is not safetensors.
    """
    names, unread, fault = [], None, None
    if get_team()[0] == 0:
        try:
            with safe_open(path, framework="pt") as file:
                names = sorted(file.keys())
        except OSError as error:
            unread = str(error)
        except SafetensorError as error:
            fault = f"{path} cannot be read: {error}"
    _agree_on_file(f"{path} cannot be read", unread)
    agree({}, fault)
    return tell(names)


def tell(value: _T) -> _T:
    """The first process's value, which JSON can hold, in every process."""
    if not is_in_team():
        return value
    told: _T = json.loads(tell_bytes(json.dumps(value).encode(), _WORDS_MAX))
    return told


def tell_bytes(data: bytes, most: int) -> bytes:
    """The first process's bytes, in every process. Raises ValueError: there are more than
    `most`."""
    length = torch.tensor([len(data)])
    if get_team()[0] == 0:
        _require_size(length, most)
    dist.broadcast(length, src=0)
    told = torch.empty(_require_size(length, most), dtype=torch.uint8)
    if get_team()[0] == 0:
        told = _view_tensor(data)
    dist.broadcast(told, src=0)
    return _view_bytes(told).tobytes()


def _gather_bytes(mine: bytes, most: int) -> list[bytes]:
    """The bytes of each process, in every process. Raises ValueError: one has more than `most`."""
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(get_team()[1])]
    dist.all_gather(lengths, torch.tensor([len(mine)]))
    sizes = [_require_size(length, most) for length in lengths]
    parts = [torch.zeros(max(sizes), dtype=torch.uint8) for _ in sizes]
    dist.all_gather(parts, _view_tensor(mine.ljust(max(sizes), b" ")))
    return [_view_bytes(part[:size]).tobytes() for part, size in zip(parts, sizes, strict=True)]


def _require_size(length: Tensor, most: int) -> int:
    size = int(length)
    if not 0 < size <= most:
        raise ValueError(f"{size:,} bytes for a process of the team, of at most {most:,}")
    return size


def _view_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _hand_out(whole: Tensor, like: Tensor) -> Tensor:
    """This process's part of the first one's tensor: its rows, or all of it where `like` is not
    spread."""
    if isinstance(like, DTensor):
        return _get_own(distribute_tensor(whole, like.device_mesh, like.placements))
    if is_in_team():
        whole = whole.to(_find_device(like)).contiguous()
        dist.broadcast(whole, src=0)
    return whole


def _find_device(like: Tensor) -> str:
    """The type of device on which `_hand_out` receives. A spread tensor may be kept elsewhere."""
    return like.device_mesh.device_type if isinstance(like, DTensor) else like.device.type


def _split(whole: Tensor, like: Tensor, size: int) -> Sequence[Tensor]:
    """What `_hand_out` gives to each process; the last ones may have nothing."""
    if isinstance(like, DTensor):
        (placement,) = like.placements
        assert isinstance(placement, Shard), "see `shard`"
        return whole.chunk(size, placement.dim)
    return [whole] * size


def _get_own(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be spread."""
    own = tensor.detach()
    return own.to_local() if isinstance(own, DTensor) else own


def _view_bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes, as files have them."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


class DisagreementError(RuntimeError):
    """One process of a team has failed, or sees something else than the first: raised in all."""


def agree(seen: Mapping[str, str], fault: str | None) -> None:
    """Raise an error in all processes if one of them has failed.

    Args:
        seen: values by name that all should have alike.
        fault: the fault of this process; None: nothing.

    Raises:
        DisagreementError: in every process, if one has a fault, or values differ: names these, and
            the process with its host where that is not the first one's.
    """
    mine = json.dumps([dict(seen), fault and fault[:_FAULT_MAX], socket.gethostname()]).encode()
    each = _gather_bytes(mine, _WORDS_MAX) if is_in_team() else [mine]
    reports = [json.loads(report) for report in each]
    first, _, home = reports[0]
    for rank, (other, why, host) in enumerate(reports):
        who = f"process {rank}" if host == home else f"process {rank} on {host}"
        if why is not None:
            raise DisagreementError(f"{who}: {why}")
        names = [n for n in dict.fromkeys([*first, *other]) if first.get(n) != other.get(n)]
        if names:
            theirs, ours = (
                ", ".join(f"{name} {values.get(name)}" for name in names)
                for values in (other, first)
            )
            raise DisagreementError(f"{who} sees {theirs}, and the first {ours}")


def _agree_on_file(what: str, fault: str | None) -> None:
    """`agree` where one process may have failed with a file, or with its content. Raises an OSError
    in every process, as a single one does."""
    try:
        agree({}, fault)
    except DisagreementError as error:
        raise OSError(f"{what}: {error}") from None


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write one safetensors file. In a team the first process writes it, a tensor at a time.

    Raises:
        OSError: in every process: it cannot be written.
        SafetensorError: the same, without a team.
    """
    if not is_in_team():
        save_file(dict(tensors), path)
        return
    tensors = dict(sorted(tensors.items()))  # moments that were read are in another order
    file: BinaryIO | None = None
    fault: str | None = None
    with ExitStack() as opened:
        if get_team()[0] == 0:
            try:
                file = opened.enter_context(path.open("wb"))
                file.write(_make_header(tensors))
            except OSError as error:
                fault = str(error)
        for tensor in tensors.values():
            whole = gather(tensor)  # in every process: it takes part, whether or not one failed
            if file is not None and fault is None:
                try:
                    file.write(_view_bytes(whole))
                    file.flush()
                except OSError as error:
                    fault = str(error)
        if file is not None:
            try:
                file.close()
            except OSError as error:  # a network's file system may say it only now
                fault = fault or str(error)
    _agree_on_file(f"{path} cannot be written", fault)


def _make_header(tensors: Mapping[str, Tensor]) -> bytes:
    """The beginning of a safetensors file, before the tensors' bytes."""
    return make_header(
        (name, _KINDS[tensor.dtype], tensor.shape, tensor.itemsize * tensor.numel())
        for name, tensor in tensors.items()
    )


def add_up(values: list[float]) -> list[float]:
    """Sum each value over the team."""
    if not is_in_team():
        return values
    total: Any = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return [float(value) for value in total]
