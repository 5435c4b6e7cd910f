"""Hashes cannot be confused with each other, nor one Merkle tree with another."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.hashing import (
    Domain,
    compute_path_top,
    compute_root,
    compute_tree,
    count_path,
    get_path,
    hash_fields,
)

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "hashing.json").read_bytes())
LEAVES = [bytes.fromhex(leaf) for leaf in VECTOR["leaves"]]


def compute_top(leaves: list[bytes]) -> bytes:
    return compute_tree(leaves)[-1][0]


fields = st.lists(st.binary(max_size=6), max_size=4)


def test_vectors() -> None:
    for entry in VECTOR["fields"]:
        parts = [bytes.fromhex(field) for field in entry["fields"]]
        assert hash_fields(Domain(entry["domain"].encode()), *parts).hex() == entry["digest"]
    context = bytes.fromhex(VECTOR["context"])
    for entry in VECTOR["roots"]:
        some = LEAVES[: entry["count"]]
        assert compute_top(some).hex() == entry["tree_root"]
        assert compute_root(some).hex() == entry["root"]
        assert compute_root(some, context).hex() == entry["root_with_context"]
        for index, path in enumerate(entry["paths"]):
            assert [node.hex() for node in get_path(compute_tree(some), index)] == path


def test_no_domain_label_stands_twice() -> None:
    assert len(Domain.__members__) == len(list(Domain))  # a repeated value would be an alias
    labels = [domain.value.decode() for domain in Domain]
    assert all(re.fullmatch(r"assay/v4/[a-z-]+", label) for label in labels)


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
    assert compute_top([*leaves, leaves[-1]]) != compute_top(leaves)
    assert compute_root([*leaves, leaves[-1]]) != compute_root(leaves)


def test_a_node_shown_as_a_leaf_gives_another_root() -> None:
    """Two leaves' parent in their place keeps the top; the count makes it another root."""
    parent = compute_top(LEAVES[:2])
    assert compute_top([parent, LEAVES[2]]) == compute_top(LEAVES[:3])
    assert compute_root([parent, LEAVES[2]]) != compute_root(LEAVES[:3])


@given(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=9), st.data())
def test_another_leaf_order_or_count_gives_another_root(
    leaves: list[bytes], data: st.DataObject
) -> None:
    other = data.draw(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=9))
    assert (compute_root(leaves) == compute_root(other)) == (leaves == other)


@pytest.mark.parametrize("count", range(1, 10))
def test_a_path_leads_from_its_leaf_to_the_top_and_from_no_other(count: int) -> None:
    leaves = LEAVES[:count]
    tree = compute_tree(leaves)
    for index, leaf in enumerate(leaves):
        path = get_path(tree, index)
        assert len(path) == count_path(count, index)
        assert compute_path_top(leaf, count, index, path) == compute_top(leaves)
        assert compute_path_top(bytes(32), count, index, path) != compute_top(leaves)
        for place in range(len(path)):
            forged = [*path[:place], bytes(32), *path[place + 1 :]]
            assert compute_path_top(leaf, count, index, forged) != compute_top(leaves)
        for other in range(count):
            if other != index and count_path(count, other) == len(path):
                assert compute_path_top(leaf, count, other, path) != compute_top(leaves)


@given(st.integers(1, 1 << 14), st.data())
def test_a_path_has_a_node_for_each_level_at_most(count: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, count - 1))
    assert count_path(count, index) <= (count - 1).bit_length()
    assert count_path(count, 0) == (count - 1).bit_length()


def test_an_empty_tree_has_no_root() -> None:
    with pytest.raises(ValueError, match="at least one leaf"):
        compute_root([])
