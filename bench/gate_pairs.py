"""What a gate makes of courses that learn, and of courses that only look as if they did.

    python bench/gate_pairs.py --out DIR [--fast]

Twenty courses of each kind, of 20 steps from the shipped model, with sums of three terms and 12
groups a step, at a rate at which an honest course gains about as much a checkpoint as the public
run. `honest` learns from rewards as they are, `shuffled` from each group's rewards in another
order, `form` from whether an answer can be read at all, and `noise` moves the weights by random
steps as long as the honest ones. `leaked` knows 100 problems of a test with their draws: of eight
random steps, sixteen times as long, it takes the one that solves most of them. Every second
checkpoint answers 256 new problems beside the beginning, with the same draws. Then 10,000 courses
of each kind are drawn: at each checkpoint the pairs of one measured course of the kind, drawn again
problem by problem. `fall`: an honest course whose checkpoints solve 5 of 100 problems less, from
the middle on.

DIR keeps a line for each course, and a run goes on where the last one stopped.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from figures import FAST, OUT, Figure, report
from stale_rollouts import Course, draw_groups, open_task, prepare

from assay.artifacts.steps.learner import make_learner
from assay.environments.scoring import run_all
from assay.protocol.betting import STAKES
from assay.protocol.gate import compute_gate_seed
from assay.protocol.parameters import MILLION, Rewards
from assay.training.gate_answers import GateProblems, draw_gate_problems
from assay.training.held_out import play_problems

KINDS = ("honest", "shuffled", "form", "noise", "leaked")
COURSES = 1 if FAST else 20
PROBLEMS = 32 if FAST else 256
#: Problems of a test that leaked, random steps that are tried on it, and how many honest ones long
#: each is. One of an honest step's length changes one answer of 1,000.
SECRET, TRIES, LONG = (20, 2, 16) if FAST else (100, 8, 16)
DRAWN = 1_000 if FAST else 10_000
ERROR = 50_000
_KEPT = np.log1p(np.array(STAKES) / 16), np.log1p(-np.array(STAKES) / 16)
#: What a checkpoint of `fall` solves less.
FALL = 0.05


State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Size:
    """How long courses of a task of `stale_rollouts.py` are. `rate`: the learner's; None: its
    recipe's. Every so many steps, a checkpoint answers `problems`."""

    task: str
    steps: int
    every: int
    groups: int
    problems: int
    rate: float | None = None
    epochs: int = 4
    lines: str = "gate"


SUMS = Size("sums", *((4, 2) if FAST else (20, 2)), 12, PROBLEMS, 1e-5)


