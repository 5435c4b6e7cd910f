"""Values that an EVM contract computes again: the tree over a settlement's scores, a digest of
weights.

Only this module uses keccak-256 instead of `hash_fields`: proofs must verify under OpenZeppelin's
`MerkleProof`. The tree equals `StandardMerkleTree` of @openzeppelin/merkle-tree 1.0 byte for byte:
leaf = keccak(keccak(abi.encode(bytes32 hotkey, uint256 score))), leaves sorted by hash, the array
`[root, …, leaves]` with children 2i + 1 and 2i + 2, a node = keccak of its two children, the
smaller first. A leaf is hashed twice, so no leaf can pass for a node. Specification, section 10.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Ethereum's Keccak-256, which is not SHA3-256; 32 bytes."""
    return keccak.new(digest_bits=256, data=data).digest()


def compute_score_leaf(hotkey: bytes, score: int) -> bytes:
    """keccak(keccak(bytes32 hotkey ‖ uint256 score)), 32 bytes. Raises a ValueError where the
    hotkey does not have 32 bytes, or the score does not fit a uint256."""
    if len(hotkey) != 32 or not 0 <= score < 1 << 256:
        raise ValueError("a leaf is a hotkey of 32 bytes and a score below 2^256")
    return keccak256(keccak256(hotkey + score.to_bytes(32, "big")))


def _hash_pair(one: bytes, other: bytes) -> bytes:
    return keccak256(min(one, other) + max(one, other))


@dataclass(frozen=True, slots=True)
class ScoreTree:
    """The tree of one settlement."""

    #: 32 bytes each, the root first: as `tree` of the npm package's `dump()`
    nodes: tuple[bytes, ...]
    places: Mapping[bytes, int]  # hotkey → index of its leaf in `nodes`

    @property
    def root(self) -> bytes:
        """The root that goes on chain, 32 bytes."""
        return self.nodes[0]

    def get_proof(self, hotkey: bytes) -> tuple[bytes, ...]:
        """The siblings from a hotkey's leaf up to the root, 32 bytes each; empty for a tree of one
        leaf. Raises a KeyError where the hotkey has no score in this tree."""
        proof, index = [], self.places[hotkey]
        while index > 0:
            proof.append(self.nodes[index + 1 if index % 2 else index - 1])
            index = (index - 1) // 2
        return tuple(proof)


def make_score_tree(scores: Sequence[tuple[bytes, int]]) -> ScoreTree:
    """The tree over (hotkey, score), in any order. Raises a ValueError where there are no scores, a
    hotkey occurs twice, or an entry is not a valid leaf."""
    if not scores:
        raise ValueError("a tree of scores needs at least one")
    leaves = sorted((compute_score_leaf(hotkey, score), hotkey) for hotkey, score in scores)
    count = len(leaves)
    if len({hotkey for hotkey, _ in scores}) != count:
        raise ValueError("a hotkey has two scores")
    nodes = [b""] * (count - 1) + [leaf for leaf, _ in reversed(leaves)]
    for i in range(count - 2, -1, -1):
        nodes[i] = _hash_pair(nodes[2 * i + 1], nodes[2 * i + 2])
    places = {hotkey: len(nodes) - 1 - i for i, (_, hotkey) in enumerate(leaves)}
    return ScoreTree(tuple(nodes), places)


def is_score_proven(root: bytes, hotkey: bytes, score: int, proof: Sequence[bytes]) -> bool:
    """Return whether `proof` leads from the leaf to `root`, as OpenZeppelin's `MerkleProof.verify`
    does.

    A root of zeros proves nothing: it means that there is no score.

    Raises:
        ValueError: as `compute_score_leaf`.
    """
    node = compute_score_leaf(hotkey, score)
    for sibling in proof:
        node = _hash_pair(node, sibling)
    return node == root and any(root)


def compute_weights_digest(weights: Sequence[tuple[int, int]]) -> bytes:
    """keccak256 of u16 uid ‖ u16 weight of each, big endian, in the given order; 32 bytes.

    The order is that of the chain's storage: ascending uid, zeros left out. A contract computes the
    same digest from the pairs that the storage holds for the validator. No weights give
    keccak256("").

    Raises:
        ValueError: a number does not fit 2 bytes, or uids do not ascend.
    """
    uids = [uid for uid, _ in weights]
    if uids != sorted(set(uids)):
        raise ValueError("weights are not in ascending order of uid, each once")
    try:
        return keccak256(
            b"".join(uid.to_bytes(2, "big") + weight.to_bytes(2, "big") for uid, weight in weights)
        )
    except OverflowError:
        raise ValueError("a uid or weight does not fit 2 bytes") from None
