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
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import sqrt
from pathlib import Path
from typing import Any, NoReturn

from processes import read_processors
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
#: Weights that TRL made from the same start.
TRL = "trl"
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
    # all miners generate at the same time: with a thread on each core, they wait for each other
    threads = max(1, (os.cpu_count() or 1) // len((*HONEST, CHEAT_WALLET)))

    def name_miner(name: str) -> tuple[str, ...]:
        groups = CHEAT_GROUPS if name == CHEAT_WALLET else given.groups
        own = ("--wallet", name, "--dir", str(folder / name), f"--threads={threads}")
        return (*at, *own, f"--groups={groups}")

    commands = {
        **{name: (ASSAY, "mine", *name_miner(name)) for name in HONEST},
        CHEAT_WALLET: (sys.executable, CHEAT, STRATEGY, *name_miner(CHEAT_WALLET)),
        VALIDATOR: (ASSAY, "validate", *at, "--wallet", VALIDATOR),
        "trainer": (ASSAY, "train", *at),
    }
    return pids | {name: terminals.start(name, *command) for name, command in commands.items()}


def list_checkpoints(folder: Path) -> list[tuple[int, str]]:
    """Number and digest of each checkpoint that the trainer published, the first one included. Its
    own folder keeps the newest, the store all that were sent."""
    found = {}
    for models in (folder / "trainer" / "models", folder / "store" / "checkpoints"):
        for file in models.glob("*/manifest.json"):
            found[json.loads(file.read_text())["number"]] = file.parent.name
    return sorted(found.items())


def is_judged(out: Path) -> bool:
    """Whether the validator has written its verdicts on the window of the newest checkpoint: the
    trainer publishes while that window still runs."""
    from assay.artifacts.steps.folder import read_step

    newest = max((out / "net" / "trainer" / "steps").glob("step-*.json"))
    window = read_step(newest).record.window
    return (out / "net" / "validator" / "verdicts" / f"window-{window}.json").exists()


def stop(number: int, _: object) -> NoReturn:
    """End, and all programs with it: without this, SIGTERM would leave them running."""
    raise SystemExit(f"stopped by {signal.Signals(number).name}: the same command goes on")


def run_network(given: argparse.Namespace) -> None:
    """Let the network run until all checkpoints are there, or the hours are over."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    deadline = time.monotonic() + given.hours * 3_600
    with ExitStack() as stack:
        terminals = Terminals(given.out, stack)
        begun = time.monotonic()
        programs = start_network(terminals, given)
        file = given.out / "runs.json"
        earlier = json.loads(file.read_text()) if file.exists() else []
        told = -1
        while time.monotonic() < deadline:
            terminals.require_running()
            seconds, spent = time.monotonic() - begun, read_processors(programs)
            # at every look: a run that is killed has its figures, too
            run = {"seconds": seconds, "cores": os.cpu_count(), "processor": spent}
            write_json(file, [*earlier, run])
            published = max((number for number, _ in list_checkpoints(terminals.folder)), default=0)
            if published != told:
                told = published
                minutes = seconds / 60
                print(
                    f"{minutes:,.0f} min: checkpoint {published} of {given.checkpoints}", flush=True
                )
            if published >= given.checkpoints and is_judged(given.out):
                break
            time.sleep(_LOOK_S)


def find_genesis(out: Path) -> Path:
    """The folder of checkpoint 0: the trainer's, or the store's, in which a kept run has it."""
    digest = list_checkpoints(out / "net")[0][1]
    trainer = out / "net" / "trainer" / "models" / digest
    return trainer if trainer.exists() else out / "net" / "store" / "checkpoints" / digest


def open_models(out: Path, device: str = "cpu") -> Any:
    """The trainer's checkpoints; one that it no longer keeps is made of the store's adapter."""
    from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
    from assay.inference.placement import Placement
    from assay.network.store.folder import open_folder

    net = out / "net"
    fetching = DownloadSettings(lambda: [open_folder(net / "store")])
    return CheckpointFolder(net / "trainer" / "models", fetching, placement=Placement(device))


def read_rules(out: Path) -> Any:
    """The network's parameters."""
    from assay.protocol.encoding import from_json
    from assay.protocol.parameters import Parameters

    (found,) = (out / "net" / "store" / "parameters").glob("*.json")
    return from_json(Parameters, json.loads(found.read_text()))


def count_updates(out: Path) -> dict[int, int]:
    """The trainer's updates until each checkpoint, by what its steps consumed, as a demo's also do.
    A group whose rewards are all the same is in none."""
    from assay.artifacts.steps.folder import parse_config, read_step, read_step_groups

    made, total = {}, 0
    for path in sorted((out / "net" / "trainer" / "steps").glob("step-*.json")):
        step = read_step(path)
        config = parse_config(step.record).learning
        learned = sum(len(set(one.group.rewards)) > 1 for one in read_step_groups(step))
        total += config.epochs * -(-learned // config.groups_per_batch)
        made[step.record.number] = total
    return made


def list_equals(out: Path) -> list[int]:
    """The checkpoints that TRL's weights are compared with: the one whose rollouts answer the last
    of TRL's problems, and the first after as many updates. Groups without a signal make no update
    here, so it may be a later one."""
    course = out / "trl" / "course.json"
    if not course.exists():
        return []
    trl = json.loads(course.read_text())
    as_long = [n for n, updates in count_updates(out).items() if updates >= trl["updates"]]
    return sorted({trl["checkpoints"], *as_long[:1]})


def choose_tries(given: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """Name, digest, problems, tries: what is asked of which checkpoint. Where TRL has learned, its
    weights and the checkpoints beside it have as many problems as the first and the last."""
    known = list_checkpoints(given.out / "net")
    ends = {known[0][0], known[-1][0]}
    equals = list_equals(given.out)
    asked: list[tuple[str, str, int, int]] = []
    for number, digest in known:
        if number in ends or number in equals:
            asked.append((str(number), digest, 2 * given.problems, 1))
        elif number % 3 == 0:
            asked.append((str(number), digest, given.problems, 1))
        if number in ends:
            asked.append((str(number), digest, min(TRIED_OFTEN, given.problems), TRIES))
    if equals:
        asked.append((TRL, known[0][1], 2 * given.problems, 1))
    return asked


def load_tried(given: argparse.Namespace, name: str, checkpoint: Any) -> Any:
    """The model that is tried: the checkpoint's, or TRL's over the first one's."""
    from safetensors.torch import load_file

    from assay.inference.model_loading import load_model

    model = load_model(checkpoint.folder, given.device)
    if name == TRL:
        weights = load_file(given.out / "trl" / "weights.safetensors")
        missing, unknown = model.load_state_dict(weights, strict=False)
        if unknown or set(missing) - {"lm_head.weight"}:
            raise SystemExit(f"weights of TRL: {unknown} are unknown, {missing} are missing")
    return model


def try_checkpoints(given: argparse.Namespace) -> None:
    """Answer held-out problems with checkpoints. What is known is not asked again."""
    from assay.environments.registry import open_environment
    from assay.inference.checkpoint import load_outline
    from assay.inference.placing.devices import CPU
    from assay.protocol.hashing import Domain, hash_fields
    from assay.training.held_out import make_held_out_seed, try_problems

    parameters = read_rules(given.out)
    environment, work = open_environment(parameters.environment), parameters.work
    file = given.out / "tries.json"
    tries = json.loads(file.read_text()) if file.exists() else {}
    levels = load_outline(find_genesis(given.out)).manifest.level_numbers  # for all
    rows = 64 if given.device == CPU else 512
    models = open_models(given.out, given.device)
    for name, digest, problems, count in choose_tries(given):
        solved = tries.setdefault(f"{name}x{count}", [])
        if len(solved) >= problems:
            continue
        checkpoint = models.get(bytes.fromhex(digest))
        models.opened.clear()
        drafter = checkpoint.get_drafter(work.temperature, load_tried(given, name, checkpoint))
        while len(solved) < problems:
            numbers = range(len(solved), min(len(solved) + max(1, rows // count), problems))
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
        print(f"checkpoint {name}, {count} tries: {describe(solved)}", flush=True)
    write_json(given.out / "curve.json", make_curve(tries, list_equals(given.out)))


def describe(solved: Sequence[Sequence[bool]]) -> str:
    """The share of problems of which a try is right."""
    share = sum(any(row) for row in solved) / len(solved)
    return f"{100 * share:.1f} % of {len(solved):,}"


def make_curve(tries: dict[str, list[list[bool]]], equals: Sequence[int]) -> dict[str, Any]:
    """Success of each checkpoint, and its difference to the first on the problems of both, with
    95 % intervals: the normal one of paired differences. `equals`: of `list_equals`."""
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
            beside = []
            for number in equals:
                mean, interval = compare(rows[TRL], rows[str(number)])
                beside.append(
                    {"checkpoint": number, "difference": mean, "difference_interval95": interval}
                )
            curve["against_trl"] = beside
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
    parser.add_argument("model", type=Path, metavar="MODEL", help="of the warm start: a folder")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--hours", type=float, default=3.0, help="then it stops, to go on later")
    parser.add_argument("--groups", type=int, default=16, help="of each miner in a window")
    parser.add_argument("--block-time", type=float, default=5.0, help="seconds")
    parser.add_argument("--problems", type=int, default=500, help="that are held out")
    parser.add_argument("--device", default="cpu", help="that answers held-out problems")
    parser.add_argument("--try", dest="tries", action="store_true", help="answer held-out problems")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.tries:
        try_checkpoints(given)
    else:
        run_network(given)


if __name__ == "__main__":
    main()
