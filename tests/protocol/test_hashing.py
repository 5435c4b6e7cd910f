"""Hashes cannot be confused with each other, nor one Merkle tree with another."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.hashing import Domain, compute_root, compute_tree_root, hash_fields

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "hashing.json").read_bytes())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTOR["leaves"]]
fields = st.lists(st.binary(max_size=6), max_size=4)


def test_vectors() -> None:
    for entry in VECTOR["fields"]:
        parts = [bytes.fromhex(field) for field in entry["fields"]]
        assert hash_fields(Domain(entry["domain"].encode()), *parts).hex() == entry["digest"]
    context = bytes.fromhex(VECTOR["context"])
    for entry in VECTOR["roots"]:
        some = LEAVES[: entry["count"]]
        assert compute_tree_root(some).hex() == entry["tree_root"]
        assert compute_root(some).hex() == entry["root"]
        assert compute_root(some, context).hex() == entry["root_with_context"]


def test_no_domain_label_stands_twice() -> None:
    assert len(Domain.__members__) == len(list(Domain))  # a repeated value would be an alias
    labels = [domain.value.decode() for domain in Domain]
    assert all(re.fullmatch(r"assay/v1/[a-z-]+", label) for label in labels)


@given(fields, fields, st.sampled_from(Domain), st.sampled_from(Domain))
def test_two_calls_never_hash_the_same_bytes(
    a: list[bytes], b: list[bytes], first: Domain, second: Domain
) -> None:
    same = (first, a) == (second, b)
    assert (hash_fields(first, *a) == hash_fields(second, *b)) == same


@pytest.mark.parametrize("count", range(1, 9))
def test_repeating_the_last_leaf_gives_another_root(count: int) -> None:
    """The second preimage of trees that duplicate an odd node."""
    leaves = LEAVES[:count]
    assert compute_tree_root([*leaves, leaves[-1]]) != compute_tree_root(leaves)
    assert compute_root([*leaves, leaves[-1]]) != compute_root(leaves)


def test_a_node_shown_as_a_leaf_gives_another_root() -> None:
    """Two leaves' parent in their place keeps the top; the count makes it another root."""
    parent = compute_tree_root(LEAVES[:2])
    assert compute_tree_root([parent, LEAVES[2]]) == compute_tree_root(LEAVES[:3])
    assert compute_root([parent, LEAVES[2]]) != compute_root(LEAVES[:3])


@given(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=9), st.data())
def test_another_leaf_order_or_count_gives_another_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    other = data.draw(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=9))
    assert (compute_root(leaves) == compute_root(other)) == (leaves == other)


def test_an_empty_tree_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        compute_root([])
