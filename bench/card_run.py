r"""The public run's subnet at ten times the updates, as one card computes it.

    assay adopt bench/registered/adapter.safetensors --base SmolLM2-135M-Instruct.Q4_1.gguf \
        --out model
    python bench/card_run.py model --out DIR

It plays the shipped recipe's subnet with `assay demo`, on a virtual clock: two honest miners, one
with int4 weights, validator and trainer, 100 windows of 48 honest groups, each followed by some six
updates. Then TRL's GRPO learns from the same start and problems for as many updates, and all are
tried on held-out problems, but not the registered ones. DIR/seed-1 gets what `public_run.py`
leaves, and the demo's bundle, which `assay audit` repeats on any machine. After a stop the same
command goes on. Without a GPU it prints one line; `--fast` plays the small recipe there.
"""

import argparse
import json
import re
import subprocess
import sys
from importlib.resources import files
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from figures import FAST, Figure, report
from public_run import RECIPE, TRIAL, TRIES, TRL

#: A margin's cap. With the recipe's, which was measured on a processor, a calibrated rate of an
#: H100 is 1.1 times its limit.
CAP = 2_000
#: Groups of an update, and updates of a window: of 48 groups some 23 have a signal.
GROUPS_PER_BATCH, UPDATES = 4, 6
CHECKPOINTS, GROUPS, PROBLEMS = (6, 4, 20) if FAST else (100, 24, 1_000)
_PART_S = 8 * 3_600.0
#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


