"""What a tool is worth to a model that learns to call it: success on held-out sums before and after
a course, with the calculator and without, by seed.

With the tool, the shipped model first watches a careless player: it learns what a call looks like,
and nothing of when to make one. Without it, the shipped model is as it is. Then the real trainer
runs a course of steps on a simulated chain for each, from groups of its own that are drawn and
scored like a miner's. Sums are of three terms up to 99, which the shipped model seldom gets right.
`--fast`: one seed and few steps.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import process_time
from typing import Any

import torch
from figures import FAST, Figure, report

sys.path.append(str(Path(__file__).parents[1]))
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepChoice
from assay.environments.levels import Success
from assay.environments.registry import open_environment
from assay.inference.checkpoint import load_checkpoint
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import DEMO_TIMING, Parameters
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import NETUID, change_parameters, make_demo_parameters
from assay.training import GENESIS, LearnConfig
from assay.training.first_turns import teach_first_turns
from assay.training.held_out import evaluate
from tests.training.careless_calls import call_carelessly

SEEDS = range(1) if FAST else range(2)
LESSONS = 2 if FAST else 24
GROUPS = 4 if FAST else 32
WATCHED = 40 if FAST else 450  # steps of watching
PROBLEMS = 64 if FAST else 1_000
LEVEL, TOKENS = 8, 48
#: Of a course with the tool: those of the demo of episodes. Of one without it: the learner's own,
#: which were chosen for sums; with the others the shipped model forgets what it knows.
LEARNING = {True: LearnConfig(learning_rate=3e-4, groups_per_batch=16), False: LearnConfig()}
#: By which margin the tool is to help: points between the ends of both 95 % intervals.
MARGIN = 20
_BEGUN = 1_700_000_000_000
#: A prompt is the sum alone: the model has learnt no words.
_SILENT = [{"part": "arithmetic", "texts": [{"name": "after", "text": ""}], "shots": []}]
_TOOL = {"tool": 1}
_TURNS = {"turns": 3, "context": 256, "reply_bytes": 64, "paid_reply": 4_000}


def make_parameters(tool: bool) -> Any:
    """What a course changes in the demo's parameters."""
    prompts = {"settings": _TOOL, "prompts": _SILENT} if tool else {}
    rewards = {"correctness_weight": 10**6, "quality_weight": 0}
    work = {"max_tokens": TOKENS} | (_TURNS if tool else {})
    return {"environment": {"name": "arithmetic"} | prompts, "rewards": rewards, "work": work}


def make_model(folder: Path, parameters: Parameters, tool: bool) -> None:
    """Write the model with which a course begins."""
    environment = open_environment(parameters.environment)
    if tool:
        shipped = load_checkpoint(GENESIS)
        args = environment, LEVEL, parameters.work, folder, call_carelessly, WATCHED
        teach_first_turns(shipped, *args)
    else:
        shutil.copytree(GENESIS, folder)
    make_genesis(folder, TOKENS, environment, (LEVEL,), work=parameters.work)


def run_course(seed: int, tool: bool) -> tuple[Success, Success]:
    """Held-out success before and after a course."""
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    name = f"tool use {seed}".encode()
    hotkeys = {name: sha256(name.encode()).digest() for name in ("owner", "trainer")}
    chain = SimulatedChain(
        name, NETUID, _BEGUN, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, tuple(hotkeys.values())
    )
    beacons = LocalBeacon(
        name, _BEGUN, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    make = partial(make_demo_parameters, chain.genesis_hash, beacons.chain, 0, hotkeys["trainer"])
    changes = make_parameters(tool)
    make_model(folder / "genesis", change_parameters(make(bytes(32)), changes), tool)
    genesis = load_checkpoint(folder / "genesis")
    parameters = change_parameters(make(genesis.digest), changes)
    environment = open_environment(parameters.environment)
    tried = partial(evaluate, environment=environment, work=parameters.work, problems=PROBLEMS)
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(genesis.folder, genesis.digest)
    lessons: list[Lesson] = []

    def take(lesson: Lesson) -> None:
        lessons.append(lesson)
        reward = lesson.stats.mean_reward
        print(f"  step {len(lessons)}: mean reward {reward:.3f}", file=sys.stderr, flush=True)

    trainer = Trainer(
        hotkeys["trainer"],
        ParameterHistory(parameters),
        JudgeSources(chain, beacons, checkpoints, {}),
        TrainerConfig(
            replace(LEARNING[tool], seed=seed),
            "bench:store",
            choice=StepChoice(local_groups=GROUPS),
        ),
        take,
        lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    while len(lessons) < LESSONS:
        chain.mint()
        while len(lessons) < LESSONS and trainer.step():
            pass
    before = tried(genesis)
    after = tried(checkpoints.get(lessons[-1].published.digest))
    shutil.rmtree(folder)
    return before, after


def main() -> None:
    torch.set_num_threads(1)
    figures = []
    for seed in SEEDS:
        found = {}
        for tool in (False, True):
            with_it = "with the calculator" if tool else "without a tool"
            start = process_time()
            before, after = run_course(seed, tool)
            seconds = process_time() - start
            found[tool] = after
            shares = [100 * one.value for one in (before, after)]
            ends = [f"{100 * end:.1f}" for one in (before, after) for end in one.interval]
            about = f"before ({ends[0]} to {ends[1]}; after {ends[2]} to {ends[3]})"
            figures += [
                Figure(f"seed {seed}, {with_it}: after", shares[1], "%", about, shares[0]),
                Figure(f"seed {seed}, {with_it}: CPU time", seconds, "s"),
            ]
        apart = 100 * (found[True].interval[0] - found[False].interval[1])
        least = None if FAST else MARGIN
        figures.append(Figure(f"seed {seed}: between both intervals", apart, "points", least=least))
    report(
        f"a tool that helps: {LESSONS} steps of {GROUPS} groups of 8, sums of level {LEVEL}, "
        f"{PROBLEMS:,} held-out problems",
        figures,
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
