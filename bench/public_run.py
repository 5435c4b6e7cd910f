r"""A real model gets better on a subnet, and everything can be audited and played again.

    assay adopt adapter.safetensors --base SmolLM2-135M-Instruct.Q4_1.gguf --out model
    python bench/public_run.py network model --out DIR --seed 1      # hours; it goes on
    python bench/public_run_trl.py --out DIR/seed-1                  # hours; it goes on
    python bench/public_run.py try --out DIR --seed 1                # an hour; it goes on
    python bench/public_run_pack.py pack DIR/seed-1 run.tar.xz       # to go on elsewhere

What is played, and what is asked afterwards, was written down before: `registered/`. The subnet is
that of `assay demo --recipe` on a virtual clock: a chain, two honest miners, one with symmetric
int4 weights, a validator and a trainer with a gate. There, everything follows from the seed: nobody
can choose among runs, and on a processor of the same kind anybody gets the same bytes. DIR/seed-1
gets:

    net/         what `assay demo` leaves, with a bundle for `assay audit`
    runs.json    what each piece of the network took
    tries.json   which held-out problems each checkpoint solved, try by try

Who tries these programs with other sizes asks other problems, into trial.json.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from assay.lab.demo.saved_point import describe_program
from assay.network.files import write_json
from assay.training.held_out import make_held_out_seed

REGISTERED = Path(__file__).with_name("registered")
REGISTRATION = tomllib.loads((REGISTERED / "registration.toml").read_text())
RECIPE, RECIPE_FILE = "smollm2-135m-gsm", REGISTERED / "recipe.toml"
#: Tries of a problem for pass@k, and problems that are asked so.
TRIES, TRIED_OFTEN = 8, 200
#: Weights that TRL made from the same start.
TRL = "trl"
#: Files of tries, of the registered problems and of others.
TRIED, TRIAL = "tries.json", "trial.json"
#: Miners of a demo by a recipe.
HONEST, CHEAT = ("honest-1", "honest-2"), "cheap-model"
#: Seconds that a stopped demo may take to end.
_ENDING_S = 300.0


def require_registered(model: Path) -> None:
    """Exit unless this is the registered first checkpoint's model, and the recipe the registered
    one."""
    for file, name in ((model / "model.safetensors", "weights"), (RECIPE_FILE, "recipe")):
        with file.open("rb") as opened:
            found = file_digest(opened, "sha256").hexdigest()
        if found != REGISTRATION["model"][name]:
            raise SystemExit(f"{file} is {found}, and another was registered")


def run_network(given: argparse.Namespace) -> int:
    """Play the subnet, or go on with it, until it is over or the hours are. Returns the demo's exit
    code."""
    require_registered(given.model)
    if (given.out / "net" / "summary.json").exists():
        print("the network is over")
        return 0
    played = REGISTRATION["network"]
    command = [
        *(sys.executable, "-m", "assay", "demo", "--quiet", f"--threads={played['threads']}"),
        *("--recipe", str(RECIPE_FILE), "--model", str(given.model)),
        *("--out", str(given.out / "net"), "--seed", REGISTRATION["seeds"][given.seed - 1]),
        *("--device", given.device, f"--problems={played['demo_problems']}"),
        *(f"--windows={played['windows']}", f"--groups={played['groups']}"),
    ]
    file = given.out / "runs.json"
    earlier = json.loads(file.read_text()) if file.exists() else []
    begun = time.monotonic()
    with subprocess.Popen(command) as demo:
        signal.signal(signal.SIGTERM, lambda number, frame: demo.send_signal(signal.SIGINT))
        try:
            code = demo.wait(given.hours * 3_600)
        except subprocess.TimeoutExpired:
            code = _end(demo)
        except KeyboardInterrupt:  # the terminal has sent it to both
            code = _end(demo)
    spent = sum(os.times()[2:4])  # of children
    seconds = time.monotonic() - begun
    piece = {"seconds": seconds, "processor": spent, "exit": code}
    write_json(file, [*earlier, piece | {"program": describe_program()}])
    points = sorted((given.out / "net").glob("saved-*"))
    print(f"{seconds / 60:,.1f} min, {spent / 60:,.1f} of a processor; exit {code}")
    if points:
        print(f"kept at {points[-1].name}: the same command goes on")
    return code


def _end(demo: "subprocess.Popen[bytes]") -> int:
    demo.send_signal(signal.SIGINT)
    return demo.wait(_ENDING_S)


def list_checkpoints(folder: Path) -> list[tuple[int, str]]:
    """Number and digest of each checkpoint, the first one included."""
    files = (folder / "models").glob("*/manifest.json")
    return sorted((json.loads(file.read_text())["number"], file.parent.name) for file in files)


def find_genesis(out: Path) -> Path:
    """The folder of checkpoint 0."""
    return out / "net" / "models" / list_checkpoints(out / "net")[0][1]


def open_models(out: Path, device: str = "cpu") -> Any:
    """The network's checkpoints."""
    from assay.artifacts.checkpoints.folder import CheckpointFolder
    from assay.inference.placement import Placement

    return CheckpointFolder(out / "net" / "models", placement=Placement(device))


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
    for path in sorted((out / "net" / "steps").glob("step-*.json")):
        step = read_step(path)
        config = parse_config(step.record).learning
        learned = sum(len(set(one.group.rewards)) > 1 for one in read_step_groups(step))
        total += config.epochs * -(-learned // config.groups_per_batch)
        made[step.record.number] = total
    return made


def find_end(out: Path, updates: int = REGISTRATION["updates"]) -> tuple[int, int] | None:
    """The number of the checkpoint that is compared, and its updates: the first checkpoint after
    so many, or the last of a network that is over before. None: it is not there."""
    counts = count_updates(out)
    end = next((number for number, made in counts.items() if made >= updates), None)
    if end is not None:
        return end, counts[end]
    is_over = (out / "net" / "summary.json").exists()
    return (max(counts), max(counts.values())) if is_over and counts else None


def choose_tries(given: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """Name, digest, problems, tries: what is asked of which checkpoint, in order."""
    known = dict(list_checkpoints(given.out / "net"))
    found = find_end(given.out, given.updates)
    if found is None:
        raise SystemExit(
            f"the network has made {max(count_updates(given.out).values(), default=0)} of "
            f"{given.updates} updates: nobody looks at held-out problems before"
        )
    end, _ = found
    asked = [(str(number), known[number], given.problems, 1) for number in (0, end)]
    if (given.out / "trl" / "weights.safetensors").exists():
        asked.append((TRL, known[0], given.problems, 1))
    often = min(TRIED_OFTEN, given.problems)
    return [*asked, *((str(number), known[number], often, TRIES) for number in (0, end))]


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


def digest_cohort(environment: Any, levels: Sequence[int]) -> str:
    """SHA-256 of the registered held-out problems: a line of JSON with seed and prompt for each."""
    found = sha256()
    for number in list_cohort():
        seed = make_held_out_seed(environment, number)
        problem = environment.make_problem(seed, levels)
        found.update((json.dumps([seed.hex(), problem.prompt]) + "\n").encode())
    return found.hexdigest()


def list_cohort() -> range:
    """Numbers of the registered held-out problems, behind those that demos try."""
    cohort = REGISTRATION["cohort"]
    return range(cohort["first"], cohort["first"] + cohort["problems"])


def list_asked(given: argparse.Namespace) -> range:
    """Numbers of the problems to ask: who tries the tools with other sizes asks others than those
    that were registered."""
    cohort = list_cohort()
    if (given.updates, given.problems) == (REGISTRATION["updates"], len(cohort)):
        return cohort
    return range(cohort.stop, cohort.stop + given.problems)


def try_checkpoints(given: argparse.Namespace) -> None:
    """Answer held-out problems with checkpoints. What is known is not asked again."""
    from assay.environments.registry import open_environment
    from assay.inference.checkpoint import load_outline
    from assay.inference.placing.devices import CPU
    from assay.protocol.hashing import Domain, hash_fields
    from assay.training.held_out import try_problems

    if given.updates == REGISTRATION["updates"]:
        require_registered(find_genesis(given.out))
    parameters = read_rules(given.out)
    environment, work = open_environment(parameters.environment), parameters.work
    held_out = list_asked(given)
    is_registered = held_out == list_cohort()
    file = given.out / (TRIED if is_registered else TRIAL)
    tries = json.loads(file.read_text()) if file.exists() else {}
    levels = load_outline(find_genesis(given.out)).manifest.level_numbers  # for all
    if is_registered:
        found = digest_cohort(environment, levels)
        if found != REGISTRATION["cohort"]["sha256"]:
            raise SystemExit(f"the held-out problems are {found}, and others were registered")
        write_json(file, tries := read_first_tries(given.out) | tries)
    rows = 64 if given.device == CPU else 512
    models = open_models(given.out, given.device)
    for name, digest, problems, count in choose_tries(given):
        solved = tries.get(f"{name}x{count}", [])
        if len(solved) >= problems:
            continue
        if not (given.out / "net" / "models" / digest / "model.safetensors").exists():
            print(f"checkpoint {name}, {count} tries: its weights are not here", flush=True)
            continue
        tries[f"{name}x{count}"] = solved
        checkpoint = models.get(bytes.fromhex(digest))
        models.opened.clear()
        drafter = checkpoint.get_drafter(work.temperature, load_tried(given, name, checkpoint))
        while len(solved) < problems:
            numbers = range(len(solved), min(len(solved) + max(1, rows // count), problems))
            seeds = [make_held_out_seed(environment, held_out[n]) for n in numbers]
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


def read_first_tries(out: Path) -> dict[str, list[list[bool]]]:
    """What other seeds have asked this run's first checkpoint: on the same problems and draws, it
    answers the same."""
    first = list_checkpoints(out / "net")[0]
    asked: dict[str, list[list[bool]]] = {}
    for file in sorted(out.parent.glob(f"seed-*/{TRIED}")):
        if first in list_checkpoints(file.parent / "net")[:1]:
            found = json.loads(file.read_text())
            asked |= {key: rows for key, rows in found.items() if key.startswith("0x")}
    return asked


def describe(solved: Sequence[Sequence[bool]]) -> str:
    """The share of problems of which a try is right."""
    share = sum(any(row) for row in solved) / len(solved)
    return f"{100 * share:.1f} % of {len(solved):,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("network", "try"))
    parser.add_argument("model", type=Path, nargs="?", help="the first checkpoint's model")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True)
    parser.add_argument("--seed", type=int, default=1, help="the registered one of this number")
    parser.add_argument("--hours", type=float, default=2.5, help="then it stops, to go on later")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--updates", type=int, default=REGISTRATION["updates"])
    parser.add_argument(
        "--problems", type=int, default=REGISTRATION["cohort"]["problems"], help="that are held out"
    )
    given = parser.parse_args()
    given.out /= f"seed-{given.seed}"
    given.out.mkdir(parents=True, exist_ok=True)
    if given.part == "try":
        try_checkpoints(given)
    elif given.model is None:
        parser.error("name the model of the first checkpoint")
    else:
        sys.exit(run_network(given))


if __name__ == "__main__":
    main()
