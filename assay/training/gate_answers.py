"""Answers to a gate's problems: what a checkpoint and its milestone show on problems that nobody
knew when the checkpoint could last be replaced. Specification, section 7.1.

Each problem has a seed, and all models answer it with the same draws of it. So two equal models
give equal answers, and the pairs in which one is right and the other is not are what tells them
apart. What is right follows from the ids of the answers alone, on every machine.

An answer is right if its correctness is all of it, in any environment: of a program all its tests,
of a taskset full marks, of a list all its values. What it earns for a part counts for nothing here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from assay.environments.base import Environment, Problem
from assay.environments.evaluation import find_evaluation_fault
from assay.environments.pooling import list_pool_levels
from assay.environments.registry import open_environment
from assay.environments.scoring import run_all
from assay.inference.checkpoint import Checkpoint, Outline
from assay.protocol.gate import compute_gate_problem_seed
from assay.protocol.parameters import GATE_PART, GateRule, Parameters, Work
from assay.training.held_out import BATCH, play_problems
from assay.verification.episodes import Tokens, begin_episode, make_episode_rules, replay

_POOLED = (
    "its problems are drawn from a pool, which its checkpoints or their trainer fill: a gate needs "
    "a part that draws none, or an evaluation file"
)


@dataclass(frozen=True, slots=True)
class GateProblem:
    """A problem, which may be one that is not made, and the 32-byte seed of all its answers."""

    problem: Problem
    seed: bytes


GateProblems = tuple[GateProblem, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One model's answer: its own tokens, uint32 [T], none of a problem that is not made."""

    tokens: Tokens
    is_right: bool


def open_gate_environment(parameters: Parameters) -> Environment:
    """The environment whose problems the gate asks. Raises ValueError: see `open_environment`."""
    return open_environment(*parameters.gate.environment or (parameters.environment,))


def find_gate_fault(parameters: Parameters, levels: Sequence[int]) -> str | None:
    """Why a network's gate could not ask anything, or not what it says, or None. What its
    parameters alone forbid is not looked at.

    Args:
        levels: of the first checkpoint.

    Raises:
        ValueError: see `open_gate_environment`.
    """
    gate = parameters.gate
    if gate.rule is GateRule.NONE:
        return None
    fault = find_evaluation_fault(parameters.environment, next(iter(gate.environment), None))
    if fault is None:
        environment = open_gate_environment(parameters)
        fault = find_gate_obstacle(environment)
        if fault is None and not list_gate_levels(environment, levels, ()):
            fault = "its environment has none of the first checkpoint's levels"
    return None if fault is None else f"gate: {fault}"


def find_gate_obstacle(environment: Environment) -> str | None:
    """The reason why an environment has no problems for a gate, or None."""
    return None if _list_legal(environment) else _POOLED


def list_gate_levels(
    environment: Environment, first_levels: Sequence[int], milestone_levels: Sequence[int]
) -> tuple[int, ...]:
    """The levels that are asked, ascending, each once: those of the two manifests that the gate's
    environment has, without levels of a part that draws from a pool."""
    asked = {*first_levels, *milestone_levels}
    return tuple(level for level in _list_legal(environment) if level in asked)


def draw_gate_problems(
    environment: Environment, gate_seed: bytes, levels: Sequence[int], count: int
) -> GateProblems:
    """The first `count` problems of a checkpoint: of each level as many, but for one.

    Args:
        gate_seed: see `compute_gate_seed`.
        levels: see `list_gate_levels`.

    Raises:
        ValueError: there are no levels, or one is not the environment's.
    """
    if not levels:
        raise ValueError("the gate's environment has none of the levels in force")
    seeds = [compute_gate_problem_seed(gate_seed, number) for number in range(count)]
    made = run_all(
        environment,
        [
            partial(environment.make_problem, seed, (levels[number % len(levels)],))
            for number, seed in enumerate(seeds)
        ],
    )
    return tuple(map(GateProblem, made, seeds))


def select_first_problems(problems: GateProblems) -> GateProblems:
    """Those that the first checkpoint answers, too."""
    return problems[::GATE_PART]


def answer_gate(
    checkpoint: Checkpoint,
    environment: Environment,
    work: Work,
    problems: Sequence[GateProblem],
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Answer]:
    """A checkpoint's answer to each problem, drawn with the problem's seed.

    Args:
        work: see `sample_episodes`.
        on_progress: called with the number of problems that are answered.
    """
    drafter, tokenizer = checkpoint.get_drafter(work.temperature), checkpoint.tokenizer
    answers: list[Answer] = []
    for start in range(0, len(problems), BATCH):
        batch = problems[start : start + BATCH]
        made = [one for one in batch if one.problem.is_made]
        asked, seeds = [one.problem for one in made], [one.seed for one in made]
        played = play_problems(drafter, tokenizer, environment, asked, seeds, work)
        scores = run_all(environment, [one.episode.state.score for one in played])
        drawn = iter(
            Answer(np.array(one.tokens, np.uint32), parts.is_right)
            for one, parts in zip(played, scores, strict=True)
        )
        nothing = Answer(np.zeros(0, np.uint32), is_right=False)
        answers += [next(drawn) if one.problem.is_made else nothing for one in batch]
        on_progress(len(answers))
    return answers


def score_answers(
    outline: Outline,
    environment: Environment,
    work: Work,
    problems: Sequence[GateProblem],
    answers: Sequence[Tokens],
) -> list[bool]:
    """Whether each answer is right, from its ids alone: every world is played again.

    Args:
        outline: of the model that answered, or of another one of its run: they have one tokenizer,
            and the same ends.
        answers: own tokens, uint32 [T], below the vocabulary's size. No honest draw may have ended
            so: then the world ends it, or does not, and what it has by then counts.
    """
    rules = make_episode_rules(work, outline.manifest)

    def score(one: GateProblem, tokens: Tokens) -> bool:
        if not one.problem.is_made or not len(tokens):
            return False
        prompt = outline.tokenizer.encode(one.problem.conversation)
        begun = begin_episode(environment, one.problem, len(prompt))
        ended = replay(begun, tokens.tolist(), rules, outline.tokenizer)
        return ended.state.score().is_right

    tasks = [partial(score, *each) for each in zip(problems, answers, strict=True)]
    return run_all(environment, tasks)


def count_gate(
    own: Sequence[bool], milestone: Sequence[bool], first: Sequence[bool]
) -> tuple[int, int, int, int]:
    """Wins, losses, first_wins and first_losses, as a manifest's counts have them.

    Args:
        own, milestone: whether the checkpoint and its milestone are right, problem by problem.
        first: whether the first checkpoint is, of every fourth problem.
    """
    return *_count(own, milestone), *_count(own[::GATE_PART], first)


def _count(own: Sequence[bool], other: Sequence[bool]) -> tuple[int, int]:
    """The problems that one solves and the other does not, and the reverse."""
    pairs = list(zip(own, other, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def _list_legal(environment: Environment) -> list[int]:
    pooled = list_pool_levels(environment)
    return [level for level in environment.levels if level not in pooled]
