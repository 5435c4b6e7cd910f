"""Weights: what a settlement's record says, what its windows come to, what the chain shows."""

from typing import Any

from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.ports import ShownWeights
from assay.explorer.views.common import (
    Query,
    View,
    ask_page,
    describe_audit,
    divide,
    name_hotkey,
    pick,
)
from assay.explorer.views.validators import count_settlement
from assay.protocol import Reason
from assay.verification import Result, Seat, compute_settlement, compute_weights

_SETTLEMENTS = 25


def view_weights(reader: PageReader, query: Query) -> View:
    newest = reader.ask_one("SELECT epoch FROM settlements ORDER BY epoch DESC LIMIT 1")
    paging, rows = ask_page(reader, query, "settlements", "epoch DESC", _SETTLEMENTS)
    weights = None if newest is None else show_weights(reader, newest["epoch"], 256)
    return {
        "title": "Weights",
        "weights": weights,
        "settlements": [_describe(row) for row in rows],
        "paging": paging,
    } | describe_audit(
        reader,
        min((row["first"] for row in rows if row["first"] is not None), default=None),
        max((row["last"] for row in rows if row["last"] is not None), default=None),
    )


def view_settlement(reader: PageReader, query: Query, epoch: int) -> View:
    """One settlement. Raises NotFoundError: there is none of this epoch."""
    row = reader.ask_one("SELECT * FROM settlements WHERE epoch = ?", epoch)
    if row is None:
        raise NotFoundError(f"no settlement at block {epoch} is known")
    windows = reader.ask("SELECT * FROM windows WHERE epoch = ? ORDER BY window", epoch)
    weights = show_weights(reader, epoch, 1 << 16)
    return {
        "title": f"Settlement at block {epoch}",
        "settlement": _describe(row),
        "windows": [
            pick(w, "window", "outcome", "link", "accepted", "refused") | {"score": int(w["score"])}
            for w in windows
        ],
        "weights": weights,
        "others": count_settlement(reader, epoch),
    } | describe_audit(
        reader,
        windows[0]["window"] if windows else None,
        windows[-1]["window"] if windows else None,
    )


def _describe(row: Any) -> View:
    return {
        **pick(row, "epoch", "previous_epoch", "digest", "first", "last", "counted"),
        "total": int(row["total"]),
        **pick(row, "miners", "weighed", "score_root"),
    }


def show_weights(reader: PageReader, epoch: int, limit: int) -> View:
    """A settlement's weights, three times: recorded, derived from its windows, shown on chain.
    limit: rows; those with most weight come first."""
    record = {
        row["uid"]: row["weight"]
        for row in reader.ask("SELECT uid, weight FROM weights WHERE epoch = ?", epoch)
    }
    held = reader.ask(
        "SELECT s.uid, s.registered_at, s.score, m.address FROM scores s "
        "JOIN miners m ON m.id = s.miner WHERE s.epoch = ?",
        epoch,
    )
    scores, complete = _derive_scores(reader, epoch)
    derived = _derive_weights(reader, epoch, held, scores) if complete else None
    shown = reader.sources.read_shown(epoch, record)
    rows = _list_seats(reader, held, record, scores, derived, shown)
    rows.sort(key=lambda row: (-row["weight"], -row["score"], row["uid"]))
    total = sum(int(row["score"]) for row in held)
    for row in rows:
        row["share"] = divide(row["score"], total)
    return {
        "epoch": epoch,
        "total": total,
        "rows": rows[:limit],
        "count": len(held),
        "listed": len(rows),
        "scores_derived": all(row["derived_score"] == row["score"] for row in rows)
        if complete
        else None,
        "derived": None if derived is None else derived == record,
        "block": None if shown is None else shown.block,
        "on_chain": None if shown is None else dict(shown.weights) == record,
    }


def _list_seats(
    reader: PageReader,
    held: list[Any],
    record: dict[int, int],
    scores: dict[Seat, int],
    derived: dict[int, int] | None,
    shown: ShownWeights | None,
) -> list[View]:
    """The settlement's seats, and uids with a weight, recorded, derived or shown, or with a derived
    score, that it names no seat of: the owner's, or one too many."""
    on_chain = {} if shown is None else shown.weights

    def describe(uid: int, seat: str, address: str | None, score: int, again: int) -> View:
        return {
            "uid": uid,
            "seat": seat,
            "hotkey": address,
            "name": None if address is None else name_hotkey(reader, address),
            "score": score,
            "derived_score": None if derived is None else again,
            "weight": record.get(uid, 0),
            "derived_weight": None if derived is None else derived.get(uid, 0),
            "chain_weight": None if shown is None else on_chain.get(uid, 0),
        }

    seats = [Seat(row["uid"], row["registered_at"]) for row in held]
    rows = [
        describe(row["uid"], "scored", row["address"], int(row["score"]), scores.get(seat, 0))
        for row, seat in zip(held, seats, strict=True)
    ]
    left: dict[int, int] = {}
    for seat, score in scores.items():
        if derived is not None and score and seat not in seats:
            left[seat.uid] = left.get(seat.uid, 0) + score
    uids = {*record, *(derived or {}), *on_chain} - {seat.uid for seat in seats} | set(left)
    owner = reader.subject.identity.owner_uid
    return rows + [
        describe(uid, "owner" if uid == owner else "none", None, 0, left.get(uid, 0))
        for uid in sorted(uids)
    ]


def _derive_scores(reader: PageReader, epoch: int) -> tuple[dict[Seat, int], bool]:
    """Scores by the rows of the windows that count, and whether all of these are there."""
    windows = reader.ask("SELECT window, outcome, link FROM windows WHERE epoch = ?", epoch)
    counted = [row for row in windows if row["outcome"] == "counted"]
    rows = reader.ask(
        "SELECT r.window, r.uid, r.registered_at, r.reason, r.score FROM rows r "
        "JOIN windows w ON w.window = r.window "
        "WHERE w.epoch = ? AND w.outcome = 'counted' AND r.reason IS NOT NULL",
        epoch,
    )
    results = [
        Result(r["window"], Seat(r["uid"], r["registered_at"]), Reason(r["reason"]), r["score"])
        for r in rows
    ]
    return compute_settlement(results), all(row["link"] == "ok" for row in counted)


def _derive_weights(
    reader: PageReader, epoch: int, held: list[Any], scores: dict[Seat, int]
) -> dict[int, int]:
    last = reader.ask_one(
        "SELECT max(window) AS window FROM windows WHERE epoch = ? AND outcome = 'counted'", epoch
    )
    if last["window"] is None:
        return {}
    identity = reader.subject.get_parameters(last["window"]).identity
    by_uid = {
        row["uid"]: scores[seat]
        for row in held
        if (seat := Seat(row["uid"], row["registered_at"])) in scores
    }
    if not by_uid:
        return {}
    return compute_weights(by_uid, identity.owner_uid, identity.burn_share)
