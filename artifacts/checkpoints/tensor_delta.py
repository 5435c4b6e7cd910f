"""What one tensor of bf16 became after a step of training, told by its differences: lossless.

A small step leaves most bf16 values as they are and moves the others by a unit in the last place
or two (as PULSE observed). So of each block is written, each compressed by zstd:

    a bit a value: did it change?
    the lower, then the upper byte of each change: the difference of the 16-bit patterns modulo
    2^16, zigzag (0, -1, 1, -2, … are 0, 1, 2, 3, …)

A block is three u32 little-endian lengths and those three parts. Sizes after decompression follow
from the number of values and of set bits, so nothing ever grows beyond them. It does not know
whether the parent is the right one: whoever applies a delta holds the result against a digest.
"""

import struct
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assay.protocol.encoding import EncodingError

#: Bytes of a tensor that are taken together.
BLOCK_BYTES = 4 << 20
#: A delta is worth its while up to this part of the tensor, and read no further.
DELTA_SHARE = 2
_LENGTHS = struct.Struct("<3I")
#: zstd's: more of it took twice the time for two hundredths of the size.
_LEVEL = 3

#: The next so many bytes, fewer only at the end.
Take = Callable[[int], bytes]


def make_delta(parent: memoryview, child: memoryview, limit: int) -> bytes | None:
    """The delta from one tensor's bytes to another's of the same size; None beyond `limit` bytes.
    Raises ValueError: the sizes differ, or are odd."""
    if len(parent) != len(child) or len(child) % 2:
        raise ValueError("a delta is between two tensors of 16-bit values and of one size")
    parts: list[bytes] = []
    size = 0
    for start in range(0, len(child), BLOCK_BYTES):
        end = start + BLOCK_BYTES
        parts.append(_encode(_view(parent[start:end]), _view(child[start:end])))
        size += len(parts[-1])
        if size > limit:
            return None
    return b"".join(parts)


def apply_delta(size: int, parent: Take, delta: Take) -> Iterator[bytes]:
    """The child's bytes in order, at most `BLOCK_BYTES` at a time.

    Args:
        size: of the tensor, bytes.

    Raises:
        EncodingError: this is no delta between tensors of that size.
    """
    if size % 2:
        raise EncodingError("there is no delta to a tensor of odd size")
    for start in range(0, size, BLOCK_BYTES):
        due = min(BLOCK_BYTES, size - start)
        before = parent(due)
        if len(before) != due:
            raise EncodingError("the parent's tensor is shorter")
        yield _decode(np.frombuffer(before, "<u2"), delta)
    if delta(1):
        raise EncodingError("the delta has bytes after its end")


def _view(data: memoryview) -> NDArray[np.uint16]:
    return np.frombuffer(data, "<u2")


def _encode(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> bytes:
    changed = before != after
    at = np.flatnonzero(changed)
    difference = (after[at] - before[at]).view(np.int16)
    zigzag = ((difference << 1) ^ (difference >> 15)).view(np.uint16)
    planes = (
        np.packbits(changed),
        (zigzag & 0xFF).astype(np.uint8),
        (zigzag >> 8).astype(np.uint8),
    )
    parts = [_get_codec().compress(plane.tobytes(), asbytes=True) for plane in planes]
    return _LENGTHS.pack(*map(len, parts)) + b"".join(parts)


def _decode(before: NDArray[np.uint16], delta: Take) -> bytes:
    lengths = _take(delta, _LENGTHS.size)
    mask_length, low_length, high_length = _LENGTHS.unpack(lengths)
    count = len(before)
    bits = np.unpackbits(_unpack(delta, mask_length, (count + 7) // 8))
    if bits[count:].any():
        raise EncodingError("a value changed that there is not")
    at = np.flatnonzero(bits[:count].view(np.bool_))  # of truth values: several times as fast
    low, high = (_unpack(delta, length, len(at)) for length in (low_length, high_length))
    zigzag = low.astype(np.uint16) | (high.astype(np.uint16) << 8)
    after = before.copy()
    after[at] += (zigzag >> 1) ^ (0 - (zigzag & 1)).astype(np.uint16)
    return after.tobytes()


def _unpack(delta: Take, length: int, size: int) -> NDArray[np.uint8]:
    """One part: exactly `size` bytes, or nothing."""
    if length > size + (size >> 7) + 64:  # zstd adds less to what it cannot compress
        raise EncodingError(f"a part of {size} bytes takes {length}")
    try:
        data = _get_codec().decompress(_take(delta, length), decompressed_size=size, asbytes=True)
    except (OSError, pa.ArrowException) as error:
        raise EncodingError(f"a part is not zstd's of {size} bytes: {error}") from None
    return np.frombuffer(data, np.uint8)


def _take(delta: Take, length: int) -> bytes:
    data = delta(length)
    if len(data) != length:
        raise EncodingError("the delta is cut off")
    return data


@cache
def _get_codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=_LEVEL)
