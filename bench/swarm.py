"""The gain from sharing rollouts: several nodes learn alone, or also from each other's rollouts, at
equal own work (as in SAPO, "Sharing is Caring", Gensyn, 2025).

In each step every node samples the same number of groups of its own problems, with the product's
sampler, from weights rounded to bf16, and learns with the product's learner. It learns from

    alone     its own groups
    half      half of its own, and as many of the others'
    double    its own, and as many of the others'
    network   all nodes' groups, in one model that all of them sample from: Assay's way

Groups of others are drawn from those with signal, as in SAPO. The x axis is the number of tokens
that a node sampled itself. Arms are compared at the largest number that all of them reached.
Problems and held-out tries are the same in all arms. For each seed the mean of its nodes counts.
The interval is the range of the seeds' differences. It holds their median with the probability
given with it, whatever their distribution. All nodes have the same model and environment: other
models are not measured.

    python bench/swarm.py --out DIR [--fast]

Runs are in DIR (`swarm-runs`), saved every few steps: a stopped command continues there. They take
an hour and a half of one core. `--fast`: one seed, two nodes, two steps.
"""

import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from time import process_time

import matplotlib

matplotlib.use("Agg")
import torch
from figures import FAST, OUT, Figure, report
from groups import draw_groups
from matplotlib import pyplot
from safetensors.torch import load_file, save_file
from schooling import TEMPERATURE, compute_name
from torch import Tensor

from assay.artifacts.steps.learner import make_learner
from assay.environments.base import Problem
from assay.environments.registry import make_environment
from assay.inference.checkpoint import Checkpoint, load_checkpoint
from assay.network.files import replace_file, write_json
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.presets import DEMO_WORK
from assay.training import GENESIS, Group, LearnConfig
from assay.training.grpo import compute_advantages
from assay.training.held_out import try_problems

