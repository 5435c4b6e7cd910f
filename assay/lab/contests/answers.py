"""The problems of a contest, the contestants' answers, and the scorer's results.

All contestants have the same problems, and the same noise for each. Two equal models give equal
answers, and similar ones differ on few problems. That makes small differences visible. A problem's
seed belongs to no window and to no trainer's held-out problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assay.environments.base import Environment, Problem
from assay.environments.scoring import score_all
from assay.inference.checkpoint import Checkpoint
from assay.protocol.hashing import Domain, hash_fields
from assay.training.held_out import answer_problems


@dataclass(frozen=True, slots=True)
class ContestRules:
    """The rules of a contest.

    Attributes:
        levels: the environment's levels, ascending.
        temperature: 1024 · T.
        seed: u64 that determines the problems and the noise.
        problems: their number.
    """

    levels: tuple[int, ...]
    temperature: int
    seed: int
    problems: int


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """A contestant's answer to a problem: its text without the end token, and whether the scorer
    gives it full correctness."""

    text: str
    solved: bool


def make_problems(
    environment: Environment, rules: ContestRules, numbers: Sequence[int]
) -> tuple[list[Problem], list[bytes]]:
    """Problems by number, and the seeds of their answers."""
    seeds = [
        hash_fields(
            Domain.HELD_OUT,
            b"contest",
            environment.digest,
            rules.seed.to_bytes(8, "big"),
            number.to_bytes(4, "big"),
        )
        for number in numbers
    ]
    return [environment.make_problem(seed, rules.levels) for seed in seeds], seeds


def draw_answers(
    checkpoint: Checkpoint, environment: Environment, rules: ContestRules, numbers: Sequence[int]
) -> list[ScoredAnswer]:
    """One contestant's answers to the problems with these numbers."""
    problems, seeds = make_problems(environment, rules, numbers)
    drafter = checkpoint.get_drafter(rules.temperature)
    texts = answer_problems(drafter, checkpoint.tokenizer, problems, seeds)
    scores = score_all(environment, list(zip(problems, texts, strict=True)))
    return [ScoredAnswer(text, parts.is_right) for text, parts in zip(texts, scores, strict=True)]
