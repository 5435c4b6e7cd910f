"""The tree of scores is OpenZeppelin's, to the byte; the digest of weights is the storage's."""

import json
from pathlib import Path
from typing import Any

import pytest
from Crypto.Hash import keccak
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.score_tree import (
    compute_score_leaf,
    compute_weights_digest,
    is_score_proven,
    keccak256,
    make_score_tree,
)

ORIGINAL = json.loads(
    (Path(__file__).parents[1] / "data" / "openzeppelin-merkle-tree.json").read_bytes()
)["trees"]
hotkeys = st.binary(min_size=32, max_size=32)
scores = st.dictionaries(hotkeys, st.integers(0, 2**256 - 1), min_size=1, max_size=20)


def read_scores(entry: Any) -> list[tuple[bytes, int]]:
    return [(bytes.fromhex(hotkey), int(score)) for hotkey, score in entry["scores"]]


def test_keccak_is_ethereums() -> None:
    # of the Yellow Paper and of every chain explorer: the hash of nothing
    empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    assert keccak256(b"").hex() == empty


@pytest.mark.parametrize("entry", ORIGINAL, ids=lambda entry: str(len(entry["scores"])))
def test_tree_and_proofs_are_the_npm_packages(entry: Any) -> None:
    given = read_scores(entry)
    tree = make_score_tree(given)
    assert [node.hex() for node in tree.nodes] == entry["tree"]
    for (hotkey, score), proof in zip(given, entry["proofs"], strict=True):
        assert [step.hex() for step in tree.get_proof(hotkey)] == proof
        assert is_score_proven(tree.root, hotkey, score, [bytes.fromhex(s) for s in proof])


@given(scores, st.randoms(use_true_random=False))
def test_every_score_is_proven_and_no_other(by_hotkey: dict[bytes, int], random: Any) -> None:
    listed = list(by_hotkey.items())
    tree = make_score_tree(listed)
    random.shuffle(listed)
    assert make_score_tree(listed) == tree
    for hotkey, score in listed:
        proof = tree.get_proof(hotkey)
        assert is_score_proven(tree.root, hotkey, score, proof)
        assert not is_score_proven(tree.root, hotkey, score ^ 1, proof)
        assert not is_score_proven(tree.root, hotkey[::-1] + b"", score ^ 1, proof)
        assert not is_score_proven(tree.root, hotkey, score, (*proof, bytes(32)))


def test_a_node_never_passes_for_a_leaf() -> None:
    """A second preimage: an inner node's children given as hotkey and score."""
    tree = make_score_tree(read_scores(ORIGINAL[3]))
    left, right = tree.nodes[1:3]
    for hotkey, score in ((left, right), (right, left)):
        assert not is_score_proven(tree.root, hotkey, int.from_bytes(score, "big"), ())


def test_a_root_of_zeros_proves_nothing() -> None:
    assert not is_score_proven(bytes(32), bytes(32), 0, ())


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ([], "at least one"),
        ([(bytes(32), 1), (bytes(32), 2)], "two scores"),
        ([(bytes(32), 1), (bytes(32), 1)], "two scores"),
        ([(bytes(31), 1)], "32 bytes"),
        ([(bytes(32), -1)], "below 2"),
        ([(bytes(32), 1 << 256)], "below 2"),
    ],
)
def test_malformed_trees(given: list[tuple[bytes, int]], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        make_score_tree(given)


def test_leaf_is_hashed_twice_over_two_words() -> None:
    def once(data: bytes) -> bytes:
        return keccak.new(digest_bits=256, data=data).digest()

    assert compute_score_leaf(b"h" * 32, 258) == once(once(b"h" * 32 + bytes(30) + b"\1\2"))


def test_weights_digest_is_of_uid_and_weight_in_storage_order() -> None:
    packed = bytes.fromhex("0000ffff00070001")
    assert compute_weights_digest([(0, 65_535), (7, 1)]) == keccak256(packed)
    assert compute_weights_digest([]) == keccak256(b"")
    for bad in ([(7, 1), (0, 1)], [(7, 1), (7, 2)], [(1, 65_536)], [(-1, 1)]):
        with pytest.raises(ValueError, match=r"ascending|fit"):
            compute_weights_digest(bad)
