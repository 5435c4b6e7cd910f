r"""The public run's subnet at ten times the updates, as one card computes it.

    assay adopt bench/registered/adapter.safetensors --base SmolLM2-135M-Instruct.Q4_1.gguf \
        --out model
    python bench/card_run.py model --out DIR

It plays the shipped recipe's subnet with `assay demo`, on a virtual clock: two honest miners, one
with int4 weights, validator and trainer, 100 windows of 48 honest groups, each followed by some six
updates. Then TRL's GRPO learns from the same start and problems for as many updates, and all are
tried on the registered problems. DIR/seed-1 gets what `public_run.py` leaves, and the demo's
bundle, which `assay audit` repeats on any machine. After a stop the same command goes on. Without a
GPU it prints one line; `--fast` plays the small recipe there.
"""

import argparse
import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from time import perf_counter

import torch
from figures import FAST, Figure, report
from public_run import RECIPE, TRL, make_curve

#: A margin's cap. With the recipe's, which was measured on a processor, a calibrated rate of an
#: H100 is 1.1 times its limit.
CAP = 2_000
#: Groups of an update, and updates of a window: of 48 groups some 23 have a signal.
GROUPS_PER_BATCH, UPDATES = 4, 6
CHECKPOINTS, GROUPS, PROBLEMS = (6, 4, 20) if FAST else (100, 24, 1_000)
_PART_S = 8 * 3_600.0


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
    curve = make_curve(json.loads((out / "tries.json").read_text()))
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
