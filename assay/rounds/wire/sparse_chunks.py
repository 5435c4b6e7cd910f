"""The largest values of each chunk of a tensor's difference, in few bits: SparseLoCo's form (Sarfi
et al., 2025), with a scale and indices that make it the same on every machine.

Indices have the code of Elias and Fano: their lower bits directly, their upper ones in unary. A
chunk of n values that keeps k needs at most k · (2 + log2(n / k)) bits for them, whatever the
indices are. So the size of a tensor's blob follows from its shape, and one set of values has one
encoding.

A value's magnitude is an odd multiple of the chunk's unit. The largest value takes the highest
multiple. Decoded values encode to the same bytes again. Selection and packing are done in integers,
on the patterns of fp32. The rest are single fp32 operations, each rounded to nearest even, on
numbers that are no subnormals. Specification, section 11.2.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from assay.protocol.encoding import EncodingError

_Bits = NDArray[np.bool_]
_Whole = NDArray[np.int64]
_Values = NDArray[np.float32]

_MAGNITUDE = np.uint32(0x7FFFFFFF)
#: Patterns of 2^-100, below which a unit is 0, and of 2^100, the limit that every value is below.
_LEAST, _MOST = 27 << 23, 227 << 23
#: Chunks that are encoded together. This bounds the memory in addition to the tensor itself.
_TOGETHER = 1 << 10


@dataclass(frozen=True, slots=True)
class ChunkLayout:
    """Chunks of one size, and their encoding.

    Attributes:
        chunks: number of chunks.
        size: values of each.
        kept: values kept of each chunk; at least one.
        bits: bits of a kept value, its sign included.
    """

    chunks: int
    size: int
    kept: int
    bits: int

    @property
    def low_bits(self) -> int:
        """The lower bits of an index, which are written directly."""
        return (self.size // self.kept).bit_length() - 1

    @property
    def high_bits(self) -> int:
        """Bits of the unary code of all indices of a chunk."""
        return self.kept + ((self.size - 1) >> self.low_bits)

    @property
    def planes(self) -> tuple[int, int, int, int]:
        """Bytes of units, of indices' lower and upper bits, and of values."""
        widths = (16, self.kept * self.low_bits, self.high_bits, self.kept * self.bits)
        first, second, third, fourth = ((self.chunks * width + 7) // 8 for width in widths)
        return first, second, third, fourth


def make_layouts(count: int, kept: int, chunk: int, bits: int) -> list[ChunkLayout]:
    """The layouts of a tensor of `count` values: its whole chunks, and the shorter last one, which
    keeps the same share of its values, rounded up."""
    whole, rest = divmod(count, chunk)
    layouts = [ChunkLayout(whole, chunk, kept, bits)] if whole else []
    if rest:
        layouts.append(ChunkLayout(1, rest, -(-rest * kept // chunk), bits))
    return layouts


def compute_chunks_size(layouts: list[ChunkLayout]) -> int:
    """Bytes of a tensor's blob."""
    return sum(sum(layout.planes) for layout in layouts)


def encode_chunks(values: _Values, layouts: list[ChunkLayout]) -> bytes:
    """A tensor's difference as it crosses the wire.

    Raises:
        ValueError: a value is NaN, or its magnitude is 2^100 or larger.
    """
    parts, at = [], 0
    for layout in layouts:
        end = at + layout.chunks * layout.size
        parts.append(_encode(values[at:end].reshape(layout.chunks, layout.size), layout))
        at = end
    return b"".join(parts)


def decode_chunks(data: bytes, layouts: list[ChunkLayout]) -> _Values:
    """The values that `encode_chunks` kept, and zeros in the other places.

    Raises:
        EncodingError: no difference encodes to these bytes.
    """
    if len(data) != compute_chunks_size(layouts):
        raise EncodingError("a tensor's difference has another size than its shape")
    parts, at = [np.zeros(0, np.float32)], 0
    for layout in layouts:
        end = at + sum(layout.planes)
        parts.append(_decode(data[at:end], layout).reshape(-1))
        at = end
    return np.concatenate(parts)


def _encode(values: _Values, layout: ChunkLayout) -> bytes:
    units, indices, codes = [], [], []
    for start in range(0, layout.chunks, _TOGETHER):
        some = values[start : start + _TOGETHER]
        magnitudes = np.ascontiguousarray(some).view(np.uint32) & _MAGNITUDE
        if int(magnitudes.max()) >= _MOST:
            raise ValueError("a difference is not a number, or 2^100 or larger")
        chosen = _choose(magnitudes, layout.kept)
        unit, code = _quantise(np.take_along_axis(some, chosen, 1), layout.bits)
        # an all-zero chunk has only one encoding
        indices.append(np.where(unit[:, None] == 0, np.arange(layout.kept), chosen))
        units.append(unit)
        codes.append(code)
    index = np.concatenate(indices)
    fields = (
        _split(index & ((1 << layout.low_bits) - 1), layout.low_bits),
        _write_unary(index >> layout.low_bits, layout.high_bits),
        _split(np.concatenate(codes), layout.bits),
    )
    packed = [np.packbits(field).tobytes() for field in fields]
    return np.concatenate(units).astype("<u2").tobytes() + b"".join(packed)


def _choose(magnitudes: NDArray[np.uint32], kept: int) -> _Whole:
    """[chunks, kept] indices of each chunk's largest magnitudes, ascending. Among equal ones the
    first count."""
    size = magnitudes.shape[1]
    least = np.partition(magnitudes, size - kept, axis=1)[:, size - kept, None]
    chosen = magnitudes >= least
    for row in np.flatnonzero(chosen.sum(1) > kept):
        equal = np.flatnonzero(magnitudes[row] == least[row])
        chosen[row, equal[len(equal) - (int(chosen[row].sum()) - kept) :]] = False
    places: _Whole = np.flatnonzero(chosen).reshape(-1, kept) % size
    return places


def _quantise(values: _Values, bits: int) -> tuple[NDArray[np.uint16], _Whole]:
    """The patterns of units, from each chunk's values [chunks, kept], and codes: sign, then
    magnitude."""
    top = (1 << (bits - 1)) - 1
    size = np.abs(values)
    unit = size.max(1) / np.float32(2 * top + 1)
    pattern = (unit.view(np.uint32) >> 16).astype(np.uint16)  # cut off: the largest reaches the top
    pattern[pattern < _LEAST >> 16] = 0
    width = _get_units(pattern) * np.float32(2)
    width[width == 0] = np.float32(1)
    steps = size / width[:, None]
    magnitude = np.minimum(steps, np.float32(top)).astype(np.int64)
    codes = magnitude | np.signbit(values).astype(np.int64) << (bits - 1)
    codes[pattern == 0] = 0
    return pattern, codes


def _get_units(patterns: NDArray[np.uint16]) -> _Values:
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def _decode(data: bytes, layout: ChunkLayout) -> _Values:
    sizes = np.cumsum([0, *layout.planes])
    units, *rest = (data[start:end] for start, end in pairwise(sizes))
    low_plane, high_plane, code_plane = rest
    low = _join(_unpack(low_plane, layout.chunks, layout.kept * layout.low_bits), layout.low_bits)
    high = _read_unary(_unpack(high_plane, layout.chunks, layout.high_bits), layout.kept)
    codes = _join(_unpack(code_plane, layout.chunks, layout.kept * layout.bits), layout.bits)
    pattern = np.frombuffer(units, "<u2").astype(np.uint16)
    index = (low if layout.low_bits else np.zeros_like(high)) | high << layout.low_bits
    _require_canonical(pattern, index, codes, layout)
    magnitude = codes & ((1 << (layout.bits - 1)) - 1)
    size = (2 * magnitude + 1).astype(np.float32) * _get_units(pattern)[:, None]
    size[pattern == 0] = 0  # not −0 either
    values = np.zeros((layout.chunks, layout.size), np.float32)
    np.put_along_axis(values, index, np.where(codes >> (layout.bits - 1) == 1, -size, size), 1)
    return values


def _require_canonical(
    unit: NDArray[np.uint16], index: _Whole, codes: _Whole, layout: ChunkLayout
) -> None:
    """Raises EncodingError for anything that `encode_chunks` does not write."""
    if bool((index[:, -1] >= layout.size).any()) or bool((np.diff(index, axis=1) <= 0).any()):
        raise EncodingError("indices are not ascending, or beyond their chunk")
    top = (1 << (layout.bits - 1)) - 1
    silent = unit == 0
    if bool((~silent & ((unit < _LEAST >> 16) | (unit >= _MOST >> 16))).any()):
        raise EncodingError("a chunk's unit is out of range")
    largest = np.float32(2 * top + 1) * _get_units(unit)
    if bool((largest.view(np.uint32) >= _MOST).any()):
        raise EncodingError("a chunk's largest value is 2^100 or larger")
    if bool((codes[silent] != 0).any()) or bool((index[silent] != np.arange(layout.kept)).any()):
        raise EncodingError("a chunk of zeros says something")
    if bool(((codes & top).max(1)[~silent] != top).any()):
        raise EncodingError("a chunk's unit is larger than its values need")


def _split(values: _Whole, width: int) -> _Bits:
    """Bits of each value, the highest first."""
    places = np.arange(width - 1, -1, -1)
    bits: _Bits = (values[..., None] >> places & 1).astype(np.bool_)
    return bits


def _join(bits: _Bits, width: int) -> _Whole:
    """[chunks, values · width] bits → [chunks, values]. Of width 0: [chunks, 0]."""
    if not width:
        return np.zeros((len(bits), 0), np.int64)
    parts = bits.reshape(len(bits), -1, width)
    values = np.zeros(parts.shape[:2], np.int64)
    for place in range(width):
        values = values << 1 | parts[:, :, place]
    return values


def _write_unary(values: _Whole, length: int) -> _Bits:
    """The unary code of each ascending row: for each value as many zeros as its increase, then a
    one; zeros fill the end."""
    bits = np.zeros((len(values), length), np.bool_)
    np.put_along_axis(bits, values + np.arange(values.shape[1]), np.True_, 1)
    return bits


def _read_unary(bits: _Bits, kept: int) -> _Whole:
    if bool((bits.sum(1) != kept).any()):
        raise EncodingError("a chunk has not as many indices as it keeps")
    return np.flatnonzero(bits).reshape(-1, kept) % bits.shape[1] - np.arange(kept)


def _unpack(data: bytes, chunks: int, width: int) -> _Bits:
    bits = np.unpackbits(np.frombuffer(data, np.uint8)).view(np.bool_)
    if bool(bits[chunks * width :].any()):
        raise EncodingError("bits after a plane's end are set")
    return bits[: chunks * width].reshape(chunks, width)
