"""Differences between the records of several validators: verdicts by window, scores by settlement.

Validators that judge alike can still differ: one may have missed a file, or read data that others
did not. This module does not say which validator is right; an audit does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from assay.protocol.reason import Reason
from assay.protocol.record import Outcome, SettlementRecord, WindowRecord

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class DifferingVerdict:
    """A member of a window whose verdict or score is not the same in all records.

    Attributes:
        by_validator: validator's hotkey → reason, None without a verdict, and score. A validator
            whose record does not have the member is missing.
    """

    hotkey: bytes
    uid: int
    by_validator: Mapping[bytes, tuple[Reason | None, int]]


@dataclass(frozen=True, slots=True)
class ComparedWindow:
    """A window of which at least two validators have a record.

    Attributes:
        outcomes: validator's hotkey → the outcome in its record.
        members: members of the window in any record.
    """

    window: int
    outcomes: Mapping[bytes, Outcome]
    members: int
    differing: tuple[DifferingVerdict, ...]


@dataclass(frozen=True, slots=True)
class DifferingSeat:
    """A uid whose score or weight is not the same in all records of a settlement.

    Attributes:
        hotkey: the uid's holder, 32 bytes; None if no record has a score for it, such as for the
            owner's.
        by_validator: validator's hotkey → score and weight; 0 where its record has none.
    """

    uid: int
    hotkey: bytes | None
    by_validator: Mapping[bytes, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ComparedSettlement:
    """A settlement of which at least two validators have a record.

    Attributes:
        totals: validator's hotkey → sum of all scores.
        seats: uids with a score or a weight in any record.
    """

    epoch: int
    totals: Mapping[bytes, int]
    seats: int
    differing: tuple[DifferingSeat, ...]


def compare_windows(
    records: Mapping[bytes, Mapping[int, WindowRecord]],
) -> tuple[ComparedWindow, ...]:
    """Compare windows. `records`: validator's hotkey → window → its record."""
    return tuple(_compare_window(window, by_validator) for window, by_validator in _turn(records))


def compare_settlements(
    records: Mapping[bytes, Mapping[int, SettlementRecord]],
) -> tuple[ComparedSettlement, ...]:
    """Compare settlements. `records`: validator's hotkey → epoch block → its record."""
    return tuple(_compare_settlement(epoch, by_validator) for epoch, by_validator in _turn(records))


def _turn(records: Mapping[bytes, Mapping[int, _R]]) -> list[tuple[int, dict[bytes, _R]]]:
    """Group by number, then by validator. Numbers that only one validator has are left out."""
    numbers = sorted({number for numbered in records.values() for number in numbered})
    turned = [
        (
            number,
            {
                who: numbered[number]
                for who, numbered in sorted(records.items())
                if number in numbered
            },
        )
        for number in numbers
    ]
    return [(number, numbered) for number, numbered in turned if len(numbered) > 1]


def _compare_window(window: int, records: Mapping[bytes, WindowRecord]) -> ComparedWindow:
    verdicts: dict[tuple[int, bytes], dict[bytes, tuple[Reason | None, int]]] = {}
    for validator, record in records.items():
        for row in record.members:
            verdicts.setdefault((row.uid, row.hotkey), {})[validator] = (row.reason, row.score)
    differing = (
        DifferingVerdict(hotkey, uid, by_validator)
        for (uid, hotkey), by_validator in sorted(verdicts.items())
        if len(by_validator) < len(records) or len(set(by_validator.values())) > 1
    )
    outcomes = {validator: record.outcome for validator, record in records.items()}
    return ComparedWindow(window, outcomes, len(verdicts), tuple(differing))


def _compare_settlement(
    epoch: int, records: Mapping[bytes, SettlementRecord]
) -> ComparedSettlement:
    holders = {seat.uid: seat.hotkey for record in records.values() for seat in record.scores}
    scores = {who: {s.uid: s.score for s in record.scores} for who, record in records.items()}
    weights = {who: {w.uid: w.weight for w in record.weights} for who, record in records.items()}
    uids = sorted({uid for rows in (*scores.values(), *weights.values()) for uid in rows})
    seats = {
        uid: {who: (scores[who].get(uid, 0), weights[who].get(uid, 0)) for who in records}
        for uid in uids
    }
    differing = (
        DifferingSeat(uid, holders.get(uid), by_validator)
        for uid, by_validator in seats.items()
        if len(set(by_validator.values())) > 1
    )
    totals = {who: sum(rows.values()) for who, rows in scores.items()}
    return ComparedSettlement(epoch, totals, len(uids), tuple(differing))
