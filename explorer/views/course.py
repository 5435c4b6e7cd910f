"""Training: reward over windows, held-out accuracy, checkpoints and their parents."""

from assay.explorer.ports import Training
from assay.explorer.reader import Reader
from assay.explorer.views.common import Query, View, divide

#: Points of a chart, and checkpoints in the table.
_POINTS, _CHECKPOINTS = 200, 50


def view_training(reader: Reader, query: Query) -> View:
    """How the model fares, as far as record and trainer say."""
    training = reader.around.read_training()
    rows = reader.ask(
        "SELECT window, checkpoint, reward_sum, rewards FROM windows WHERE rewards > 0 "
        "ORDER BY window DESC LIMIT ?",
        _POINTS,
    )[::-1]
    rewards = [
        {"window": row["window"], "rollouts": row["rewards"],
         "reward": divide(row["reward_sum"], row["rewards"] * 1_000_000, 4)}
        for row in rows
    ]  # fmt: skip
    points = [dict(point) for point in (training.points if training else ())][-_POINTS:]
    return {
        "title": "Training",
        "rewards": rewards,
        "points": points,
        "tried": [point for point in points if point.get("value") is not None],
        "has_trainer": training is not None,
        "checkpoints": _list_checkpoints(reader, training),
        "command": reader.around.commands.training(),
    }


def _list_checkpoints(reader: Reader, training: Training | None) -> list[View]:
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
        manifest = reader.around.read_manifest(row["checkpoint"])
        rows[digest] = {
            "digest": digest,
            "number": None if manifest is None else manifest.number,
            "parent": None if manifest is None else manifest.parent,
            "step": None if manifest is None else manifest.step,
            "first": row["first"],
            "last": row["last"],
            "groups": None,
            "trained_on": None,
        }
    for digest, step in steps.items():
        row = rows.setdefault(digest, {"digest": digest, "first": None, "last": None})
        row |= {
            "number": step["number"], "parent": step["parent"], "step": step["record"],
            "groups": step["groups"], "trained_on": step["window"],
        }  # fmt: skip
    return sorted(
        rows.values(), key=lambda row: (row["number"] is None, -(row["number"] or 0), row["digest"])
    )[:_CHECKPOINTS]
