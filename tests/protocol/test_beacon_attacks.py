"""Beacons an attacker would like us to accept: one defect each (tests/data/drand-beacons.json)."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import py_arkworks_bls12381 as arkworks
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.beacon import (
    QUICKNET,
    Beacon,
    BeaconChain,
    Scheme,
    compute_message,
    compute_round_at,
    is_valid_beacon,
)
from assay.protocol.encoding import EncodingError, from_json

DATA = json.loads((Path(__file__).parents[1] / "data" / "drand-beacons.json").read_bytes())
NAMES = "quicknet", "default"
G1_GENERATOR = arkworks.G1Point()
G2_GENERATOR = arkworks.G2Point()


def make_chain(name: str) -> BeaconChain:
    info = DATA[name]["info"]
    return BeaconChain(
        chain_hash=bytes.fromhex(info["hash"]),
        scheme=Scheme(info["schemeID"]),
        public_key=bytes.fromhex(info["public_key"]),
        genesis_ms=info["genesis_time"] * 1_000,
        period_ms=info["period"] * 1_000,
    )


def make_beacon(entry: Any) -> Beacon:
    return Beacon(
        round=entry["round"],
        signature=bytes.fromhex(entry["signature"]),
        previous_signature=bytes.fromhex(entry.get("previous_signature", "")),
    )


def verify_with_arkworks(name: str, entry: Any) -> bool:
    """The same equation in another library, from the drand specification and RFC 9380."""
    counter = entry["round"].to_bytes(8, "big")
    tag = DATA[name]["dst"].encode()
    raw, key = bytes.fromhex(entry["signature"]), bytes.fromhex(DATA[name]["info"]["public_key"])
    if name == "quicknet":
        hashed = arkworks.G1Point.hash_to_curve(sha256(counter).digest(), tag)
        left = arkworks.G1Point.from_compressed_bytes(raw), G2_GENERATOR
        right = hashed, arkworks.G2Point.from_compressed_bytes(key)
    else:
        message = sha256(bytes.fromhex(entry["previous_signature"]) + counter).digest()
        left = G1_GENERATOR, arkworks.G2Point.from_compressed_bytes(raw)
        hashed = arkworks.G2Point.hash_to_curve(message, tag)
        right = arkworks.G1Point.from_compressed_bytes(key), hashed
    return bool(arkworks.GT.pairing(*left) == arkworks.GT.pairing(*right))


def test_quicknet_is_pinned_as_recorded() -> None:
    assert make_chain("quicknet") == QUICKNET


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_round_is_accepted(name: str) -> None:
    chain = make_chain(name)
    assert len(DATA[name]["beacons"]) == {"quicknet": 33, "default": 15}[name]
    for entry in DATA[name]["beacons"]:
        assert is_valid_beacon(chain, make_beacon(entry)), entry["round"]
        assert make_beacon(entry).randomness.hex() == entry["randomness"]


@pytest.mark.parametrize("entry", DATA["bad"], ids=lambda e: f"{e['chain']}: {e['reason']}")
def test_forged_beacon_is_refused(entry: Any) -> None:
    chain = make_chain(entry["chain"])
    if "randomness" not in entry:
        assert not is_valid_beacon(chain, make_beacon(entry))
        return
    # Its signature is genuine and its randomness is not: there is no field to claim it in.
    claimed = {k: v for k, v in entry.items() if k not in ("chain", "reason")}
    with pytest.raises(EncodingError, match="unknown field 'randomness'"):
        from_json(Beacon, {"previous_signature": "", **claimed})
    assert make_beacon(entry).randomness.hex() != entry["randomness"]


@pytest.mark.parametrize("entry", DATA["quicknet"]["negative"], ids=lambda e: e["id"])
def test_published_bad_encoding_is_refused(entry: Any) -> None:
    assert not is_valid_beacon(QUICKNET, make_beacon(entry))


def test_all_bad_beacons_are_here() -> None:
    assert (len(DATA["bad"]), len(DATA["quicknet"]["negative"])) == (22, 20)


@pytest.mark.parametrize("name", NAMES)
def test_another_library_agrees(name: str) -> None:
    for entry in DATA[name]["beacons"][:4]:
        assert verify_with_arkworks(name, entry)
        assert not verify_with_arkworks(name, entry | {"round": entry["round"] + 1})


@given(st.integers(0, 2**64), st.binary(max_size=100), st.binary(max_size=100))
def test_garbage_is_a_plain_false(number: int, signature: bytes, key: bytes) -> None:
    beacon = Beacon(number, signature)
    for name in NAMES:
        assert not is_valid_beacon(make_chain(name), beacon)
    assert not is_valid_beacon(replace(QUICKNET, public_key=key), beacon)


def test_a_key_at_infinity_signs_nothing() -> None:
    chain, infinity = make_chain("quicknet"), b"\xc0" + bytes(95)
    forged = BeaconChain(
        chain.chain_hash, chain.scheme, infinity, chain.genesis_ms, chain.period_ms
    )
    for signature in (infinity[:48], bytes.fromhex(DATA["quicknet"]["beacons"][0]["signature"])):
        assert not is_valid_beacon(forged, Beacon(1, signature))


def test_the_message_binds_round_and_on_a_chained_network_the_past() -> None:
    chained = make_chain("default")
    beacon = Beacon(367, bytes(96), b"previous")
    assert (
        compute_message(chained, beacon) == sha256(b"previous" + (367).to_bytes(8, "big")).digest()
    )
    assert compute_message(QUICKNET, beacon) == sha256((367).to_bytes(8, "big")).digest()


@given(st.integers(0, 2**44))
def test_a_round_is_named_by_time_alone(time_ms: int) -> None:
    number = compute_round_at(QUICKNET, time_ms)
    published = QUICKNET.genesis_ms + (number - 1) * QUICKNET.period_ms
    assert published >= time_ms
    assert number == 1 or published - QUICKNET.period_ms < time_ms
