"""Vectors of the public record: two windows and the settlement that covers them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from subjects import ALICE, BOB, PARAMETERS, WINDOW, digest

from assay.protocol.beacon import Beacon
from assay.protocol.encoding import encode, to_json
from assay.protocol.reason import Reason
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

Json = Any
SOFTWARE = "assay 1.0"
VALIDATOR = digest("validator")


def make_windows() -> list[WindowRecord]:
    """One that counts, and one of which nothing is known."""
    moments = [
        Moment(digest(name), 1_700_000_000_000 + at, Beacon(4_000 + at, bytes([at]) * 48, previous))
        for at, name, previous in (
            (1, "block", b""),
            (7, "audit block", b"\xab\xcd"),
            (9, "sample block", b"\xef"),
        )
    ]
    rows = (
        MemberRow(
            BOB,
            2,
            77,
            Seen(digest("root"), 12, "https://store.example/é"),
            Reason.ACCEPTED,
            (1_234_567, 2**64),
            2**65,
            bytes([0, 1, 127, 128, 255, 254]),
        ),
        MemberRow(ALICE, 65_535, 2**64 - 1, None, Reason.NO_COMMITMENT, (), 0, b""),
        MemberRow(digest("unjudged"), 3, 0, Seen(digest("other"), 1, ""), None, (), 0, b""),
    )
    first = WindowRecord(
        RECORD_VERSION,
        SOFTWARE,
        PARAMETERS.digest,
        VALIDATOR,
        WINDOW,
        NOTHING,
        Outcome.COUNTED,
        *moments,
        digest("checkpoint"),
        tuple(sorted(rows, key=lambda row: row.hotkey)),
    )
    unknown = replace(
        first,
        window=WINDOW + 1,
        previous=first.digest,
        outcome=Outcome.ABSTAINED,
        challenge=None,
        audit=None,
        sample=None,
        checkpoint=NOTHING,
        members=(),
    )
    return [first, unknown]


def make_settlement(windows: list[WindowRecord]) -> SettlementRecord:
    scores = [SeatScore(ALICE, 65_535, 2**64 - 1, 0), SeatScore(BOB, 2, 77, 2**65)]
    scores.sort(key=lambda score: score.hotkey)
    weights = [(0, 3_277), (2, 65_535)]
    return SettlementRecord(
        RECORD_VERSION,
        SOFTWARE,
        PARAMETERS.digest,
        VALIDATOR,
        12_072,
        12_048,
        digest("previous"),
        tuple(CoveredWindow(w.window, w.digest, w.outcome) for w in windows),
        digest("checkpoint"),
        4_007,
        tuple(scores),
        make_score_tree([(score.hotkey, score.score) for score in scores]).root,
        0,
        tuple(Weight(uid, weight) for uid, weight in weights),
        compute_weights_digest(weights),
    )


def make_record() -> Json:
    windows = make_windows()
    settlement = make_settlement(windows)
    return {
        "windows": [_describe(record) for record in windows],
        "settlement": _describe(settlement),
        "bad_windows": list(_iterate_bad(windows[0], BAD_WINDOWS)),
        "bad_settlements": list(_iterate_bad(settlement, BAD_SETTLEMENTS)),
    }


def _describe(record: WindowRecord | SettlementRecord) -> Json:
    return {
        "record": to_json(record),
        "encoding": encode(record).hex(),
        "digest": record.digest.hex(),
    }


#: Reason → (part of the message, the bytes of another record).
Bad = dict[str, tuple[str, Callable[[Any], bytes]]]

BAD_WINDOWS: Bad = {
    "another version": ("version", lambda r: encode(replace(r, version=1))),
    "members in another order": ("members", lambda r: encode(replace(r, members=r.members[::-1]))),
    "a member twice": ("members", lambda r: encode(replace(r, members=r.members[:1] * 2))),
    "an outcome nobody knows": ("outcome", lambda r: encode(r).replace(b"counted", b"Counted")),
    "a reason nobody knows": ("reason", lambda r: encode(r).replace(b"ACCEPTED", b"ACCEPTE!")),
    "cut off": ("ends after", lambda r: encode(r)[:-1]),
    "a byte too many": ("after its end", lambda r: encode(r) + b"\0"),
}
BAD_SETTLEMENTS: Bad = {
    "another version": ("version", lambda r: encode(replace(r, version=0))),
    "windows in another order": ("windows", lambda r: encode(replace(r, windows=r.windows[::-1]))),
    "scores in another order": ("scores", lambda r: encode(replace(r, scores=r.scores[::-1]))),
    "weights in another order": ("weights", lambda r: encode(replace(r, weights=r.weights[::-1]))),
    "a weight of 0": (
        "weights",
        lambda r: encode(replace(r, weights=(Weight(0, 0), *r.weights[1:]))),
    ),
    "a byte too many": ("after its end", lambda r: encode(r) + b"\0"),
}


def _iterate_bad(good: Any, bad: Bad) -> Any:
    for reason, (because, change) in bad.items():
        yield {"reason": reason, "because": because, "bytes": change(good).hex()}