class Player:
    """What courses of one kind and seed begin with, and how their checkpoints answer problems.

    Args:
        folder: where `prepare` wrote the beginning.
    """

    def __init__(self, folder: Path, kind: str, seed: int, size: Size = SUMS) -> None:
        torch.set_num_threads(1)
        self._course = Course(size.task, 0, "behaviour", seed, size.epochs)
        task = open_task(folder, self._course)
        if size.rate is not None:
            task = replace(task, config=replace(task.config, learning_rate=size.rate))
        if kind == "form":
            rewards = Rewards(correctness_weight=0, quality_weight=0, format_weight=MILLION)
            task = replace(task, rules=replace(task.rules, rewards=rewards))
        self._task, self._kind, self._seed, self._groups = task, kind, seed, size.groups
        checkpoint = task.checkpoint
        self._learner = make_learner(checkpoint, task.config, lambda: checkpoint)
        self._drawer = checkpoint.load_trainable().requires_grad_(False)
        self._generator = torch.Generator().manual_seed(seed)
        #: weights of the first checkpoint
        self.begun: State = self._read()

    def learn(self, state: State, step: int) -> State:
        """The learner's next weights, from groups that `state` draws."""
        groups = draw_groups(self._task, self._load(state), self._course, step, self._groups)
        self._learner.learn([_reward(self._kind, one, self._seed, step) for one in groups])
        return self._read()

    def export_learner(self) -> dict[str, torch.Tensor]:
        """The learner's state, which its next step leaves alone."""
        return {name: tensor.clone() for name, tensor in self._learner.export_state()}

    def import_learner(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from a state that was exported."""
        self._learner.import_state(state)

    def shake(self, state: State, length: float) -> State:
        """Weights at this distance of `state`, in a random direction."""
        return _shake(state, length, self._generator)

    def draw_problems(self, name: str, count: int) -> GateProblems:
        """Problems as a gate draws them, which follow from a name."""
        digest = sha256(name.encode()).digest()
        levels = self._task.checkpoint.manifest.level_numbers
        return draw_gate_problems(
            self._task.environment, compute_gate_seed(digest, digest), levels, count
        )

    def solve(self, state: State, problems: GateProblems) -> np.ndarray:
        """Which problems are solved, bool [problems]."""
        task = self._task
        drafter = task.checkpoint.get_drafter(task.rules.work.temperature, self._load(state))
        asked, seeds = [one.problem for one in problems], [one.seed for one in problems]
        given = drafter, task.checkpoint.tokenizer, task.environment, asked, seeds, task.rules.work
        played = play_problems(*given)
        scores = run_all(task.environment, [one.episode.state.score for one in played])
        return np.array([parts.is_right for parts in scores])

    def _load(self, state: State) -> Any:
        self._drawer.load_state_dict(dict(state), strict=False)
        return self._drawer

    def _read(self) -> State:
        return {name: w.float() for name, w in self._learner.bf16_state().items()}


def count_pairs(own: np.ndarray, before: np.ndarray) -> list[int]:
    """Problems, wins and losses of what solved `own`, beside what solved `before`."""
    return [len(own), int((own & ~before).sum()), int((~own & before).sum())]


def play(folder: Path, kind: str, seed: int, size: Size = SUMS) -> dict[str, Any]:
    """Play a course. Returns its line: asked, wins and losses of each measured checkpoint. Of
    `leaked`, `secret` has the same of the problems that it knows."""
    player = Player(folder, kind, seed, size)
    begun = player.begun
    states, lengths, pairs = [begun], [], []
    known = player.draw_problems(f"secret {seed}", SECRET) if kind == "leaked" else ()
    solved = player.solve(begun, known) if known else np.zeros(0, dtype=bool)
    secret: dict[str, list[list[int]]] = {"secret": []} if known else {}
    for step in range(size.steps):
        if kind in ("noise", "leaked"):
            length = read_length(folder, step, size)
            if kind == "noise":
                states.append(player.shake(states[-1], length))
            else:
                tries = [player.shake(states[-1], LONG * length) for _ in range(TRIES)]
                states.append(max(tries, key=lambda one: int(player.solve(one, known).sum())))
        else:
            states.append(player.learn(states[-1], step))
        lengths.append(_measure_length(states[-2], states[-1]))
        if (step + 1) % size.every == 0:
            problems = player.draw_problems(f"{kind} {seed} {step}", size.problems)
            own, before = (player.solve(state, problems) for state in (states[-1], begun))
            pairs.append(count_pairs(own, before))
            if known:
                secret["secret"].append(count_pairs(player.solve(states[-1], known), solved))
        del states[:-2]
    return {"kind": kind, "seed": seed, "pairs": pairs, "lengths": lengths, **secret}


def _reward(kind: str, group: Any, seed: int, step: int) -> Any:
    """A group with the rewards that its kind of course learns from."""
    if kind == "shuffled":
        order = np.random.default_rng([seed, step, len(group.prompt)]).permutation(
            len(group.rewards)
        )
        return replace(group, rewards=[group.rewards[place] for place in order])
    return group


def _measure_length(before: State, after: State) -> float:
    return float(sum((after[n] - before[n]).double().square().sum() for n in before)) ** 0.5


def read_length(folder: Path, step: int, size: Size = SUMS) -> float:
    """The length of the same step of the first honest course."""
    for line in read_lines(_name_lines(folder, size)):
        if (line["kind"], line["seed"]) == ("honest", 0):
            return float(line["lengths"][step])
    raise RuntimeError("the first honest course is played first")


def _shake(state: State, length: float, generator: torch.Generator) -> State:
    steps = {name: torch.randn(w.shape, generator=generator) for name, w in state.items()}
    norm = sum(float(step.square().sum()) for step in steps.values()) ** 0.5
    return {
        name: (weight + steps[name] * (length / norm)).bfloat16().float()
        for name, weight in state.items()
    }


def _name_lines(folder: Path, size: Size) -> Path:
    return folder / f"{size.lines}{'_fast' * FAST}.jsonl"


def read_lines(lines: Path) -> list[dict[str, Any]]:
    """By kind and seed, whichever was played first."""
    found = [json.loads(one) for one in lines.read_text().splitlines()] if lines.exists() else []
    return sorted(found, key=lambda line: (KINDS.index(line["kind"]), line["seed"]))


def play_all(folder: Path, size: Size = SUMS, courses: int = COURSES) -> list[dict[str, Any]]:
    """All courses that `folder` has no line of. The first honest one comes first: others need the
    lengths of its steps."""
    prepare(folder, size.task)
    lines = _name_lines(folder, size)
    known = {(line["kind"], line["seed"]) for line in read_lines(lines)}
    wanted = [
        (kind, seed) for seed in range(courses) for kind in KINDS if (kind, seed) not in known
    ]

    def keep(line: Mapping[str, Any], left: int) -> None:
        with lines.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"  {line['kind']} {line['seed']}: {line['pairs'][-1]}, {left} left", flush=True)

    if wanted[:1] == [("honest", 0)]:
        keep(play(folder, *wanted.pop(0), size), len(wanted))
    with ProcessPoolExecutor(_count_cores(), get_context("spawn")) as pool:
        running = [pool.submit(play, folder, *each, size) for each in wanted]
        for number, future in enumerate(as_completed(running), 1):
            keep(future.result(), len(wanted) - number)
    return read_lines(lines)


def _count_cores() -> int:
    return len(os.sched_getaffinity(0))


def draw(
    lines: Sequence[Mapping[str, Any]], falls: bool = False, repeats: int = SUMS.every
) -> tuple[np.ndarray, np.ndarray]:
    """Wins and losses of courses that are drawn from measured ones, [courses, checkpoints] each.

    Args:
        repeats: checkpoints that have the rates of each measured one.
    """
    generator = np.random.default_rng(0)
    rates = np.array([[[w / n, k / n] for n, w, k in line["pairs"]] for line in lines])
    rates = np.repeat(rates, repeats, axis=1)
    chosen = rates[generator.integers(len(lines), size=DRAWN)]
    if falls:
        half = chosen.shape[1] // 2
        taken = np.minimum(chosen[:, half:, 0], FALL)
        chosen[:, half:, 0] -= taken
        chosen[:, half:, 1] += FALL - taken
    share = np.concatenate([chosen, 1 - chosen.sum(axis=2, keepdims=True)], axis=2)
    counts = generator.multinomial(PROBLEMS, share)
    return counts[..., 0], counts[..., 1]


def find_better(wins: np.ndarray, losses: np.ndarray) -> float:
    """The share of courses that become a milestone within their checkpoints."""
    won, lost = wins.cumsum(axis=1)[..., None], losses.cumsum(axis=1)[..., None]
    capital = np.exp(won * _KEPT[0] + lost * _KEPT[1]).mean(axis=2)
    return float((capital >= 1.644935 * 10**6 / ERROR).any(axis=1).mean())


def find_worse(wins: np.ndarray, losses: np.ndarray) -> float:
    """The share of courses that are called worse."""
    held, begun = np.zeros((len(wins), len(STAKES))), 0.0
    found = np.zeros(len(wins), dtype=bool)
    for n in range(1, wins.shape[1] + 1):
        part = (2**32 // (n * (n + 1))) / 2**32
        gained = losses[:, n - 1, None] * _KEPT[0] + wins[:, n - 1, None] * _KEPT[1]
        held, begun = (held + part) * np.exp(gained), begun + part
        found |= held.mean(axis=1) + 1 - begun >= 10**6 / ERROR
    return float(found.mean())


def main() -> None:
    """Play, and print what gates make of it."""
    folder = OUT or Path(tempfile.mkdtemp(prefix="assay-gate-"))
    folder.mkdir(parents=True, exist_ok=True)
    lines = play_all(folder)
    figures = []
    for kind in KINDS:
        of = [line for line in lines if line["kind"] == kind]
        asked, won, lost = np.array([line["pairs"][-1] for line in of]).sum(axis=0)
        figures += [
            Figure(f"{kind}: courses", len(of), "courses"),
            Figure(f"{kind}: gain of the last checkpoint", 100 * (won - lost) / asked, "points"),
            Figure(f"{kind}: differing pairs", 100 * (won + lost) / asked, "of 100"),
        ]
        counts = draw(of)
        is_honest = kind == "honest"
        better = find_better(*counts)
        figures.append(
            Figure(f"{kind}: given up under better", 100 * (1 - better), "of 100", bound=20)
            if is_honest
            else Figure(f"{kind}: becomes a milestone", 100 * better, "of 100", bound=5)
        )
        bound = 5 if is_honest else None
        figures.append(
            Figure(
                f"{kind}: returned under not-worse",
                100 * find_worse(*counts),
                "of 100",
                bound=bound,
            )
        )
    useless = [line for line in lines if line["kind"] == "noise"]
    missed = 1 - find_worse(*draw(useless, falls=True))
    figures.append(Figure("fall of 5 points, not returned", 100 * missed, "of 100", bound=5))
    report("What a gate makes of courses", figures, threads=1)


if __name__ == "__main__":
    main()
