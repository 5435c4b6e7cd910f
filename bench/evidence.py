"""Learning with 12 million parameters on word problems, compared with TRL.

This script plays no run. The runs, one by Assay's learner and one by TRL's for each seed, come from

    python bench/evidence_run.py --out DIR --learner assay --seed 0    # and so on

on one core each, in any order. The script reads the finished runs in `--out DIR` (`evidence-runs`),
stores their records in `results/evidence`, and compares all records there. So seeds may be played
on several machines, each with a model that `schooling.py` made there. It compares, after the same
number of steps, the share of held-out problems that each learner's weights solve, averaged over
seeds. Both learners of a seed begin with one model. Problems are paired: each model gets the same
problems with the same draws. The interval is 1.96 standard errors, over problems, of the seeds'
mean difference. It says nothing about other models or problems. `--fast`: a small model, one seed,
two steps, played here.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import torch
from evidence_run import FASTER, FULL, LEARNERS, Plan, Record, play, read_record
from figures import FAST, OUT, Figure, report
from matplotlib import pyplot
from schooling import Schooling, make_first, make_tokenizer

from assay.network.files import write_json

RESULTS = Path(__file__).with_name("results")
PLOT, KEPT = RESULTS / "evidence.png", RESULTS / "evidence"
NAMES = {"assay": "Assay", "trl": "TRL"}

#: The share solved, and the half-width of its 95 % interval.
Share = tuple[float, float]
#: For each trial its step and the share solved, as above.
Curve = list[tuple[int, float, float]]


def keep_records(plan: Plan, out: Path, kept: Path) -> None:
    """Copy the records of finished runs."""
    for learner in LEARNERS:
        for seed in plan.seeds:
            record = read_record(plan.get_folder(out, learner, seed))
            if record is not None and record.trials and record.trials[-1][0] == plan.steps:
                write_json(kept / f"{learner}-{seed}.json", asdict(record))


def read_pairs(plan: Plan, kept: Path) -> Iterator[tuple[int, dict[str, Record]]]:
    """Each seed with both runs finished, and its records by learner."""
    for seed in plan.seeds:
        files = {learner: kept / f"{learner}-{seed}.json" for learner in LEARNERS}
        missing = [learner for learner, file in files.items() if not file.exists()]
        if missing:
            print(f"seed {seed} is left out: no run of {', '.join(missing)}", file=sys.stderr)
            continue
        pair = {name: Record(**json.loads(file.read_text())) for name, file in files.items()}
        if len({record.model for record in pair.values()}) > 1:
            sys.exit(f"the runs of seed {seed} begin with two models: play one of them again")
        yield seed, pair


def count_weights(schooling: Schooling) -> int:
    """Parameters of the model that learns."""
    model = make_first(schooling, make_tokenizer(schooling))
    return sum(weight.numel() for weight in model.parameters())


def average(records: list[Record], trial: int) -> list[float]:
    """For each held-out problem, the share of seeds that solve it."""
    rows = [[int(mark) for mark in record.trials[trial][1]] for record in records]
    return [statistics.mean(column) for column in zip(*rows, strict=True)]


def measure(values: list[float]) -> Share:
    """The mean over problems, and 1.96 of its standard errors."""
    return statistics.mean(values), 1.96 * statistics.stdev(values) / len(values) ** 0.5


def compute_curve(records: list[Record]) -> Curve:
    """For each trial its step, the seeds' mean and the half-width of its interval."""
    return [
        (step, *measure(average(records, trial)))
        for trial, (step, *_) in enumerate(records[0].trials)
    ]


def plot(curves: dict[str, Curve], seeds: int, title: str, file: Path) -> None:
    """Plot the mean of the seeds and its 95 % interval over problems."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    for learner, curve in curves.items():
        steps, means, reaches = zip(*curve, strict=True)
        lows = [mean - reach for mean, reach in zip(means, reaches, strict=True)]
        highs = [mean + reach for mean, reach in zip(means, reaches, strict=True)]
        axes.plot(steps, means, "o-", label=f"{NAMES[learner]} ({seeds} seeds)")
        axes.fill_between(steps, lows, highs, alpha=0.15)
    axes.set(xlabel="steps", ylabel="held-out problems solved", ylim=(0, None))
    axes.set_title(title)
    axes.legend()
    figure.savefig(file)
    pyplot.close(figure)


def compare(
    plan: Plan, seeds: list[int], records: dict[str, list[Record]], size: int
) -> list[Figure]:
    """Figures of all runs. `records`: by learner, in the order of seeds."""
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
            Figure(f"{name}: half of its 95 % interval", 100 * around, "points"),
            Figure(f"{name}: tokens sampled, a run", tokens, "tokens"),
            Figure(f"{name}: groups without signal", 100 * (1 - teaching / asked), "%"),
        ]
    figures.append(
        Figure(
            "TRL's share minus Assay's (target: half of its 95 % interval)",
            100 * difference,
            "points",
            bound=100 * reach,
        )
    )
    for seed, ours, theirs in zip(seeds, records["assay"], records["trl"], strict=True):
        gap = measure(average([theirs], -1))[0] - measure(average([ours], -1))[0]
        figures.append(Figure(f"seed {seed}: TRL's share minus Assay's", 100 * gap, "points"))
    spent = {name: statistics.mean(run.seconds for run in runs) for name, runs in records.items()}
    figures.append(
        Figure("CPU time of a run, without trials", spent["assay"], "s", "TRL", spent["trl"])
    )
    return figures


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        plan, out, file, kept = FULL, OUT or Path("evidence-runs"), PLOT, KEPT
        if FAST:
            plan, out, kept = FASTER, Path(temporary), Path(temporary) / "kept"
            file = out / PLOT.name
            for learner in LEARNERS:
                play(plan, out, learner, plan.seeds[0])
        keep_records(plan, out, kept)
        pairs = dict(read_pairs(plan, kept))
        if not pairs:
            sys.exit("of no seed are both runs done: see python bench/evidence_run.py --help")
        records = {name: [pair[name] for pair in pairs.values()] for name in LEARNERS}
        curves = {learner: compute_curve(runs) for learner, runs in records.items()}
        size = count_weights(plan.schooling)
        title = f"word problems, {size / 1e6:.0f} million parameters: mean, 95 % over problems"
        plot(curves, len(pairs), title, file)
    report(
        f"Learning word problems: {plan.steps} steps of {plan.groups} groups of {plan.rollouts}, "
        f"seeds {', '.join(map(str, pairs))}, {plan.held_out} held-out problems",
        compare(plan, list(pairs), records, size),
        torch.get_num_threads(),
        curves={NAMES[learner]: curve for learner, curve in curves.items()},
    )


if __name__ == "__main__":
    main()
