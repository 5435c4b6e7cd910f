"""The first page's three answers: does the model get better, is the network healthy, who is paid.

Each figure is one that another page has, under the same name; nothing is measured for it.
"""

from collections.abc import Sequence
from typing import Any

from assay.charts.smoothing import POINTS, smooth
from assay.explorer.documents.curves import CurvePoint
from assay.explorer.documents.first_screen import (
    SPARK_POINTS,
    Answer,
    FirstScreen,
    LearningTile,
    NetworkHealth,
    PaidMiner,
)
from assay.explorer.documents.shared import SettledWeights
from assay.explorer.documents.training import GateShown
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Live
from assay.explorer.views.common import count_reasons, describe_trouble, divide, measure_speed
from assay.explorer.views.gains import list_gains, view_gate
from assay.explorer.views.held_out import list_accuracy
from assay.explorer.views.miner_earnings import read_newest_payment
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58

#: Miners in the list of who is paid.
_PAID = 6
_ALPHA, _U16 = 10**9, (1 << 16) - 1
_NOT_REFUSED = (Reason.ACCEPTED.value, Reason.NO_COMMITMENT.value)


def view_first_screen(
    reader: PageReader, live: Live | None, weights: SettledWeights | None
) -> FirstScreen:
    """weights: of the newest settlement."""
    rows = reader.ask("SELECT * FROM windows ORDER BY window DESC LIMIT ?", SPARK_POINTS)[::-1]
    tiles = _list_tiles(reader, rows)
    paid_count = 0
    if weights is not None:
        found = reader.ask_one(
            "SELECT count(*) AS n FROM weights w JOIN scores s ON s.epoch = w.epoch AND "
            "s.uid = w.uid WHERE w.epoch = ? AND w.weight > 0",
            weights["epoch"],
        )
        paid_count = found["n"]
    return FirstScreen(
        learning=_judge_learning(tiles),
        tiles=tiles,
        healthy=_judge_health(live, rows),
        health=_describe_health(reader, [row for row in rows if row["outcome"] == "counted"]),
        pay=_judge_pay(weights, paid_count),
        paid=_list_paid(reader, weights),
        paid_count=paid_count,
    )


def _list_tiles(reader: PageReader, rows: Sequence[Any]) -> list[LearningTile]:
    training = reader.sources.read_training()
    gate = view_gate(reader, training)
    tried = [p for p in (training.points if training else ()) if p["value"] is not None]
    tiles = [_show_gain(gate), _show_accuracy(list_accuracy(tried), tried[-1:]), _show_reward(rows)]
    return [tile for tile in tiles if tile is not None]


def _show_gain(gate: GateShown | None) -> LearningTile | None:
    if gate is None or not gate["measured"]:
        return None
    newest, points = gate["measured"][-1], list_gains(gate)
    return LearningTile(
        name="gain",
        along="checkpoint",
        at=newest["number"],
        value=newest["gain"],
        low=newest["low"],
        high=newest["high"],
        smoothed=None,
        problems=None,
        points=points[-SPARK_POINTS:],
    )


def _show_accuracy(points: list[CurvePoint], newest: Sequence[Any]) -> LearningTile | None:
    if not points:
        return None
    last = points[-1]
    return LearningTile(
        name="held-out",
        along="checkpoint",
        at=last["x"],
        value=last["y"],
        low=last["low"],
        high=last["high"],
        smoothed=None,
        problems=newest[0]["problems"],
        points=points[-SPARK_POINTS:],
    )


def _show_reward(rows: Sequence[Any]) -> LearningTile | None:
    points = [
        CurvePoint(x=row["window"], y=mean)
        for row in rows
        if (mean := divide(row["reward_sum"], row["rewards"] * 1_000_000, 4)) is not None
    ]
    if not points:
        return None
    means = [point["y"] for point in points]
    return LearningTile(
        name="reward",
        along="window",
        at=points[-1]["x"],
        value=means[-1],
        low=None,
        high=None,
        smoothed=round(smooth(means)[-1], 4) if len(means) >= POINTS else None,
        problems=None,
        points=points,
    )


