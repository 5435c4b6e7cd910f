"""A validator's fields of `status.json`, besides those of every program."""

from collections import Counter
from functools import lru_cache
from typing import Any, TypedDict

from assay.artifacts.database import Database
from assay.neurons.program.status import SHOWN, CountdownStatus, WorkerStatus, describe_countdown
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.record_book import RecordBook, RecordStatus
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import describe_row, list_rows
from assay.protocol import Block, Context, Reason, encode_ss58
from assay.protocol.parameters import Timing
from assay.verification import compute_score

#: Cached, since the same few hundred hotkeys come every second.
_encode = lru_cache(maxsize=4_096)(encode_ss58)


class RoundStatus(TypedDict):
    """A beacon, and the block that names its round."""

    block: int
    round: int
    verified: bool  # always true: the program keeps only beacons whose signature it verified


class VerdictStatus(TypedDict):
    """One member's verdict. Keep it private until the settlement's weights are revealed."""

    hotkey: str
    uid: int | None  # null if the window's members are not known
    reason: str  # specification, section 8
    detail: str  # one sentence; empty if accepted
    score: int
    seconds: float  # time to reach the verdict


class WindowStatus(TypedDict):
    """One window of a validator."""

    window: int
    countdown: CountdownStatus
    state: str  # awaited (the audit is not drawn yet), judging, or final
    checkpoint: str  # digest of the checkpoint in force
    void: str | None  # why the window counts for nobody; null: it counts
    missing: str | None  # what this validator lacked at its last attempt; null: nothing
    challenge: RoundStatus
    audit: RoundStatus | None  # null before the round is out
    members: int | None  # members to judge; null before the audit is drawn
    committed: int | None  # members that committed to a file
    judged: int  # members with a verdict, or with none to come but for their samples
    verdicts: list[VerdictStatus]  # in the order of the hotkeys' bytes


class SettlementStatus(TypedDict):
    """A settlement's weights, and their delivery to the chain."""

    epoch: int  # the epoch block of the settlement
    state: str  # due, sending, sent, confirmed, superseded
    sent_at: int | None  # block that contains the weights
    confirmed_at: int | None  # finalized block in whose state the weights were seen
    trouble: str | None  # why they are not sent, or what happened to them; null: nothing
    weights: dict[str, int]  # uid → u16
    windows: list[int] | None  # windows that count; null if a restart lost them
    scores: dict[str, int] | None  # uid → score; null if a restart lost them


class ValidatorStatus(TypedDict):
    """The further fields of a validator."""

    windows: list[WindowStatus]  # the newest 16, oldest first
    settlements: list[SettlementStatus]  # the newest 16, newest first
    record: RecordStatus | None  # null if it publishes none
    workers: list[WorkerStatus]  # empty if the program judges by itself
    posts: list[dict[str, Any]]  # posts to the ledger contract, as in `assay ledger status`
    posting_trouble: str | None  # why posts are not sent; null: nothing is wrong


def describe_validator(
    validator: Validator, timing: Timing, head: int, database: Database, book: RecordBook | None
) -> dict[str, Any]:
    """The status of a validator, which may be running, without its posts to the ledger."""
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
    """(window, hotkey) → reason, of all verdicts in memory."""
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
        judged=len(judged.verdicts.keys() | judged.provisional.keys()),
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
    """The fields of a `SettlementStatus` from memory, beside those of the outbox's row."""
    if settlement is None:
        return {"windows": None, "scores": None}
    scores = {str(seat.uid): score for seat, score in settlement.scores.items()}
    return {"windows": list(settlement.windows), "scores": scores}


def name_verdicts(judged: JudgedWindow) -> str:
    """A line for a final window: the number of each reason, of those that committed to something.
    The reason for an abstention is a line of its own, see `Validator.trouble`."""
    reasons = [verdict.reason for verdict in judged.verdicts.values()]
    counts = Counter(reason.value for reason in reasons if reason is not Reason.NO_COMMITMENT)
    words = [f"{count} {reason}" for reason, count in sorted(counts.items())]
    if judged.void is not None:
        words.append(f"void for everybody ({judged.void})")
    elif not judged.complete:
        words.append("not all judged, so this validator abstains")
    return f"window {judged.challenge.window}: {', '.join(words) or 'nobody committed'}"
