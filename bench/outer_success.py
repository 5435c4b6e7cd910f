"""The cost of several trainers in held-out success: one trainer compared with two whose children
are merged, by the form in which children are sent. All learn from the same number of groups, of the
same problems.

The learner runs directly, without chain, stores and judge. The round's parent draws all of a
round's rollouts, as in a network with rounds. One trainer learns from all of a step's groups. Two
trainers take half each, and after H steps the parent moves by the outer step over the mean of the
decoded children. That is the comparison on the same groups. The last arm is a network without
rounds: one trainer, with each step's rollouts drawn by the checkpoint before it. Its gain over the
first arm is the value of fresh rollouts. Each trainer has its own moments and residuals. The outer
step is the default of the form of children. One arm takes OpenDiLoCo's outer step, to show what the
choice is worth. All arms use the shipped model and its own problems. Success is
measured on the same problems for all, with one try on each. Ctrl-C reports the finished seeds, and
the same command continues after the last round from the files in --out. `--fast`: one seed, two
rounds.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import fmean, stdev
from tempfile import mkdtemp

import torch
from checkpoints import make_groups
from figures import FAST, OUT, Figure, report
from outer_bytes import get_masters
from torch import Tensor

from assay.environments.registry import make_environment
from assay.inference.checkpoint import load_checkpoint
from assay.network.files import replace_file
from assay.protocol.encoding import Json
from assay.protocol.parameters import Rounds
from assay.rounds.choice import DEFAULTS, choose_outer_step
from assay.rounds.outer_step import Masters, OuterState, begin_outer, round_masters, step_outwards
from assay.rounds.wire import DifferenceForm, decode_difference, encode_difference
from assay.subnet.presets import DEMO_WORK
from assay.training import GENESIS, Group, LearnConfig, Learner, name_masters
from assay.training.held_out import try_problems

SEEDS = 1 if FAST else 3
ROUNDS = 2 if FAST else 9
STEPS = 2 if FAST else 8  # H
GROUPS = 4 if FAST else 16  # groups of a step, all trainers together
PROBLEMS = 200 if FAST else 5_000
#: Most percentage points of success that two trainers may lose.
LOSS_MOST = 2.8
#: Seeds less one → Student's t for two-sided 95 %.
_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776}
_BATCH = 250


@dataclass(frozen=True, slots=True)
class Arm:
    """The trainers of a run.

    form: the form of children; None: one trainer, and no merge.
    outer: rate and momentum of the outer step, by name; None: the form's defaults.
    fresh: the checkpoint before each step draws its rollouts, not the round's parent.
    """

    name: str
    trainers: int
    form: DifferenceForm | None = None
    outer: Mapping[str, Json] | None = None
    fresh: bool = False

    @property
    def rules(self) -> Rounds:
        form = self.form or DifferenceForm()
        outer = self.outer or choose_outer_step(form.kept, form.chunk)
        return Rounds((b"\1" * 32, b"\2" * 32), **DEFAULTS | outer)


ROUNDED = DifferenceForm(bits=16, feedback=1_000_000)
SPARSE = DifferenceForm(24, 4_096, 2, 950_000)
OPENDILOCO = {"rate": 700_000, "momentum": 900_000}
ARMS = (
    Arm("one trainer, the same groups", 1),
    Arm("two, rounded", 2, ROUNDED),
    Arm("two, sparse, 24 of 4,096, 2 bits", 2, SPARSE),
    Arm("two, rounded, OpenDiLoCo's outer step", 2, ROUNDED, OPENDILOCO),
    Arm("one trainer, fresh groups", 1, fresh=True),
)


class Course:
    """An arm's learning under one seed."""

    steps, groups, problems = STEPS, GROUPS, PROBLEMS

    def __init__(self, arm: Arm, seed: int) -> None:
        self.arm, self.seed, self.round, self.sent = arm, seed, 0, 0
        self._checkpoint = load_checkpoint(GENESIS)
        self._drawing = self._checkpoint.load_trainable().float()
        self._learners = [
            Learner(self._checkpoint.load_trainable(), LearnConfig(seed=seed))
            for _ in range(arm.trainers)
        ]
        self._outer = begin_outer(get_masters(self._learners[0]))
        self._residuals: list[dict[str, Tensor]] = [{} for _ in self._learners]

    def take_round(self) -> None:
        for step in range(self.steps):
            if self.arm.fresh or step == 0:
                self._publish()
            name = f"{self.seed} {self.round * self.steps + step}"
            groups = make_groups(self._checkpoint, self._drawing, name, None, self.groups)
            for place in range(len(self._learners)):
                self.learn(place, groups[place :: len(self._learners)])
            if self.arm.form is None:
                self._outer = begin_outer(get_masters(self._learners[0]))
        if self.arm.form is not None:
            self._merge(self.arm.form)
        self.round += 1

    def learn(self, place: int, groups: list[Group]) -> None:
        """A trainer's step."""
        self._learners[place].learn(groups)

    def choose_children(self, before: Masters, children: list[Masters]) -> list[Masters]:
        """The children that are merged."""
        return children

    def _publish(self) -> None:
        """Set the model that draws rollouts: the parent as bf16."""
        self._drawing.load_state_dict(round_masters(self._outer.masters), strict=False)

    def _merge(self, form: DifferenceForm) -> None:
        before = self._outer.masters
        seen: list[Masters] = []
        for place, learner in enumerate(self._learners):
            child, residual = get_masters(learner), self._residuals[place]
            blobs, self._residuals[place] = encode_difference(before, child, form, residual)
            self.sent += sum(map(len, blobs))
            seen.append(decode_difference(before, blobs, form))
        merged = self.choose_children(before, seen)
        self._outer = step_outwards(self._outer, merged, self.arm.rules)
        parent = name_masters(self._outer.masters)
        for learner in self._learners:
            learner.import_state(dict(learner.export_state()) | parent)

    def try_held_out(self) -> float:
        """Percent of held-out problems solved."""
        self._publish()
        environment = make_environment("arithmetic", {})
        drafter = self._checkpoint.get_drafter(1_024, self._drawing)
        levels, solved = self._checkpoint.manifest.level_numbers, 0
        for start in range(0, self.problems, _BATCH):
            numbers = range(start, min(self.problems, start + _BATCH))
            seeds = [sha256(f"held out {number}".encode()).digest() for number in numbers]
            problems = [environment.make_problem(seed, levels) for seed in seeds]
            tried = try_problems(
                drafter, self._checkpoint.tokenizer, environment, problems, seeds, DEMO_WORK
            )
            solved += sum(tried)
        return 100 * solved / self.problems

    def save(self, file: Path) -> None:
        state = {
            "progress": (self.round, self.sent),
            "outer": (self._outer.masters, self._outer.velocity),
            "learners": [dict(learner.export_state()) for learner in self._learners],
            "residuals": self._residuals,
        }
        with replace_file(file) as temporary:
            torch.save(state, temporary)

    def restore(self, file: Path) -> None:
        state = torch.load(file)
        self.round, self.sent = state["progress"]
        self._outer = OuterState(*state["outer"])
        for learner, own in zip(self._learners, state["learners"], strict=True):
            learner.import_state(own)
        self._residuals = state["residuals"]


