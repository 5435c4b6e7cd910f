"""Held-out accuracy as a curve: checkpoints on one set of problems compare, and no others."""

from collections.abc import Sequence

from assay.explorer.documents.curves import CurvePoint
from assay.explorer.documents.training import AccuracyPoint


def list_accuracy(tried: Sequence[AccuracyPoint]) -> list[CurvePoint]:
    """The tried checkpoints with their intervals. A new part begins with each other set."""
    points, part = list[CurvePoint](), 0
    before: AccuracyPoint | None = None
    for point in tried:
        value, low, high = point["value"], point["low"], point["high"]
        if value is None or low is None or high is None:
            continue
        part += before is not None and not _are_same(before, point)
        before = point
        points.append(CurvePoint(x=point["number"], y=value, low=low, high=high, part=part))
    return points


def _are_same(before: AccuracyPoint, after: AccuracyPoint) -> bool:
    """Whether two checkpoints were tried on one set, as far as a trainer's folder says."""
    known = [one["levels"] for one in (before, after) if "levels" in one]
    return before["problems"] == after["problems"] and len({tuple(one) for one in known}) < 2
