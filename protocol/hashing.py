"""Hashes and Merkle trees: every digest in Assay is one call of `hash_fields`.

Specification, section 1. Pure: bytes in, bytes out.
"""

from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

DIGEST_BYTES = 32
#: The digest that means "nothing".
ZERO_DIGEST = bytes(DIGEST_BYTES)


class Domain(Enum):
    """The purpose of a hash. Each label is used by one computation only and never repeated."""

    # seeds
    CHALLENGE = b"assay/v4/challenge"
    AUDIT = b"assay/v4/audit"
    PROBLEM = b"assay/v4/problem"
    BLOCK = b"assay/v4/block"
    ROLLOUT = b"assay/v4/rollout"
    PROJECTION = b"assay/v4/projection"
    VALIDATOR_PROJECTION = b"assay/v4/validator-projection"
    POSITIONS = b"assay/v4/positions"
    AUDIT_GROUPS = b"assay/v4/audit-groups"
    AUDIT_ROLLOUTS = b"assay/v4/audit-rollouts"
    SAMPLE = b"assay/v4/sample"
    SAMPLED_ROLLOUTS = b"assay/v4/sampled-rollouts"
    # submission
    IDS = b"assay/v4/ids"
    PROOF = b"assay/v4/proof"
    GROUP_LEAF = b"assay/v4/group-leaf"
    INDEX = b"assay/v4/index"
    SUBMISSION = b"assay/v4/submission"
    NODE = b"assay/v4/node"
    ROOT = b"assay/v4/root"
    # things with a digest of their own
    PARAMETERS = b"assay/v4/parameters"
    ENVIRONMENT = b"assay/v4/environment"
    PROMPTS = b"assay/v4/prompts"
    TOOL = b"assay/v4/tool"
    CHECKPOINT = b"assay/v4/checkpoint"
    TENSOR_LEAF = b"assay/v4/tensor-leaf"
    STRUCTURE = b"assay/v4/structure"
    PLAIN_SHAPES = b"assay/v4/plain-shapes"
    TOKENIZER = b"assay/v4/tokenizer"
    CHAT_TEMPLATE = b"assay/v4/chat-template"
    CALIBRATION = b"assay/v4/calibration"
    CALIBRATION_SET = b"assay/v4/calibration-set"
    CALIBRATION_PROBLEM = b"assay/v4/calibration-problem"
    STEP = b"assay/v4/step"
    STEP_LEAF = b"assay/v4/step-leaf"
    STEP_DELAY = b"assay/v4/step-delay"
    RETURN = b"assay/v4/return"
    CHILD = b"assay/v4/child"
    MERGE = b"assay/v4/merge"
    SHARE = b"assay/v4/share"
    LINE = b"assay/v4/line"
    TRACE = b"assay/v4/trace"
    OPERATOR_LEAF = b"assay/v4/operator-leaf"
    WINDOW_RECORD = b"assay/v4/window-record"
    SETTLEMENT_RECORD = b"assay/v4/settlement-record"
    # inside an environment, and outside of the protocol itself
    ENVIRONMENT_STREAM = b"assay/v4/environment-stream"
    ENVIRONMENT_PROOF = b"assay/v4/environment-proof"
    HELD_OUT = b"assay/v4/held-out"
    # what checkpoints are measured by
    GATE = b"assay/v4/gate"
    GATE_PROBLEM = b"assay/v4/gate-problem"
    GATE_CHECK = b"assay/v4/gate-check"
    TRAINER = b"assay/v4/trainer"
    LOCAL_KEY = b"assay/v4/local-key"


def hash_fields(domain: Domain, *fields: bytes) -> bytes:
    """SHA-256 over the domain label and the length-prefixed fields, 32 bytes.

    `u8 len(label) ‖ label ‖ (u32 len(field) ‖ field)*`, lengths big endian. Injective: two
    different calls never hash the same bytes.
    """
    label = domain.value
    state = sha256(len(label).to_bytes(1, "big") + label)
    for field in fields:
        state.update(len(field).to_bytes(4, "big"))
        state.update(field)
    return state.digest()


def compute_tree(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """The levels of the binary tree over hashed `leaves`, from the leaves to the top. An odd node
    is promoted, never duplicated.

    Raises:
        ValueError: there are no leaves.
    """
    if not leaves:
        raise ValueError("a Merkle tree needs at least one leaf")
    levels = [list(leaves)]
    while len(level := levels[-1]) > 1:
        paired = [
            hash_fields(Domain.NODE, level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)
        ]
        levels.append(paired + level[len(level) - len(level) % 2 :])
    return levels


def get_path(levels: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The sibling nodes on the way from a leaf of `compute_tree` to the top, from the bottom up."""
    return [
        level[(index >> height) ^ 1]
        for height, level in enumerate(levels)
        if (index >> height) ^ 1 < len(level)
    ]


def count_path(leaves: int, index: int) -> int:
    """The number of nodes of `get_path` in a tree with this many leaves."""
    count = 0
    while leaves > 1:
        count += index ^ 1 < leaves
        leaves, index = (leaves + 1) // 2, index // 2
    return count


def compute_path_top(leaf: bytes, leaves: int, index: int, path: Sequence[bytes]) -> bytes:
    """The top of the tree, from a leaf and its path. `path` has `count_path` nodes."""
    node, rest = leaf, iter(path)
    while leaves > 1:
        if index ^ 1 < leaves:
            sibling = next(rest)
            pair = (sibling, node) if index & 1 else (node, sibling)
            node = hash_fields(Domain.NODE, *pair)
        leaves, index = (leaves + 1) // 2, index // 2
    return node


def compute_root(leaves: Sequence[bytes], *context: bytes) -> bytes:
    """The committed root: hash(root, u32 count, context…, tree root), 32 bytes. Raises a ValueError
    where there are no leaves."""
    return bind_top(compute_tree(leaves)[-1][0], len(leaves), *context)


def bind_top(top: bytes, leaves: int, *context: bytes) -> bytes:
    """The root that `compute_root` gives for this many leaves under this top, 32 bytes."""
    return hash_fields(Domain.ROOT, leaves.to_bytes(4, "big"), *context, top)
