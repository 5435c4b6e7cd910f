"""What a gate makes of courses that learn, and of courses that only look as if they did.

    python bench/gate_pairs.py --out DIR [--fast]

Twenty courses of each kind, of 20 steps from the shipped model, with sums of three terms and 12
groups a step, at a rate at which an honest course gains about as much a checkpoint as the public
run. `honest` learns from rewards as they are, `shuffled` from each group's rewards in another
order, `form` from whether an answer can be read at all, and `noise` moves the weights by random
steps as long as the honest ones. Every second checkpoint answers 256 new problems beside the
beginning, with the same draws. Then 10,000 courses of each kind are drawn: at each checkpoint the
pairs of one measured course of the kind, drawn again problem by problem. `fall`: an honest course
whose checkpoints solve 5 of 100 problems less, from the middle on.

DIR keeps a line for each course, and a run goes on where the last one stopped.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
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
from assay.training.gate_answers import draw_gate_problems
from assay.training.held_out import play_problems

KINDS = ("honest", "shuffled", "form", "noise")
COURSES, STEPS, EVERY = (1, 4, 2) if FAST else (20, 20, 2)
PROBLEMS = 32 if FAST else 256
GROUPS, RATE = 12, 1e-5
DRAWN = 1_000 if FAST else 10_000
ERROR = 50_000
_KEPT = np.log1p(np.array(STAKES) / 16), np.log1p(-np.array(STAKES) / 16)
#: What a checkpoint of `fall` solves less.
FALL = 0.05


def play(folder: Path, kind: str, seed: int) -> dict[str, Any]:
    """Play a course. Returns its line: asked, wins and losses of each measured checkpoint."""
    torch.set_num_threads(1)
    task = open_task(folder, Course("sums", 0, "behaviour", seed))
    task = replace(task, config=replace(task.config, learning_rate=RATE, seed=seed))
    if kind == "form":
        rewards = Rewards(correctness_weight=0, quality_weight=0, format_weight=MILLION)
        task = replace(task, rules=replace(task.rules, rewards=rewards))
    checkpoint = task.checkpoint
    learner = make_learner(checkpoint, task.config, lambda: checkpoint)
    drawer = checkpoint.load_trainable().requires_grad_(False)
    begun = {name: w.float() for name, w in learner.bf16_state().items()}
    states, lengths, pairs = [begun], [], []
    generator = torch.Generator().manual_seed(seed)

    def load(state: Mapping[str, torch.Tensor]) -> Any:
        drawer.load_state_dict(dict(state), strict=False)
        return drawer

    def solve(state: Mapping[str, torch.Tensor], problems: Any) -> list[bool]:
        drafter = checkpoint.get_drafter(task.rules.work.temperature, load(state))
        asked, seeds = [one.problem for one in problems], [one.seed for one in problems]
        given = drafter, checkpoint.tokenizer, task.environment, asked, seeds, task.rules.work
        played = play_problems(*given)
        scores = run_all(task.environment, [one.episode.state.score for one in played])
        return [parts.is_right for parts in scores]

    for step in range(STEPS):
        if kind == "noise":
            states.append(_shake(states[-1], _read_length(folder, step), generator))
        else:
            course = Course("sums", 0, "behaviour", seed)
            groups = draw_groups(task, load(states[-1]), course, step, GROUPS)
            learner.learn([_reward(kind, one, seed, step) for one in groups])
            states.append({name: w.float() for name, w in learner.bf16_state().items()})
        lengths.append(_measure_length(states[-2], states[-1]))
        if (step + 1) % EVERY == 0:
            digest = sha256(f"{kind} {seed} {step}".encode()).digest()
            gate_seed = compute_gate_seed(digest, digest)
            levels = checkpoint.manifest.level_numbers
            problems = draw_gate_problems(task.environment, gate_seed, levels, PROBLEMS)
            own, before = solve(states[-1], problems), solve(begun, problems)
            both = list(zip(own, before, strict=True))
            pairs.append([len(both), both.count((True, False)), both.count((False, True))])
    return {"kind": kind, "seed": seed, "pairs": pairs, "lengths": lengths}


def _reward(kind: str, group: Any, seed: int, step: int) -> Any:
    """A group with the rewards that its kind of course learns from."""
    if kind == "shuffled":
        order = np.random.default_rng([seed, step, len(group.prompt)]).permutation(
            len(group.rewards)
        )
        return replace(group, rewards=[group.rewards[place] for place in order])
    return group


def _measure_length(before: Mapping[str, torch.Tensor], after: Mapping[str, torch.Tensor]) -> float:
    return float(sum((after[n] - before[n]).double().square().sum() for n in before)) ** 0.5


def _read_length(folder: Path, step: int) -> float:
    """The length of the same step of the first honest course."""
    for line in _read_lines(folder):
        if (line["kind"], line["seed"]) == ("honest", 0):
            return float(line["lengths"][step])
    raise RuntimeError("the first honest course is played first")


def _shake(
    state: Mapping[str, torch.Tensor], length: float, generator: torch.Generator
) -> dict[str, torch.Tensor]:
    steps = {name: torch.randn(w.shape, generator=generator) for name, w in state.items()}
    norm = sum(float(step.square().sum()) for step in steps.values()) ** 0.5
    return {
        name: (weight + steps[name] * (length / norm)).bfloat16().float()
        for name, weight in state.items()
    }


def _read_lines(folder: Path) -> list[dict[str, Any]]:
    lines = folder / ("gate_fast.jsonl" if FAST else "gate.jsonl")
    return [json.loads(text) for text in lines.read_text().splitlines()] if lines.exists() else []


def play_all(folder: Path) -> list[dict[str, Any]]:
    """All courses that `folder` has no line of. The first honest one comes first: others need the
    lengths of its steps."""
    prepare(folder, "sums")
    known = {(line["kind"], line["seed"]) for line in _read_lines(folder)}
    wanted = [
        (kind, seed) for seed in range(COURSES) for kind in KINDS if (kind, seed) not in known
    ]
    lines = folder / ("gate_fast.jsonl" if FAST else "gate.jsonl")

    def keep(line: Mapping[str, Any], left: int) -> None:
        with lines.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"  {line['kind']} {line['seed']}: {line['pairs'][-1]}, {left} left", flush=True)

    if wanted[:1] == [("honest", 0)]:
        keep(play(folder, *wanted.pop(0)), len(wanted))
    with ProcessPoolExecutor(_count_cores(), get_context("spawn")) as pool:
        running = [pool.submit(play, folder, *each) for each in wanted]
        for number, future in enumerate(as_completed(running), 1):
            keep(future.result(), len(wanted) - number)
    return _read_lines(folder)


def _count_cores() -> int:
    return len(os.sched_getaffinity(0))


def draw(lines: Sequence[Mapping[str, Any]], falls: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Wins and losses of courses that are drawn from measured ones, [courses, checkpoints] each."""
    generator = np.random.default_rng(0)
    rates = np.array([[[w / n, k / n] for n, w, k in line["pairs"]] for line in lines])
    rates = np.repeat(rates, EVERY, axis=1)
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
