"""What a miner earns, over time; and what the next window takes."""

from collections.abc import Mapping
from typing import Any

from assay.explorer.documents.curves import POINTS_MAX, Curve, CurvePoint
from assay.explorer.documents.miners import MinerEarnings, NextWindow
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin
from assay.explorer.views.common import divide, measure_speed
from assay.explorer.views.curves import make_curve
from assay.protocol.ss58 import decode_ss58
from assay.protocol.window import Phase, compute_block, compute_window

_DAY_MS, _ALPHA, _U16 = 86_400_000, 10**9, 65_535
#: Newest settlements whose pay is looked for.
_PAYMENTS = 12
#: Newest accepted files by whose lengths a full one is estimated.
_FILES = 8


def describe_earnings(reader: PageReader, miner: Mapping[str, Any]) -> MinerEarnings:
    """miner: its row of the index."""
    newest = reader.ask_one("SELECT epoch, total FROM settlements ORDER BY epoch DESC LIMIT 1")
    share, rank, ranked = None, None, 0
    if newest is not None:
        weights = reader.ask(
            "SELECT s.miner, w.weight, s.score FROM weights w JOIN scores s ON s.epoch = w.epoch "
            "AND s.uid = w.uid WHERE w.epoch = ? AND w.weight > 0",
            newest["epoch"],
        )
        own = next((row for row in weights if row["miner"] == miner["id"]), None)
        ranked = len(weights)
        if own is not None:
            share = divide(int(own["score"]), int(newest["total"]))
            rank = 1 + sum(row["weight"] > own["weight"] for row in weights)
    counts = reader.ask_one(
        "SELECT (SELECT count(*) FROM settlements WHERE weighed > 0) AS n, "
        "(SELECT count(*) FROM scores s JOIN weights w ON w.epoch = s.epoch AND w.uid = s.uid "
        "WHERE s.miner = ? AND w.weight > 0) AS paid",
        miner["id"],
    )
    last = reader.ask_one(
        "SELECT window, tokens FROM rows WHERE miner = ? AND tokens > 0 ORDER BY window DESC",
        miner["id"],
    )
    paid = read_newest_payment(reader, miner["address"])
    alpha_day, alpha = _count_alpha(reader, miner["address"])
    epochs = reader.ask_one("SELECT count(*) AS n, min(epoch) AS first FROM chain_epochs")
    neurons = reader.sources.read_neurons()
    price = None if neurons is None or neurons.price is None else neurons.price / _ALPHA
    return MinerEarnings(
        paid=None if paid is None else round(paid[1] / _U16, 6),
        paid_at=None if paid is None else paid[0],
        rank=rank,
        ranked=ranked,
        share=share,
        settlements=counts["paid"],
        of=counts["n"],
        speed=None if last is None else measure_speed(reader, last),
        alpha_day=alpha_day,
        alpha=alpha,
        tao_day=None if price is None or alpha_day is None else alpha_day * price,
        tao=None if price is None or alpha is None else alpha * price,
        epochs=epochs["n"],
        since=epochs["first"],
    )


def read_newest_payment(reader: PageReader, address: str) -> tuple[int, int] | None:
    """The block of the newest pay that is known, and a hotkey's u16 share of the miners' pay: of
    the chain, or else as a run has recorded it."""
    neurons, key = reader.sources.read_neurons(), decode_ss58(address)
    if neurons is not None:
        found = (uid for uid in neurons.rows if uid.hotkey == key)
        return next(((neurons.block, uid.incentive) for uid in found), None)
    epochs = reader.ask("SELECT epoch FROM settlements ORDER BY epoch DESC LIMIT ?", _PAYMENTS)
    noted = (reader.sources.read_payment(row["epoch"], address) for row in epochs)
    return next((one for one in noted if one is not None), None)


def _count_alpha(reader: PageReader, address: str) -> tuple[float | None, float | None]:
    """What epochs of the chain pay a day, and paid in all: those at the settlements' blocks that
    were read. Without any, a day's pay is by the last epoch."""
    neurons, key = reader.sources.read_neurons(), decode_ss58(address)
    timing = reader.subject.history.latest.timing
    day = _DAY_MS // timing.slot_ms
    newest = reader.ask_one("SELECT max(epoch) AS epoch FROM chain_epochs")["epoch"]
    if newest is None:
        held = next((u for u in neurons.rows if u.hotkey == key), None) if neurons else None
        return (None if held is None else held.emission * day / timing.tempo / _ALPHA), None
    paid = reader.ask_one(
        "SELECT (SELECT count(*) FROM chain_epochs WHERE epoch > ?1) AS n, "
        "coalesce(sum(emission), 0) AS rao, coalesce(sum(iif(epoch > ?1, emission, 0)), 0) AS new "
        "FROM chain_pay WHERE hotkey = ?2",
        newest - day,
        key,
    )
    return paid["new"] / paid["n"] * day / timing.tempo / _ALPHA, paid["rao"] / _ALPHA