def write_recipe(path: Path) -> str:
    """The recipe with a card's cap and updates. Returns its name or file."""
    if FAST:
        return "genesis-arithmetic"
    text = (files("assay.subnet.recipes") / f"{RECIPE}.toml").read_text()
    for name, value in (
        ("groups_per_batch", GROUPS_PER_BATCH),
        ("external_groups", GROUPS_PER_BATCH * UPDATES),
        ("margin_cap", CAP),
        ("margin_levels", [0, *(CAP * 2**step // 100 for step in range(7))]),
    ):
        text, found = re.subn(rf"^{name} = .*", f"{name} = {value}", text, flags=re.MULTILINE)
        assert found == 1, f"{RECIPE} has no {name}"
    path.write_text(text)
    return str(path)


def run(*command: str) -> float:
    """Run a command to its end. Returns its seconds."""
    print("$", *command, file=sys.stderr, flush=True)
    begun = perf_counter()
    subprocess.run(command, check=True, timeout=_PART_S)
    return perf_counter() - begun


def play(given: argparse.Namespace) -> float:
    """Play the subnet. Returns seconds."""
    if (summary := given.out / "seed-1" / "net" / "summary.json").exists():
        return float(json.loads(summary.read_text())["seconds"])
    recipe = write_recipe(given.out / f"{RECIPE}-card.toml")
    model = () if FAST else ("--model", str(given.model))
    return run(
        *(
            sys.executable,
            "-m",
            "assay",
            "demo",
            "--recipe",
            recipe,
            *model,
            "--out",
            str(given.out / "seed-1" / "net"),
            "--quiet",
        ),
        *(f"--windows={CHECKPOINTS}", f"--groups={GROUPS}", f"--problems={max(100, PROBLEMS)}"),
        *("--device", given.device, "--implementation", given.implementation),
    )


def make_figures(out: Path, seconds: float) -> list[Figure]:
    """What the run gave."""
    summary = json.loads((out / "net" / "summary.json").read_text())
    verdicts = [verdict for window in summary["windows"] for verdict in window["verdicts"]]
    honest = [one for one in verdicts if one["role"] == "honest"]
    refused = sum(one["reason"] != "ACCEPTED" for one in honest)
    caught = [one["reason"] == "SAMPLING_MISMATCH" for one in verdicts if one["role"] != "honest"]
    curve = make_curve(json.loads((out / TRIAL).read_text()))
    figures = [
        Figure("seconds of the whole run", seconds, "s"),
        Figure(f"honest submissions refused, of {len(honest)}", refused, "", bound=0),
        Figure(f"submissions by int4 weights refused, of {len(caught)}", sum(caught), ""),
    ]
    for name in ("pass@1", "pass@8"):
        for point in curve[name]:
            low, high = point["gain_interval95"]
            figures.append(
                Figure(
                    f"{name} of checkpoint {point['checkpoint']}, {point['problems']:,} problems; "
                    f"{100 * point['gain']:+.1f} points since the first, 95 % "
                    f"[{100 * low:+.1f}, {100 * high:+.1f}]",
                    100 * point["solved"],
                    "%",
                )
            )
    if beside := curve.get("against_trl"):
        low, high = beside["difference_interval95"]
        figures.append(
            Figure(
                f"checkpoint {beside['checkpoint']} less {TRL.upper()}, 95 % [{100 * low:+.1f}, "
                f"{100 * high:+.1f}]",
                100 * beside["difference"],
                "points",
            )
        )
    return figures


def make_curve(tries: dict[str, list[list[bool]]]) -> dict[str, Any]:
    """Success of each checkpoint, and its difference to the first on the problems of both, with
    95 % intervals: the normal one of paired differences. The last beside TRL likewise."""
    curve: dict[str, Any] = {}
    for count in (1, TRIES):
        rows = {k.rpartition("x")[0]: v for k, v in tries.items() if k.endswith(f"x{count}")}
        numbers = sorted((name for name in rows if name != TRL), key=int)
        if not numbers:  # not asked yet
            continue
        first = rows[numbers[0]]
        points = []
        for name in [*numbers, *({TRL} & rows.keys())]:
            solved = rows[name]
            mean, interval = compare(first, solved)
            points.append(
                {
                    "checkpoint": name if name == TRL else int(name),
                    "problems": len(solved),
                    "solved": sum(any(row) for row in solved) / len(solved),
                    "gain": mean,
                    "gain_interval95": interval,
                }
            )
        curve[f"pass@{count}"] = points
        if TRL in rows:
            mean, interval = compare(rows[TRL], rows[numbers[-1]])
            curve["against_trl"] = {
                "checkpoint": int(numbers[-1]),
                "difference": mean,
                "difference_interval95": interval,
            }
    return curve


def compare(first: list[list[bool]], solved: list[list[bool]]) -> tuple[float, list[float]]:
    """How much more is solved than at first, on the problems of both, and its 95 % interval."""
    common = min(len(first), len(solved))
    gains = [any(solved[i]) - any(first[i]) for i in range(common)]
    mean = sum(gains) / common
    variance = sum((gain - mean) ** 2 for gain in gains) / max(1, common - 1)
    half = _Z * sqrt(variance / common)
    return mean, [mean - half, mean + half]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL", help="of the warm start")
    parser.add_argument("--out", type=Path, metavar="DIR", default=Path("card-run"))
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--implementation", default="fp32-sdpa")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fast", action="store_true")
    given = parser.parse_args()
    if not FAST and (given.model is None or given.device == "cpu"):
        print("no GPU here, or no model named: a real model's run on a card is not played")
        return
    given.out.mkdir(parents=True, exist_ok=True)
    seconds = play(given)
    here, seed = Path(__file__).parent, given.out / "seed-1"
    often = ("--device", given.device, f"--updates={CHECKPOINTS * UPDATES if not FAST else 1}")
    if not FAST:
        course = ("--out", str(seed), *often, "--hours=8")
        run(sys.executable, str(here / "public_run_trl.py"), *course)
    tries = ("try", "--out", str(given.out), f"--problems={PROBLEMS}", *often)
    run(sys.executable, str(here / "public_run.py"), *tries)
    where = "a CPU" if given.device == "cpu" else torch.cuda.get_device_name()
    title = f"a model learns on a subnet that {where} computes, by {given.implementation}"
    report(title, make_figures(seed, seconds), torch.get_num_threads())


if __name__ == "__main__":
    main()
