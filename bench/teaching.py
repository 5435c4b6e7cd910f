"""Groups that teach: the share of a trainer's groups and tokens without signal, because all rewards
of the group are equal, and the effect of the rule of levels.

The real trainer runs whole courses of steps on a simulated chain, from groups of its own, drawn and
scored like a miner's: sums from the shipped model; word problems, and a mixture of both, from a
small model that is made first (`mixed_model.py`). Each course begins with levels too hard for the
model, like an owner who does not know it. In one course the levels stay, in the other they follow
held-out success. `--fast`: two steps, and a small model that knows little.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from figures import FAST, Figure, report, time_cpu
from mixed_model import MAX_TOKENS, make_mixed_model

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepChoice
from assay.environments import open_environment
from assay.inference import load_checkpoint
from assay.lab.simulator import SimulatedChain
from assay.network.beacon import LocalBeacon
from assay.neurons.program.neuron import JudgeSources
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.setup import TrainerConfig
from assay.neurons.trainer.trainer import Trainer
from assay.protocol.amendment import ParameterHistory
from assay.protocol.parameters import DEMO_TIMING
from assay.subnet.genesis_checkpoint import make_genesis
from assay.subnet.presets import NETUID, change_parameters, make_demo_parameters, parse_environment
from assay.training import GENESIS, LearnConfig
from assay.training.held_out import HeldOut

LESSONS = 2 if FAST else 10
GROUPS = 4 if FAST else 24  # groups of a step
PROBLEMS = 32 if FAST else 256  # held out
STEPS = 40 if FAST else 600  # of pre-training
#: Only the main part of a task's reward counts: a part paid for the steps in between would hide
#: groups without signal.
ONE_PART = {"correctness_weight": 10**6, "quality_weight": 0}
_BEGUN = 1_700_000_000_000


@dataclass(frozen=True)
class Task:
    """The task of a course: an environment, the first levels in force, and the model."""

    name: str
    environment: str
    levels: tuple[int, ...]
    mixed: bool  # True: the model of `mixed_model.py`; False: the shipped one


TASKS = (
    Task("sums", "arithmetic", (6, 7), False),
    Task("word problems", "gsm,largest=10", (2, 3), True),
    Task("both", "mix,arithmetic=1,gsm=1,gsm.largest=10", (1_006, 1_007, 2_002, 2_003), True),
)


def run_course(task: Task, model: Path, moves: bool) -> list[Lesson]:
    """Run LESSONS steps. `moves`: whether levels follow success."""
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    hotkeys = {name: sha256(name.encode()).digest() for name in ("owner", "trainer")}
    chain = SimulatedChain(
        b"teaching", NETUID, _BEGUN, DEMO_TIMING.slot_ms, DEMO_TIMING.tempo, tuple(hotkeys.values())
    )
    beacons = LocalBeacon(
        b"teaching", _BEGUN, 1_000, lambda: chain.get_block(chain.get_head()).timestamp_ms
    )
    choice = parse_environment(task.environment)
    shutil.copytree(model, folder / "genesis")
    tokens = MAX_TOKENS if task.mixed else 48
    make_genesis(folder / "genesis", tokens, open_environment(choice), task.levels)
    genesis = load_checkpoint(folder / "genesis")
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(genesis.folder, genesis.digest)
    parameters = make_demo_parameters(
        chain.genesis_hash, beacons.chain, 0, hotkeys["trainer"], genesis.digest
    )
    settings = {setting.name: setting.value for setting in choice.settings}
    changes = {
        "environment": {"name": choice.name, "settings": settings},
        "rewards": ONE_PART,
        "work": {"max_tokens": tokens},
    }
    history = ParameterHistory(change_parameters(parameters, changes))
    lessons: list[Lesson] = []
    trainer = Trainer(
        hotkeys["trainer"],
        history,
        JudgeSources(chain, beacons, checkpoints, {}),
        TrainerConfig(
            LearnConfig(),
            "bench:store",
            choice=StepChoice(local_groups=GROUPS),
            held_out=HeldOut(history, PROBLEMS) if moves else None,
        ),
        lessons.append,
        lambda line: print(f"  {line}", flush=True),
    )
    while len(lessons) < LESSONS:
        chain.mint()
        while len(lessons) < LESSONS and trainer.step():
            pass
    shutil.rmtree(folder)
    return lessons


def describe(lessons: Sequence[Lesson]) -> None:
    for lesson in lessons:
        stats = lesson.stats
        print(
            f"  {lesson.published.number:3} {lesson.levels}: reward {stats.mean_reward:.2f}, "
            f"{stats.dropped} of {stats.groups} groups without signal",
            flush=True,
        )


def compute_shares(lessons: Sequence[Lesson]) -> tuple[float, float]:
    """Percent of groups without signal, and of tokens drawn and judged in vain."""
    groups, dropped = (
        sum(getattr(x.stats, name) for x in lessons) for name in ("groups", "dropped")
    )
    tokens, silent = (
        sum(getattr(x, name) for x in lessons) for name in ("tokens", "silent_tokens")
    )
    return 100 * dropped / groups, 100 * silent / tokens


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="assay-"))
    _, seconds = time_cpu(lambda: make_mixed_model(folder, STEPS))
    figures = [Figure("making the small model, CPU time", seconds, "s")]
    for task in TASKS:
        model = folder if task.mixed else GENESIS
        shares = {}
        for moves in (False, True):
            print(f"{task.name}, levels {'follow' if moves else 'stay'}", flush=True)
            lessons = run_course(task, model, moves)
            describe(lessons)
            shares[moves] = compute_shares(lessons)
        figures += [
            Figure(
                f"{task.name}: {what} {where}",
                shares[True][i],
                "%",
                "levels that stay",
                shares[False][i],
                bound=30 if i == 0 else None,
            )
            for i, (what, where) in enumerate(
                (("groups", "without signal"), ("tokens", "of groups without signal"))
            )
        ]
    shutil.rmtree(folder)
    report(
        f"Groups that teach: runs of {LESSONS} steps of {GROUPS} groups of 8, "
        f"{PROBLEMS} held-out problems",
        figures,
        torch.get_num_threads(),
    )


if __name__ == "__main__":
    main()
