"""A validator's published claims on one hotkey: its records, and the statistics beside them.

The claims are not checked here: `assay audit` does that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.artifacts.ports import Objects
from assay.artifacts.records.reader import RecordReader, open_reader
from assay.audit.explain.settled_share import SeatWindow, SettlementShare
from assay.audit.explain.window_case import StatedVerdict
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import Work
from assay.protocol.reason import Reason
from assay.protocol.record import MemberRow
from assay.protocol.ss58 import encode_ss58

#: Fields of a place in a verdict's JSON.
_PLACES = ("group", "rollout", "token")


@dataclass(frozen=True, slots=True)
class PublishedVerdicts:
    """A reader of one validator's records in some store."""

    reader: RecordReader
    work: Work  # of the window whose statistics are read

    @property
    def who(self) -> str:
        """The validator's name for people."""
        return f"validator {self.reader.address}"

    def get_verdict(self, hotkey: bytes, window: int) -> StatedVerdict | None:
        """The validator's verdict on a hotkey's window; None: nothing is published."""
        record = self.reader.get_window(window)
        if record is None:
            return None
        row = next((row for row in record.members if row.hotkey == hotkey), None)
        if row is None:  # a window's members are the hotkeys that could take part
            reason = Reason.NOT_REGISTERED if record.audit is not None else None
            return StatedVerdict(self.who, record.outcome, reason)
        words = find_words(self.reader.get_statistics(window, self.work), hotkey, row.reason)
        return StatedVerdict(
            self.who, record.outcome, row.reason, values=row.values, score=row.score, **words
        )

    def get_share(self, hotkey: bytes, epoch: int) -> SettlementShare | None:
        """The hotkey's share of the settlement at an epoch block."""
        record = self.reader.get_settlement(epoch)
        if record is None:
            return None
        windows = []
        seat: MemberRow | None = None
        for covered in record.windows:
            window = self.reader.get_window(covered.window)
            rows = () if window is None else window.members
            row = next((row for row in rows if row.hotkey == hotkey), None)
            seat = row or seat
            windows.append(
                SeatWindow(
                    covered.window,
                    covered.outcome,
                    row.reason if row is not None else None,
                    row.score if row is not None else 0,
                )
            )
        held = next((score for score in record.scores if score.hotkey == hotkey), None)
        uid = held.uid if held is not None else None
        return SettlementShare(
            epoch,
            tuple(windows),
            None if held is None and seat is not None else held.score if held is not None else 0,
            sum(score.score for score in record.scores),
            next((weight.weight for weight in record.weights if weight.uid == uid), 0),
            sum(weight.weight for weight in record.weights),
        )


def open_published(
    objects: Objects, validator: bytes, history: ParameterHistory, window: int
) -> PublishedVerdicts:
    """Open a validator's records in a store, for the statistics of one window."""
    work = history.get(window).work
    return PublishedVerdicts(open_reader(objects, validator, history), work)


def find_words(
    verdicts: Mapping[str, dict[str, Any]] | None, hotkey: bytes, reason: Reason | None
) -> dict[str, Any]:
    """Detail, place, audited rollouts and statistics of a hotkey's verdict in a window's
    statistics, if they have that reason."""
    verdict = (verdicts or {}).get(encode_ss58(hotkey))
    if verdict is None or (reason is not None and verdict["reason"] != reason.value):
        return {}
    statistics = verdict["statistics"]
    # zeros mean that no model was run
    measured = any(statistics.values()) or reason is Reason.ACCEPTED
    return {name: verdict[name] for name in _PLACES} | {
        "detail": "".join(c for c in verdict["detail"] if c.isprintable()),
        "audited": {group["index"]: tuple(group["audited"]) for group in verdict["groups"]},
        "statistics": statistics if measured else {},
    }
