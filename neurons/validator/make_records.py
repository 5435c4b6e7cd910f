"""Makes a settlement's records from a validator's results. Pure; specification, section 10."""

from collections.abc import Mapping
from dataclasses import dataclass

from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import Beacon
from assay.protocol.context import Context
from assay.protocol.record import (
    NOTHING,
    RECORD_VERSION,
    CoveredWindow,
    MemberRow,
    Moment,
    Outcome,
    SeatScore,
    Seen,
    SettlementRecord,
    Weight,
    WindowRecord,
)
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.window import Block
from assay.verification import Accepted, compute_score


@dataclass(frozen=True, slots=True)
class Author:
    """The author of records: hotkey, program and network."""

    software: str
    parameters: ParameterHistory
    hotkey: bytes


@dataclass(frozen=True, slots=True)
class RecordHeads:
    """The ends of both chains of records."""

    #: window, settlement: digests, zeros before the first
    window: bytes = NOTHING
    settlement: bytes = NOTHING
    epoch: int = 0  # of the newest settlement, 0 before the first
    idle: int = 0  # the newest settlement's


def make_records(
    author: Author,
    heads: RecordHeads,
    settlement: Settlement,
    judged_windows: Mapping[int, JudgedWindow],
) -> tuple[list[WindowRecord], SettlementRecord]:
    """A record of each window that a settlement covers, in order, and the settlement's own.
    `judged_windows` has those of its windows that were opened. Of the others nothing is known."""
    records: list[WindowRecord] = []
    previous = heads.window
    for window in sorted({*settlement.windows, *settlement.abstained}):
        counted = window in settlement.windows
        record = _make_window_record(author, previous, window, judged_windows.get(window), counted)
        records.append(record)
        previous = record.digest
    return records, _make_settlement_record(author, heads, settlement, records)


def _make_window_record(
    author: Author, previous: bytes, window: int, judged: JudgedWindow | None, counted: bool
) -> WindowRecord:
    outcome, challenge, checkpoint, context = Outcome.ABSTAINED, None, NOTHING, None
    if judged is not None:
        context, checkpoint = judged.context, judged.challenge.checkpoint
        challenge = _make_moment(judged.challenge.block, judged.challenge.beacon)
        outcome = Outcome.VOID if judged.void is not None else outcome
    audit = None if context is None else context.audit
    sample = None if context is None else context.sample
    return WindowRecord(
        version=RECORD_VERSION,
        software=author.software,
        parameters=author.parameters.get(window).digest,
        validator=author.hotkey,
        window=window,
        previous=previous,
        outcome=Outcome.COUNTED if counted else outcome,
        challenge=challenge,
        audit=None
        if context is None or audit is None
        else _make_moment(context.audit_block, audit),
        sample=None
        if context is None or sample is None
        else _make_moment(context.sample_block, sample),
        checkpoint=checkpoint,
        members=()
        if judged is None or context is None
        else tuple(_make_row(hotkey, judged, context) for hotkey in sorted(context.members)),
    )


def _make_moment(block: Block, beacon: Beacon) -> Moment:
    return Moment(block.hash, block.timestamp_ms, beacon)


def _make_row(hotkey: bytes, judged: JudgedWindow, context: Context) -> MemberRow:
    member, verdict = context.members[hotkey], judged.verdicts.get(hotkey)
    measured = judged.provisional.get(hotkey, verdict)  # the audit's, whatever the samples showed
    committed = context.commitments.get(hotkey)
    return MemberRow(
        hotkey=hotkey,
        uid=member.uid,
        registered_at=member.registered_at,
        committed=None
        if committed is None
        else Seen(committed.root, committed.groups, committed.locator),
        reason=None if verdict is None else verdict.reason,
        values=tuple(g.value for g in verdict.groups) if isinstance(verdict, Accepted) else (),
        score=0 if verdict is None else compute_score(verdict),
        witness=b"" if measured is None else measured.witness,
    )


def _make_settlement_record(
    author: Author, heads: RecordHeads, settlement: Settlement, records: list[WindowRecord]
) -> SettlementRecord:
    scores = tuple(
        SeatScore(hotkey, seat.uid, seat.registered_at, settlement.scores[seat])
        for hotkey, seat in sorted((hotkey, seat) for seat, hotkey in settlement.holders.items())
        if seat in settlement.scores
    )
    weights = sorted(settlement.weights.items())
    counted = [record for record in records if record.outcome is Outcome.COUNTED]
    last = counted[-1] if counted else None
    pairs = [(score.hotkey, score.score) for score in scores]
    return SettlementRecord(
        version=RECORD_VERSION,
        software=author.software,
        parameters=records[-1].parameters,
        validator=author.hotkey,
        epoch=settlement.epoch,
        previous_epoch=heads.epoch,
        previous=heads.settlement,
        windows=tuple(CoveredWindow(r.window, r.digest, r.outcome) for r in records),
        checkpoint=NOTHING if last is None else last.checkpoint,
        audit_round=0 if last is None or last.audit is None else last.audit.beacon.round,
        scores=scores,
        score_root=make_score_tree(pairs).root if pairs else NOTHING,
        idle=settlement.idle,
        weights=tuple(Weight(uid, weight) for uid, weight in weights),
        weights_digest=compute_weights_digest(weights),
    )
