"""Canonical encodings: one value, one sequence of bytes; garbage raises EncodingError alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.beacon import Beacon, BeaconChain
from assay.protocol.context import Committed, Member
from assay.protocol.encoding import (
    JSON_DIGITS,
    EncodingError,
    decode,
    encode,
    from_json,
    read_hex,
    read_json,
    to_json,
)
from assay.protocol.manifest import Calibration, Manifest
from assay.protocol.parameters import Parameters
from assay.protocol.submission import Header
from assay.protocol.window import Block

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_bytes())


EXAMPLES: dict[type[Any], bytes] = {
    Parameters: bytes.fromhex(load("parameters")["encoding"]),
    Manifest: bytes.fromhex(load("manifest")["encoding"]),
    Header: bytes.fromhex(load("submission")["header_encoding"]),
    Calibration: encode(from_json(Calibration, load("manifest")["calibration"])),
    BeaconChain: encode(from_json(BeaconChain, load("parameters")["parameters"]["beacon"])),
    Beacon: encode(Beacon(3, b"signature", b"previous")),
    Block: encode(Block(1, bytes(32), 2)),
    Member: encode(Member(1, 2)),
    Committed: encode(Committed(bytes(32), 1, 2, "https://store.example/é")),
}
kinds = st.sampled_from(list(EXAMPLES))


def assert_canonical(of: type[Any], data: bytes) -> None:
    try:
        value = decode(of, data)
    except EncodingError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("of", EXAMPLES)
def test_bytes_and_json_say_the_same(of: type[Any]) -> None:
    value = decode(of, EXAMPLES[of])
    assert encode(value) == EXAMPLES[of]
    assert from_json(of, json.loads(json.dumps(to_json(value)))) == value


@pytest.mark.parametrize("of", EXAMPLES)
def test_every_cut_and_every_byte_added_is_refused(of: type[Any]) -> None:
    data = EXAMPLES[of]
    for size in range(len(data)):
        with pytest.raises(EncodingError):
            decode(of, data[:size])
    with pytest.raises(EncodingError, match=r"1 bytes after its end|^rounds: "):
        decode(of, data + b"\0")


@given(kinds, st.binary(max_size=400))
def test_random_bytes_raise_nothing_else(of: type[Any], data: bytes) -> None:
    assert_canonical(of, data)


@given(kinds, st.data())
def test_mutated_bytes_decode_to_themselves_or_not_at_all(
    of: type[Any], data: st.DataObject
) -> None:
    raw = bytearray(EXAMPLES[of])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + 1] = data.draw(st.binary(max_size=2))
        if not raw:
            return
    assert_canonical(of, bytes(raw))


@pytest.mark.parametrize(
    "value",
    [True, False, 1.0, float("nan"), float("inf"), "1", None, [], {}, -1, 2**32, 10**5_000],
    ids=lambda value: repr(value) if not isinstance(value, int) or value < 2**33 else "huge",
)
def test_only_an_integer_in_range_is_an_integer(value: Any) -> None:
    written = load("parameters")["parameters"]
    written["timing"]["tempo"] = value
    with pytest.raises(EncodingError, match=r"^timing: tempo: "):
        Parameters.from_json(written)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(kinds, json_values)
def test_random_json_raises_nothing_else(of: type[Any], value: Any) -> None:
    with pytest.raises(EncodingError):
        from_json(of, value)


@given(st.data(), json_values)
def test_one_wrong_value_anywhere_is_refused_or_kept_as_it_is(
    data: st.DataObject, value: Any
) -> None:
    written = load("parameters")["parameters"]
    section = data.draw(st.sampled_from(sorted(written)))
    written[section][data.draw(st.sampled_from(sorted(written[section])))] = value
    try:
        parameters = Parameters.from_json(written)
    except EncodingError:
        return
    assert json.dumps(parameters.to_json()) == json.dumps(written)


def test_text_that_is_no_unicode_is_refused() -> None:
    value = to_json(decode(Committed, EXAMPLES[Committed]))
    value["locator"] = json.loads('"\\ud800"')
    with pytest.raises(EncodingError, match="locator: is not Unicode"):
        from_json(Committed, value)


@pytest.mark.parametrize(
    "text", ["0", "0g", "AB", " 00", "00 ", "0x00", "00\n", "\u0660" * 2, 0, None, b"00"]
)
def test_hex_has_one_spelling(text: Any) -> None:
    with pytest.raises(EncodingError, match="lower-case hex"):
        read_hex(text)


@given(st.binary(max_size=40))
def test_hex_of_bytes_is_read_back(data: bytes) -> None:
    assert read_hex(data.hex()) == data


@pytest.mark.parametrize("beside", [b'""', b'"%s"' % (b"2" * (JSON_DIGITS + 1))])
def test_a_sign_is_no_digit_whatever_stands_beside_it(beside: bytes) -> None:
    longest = -int("1" * JSON_DIGITS)
    assert read_json(b"[%d, %s]" % (longest, beside))[0] == longest
    with pytest.raises(EncodingError):
        read_json(b"[%d1, %s]" % (longest, beside))
