"""Canonical prefix codes: the numbers that are frequent in a group of rollouts take fewer bits.

The symbols and the length of each define a code. The code words follow from them (RFC 1951, section
3.2.2). The lengths are Huffman's, with a rule for every tie, so that the same numbers give the same
bytes everywhere. Specification, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assay.protocol.bit_fields import BitReader, BitWriter, Integers
from assay.protocol.encoding import EncodingError

#: Bits of the longest length, the first field of a written code. A fixed width writes nothing else.
#: Huffman's longest length over 2^22 numbers is 31, because the depth follows Fibonacci's numbers.
HEAD_BITS = 5


@dataclass(frozen=True, eq=False)
class PrefixCode:
    """Symbols in the order of their codes: by length, then by size. Without symbols, numbers are
    written in a fixed width."""

    symbol_bits: int  # every symbol is below 2 to this
    symbols: Integers  # [D]
    lengths: Integers  # [D], ascending

    @cached_property
    def codes(self) -> Integers:
        """int64 [D]: each code is the previous one plus 1, with zeros appended where it is
        longer."""
        if not len(self.symbols):
            return self.symbols
        top = int(self.lengths[-1])
        sizes = 1 << (top - self.lengths)
        codes: Integers = (np.cumsum(sizes) - sizes) >> (top - self.lengths)
        return codes

    @cached_property
    def _bounds(self) -> tuple[int, Integers, Integers]:
        """The longest length; [D], ascending: the codes padded with zeros to that length; the
        places of symbols that are longer than the one before."""
        longest = int(self.lengths[-1])
        changes = np.flatnonzero(np.diff(self.lengths, prepend=0))
        return longest, self.codes << (longest - self.lengths), changes

    def write(self, writer: BitWriter) -> None:
        """Write the code: `u5 L`, the number of symbols of each length from 1 to L, then the
        symbols of each length as Rice codes of the gaps between them. A fixed width is written as
        `u5 0`."""
        longest = int(self.lengths[-1]) if len(self.lengths) else 0
        writer.write([longest], HEAD_BITS)
        if not longest:
            return
        counts = np.bincount(self.lengths, minlength=longest + 1)[1:]
        writer.write_narrow(counts)
        start = 0
        for count in filter(None, counts.tolist()):
            gaps = np.diff(self.symbols[start : start + count], prepend=-1) - 1
            writer.write_rice(gaps, self._get_gap_bits(count))
            start += count

    def _get_gap_bits(self, count: int) -> int:
        return max(0, self.symbol_bits - count.bit_length())

    def encode(self, writer: BitWriter, numbers: Integers) -> None:
        """Write numbers, each of which must have a code."""
        if not len(self.symbols):
            writer.write(numbers, self.symbol_bits)
            return
        order = np.argsort(self.symbols)
        places = order[np.searchsorted(self.symbols, numbers, sorter=order)]
        writer.write(self.codes[places], self.lengths[places])

    def decode(self, reader: BitReader, count: int) -> Integers:
        """The next `count` numbers. Raises an EncodingError where the bytes end too early or
        contain a code without a meaning."""
        if not len(self.symbols):
            return reader.read(count, self.symbol_bits)
        longest, firsts, changes = self._bounds
        # of a code that starts at any bit; the loop then goes from code to code
        end = min(reader.end, reader.position + count * longest)
        heads = reader.look(np.arange(reader.position, end), longest)
        steps = self.lengths[changes][
            np.searchsorted(firsts[changes], heads, side="right") - 1
        ].tolist()
        starts, at = [], 0
        for _ in range(count):
            if at >= len(steps):
                raise EncodingError("ends within a code")
            starts.append(at)
            at += steps[at]
        reader.skip(at)
        if len(self.symbols) == 1 and heads[starts].any():
            raise EncodingError("has a code that is not a symbol's")
        return self.symbols[np.searchsorted(firsts, heads[starts], side="right") - 1]


def read_prefix_code(reader: BitReader, symbol_bits: int, symbols_max: int) -> PrefixCode:
    """Read the code that `PrefixCode.write` wrote.

    Raises:
        EncodingError: this is not a code, it has more than `symbols_max` symbols, or it gives some
            bit string no meaning or two. A single symbol has the code 0.
    """
    longest = reader.read_number(HEAD_BITS)
    none = np.zeros(0, np.int64)
    if not longest:
        return PrefixCode(symbol_bits, none, none)
    counts = reader.read_narrow(longest).tolist()
    if not 0 < sum(counts) <= symbols_max:
        raise EncodingError(f"has a prefix code of {sum(counts)} symbols, not 1 to {symbols_max}")
    room = sum(count << (longest - length) for length, count in enumerate(counts, 1))
    if counts != [1] and (room != 1 << longest or not counts[-1]):
        raise EncodingError("has a prefix code that is not complete")
    parts = []
    for count in counts:
        gaps = reader.read_rice(count, max(0, symbol_bits - count.bit_length()))
        parts.append(np.cumsum(gaps + 1) - 1)
    symbols = np.concatenate(parts)
    ordered = np.sort(symbols)
    if ordered[-1] >> symbol_bits or (ordered[1:] == ordered[:-1]).any():
        raise EncodingError("has a prefix code with a symbol too large, or twice")
    return PrefixCode(symbol_bits, symbols, np.repeat(np.arange(1, longest + 1), counts))


def make_prefix_code(numbers: Integers, symbol_bits: int) -> PrefixCode:
    """The code for these numbers: Huffman's, or a fixed width where that takes no more bits. The
    comparison includes the written code itself."""
    none = np.zeros(0, np.int64)
    fixed = PrefixCode(symbol_bits, none, none)
    symbols, counts = np.unique(numbers, return_counts=True)
    lengths = np.array(compute_code_lengths(counts.tolist()), np.int64)
    order = np.lexsort((symbols, lengths))
    code = PrefixCode(symbol_bits, symbols[order].astype(np.int64), lengths[order])
    writer = BitWriter()
    code.write(writer)
    bits = writer.count() + int((lengths * counts).sum())
    return code if bits < HEAD_BITS + len(numbers) * symbol_bits else fixed


def compute_code_lengths(counts: Sequence[int]) -> list[int]:
    """Huffman's lengths for symbols with these counts, in the order of the symbols. A single symbol
    has length 1.

    The two items of least weight are joined until one is left. Among equal weights a symbol comes
    before a joined pair, the smaller symbol before the larger, the earlier pair before the later.
    """
    if len(counts) == 1:
        return [1]
    leaves = sorted(range(len(counts)), key=lambda symbol: (counts[symbol], symbol))
    weights = [counts[symbol] for symbol in leaves]  # of the leaves, then of the pairs
    parents = [0] * (2 * len(leaves) - 1)
    leaf, pair = 0, len(leaves)
    while len(weights) < len(parents):
        joined = 0
        for _ in range(2):
            is_leaf = leaf < len(leaves) and (
                pair >= len(weights) or weights[leaf] <= weights[pair]
            )
            taken = leaf if is_leaf else pair
            leaf, pair = leaf + is_leaf, pair + (not is_leaf)
            parents[taken] = len(weights)
            joined += weights[taken]
        weights.append(joined)
    depths = [0] * len(parents)
    for node in range(len(parents) - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    lengths = [0] * len(leaves)
    for place, symbol in enumerate(leaves):
        lengths[symbol] = depths[place]
    return lengths
