"""Records one call of one of torch's operators: its inputs and results, by digests.

A tensor's digest covers its elements: in memory order if they are without gaps, else in the order
of its sizes. A digest is kept with the storage of the elements and used again for all views of the
same ones. It is dropped when an operator writes to that storage, as the operator's schema says. So
it is right even where a tensor's version counter is not, as with `x.data`. The counter is checked
as well.

Memory that is written without torch's knowledge is not detected. A learner does not do that.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_char
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.multiprocessing.reductions import StorageWeakRef

from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.trace import TENSORS_MAX, TEXT_MAX, OperatorRecord

#: Larger data are hashed in parts, on several threads, and the parts' digests together.
PART_BYTES = 1 << 20
#: Operators after which digests of freed storages are dropped.
_SWEEP = 4_096
#: Operators whose results are uninitialised memory.
_UNWRITTEN = frozenset(
    ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
)
#: Operators that write all of their first argument, whatever it held.
_OVERWRITING = frozenset(("copy_", "fill_", "zero_", "normal_", "uniform_", "random_"))


#: Runs an operator with its arguments.
Run = Callable[[OpOverload, tuple[Any, ...], dict[str, Any]], Any]


class UntraceableError(OperatorError):
    """An operator that cannot be recorded. The message says which and why."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """The facts of an operator's schema."""

    name: str
    base: str  # without overload
    is_written: tuple[bool, ...]  # positional arguments
    is_overwritten: tuple[bool, ...]
    names_written: frozenset[str]
    names_overwritten: frozenset[str]
    makes_unwritten: bool


@cache
def get_plan(operator: OpOverload) -> CallPlan:
    """The plan of an operator, computed once for each."""
    arguments = operator._schema.arguments  # noqa: SLF001 - torch has no other name for it
    base = operator.overloadpacket.__name__
    written = [a.alias_info is not None and a.alias_info.is_write for a in arguments]
    over = [a.is_out or (base in _OVERWRITING and i == 0) for i, a in enumerate(arguments)]
    return CallPlan(
        str(operator),
        base,
        tuple(written),
        tuple(over),
        frozenset(a.name for a, is_written in zip(arguments, written, strict=True) if is_written),
        frozenset(a.name for a, is_over in zip(arguments, over, strict=True) if is_over),
        base in _UNWRITTEN,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """The memory layout of one kind of elements, wherever they begin."""

    text: str
    size: int  # bytes of the elements, expanded ones counted once
    is_dense: bool  # whether the elements have no gaps, in some order of dimensions
    expanded: tuple[int, ...]  # dimensions of stride 0: they share one element


@lru_cache(maxsize=1 << 14)
def _get_layout(kind: torch.dtype, sizes: torch.Size, strides: tuple[int, ...]) -> _Layout:
    places = range(len(sizes))
    expanded = tuple(i for i in places if sizes[i] > 1 and not strides[i])
    axes = [i for i in places if sizes[i] != 1 and i not in expanded]
    width, is_dense = 1, True
    for i in (order := sorted(axes, key=lambda i: strides[i])):
        is_dense &= strides[i] == width
        width *= sizes[i]
    is_dense |= not width
    text = ",".join(map(str, sizes))
    if expanded or not is_dense or (width and order != axes[::-1]):
        text += f"/{','.join(map(str, strides))}"
    name = str(kind).removeprefix("torch.")
    return _Layout(f"{name}[{text}]", width * kind.itemsize, is_dense, expanded)


def _find_layout(tensor: Tensor) -> _Layout:
    if tensor.layout is not torch.strided or tensor.is_conj() or tensor.is_neg():
        raise UntraceableError(f"a tensor of layout {tensor.layout} cannot be traced")
    return _get_layout(tensor.dtype, tensor.shape, tensor.stride())


@dataclass(slots=True)
class _Kept:
    """Digests of parts of one storage, by their place; None: nothing was written to it yet."""

    storage: StorageWeakRef  # while it exists, no other storage gets the same address
    version: int
    digests: dict[tuple[int, int | str], bytes] | None = field(default_factory=dict)


class TensorDigests:
    """Digests of tensors' elements, each computed once until somebody writes to them. `threads` is
    the number that hash large data."""

    def __init__(self, threads: int = 1) -> None:
        self._kept: dict[int, _Kept] = {}
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._until_sweep = _SWEEP

    def get(self, tensor: Tensor, *, bumped: bool = False) -> bytes:
        """The digest, 32 bytes; zeros if the tensor was never written. `bumped`: an operator has
        just written to it, but torch counts that only when the operator is done."""
        if tensor.is_inference():
            return self._compute(tensor, _find_layout(tensor))
        entry = self._find(tensor, bumped)
        if entry.digests is None:
            return ZERO_DIGEST
        layout = _find_layout(tensor)
        begin = int(tensor.storage_offset()) * tensor.element_size()
        # dense ones are the same bytes in any order of dimensions
        place = (begin, layout.size if layout.is_dense else layout.text)
        digest = entry.digests.get(place)
        if digest is None:
            digest = entry.digests[place] = self._compute(tensor, layout)
        return digest

    def leave_unwritten(self, tensor: Tensor) -> None:
        """Note that nothing was written to a tensor: its content is arbitrary."""
        if not tensor.is_inference():
            self._find(tensor, False).digests = None

    def forget(self, tensor: Tensor) -> None:
        """Note that a tensor was written to."""
        self._kept.pop(get_address(tensor.untyped_storage()), None)

    def _find(self, tensor: Tensor, bumped: bool) -> _Kept:
        storage = tensor.untyped_storage()
        address = get_address(storage)
        version = tensor._version + bumped  # noqa: SLF001 - torch documents it by this name
        entry = self._kept.get(address)
        if entry is None or entry.version != version:
            entry = self._kept[address] = _Kept(StorageWeakRef(storage), version)
            self._until_sweep -= 1
            if not self._until_sweep:
                self._sweep()
        return entry

    def _sweep(self) -> None:
        self._until_sweep = _SWEEP
        gone = [address for address, entry in self._kept.items() if entry.storage.expired()]
        for address in gone:
            del self._kept[address]

    def _compute(self, tensor: Tensor, layout: _Layout) -> bytes:
        size = layout.size
        if not size:
            return sha256().digest()
        data = tensor
        for dimension in layout.expanded:
            data = data.narrow(dimension, 0, 1)
        data = (data if layout.is_dense else data.contiguous()).cpu()
        # numpy knows neither bfloat16 nor tensors with a gradient, and needs a view of each
        view = memoryview((c_char * size).from_address(data.data_ptr())).cast("B")
        if size <= PART_BYTES:
            return sha256(view).digest()
        parts = [view[start : start + PART_BYTES] for start in range(0, size, PART_BYTES)]
        digests = map(_hash, parts) if self._pool is None else self._pool.map(_hash, parts)
        return sha256(b"".join(digests)).digest()


def get_address(storage: torch.UntypedStorage) -> int:
    """The address of torch's own record of a storage, which its views share."""
    return storage._cdata  # noqa: SLF001 - as StorageWeakRef.cdata, at a third of the time


def _hash(data: memoryview) -> bytes:
    return sha256(data).digest()


def describe_values(value: Any, tensors: list[Tensor]) -> str:
    """Arguments or results as text, with numbers in full. Appends their tensors to `tensors`.

    Devices are left out: a step may be repeated elsewhere. Raises UntraceableError.
    """
    if isinstance(value, Tensor):
        tensors.append(value)
        return _find_layout(value).text
    if isinstance(value, float):
        return value.hex()
    if value is None or isinstance(value, (bool, int, str)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join([describe_values(one, tensors) for one in value])}]"
    if isinstance(value, torch.Generator):
        tensors.append(value.get_state())
        return "generator"
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return str(value)
    raise UntraceableError(f"an operator takes {type(value).__name__}, which cannot be traced")


