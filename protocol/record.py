"""The public record: a validator's claims on each window and settlement, for anyone to check.

A `WindowRecord` holds the public inputs from which a window was judged, and the result: one row for
each member. A `SettlementRecord` holds the windows of one epoch, their scores and the weights. Both
are canonical bytes (section 1). Each kind is a chain: a record names the digest of the one before
it, so nobody can change, drop or insert one unseen. Specification, section 10.

Decoding does not show whether a record is true. An auditor derives everything in it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, TypeVar

from assay.protocol.beacon import Beacon
from assay.protocol.commitment import LOCATOR_BYTES
from assay.protocol.context import Committed, Context, Member
from assay.protocol.encoding import (
    U16,
    U32,
    U64,
    U128,
    Choice,
    Digest,
    EncodingError,
    Integer,
    Many,
    Maybe,
    Prefixed,
    Record,
    decode,
    encode,
)
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.parameters import Parameters
from assay.protocol.reason import Reason
from assay.protocol.window import Block, Phase, compute_block

RECORD_VERSION = 4
#: `previous` of a chain's first record; also a checkpoint that was never known.
NOTHING = bytes(32)
#: Most members of a record: as many as there can be uids.
MEMBERS_MAX = 1 << 16
#: Most windows of one settlement: the longest tempo of the shortest windows.
WINDOWS_MAX = 1 << 16
_GROUPS_MAX = 1 << 14
_WITNESS_MAX = 2 * 65_535
#: Most bytes of a record's head, and of a row without its values and witness.
_HEAD_BYTES, _ROW_BYTES = 2_048, 256

Software = Annotated[str, Prefixed(64, text=True)]
_R = TypeVar("_R", "WindowRecord", "SettlementRecord")


class Outcome(Enum):
    """The outcome of a window for this validator."""

    COUNTED = "counted"  # a settlement uses it
    VOID = "void"  # its checkpoint is unusable for everybody
    ABSTAINED = "abstained"  # this validator lacked something


@dataclass(frozen=True, slots=True)
class Moment:
    """A block that names a beacon round, and that round."""

    block_hash: Digest
    timestamp_ms: U64
    beacon: Beacon


@dataclass(frozen=True, slots=True)
class Seen:
    """A miner's commitment as state held it at the window's COMMIT block."""

    root: Digest
    groups: U32
    locator: Annotated[str, Prefixed(LOCATOR_BYTES, text=True)]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member of the window: a hotkey with the same seat at its CHALLENGE and COMMIT blocks."""

    hotkey: Digest
    uid: U16
    registered_at: U64
    committed: Annotated[Seen | None, Maybe(Record(Seen))]
    #: none where this validator has no verdict
    reason: Annotated[Reason | None, Maybe(Choice(Reason, "a reason"))]
    #: of the valued groups by ascending index; empty unless accepted
    values: Annotated[tuple[int, ...], Many(Integer(16), _GROUPS_MAX)]
    score: U128
    #: 2 signed bytes for each rollout that went through the model, by group and rollout
    witness: Annotated[bytes, Prefixed(_WITNESS_MAX)]


@dataclass(frozen=True)
class WindowRecord:
    """One window as one validator judged it. `decode_window_record` decodes one."""

    version: U16  # 4
    software: Software  # name and version of the software that judged
    parameters: Digest
    validator: Digest  # its hotkey
    window: U64
    previous: Digest  # digest of the validator's previous window record; zeros for the first
    outcome: Annotated[Outcome, Choice(Outcome, "an outcome")]
    #: block w·L; none where it was not known
    challenge: Annotated[Moment | None, Maybe(Record(Moment))]
    #: block w·L + AUDIT_OFFSET; none where it was not known
    audit: Annotated[Moment | None, Maybe(Record(Moment))]
    #: block w·L + SAMPLE_OFFSET; none where it was not known
    sample: Annotated[Moment | None, Maybe(Record(Moment))]
    checkpoint: Digest  # in force; zeros where challenge is none
    #: by ascending hotkey; empty where audit is none
    members: Annotated[tuple[MemberRow, ...], Many(Record(MemberRow), MEMBERS_MAX)]

    @cached_property
    def digest(self) -> bytes:
        """hash(window-record, canonical bytes), 32 bytes."""
        return hash_fields(Domain.WINDOW_RECORD, encode(self))


@dataclass(frozen=True, slots=True)
class CoveredWindow:
    """A window of a settlement."""

    window: U64
    record: Digest  # digest of its record
    outcome: Annotated[Outcome, Choice(Outcome, "an outcome")]


@dataclass(frozen=True, slots=True)
class SeatScore:
    """The score of the seat that a hotkey holds at the epoch block."""

    hotkey: Digest
    uid: U16
    registered_at: U64
    score: U128


@dataclass(frozen=True, slots=True)
class Weight:
    """One weight as the chain stores it."""

    uid: U16
    weight: U16


