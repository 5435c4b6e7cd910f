"""A submission's canonical bytes: header, rows, leaves, root. No file format is known here.

Specification, section 4. Decoding raises `EncodingError` on anything that is not canonical.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.protocol.encoding import U16, U32, U64, Digest, EncodingError, decode, encode
from assay.protocol.hashing import Domain, compute_root, hash_fields

#: Largest value of a log-probability, 2^-16 nats: three bytes of information.
LOGPROB_MAX = 2**24 - 1
#: Fraction bits of a log-probability.
LOGPROB_BITS = 16
#: Signed bytes of sketch a token.
SKETCH_COLUMNS = 2
_TOKEN_BYTES = 4 + 4 + SKETCH_COLUMNS


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says it is; every field is known to the judge beforehand."""

    version: U16
    parameters: Digest
    window: U64
    hotkey: Digest
    checkpoint: Digest
    groups: U32


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One completion and its proof."""

    tokens: NDArray[np.uint32]  # uint32 [T], the completion with its end token; T ≥ 1
    logprobs: NDArray[np.uint32]  # uint32 [T], −ln p in 2^-16 nats, at most `LOGPROB_MAX`
    sketch: NDArray[np.int8]  # int8 [T, 2]


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file's footer claims: canonical bytes of the header, and the leaf of every group."""

    header: bytes
    leaves: tuple[bytes, ...]


def encode_rollout(rollout: Rollout) -> bytes:
    """`u32 T ‖ T × u32 token ‖ T × u32 logprob ‖ 2T sketch bytes`, big endian."""
    count = len(rollout.tokens)
    if rollout.logprobs.shape != (count,) or rollout.sketch.shape != (count, SKETCH_COLUMNS):
        raise ValueError("a rollout's columns differ in length")
    return (
        count.to_bytes(4, "big")
        + rollout.tokens.astype(">u4").tobytes()
        + rollout.logprobs.astype(">u4").tobytes()
        + rollout.sketch.astype(np.int8).tobytes()
    )


def split_rows(data: bytes, rows: int) -> list[bytes]:
    """Cuts a group's canonical bytes into its `rows` rows.

    Raises:
        EncodingError: not exactly that many rows, or an empty one.
    """
    cut = []
    offset = 0
    for row in range(rows):
        count = int.from_bytes(data[offset : offset + 4], "big")
        end = offset + 4 + count * _TOKEN_BYTES
        if count == 0 or end > len(data):
            raise EncodingError(f"row {row} is empty or cut off")
        cut.append(data[offset:end])
        offset = end
    if offset != len(data):
        raise EncodingError(f"has bytes after row {rows - 1}")
    return cut


def decode_rollout(row: bytes) -> Rollout:
    """The rollout of one row as `split_rows` cuts it.

    Raises:
        EncodingError: a log-probability above `LOGPROB_MAX`.
    """
    count = int.from_bytes(row[:4], "big")
    numbers = np.frombuffer(row, ">u4", 2 * count, 4).astype(np.uint32)
    tokens, logprobs = numbers[:count], numbers[count:]
    if logprobs.max() > LOGPROB_MAX:
        raise EncodingError(f"a log-probability exceeds {LOGPROB_MAX}")
    sketch = np.frombuffer(row, np.int8, SKETCH_COLUMNS * count, 4 + 8 * count)
    return Rollout(tokens, logprobs, sketch.reshape(count, SKETCH_COLUMNS))


def compute_group_leaf(index: int, rows: Sequence[bytes]) -> bytes:
    """hash(group-leaf, u32 index, row…), 32 bytes."""
    return hash_fields(Domain.GROUP_LEAF, index.to_bytes(4, "big"), *rows)


def compute_submission_root(header: Header, leaves: Sequence[bytes]) -> bytes:
    """What the miner commits to: count, header and all groups, 32 bytes. Raises a ValueError where
    there is no group."""
    return compute_root(leaves, hash_fields(Domain.HEADER_LEAF, encode(header)))


def is_committed(footer: Footer, root: bytes) -> bool:
    """Whether a footer's claims are what a root on chain binds."""
    try:
        return compute_submission_root(decode(Header, footer.header), footer.leaves) == root
    except (EncodingError, ValueError):
        return False


def is_group_committed(footer: Footer, index: int, data: bytes, group_size: int) -> bool:
    """Whether a group's canonical bytes are what a footer's leaf binds."""
    try:
        leaf = compute_group_leaf(index, split_rows(data, group_size))
    except EncodingError:
        return False
    return index < len(footer.leaves) and footer.leaves[index] == leaf
