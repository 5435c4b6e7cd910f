"""A validator's published words on one hotkey: its records, and the statistics beside them.

Taken as said: whether they hold is `assay audit`'s question.
"""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from assay.artifacts.ports import Objects
from assay.audit.explain.window_facts import SeatWindow, Settled, Statement
from assay.protocol import Parameters, Reason, encode_ss58
from assay.protocol.encoding import EncodingError
from assay.protocol.record import (
    MemberRow,
    SettlementRecord,
    WindowRecord,
    compute_record_bytes_max,
    decode_settlement_record,
    decode_window_record,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)

#: Largest statistics of a window that are read, bytes.
_STATISTICS_BYTES = 64 << 20
#: Characters of a stranger's sentence that are shown.
_SENTENCE = 400
#: What a verdict's JSON has of a place.
_PLACES = ("group", "rollout", "token")


@dataclass(frozen=True, slots=True)
class Records:
    """One validator's records, wherever they lie.

    Every method raises a StoreError where the store cannot be read.
    """

    objects: Objects
    validator: bytes
    parameters: Parameters

    @property
    def who(self) -> str:
        """For people."""
        return f"validator {encode_ss58(self.validator)}"

    def read_window(self, window: int) -> WindowRecord | None:
        """None: there is none, or what lies there is none."""
        name = make_window_record_name(encode_ss58(self.validator), window)
        data = self.objects.get(name, compute_record_bytes_max(self.parameters))
        try:
            record = None if data is None else decode_window_record(data)
        except EncodingError:
            return None
        return record if record is not None and record.window == window else None

    def read_settlement(self, epoch: int) -> SettlementRecord | None:
        """Likewise."""
        name = make_settlement_record_name(encode_ss58(self.validator), epoch)
        data = self.objects.get(name, compute_record_bytes_max(self.parameters))
        try:
            record = None if data is None else decode_settlement_record(data)
        except EncodingError:
            return None
        return record if record is not None and record.epoch == epoch else None

    def read_statement(self, hotkey: bytes, window: int) -> Statement | None:
        """What the validator says of a hotkey's window; None: nothing is published."""
        record = self.read_window(window)
        if record is None:
            return None
        row = next((row for row in record.members if row.hotkey == hotkey), None)
        if row is None:  # a window's members are those who could take part
            reason = Reason.NOT_REGISTERED if record.audit is not None else None
            return Statement(self.who, record.outcome, reason)
        name = make_statistics_name(encode_ss58(self.validator), window)
        words = find_words(self.objects.get(name, _STATISTICS_BYTES), hotkey, row.reason)
        return Statement(
            self.who, record.outcome, row.reason, values=row.values, score=row.score, **words
        )

    def read_settled(self, hotkey: bytes, epoch: int) -> Settled | None:
        """The settlement of an epoch block as it went for a hotkey."""
        record = self.read_settlement(epoch)
        if record is None:
            return None
        windows = []
        seat: MemberRow | None = None
        for covered in record.windows:
            window = self.read_window(covered.window)
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
        return Settled(
            epoch,
            tuple(windows),
            None if held is None and seat is not None else held.score if held is not None else 0,
            sum(score.score for score in record.scores),
            next((weight.weight for weight in record.weights if weight.uid == uid), 0),
            sum(weight.weight for weight in record.weights),
        )


def find_words(data: bytes | None, hotkey: bytes, reason: Reason | None) -> dict[str, Any]:
    """Detail, place and statistics of a hotkey's verdict in a window's statistics. A stranger's
    JSON: what is not as it should be is left out."""
    try:
        document = json.loads(data or b"")
        verdict = next(v for v in document["verdicts"] if v["hotkey"] == encode_ss58(hotkey))
        if reason is not None and verdict["reason"] != reason.value:
            return {}
        words = {name: verdict[name] for name in _PLACES if type(verdict.get(name)) is int}
        statistics = {
            str(name): float(value)
            for name, value in verdict.get("statistics", {}).items()
            if type(value) in (int, float) and isfinite(value)
        }
        detail = "".join(c for c in str(verdict["detail"])[:_SENTENCE] if c.isprintable())
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        StopIteration,
        RecursionError,
    ):
        return {}
    # zeros say that no model was run
    return words | {
        "detail": detail,
        "statistics": statistics if any(statistics.values()) or reason is Reason.ACCEPTED else {},
    }