def run_course(arm: Arm, seed: int, out: Path) -> tuple[float, float]:
    """Success, and MB of its children. Finished courses in `out` are not repeated."""
    name = "".join(letter if letter.isalnum() else "-" for letter in arm.name)
    done, kept = (out / f"{name}.{seed}.{kind}" for kind in ("json", "state"))
    if not done.exists():
        course = Course(arm, seed)
        if kept.exists():
            course.restore(kept)
        while course.round < ROUNDS:
            course.take_round()
            course.save(kept)
            print(f"  {arm.name}, seed {seed}: round {course.round} of {ROUNDS}", flush=True)
        result = (course.try_held_out(), course.sent / 1e6)
        print(f"  {arm.name}, seed {seed}: solves {result[0]:.2f} %", flush=True)
        with replace_file(done) as temporary:
            temporary.write_text(json.dumps(result))
        kept.unlink()
    success, sent = json.loads(done.read_text())
    return success, sent


def run_all(out: Path) -> tuple[dict[tuple[str, int], tuple[float, float]], list[int]]:
    """The results by arm and seed, and the seeds that all arms have finished."""
    found: dict[tuple[str, int], tuple[float, float]] = {}
    try:
        for seed in range(SEEDS):
            for arm in ARMS:
                found[arm.name, seed] = run_course(arm, seed, out)
    except KeyboardInterrupt:
        print("  stopped; the same command goes on after the last round", flush=True)
    seeds = [seed for seed in range(SEEDS) if all((arm.name, seed) in found for arm in ARMS)]
    return found, seeds or sys.exit("no seed has ended in all arms")


def compare(arm: Arm, one: list[float], two: list[float]) -> list[Figure]:
    """Figures from pairs of the same seed."""
    lost = [a - b for a, b in zip(one, two, strict=True)]
    bound = LOSS_MOST if arm.outer is None else None
    figures = [Figure(f"{arm.name}: points lost", fmean(lost), "points", bound=bound)]
    if len(lost) > 1:
        half = _T[len(lost) - 1] * stdev(lost) / math.sqrt(len(lost))
        name = f"{arm.name}: points lost, half of the 95 % interval"
        figures.append(Figure(name, half, "points"))
    return figures


def main() -> None:
    torch.set_num_threads(1)
    out = OUT or Path(mkdtemp(prefix="assay-"))
    out /= f"{ROUNDS}-{STEPS}-{GROUPS}-{PROBLEMS}"
    out.mkdir(parents=True, exist_ok=True)
    print(f"  rounds are kept in {out}")
    settings = {"rounds": ROUNDS, "steps": STEPS, "groups": GROUPS, "problems": PROBLEMS}
    found, seeds = run_all(out)
    figures = [Figure("the shipped model before: success", Course(ARMS[0], 0).try_held_out(), "%")]
    for arm in ARMS:
        solved = [found[arm.name, seed][0] for seed in seeds]
        figures.append(Figure(f"{arm.name}: success", fmean(solved), "%"))
        if arm.form is not None:
            sent = fmean(found[arm.name, seed][1] for seed in seeds)
            figures.append(Figure(f"{arm.name}: bytes of all children", sent, "MB"))
            figures += compare(arm, [found[ARMS[0].name, seed][0] for seed in seeds], solved)
    report(
        f"Success of several trainers: {ROUNDS} rounds of {STEPS} steps of {GROUPS} groups, "
        f"{len(seeds)} seeds, {PROBLEMS:,} problems",
        figures,
        torch.get_num_threads(),
        settings=settings,
    )


if __name__ == "__main__":
    main()