@dataclass(frozen=True)
class SettlementRecord:
    """One settlement of one validator. `decode_settlement_record` decodes one."""

    version: U16  # 4
    software: Software  # as in a window's record
    parameters: Digest  # those of the last window that it covers
    validator: Digest
    epoch: U64  # the epoch block that settled
    previous_epoch: U64  # `epoch` of the previous settlement record; 0 for the first
    previous: Digest  # digest of the previous settlement record; zeros for the first
    #: ascending, including those that do not count
    windows: Annotated[tuple[CoveredWindow, ...], Many(Record(CoveredWindow), WINDOWS_MAX)]
    checkpoint: Digest  # in force for the last window that counts; zeros where none does
    audit_round: U64  # audit beacon round of the last window that counts; 0 where none does
    #: by ascending hotkey: every seat that was a member of a counting window and is held at the
    #: epoch block, including scores of 0
    scores: Annotated[tuple[SeatScore, ...], Many(Record(SeatScore), MEMBERS_MAX)]
    score_root: Digest  # of the tree over (hotkey, score); zeros where there is no score
    idle: U32  # settlements in a row, up to this one, in which nobody earned (section 9)
    #: by ascending uid, without zeros; empty where no window counts, or nobody earned
    weights: Annotated[tuple[Weight, ...], Many(Record(Weight), MEMBERS_MAX)]
    weights_digest: Digest  # see below

    @cached_property
    def digest(self) -> bytes:
        """hash(settlement-record, canonical bytes), 32 bytes."""
        return hash_fields(Domain.SETTLEMENT_RECORD, encode(self))


def decode_window_record(data: bytes) -> WindowRecord:
    """The record with these canonical bytes. Its claims are not checked.

    Raises:
        EncodingError: these are other bytes, including another version and members out of order.
    """
    record = _decode(WindowRecord, data)
    _require_ascending("members", [row.hotkey for row in record.members])
    return record


def decode_settlement_record(data: bytes) -> SettlementRecord:
    """The record with these canonical bytes. Its claims are not checked.

    Raises:
        EncodingError: these are other bytes, including another version and lists out of order.
    """
    record = _decode(SettlementRecord, data)
    _require_ascending("windows", [covered.window for covered in record.windows])
    _require_ascending("scores", [score.hotkey for score in record.scores])
    _require_ascending("weights", [weight.uid for weight in record.weights])
    if not all(weight.weight for weight in record.weights):
        raise EncodingError("weights: one is 0")
    return record


def _decode(of: type[_R], data: bytes) -> _R:
    record = decode(of, data)
    if record.version != RECORD_VERSION:
        raise EncodingError(f"version: is {record.version}, not {RECORD_VERSION}")
    return record


def _require_ascending(name: str, keys: Sequence[Any]) -> None:
    if list(keys) != sorted(set(keys)):
        raise EncodingError(f"{name}: are not in ascending order, each once")


def compute_record_bytes_max(parameters: Parameters) -> int:
    """Most bytes of a true record under these parameters: a reader's limit."""
    work = parameters.work
    row = _ROW_BYTES + 16 * work.valued_groups + 2 * work.audited_rollouts
    return _HEAD_BYTES + max(MEMBERS_MAX * row, WINDOWS_MAX * 64 + MEMBERS_MAX * 128)


def make_record_context(record: WindowRecord, parameters: Parameters) -> Context | None:
    """The context that a record claims, for `find_context_fault`; None where the record has no
    inputs.

    A record leaves out the commitments of hotkeys that are not members: they decide nothing.
    """
    if record.challenge is None:
        return None
    timing, window = parameters.timing, record.window
    audit, sample = record.audit, record.sample
    committed_at = compute_block(timing, window, Phase.COMMIT)
    commitments: Mapping[bytes, Committed] = {
        row.hotkey: Committed(
            row.committed.root, row.committed.groups, committed_at, row.committed.locator
        )
        for row in record.members
        if row.committed is not None
    }
    return Context(
        window=window,
        challenge_block=_make_block(
            record.challenge, compute_block(timing, window, Phase.CHALLENGE)
        ),
        audit_block=_make_block(audit, compute_block(timing, window, Phase.AUDIT)),
        sample_block=_make_block(sample, compute_block(timing, window, Phase.SAMPLE)),
        challenge=record.challenge.beacon,
        audit=audit.beacon if audit is not None else None,
        sample=sample.beacon if sample is not None else None,
        members={row.hotkey: Member(row.uid, row.registered_at) for row in record.members},
        commitments=commitments,
        checkpoint=record.checkpoint,
        parameters=parameters,
    )


def _make_block(moment: Moment | None, number: int) -> Block:
    if moment is None:
        return Block(number, bytes(32), 0)
    return Block(number, moment.block_hash, moment.timestamp_ms)


def make_window_record_name(validator: str, window: int) -> str:
    """The name of a window's record under a validator's locator. `validator` in SS58."""
    return f"{validator}/window-{window}.record"


def make_settlement_record_name(validator: str, epoch: int) -> str:
    """The name of the record of the settlement at an epoch block."""
    return f"{validator}/settlement-{epoch}.record"


def make_statistics_name(validator: str, window: int) -> str:
    """The name of a window's statistics: JSON for people. No commitment binds it."""
    return f"{validator}/window-{window}.statistics.json"


def make_latest_name(validator: str) -> str:
    """The name of the newest settlement's `{"epoch": block, "digest": hex}`. It is a hint for
    readers that walk back along `previous_epoch`, and the only object that changes."""
    return f"{validator}/latest.json"
