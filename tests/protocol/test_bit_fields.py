"""Bit fields: the bytes of the vectors, one way to write each list, garbage refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.bit_fields import WIDTH_MAX, BitReader, BitWriter
from assay.protocol.encoding import EncodingError

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "bit_fields.json").read_bytes())


def read(kind: str, reader: BitReader, count: int, width: int) -> list[int]:
    if kind == "rice":
        found = reader.read_rice(count, width)
    elif kind == "narrow":
        found = reader.read_narrow(count)
    else:
        found = reader.read(count, width)
    reader.require_finished()
    return found.tolist()


def write(kind: str, values: list[int], width: int) -> bytes:
    writer = BitWriter()
    if kind == "rice":
        writer.write_rice(np.array(values, np.int64), width)
    elif kind == "narrow":
        writer.write_narrow(values)
    else:
        writer.write(values, width)
    data = writer.finish()
    assert len(data) == -(-writer.count() // 8)
    return data


def test_vectors() -> None:
    for entry in VECTOR["fields"]:
        values, widths = [value for value, _ in entry["fields"]], [w for _, w in entry["fields"]]
        writer = BitWriter()
        writer.write(values, np.array(widths, np.int64))
        assert writer.finish().hex() == entry["bytes"]
        reader = BitReader(bytes.fromhex(entry["bytes"]))
        assert reader.read(len(values), np.array(widths, np.int64)).tolist() == values
        reader.require_finished()
    for kind in ("narrow", "rice"):
        for entry in VECTOR[kind]:
            values, width = entry["values"], entry.get("remainder_bits", 0)
            assert write(kind, values, width).hex() == entry["bytes"]
            reader = BitReader(bytes.fromhex(entry["bytes"]))
            assert read(kind, reader, len(values), width) == values


@pytest.mark.parametrize("bad", VECTOR["bad"], ids=lambda bad: bad["reason"])
def test_bad_vectors(bad: Any) -> None:
    with pytest.raises(EncodingError, match=bad["because"]):
        read(bad["kind"], BitReader(bytes.fromhex(bad["bytes"])), bad["count"], bad["width"])


@given(st.lists(st.tuples(st.integers(0, WIDTH_MAX), st.integers(0)), max_size=20))
def test_fields_are_read_back_together_and_one_by_one(fields: list[tuple[int, int]]) -> None:
    widths = [width for width, _ in fields]
    values = [value % 2**width for width, value in fields]
    writer = BitWriter()
    for value, width in zip(values, widths, strict=True):
        writer.write([value], width)
    data = writer.finish()
    reader = BitReader(data)
    assert reader.read(len(values), np.array(widths, np.int64)).tolist() == values
    reader.require_finished()
    reader = BitReader(data)
    assert [reader.read_number(width) for width in widths] == values


def test_a_count_that_no_bytes_have_takes_no_memory() -> None:
    """A head of a few bytes says that a rollout has any length."""
    with pytest.raises(EncodingError, match="ends after 32 bits"):
        BitReader(bytes(4)).read(1 << 50, 5)


@given(
    st.sampled_from(["fields", "narrow", "rice"]),
    st.binary(max_size=12),
    st.integers(1, 6),
    st.integers(0, 20),
)
def test_decoded_bytes_have_no_other_encoding(
    kind: str, data: bytes, count: int, width: int
) -> None:
    try:
        values = read(kind, BitReader(data), count, width)
    except EncodingError:
        return
    assert write(kind, values, width) == data
