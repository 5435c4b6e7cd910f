"""Curves: a quantity along windows or checkpoints, of this run and of runs beside it."""

from collections.abc import Iterable, Mapping, Sequence

from assay.charts.axes import list_ticks, list_whole_ticks
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
            merged[curve["name"]] = _draw(
                curve["name"],
                curve["title"] if mine is None else mine["title"],
                curve["along"] if mine is None else mine["along"],
                [*series, {"run": run, "points": points[-POINTS_MAX:]}],
                1 if share else None,
            )
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
    highest = max((point["y"] for point in points), default=0)
    ticks = list_ticks(top if top is not None else max(highest, 1))
    return {
        "name": name,
        "title": title,
        "along": along,
        "axis": make_axis([point["x"] for point in points]),
        "top": ticks[-1] if top is None else top,
        "ticks": ticks,
        "series": [one for one in series if one["points"]],
    }


def make_axis(values: Sequence[int]) -> ChartAxis:
    """An axis of whole numbers from the least to the greatest: its ends, and few round ticks."""
    if not values:
        return {"first": 0, "last": 0, "ticks": []}
    first, last = min(values), max(values)
    return {"first": first, "last": last, "ticks": list_whole_ticks(first, last)}
