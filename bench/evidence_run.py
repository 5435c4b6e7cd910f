"""One run of reinforcement learning for `evidence.py`: one seed, by Assay's learner or by TRL's.

    python bench/evidence_run.py --out DIR --learner assay|trl --seed N [--threads N] [--fast]

It begins with the model of `schooling.py`, and makes that first if DIR has none. Each step asks the
same problems in the same order and samples the same number of rollouts of each, with either
learner. Assay samples with the keyed sampler and the reference, from weights rounded to bf16 as
they are published. TRL samples by itself. Every few steps the weights, rounded to bf16, are tried
on held-out problems with the same draws, and the state is saved: a stopped command continues there.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from itertools import chain, count
from pathlib import Path
from time import process_time

import torch
from groups import draw_groups
from safetensors.torch import load_file, save_file
from schooling import FULL as FULL_SCHOOLING
from schooling import (
    SMALL,
    TEMPERATURE,
    Schooling,
    compute_name,
    make_lesson,
    make_problems,
    school,
)
from torch import Tensor
from transformers.trainer_utils import get_last_checkpoint
from trl_trainer import TrlCourse, make_trl_trainer

from assay.artifacts.steps.learner import make_learner
from assay.environments.base import Problem
from assay.inference.checkpoint import Checkpoint
from assay.inference.tokenizing.folder_tokenizer import load_tokenizer
from assay.network.files import replace_file, write_json
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.presets import DEMO_WORK
from assay.training import Group, LearnConfig
from assay.training.held_out import try_problems

LEARNERS = ("assay", "trl")
#: The demo's rate suits states of 96 columns. With the same rate a step moves wider states further.
LEARNING = LearnConfig(learning_rate=3e-5, epochs=2)


@dataclass(frozen=True, slots=True)
class Plan:
    """A comparison. All fields determine the names of the runs' folders."""

    schooling: Schooling = FULL_SCHOOLING
    steps: int = 30  # the slower learner also takes less than an hour of one core
    groups: int = 16  # groups of a step
    rollouts: int = 8  # rollouts of a group
    every: int = 10  # steps from one trial to the next
    held_out: int = 1_000  # problems of a trial
    learning: LearnConfig = LEARNING
    seeds: tuple[int, ...] = (0, 1, 2)

    def get_folder(self, out: Path, learner: str, seed: int) -> Path:
        return out / f"{learner}-{seed}-{compute_name(self)}"


FULL = Plan()
FASTER = Plan(SMALL, steps=2, groups=8, every=1, held_out=64, seeds=(0,))


def make_questions(plan: Plan, seed: int) -> list[list[Problem]]:
    """The problems of each step of a run."""
    return [
        make_problems(plan.schooling, "evidence-question", plan.groups, seed, step)
        for step in range(plan.steps)
    ]


def make_held_out(plan: Plan) -> list[Problem]:
    """The problems of a trial. None occurs in schooling or in a run: short stories occur twice, so
    repeated ones are left out."""
    lessons = (make_lesson(plan.schooling, step) for step in range(plan.schooling.steps))
    asked = (step for seed in plan.seeds for step in make_questions(plan, seed))
    met = {problem.prompt for problems in chain(lessons, asked) for problem in problems}
    chosen: dict[str, Problem] = {}
    for start in count():
        for problem in make_problems(plan.schooling, "evidence-held-out", plan.held_out, start):
            if problem.prompt not in met and len(chosen) < plan.held_out:
                chosen.setdefault(problem.prompt, problem)
        if len(chosen) == plan.held_out:
            return list(chosen.values())
    raise AssertionError("there is always another problem")


