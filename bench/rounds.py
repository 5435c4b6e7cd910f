"""Two trainers in rounds over one, on the same problems: seconds on the wall, and held-out success.

Each course begins with the shipped model on sums of three terms. A round is some windows; of each
window the round's parent draws the same problems' rollouts, by the keyed sampler. One trainer
learns from all groups of a window; of two each learns from the share that is drawn for it, in a
process of its own with one thread, and the outer step merges them. Seconds are of the lessons, the
slower trainer's where there are two, and of the merge: starting a process and drawing rollouts
count for neither. Held-out success is that of the last checkpoint, with the same draws for all.
--fast: one seed, one round, few problems.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import torch
from figures import FAST, Figure, report
from learning import LEVELS, make_genesis
from safetensors.torch import load_file

from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder
from assay.environments import Environment, Success, compute_reward, get_weights, open_environment
from assay.inference import Checkpoint, GroupRequest, generate_groups, read_tensors
from assay.neurons.trainer.held_out import evaluate
from assay.protocol import QUICKNET
from assay.protocol.parameters import EnvironmentChoice, Rounds
from assay.protocol.seeds import compute_projection_seed
from assay.protocol.submission import LOGPROB_BITS
from assay.rounds.outer_step import OuterState, begin_outer, round_masters, step_outwards
from assay.rounds.round_calendar import compute_share
from assay.subnet.presets import make_demo_parameters
from assay.training import Group
from assay.verification import make_projection

WORKER = Path(__file__).with_name("rounds_worker.py")
SEEDS = range(1) if FAST else range(3)
ROUNDS, WINDOWS, GROUPS = (1, 2, 8) if FAST else (6, 4, 48)
ROLLOUTS, TEMPERATURE = 8, 1_024
PROBLEMS = 64 if FAST else 5_000
#: Seconds for one trainer's round.
PATIENCE_S = 3_600
TRAINERS = (b"\1" * 32, b"\2" * 32)


@dataclass(slots=True)
class Course:
    """Trainers that learn together, and how long they took."""

    seed: int
    trainers: Sequence[bytes]
    folder: Path
    seconds: float = 0.0

    def run(self, genesis: Checkpoint, choice: EnvironmentChoice) -> Success:
        """All rounds; how many held-out problems the last checkpoint solves."""
        environment = open_environment(choice)
        checkpoints = CheckpointFolder(self.folder / "models")
        checkpoints.add(genesis.folder, genesis.digest)
        checkpoint = checkpoints.get(genesis.digest)
        outer = begin_outer(read_tensors(checkpoint.folder / "model.safetensors"))
        for number in range(ROUNDS):
            windows = [
                self._draw(checkpoint, environment, choice, number * WINDOWS + window)
                for window in range(WINDOWS)
            ]
            outer = self._learn(checkpoint, outer, windows)
            weights = round_masters(outer.masters)
            manifest = checkpoints.publish(checkpoint, weights, bytes(32))
            checkpoint = checkpoints.get(manifest.digest)
        return evaluate(checkpoint, environment, TEMPERATURE, PROBLEMS)

    def _draw(
        self,
        checkpoint: Checkpoint,
        environment: Environment,
        choice: EnvironmentChoice,
        window: int,
    ) -> list[Group]:
        """A window's groups: the same problems and noise in every course of a seed."""
        seeds = [
            sha256(f"rounds {self.seed} {window} {index}".encode()).digest()
            for index in range(GROUPS)
        ]
        problems = [environment.make_problem(seed, LEVELS) for seed in seeds]
        requests = [
            GroupRequest(
                tuple(checkpoint.tokenizer.encode(problem.prompt)),
                tuple(sha256(seed + bytes([r])).digest() for r in range(ROLLOUTS)),
            )
            for problem, seed in zip(problems, seeds, strict=True)
        ]
        drawn = generate_groups(
            requests,
            checkpoint.get_drafter(TEMPERATURE),
            checkpoint.get_reference(TEMPERATURE),
            checkpoint.get_rules(TEMPERATURE),
            make_projection(compute_projection_seed(seeds[0]), checkpoint.manifest),
        )
        groups = []
        for problem, request, rollouts in zip(problems, requests, drawn, strict=True):
            completions = [rollout.tokens.tolist() for rollout in rollouts]
            texts = map(checkpoint.tokenizer.decode, completions)
            worth = get_weights(choice)
            rewards = [compute_reward(environment.score(problem, text), worth) for text in texts]
            logprobs = [(one.logprobs / -(1 << LOGPROB_BITS)).tolist() for one in rollouts]
            groups.append(Group(list(request.prompt), completions, rewards, logprobs))
        return groups

    def _learn(
        self, checkpoint: Checkpoint, outer: OuterState, windows: list[list[Group]]
    ) -> OuterState:
        """A round: one trainer's masters as they are, or two trainers' merged."""
        running = []
        for rank, trainer in enumerate(self.trainers):
            own = self.folder / str(rank)
            own.mkdir(exist_ok=True)
            shares = [
                [
                    asdict(group)
                    for index, group in enumerate(groups)
                    if compute_share(self.trainers, bytes([window] * 32), bytes(32), index)
                    == trainer
                ]
                for window, groups in enumerate(windows)
            ]
            (own / "windows.json").write_text(json.dumps(shares))
            begin = {f"master.{name}": tensor for name, tensor in outer.masters.items()}
            torch.save(begin, own / "begin.pt")
            command = [
                sys.executable,
                str(WORKER),
                str(own),
                str(checkpoint.folder),
                str(self.seed),
            ]
            running.append((own, subprocess.Popen(command)))
        found, seconds = [], 0.0
        for own, process in running:
            if process.wait(PATIENCE_S):
                raise SystemExit(f"a trainer ended with {process.returncode}")
            state = load_file(own / "state.safetensors")
            found.append(
                {n.removeprefix("master."): t for n, t in state.items() if n.startswith("master.")}
            )
            seconds = max(seconds, json.loads((own / "seconds.json").read_text()))
        began = perf_counter()
        merged = step_outwards(outer, found, RULES) if found[1:] else begin_outer(found[0])
        self.seconds += seconds + perf_counter() - began
        return merged


