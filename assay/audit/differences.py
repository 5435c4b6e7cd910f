"""Differences between the records of several validators: verdicts by window, scores by settlement.

Validators that judge alike can still differ: one may have missed a file, or read data that others
did not. This module does not say which validator is right; an audit does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from assay.protocol import Reason, SettlementRecord, WindowRecord
from assay.protocol.record import Outcome

_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class DifferingVerdict:
    """A member of a window whose verdict or score is not the same in all records.

    Attributes:
        said: validator's hotkey → reason, None without a verdict, and score. A validator whose
            record does not have the member is missing.
    """

    hotkey: bytes
    uid: int
    said: Mapping[bytes, tuple[Reason | None, int]]


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
        said: validator's hotkey → score and weight; 0 where its record has none.
    """

    uid: int
    hotkey: bytes | None
    said: Mapping[bytes, tuple[int, int]]


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
    return tuple(_compare_window(window, found) for window, found in _turn(records))


def compare_settlements(
    records: Mapping[bytes, Mapping[int, SettlementRecord]],
) -> tuple[ComparedSettlement, ...]:
    """Compare settlements. `records`: validator's hotkey → epoch block → its record."""
    return tuple(_compare_settlement(epoch, found) for epoch, found in _turn(records))


def _turn(records: Mapping[bytes, Mapping[int, _R]]) -> list[tuple[int, dict[bytes, _R]]]:
    """Group by number, then by validator. Numbers that only one validator has are left out."""
    numbers = sorted({number for found in records.values() for number in found})
    turned = [
        (number, {who: found[number] for who, found in sorted(records.items()) if number in found})
        for number in numbers
    ]
    return [(number, found) for number, found in turned if len(found) > 1]


def _compare_window(window: int, records: Mapping[bytes, WindowRecord]) -> ComparedWindow:
    said: dict[tuple[int, bytes], dict[bytes, tuple[Reason | None, int]]] = {}
    for validator, record in records.items():
        for row in record.members:
            said.setdefault((row.uid, row.hotkey), {})[validator] = (row.reason, row.score)
    differing = (
        DifferingVerdict(hotkey, uid, found)
        for (uid, hotkey), found in sorted(said.items())
        if len(found) < len(records) or len(set(found.values())) > 1
    )
    outcomes = {validator: record.outcome for validator, record in records.items()}
    return ComparedWindow(window, outcomes, len(said), tuple(differing))


def _compare_settlement(
    epoch: int, records: Mapping[bytes, SettlementRecord]
) -> ComparedSettlement:
    holders = {seat.uid: seat.hotkey for record in records.values() for seat in record.scores}
    scores = {who: {s.uid: s.score for s in record.scores} for who, record in records.items()}
    weights = {who: {w.uid: w.weight for w in record.weights} for who, record in records.items()}
    uids = sorted({uid for rows in (*scores.values(), *weights.values()) for uid in rows})
    said = {
        uid: {who: (scores[who].get(uid, 0), weights[who].get(uid, 0)) for who in records}
        for uid in uids
    }
    differing = (
        DifferingSeat(uid, holders.get(uid), found)
        for uid, found in said.items()
        if len(set(found.values())) > 1
    )
    totals = {who: sum(rows.values()) for who, rows in scores.items()}
    return ComparedSettlement(epoch, totals, len(uids), tuple(differing))
