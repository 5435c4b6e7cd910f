"""Contexts an attacker would like an auditor to believe, one defect each; and the valid one."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.beacon import Beacon
from assay.protocol.context import context_from_json, context_to_json, find_context_fault
from assay.protocol.encoding import EncodingError
from assay.protocol.selection import select_sampled
from assay.protocol.ss58 import decode_ss58, encode_ss58
from assay.protocol.window import Block

VECTORS = Path(__file__).parents[1] / "vectors"
VECTOR = json.loads((VECTORS / "context.json").read_bytes())
ADDRESSES = json.loads((VECTORS / "ss58.json").read_bytes())


def edit(bad: Any) -> Any:
    value = deepcopy(VECTOR["valid"])
    removed = [(bad["remove"], None)] if "remove" in bad else []
    for path, new in [*removed, *bad.get("edits", [])]:
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        if "remove" in bad:
            del parent[path[-1]]
        else:
            parent[path[-1]] = new
    return value


def test_the_valid_context_is_believed() -> None:
    context = context_from_json(VECTOR["valid"])
    assert find_context_fault(context) is None
    assert context_to_json(context) == VECTOR["valid"]
    assert context.challenge_seed.hex() == VECTOR["challenge_seed"]
    assert context.audit_seed.hex() == VECTOR["audit_seed"]
    assert context.sample_seed.hex() == VECTOR["sample_seed"]


@pytest.mark.parametrize("bad", VECTOR["bad"], ids=lambda bad: bad["reason"])
def test_a_false_context_is_refused(bad: Any) -> None:
    value = edit(bad)
    assert json.dumps(value) != json.dumps(VECTOR["valid"])
    if bad["fails"] == "reading":
        with pytest.raises(EncodingError) as refusal:
            context_from_json(value)
        assert bad["because"] in str(refusal.value)
    else:
        fault = find_context_fault(context_from_json(value))
        assert fault is not None
        assert bad["because"] in fault


def test_a_context_whose_beacons_are_not_known_yet_has_no_seeds_of_them() -> None:
    unknown = {"sample": None, "sample_block_timestamp": None}
    context = context_from_json(VECTOR["valid"] | unknown)
    assert find_context_fault(context) is None
    assert context.audit_seed.hex() == VECTOR["audit_seed"]
    with pytest.raises(ValueError, match="no beacon of its samples yet"):
        _ = context.sample_seed
    unknown |= {"audit": None, "audit_block_timestamp": None}
    context = context_from_json(VECTOR["valid"] | unknown)
    assert find_context_fault(context) is None
    with pytest.raises(ValueError, match="no audit beacon yet"):
        _ = context.audit_seed


def test_nothing_is_sampled_before_its_beacon_is_known_or_beyond_the_cap() -> None:
    known = context_from_json(VECTOR["valid"])
    work, hotkey = known.parameters.work, bytes(32)
    assert len(select_sampled(known, hotkey, work.group_cap)) == work.sampled_rollouts
    assert select_sampled(known, hotkey, work.group_cap + 1) == ()
    assert select_sampled(known, hotkey, 0) == ()
    assert select_sampled(replace(known, sample=None), hotkey, 1) == ()


@pytest.mark.parametrize("name", ["challenge_block", "audit_block", "sample_block"])
def test_blocks_of_another_window_are_refused(name: str) -> None:
    context = context_from_json(VECTOR["valid"])
    block: Block = getattr(context, name)
    moved = replace(context, **{name: replace(block, number=block.number + 12)})
    assert find_context_fault(moved) == "block numbers are not those of the window"


def test_every_fact_of_a_window_moves_its_seed() -> None:
    context = context_from_json(VECTOR["valid"])
    block = context.challenge_block
    others = (
        replace(context, window=context.window + 1),
        replace(context, checkpoint=bytes(32)),
        replace(context, challenge_block=Block(block.number, bytes(32), block.timestamp_ms)),
        replace(context, challenge=Beacon(context.challenge.round, b"other")),
        replace(
            context,
            parameters=replace(
                context.parameters, timing=replace(context.parameters.timing, tempo=25)
            ),
        ),
    )
    assert len({context.challenge_seed, *(other.challenge_seed for other in others)}) == 6


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def list_paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    return [path for key, inner in items for path in ((*at, key), *list_paths(inner, (*at, key)))]


PATHS = list_paths(VECTOR["valid"])


@given(st.sampled_from(PATHS), json_values)
def test_a_value_replaced_anywhere_raises_nothing_else(path: tuple[Any, ...], value: Any) -> None:
    changed = edit({"edits": [[path, value]]})
    try:
        context = context_from_json(changed)
    except EncodingError:
        return
    find_context_fault(context)
    assert json.dumps(context_to_json(context), sort_keys=True) == json.dumps(
        changed, sort_keys=True
    )


@pytest.mark.parametrize("entry", ADDRESSES["valid"], ids=lambda entry: entry["address"])
def test_ss58_vectors(entry: Any) -> None:
    assert encode_ss58(bytes.fromhex(entry["key"])) == entry["address"]
    assert decode_ss58(entry["address"]).hex() == entry["key"]


def test_alice_has_the_address_that_everybody_knows() -> None:
    alice = bytes.fromhex("d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d")
    assert encode_ss58(alice) == "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


@pytest.mark.parametrize("entry", ADDRESSES["bad"], ids=lambda entry: entry["reason"])
def test_a_bad_address_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_ss58(entry["address"])


@given(st.binary(min_size=32, max_size=32))
def test_addresses_are_read_back(key: bytes) -> None:
    assert decode_ss58(encode_ss58(key)) == key
