"""Training: reward over windows, held-out accuracy, checkpoints and their parents."""

from collections.abc import Sequence
from itertools import cycle

from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Training
from assay.explorer.views.common import Query, View, describe_origin, divide, pick

#: Points of a chart, and checkpoints in the table.
_POINTS, _CHECKPOINTS = 200, 50
#: Ticks of an axis, at most.
_TICKS = 7


def view_training(reader: PageReader, query: Query) -> View:
    training = reader.sources.read_training()
    rows = reader.ask(
        "SELECT window, checkpoint, reward_sum, rewards FROM windows WHERE rewards > 0 "
        "ORDER BY window DESC LIMIT ?",
        _POINTS,
    )[::-1]
    rewards = [
        {
            "window": row["window"],
            "rollouts": row["rewards"],
            "reward": divide(row["reward_sum"], row["rewards"] * 1_000_000, 4),
        }
        for row in rows
    ]
    points = [dict(point) for point in (training.points if training else ())][-_POINTS:]
    tried = [point for point in points if point.get("value") is not None]
    return {
        "title": "Training",
        "rewards": rewards,
        "reward_axis": make_axis([row["window"] for row in rows]),
        "points": points,
        "tried": tried,
        "tried_axis": make_axis([point["number"] for point in tried]),
        "has_trainer": training is not None,
        "checkpoints": _list_checkpoints(reader, training),
        "command": reader.sources.commands.training(),
    }


def make_axis(values: Sequence[int]) -> View:
    """An axis of whole numbers from the least to the greatest: its ends, and few ticks, each a
    multiple of 1, 2 or 5 times a power of ten."""
    if not values:
        return {"first": 0, "last": 0, "ticks": []}
    first, last = min(values), max(values)
    step, factors = 1, cycle((2, 2.5, 2))
    while (last - first) // step >= _TICKS:
        step = int(step * next(factors))
    begin = -(-first // step) * step
    return {"first": first, "last": last, "ticks": list(range(begin, last + 1, step))}


def _list_checkpoints(reader: PageReader, training: Training | None) -> list[View]:
    """Checkpoints in force, and those that the trainer made, the newest first."""
    found = reader.ask(
        "SELECT checkpoint, min(window) AS first, max(window) AS last FROM windows "
        "WHERE length(checkpoint) = 32 AND checkpoint != zeroblob(32) GROUP BY checkpoint "
        "ORDER BY last DESC LIMIT ?",
        _CHECKPOINTS,
    )
    steps = {str(step["child"]): step for step in (training.steps if training else ())}
    rows: dict[str, View] = {}
    for row in found:
        digest = row["checkpoint"].hex()
        rows[digest] = {
            "digest": digest,
            **describe_origin(reader, row["checkpoint"]),
            "first": row["first"],
            "last": row["last"],
            "groups": None,
            "trained_on": None,
        }
    for digest, step in steps.items():
        row = rows.setdefault(digest, {"digest": digest, "first": None, "last": None})
        row |= {
            **pick(step, "number", "parent"),
            "step": step["record"],
            "groups": step["groups"],
            "trained_on": step["window"],
        }
    return sorted(
        rows.values(), key=lambda row: (row["number"] is None, -(row["number"] or 0), row["digest"])
    )[:_CHECKPOINTS]