def list_miner_curves(reader: PageReader, miner: Mapping[str, Any]) -> list[Curve]:
    """Share of settlements, pay where it is known, speed and score: those that have a point that is
    not zero."""
    settled = reader.ask(
        "SELECT t.epoch, t.last, t.total, s.score, p.emission, c.epoch IS NOT NULL AS known "
        "FROM scores s JOIN settlements t ON t.epoch = s.epoch "
        "LEFT JOIN chain_epochs c ON c.epoch = t.epoch "
        "LEFT JOIN chain_pay p ON p.epoch = t.epoch AND p.hotkey = ? "
        "WHERE s.miner = ? AND t.last IS NOT NULL ORDER BY t.epoch DESC LIMIT ?",
        miner["hotkey"],
        miner["id"],
        POINTS_MAX,
    )[::-1]
    windows = reader.ask(
        "SELECT window, score, tokens FROM rows WHERE miner = ? AND reason IS NOT NULL "
        "ORDER BY window DESC LIMIT ?",
        miner["id"],
        POINTS_MAX,
    )[::-1]
    shares = [
        CurvePoint(x=row["last"], y=share)
        for row in settled
        if (share := divide(int(row["score"]), int(row["total"]))) is not None
    ]
    alpha = [
        CurvePoint(x=row["last"], y=(row["emission"] or 0) / _ALPHA)
        for row in settled
        if row["known"]
    ]
    noted = [
        CurvePoint(x=row["last"], y=round(payment[1] / _U16, 6))
        for row in settled
        if (payment := reader.sources.read_payment(row["epoch"], miner["address"])) is not None
    ]
    speeds = [CurvePoint(x=row["window"], y=measure_speed(reader, row) or 0.0) for row in windows]
    scores = [CurvePoint(x=row["window"], y=row["score"]) for row in windows]
    earned = make_curve("share", "Share of a settlement’s score", "window", shares, 1)
    paid = make_curve("paid", "Share of the miners’ pay, by the chain", "window", noted, 1)
    curves = [
        earned | {"unit": "percent"},
        paid | {"unit": "percent"},
        make_curve("alpha", "Pay of an epoch, α", "window", alpha, None),
        make_curve("speed", "Accepted tokens a second", "window", speeds, None),
        make_curve("score", "Score", "window", scores, None),
    ]
    return [c for c in curves if any(p["y"] for one in c["series"] for p in one["points"])]


def describe_following(reader: PageReader, miner: Mapping[str, Any]) -> NextWindow | None:
    """What the next window takes. None: there is none, the run has ended."""
    live = reader.sources.read_live()
    if live is not None and not live.moving:
        return None
    history = reader.subject.history
    window, parameters = None, history.latest
    if live is not None:
        window = compute_window(history.get_at(live.head).timing, live.head) + 1
        parameters = reader.subject.get_parameters(window)
    timing, work = parameters.timing, parameters.work
    begin, commit = (
        None if window is None else compute_block(timing, window, phase)
        for phase in (Phase.CHALLENGE, Phase.COMMIT)
    )
    left = None if live is None or begin is None else max(0, begin - live.head)
    newest = reader.ask_one(
        "SELECT checkpoint FROM windows WHERE length(checkpoint) = 32 AND "
        "checkpoint != zeroblob(32) ORDER BY window DESC LIMIT 1"
    )
    origin = None if newest is None else reader.sources.read_manifest(newest["checkpoint"])
    files = reader.ask(
        "SELECT groups, tokens FROM rows WHERE miner = ? AND tokens > 0 "
        "ORDER BY window DESC LIMIT ?",
        miner["id"],
        _FILES,
    )
    groups = sum(row["groups"] for row in files)
    seconds = timing.window_blocks * timing.slot_ms / 1_000
    each = divide(sum(row["tokens"] for row in files), groups)  # tokens of a group
    return NextWindow(
        window=window,
        block=begin,
        begins_in=left,
        begins_in_seconds=None if left is None else left * timing.slot_ms / 1_000,
        commit_by=commit,
        seconds=timing.commit_offset * timing.slot_ms / 1_000,
        checkpoint=None if newest is None else newest["checkpoint"].hex(),
        number=(origin or CheckpointOrigin()).number,
        groups=work.group_cap,
        group_size=work.group_size,
        max_tokens=work.max_tokens,
        submitted=files[0]["groups"] if files else None,
        full_speed=None if each is None else round(each * work.group_cap / seconds, 2),
    )
