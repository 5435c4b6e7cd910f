"""Training: reward over windows, held-out accuracy, checkpoints and their parents."""

from collections.abc import Mapping, Sequence

from assay.explorer.documents.curves import POINTS_MAX, Curve, CurvePoint, CurveSection
from assay.explorer.documents.training import (
    AccuracyPoint,
    CheckpointLie,
    CheckpointRow,
    GateShown,
    LevelRow,
    TrainingDocument,
    WindowReward,
    WindowScore,
)
from assay.explorer.documents.windows import ReadingLack
from assay.explorer.page_reader import PageReader
from assay.explorer.ports import CheckpointOrigin, CourseReading, Training
from assay.explorer.views.common import Query, divide, list_step_digests, measure_speed
from assay.explorer.views.curves import add_runs, make_axis, make_curve, summarize_runs
from assay.explorer.views.gains import list_gains, view_gate
from assay.explorer.views.held_out import list_accuracy
from assay.explorer.views.proposals import proposes
from assay.explorer.views.step_figures import FIGURES, list_step_curves

#: Checkpoints in the table.
_CHECKPOINTS = 50
#: Subject of steps' figures → curves of the record that stand before and behind them.
_BESIDE: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "Reward and groups": (["reward"], []),
    "Throughput and staleness": (["tokens", "score"], []),
}


def view_training(reader: PageReader, query: Query) -> TrainingDocument:
    training = reader.sources.read_training()
    rows = reader.ask(
        "SELECT window, reward_sum, rewards, score, accepted, outcome, tokens FROM windows "
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
    gate = view_gate(reader, training)
    speeds = [
        CurvePoint(x=row["window"], y=speed)
        for row in rows
        if (speed := measure_speed(reader, row)) is not None
    ]
    steps, lack = _read_steps(reader)
    own = [*_list_curves(rewards, scores, tried, gate, speeds), *steps]
    curves = add_runs(own, reader.sources.read_beside())
    return TrainingDocument(
        title="Training",
        gate=gate,
        curves=curves,
        sections=_list_sections(curves),
        lack=lack,
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


def _read_steps(reader: PageReader) -> tuple[list[Curve], ReadingLack | None]:
    """Curves of the steps' figures, or why there are none. It waits for nothing: the page is
    renewed once they are read."""
    found = reader.sources.read_course(list_step_digests(reader), 0)
    if isinstance(found, CourseReading):
        return list_step_curves(found.rows), None
    return [], found


def _list_sections(curves: Sequence[Curve]) -> list[CurveSection]:
    """The curves by subject; what another run alone has comes last."""
    subjects = [("Is it better?", ["gain", "held-out"])]
    for title, figures in FIGURES.items():
        before, behind = _BESIDE.get(title, ((), ()))
        subjects.append((title, [*before, *(figure.name for figure in figures), *behind]))
    known = {name for _, names in subjects for name in names}
    subjects.append(("Of other runs", [c["name"] for c in curves if c["name"] not in known]))
    there = {curve["name"] for curve in curves}
    sections = [
        CurveSection(title=title, curves=[name for name in names if name in there])
        for title, names in subjects
    ]
    return [section for section in sections if section["curves"]]


def _list_curves(
    rewards: Sequence[WindowReward],
    scores: Sequence[WindowScore],
    tried: Sequence[AccuracyPoint],
    gate: GateShown | None,
    speeds: Sequence[CurvePoint],
) -> list[Curve]:
    """The curves of the record and of held-out problems that have a point."""
    gains = [] if gate is None else list_gains(gate)
    gain = make_curve("gain", "Gain over the first checkpoint", "checkpoint", gains, None)
    gain |= {"unit": "points", "breaks": "a return"}
    accuracy = make_curve("held-out", "Held-out accuracy", "checkpoint", list_accuracy(tried), 1)
    accuracy |= {"unit": "percent", "breaks": "other problems"}
    means = [
        CurvePoint(x=row["window"], y=row["reward"]) for row in rewards if row["reward"] is not None
    ]
    sums = [CurvePoint(x=row["window"], y=row["score"]) for row in scores]
    curves = [
        gain,
        accuracy,
        make_curve("reward", "Reward of valued groups", "window", means, 1),
        make_curve("tokens", "Accepted tokens a second", "window", speeds, None),
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
