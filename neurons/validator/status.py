"""A validator's fields of `status.json`, besides those of every program."""

from collections import Counter
from functools import lru_cache

from assay.artifacts.database import Database
from assay.artifacts.status.validator import (
    JudgingStatus,
    RoundStatus,
    SettlementStatus,
    VerdictStatus,
    WindowStatus,
)
from assay.neurons.program.status import SHOWN, describe_countdown, describe_workers
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import WeightsRow, describe_row, list_rows
from assay.protocol.context import Context
from assay.protocol.parameters import Timing
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block
from assay.verification import compute_score

#: Cached, since the same few hundred hotkeys come every second.
_encode = lru_cache(maxsize=4_096)(encode_ss58)


def describe_validator(
    validator: Validator, timing: Timing, head: int, database: Database, book: RecordBook | None
) -> JudgingStatus:
    """The status of a validator, which may be running, without its posts to the ledger."""
    judged_windows = list(validator.judged_windows.values())
    known = {settlement.epoch: settlement for settlement in list(validator.settlements)}
    return {
        "windows": [_describe_window(judged, timing, head) for judged in judged_windows[-SHOWN:]],
        "settlements": [
            _describe_settlement(row, known.get(row.epoch)) for row in list_rows(database, SHOWN)
        ],
        "record": None if book is None else book.describe(),
        "workers": describe_workers(validator.pool),
        "gate": [] if validator.gate is None else list(validator.gate.done)[::-1],
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


def _describe_settlement(row: WeightsRow, known: Settlement | None) -> SettlementStatus:
    """A settlement by its row in the outbox, and what memory has of it."""
    scores = None if known is None else {str(s.uid): score for s, score in known.scores.items()}
    windows = None if known is None else list(known.windows)
    return {**describe_row(row), "windows": windows, "scores": scores}


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
