"""Weights: those of a settlement's record, those derived from its windows, those on chain."""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.explorer.documents.settlements import (
    SettledWindow,
    SettlementDocument,
    SettlementSummary,
    WeightsDocument,
)
from assay.explorer.documents.shared import Role, SeatWeight, SettledWeights
from assay.explorer.page_reader import NotFoundError, PageReader
from assay.explorer.ports import ShownWeights
from assay.explorer.views.common import Query, ask_page, describe_audit, divide, name_hotkey
from assay.explorer.views.roles import find_roles
from assay.explorer.views.validators import count_settlement
from assay.protocol.reason import Reason
from assay.verification import Result, Seat, compute_settlement, settle_weights

_SETTLEMENTS = 25


def view_weights(reader: PageReader, query: Query) -> WeightsDocument:
    newest = reader.ask_one("SELECT epoch FROM settlements ORDER BY epoch DESC LIMIT 1")
    paging, rows = ask_page(reader, query, "settlements", "epoch DESC", _SETTLEMENTS)
    weights = None if newest is None else show_weights(reader, newest["epoch"], 256)
    first = min((row["first"] for row in rows if row["first"] is not None), default=None)
    last = max((row["last"] for row in rows if row["last"] is not None), default=None)
    return WeightsDocument(
        title="Weights",
        weights=weights,
        settlements=[_describe(row) for row in rows],
        paging=paging,
        **describe_audit(reader, first, last),
    )


def view_settlement(reader: PageReader, query: Query, epoch: int) -> SettlementDocument:
    """One settlement. Raises NotFoundError: this epoch has none."""
    row = reader.ask_one("SELECT * FROM settlements WHERE epoch = ?", epoch)
    if row is None:
        raise NotFoundError(f"no settlement at block {epoch} is known")
    windows = reader.ask("SELECT * FROM windows WHERE epoch = ? ORDER BY window", epoch)
    first, last = (windows[0]["window"], windows[-1]["window"]) if windows else (None, None)
    return SettlementDocument(
        title=f"Settlement at block {epoch}",
        settlement=_describe(row),
        windows=[
            SettledWindow(
                window=w["window"],
                outcome=w["outcome"],
                link=w["link"],
                accepted=w["accepted"],
                refused=w["refused"],
                score=int(w["score"]),
            )
            for w in windows
        ],
        weights=show_weights(reader, epoch, 1 << 16),
        others=count_settlement(reader, epoch),
        **describe_audit(reader, first, last),
    )


def _describe(row: Any) -> SettlementSummary:
    return SettlementSummary(
        epoch=row["epoch"],
        previous_epoch=row["previous_epoch"],
        digest=row["digest"].hex(),
        first=row["first"],
        last=row["last"],
        counted=row["counted"],
        total=int(row["total"]),
        miners=row["miners"],
        weighed=row["weighed"],
        idle=row["idle"],
        score_root=row["score_root"].hex(),
    )


def show_weights(reader: PageReader, epoch: int, limit: int) -> SettledWeights:
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
    roles = find_roles(reader)
    derived = _derive_weights(reader, epoch, held, scores) if complete else None
    # a settlement that sets none leaves on chain what was there
    chain_weights = reader.sources.read_shown(epoch, record) if record else None
    rows = _list_seats(reader, held, record, scores, derived, chain_weights, roles)
    rows.sort(key=lambda row: (-row["weight"], -row["score"], bool(row["roles"]), row["uid"]))
    return SettledWeights(
        epoch=epoch,
        total=_sum_scores(held),
        rows=rows[:limit],
        count=len(held),
        listed=len(rows),
        scores_derived=all(row["derived_score"] == row["score"] for row in rows)
        if complete
        else None,
        derived=None if derived is None else derived == record,
        block=None if chain_weights is None else chain_weights.block,
        on_chain=None if chain_weights is None else dict(chain_weights.weights) == record,
    )


def _sum_scores(held: list[Any]) -> int:
    return sum(int(row["score"]) for row in held)


def _list_seats(
    reader: PageReader,
    held: list[Any],
    record: dict[int, int],
    scores: dict[Seat, int],
    derived: dict[int, int] | None,
    chain_weights: ShownWeights | None,
    roles: Mapping[str, Sequence[Role]],
) -> list[SeatWeight]:
    """The settlement's seats; and uids without a seat in it that have a weight (recorded, derived
    or shown) or a derived score: the owner's, or one too many."""
    on_chain = {} if chain_weights is None else chain_weights.weights
    total = _sum_scores(held)

    def describe(
        uid: int, seat: str, address: str | None, score: int, derived_score: int
    ) -> SeatWeight:
        return SeatWeight(
            uid=uid,
            seat=seat,
            hotkey=address,
            name=None if address is None else name_hotkey(reader, address),
            roles=[*roles.get(address or "", ())],
            score=score,
            derived_score=None if derived is None else derived_score,
            weight=record.get(uid, 0),
            derived_weight=None if derived is None else derived.get(uid, 0),
            chain_weight=None if chain_weights is None else on_chain.get(uid, 0),
            share=divide(score, total),
        )

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
    by_uid = {
        row["uid"]: scores[seat]
        for row in held
        if (seat := Seat(row["uid"], row["registered_at"])) in scores
    }
    parameters = reader.subject.get_parameters(last["window"])
    return settle_weights(by_uid, parameters, _get_idle_before(reader, epoch))[1]


def _get_idle_before(reader: PageReader, epoch: int) -> int:
    """The count of settlements in which nobody earned, up to the one before this: of that one's
    record, or by this one's where that is not in the index."""
    row = reader.ask_one(
        "SELECT s.idle, b.idle AS before FROM settlements s "
        "LEFT JOIN settlements b ON b.digest = s.previous WHERE s.epoch = ?",
        epoch,
    )
    return int(row["idle"] - 1 if row["before"] is None else row["before"])
