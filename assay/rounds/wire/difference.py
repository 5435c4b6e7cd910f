"""A child's fp32 masters, told by what differs from the common parent's; and the other way round.

Three forms:

    exact     all 32 bits of every master
    rounded   what shows in bf16: a master moves by as much as its rounding to bf16 moves
    sparse    of each chunk of a tensor the largest differences, in few bits

What a form leaves out is the residual, which its trainer keeps and adds to its next child. The
residual is what a child was less what everybody decodes, so that nothing is lost twice or sent
twice. Every operation on numbers is one of fp32, element by element, rounded to nearest even: all
machines find the same. Specification, section 11.2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.artifacts.checkpoints.tensor_delta import (
    Take,
    apply_blocks,
    compute_delta_limit,
    make_delta,
)
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import MILLION
from assay.rounds.wire.sparse_chunks import (
    compute_chunks_size,
    decode_chunks,
    encode_chunks,
    make_layouts,
)

Masters = Mapping[str, Tensor]
_Values = NDArray[np.float32]

#: A blob is cut into pieces of this many bytes; the last one is shorter.
PIECE_BYTES = 1 << 25
#: Bits of a master on the wire, in forms that keep all masters.
EXACT_BITS, ROUNDED_BITS = 0, 16
CHUNK_MAX = 1 << 20
#: The bf16 pattern of infinity.
_INFINITY = 0x7F80


@dataclass(frozen=True, slots=True)
class DifferenceForm:
    """The part of a difference that crosses the wire; consensus.

    Attributes:
        kept: number of values kept of each chunk; 0: all of them.
        chunk: values of a chunk; 0 if all are kept.
        bits: bits of a kept value, 2 to 8; if all are kept, 0 (exact) or 16 (rounded).
        feedback: millionths of the residual that a trainer adds to its next child.
    """

    kept: int = 0
    chunk: int = 0
    bits: int = EXACT_BITS
    feedback: int = 0


def find_form_fault(form: DifferenceForm) -> str | None:
    """The fault of a form, in one sentence, or None."""
    if not 0 <= form.feedback <= MILLION:
        return "feedback is not between nothing and the whole"
    if not form.kept:
        if form.chunk or form.bits not in (EXACT_BITS, ROUNDED_BITS):
            return "a form that keeps all has no chunks, and 0 bits (exact) or 16 (rounded)"
        if form.bits == EXACT_BITS and form.feedback:
            return "an exact form leaves nothing that could be fed back"
        return None
    if not 1 <= form.kept <= form.chunk <= CHUNK_MAX:
        return f"kept is not between 1 and chunk, or chunk exceeds {CHUNK_MAX}"
    return None if 2 <= form.bits <= 8 else "a kept value has not 2 to 8 bits"


def encode_difference(
    parent: Masters, child: Masters, form: DifferenceForm, residual: Masters
) -> tuple[list[bytes], dict[str, Tensor]]:
    """The child's difference in pieces, and the new residual.

    Args:
        parent, child: fp32, of the same names and shapes, on the processor.
        residual: the residual from the last call, fp32; empty before a trainer's first child. A
            missing name has no residual.

    Raises:
        ValueError: the form is invalid, the tensors do not match, or, in a form that is not exact,
            a number is not finite.
    """
    _require_form(form)
    if parent.keys() != child.keys() or not residual.keys() <= parent.keys():
        raise ValueError("parent, child and residual are of different names")
    parts, left = [], {}
    share = np.float32(form.feedback) / np.float32(MILLION)
    for name in sorted(parent):
        before, target = _get_values(name, parent), _get_values(name, child)
        old = _get_values(name, residual) if name in residual else None
        if len(before) != len(target) or (old is not None and len(old) != len(before)):
            raise ValueError(f"tensors named {name} are of different sizes")
        if old is not None and form.feedback:
            target = target + old * share
        part, seen = _encode_tensor(before, target, form)
        parts.append(part)
        if form.feedback:
            left[name] = torch.from_numpy(target - seen).reshape(parent[name].shape)
    return _cut(b"".join(parts)), left


def decode_difference(
    parent: Masters, blobs: Sequence[bytes], form: DifferenceForm
) -> dict[str, Tensor]:
    """The child's masters as everybody sees them, fp32, of the parent's names and shapes. The
    caller judges whether they are finite, and whose they are.

    Raises:
        EncodingError: no difference encodes to these blobs.
        ValueError: the form is invalid, or the parent is not fp32.
    """
    require_pieces(list(map(len, blobs)), parent, form)
    return dict(decode_tensors(parent, BytesIO(b"".join(blobs)).read, form))


def require_pieces(sizes: Sequence[int], parent: Masters, form: DifferenceForm) -> None:
    """Raises EncodingError if no difference is cut into pieces of these sizes, in bytes."""
    _require_form(form)
    size, limit = sum(sizes), compute_size_limit(parent, form)
    if size > limit or (form.kept and size != limit):
        raise EncodingError(f"a difference has {size} bytes, where its form asks for {limit}")
    if any(size != PIECE_BYTES for size in sizes[:-1]):
        raise EncodingError("a difference is cut into other pieces")
    if sizes and not 0 < sizes[-1] <= PIECE_BYTES:
        raise EncodingError("a difference's last piece is empty, or too large")


def decode_tensors(
    parent: Masters, take: Take, form: DifferenceForm
) -> Iterator[tuple[str, Tensor]]:
    """The same as `decode_difference`, one tensor after another in order of name, from the pieces'
    bytes in a row. Memory: one tensor of each."""
    _require_form(form)
    for name in sorted(parent):
        values = _decode_tensor(_get_values(name, parent), take, form)
        yield name, torch.from_numpy(values).reshape(parent[name].shape)
    if take(1):
        raise EncodingError("a difference has bytes after its end")


def compute_size_limit(parent: Masters, form: DifferenceForm) -> int:
    """Most bytes of a difference between tensors of these shapes. In a sparse form every difference
    has this size."""
    sizes = [tensor.numel() for tensor in parent.values()]
    if form.kept:
        layouts = (make_layouts(size, form.kept, form.chunk, form.bits) for size in sizes)
        return sum(map(compute_chunks_size, layouts))
    width = 2 if form.bits == ROUNDED_BITS else 4
    return sum(compute_delta_limit(width * size, width) for size in sizes)


def _require_form(form: DifferenceForm) -> None:
    if fault := find_form_fault(form):
        raise ValueError(fault)


def _get_values(name: str, masters: Masters) -> _Values:
    if masters[name].dtype != torch.float32:
        raise ValueError(f"tensor {name} is {masters[name].dtype}, not float32")
    values: _Values = masters[name].detach().contiguous().numpy().reshape(-1)
    return values


def _encode_tensor(before: _Values, target: _Values, form: DifferenceForm) -> tuple[bytes, _Values]:
    """The bytes that cross the wire, and the master that everybody decodes."""
    if form.kept:
        layouts = make_layouts(len(before), form.kept, form.chunk, form.bits)
        part = encode_chunks(target - before, layouts)
        return part, before + decode_chunks(part, layouts)
    if form.bits == ROUNDED_BITS:
        old, new = _round(before), _round(target)
        if _is_endless(new):
            raise ValueError("a master is not a finite number, which no rounded form tells")
        return _write_delta(old, new), _move(before, old, new)
    return _write_delta(before, target), target


def _decode_tensor(before: _Values, take: Take, form: DifferenceForm) -> _Values:
    if form.kept:
        layouts = make_layouts(len(before), form.kept, form.chunk, form.bits)
        return before + decode_chunks(take(compute_chunks_size(layouts)), layouts)
    if form.bits == ROUNDED_BITS:
        old = _round(before)
        new = _read_delta(old, take).view(np.uint16)
        if _is_endless(new):  # sums with NaN differ between machines
            raise EncodingError("a rounded master is not a finite number")
        return _move(before, old, new)
    return _read_delta(before, take).view(np.float32)


def _round(values: _Values) -> NDArray[np.uint16]:
    """Patterns of bf16, to nearest even. Infinities and NaN get the pattern of infinity."""
    bits = values.view(np.uint32)
    magnitude = np.minimum(bits & 0x7FFFFFFF, np.uint32(_INFINITY << 16))
    up = magnitude + np.uint32(0x7FFF) + (magnitude >> 16 & 1)
    return (up >> 16 | bits >> 16 & 0x8000).astype(np.uint16)


def _is_endless(patterns: NDArray[np.uint16]) -> bool:
    return bool(((patterns & 0x7FFF) >= _INFINITY).any())


def _move(before: _Values, old: NDArray[np.uint16], new: NDArray[np.uint16]) -> _Values:
    """Each value, moved by as much as its rounding moved. If the rounding did not move, the value
    is unchanged."""
    start, end = ((p.astype(np.uint32) << 16).view(np.float32) for p in (old, new))
    with np.errstate(over="ignore"):  # a stranger's numbers may overflow
        return np.where(old == new, before, before + (end - start))


def _write_delta(
    before: _Values | NDArray[np.uint16], after: _Values | NDArray[np.uint16]
) -> bytes:
    parent, child = (memoryview(values.tobytes()) for values in (before, after))
    delta = make_delta(parent, child, None, before.itemsize)
    assert delta is not None  # there is no limit
    return delta


def _read_delta(before: _Values | NDArray[np.uint16], take: Take) -> NDArray[np.uint8]:
    width = before.itemsize
    parent = BytesIO(before.tobytes()).read
    blocks = apply_blocks(before.nbytes, parent, take, width)
    return np.frombuffer(bytearray().join(blocks), np.uint8)


def _cut(data: bytes) -> list[bytes]:
    return [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