def _judge_learning(tiles: Sequence[LearningTile]) -> Answer:
    """By the gain over the first checkpoint; where that is not shown, by held-out accuracy on the
    newest set of problems, which is the trainer's word."""
    known = {tile["name"]: tile for tile in tiles}
    if not {"gain", "held-out"} & known.keys():
        words = "nothing measures it here: a gate, or a trainer’s held-out problems would"
        return Answer(state="unknown", words=words)
    if (gain := known.get("gain")) is not None:
        if (gain["low"] or 0) > 0:
            return Answer(state="good", words="yes")
        if (gain["high"] or 0) < 0:
            return Answer(state="bad", words="no, it is worse")
    open_answer = Answer(state="open", words="not shown yet: it may be chance")
    if (tried := known.get("held-out")) is None:
        return open_answer
    newest = tried["points"][-1]
    first = next(p for p in tried["points"] if p.get("part") == newest.get("part"))
    beside = "" if gain is None else "; the gate’s problems do not show it yet"
    if newest["low"] > first["high"]:
        return Answer(state="good", words=f"yes, by held-out problems{beside}")
    if newest["high"] < first["low"]:
        return Answer(state="bad", words=f"no, by held-out problems it is worse{beside}")
    return open_answer


def _judge_health(live: Live | None, rows: Sequence[Any]) -> Answer:
    trouble = None if live is None else describe_trouble(live.trouble)
    newest = rows[-1] if rows else None
    if trouble is not None:
        return Answer(state="bad", words=f"trouble with {trouble['about']}")
    if newest is None:
        return Answer(state="unknown", words="no window is settled yet")
    if newest["link"] != "ok" or newest["beacons"] not in ("verified", "none"):
        return Answer(state="bad", words="the newest window’s record is not sound")
    if newest["outcome"] != "counted":
        return Answer(state="open", words=f"the newest window is {newest['outcome']}")
    if not newest["accepted"]:
        return Answer(state="bad", words="nobody was accepted in the newest window")
    end = "" if live is None or live.moving else f"; {live.program}"
    return Answer(state="good", words=f"yes{end}")


def _describe_health(reader: PageReader, rows: Sequence[Any]) -> NetworkHealth:
    newest = rows[-1] if rows else None
    marks = ", ".join("?" * len(_NOT_REFUSED))
    reasons = reader.ask(
        f"SELECT reason, count(*) AS n FROM rows WHERE window >= ? AND reason NOT IN ({marks}) "
        "GROUP BY reason",
        rows[0]["window"] if rows else 0,
        *_NOT_REFUSED,
    )
    speeds = [measure_speed(reader, row) for row in rows]
    return NetworkHealth(
        window=None if newest is None else newest["window"],
        windows=len(rows),
        committed=0 if newest is None else newest["committed"],
        accepted=0 if newest is None else newest["accepted"],
        refused=0 if newest is None else newest["refused"],
        all_accepted=sum(row["accepted"] for row in rows),
        all_refused=sum(row["refused"] for row in rows),
        reasons=count_reasons(row["reason"] for row in reasons for _ in range(row["n"])),
        tokens_per_second=speeds[-1] if speeds else None,
        verified=sum(row["beacons"] == "verified" for row in rows),
        recorded=sum(row["beacons"] != "none" for row in rows),
        miners_curve=[CurvePoint(x=row["window"], y=row["committed"]) for row in rows],
        accepted_curve=[CurvePoint(x=row["window"], y=row["accepted"]) for row in rows],
        tokens_curve=[
            CurvePoint(x=row["window"], y=speed)
            for row, speed in zip(rows, speeds, strict=True)
            if speed is not None
        ],
    )


def _judge_pay(weights: SettledWeights | None, paid: int) -> Answer:
    if weights is None:
        return Answer(state="unknown", words="nobody yet: nothing is settled")
    if weights["derived"] is False or weights["scores_derived"] is False:
        return Answer(state="bad", words="the recorded weights are not those of its windows")
    if not paid:
        return Answer(state="open", words="nobody: no window of the newest settlement counts")
    return Answer(state="good", words="who answered with the right model")


def _list_paid(reader: PageReader, weights: SettledWeights | None) -> list[PaidMiner]:
    if weights is None:
        return []
    neurons = reader.sources.read_neurons()
    held = {} if neurons is None else {encode_ss58(uid.hotkey): uid for uid in neurons.rows}
    price = None if neurons is None else neurons.price
    paid = []
    for row in [row for row in weights["rows"] if row["hotkey"] and row["weight"]][:_PAID]:
        hotkey = row["hotkey"]
        assert hotkey is not None  # as chosen above
        uid, newest = held.get(hotkey), read_newest_payment(reader, hotkey)
        paid.append(
            PaidMiner(
                hotkey=hotkey,
                name=row["name"],
                uid=row["uid"],
                share=row["share"],
                paid=None if newest is None else divide(newest[1], _U16, 4),
                alpha=None if uid is None else uid.emission / _ALPHA,
                tao=None if uid is None or price is None else uid.emission * price / _ALPHA**2,
            )
        )
    return paid