@dataclass(slots=True)
class Record:
    """The record of a run. For each trial: the step, a 1 or 0 for each held-out problem, and the
    processor seconds before it, without other trials. For each step: tokens sampled, the share of
    right answers, and the number of groups with both right and wrong ones."""

    model: str
    trials: list[tuple[int, str, float]] = field(default_factory=list)
    steps: list[tuple[int, float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Processor seconds without trials."""
        return self.trials[-1][2] if self.trials else 0.0

    def cut(self, steps: int) -> None:
        """Remove the steps after the saved weights."""
        self.steps = self.steps[:steps]
        self.trials = [trial for trial in self.trials if trial[0] <= steps]


def read_record(folder: Path) -> Record | None:
    file = folder / "record.json"
    return Record(**json.loads(file.read_text())) if file.exists() else None


class Run:
    """One run and its folder."""

    def __init__(self, plan: Plan, checkpoint: Checkpoint, folder: Path, seed: int) -> None:
        self.plan = plan
        self.checkpoint = checkpoint
        self.folder = folder
        self.seed = seed
        self.learning = replace(plan.learning, seed=seed)
        model = checkpoint.digest.hex()
        self.record = read_record(folder) or Record(model)
        if self.record.model != model:
            raise RuntimeError(f"{folder} is of model {self.record.model}, not {model}: remove it")
        self.problems = make_questions(plan, seed)
        self.held_out = make_held_out(plan)
        #: the rounded weights, which sample
        self.rounded = checkpoint.load_trainable().requires_grad_(False)
        self._began = process_time()

    @property
    def done(self) -> bool:
        return bool(self.record.trials) and self.record.trials[-1][0] == self.plan.steps

    def note_step(self, completions: list[list[int]], rewards: list[int]) -> None:
        """Note all rollouts of a step, group by group."""
        size = self.plan.rollouts
        groups = [rewards[i : i + size] for i in range(0, len(rewards), size)]
        right = sum(reward > 0 for reward in rewards) / len(rewards)
        teaching = sum(len(set(group)) > 1 for group in groups)
        self.record.steps.append((sum(map(len, completions)), right, teaching))

    def round_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights that sample from now on."""
        self.rounded.load_state_dict({n: w.to(torch.bfloat16) for n, w in weights.items()})

    def take_trial(self, step: int) -> None:
        """Try the rounded weights on held-out problems and write the record."""
        spent = self.record.seconds + process_time() - self._began
        seeds = [
            hash_fields(Domain.HELD_OUT, b"evidence-draw", i.to_bytes(4, "big"))
            for i in range(len(self.held_out))
        ]
        solved = try_problems(
            self.checkpoint.get_drafter(TEMPERATURE, self.rounded),
            self.checkpoint.tokenizer,
            self.plan.schooling.environment,
            self.held_out,
            seeds,
            DEMO_WORK,
        )
        marks = "".join("01"[right] for right in solved)
        self.record.trials.append((step, marks, spent))
        write_json(self.folder / "record.json", asdict(self.record))
        print(
            f"{self.folder.name}, step {step}: {sum(solved)} of {len(solved)} held-out problems, "
            f"{spent:.0f} s of processors without trials",
            flush=True,
        )
        self._began = process_time()


def sample_groups(run: Run, step: int) -> list[Group]:
    """The groups of a step, drawn as a miner draws and measured as a validator measures."""
    place = hash_fields(
        Domain.HELD_OUT, b"evidence-rollout", run.seed.to_bytes(4, "big"), step.to_bytes(4, "big")
    )
    return draw_groups(
        run.checkpoint,
        run.rounded,
        run.plan.schooling.environment,
        run.problems[step],
        run.plan.rollouts,
        place,
        TEMPERATURE,
    )


def learn_by_assay(run: Run) -> None:
    """Run all steps with our own learner."""
    checkpoint = run.checkpoint
    learner = make_learner(checkpoint, run.learning, lambda: checkpoint)
    kept = run.folder / "state.safetensors"
    if kept.exists():
        learner.import_state(load_file(kept))
        run.round_weights(learner.bf16_state())
    run.record.cut(learner.step)
    if not run.record.trials:
        run.take_trial(0)
    while learner.step < run.plan.steps:
        groups = sample_groups(run, learner.step)
        run.note_step(
            [tokens for group in groups for tokens in group.completions],
            [reward for group in groups for reward in group.rewards],
        )
        learner.learn(groups)
        run.round_weights(learner.bf16_state())
        if learner.step % run.plan.every == 0 or learner.step == run.plan.steps:
            run.take_trial(learner.step)  # a stop here leaves a trial too many, not one too few
            with replace_file(kept) as temporary:
                save_file(dict(learner.export_state()), temporary)


def learn_by_trl(run: Run) -> None:
    """Run all steps with TRL's trainer."""
    plan, checkpoint = run.plan, run.checkpoint
    model = checkpoint.load_trainable()
    folder = run.folder / "trl"
    course = TrlCourse(
        plan.schooling.environment,
        run.problems,
        run.learning,
        plan.rollouts,
        checkpoint.manifest.max_tokens,
        folder,
    )
    kept = get_last_checkpoint(folder) if folder.exists() else None
    run.record.cut(int(kept.rpartition("-")[2]) // course.updates if kept else 0)
    if not run.record.trials:
        run.take_trial(0)

    def see(prompts: list[str], completions: list[list[int]], rewards: list[int]) -> None:
        asked = [one.prompt for one in run.problems[len(run.record.steps)]]
        if prompts != [prompt for prompt in asked for _ in range(plan.rollouts)]:
            raise RuntimeError("TRL asks other problems than those of this step")
        run.note_step(completions, rewards)

    def end(step: int) -> None:
        if step % plan.every == 0 or step == plan.steps:
            run.round_weights(model.state_dict())
            run.take_trial(step)

    trainer = make_trl_trainer(
        course,
        model,
        load_tokenizer(checkpoint.folder, len(checkpoint.tokenizer.drawable)),
        end,
        see,
        save_strategy="steps",
        save_steps=plan.every * course.updates,
        save_total_limit=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(resume_from_checkpoint=kept)


def play(plan: Plan, out: Path, learner: str, seed: int) -> Record:
    """Play a run from its start or its saved state."""
    checkpoint = school(plan.schooling, out)
    run = Run(plan, checkpoint, plan.get_folder(out, learner, seed), seed)
    if not run.done:
        {"assay": learn_by_assay, "trl": learn_by_trl}[learner](run)
    return run.record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to fill")
    parser.add_argument("--learner", choices=LEARNERS, required=True)
    parser.add_argument("--seed", type=int, choices=FULL.seeds, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="a few steps of a small model")
    given = parser.parse_args()
    if given.learner == "trl" and not find_spec("trl"):
        parser.error("TRL is not there: pip install 'assay[train]'")
    torch.set_num_threads(given.threads)
    try:
        play(FASTER if given.fast else FULL, given.out, given.learner, given.seed)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on after the last trial")


if __name__ == "__main__":
    main()
