"""A real model on a subnet of one machine, from a warm start to its last checkpoint, beside TRL.

This script plays nothing. It reads a run of `public_run.py`, with its tries, and stores what others
compare in `results/public_run`: the curve, the digests of checkpoints, verdicts by window, and what
each program took of the processor.

    python bench/public_run_results.py --out DIR --json bench/results/public_run.json

Success is the share of held-out problems that are solved with one draw at temperature 1. Intervals
are of 95 %, over problems; differences are paired, on the same problems and draws. The base is
SmolLM2-135M-Instruct out of a Q4_1 file, made bf16.
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from figures import OUT, Figure, report
from matplotlib import pyplot
from public_run import (
    CHEAT_WALLET,
    HONEST,
    RECIPE,
    TRL,
    count_updates,
    find_genesis,
    list_checkpoints,
    read_rules,
)

from assay.artifacts.steps.folder import read_step
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_outline
from assay.network.files import write_json
from assay.training.held_out import make_held_out_seed

RESULTS = Path(__file__).with_name("results")
PLOT, KEPT = RESULTS / "public_run.png", RESULTS / "public_run"
#: What is hoped for: the least gain, and the least difference to TRL.
GAIN, BESIDE_TRL = 0.03, -0.06
#: The most that one answer to all problems may earn.
CONSTANT = 0.05


def read_address(out: Path, name: str) -> str:
    """The address of a wallet's hotkey."""
    file = out / "net" / "wallets" / name / "hotkeys" / "defaultpub.txt"
    address: str = json.loads(file.read_text())["ss58Address"]
    return address


def read_windows(out: Path) -> list[dict[str, Any]]:
    """For each window, what the validator found of each miner: reason, score and detail."""
    names = {read_address(out, name): name for name in (*HONEST, CHEAT_WALLET)}
    windows = []
    for file in (out / "net" / "validator" / "verdicts").glob("window-*.json"):
        document = json.loads(file.read_text())
        found = {
            names[one["hotkey"]]: {k: one[k] for k in ("reason", "score", "detail")}
            for one in document["verdicts"]
            if one["hotkey"] in names
        }
        windows.append(
            {"window": document["window"], "checkpoint": document["checkpoint"], "verdicts": found}
        )
    return sorted(windows, key=lambda one: int(one["window"]))


def find_constant(out: Path, problems: int) -> float:
    """The share of held-out problems that the best single answer to all of them solves."""
    rules = read_rules(out)
    environment = open_environment(rules.environment)
    levels = load_outline(find_genesis(out)).manifest.level_numbers
    seeds = [make_held_out_seed(environment, number) for number in range(problems)]
    asked = [environment.make_problem(seed, levels) for seed in seeds]
    last = Counter(environment.solve(problem)[-1].splitlines()[-1] for problem in asked)
    return max(last.values()) / problems


def keep_run(out: Path) -> dict[str, Any]:
    """Store what others compare, and return it."""
    checkpoints = list_checkpoints(out / "net")
    steps = [read_step(p) for p in sorted((out / "net/trainer/steps").glob("step-*.json"))]
    updates = count_updates(out)
    run = {
        "recipe": RECIPE,
        "checkpoints": [digest for _, digest in checkpoints],
        "steps": [
            {
                "record": step.record.digest.hex(),
                "window": step.record.window,
                "groups": step.record.groups,
                "left_out": len(step.record.left_out),
                "updates": updates[step.record.number],
            }
            for step in steps
        ],
        "learning": json.loads(steps[0].record.config),
        "windows": read_windows(out),
        "runs": json.loads((out / "runs.json").read_text()),
        "curve": json.loads((out / "curve.json").read_text()),
    }
    course = out / "trl" / "course.json"
    if course.exists():
        run["trl"] = json.loads(course.read_text())
    write_json(KEPT / "run.json", run)
    return run


def list_figures(out: Path, run: dict[str, Any]) -> list[Figure]:
    """Figures of a run, with their bounds."""
    points = [one for one in run["curve"]["pass@1"] if one["checkpoint"] != TRL]
    first, last = points[0], points[-1]
    figures = [
        Figure(
            f"solved by checkpoint {last['checkpoint']}, {last['problems']:,} held-out problems",
            last["solved"],
            "share",
            "by the first checkpoint",
            first["solved"],
        ),
        Figure("its gain", last["gain"], "share"),
        Figure("its gain, lower end", last["gain_interval95"][0], "share", least=GAIN),
        Figure("its gain, upper end", last["gain_interval95"][1], "share"),
    ]
    often = run["curve"].get("pass@8")
    if often:
        figures.append(
            Figure(
                f"solved in one of 8 tries, {often[-1]['problems']} problems",
                often[-1]["solved"],
                "share",
                "by the first checkpoint",
                often[0]["solved"],
            )
        )
    made = {number: step["updates"] for number, step in enumerate(run["steps"], 1)}
    for beside in run["curve"].get("against_trl", ()):
        number, low_high = beside["checkpoint"], beside["difference_interval95"]
        trl = next(one for one in run["curve"]["pass@1"] if one["checkpoint"] == TRL)
        ours = next(one for one in points if one["checkpoint"] == number)
        figures += [
            Figure(
                f"solved by checkpoint {number}, after {made[number]} updates",
                ours["solved"],
                "share",
                f"TRL's GRPO after {run['trl']['updates']}",
                trl["solved"],
            ),
            Figure(
                f"checkpoint {number} less TRL, lower end", low_high[0], "share", least=BESIDE_TRL
            ),
            Figure(f"checkpoint {number} less TRL, upper end", low_high[1], "share"),
        ]
    figures.append(
        Figure(
            "solved by the best constant answer",
            find_constant(out, last["problems"]),
            "share",
            bound=CONSTANT,
        )
    )
    return figures + list_verdicts(run) + list_costs(out, run)


