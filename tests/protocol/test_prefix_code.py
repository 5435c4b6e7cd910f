"""Prefix codes: the lengths and bytes of the vectors, Huffman's best, garbage refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.bit_fields import BitReader, BitWriter, Integers
from assay.protocol.encoding import EncodingError
from assay.protocol.prefix_code import (
    HEAD_BITS,
    PrefixCode,
    compute_code_lengths,
    make_prefix_code,
    read_prefix_code,
)

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "prefix_code.json").read_bytes())


def about(entry: Any) -> str:
    return str(entry.get("about") or entry["reason"])


def make_array(numbers: list[int]) -> Integers:
    return np.array(numbers, np.int64)


def describe(code: PrefixCode) -> list[list[int]]:
    columns = code.symbols.tolist(), code.lengths.tolist(), code.codes.tolist()
    return [list(entry) for entry in zip(*columns, strict=True)]


def write(code: PrefixCode) -> tuple[bytes, int]:
    writer = BitWriter()
    code.write(writer)
    return writer.finish(), writer.count()


def encode(code: PrefixCode, numbers: Integers) -> tuple[bytes, int]:
    writer = BitWriter()
    code.encode(writer, numbers)
    return writer.finish(), writer.count()


def decode(code: PrefixCode, data: bytes, count: int) -> list[int]:
    reader = BitReader(data)
    numbers = code.decode(reader, count)
    reader.require_finished()
    return numbers.tolist()


@pytest.mark.parametrize("entry", VECTOR["lengths"], ids=about)
def test_vectors_of_lengths(entry: Any) -> None:
    assert compute_code_lengths(entry["counts"]) == entry["lengths"]


@pytest.mark.parametrize("entry", VECTOR["codes"], ids=about)
def test_vectors_of_codes(entry: Any) -> None:
    numbers = np.repeat(*np.array(entry["runs"], np.int64).T[::-1])
    code = make_prefix_code(numbers, entry["symbol_bits"])
    assert describe(code) == entry["code"]
    assert write(code) == (bytes.fromhex(entry["written"]), entry["code_bits"])
    assert encode(code, numbers) == (bytes.fromhex(entry["encoded"]), entry["number_bits"])
    reader = BitReader(bytes.fromhex(entry["written"]))
    found = read_prefix_code(reader, entry["symbol_bits"], len(numbers))
    reader.require_finished()
    assert describe(found) == entry["code"]
    encoded = bytes.fromhex(entry["encoded"])
    assert decode(found, encoded, len(numbers)) == numbers.tolist()


@pytest.mark.parametrize("bad", VECTOR["bad"], ids=about)
def test_bad_vectors_of_codes(bad: Any) -> None:
    reader = BitReader(bytes.fromhex(bad["bytes"]))
    with pytest.raises(EncodingError, match=bad["because"]):
        read_prefix_code(reader, bad["symbol_bits"], bad["symbols_max"])


@pytest.mark.parametrize("bad", VECTOR["bad_numbers"], ids=about)
def test_bad_vectors_of_numbers(bad: Any) -> None:
    symbols, lengths = np.array(bad["code"], np.int64).reshape(-1, 2).T
    code = PrefixCode(bad["symbol_bits"], symbols, lengths)
    with pytest.raises(EncodingError, match=bad["because"]):
        decode(code, bytes.fromhex(bad["bytes"]), bad["count"])


def find_least(weights: list[int]) -> int:
    """Bits of the best code, by trying every way to join two."""
    if len(weights) == 1:
        return 0
    pairs = {
        (weights[i] + weights[j], *sorted(w for k, w in enumerate(weights) if k not in (i, j)))
        for i in range(len(weights))
        for j in range(i)
    }
    return min(joined[0] + find_least(list(joined)) for joined in pairs)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5))
def test_no_code_takes_fewer_bits_than_huffmans(counts: list[int]) -> None:
    lengths = compute_code_lengths(counts)
    assert sum(2.0**-length for length in lengths) == 1
    bits = sum(count * length for count, length in zip(counts, lengths, strict=True))
    assert bits == find_least(counts)


def test_the_largest_group_has_no_length_that_cannot_be_written() -> None:
    """Weights as unequal as 2^22 numbers allow."""
    counts = [1, 1]
    while sum(counts) + counts[-1] + counts[-2] <= 1 << 22:
        counts.append(counts[-1] + counts[-2])
    assert 28 <= max(compute_code_lengths(counts)) < 1 << HEAD_BITS


@given(
    st.integers(0, 32).flatmap(
        lambda bits: st.tuples(
            st.just(bits),
            st.lists(
                st.integers(0, 2**bits - 1) | st.integers(0, min(3, 2**bits - 1)),
                min_size=1,
                max_size=60,
            ),
        )
    )
)
def test_numbers_are_read_back_and_never_take_more_than_a_fixed_width(
    case: tuple[int, list[int]],
) -> None:
    symbol_bits, numbers = case[0], make_array(case[1])
    code = make_prefix_code(numbers, symbol_bits)
    (written, code_bits), (encoded, number_bits) = write(code), encode(code, numbers)
    assert code_bits + number_bits <= HEAD_BITS + symbol_bits * len(numbers)
    found = read_prefix_code(BitReader(written), symbol_bits, len(numbers))
    assert describe(found) == describe(code)
    assert decode(found, encoded, len(numbers)) == numbers.tolist()


@given(st.binary(max_size=12), st.integers(0, 8), st.integers(1, 9))
def test_decoded_bytes_have_no_other_encoding(data: bytes, bits: int, count: int) -> None:
    reader = BitReader(data)
    try:
        code = read_prefix_code(reader, bits, 40)
        code_bits = reader.position
        numbers = code.decode(reader, count)
        reader.require_finished()
    except EncodingError:
        return
    writer = BitWriter()
    code.write(writer)
    assert writer.count() == code_bits
    code.encode(writer, numbers)
    assert writer.finish() == data
