"""Chain infos: the real ones are read, and one changed field is noticed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.network.beacon import LocalBeacon, read_chain_info
from assay.network.beacon.chain_info import describe_chain
from assay.protocol.beacon import QUICKNET, Scheme
from assay.protocol.encoding import EncodingError

DATA = json.loads((Path(__file__).parents[2] / "data" / "drand-beacons.json").read_bytes())
INFO = DATA["quicknet"]["info"]
LOCAL = LocalBeacon(b"info", 1_700_000_000_000, 3_000, lambda: 0).chain


def write(value: Any) -> bytes:
    return json.dumps(value).encode()


def rename(info: dict[str, Any]) -> dict[str, Any]:
    """The second version of an info."""
    return {
        "public_key": info["public_key"],
        "period": info["period"],
        "genesis_time": info["genesis_time"],
        "genesis_seed": info["groupHash"],
        "chain_hash": info["hash"],
        "scheme": info["schemeID"],
        "beacon_id": info["metadata"]["beaconID"],
    }


def test_quicknet_is_read_as_it_is_pinned() -> None:
    assert read_chain_info(write(INFO)) == QUICKNET
    assert read_chain_info(write(rename(INFO))) == QUICKNET


def test_the_default_chain_is_read() -> None:
    info = DATA["default"]["info"]
    chain = read_chain_info(write(info))
    assert chain == read_chain_info(write(rename(info)))
    assert chain.scheme is Scheme.CHAINED_G2
    assert chain.chain_hash.hex() == info["hash"]
    assert (chain.genesis_ms, chain.period_ms) == (1_595_431_050_000, 30_000)


@pytest.mark.parametrize("version", [1, 2])
def test_a_local_chain_comes_back(version: int) -> None:
    assert read_chain_info(write(describe_chain(LOCAL, "assay-local", version))) == LOCAL


def test_our_fields_are_drands() -> None:
    assert describe_chain(LOCAL, "x", 1).keys() == INFO.keys()
    assert describe_chain(LOCAL, "x", 2).keys() == rename(INFO).keys()


CHANGES = {
    "another key": {"public_key": INFO["public_key"][:-1] + "b"},
    "another period": {"period": 4},
    "another genesis": {"genesis_time": INFO["genesis_time"] + 1},
    "another group": {"groupHash": "00" * 32},
    "another name": {"metadata": {"beaconID": "fastnet"}},
    "another hash": {"hash": "00" * 32},
    "another chain's hash": {"hash": DATA["default"]["info"]["hash"]},
}
DAMAGE = {
    "no hash": ({"hash": None}, "hash is not lower-case hex"),
    "upper case": ({"hash": INFO["hash"].upper()}, "hash is not lower-case hex"),
    "an unknown scheme": ({"schemeID": "bls-unchained-on-g1"}, "not a beacon scheme"),
    "a scheme that is a list": ({"schemeID": []}, "not a beacon scheme"),
    "the other scheme": ({"schemeID": "pedersen-bls-chained"}, "public key has 96 bytes"),
    "a short key": ({"public_key": INFO["public_key"][2:]}, "public key has 95 bytes"),
    "no period": ({"period": 0}, "period is not an integer"),
    "a period that is true": ({"period": True}, "period is not an integer"),
    "a fraction": ({"period": 3.0}, "period is not an integer"),
    "an endless period": ({"period": 2**32}, "period is not an integer"),
    "before 1970": ({"genesis_time": -1}, "genesis_time is not an integer"),
    "a far genesis": ({"genesis_time": 2**63}, "genesis_time is not an integer"),
    "no name": ({"metadata": {}}, "metadata"),
    "no metadata": ({"metadata": None}, "metadata"),
    "a name that is a number": ({"metadata": {"beaconID": 1}}, "beacon id"),
    "one field more": ({"more": 1}, "unknown field 'more'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_changed_field_breaks_the_hash(name: str) -> None:
    with pytest.raises(EncodingError, match="does not follow from its other fields"):
        read_chain_info(write(INFO | CHANGES[name]))


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_field_is_named(name: str) -> None:
    changes, words = DAMAGE[name]
    with pytest.raises(EncodingError, match=words):
        read_chain_info(write(INFO | changes))


@pytest.mark.parametrize("field", INFO)
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(EncodingError, match=r"missing|unknown"):
        read_chain_info(write({key: value for key, value in INFO.items() if key != field}))


def test_a_field_that_stands_twice_is_refused() -> None:
    with pytest.raises(EncodingError, match="occurs twice"):
        read_chain_info(b'{"period": 3, ' + write(INFO)[1:])


def test_a_long_file_is_refused_unread() -> None:
    with pytest.raises(EncodingError, match="more than 4096"):
        read_chain_info(write(INFO) + b" " * 4_096)


@given(st.binary(max_size=200) | st.recursive(st.none(), st.lists).map(lambda v: write(v)))
def test_garbage_is_an_encoding_error(data: bytes) -> None:
    with pytest.raises(EncodingError):
        read_chain_info(data)


@given(st.sampled_from(sorted(INFO)), st.none() | st.booleans() | st.integers() | st.text())
def test_any_value_in_any_field_is_an_encoding_error(field: str, value: Any) -> None:
    if value == INFO[field]:
        return
    with pytest.raises(EncodingError):
        read_chain_info(write(INFO | {field: value}))
