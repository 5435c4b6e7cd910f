"""Curves: a quantity along windows or checkpoints, of this run and of runs beside it."""

from collections.abc import Iterable, Mapping, Sequence

from assay.charts.axes import list_real_ticks, list_ticks, list_whole_ticks
from assay.explorer.documents.curves import (
    OWN,
    POINTS_MAX,
    Along,
    ChartAxis,
    Curve,
    CurvePoint,
    CurveSeries,
    RunSummary,
)


def make_curve(
    name: str, title: str, along: Along, points: Sequence[CurvePoint], top: float | None
) -> Curve:
    """A curve of this run alone.

    Args:
        points: `x`, `y` and, of an estimate, the `low` and `high` of its 95 % interval.
        top: the axis's greatest value; None: the least round number above all points.
    """
    return _draw(name, title, along, [{"run": OWN, "points": list(points)[-POINTS_MAX:]}], top)


def add_runs(of_run: Sequence[Curve], others: Mapping[str, Sequence[Curve]]) -> list[Curve]:
    """Curves with other runs' curves of the same name, and the curves that only others have."""
    merged = {curve["name"]: curve for curve in of_run}
    for run, curves in others.items():
        for curve in curves:
            points = next((s["points"] for s in curve["series"] if s["run"] == OWN), [])
            if not points:
                continue
            mine = merged.get(curve["name"])
            share = curve["top"] == 1 if mine is None else mine["top"] == 1
            series = [] if mine is None else mine["series"]
            drawn = _draw(
                curve["name"],
                curve["title"] if mine is None else mine["title"],
                curve["along"] if mine is None else mine["along"],
                [*series, {"run": run, "points": points[-POINTS_MAX:]}],
                1 if share else None,
            )
            looks = curve if mine is None else mine
            if "unit" in looks:
                drawn["unit"] = looks["unit"]
            if "breaks" in looks:
                drawn["breaks"] = looks["breaks"]
            merged[curve["name"]] = drawn
    return list(merged.values())


def summarize_runs(curves: Iterable[Curve]) -> list[RunSummary]:
    """First, last and greatest values of each run's curves. Empty for a single run."""
    return [
        {
            "curve": curve["name"],
            "title": curve["title"],
            "run": series["run"],
            "points": len(series["points"]),
            "first": series["points"][0]["y"],
            "last": series["points"][-1]["y"],
            "last_at": series["points"][-1]["x"],
            "best": best["y"],
            "best_at": best["x"],
        }
        for curve in curves
        if any(series["run"] != OWN for series in curve["series"])
        for series in curve["series"]
        if (best := max(series["points"], key=lambda p: p["y"], default=None)) is not None
    ]


def _draw(
    name: str, title: str, along: Along, series: list[CurveSeries], top: float | None
) -> Curve:
    points = [point for one in series for point in one["points"]]
    ticks = list_ticks(top) if top is not None else _list_ticks(series)
    drawn: Curve = {
        "name": name,
        "title": title,
        "along": along,
        "axis": make_axis([point["x"] for point in points]),
        "top": ticks[-1] if top is None else top,
        "ticks": ticks,
        "series": [one for one in series if one["points"]],
    }
    if ticks[0] < 0:
        drawn["bottom"] = ticks[0]
    return drawn


def _list_ticks(series: Sequence[CurveSeries]) -> list[float]:
    """From the least value or 0 to the greatest. Bands count from a run's middle on: the first ones
    of a gain are much wider."""
    values = [0.0]
    for one in series:
        points = one["points"]
        values += [point["y"] for point in points]
        for point in points[len(points) // 2 :]:
            values += [point.get("low", point["y"]), point.get("high", point["y"])]
    low, high = min(values), max(values)
    return list_ticks(high) if low == 0 and high >= 1 else list_real_ticks(low, high or 1)


def make_axis(values: Sequence[int]) -> ChartAxis:
    """An axis of whole numbers from the least to the greatest: its ends, and few round ticks."""
    if not values:
        return {"first": 0, "last": 0, "ticks": []}
    first, last = min(values), max(values)
    return {"first": first, "last": last, "ticks": list_whole_ticks(first, last)}