RULES = Rounds(TRAINERS, WINDOWS, 1, 60, 15, 15, 700_000, 900_000, 1 << 30, 0, 0, 0, 0)


def main() -> None:
    torch.set_num_threads(1)
    figures = []
    seconds, solved = {1: 0.0, 2: 0.0}, {1: [0.0], 2: [0.0]}
    with tempfile.TemporaryDirectory(prefix="assay-") as name:
        genesis = make_genesis(Path(name))
        parameters = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), genesis.digest)
        choice = parameters.environment
        before = evaluate(genesis, open_environment(choice), TEMPERATURE, PROBLEMS)
        for count in (1, 2):
            solved[count] = []
            for seed in SEEDS:
                folder = Path(name) / f"{count}-{seed}"
                folder.mkdir()
                course = Course(seed, TRAINERS[:count], folder)
                success = course.run(genesis, choice)
                solved[count].append(100 * success.solved / success.asked)
                seconds[count] += course.seconds
    figures = [
        Figure(
            "seconds of the same groups, two trainers of one thread each and the merge",
            seconds[2],
            "s",
            "one trainer",
            seconds[1],
            ratio_bound=0.65,
        ),
        Figure("held-out success before", 100 * before.solved / before.asked, "%"),
        *(
            Figure(
                f"held-out success after, seed {seed}: two trainers",
                solved[2][seed],
                "%",
                "one trainer",
                solved[1][seed],
            )
            for seed in SEEDS
        ),
        Figure(
            "held-out success that two trainers lack, mean over seeds",
            sum(solved[1]) / len(SEEDS) - sum(solved[2]) / len(SEEDS),
            "points",
            bound=2.8,
        ),
    ]
    report("two trainers in rounds", figures, threads=1)


if __name__ == "__main__":
    main()
