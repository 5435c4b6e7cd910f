"""Bit fields: arrays of integers packed without gaps, the first bit of a byte its highest.

Three ways to write an array: in one fixed width; as Rice codes, all quotients first, in unary, then
all remainders; or as the codes of a prefix code, see `assay.protocol.prefix_code`. Specification,
section 1. All work is on whole arrays: its time follows the number of bits.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from assay.protocol.encoding import EncodingError

Integers = NDArray[np.int64]
Bits = NDArray[np.uint8]

#: Longest field, bits: a field and the up to 7 bits before it fit into a word.
WIDTH_MAX = 56
#: Bits of the field that gives the width of the fields after it.
_NARROW_BITS = 5


class BitWriter:
    """Collects fields; `finish` returns the bytes, padded with zeros."""

    def __init__(self) -> None:
        self._values: list[Integers] = []
        self._widths: list[Integers] = []

    def write(self, values: Sequence[int] | Integers, widths: int | Integers) -> None:
        """Write fields that are below 2^width. `widths` is one width for all or one for each
        value."""
        array = np.asarray(values, np.int64)
        self._values.append(array)
        self._widths.append(np.full(array.shape, widths, np.int64))

    def write_rice(self, values: Integers, remainder_bits: int) -> None:
        """Write Rice codes of non-negative integers: q zeros and a one for each quotient q, then
        each remainder in `remainder_bits`."""
        quotients = values >> remainder_bits
        ends = np.cumsum(quotients + 1) - 1
        unary = np.zeros(int(ends[-1]) + 1 if len(ends) else 0, np.int64)
        unary[ends] = 1
        self.write(unary, 1)
        self.write(values & ((1 << remainder_bits) - 1), remainder_bits)

    def write_narrow(self, values: Sequence[int] | Integers) -> None:
        """Write `u5 w ‖ the values in w bits each`, with the smallest w that fits them."""
        width = int(np.max(values)).bit_length()
        self.write([width], _NARROW_BITS)
        self.write(values, width)

    def count(self) -> int:
        """The number of bits so far."""
        return sum(int(widths.sum()) for widths in self._widths)

    def finish(self) -> bytes:
        values, widths = _join(self._values), _join(self._widths)
        owner = np.repeat(np.arange(len(widths)), widths)
        starts = np.cumsum(widths) - widths
        shifts = widths[owner] - 1 - (np.arange(len(owner)) - starts[owner])
        return np.packbits((values[owner] >> shifts & 1).astype(np.uint8)).tobytes()


class BitReader:
    """Reads the output of a `BitWriter`. All methods raise an EncodingError where the bytes end too
    early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        #: Position of the next bit.
        self.position = 0
        #: Number of bits.
        self.end = 8 * len(data)

    @cached_property
    def _bits(self) -> Bits:
        return np.unpackbits(np.frombuffer(self._data, np.uint8))

    @cached_property
    def _ones(self) -> Integers:
        """The positions of all ones, found once for all lists of Rice codes."""
        return np.flatnonzero(self._bits)

    @cached_property
    def _words(self) -> NDArray[np.uint64]:
        """The 64 bits that start at each byte, with zeros behind the end."""
        padded = np.zeros(len(self._data) + 8, np.uint8)
        padded[: len(self._data)] = np.frombuffer(self._data, np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 8)
        return np.ascontiguousarray(windows).view(">u8")[:, 0].astype(np.uint64)

    def look(self, positions: Integers, widths: int | Integers) -> Integers:
        """Fields at any positions below the end, with zeros behind it. Consumes nothing."""
        words = self._words[positions >> 3] << (positions & 7).astype(np.uint64)
        wide = np.asarray(widths, np.uint64)
        # a shift by 64 is undefined, so this shifts in two steps
        fields: Integers = (words >> np.uint64(1) >> (np.uint64(63) - wide)).astype(np.int64)
        return fields

    def read(self, count: int, widths: int | Integers) -> Integers:
        """The next `count` fields. `widths` is one width for all or one for each field, at most
        `WIDTH_MAX`."""
        wide = np.asarray(widths, np.int64)
        total = int(wide.sum()) if wide.ndim else count * int(wide)
        self._require(total)  # a count that is too large takes no memory
        if not total:
            return np.zeros(count, np.int64)
        starts = np.cumsum(wide) - wide if wide.ndim else np.arange(count) * wide
        values = self.look(np.minimum(self.position + starts, self.end - 1), wide)
        self.position += total
        return values

    def read_number(self, width: int) -> int:
        """One field."""
        self._require(width)
        end = self.position + width
        last = end + 7 >> 3
        held = int.from_bytes(self._data[self.position >> 3 : last], "big")
        self.position = end
        return held >> 8 * last - end & (1 << width) - 1

    def read_narrow(self, count: int) -> Integers:
        """The next `count` numbers, as `write_narrow` wrote them. Also raises an EncodingError
        where the field is wider than necessary."""
        width = self.read_number(_NARROW_BITS)
        values = self.read(count, width)
        if width != int(values.max()).bit_length():
            raise EncodingError("has numbers that are written too wide")
        return values

    def read_rice(self, count: int, remainder_bits: int) -> Integers:
        """The next `count` Rice codes."""
        if not count:
            return np.zeros(0, np.int64)
        first = int(np.searchsorted(self._ones, self.position))
        ends = self._ones[first : first + count]
        if len(ends) < count:
            raise EncodingError("ends within a unary number")
        quotients = ends - 1
        quotients[0] -= self.position - 1
        quotients[1:] -= ends[:-1]
        self.position = int(ends[-1]) + 1
        return (quotients << remainder_bits) | self.read(count, remainder_bits)

    def skip(self, bits: int) -> None:
        """Skip this many bits."""
        self._require(bits)
        self.position += bits

    def require_finished(self) -> None:
        """Raise an EncodingError unless less than a byte is left, and it is all zeros."""
        if self.end - self.position >= 8 or self._bits[self.position :].any():
            raise EncodingError("has bits after its last field")

    def _require(self, bits: int) -> None:
        if self.position + bits > self.end:
            needed = self.position + bits
            raise EncodingError(f"ends after {self.end} bits where {needed} are needed")


def _join(arrays: list[Integers]) -> Integers:
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)
