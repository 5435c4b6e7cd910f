"""Training: reward over windows, held-out accuracy, checkpoints and their parents."""

from typing import Any

from assay.explorer.documents.curves import POINTS_MAX
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import Training
from assay.explorer.views.common import Query, View, describe_origin, divide, pick
from assay.explorer.views.curves import add_runs, make_axis, make_curve, summarize_runs

#: Checkpoints in the table.
_CHECKPOINTS = 50


def view_training(reader: PageReader, query: Query) -> View:
    training = reader.sources.read_training()
    rows = reader.ask(
        "SELECT window, checkpoint, reward_sum, rewards, score, accepted, outcome FROM windows "
        "WHERE rewards > 0 OR outcome = 'counted' ORDER BY window DESC LIMIT ?",
        POINTS_MAX,
    )[::-1]
    rewards = [
        {
            "window": row["window"],
            "rollouts": row["rewards"],
            "reward": divide(row["reward_sum"], row["rewards"] * 1_000_000, 4),
        }
        for row in rows
        if row["rewards"]
    ]
    scores = [
        {"window": row["window"], "score": int(row["score"]), "accepted": row["accepted"]}
        for row in rows
        if row["outcome"] == "counted"
    ]
    points = [dict(point) for point in (training.points if training else ())][-POINTS_MAX:]
    tried = [point for point in points if point.get("value") is not None]
    curves = add_runs(_list_curves(rewards, scores, tried), reader.sources.read_beside())
    return {
        "title": "Training",
        "curves": curves,
        "runs": summarize_runs(curves),
        "rewards": rewards,
        "reward_axis": make_axis([row["window"] for row in rewards]),
        "scores": scores,
        "points": points,
        "tried": tried,
        "tried_axis": make_axis([point["number"] for point in tried]),
        "has_trainer": training is not None,
        "checkpoints": _list_checkpoints(reader, training),
        "command": reader.sources.commands.training(),
    }


def _list_curves(
    rewards: list[View], scores: list[View], tried: list[dict[str, Any]]
) -> list[View]:
    """The curves that have a point."""
    curves = [
        make_curve(
            "held-out",
            "Held-out accuracy",
            "checkpoint",
            [
                {"x": p["number"], "y": p["value"], "low": p["low"], "high": p["high"]}
                for p in tried
            ],
            1,
        ),
        make_curve(
            "reward",
            "Mean reward",
            "window",
            [{"x": row["window"], "y": row["reward"]} for row in rewards],
            1,
        ),
        make_curve(
            "score",
            "Score of all miners",
            "window",
            [{"x": row["window"], "y": row["score"]} for row in scores],
            None,
        ),
    ]
    return [curve for curve in curves if curve["series"]]


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
