"""A real model on a subnet, from its first checkpoint to the registered one, beside TRL; all seeds.

This script plays nothing. It reads what `public_run.py` and `public_run_trl.py` left, with the
tries, computes what was registered, and stores what others compare in `results/registered_run`:
curves, digests of checkpoints, verdicts by window, and what each part took.

    python bench/public_run_results.py --out DIR --json bench/results/registered_run.json

Success is the share of held-out problems that are solved with one draw at temperature 1.
Differences are paired, on the same problems and draws. An interval over seeds is Student's, of the
seeds' differences; one over problems has each problem's mean over seeds.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib

matplotlib.use("Agg")
from figures import OUT, Figure, report
from matplotlib import pyplot
from public_run import (
    REGISTRATION,
    TRIES,
    TRL,
    count_updates,
    find_end,
    list_checkpoints,
    open_models,
    read_rules,
)

from assay.artifacts.steps.folder import read_step, read_step_groups
from assay.network.files import write_json
from assay.neurons.trainer.gate_monitor import GateMonitor
from assay.protocol.reason import Reason

RESULTS = Path(__file__).with_name("results")
PLOT, KEPT = RESULTS / "registered_run.png", RESULTS / "registered_run"
#: What was hoped for: the least gain, and the least difference to TRL.
GAIN, BESIDE_TRL = 0.06, -0.015
#: 97.5 % quantiles: Student's for so many values, and for many.
_STUDENT, _NORMAL = {2: 12.706205, 3: 4.302653}, 1.959964


def read_seed(out: Path) -> dict[str, Any]:
    """What one seed has shown so far."""
    rules, updates = read_rules(out), count_updates(out)
    monitor = GateMonitor(open_models(out), lambda *_: None)
    checkpoints = list_checkpoints(out / "net")
    steps = [read_step(path) for path in sorted((out / "net" / "steps").glob("step-*.json"))]
    taught = {
        step.record.number: sum(len(set(g.group.rewards)) > 1 for g in read_step_groups(step))
        for step in steps
    }
    windows = []
    for file in (out / "net" / "verdicts").glob("window-*.json"):
        document = json.loads(file.read_text())
        windows.append({name: document[name] for name in ("window", "checkpoint", "verdicts")})
    summary = out / "net" / "summary.json"
    tried = out / "tries.json"
    course = out / "trl" / "course.json"
    return {
        "checkpoints": [digest for _, digest in checkpoints],
        "gate": [monitor.look(bytes.fromhex(digest), rules.gate) for _, digest in checkpoints],
        "steps": [
            {
                "record": step.record.digest.hex(),
                "window": step.record.window,
                "groups": step.record.groups,
                "taught": taught[step.record.number],
                "updates": updates[step.record.number],
            }
            for step in steps
        ],
        "learning": json.loads(steps[0].record.config) if steps else None,
        "tokens": sum(
            len(completion)
            for step in steps
            for one in read_step_groups(step)
            for completion in one.group.completions
        ),
        "windows": sorted(windows, key=lambda one: int(one["window"])),
        "summary": json.loads(summary.read_text()) if summary.exists() else None,
        "runs": json.loads((out / "runs.json").read_text()),
        "end": (find_end(out) or (None,))[0],
        "tries": json.loads(tried.read_text()) if tried.exists() else {},
        "trl": json.loads(course.read_text()) if course.exists() else None,
    }


def spread(values: list[list[int]]) -> tuple[float, list[float], list[float]]:
    """Mean of differences [seeds, problems], its 95 % interval over seeds, and over problems."""
    seeds = [mean(one) for one in values]
    problems = [mean(column) for column in zip(*values, strict=True)]
    return mean(seeds), _student(seeds), _student(problems)


def _student(values: list[float]) -> list[float]:
    middle, count = mean(values), len(values)
    if count == 1:  # it has no spread
        return [-1.0, 1.0]
    half = _STUDENT.get(count, _NORMAL) * stdev(values) / count**0.5
    return [middle - half, middle + half]


def compare(seeds: dict[str, dict[str, Any]], one: str, other: str) -> list[list[int]]:
    """Problems that `other` solves and `one` does not, less the opposite, seed by seed. "end" is
    the registered checkpoint."""
    rows = []
    for seed in seeds.values():
        names = [str(seed["end"]) if name == "end" else name for name in (one, other)]
        first, second = (seed["tries"].get(f"{name}x1") for name in names)
        if first and second and len(first) == len(second) == REGISTRATION["cohort"]["problems"]:
            rows.append([int(b[0]) - int(a[0]) for a, b in zip(first, second, strict=True)])
    return rows


def list_differences(name: str, rows: list[list[int]], least: float) -> list[Figure]:
    if not rows:
        return []
    middle, over_seeds, over_problems = spread(rows)
    figures = [Figure(f"{name}, seeds", len(rows), "seeds"), Figure(name, middle, "share")]
    if len(rows) > 1:
        figures.append(
            Figure(f"{name}, over seeds: lower end", over_seeds[0], "share", least=least)
        )
        figures.append(Figure(f"{name}, over seeds: upper end", over_seeds[1], "share"))
    figures.append(Figure(f"{name}, over problems: lower end", over_problems[0], "share"))
    figures.append(Figure(f"{name}, over problems: upper end", over_problems[1], "share"))
    return figures


def list_figures(seeds: dict[str, dict[str, Any]]) -> list[Figure]:
    """Figures of all seeds, with their bounds."""
    found: dict[str, Counter[str]] = {"honest": Counter(), "cheat": Counter()}
    for seed in seeds.values():
        for window in (seed["summary"] or {"windows": []})["windows"]:
            for verdict in window["verdicts"]:
                found[verdict["role"]][verdict["reason"]] += 1
    honest, cheat = found["honest"], found["cheat"]
    figures = [
        *list_differences("gain of the network", compare(seeds, "0", "end"), GAIN),
        *list_differences("network less TRL", compare(seeds, TRL, "end"), BESIDE_TRL),
        Figure("files of the int4 cheat refused", cheat.total() - cheat["ACCEPTED"], "files"),
        Figure("files of the int4 cheat accepted", cheat["ACCEPTED"], "files", bound=0),
        Figure("files of honest miners accepted", honest["ACCEPTED"], "files"),
        Figure(
            "files of honest miners refused", honest.total() - honest["ACCEPTED"], "files", bound=0
        ),
    ]
    for name, seed in seeds.items():
        played = seed["steps"]
        hours = sum(run["processor"] for run in seed["runs"]) / 3_600
        figures += [
            Figure(f"{name}: checkpoints", len(seed["checkpoints"]) - 1, ""),
            Figure(f"{name}: updates", max((s["updates"] for s in played), default=0), ""),
            Figure(f"{name}: groups", sum(s["groups"] for s in played), "groups"),
            Figure(f"{name}: groups that taught", sum(s["taught"] for s in played), "groups"),
            Figure(f"{name}: processor, network", hours, "h"),
        ]
        figures.append(Figure(f"{name}: tokens, network", seed["tokens"], "tokens"))
        if seed["trl"] is not None:
            figures += [
                Figure(f"{name}: processor, TRL's GRPO", seed["trl"]["seconds"] / 3_600, "h"),
                Figure(f"{name}: tokens, TRL", seed["trl"]["tokens"], "tokens"),
            ]
        often = {key: rows for key, rows in seed["tries"].items() if key.endswith(f"x{TRIES}")}
        for key, rows in often.items():
            share = sum(map(any, rows)) / len(rows)
            checkpoint = key.partition("x")[0]
            figures.append(Figure(f"{name}: pass@8 of checkpoint {checkpoint}", share, "share"))
    return figures


def draw(seeds: dict[str, dict[str, Any]]) -> None:
    """The gain that the gate has shown, seed by seed, TRL's beside it, and the cheat."""
    figure, axes = pyplot.subplots(1, len(seeds), figsize=(4.2 * len(seeds), 3.8), sharey=True)
    for axis, (name, seed) in zip([axes] if len(seeds) == 1 else axes, seeds.items(), strict=True):
        shown = [(n, one) for n, one in enumerate(seed["gate"]) if one and one["gain"] is not None]
        numbers = [n for n, _ in shown]
        for key, style in (("gain", "-"), ("gain_low", ":"), ("gain_high", ":")):
            points = [100 * one[key] for _, one in shown]
            axis.plot(numbers, points, style, color="tab:blue", lw=2 if key == "gain" else 1)
        axis.fill_between(
            numbers,
            *([100 * one[key] for _, one in shown] for key in ("gain_low", "gain_high")),
            alpha=0.12,
            label="the network, by its gate, with its 95 % band",
        )
        milestones = sorted({one["milestone"] for _, one in shown} - {0})
        axis.plot(milestones, [0] * len(milestones), "^", color="tab:green", label="milestones")
        for rows, label, marker in (("0", "network", "o"), (TRL, "TRL", "s")):
            pair = ("0", "end") if rows == "0" else ("0", TRL)
            found = compare({name: seed}, *pair)
            if found and seed["end"] is not None:
                middle, _, ends = spread(found)
                axis.errorbar(
                    [seed["end"] + (0.4 if rows == TRL else 0)],
                    [100 * middle],
                    [[100 * (middle - ends[0])], [100 * (ends[1] - middle)]],
                    marker=marker,
                    capsize=3,
                    label=f"{label}, {len(found[0]):,} held-out problems",
                )
        returned = [n for n, one in shown if one["returned"] is not None]
        axis.plot(returned, [0] * len(returned), "v", color="tab:red", label="returns")
        axis.axhline(0, color="gray", lw=0.8)
        caught = [
            verdict["reason"] != Reason.ACCEPTED
            for window in (seed["summary"] or {"windows": []})["windows"]
            for verdict in window["verdicts"]
            if verdict["role"] == "cheat"
        ]
        title = f"{name}: int4 refused in {sum(caught)} of {len(caught)} windows"
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="checkpoint", ylim=(-15, 25))
    figure.axes[0].set_ylabel("points more than the first checkpoint")
    figure.axes[0].legend(loc="upper left", fontsize=7)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def main() -> None:
    if OUT is None:
        sys.exit("--out DIR: the folder of a run of public_run.py")
    seeds = {folder.name: read_seed(folder) for folder in sorted(OUT.glob("seed-*"))}
    KEPT.mkdir(parents=True, exist_ok=True)
    write_json(KEPT / "run.json", {"registration": REGISTRATION, "seeds": seeds})
    draw(seeds)
    threads = REGISTRATION["network"]["threads"]
    report("SmolLM2-135M on a subnet, as registered", list_figures(seeds), threads)


if __name__ == "__main__":
    main()
