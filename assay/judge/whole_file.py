"""Reads a whole miner's file on this machine. Specification, section 4.

`assay.protocol.submission` defines the bytes. The caller checks whether they are the committed
ones.
"""

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

from assay.protocol.encoding import EncodingError, decode
from assay.protocol.hashing import Domain
from assay.protocol.parameters import PROTOCOL_VERSION
from assay.protocol.submission import (
    HEADER_BYTES,
    LOGPROB_BITS,
    GroupHead,
    Header,
    Opening,
    Rollout,
    compute_submission_root,
    decode_group_head,
    decode_ids,
    decode_opening,
    decode_proof,
    get_opening_bytes,
    is_head_committed,
    is_opening_committed,
    is_record_committed,
)


def read_whole(file: BinaryIO) -> tuple[Opening, Iterator[list[Rollout]]]:
    """Read a whole file on this machine: its opening, and its groups, one by one on demand.

    Each part is checked against the earlier part that names it, and the header's root binds all.
    The chain shows whether anybody has committed to that root.

    Raises:
        EncodingError: it is not such a file, cut off or damaged. The iterator raises this, too.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    data = file.read(HEADER_BYTES)
    version = PROTOCOL_VERSION.to_bytes(2, "big")
    if data[: len(version)] != version:
        raise EncodingError(
            f"is not a miner's file of version {PROTOCOL_VERSION}, *.rollouts: name one"
        )
    _require(size, HEADER_BYTES)
    header = decode(Header, data)
    if not header.groups or not header.group_size:
        raise EncodingError("is damaged, its header names no rollout: fetch it again")
    _require(size, get_opening_bytes(header.groups))
    data += file.read(get_opening_bytes(header.groups) - HEADER_BYTES)
    opening = decode_opening(data, header.groups)
    if not is_opening_committed(data, compute_submission_root(header)):
        raise EncodingError("is damaged, its index is not what its header names: fetch it again")
    _require(size, opening.file_bytes)
    return opening, (_read_group(file, opening, group) for group in range(header.groups))


def _require(size: int, needed: int) -> None:
    if size < needed:
        raise EncodingError(f"is cut off, {size:,} of at least {needed:,} bytes: fetch it again")


def _read_group(file: BinaryIO, opening: Opening, group: int) -> list[Rollout]:
    data = file.read(opening.find_head(group).size)
    if not is_head_committed(data, opening, group):
        raise EncodingError(
            f"is damaged, group {group} is not what its header names: fetch it again"
        )
    ids, proofs = (file.read(part(group).size) for part in (opening.find_ids, opening.find_proofs))
    try:
        head = decode_group_head(data[len(data) - opening.sizes[group].head :], opening, group)
        return [_decode(head, rollout, ids, proofs) for rollout in range(len(head.lengths))]
    except EncodingError as error:
        raise EncodingError(f"cannot be read: group {group} {error}") from None


def _decode(head: GroupHead, rollout: int, ids: bytes, proofs: bytes) -> Rollout:
    where = head.find_ids(rollout), head.find_proof(rollout)
    record, proof = ids[where[0].start : where[0].end], proofs[where[1].start : where[1].end]
    if not (
        is_record_committed(Domain.IDS, record, head.ids_digests[rollout])
        and is_record_committed(Domain.PROOF, proof, head.proof_digests[rollout])
    ):
        raise EncodingError(
            f"is damaged, rollout {rollout} is not what its head names: fetch the file again"
        )
    proof_values = decode_proof(proof, head, rollout)
    return Rollout(decode_ids(record, head, rollout), proof_values.logprobs, proof_values.sketch)


def list_rows(groups: Iterator[list[Rollout]]) -> list[dict[str, Any]]:
    """The rollouts of a file's groups as rows: `group`, `rollout`, `tokens` (ids), `logprobs` (in
    nats, as the miner claims them), `sketch` (two numbers a token). Raises an EncodingError: as the
    iterator."""
    return [
        {
            "group": index,
            "rollout": place,
            "tokens": rollout.tokens.tolist(),
            "logprobs": (rollout.logprobs / -float(1 << LOGPROB_BITS)).tolist(),
            "sketch": rollout.sketch.ravel().tolist(),
        }
        for index, group in enumerate(groups)
        for place, rollout in enumerate(group)
    ]
