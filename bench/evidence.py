"""Learning at a size that means something: 12 million parameters on word problems, beside TRL.

It reads what lies in a folder, `--out DIR` (`evidence-runs`), and plays nothing: the model and six
runs, three seeds by Assay's learner and three by TRL's, come of

    python bench/schooling.py --out DIR
    python bench/evidence_run.py --out DIR --learner assay --seed 0    # and so on

on one core each, in any order, two at a time on two cores. What is compared: after the same number
of steps the share of held-out problems that each learner's weights solve, the mean of the seeds.
Problems are paired: each model was asked the same with the same draws. The interval is 1.96
standard errors of the mean over problems of the seeds' mean difference; it holds for these six
models, and says nothing of other seeds, models or problems. --fast: a small model, one seed, two
steps, played here.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from evidence_run import FASTER, FULL, LEARNERS, Plan, Record, play, read_record
from figures import FAST, OUT, Figure, report
from matplotlib import pyplot
from schooling import school

PLOT = Path(__file__).with_name("results") / "evidence.png"
NAMES = {"assay": "Assay", "trl": "TRL"}

#: Share solved, and how far the 95 % interval reaches to either side.
Share = tuple[float, float]
#: Of each trial its step and the share solved, as above.
Curve = list[tuple[int, float, float]]


def read_records(plan: Plan, out: Path) -> dict[str, list[Record]]:
    """Of all runs, by learner. Ends the program where one is not there or not done."""
    found: dict[str, list[Record]] = {}
    for learner in LEARNERS:
        for seed in plan.seeds:
            record = read_record(plan.get_folder(out, learner, seed))
            if record is None or not record.trials or record.trials[-1][0] != plan.steps:
                sys.exit(
                    f"the run of {learner} with seed {seed} is not done: python "
                    f"bench/evidence_run.py --out {out} --learner {learner} --seed {seed}"
                )
            found.setdefault(learner, []).append(record)
    return found


def average(records: list[Record], trial: int) -> list[float]:
    """Of each held-out problem the share of seeds that solve it."""
    rows = [[int(mark) for mark in record.trials[trial][1]] for record in records]
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


def measure(values: list[float]) -> Share:
    """Mean over problems, and 1.96 of its standard errors."""
    return statistics.mean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5


def compute_curve(records: list[Record]) -> Curve:
    """Of each trial its step, the seeds' mean and how far its interval reaches."""
    return [
        (step, *measure(average(records, trial)))
        for trial, (step, *_) in enumerate(records[0].trials)
    ]


def plot(curves: dict[str, Curve], seeds: int, title: str, file: Path) -> None:
    """Mean of the seeds, and its 95 % interval over problems."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    for learner, curve in curves.items():
        steps, means, reaches = zip(*curve, strict=True)
        lows = [mean - reach for mean, reach in zip(means, reaches, strict=True)]
        highs = [mean + reach for mean, reach in zip(means, reaches, strict=True)]
        axes.plot(steps, means, "o-", label=f"{NAMES[learner]} ({seeds} seeds)")
        axes.fill_between(steps, lows, highs, alpha=0.15)
    axes.set(xlabel="steps", ylabel="held-out problems solved", ylim=(0, 1))
    axes.set_title(title)
    axes.legend()
    figure.savefig(file)
    pyplot.close(figure)


def compare(plan: Plan, records: dict[str, list[Record]], size: int) -> list[Figure]:
    """What came of all runs."""
    ends = {learner: average(runs, -1) for learner, runs in records.items()}
    before, _ = measure(average(records["assay"], 0))
    pairs = zip(ends["trl"], ends["assay"], strict=True)
    difference, reach = measure([theirs - ours for theirs, ours in pairs])
    figures = [Figure("parameters", size / 1e6, "M"), Figure("solved before", 100 * before, "%")]
    for learner, runs in records.items():
        name = NAMES[learner]
        share, around = measure(ends[learner])
        tokens = statistics.mean(sum(step[0] for step in run.steps) for run in runs)
        asked = plan.steps * plan.groups
        teaching = statistics.mean(sum(step[2] for step in run.steps) for run in runs)
        figures += [
            Figure(f"{name}: solved after {plan.steps} steps", 100 * share, "%"),
            Figure(f"{name}: half of its interval", 100 * around, "points"),
            Figure(f"{name}: tokens sampled, a run", tokens, "tokens"),
            Figure(f"{name}: groups with no signal", 100 * (1 - teaching / asked), "%"),
        ]
    figures.append(
        Figure(
            "TRL's share minus Assay's, beside half of its interval",
            100 * difference,
            "points",
            bound=100 * reach,
        )
    )
    for seed, ours, theirs in zip(plan.seeds, records["assay"], records["trl"], strict=True):
        gap = measure(average([theirs], -1))[0] - measure(average([ours], -1))[0]
        figures.append(Figure(f"the same of seed {seed}", 100 * gap, "points"))
    spent = {name: statistics.mean(run.seconds for run in runs) for name, runs in records.items()}
    figures.append(
        Figure("processor time of a run, without trials", spent["assay"], "s", "TRL", spent["trl"])
    )
    return figures


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        plan, out, file = FULL, OUT or Path("evidence-runs"), PLOT
        if FAST:
            plan, out, file = FASTER, Path(temporary), Path(temporary) / PLOT.name
            for learner in LEARNERS:
                play(plan, out, learner, plan.seeds[0])
        records = read_records(plan, out)
        curves = {learner: compute_curve(runs) for learner, runs in records.items()}
        model = school(plan.schooling, out).load_plain()
        size = sum(weight.numel() for weight in model.parameters())
        title = f"word problems, {size / 1e6:.0f} million parameters: mean, 95 % over problems"
        plot(curves, len(plan.seeds), title, file)
    report(
        f"Learning word problems: {plan.steps} steps of {plan.groups} groups of {plan.rollouts}, "
        f"{len(plan.seeds)} seeds, {plan.held_out} held-out problems",
        compare(plan, records, size),
        torch.get_num_threads(),
        curves={NAMES[learner]: curve for learner, curve in curves.items()},
    )


if __name__ == "__main__":
    main()
