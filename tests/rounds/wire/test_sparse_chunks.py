"""The sparse form against one written in plain Python: value by value, with integers and `struct`.

Products, quotients and sums of two fp32 numbers, computed in doubles and rounded once more, are
what fp32 arithmetic gives (Figueroa, 1995): so the numbers here are no library's.
"""

import math
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from assay.protocol.encoding import EncodingError
from assay.rounds.wire.sparse_chunks import (
    compute_chunks_size,
    decode_chunks,
    encode_chunks,
    make_layouts,
)

#: kept, chunk, bits: as run, as the demo has it, small ones with short last chunks, whole ones.
SHAPES = [(64, 4_096, 2), (24, 4_096, 2), (5, 64, 8), (3, 10, 2), (1, 1, 3), (7, 7, 4), (6, 9, 5)]
FINITE = st.floats(-(2.0**99), 2.0**99, width=32)
FEW = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0, 2.0**-101, 2.0**-148])  # ties, zeros, subnormals


def make_values(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def round_off(value: float) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def write_bits(fields: list[tuple[int, int]]) -> bytes:
    """Bits of (value, width) fields, the highest bit first, with zeros to the end of a byte."""
    text = "".join(f"{value:0{width}b}" if width else "" for value, width in fields)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def encode_plainly(values: list[float], kept: int, chunk: int, bits: int) -> bytes:
    whole = len(values) // chunk * chunk
    return _encode_section(values[:whole], kept, chunk, bits) + _encode_section(
        values[whole:], math.ceil((len(values) - whole) * kept / chunk), len(values) - whole, bits
    )


def _encode_section(values: list[float], kept: int, chunk: int, bits: int) -> bytes:
    units, lows, highs, codes = b"", [], [], []
    top = 2 ** (bits - 1) - 1
    for start in range(0, len(values), max(1, chunk)):
        some = values[start : start + chunk]
        chosen = sorted(sorted(range(chunk), key=lambda i: (-abs(some[i]), i))[:kept])
        quotient = round_off(max(abs(some[i]) for i in chosen) / (2 * top + 1))
        pattern = int.from_bytes(struct.pack(">f", quotient)[:2], "big")
        (unit,) = struct.unpack(">f", pattern.to_bytes(2, "big") + b"\0\0")
        if unit < 2.0**-100:
            pattern, chosen, magnitudes = 0, list(range(kept)), [0] * kept
            signs = [0] * kept
        else:
            magnitudes = [min(top, int(round_off(abs(some[i]) / (2 * unit)))) for i in chosen]
            signs = [int(math.copysign(1, some[i]) < 0) for i in chosen]
        units += struct.pack("<H", pattern)
        width = int(math.log2(chunk // kept))
        lows += [(i % 2**width, width) for i in chosen]
        ones = {i // 2**width + n for n, i in enumerate(chosen)}
        highs += [(int(p in ones), 1) for p in range(kept + (chunk - 1) // 2**width)]
        codes += [(s * 2 ** (bits - 1) + m, bits) for s, m in zip(signs, magnitudes, strict=True)]
    return units + write_bits(lows) + write_bits(highs) + write_bits(codes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(data=st.data())
def test_every_bit_is_what_plain_arithmetic_gives(shape, data):
    """Ties go to the lower index, wherever a library's selection would leave them."""
    values = data.draw(st.lists(FINITE | FEW, max_size=60)) * data.draw(st.integers(1, 3))
    array = np.array(values, np.float32)
    layouts = make_layouts(len(values), *shape)
    assert encode_chunks(array, layouts) == encode_plainly(array.tolist(), *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_large_tensors_too(shape):
    values = make_values(9_001)
    values[2_000:7_000] = np.round(values[2_000:7_000])  # many ties
    layouts = make_layouts(len(values), *shape)
    assert encode_chunks(values, layouts) == encode_plainly(values.tolist(), *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(values=st.lists(FINITE | FEW, max_size=130))
def test_decoded_values_encode_to_the_same_bytes(shape, values):
    layouts = make_layouts(len(values), *shape)
    data = encode_chunks(np.array(values, np.float32), layouts)
    assert len(data) == compute_chunks_size(layouts)
    found = decode_chunks(data, layouts)
    assert np.isfinite(found).all()
    assert encode_chunks(found, layouts) == data


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@given(data=st.data())
def test_garbage_is_refused_or_the_only_encoding_of_what_it_says(shape, data):
    layouts = make_layouts(50, *shape)
    size = compute_chunks_size(layouts)
    good = encode_chunks(make_values(50), layouts)
    mutant = bytearray(data.draw(st.sampled_from([good, bytes(size)])))
    for _ in range(data.draw(st.integers(1, 4))):
        mutant[data.draw(st.integers(0, size - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for attempt in (bytes(mutant), data.draw(st.binary(min_size=size, max_size=size))):
        with suppress(EncodingError):
            assert encode_chunks(decode_chunks(attempt, layouts), layouts) == attempt


def test_largest_are_kept_and_what_is_kept_is_near():
    """The 64 largest of 4,096 normal values are kept; each is within a step of the quantiser, 2
    units."""
    values = make_values(4_096)
    found = decode_chunks(
        encode_chunks(values, layouts := make_layouts(4_096, 64, 4_096, 8)), layouts
    )
    kept = np.flatnonzero(found)
    assert set(kept) == set(np.argsort(-np.abs(values))[:64])
    unit = np.abs(values).max() / 255
    assert (np.abs(found - values)[kept] <= 2 * unit).all()


@pytest.mark.parametrize(("kept", "percent"), [(64, 1.0), (24, 0.44)])
def test_size_follows_from_the_shape(kept, percent):
    """Against 16 bits a value; as run, with 12 bits an index, 64 of 4,096 take 1.37 %."""
    size = compute_chunks_size(make_layouts(1 << 20, kept, 4_096, 2))
    assert 100 * size / (2 << 20) == pytest.approx(percent, abs=0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -(2.0**100)])
def test_a_value_that_is_not_finite_is_not_sent(bad):
    values = make_values(20)
    values[3] = bad
    with pytest.raises(ValueError, match="is not a number"):
        encode_chunks(values, make_layouts(20, 3, 10, 2))


def test_processors_settings_change_nothing():
    """Subnormals are not looked at: a machine that takes them for 0 finds the same."""
    values = np.array([2.0**-130, -(2.0**-149), 1.0, 2.0**-126], np.float32)
    flushed = np.array([0.0, -0.0, 1.0, 2.0**-126], np.float32)
    layouts = make_layouts(4, 1, 4, 2)
    assert encode_chunks(values, layouts) == encode_chunks(flushed, layouts)


#: One chunk of ten values of which three are kept: 2 bytes, 1 byte of lower bits, 1 of upper ones.
LAYOUTS = make_layouts(10, 3, 10, 2)
GOOD = encode_chunks(np.array([0, 1, 0, -3, 0, 0, 0, 2, 0, 0], np.float32), LAYOUTS)


def change(at: int, byte: int) -> bytes:
    return GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (GOOD[:-1], "another size"),
        (GOOD + b"\0", "another size"),
        (change(1, 0xBF), "unit is out of range"),
        (change(1, 0x7F), "unit is out of range"),
        (change(1, 0x01), "unit is out of range"),
        (b"\0\x71" + GOOD[2:], r"largest value is 2\^100 or larger"),  # a unit of 2^99, three times
        (b"\0\0" + GOOD[2:], "a chunk of zeros"),
        (change(2, GOOD[2] | 1), "after a plane's end"),
        (change(3, 0xFE), "not as many indices"),
        (change(4, 0x00), "larger than its values need"),
    ],
)
def test_faults_are_named(data, why):
    with pytest.raises(EncodingError, match=why):
        decode_chunks(data, LAYOUTS)


@pytest.mark.parametrize("indices", [(1, 1, 7), (3, 2, 7), (1, 3, 11)])
def test_indices_in_another_order_or_beyond_are_refused(indices):
    lows = write_bits([(i % 2, 1) for i in indices])
    ones = {i // 2 + n for n, i in enumerate(indices)}
    highs = write_bits([(int(p in ones), 1) for p in range(3 + 9 // 2)])
    assert len(ones) == 3
    with pytest.raises(EncodingError, match=r"ascending|as many"):
        decode_chunks(GOOD[:2] + lows + highs + GOOD[-1:], LAYOUTS)
