"""Training: reward over windows, held-out accuracy, checkpoints and their parents."""

from collections.abc import Sequence

from assay.explorer.documents.curves import POINTS_MAX, Curve, CurvePoint
from assay.explorer.documents.training import (
    AccuracyPoint,
    CheckpointLie,
    CheckpointRow,
    LevelRow,
    TrainingDocument,
    WindowReward,
    WindowScore,
)
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin, Training
from assay.explorer.views.common import Query, divide
from assay.explorer.views.curves import add_runs, make_axis, make_curve, summarize_runs
from assay.explorer.views.gains import view_gate
from assay.explorer.views.proposals import proposes

#: Checkpoints in the table.
_CHECKPOINTS = 50


def view_training(reader: PageReader, query: Query) -> TrainingDocument:
    training = reader.sources.read_training()
    rows = reader.ask(
        "SELECT window, checkpoint, reward_sum, rewards, score, accepted, outcome FROM windows "
        "WHERE rewards > 0 OR outcome = 'counted' ORDER BY window DESC LIMIT ?",
        POINTS_MAX,
    )[::-1]
    rewards = [
        WindowReward(
            window=row["window"],
            rollouts=row["rewards"],
            reward=divide(row["reward_sum"], row["rewards"] * 1_000_000, 4),
        )
        for row in rows
        if row["rewards"]
    ]
    scores = [
        WindowScore(window=row["window"], score=int(row["score"]), accepted=row["accepted"])
        for row in rows
        if row["outcome"] == "counted"
    ]
    points = list(training.points if training else ())[-POINTS_MAX:]
    tried = [point for point in points if point["value"] is not None]
    curves = add_runs(_list_curves(rewards, scores, tried), reader.sources.read_beside())
    return TrainingDocument(
        title="Training",
        gate=view_gate(reader, training),
        curves=curves,
        runs=summarize_runs(curves),
        rewards=rewards,
        reward_axis=make_axis([row["window"] for row in rewards]),
        scores=scores,
        points=points,
        tried=tried,
        tried_axis=make_axis([point["number"] for point in tried]),
        has_trainer=training is not None,
        checkpoints=_list_checkpoints(reader, training),
        lies=_list_lies(reader),
        levels=_list_levels(reader),
        proposes=proposes(reader),
        command=reader.sources.commands.training(),
    )


def _list_curves(
    rewards: Sequence[WindowReward], scores: Sequence[WindowScore], tried: Sequence[AccuracyPoint]
) -> list[Curve]:
    """The curves that have a point."""
    accuracy = [
        CurvePoint(x=p["number"], y=p["value"], low=p["low"], high=p["high"])
        for p in tried
        if p["value"] is not None and p["low"] is not None and p["high"] is not None
    ]
    means = [
        CurvePoint(x=row["window"], y=row["reward"]) for row in rewards if row["reward"] is not None
    ]
    sums = [CurvePoint(x=row["window"], y=row["score"]) for row in scores]
    curves = [
        make_curve("held-out", "Held-out accuracy", "checkpoint", accuracy, 1),
        make_curve("reward", "Mean reward", "window", means, 1),
        make_curve("score", "Score of all miners", "window", sums, None),
    ]
    return [curve for curve in curves if curve["series"]]


def _list_levels(reader: PageReader) -> list[LevelRow]:
    """The levels of the newest checkpoint in force."""
    rows = reader.ask(
        "SELECT checkpoint FROM windows WHERE length(checkpoint) = 32 AND checkpoint != "
        "zeroblob(32) ORDER BY window DESC LIMIT 1"
    )
    origins = [reader.sources.read_manifest(row["checkpoint"]) for row in rows]
    return [level for origin in origins if origin is not None for level in origin.levels]


def _list_lies(reader: PageReader) -> list[CheckpointLie]:
    """What the newest checkpoints in force wrongly say of their parents."""
    rows = reader.ask(
        "SELECT checkpoint, max(window) AS last FROM windows WHERE length(checkpoint) = 32 AND "
        "checkpoint != zeroblob(32) GROUP BY checkpoint ORDER BY last DESC LIMIT ?",
        _CHECKPOINTS,
    )
    lies = []
    for row in rows:
        digest, gate = row["checkpoint"], reader.subject.get_parameters(row["last"]).gate
        lie = reader.sources.find_lie(digest, gate)
        if lie is not None:
            origin = reader.sources.read_manifest(digest) or CheckpointOrigin()
            lies.append(CheckpointLie(digest=digest.hex(), number=origin.number, what=lie))
    return lies


def _list_checkpoints(reader: PageReader, training: Training | None) -> list[CheckpointRow]:
    """Checkpoints in force, and those that the trainer made, the newest first."""
    in_force = reader.ask(
        "SELECT checkpoint, min(window) AS first, max(window) AS last FROM windows "
        "WHERE length(checkpoint) = 32 AND checkpoint != zeroblob(32) GROUP BY checkpoint "
        "ORDER BY last DESC LIMIT ?",
        _CHECKPOINTS,
    )
    rows: dict[str, CheckpointRow] = {}
    for row in in_force:
        origin = reader.sources.read_manifest(row["checkpoint"]) or CheckpointOrigin()
        digest = row["checkpoint"].hex()
        rows[digest] = CheckpointRow(
            digest=digest,
            number=origin.number,
            parent=origin.parent,
            step=origin.step,
            first=row["first"],
            last=row["last"],
            groups=None,
            trained_on=None,
            outcome=origin.outcome,
        )
    for step in training.steps if training else ():
        made_of = reader.sources.read_manifest(bytes.fromhex(step.child)) or CheckpointOrigin()
        made = CheckpointRow(
            digest=step.child,
            first=None,
            last=None,
            number=step.number,
            parent=step.parent,
            step=step.record,
            groups=step.groups,
            trained_on=step.window,
            outcome=made_of.outcome,
        )
        known = rows.get(step.child, made)
        rows[step.child] = {**known, **made, "first": known["first"], "last": known["last"]}
    return sorted(
        rows.values(), key=lambda row: (row["number"] is None, -(row["number"] or 0), row["digest"])
    )[:_CHECKPOINTS]
