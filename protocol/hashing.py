"""Hashes and Merkle trees: every digest in Assay is one call of `hash_fields`.

Specification, section 1. Pure: bytes in, bytes out.
"""

from collections.abc import Sequence
from enum import Enum
from hashlib import sha256

DIGEST_BYTES = 32


class Domain(Enum):
    """What a hash is for. Each label is used by one computation only and never repeated."""

    # seeds
    CHALLENGE = b"assay/v1/challenge"
    AUDIT = b"assay/v1/audit"
    PROBLEM = b"assay/v1/problem"
    ROLLOUT = b"assay/v1/rollout"
    PROJECTION = b"assay/v1/projection"
    VALIDATOR_PROJECTION = b"assay/v1/validator-projection"
    POSITIONS = b"assay/v1/positions"
    AUDIT_GROUPS = b"assay/v1/audit-groups"
    # submission
    GROUP_LEAF = b"assay/v1/group-leaf"
    HEADER_LEAF = b"assay/v1/header-leaf"
    NODE = b"assay/v1/node"
    ROOT = b"assay/v1/root"
    # things with a digest of their own
    PARAMETERS = b"assay/v1/parameters"
    ENVIRONMENT = b"assay/v1/environment"
    CHECKPOINT = b"assay/v1/checkpoint"
    TENSOR_LEAF = b"assay/v1/tensor-leaf"
    STRUCTURE = b"assay/v1/structure"
    TOKENIZER = b"assay/v1/tokenizer"
    CHAT_TEMPLATE = b"assay/v1/chat-template"
    CALIBRATION = b"assay/v1/calibration"
    CALIBRATION_SET = b"assay/v1/calibration-set"
    CALIBRATION_PROBLEM = b"assay/v1/calibration-problem"
    STEP = b"assay/v1/step"
    STEP_LEAF = b"assay/v1/step-leaf"
    WINDOW_RECORD = b"assay/v1/window-record"
    SETTLEMENT_RECORD = b"assay/v1/settlement-record"
    # streams drawn inside an environment, and outside the protocol proper
    ENVIRONMENT_STREAM = b"assay/v1/environment-stream"
    HELD_OUT = b"assay/v1/held-out"
    TRAINER = b"assay/v1/trainer"
    LOCAL_KEY = b"assay/v1/local-key"


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


def compute_tree_root(leaves: Sequence[bytes]) -> bytes:
    """Top of the binary tree over hashed `leaves`; an odd node is promoted, never duplicated.

    Not to be committed to by itself: `compute_root` binds count and context.

    Raises:
        ValueError: the tree is empty.
    """
    if not leaves:
        raise ValueError("a Merkle tree needs at least one leaf")
    level = list(leaves)
    while len(level) > 1:
        paired = [
            hash_fields(Domain.NODE, level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)
        ]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


def compute_root(leaves: Sequence[bytes], *context: bytes) -> bytes:
    """What is committed: hash(root, u32 count, context…, tree root), 32 bytes. Raises a ValueError
    where the tree is empty."""
    count = len(leaves).to_bytes(4, "big")
    return hash_fields(Domain.ROOT, count, *context, compute_tree_root(leaves))