def run_operator(operator: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operator on this machine."""
    return operator(*args, **kwargs)


def call_operator(
    operator: OpOverload,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    digests: TensorDigests,
    run: Run = run_operator,
) -> tuple[Any, OperatorRecord]:
    """Run an operator. Return its result and its record. Raises UntraceableError: it cannot be
    recorded."""
    plan = get_plan(operator)
    read: list[Tensor] = []
    inputs: list[bytes] = []
    written: list[Tensor] = []
    texts = []

    def take(value: Any, is_written: bool, is_overwritten: bool, name: str) -> None:
        start = len(read)
        texts.append(name + describe_values(value, read))
        if is_written:
            written.extend(read[start:])
        if is_overwritten:
            inputs.extend([ZERO_DIGEST] * (len(read) - start))
        else:
            inputs.extend(map(digests.get, read[start:]))

    for value, is_written, is_over in zip(args, plan.is_written, plan.is_overwritten, strict=False):
        take(value, is_written, is_over, "")
    for name in sorted(kwargs):
        take(kwargs[name], name in plan.names_written, name in plan.names_overwritten, f"{name}=")
    arguments = ", ".join(texts)
    if len(arguments) > TEXT_MAX or len(read) > TENSORS_MAX:
        raise UntraceableError(f"{plan.name} takes too much to be traced: {len(read):,} tensors")
    result = run(operator, args, kwargs)
    results, outputs = _look_at_results(result, written, digests, plan.makes_unwritten)
    return result, OperatorRecord(plan.name, arguments, tuple(inputs), results, outputs)


def _look_at_results(
    result: Any, written: Iterable[Tensor], digests: TensorDigests, makes_unwritten: bool
) -> tuple[str, tuple[bytes, ...]]:
    made: list[Tensor] = []
    text = describe_values(result, made)
    changed = list(written)
    for tensor in changed:
        digests.forget(tensor)
    ids = {id(tensor) for tensor in changed}
    # tensors that it wrote to and did not return
    given = {id(tensor) for tensor in made}
    rest = [tensor for tensor in changed if id(tensor) not in given]
    if rest:
        text += f"; {describe_values(rest, made)}"
    if makes_unwritten:
        for tensor in made:
            digests.leave_unwritten(tensor)
    return text, tuple(digests.get(tensor, bumped=id(tensor) in ids) for tensor in made)