def list_verdicts(run: dict[str, Any]) -> list[Figure]:
    """What became of honest miners and of the cheat."""
    found: dict[str, Counter[str]] = {}
    for window in run["windows"]:
        for name, verdict in window["verdicts"].items():
            found.setdefault(name, Counter())[verdict["reason"]] += 1
    cheat = found[CHEAT_WALLET]
    honest = sum((found[name] for name in HONEST), Counter[str]())
    missed = honest["NO_COMMITMENT"]  # while the run was killed
    refused = sum(honest.values()) - honest["ACCEPTED"] - missed
    return [
        Figure("windows with a verdict", len(run["windows"]), "windows"),
        Figure("files of the int4 cheat accepted", cheat["ACCEPTED"], "files", bound=0),
        Figure("files of the int4 cheat refused", sum(cheat.values()), "files"),
        Figure("files of honest miners accepted", honest["ACCEPTED"], "files"),
        Figure("files of honest miners refused", refused, "files", bound=0),
        Figure("windows that an honest miner did not commit in", missed, "windows"),
    ]


def list_costs(out: Path, run: dict[str, Any]) -> list[Figure]:
    """Hours and bytes."""
    hours: Counter[str] = Counter()
    for one in run["runs"]:
        hours.update({name: seconds / 3_600 for name, seconds in one["processor"].items()})
    wall = sum(one["seconds"] for one in run["runs"]) / 3_600
    adapters = [
        file.stat().st_size
        for file in (out / "net" / "store" / "checkpoints").glob("*/files/adapter.safetensors")
    ]
    figures = [
        Figure("hours that were counted", wall, "h"),
        *(Figure(f"processor: {name}", spent, "h") for name, spent in sorted(hours.items())),
        Figure("processor: all of these", hours.total(), "h"),
        Figure("checkpoints", len(run["checkpoints"]) - 1, ""),
        Figure("groups that reached the trainer", sum(s["groups"] for s in run["steps"]), ""),
        Figure("updates", run["steps"][-1]["updates"], ""),
        Figure("bytes of a checkpoint's adapter", sum(adapters) / len(adapters), "bytes"),
    ]
    if "trl" in run:
        figures.append(Figure("processor: TRL's GRPO", run["trl"]["seconds"] / 3_600, "h"))
    return figures


def draw(run: dict[str, Any]) -> None:
    """Success by checkpoint, and what each miner earned by window."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4))
    points = [one for one in run["curve"]["pass@1"] if one["checkpoint"] != TRL]
    shares = [one["solved"] for one in points]
    halves = [
        1.96 * math.sqrt(s * (1 - s) / p["problems"]) for s, p in zip(shares, points, strict=True)
    ]
    numbers = [one["checkpoint"] for one in points]
    left.errorbar(numbers, shares, halves, marker="o", capsize=3, label="the network")
    for one in run["curve"]["pass@1"]:
        if one["checkpoint"] == TRL:
            at = [beside["checkpoint"] for beside in run["curve"]["against_trl"]]
            label = f"TRL after {run['trl']['updates']} updates"
            left.plot(at, [one["solved"]] * len(at), "s--", color="tab:orange", label=label)
    top = 1.15 * max(share + half for share, half in zip(shares, halves, strict=True))
    left.set(xlabel="checkpoint", ylabel="held-out problems solved", ylim=(0, top), xticks=numbers)
    left.legend(loc="lower right")
    for name in (*HONEST, CHEAT_WALLET):
        scores = [
            (one["window"], one["verdicts"][name]["score"])
            for one in run["windows"]
            if name in one["verdicts"]
        ]
        label = f"{name}, int4 weights" if name == CHEAT_WALLET else name
        right.plot(*zip(*scores, strict=True), marker=".", label=label)
    right.set(xlabel="window", ylabel="score")
    right.margins(y=0.18)
    right.legend(loc="upper right", ncol=3)
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110, metadata={"Software": None})


def main() -> None:
    if OUT is None:
        sys.exit("--out DIR: the folder of a run of public_run.py")
    run = keep_run(OUT)
    draw(run)
    report("SmolLM2-135M on a subnet of one machine", list_figures(OUT, run), 1)


if __name__ == "__main__":
    main()
