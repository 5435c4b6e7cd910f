"""What a validator's `status.json` has besides what every program's has."""

from collections import Counter
from functools import lru_cache
from typing import Any, TypedDict

from assay.neurons.program.database import Database
from assay.neurons.program.program_status import (
    SHOWN,
    CountdownStatus,
    WorkerStatus,
    describe_countdown,
)
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.record_book import RecordBook, RecordStatus
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import describe_row, list_rows
from assay.protocol import Block, Context, Reason, encode_ss58
from assay.protocol.parameters import Timing
from assay.verification import compute_score

#: The same few hundred hotkeys every second.
_encode = lru_cache(maxsize=4_096)(encode_ss58)


class RoundStatus(TypedDict):
    """A beacon that the program holds, and the block that names its round."""

    block: int
    round: int
    verified: bool  # its signature, against the pinned chain's key: never false, for none is kept


class VerdictStatus(TypedDict):
    """One member's verdict. Not public before the settlement's weights are open on chain."""

    hotkey: str
    uid: int | None  # null where the window's members are not known
    reason: str  # specification, section 8
    detail: str  # one sentence; empty where it was accepted
    score: int
    seconds: float  # that it took


class WindowStatus(TypedDict):
    """One window of a validator's."""

    window: int
    countdown: CountdownStatus
    state: str  # awaited: its audit is not drawn yet; judging; final
    checkpoint: str  # in force, digest
    void: str | None  # why it counts for nobody
    missing: str | None  # what this validator lacked when it last tried
    challenge: RoundStatus
    audit: RoundStatus | None  # null before it is out
    members: int | None  # that are to be judged; null before the audit is drawn
    committed: int | None  # of them, that committed to a file
    verdicts: list[VerdictStatus]  # by hotkey's bytes


class SettlementStatus(TypedDict):
    """A settlement's weights on their way to the chain."""

    epoch: int  # the epoch block that settled
    state: str  # due, sending, sent, confirmed, superseded
    sent_at: int | None  # block that holds them
    confirmed_at: int | None  # finalized block at which they were seen
    trouble: str | None  # what keeps them, or what happened to them
    weights: dict[str, int]  # uid → u16
    windows: list[int] | None  # that count; null where a restart has forgotten them
    scores: dict[str, int] | None  # uid → score; likewise


class ValidatorStatus(TypedDict):
    """What a validator's has besides."""

    windows: list[WindowStatus]  # the newest 16, oldest first
    settlements: list[SettlementStatus]  # the newest 16, newest first
    record: RecordStatus | None  # null where it leaves none
    workers: list[WorkerStatus]  # empty where the program judges by itself
    posts: list[dict[str, Any]]  # settlements on their way to the ledger, as `assay ledger status`
    posting_trouble: str | None


def describe_validator(
    validator: Validator, timing: Timing, head: int, database: Database, book: RecordBook | None
) -> dict[str, Any]:
    """What a validator knows, but for its posts to the ledger. It may go on meanwhile."""
    judged_windows = list(validator.judged_windows.values())
    known = {settlement.epoch: settlement for settlement in list(validator.settlements)}
    return {
        "windows": [_describe_window(judged, timing, head) for judged in judged_windows[-SHOWN:]],
        "settlements": [
            describe_row(row) | _describe_scores(known.get(row.epoch))
            for row in list_rows(database, SHOWN)
        ],
        "record": None if book is None else book.describe(),
        "workers": [] if validator.pool is None else validator.pool.describe(),
    }


def list_verdicts(validator: Validator) -> dict[tuple[int, bytes], str]:
    """Window and hotkey → reason, of all verdicts that are remembered."""
    return {
        (window, hotkey): verdict.reason.value
        for window, judged in list(validator.judged_windows.items())
        for hotkey, verdict in list(judged.verdicts.items())
    }


def _describe_window(judged: JudgedWindow, timing: Timing, head: int) -> WindowStatus:
    challenge, context = judged.challenge, judged.context
    return WindowStatus(
        window=challenge.window,
        countdown=describe_countdown(timing, challenge.window, head),
        state="final" if judged.closed else "judging" if context else "awaited",
        checkpoint=challenge.checkpoint.hex(),
        void=judged.void,
        missing=judged.missing,
        challenge=_describe_round(challenge.block, challenge.beacon.round),
        audit=None
        if context is None or context.audit is None
        else _describe_round(context.audit_block, context.audit.round),
        members=None if context is None else len(context.members),
        committed=None if context is None else len(context.commitments.keys() & context.members),
        verdicts=_describe_verdicts(judged, context),
    )


def _describe_round(block: Block, number: int) -> RoundStatus:
    return RoundStatus(block=block.number, round=number, verified=True)


def _describe_verdicts(judged: JudgedWindow, context: Context | None) -> list[VerdictStatus]:
    members = {} if context is None else context.members
    return [
        VerdictStatus(
            hotkey=_encode(hotkey),
            uid=members[hotkey].uid if hotkey in members else None,
            reason=verdict.reason.value,
            detail="" if verdict.accepted else verdict.detail,
            score=compute_score(verdict),
            seconds=round(judged.seconds.get(hotkey, 0.0), 3),
        )
        for hotkey, verdict in sorted(dict(judged.verdicts).items())
    ]


def _describe_scores(settlement: Settlement | None) -> dict[str, Any]:
    """What a `SettlementStatus` has beside the outbox's row, as far as that is remembered."""
    if settlement is None:
        return {"windows": None, "scores": None}
    scores = {str(seat.uid): score for seat, score in settlement.scores.items()}
    return {"windows": list(settlement.windows), "scores": scores}


def name_verdicts(judged: JudgedWindow) -> str:
    """One line a window: how many of each reason, of those that committed to something."""
    reasons = [verdict.reason for verdict in judged.verdicts.values()]
    counts = Counter(reason.value for reason in reasons if reason is not Reason.NO_COMMITMENT)
    what = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    if reasons and not counts:
        what = "nobody committed"
    why = judged.void or judged.missing
    return f"window {judged.challenge.window}: {what or 'nobody judged'}" + (
        f" ({why})" if why else ""
    )