PLOT = Path(__file__).with_name("results") / "swarm.png"
LEVELS = (5,)  # sums of three terms: the shipped model solves half of them
ARMS = {
    "alone": "alone",
    "half": "half own, half others'",
    "double": "own, and as many others'",
    "network": "one model from all",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """A comparison. All fields determine the names of the runs' folders."""

    nodes: int = 4
    groups: int = 8  # groups that a node samples in each step
    rollouts: int = 8  # rollouts of a group
    steps: int = 36
    every: int = 6  # steps from one trial to the next
    held_out: int = 1_000  # problems of a trial
    seeds: tuple[int, ...] = tuple(range(6))
    learning: LearnConfig = field(default_factory=LearnConfig)


FULL = Plan()
FASTER = Plan(nodes=2, groups=4, steps=2, every=1, held_out=64, seeds=(0,))


@dataclass(slots=True)
class Trial:
    """A trial of the models of a run.

    Attributes:
        tokens, groups, silent: tokens and groups that each node has sampled, and groups without
            signal.
        solved: held-out problems solved, by model.
        seconds: processor seconds.
    """

    step: int
    tokens: list[int]
    groups: int
    silent: int
    solved: list[int]
    seconds: float


def hash_place(what: str, *at: int) -> bytes:
    """A hash of 32 bytes. `at`: u32 each."""
    return hash_fields(Domain.HELD_OUT, what.encode(), *(n.to_bytes(4, "big") for n in at))


def make_problems(what: str, count: int, *at: int) -> list[Problem]:
    environment = make_environment("arithmetic", {})
    return [environment.make_problem(hash_place(what, *at, i), LEVELS) for i in range(count)]


class Node:
    """A model that learns. `network` has only one."""

    def __init__(self, plan: Plan, checkpoint: Checkpoint, number: int, seed: int) -> None:
        self.checkpoint = checkpoint
        learning = replace(plan.learning, seed=seed * plan.nodes + number)
        self.learner = make_learner(checkpoint, learning, lambda: checkpoint)
        self.rounded = checkpoint.load_trainable().requires_grad_(False)

    def draw(self, plan: Plan, *at: int) -> list[Group]:
        """Draw groups. `at`: seed, node, step."""
        return draw_groups(
            self.checkpoint,
            self.rounded,
            make_environment("arithmetic", {}),
            make_problems("swarm-question", plan.groups, *at),
            plan.rollouts,
            hash_place("swarm-rollout", *at),
            TEMPERATURE,
        )

    def learn(self, groups: Sequence[Group]) -> None:
        self.learner.learn(groups)
        self.round_weights()

    def round_weights(self) -> None:
        self.rounded.load_state_dict(self.learner.bf16_state())

    def count_solved(self, held_out: Sequence[Problem]) -> int:
        solved = try_problems(
            self.checkpoint.get_drafter(TEMPERATURE, self.rounded),
            self.checkpoint.tokenizer,
            make_environment("arithmetic", {}),
            held_out,
            [hash_place("swarm-draw", i) for i in range(len(held_out))],
            DEMO_WORK,
        )
        return sum(solved)


def has_signal(group: Group) -> bool:
    return compute_advantages(group.rewards) is not None


def choose(arm: str, node: int, drawn: Sequence[list[Group]], place: bytes) -> list[Group]:
    """The groups from which a node learns. `place` determines its draw among the others' groups."""
    if arm == "network":
        return [group for groups in drawn for group in groups]
    own = drawn[node]
    if arm == "alone":
        return own
    kept = own[: len(own) // 2] if arm == "half" else own
    others = [g for i, groups in enumerate(drawn) if i != node for g in groups if has_signal(g)]
    return kept + random.Random(place).sample(others, min(len(kept), len(others)))


class Run:
    """One arm of one seed, and its folder."""

    def __init__(self, plan: Plan, arm: str, seed: int, out: Path) -> None:
        self.plan, self.arm, self.seed = plan, arm, seed
        checkpoint = load_checkpoint(GENESIS)
        self.folder = out / f"{arm}-{seed}-{compute_name(plan, checkpoint.digest)}"
        file = self.folder / "trials.json"
        found = json.loads(file.read_text()) if file.exists() else []
        self.trials = [Trial(**trial) for trial in found]
        if self.done:
            return
        count = 1 if arm == "network" else plan.nodes
        self.nodes = [Node(plan, checkpoint, number, seed) for number in range(count)]
        self.held_out = make_problems("swarm-held-out", plan.held_out)
        kept = self.folder / "states.safetensors"
        if kept.exists():
            self._restore(load_file(kept))
        step = self.nodes[0].learner.step
        self.trials = [trial for trial in self.trials if trial.step <= step]

    @property
    def done(self) -> bool:
        return bool(self.trials) and self.trials[-1].step == self.plan.steps

    def play(self) -> list[Trial]:
        """Play the run to its end, from its saved state."""
        while not self.done:
            began = process_time()
            none = Trial(0, [0] * self.plan.nodes, 0, 0, [], 0.0)
            trial = self._take_steps(self.trials[-1]) if self.trials else none
            trial.solved = [node.count_solved(self.held_out) for node in self.nodes]
            trial.seconds += process_time() - began
            self.trials.append(trial)
            self._save()
        return self.trials

    def _take_steps(self, last: Trial) -> Trial:
        """Take the steps until the next trial, and count the samples in them."""
        trial = replace(last, tokens=list(last.tokens))
        while trial.step < min(last.step + self.plan.every, self.plan.steps):
            trial.step += 1
            for i, own in enumerate(self._take_step(trial.step)):
                trial.tokens[i] += sum(len(c) for group in own for c in group.completions)
                trial.groups += len(own)
                trial.silent += sum(not has_signal(group) for group in own)
        return trial

    def _take_step(self, step: int) -> list[list[Group]]:
        """Take a step, counted from 1. Returns the groups that all nodes sampled."""
        nodes, seed = self.nodes, self.seed
        everyone = range(self.plan.nodes)
        drawn = [nodes[i % len(nodes)].draw(self.plan, seed, i, step) for i in everyone]
        for i, node in enumerate(nodes):
            node.learn(choose(self.arm, i, drawn, hash_place("swarm-others", seed, i, step)))
        return drawn

    def _save(self) -> None:
        """Save the trials first: a stop in between leaves a trial too many, not one too few."""
        trial = self.trials[-1]
        write_json(self.folder / "trials.json", [asdict(trial) for trial in self.trials])
        states = {
            f"{i}.{name}": tensor
            for i, node in enumerate(self.nodes)
            for name, tensor in node.learner.export_state()
        }
        with replace_file(self.folder / "states.safetensors") as temporary:
            save_file(states, temporary)
        share = statistics.mean(trial.solved) / self.plan.held_out
        print(
            f"{self.arm}, seed {self.seed}, step {trial.step}: {share:.1%} solved, "
            f"{statistics.mean(trial.tokens):,.0f} own tokens a node, {trial.seconds:.0f} s",
            flush=True,
        )

    def _restore(self, states: dict[str, Tensor]) -> None:
        for i, node in enumerate(self.nodes):
            head = f"{i}."
            own = {n.removeprefix(head): t for n, t in states.items() if n.startswith(head)}
            node.learner.import_state(own)
            node.round_weights()


#: Own tokens of a node, and share solved, as means over nodes, at each trial.
Curve = list[tuple[float, float]]


def make_curve(plan: Plan, trials: Sequence[Trial]) -> Curve:
    return [(statistics.mean(t.tokens), statistics.mean(t.solved) / plan.held_out) for t in trials]


def read_at(curve: Curve, tokens: float) -> float:
    """The share solved after this many tokens, with linear interpolation between trials."""
    for (before, low), (after, high) in pairwise(curve):
        if before <= tokens <= after:
            return low + (high - low) * (tokens - before) / (after - before)
    raise ValueError(f"the curve ends before {tokens:,.0f} tokens")


def plot(curves: dict[str, list[Curve]], file: Path) -> None:
    """Plot the mean of the seeds, and their range."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    for arm, runs in curves.items():
        points = list(zip(*runs, strict=True))
        tokens = [statistics.mean(t for t, _ in point) / 1_000 for point in points]
        shares = [[share for _, share in point] for point in points]
        axes.plot(tokens, list(map(statistics.mean, shares)), "o-", label=ARMS[arm])
        axes.fill_between(tokens, list(map(min, shares)), list(map(max, shares)), alpha=0.15)
    axes.set(xlabel="thousand tokens that a node sampled itself", ylabel="held-out problems solved")
    axes.set_title(f"sums of three terms, {len(runs)} seeds: mean and range")
    axes.legend()
    figure.savefig(file)
    pyplot.close(figure)


def compare(plan: Plan, runs: dict[str, list[list[Trial]]]) -> list[Figure]:
    """Figures of the gain by sharing, in percentage points, at equal own tokens."""
    curves = {arm: [make_curve(plan, trials) for trials in of] for arm, of in runs.items()}
    budget = min(curve[-1][0] for of in curves.values() for curve in of)
    ends = {arm: [100 * read_at(curve, budget) for curve in of] for arm, of in curves.items()}
    before = 100 * statistics.mean(curve[0][1] for curve in curves["alone"])
    figures = [
        Figure("tokens that a node sampled itself", budget, "tokens"),
        Figure("solved before", before, "%"),
    ]
    for arm, name in ARMS.items():
        last = [trials[-1] for trials in runs[arm]]
        silent = sum(trial.silent for trial in last) / sum(trial.groups for trial in last)
        figures += [
            Figure(f"{name}: solved", statistics.mean(ends[arm]), "%"),
            Figure(f"{name}: groups without signal", 100 * silent, "%"),
            Figure(f"{name}: CPU time of a run", statistics.mean(t.seconds for t in last), "s"),
        ]
    for arm in ("half", "double", "network"):
        pairs = zip(ends[arm], ends["alone"], strict=True)
        gains = [shared - alone for shared, alone in pairs]
        name = f"{ARMS[arm]}, gain over alone"
        figures += [
            Figure(f"{name}: mean", statistics.mean(gains), "points"),
            Figure(f"{name}: lowest seed", min(gains), "points"),
            Figure(f"{name}: highest seed", max(gains), "points"),
        ]
    sure = 100 * (1 - 2 / 2 ** len(plan.seeds))
    return [*figures, Figure("P(the median is between lowest and highest seed)", sure, "%")]


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        plan, out, file = FULL, OUT or Path("swarm-runs"), PLOT
        if FAST:
            plan, out, file = FASTER, Path(temporary), Path(temporary) / PLOT.name
        try:
            played = [
                {arm: Run(plan, arm, seed, out).play() for arm in ARMS} for seed in plan.seeds
            ]
        except KeyboardInterrupt:
            sys.exit("stopped; the same command goes on after the last trial")
        runs = {arm: [seed[arm] for seed in played] for arm in ARMS}
        curves = {arm: [make_curve(plan, trials) for trials in of] for arm, of in runs.items()}
        plot(curves, file)
    report(
        f"Shared rollouts: {plan.nodes} nodes, each samples {plan.groups} groups of "
        f"{plan.rollouts} a step, {plan.steps} steps, {len(plan.seeds)} seeds, {plan.held_out} "
        "held-out problems",
        compare(plan, runs),
        torch.get_num_threads(),
        curves=curves,
    )


if __name__ == "__main__":
    main()
