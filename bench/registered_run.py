"""A real model on a subnet, from its first checkpoint to the registered one, beside TRL; all seeds.

This script plays nothing. Of each network that is over, it reads what `public_run.py` and
`public_run_trl.py` left, with the tries, and computes what was registered. Beside the figures, the
JSON file has what others compare: digests of checkpoints and steps, counts of the gate, verdicts,
and what each part took. The plot is beside it.

    python bench/registered_run.py --out DIR --json bench/results/registered_run.json

Success is the share of held-out problems that are solved with one draw at temperature 1.
Differences are paired, on the same problems and draws. An interval over seeds is Student's, of the
seeds' differences; one over problems has each problem's mean over seeds.
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib

matplotlib.use("Agg")
from figures import JSON, OUT, Figure, report
from matplotlib import pyplot
from public_run import (
    REGISTRATION,
    TRIED,
    TRIED_OFTEN,
    TRIES,
    TRL,
    count_updates,
    find_end,
    list_checkpoints,
    open_models,
    read_rules,
)

from assay.artifacts.steps.folder import Step, read_step, read_step_groups
from assay.neurons.trainer.gate_monitor import GateMonitor
from assay.protocol.reason import Reason

SUMMARY = "summary.json"
#: 97.5 % quantiles: Student's for so many values, and for many.
_STUDENT, _NORMAL = {2: 12.706205, 3: 4.302653}, 1.959964


def read_seed(out: Path) -> dict[str, Any]:
    """What one seed has shown so far."""
    rules, updates = read_rules(out), count_updates(out)
    monitor = GateMonitor(open_models(out), lambda *_: None)
    checkpoints = [digest for _, digest in list_checkpoints(out / "net")]
    tried, course = out / TRIED, out / "trl" / "course.json"
    windows = json.loads((out / "net" / SUMMARY).read_text())["windows"]
    return {
        "checkpoints": checkpoints,
        "gate": [monitor.look(bytes.fromhex(digest), rules.gate) for digest in checkpoints],
        "steps": [
            describe_step(read_step(path), updates)
            for path in sorted((out / "net" / "steps").glob("step-*.json"))
        ],
        "verdicts": [
            {"window": one["window"], "role": verdict["role"], "reason": verdict["reason"]}
            for one in windows
            for verdict in one["verdicts"]
        ],
        "runs": json.loads((out / "runs.json").read_text()),
        "end": (find_end(out) or (None,))[0],
        "tries": json.loads(tried.read_text()) if tried.exists() else {},
        "trl": json.loads(course.read_text()) if course.exists() else None,
    }


def describe_step(step: Step, updates: Mapping[int, int]) -> dict[str, Any]:
    """What a step learned from; updates are all until then."""
    groups = read_step_groups(step)
    return {
        "number": step.record.number,
        "record": step.record.digest.hex(),
        "window": step.record.window,
        "groups": step.record.groups,
        "taught": sum(len(set(one.group.rewards)) > 1 for one in groups),
        "tokens": sum(len(tokens) for one in groups for tokens in one.group.completions),
        "updates": updates[step.record.number],
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
        # judged as registered, over all seeds: fewer have a wide interval
        bound = least if len(rows) == len(REGISTRATION["seeds"]) else None
        figures.append(
            Figure(f"{name}, over seeds: lower end", over_seeds[0], "share", least=bound)
        )
        figures.append(Figure(f"{name}, over seeds: upper end", over_seeds[1], "share"))
    figures.append(Figure(f"{name}, over problems: lower end", over_problems[0], "share"))
    figures.append(Figure(f"{name}, over problems: upper end", over_problems[1], "share"))
    return figures


def list_figures(seeds: dict[str, dict[str, Any]]) -> list[Figure]:
    """Figures of all seeds, with their bounds."""
    found: dict[str, Counter[str]] = {"honest": Counter(), "cheat": Counter()}
    for seed in seeds.values():
        for verdict in seed["verdicts"]:
            found[verdict["role"]][verdict["reason"]] += 1
    honest, cheat = found["honest"], found["cheat"]
    hoped = REGISTRATION["hoped_for"]
    figures = [
        *list_differences("gain of the network", compare(seeds, "0", "end"), hoped["gain"]),
        *list_differences(
            "network less TRL", compare(seeds, TRL, "end"), hoped["network_less_trl"]
        ),
        Figure("files of the int4 cheat refused", cheat.total() - cheat["ACCEPTED"], "files"),
        Figure("files of the int4 cheat accepted", cheat["ACCEPTED"], "files", bound=0),
        Figure("files of honest miners accepted", honest["ACCEPTED"], "files"),
        Figure(
            "files of honest miners refused", honest.total() - honest["ACCEPTED"], "files", bound=0
        ),
    ]
    for name, seed in seeds.items():
        figures += list_costs(name, seed)
        for key, rows in seed["tries"].items():
            model, _, count = key.rpartition("x")
            asked = {str(TRIES): TRIED_OFTEN, "1": REGISTRATION["cohort"]["problems"]}
            if len(rows) == asked.get(count):
                share = sum(map(any, rows)) / len(rows)
                model = "TRL" if model == TRL else f"checkpoint {model}"
                figures.append(Figure(f"{name}: pass@{count} of {model}", share, "share"))
    return figures


def list_costs(name: str, seed: dict[str, Any]) -> list[Figure]:
    """What a seed took, and what was learned from: of the network until the checkpoint that is
    compared, but for its processor hours, which are of all windows with mining and judging."""
    end, trl = seed["end"], seed["trl"]
    played = [step for step in seed["steps"] if end is None or step["number"] <= end]
    taken = {
        "network": (
            sum(run["processor"] for run in seed["runs"]),
            sum(step["tokens"] for step in played),
        )
    }
    if trl is not None:
        taken[TRL] = (trl["seconds"], trl["tokens"])
    figures = [
        Figure(f"{name}: checkpoints", len(seed["checkpoints"]) - 1, ""),
        *([] if end is None else [Figure(f"{name}: checkpoint that is compared", end, "")]),
        Figure(f"{name}: updates until then", played[-1]["updates"] if played else 0, ""),
        Figure(f"{name}: groups until then", sum(s["groups"] for s in played), "groups"),
        Figure(f"{name}: groups that taught", sum(s["taught"] for s in played), "groups"),
    ]
    if trl is not None and "taught" in trl:  # seed 1's was played before it was counted
        figures.append(Figure(f"{name}: groups that taught TRL", trl["taught"], "groups"))
    for part, (seconds, tokens) in taken.items():
        figures += [
            Figure(f"{name}: processor, {part}", seconds / 3_600, "h"),
            Figure(f"{name}: tokens, {part}", tokens, "tokens"),
        ]
        gained = compare({name: seed}, "0", "end" if part == "network" else TRL)
        points = 100 * mean(gained[0]) if gained else 0
        if points > 0:
            figures += [
                Figure(f"{name}: processor for a point, {part}", seconds / points, "s"),
                Figure(f"{name}: tokens for a point, {part}", tokens / points, "tokens"),
            ]
    return figures


def draw(seeds: dict[str, dict[str, Any]], path: Path) -> None:
    """The gain that the gate has shown, seed by seed, TRL's beside it, and the cheat."""
    names = [f"seed-{number}" for number in range(1, len(REGISTRATION["seeds"]) + 1)]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.2 * len(names), 3.8), sharey=True)
    for axis, name in zip(axes, names, strict=True):
        axis.axhline(0, color="gray", lw=0.8)
        if name not in seeds:
            axis.set_title(f"{name}: not played yet", fontsize=9)
            axis.set(xlabel="checkpoint", xlim=(0, REGISTRATION["network"]["windows"]))
            continue
        seed = seeds[name]
        measured = [one for one in seed["gate"] if one and one["gain"] is not None]
        # a checkpoint that was not measured tells of the newest before it that was
        shown = list({one["checkpoint"]: one for one in measured}.items())
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
        milestones = {one["milestone"] for _, one in shown} - {0, None}
        returned = {one["returned"]["number"] for _, one in shown if one["returned"]}
        for marked, marker, color, label in (
            (milestones, "^", "tab:green", "milestones"),
            (returned, "v", "tab:red", "returns"),
        ):
            if marked:
                axis.plot(sorted(marked), [0] * len(marked), marker, color=color, label=label)
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
        caught = [
            verdict["reason"] != Reason.ACCEPTED
            for verdict in seed["verdicts"]
            if verdict["role"] == "cheat"
        ]
        title = f"{name}: int4 refused in {sum(caught)} of {len(caught)} windows"
        axis.set_title(title, fontsize=9)
        axis.set(xlabel="checkpoint")
        axis.legend(loc="upper left", fontsize=7)
    axes[0].set(ylabel="points more than the first checkpoint", ylim=(-30, 30))
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main() -> None:
    if OUT is None:
        sys.exit("--out DIR: the folder of a run of public_run.py")
    over = sorted(file.parents[1] for file in OUT.glob(f"seed-*/net/{SUMMARY}"))
    seeds = {folder.name: read_seed(folder) for folder in over}
    if JSON is not None:
        draw(seeds, JSON.with_suffix(".png"))
    told = {name: {k: v for k, v in one.items() if k != "tries"} for name, one in seeds.items()}
    threads = REGISTRATION["network"]["threads"]
    report("SmolLM2-135M on a subnet, as registered", list_figures(seeds), threads, seeds=told)


if __name__ == "__main__":
    main()
