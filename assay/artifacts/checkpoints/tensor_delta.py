"""The change of one bf16 tensor in a step of training, as lossless differences.

A small step leaves most bf16 values unchanged and moves the others by a unit in the last place or
two (as PULSE observed). For each block, these parts are written, each compressed by zstd:

    one bit for each value: whether it changed
    the lower, then the upper byte of each change: the difference of the 16-bit patterns modulo
    2^16, zigzag (0, -1, 1, -2, … are 0, 1, 2, 3, …)

A block is three u32 little-endian lengths and those three parts. fp32 masters, of which nearly all
change, are written in the same way: 32-bit patterns, five lengths and parts. Sizes after
decompression follow from the number of values and of set bits, so nothing ever grows beyond them.
This module does not know whether the parent is the right one: the caller checks the result against
a digest.
"""

import struct
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.protocol.encoding import EncodingError

#: Bytes of a tensor that are processed together.
BLOCK_BYTES = 4 << 20
#: A delta is used, and read, only up to this share (one in …) of the tensor.
DELTA_SHARE = 2
#: zstd's level. A higher one took twice the time for two hundredths of the size.
_LEVEL = 3

#: Returns this many next bytes, fewer only at the end.
Take = Callable[[int], bytes]
_Patterns = NDArray[np.uint16] | NDArray[np.uint32]


def make_delta(
    parent: memoryview, child: memoryview, limit: int | None, width: int = 2
) -> bytes | None:
    """The delta from one tensor's bytes to another's of the same size. None: it has more than
    `limit` bytes.

    Args:
        width: bytes of a value: 2 or 4.

    Raises:
        ValueError: the sizes differ, or are not a whole number of values.
    """
    if len(parent) != len(child) or len(child) % width:
        raise ValueError(f"a delta is between two tensors of {8 * width}-bit values of one size")
    parts: list[bytes] = []
    size = 0
    for start in range(0, len(child), BLOCK_BYTES):
        end = start + BLOCK_BYTES
        parts.append(_encode(_view(parent[start:end], width), _view(child[start:end], width)))
        size += len(parts[-1])
        if limit is not None and size > limit:
            return None
    return b"".join(parts)


def compute_delta_limit(size: int, width: int = 2) -> int:
    """Most bytes of a delta to a tensor of `size` bytes, whatever changed."""
    most = 0
    for start in range(0, size, BLOCK_BYTES):
        count = min(BLOCK_BYTES, size - start) // width
        parts = [(count + 7) // 8] + [count] * width
        most += 4 * len(parts) + sum(map(_compute_part_limit, parts))
    return most


def apply_delta(size: int, parent: Take, delta: Take) -> Iterator[bytes]:
    """The child's bytes in order, at most `BLOCK_BYTES` at a time.

    Args:
        size: of the tensor, bytes.

    Raises:
        EncodingError: this is no delta between tensors of that size.
    """
    yield from apply_blocks(size, parent, delta)
    if delta(1):
        raise EncodingError("the delta has bytes after its end")


def apply_blocks(size: int, parent: Take, delta: Take, width: int = 2) -> Iterator[bytes]:
    """The same as `apply_delta`, but the caller may read the bytes after the delta."""
    if size % width:
        raise EncodingError(f"there is no delta to a tensor of {size} bytes, {width} a value")
    for start in range(0, size, BLOCK_BYTES):
        due = min(BLOCK_BYTES, size - start)
        before = parent(due)
        if len(before) != due:
            raise EncodingError("the parent's tensor is shorter")
        yield _decode(_view(memoryview(before), width), delta, width)


def _view(data: memoryview, width: int) -> _Patterns:
    patterns: _Patterns = np.frombuffer(data, f"<u{width}")
    return patterns


def _encode(before: _Patterns, after: _Patterns) -> bytes:
    changed = before != after
    at = np.flatnonzero(changed)
    width = before.itemsize
    difference = (after[at] - before[at]).view(f"<i{width}")
    zigzag = ((difference << 1) ^ (difference >> (8 * width - 1))).view(before.dtype)
    planes = [np.packbits(changed)]
    planes += [(zigzag >> 8 * place & 0xFF).astype(np.uint8) for place in range(width)]
    parts = [_get_codec().compress(plane.tobytes(), asbytes=True) for plane in planes]
    return struct.pack(f"<{len(parts)}I", *map(len, parts)) + b"".join(parts)


def _decode(before: _Patterns, delta: Take, width: int) -> bytes:
    mask_length, *lengths = struct.unpack(f"<{1 + width}I", _take(delta, 4 + 4 * width))
    count = len(before)
    bits = np.unpackbits(_unpack(delta, mask_length, (count + 7) // 8))
    if bits[count:].any():
        raise EncodingError("a value changed that there is not")
    at = np.flatnonzero(bits[:count].view(np.bool_))  # of booleans: several times as fast
    zigzag = np.zeros(len(at), before.dtype)
    for place, length in enumerate(lengths):
        plane = _unpack(delta, length, len(at)).astype(np.uint32) << 8 * place
        zigzag |= plane.astype(before.dtype)
    if not zigzag.all():
        raise EncodingError("a value is marked as changed that did not")
    after = before.copy()
    after[at] += (zigzag >> 1) ^ (0 - (zigzag & 1)).astype(before.dtype)
    return after.tobytes()


def _unpack(delta: Take, length: int, size: int) -> NDArray[np.uint8]:
    """One part: exactly `size` bytes, or none."""
    if length > _compute_part_limit(size):
        raise EncodingError(f"a part of {size} bytes takes {length}")
    try:
        data = _get_codec().decompress(_take(delta, length), decompressed_size=size, asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise EncodingError(f"a part is not zstd's of {size} bytes: {error}") from None
    return np.frombuffer(data, np.uint8)


def _compute_part_limit(size: int) -> int:
    return size + (size >> 7) + 64  # zstd adds less to incompressible data


def _take(delta: Take, length: int) -> bytes:
    data = delta(length)
    if len(data) != length:
        raise EncodingError("the delta is cut off")
    return data


@cache
def _get_codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_LEVEL)
