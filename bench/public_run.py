r"""A real model gets better on a subnet of this machine, and everything can be audited.

    assay adopt smollm2-135m-instruct.gguf --out smollm2
    assay train warm-start smollm2 --recipe smollm2-135m-gsm --lora-rank 0 --level 1 --level 2 \
        --level 3 --out warm
    python bench/public_run.py warm/model --out DIR
    python bench/public_run.py warm/model --out DIR --try

It runs `assay localnet` by the recipe, two honest miners, one with symmetric int4 weights, a
validator and a trainer, each in its own process, until the trainer has published all checkpoints or
the hours are over. The same command goes on, also after a kill. `--try` answers held-out problems
with the checkpoints, and goes on likewise. DIR gets:

    net/         the localnet, with everything that its programs keep, for `assay audit --localnet`
    runs.json    what each run of this command took of the processor, program by program
    tries.json   which held-out problems each checkpoint solved, try by try
    curve.json   success with its 95 % interval, and the difference to the first checkpoint on the
                 same problems

The recipe's tokens are few, so that two cores do it in some hours.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import sqrt
from pathlib import Path
from typing import Any

from processes import Watch
from terminals import ASSAY, CHEAT, Terminals, make_wallet

from assay.network.files import write_json

RECIPE = "smollm2-135m-gsm"
HONEST, CHEAT_WALLET, VALIDATOR = ("alice", "bob"), "crook", "validator"
STRATEGY = "int4 weights"
#: Of the cheat in a window. They show what becomes of it; more would cost the honest their cores.
CHEAT_GROUPS = 4
#: Seconds between two looks, and until a localnet by a recipe is founded.
_LOOK_S, _FOUNDING_S = 5.0, 3_600.0
#: Tries of a problem for pass@k, and problems that are asked so.
TRIES, TRIED_OFTEN = 8, 200
#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


def start_network(terminals: Terminals, given: argparse.Namespace) -> dict[str, int]:
    """Start the localnet and its programs. Name → process number."""
    folder = terminals.folder
    recipe = () if folder.exists() else ("--recipe", given.recipe, "--model", str(given.model))
    localnet = (ASSAY, "localnet", "--dir", str(folder), "--port=0", *recipe)
    pids = {"localnet": terminals.start("localnet", *localnet, f"--block-time={given.block_time}")}
    deadline = time.monotonic() + _FOUNDING_S
    while terminals.read("localnet.json").get("pids", {}).get("localnet") != pids["localnet"]:
        terminals.require_running()
        if time.monotonic() > deadline:
            raise SystemExit(f"the localnet was not founded in {_FOUNDING_S:.0f} s")
        time.sleep(_LOOK_S)
    wallets = (*HONEST, CHEAT_WALLET, VALIDATOR)
    if not (folder / "wallets" / VALIDATOR).exists():
        for name in wallets:
            if not (folder / "wallets" / name).exists():
                make_wallet(terminals, name)
        terminals.run("stake", "100", "--wallet", VALIDATOR, "--yes", "--any-price")
    at = ("--localnet", str(folder))

    def name_miner(name: str) -> tuple[str, ...]:
        groups = CHEAT_GROUPS if name == CHEAT_WALLET else given.groups
        return (*at, "--wallet", name, "--dir", str(folder / name), f"--groups={groups}")

    commands = {
        **{name: (ASSAY, "mine", *name_miner(name)) for name in HONEST},
        CHEAT_WALLET: (sys.executable, CHEAT, STRATEGY, *name_miner(CHEAT_WALLET)),
        VALIDATOR: (ASSAY, "validate", *at, "--wallet", VALIDATOR),
        "trainer": (ASSAY, "train", *at),
    }
    return pids | {name: terminals.start(name, *command) for name, command in commands.items()}


def list_checkpoints(folder: Path) -> list[tuple[int, str]]:
    """Number and digest of each checkpoint that the trainer published, the first one included."""
    found = {}
    for file in (folder / "trainer" / "models").glob("*/manifest.json"):
        found[json.loads(file.read_text())["number"]] = file.parent.name
    return sorted(found.items())


def run_network(given: argparse.Namespace) -> None:
    """Let the network run until all checkpoints are there, or the hours are over."""
    deadline = time.monotonic() + given.hours * 3_600
    with ExitStack() as stack:
        terminals = Terminals(given.out, stack)
        begun = time.monotonic()
        programs = start_network(terminals, given)
        watch = Watch(programs)
        stack.callback(watch.close)
        spent: dict[str, float] = {}
        told = -1
        while time.monotonic() < deadline:
            terminals.require_running()
            spent = watch.read_processors()
            published = max((number for number, _ in list_checkpoints(terminals.folder)), default=0)
            if published != told:
                told = published
                minutes = (time.monotonic() - begun) / 60
                print(
                    f"{minutes:,.0f} min: checkpoint {published} of {given.checkpoints}", flush=True
                )
            if published >= given.checkpoints:
                break
            time.sleep(_LOOK_S)
        file = given.out / "runs.json"
        runs = json.loads(file.read_text()) if file.exists() else []
        seconds = time.monotonic() - begun
        runs.append({"seconds": seconds, "cores": os.cpu_count(), "processor": spent})
        write_json(file, runs)


def choose_tries(given: argparse.Namespace) -> list[tuple[int, str, int, int]]:
    """Number, digest, problems, tries: what is asked of which checkpoint."""
    known = list_checkpoints(given.out / "net")
    ends = {known[0][0], known[-1][0]}
    asked = []
    for number, digest in known:
        if number in ends:
            often = min(TRIED_OFTEN, given.problems)
            asked += [(number, digest, 2 * given.problems, 1), (number, digest, often, TRIES)]
        elif number % 3 == 0:
            asked.append((number, digest, given.problems, 1))
    return asked


def try_checkpoints(given: argparse.Namespace) -> None:
    """Answer held-out problems with checkpoints. What is known is not asked again."""
    from assay.environments import open_environment
    from assay.inference import load_checkpoint
    from assay.protocol.encoding import from_json
    from assay.protocol.hashing import Domain, hash_fields
    from assay.protocol.parameters import Parameters
    from assay.training.held_out import make_held_out_seed, try_problems

    (found,) = (given.out / "net" / "store" / "parameters").glob("*.json")
    parameters = from_json(Parameters, json.loads(found.read_text()))
    environment, work = open_environment(parameters.environment), parameters.work
    file = given.out / "tries.json"
    tries = json.loads(file.read_text()) if file.exists() else {}
    levels: Sequence[int] = ()
    for number, digest, problems, count in choose_tries(given):
        checkpoint = load_checkpoint(given.out / "net" / "trainer" / "models" / digest)
        levels = levels or checkpoint.manifest.level_numbers  # of the first, for all
        drafter = checkpoint.get_drafter(work.temperature)
        solved = tries.setdefault(f"{number}x{count}", [])
        while len(solved) < problems:
            numbers = range(len(solved), min(len(solved) + max(1, 64 // count), problems))
            seeds = [make_held_out_seed(environment, n) for n in numbers]
            asked = [environment.make_problem(seed, levels) for seed in seeds for _ in range(count)]
            draws = [
                hash_fields(Domain.HELD_OUT, seed, again.to_bytes(4, "big")) if again else seed
                for seed in seeds
                for again in range(count)
            ]
            right = try_problems(drafter, checkpoint.tokenizer, environment, asked, draws, work)
            solved += [right[i : i + count] for i in range(0, len(right), count)]
            write_json(file, tries)
        print(f"checkpoint {number}, {count} tries: {describe(solved)}", flush=True)
    write_json(given.out / "curve.json", make_curve(tries))


def describe(solved: Sequence[Sequence[bool]]) -> str:
    """The share of problems of which a try is right."""
    share = sum(any(row) for row in solved) / len(solved)
    return f"{100 * share:.1f} % of {len(solved):,}"


def make_curve(tries: dict[str, list[list[bool]]]) -> dict[str, Any]:
    """Success of each checkpoint, and its difference to the first on the problems of both, with
    95 % intervals: the normal one of paired differences."""
    curve: dict[str, Any] = {}
    for count in (1, TRIES):
        rows = {int(k.partition("x")[0]): v for k, v in tries.items() if k.endswith(f"x{count}")}
        first = rows[min(rows)]
        points = []
        for number, solved in sorted(rows.items()):
            common = min(len(first), len(solved))
            gains = [any(solved[i]) - any(first[i]) for i in range(common)]
            mean = sum(gains) / common
            variance = sum((gain - mean) ** 2 for gain in gains) / max(1, common - 1)
            half = _Z * sqrt(variance / common)
            share = sum(any(row) for row in solved) / len(solved)
            points.append(
                {
                    "checkpoint": number,
                    "problems": len(solved),
                    "solved": share,
                    "gain": mean,
                    "gain_interval95": [mean - half, mean + half],
                }
            )
        curve[f"pass@{count}"] = points
    return curve


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="of the warm start: a folder")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--hours", type=float, default=3.0, help="then it stops, to go on later")
    parser.add_argument("--groups", type=int, default=16, help="of each miner in a window")
    parser.add_argument("--block-time", type=float, default=12.0, help="seconds")
    parser.add_argument("--problems", type=int, default=500, help="that are held out")
    parser.add_argument("--try", dest="tries", action="store_true", help="answer held-out problems")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.tries:
        try_checkpoints(given)
    else:
        run_network(given)


if __name__ == "__main__":
    main()
