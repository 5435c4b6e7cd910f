"""What answers earn that take no thought: whoever pays for an environment should know before.

A model that learns finds them first. Where a task is met in parts, such answers meet some of them:
a random assignment seven clauses of eight, a program that prints `0` some tests. Where a world
replies, they are turns that take no notice of it. The parameters'
`satisfaction_floor` keeps what it says from everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from assay.environments.base import Environment, Problem, RewardParts
from assay.environments.foreign.vet_report import SHARE
from assay.environments.scoring import run_all
from assay.protocol.parameters import MILLION

#: Problems tried at each level, and most levels.
PROBLEMS, LEVELS = 32, 16
#: A floor is such that this share of a level's problems leave the answer nothing, percent.
_KEPT = 90
#: Floors are multiples of it, millionths.
_STEP = 10_000


@dataclass(frozen=True, slots=True)
class ThoughtlessAnswer:
    """The best of a level's answers without thought, by the parts that they meet.

    Attributes:
        number: its place in `Environment.list_thoughtless`.
        sample: what it answers one of the problems.
        correctness, satisfaction, format: its means over the problems, millionths.
        floor: a `satisfaction_floor` that leaves it nothing in nine of ten problems.
    """

    level: int
    problems: int
    number: int
    sample: str
    correctness: int
    satisfaction: int
    format: int
    floor: int

    @property
    def is_too_right(self) -> bool:
        """Whether it is right too often to pay for right answers."""
        return self.correctness * SHARE > MILLION


def choose_levels(environment: Environment) -> list[int]:
    """At most `LEVELS` of its levels, the first and the last among them."""
    levels = environment.levels
    count = min(LEVELS, len(levels))
    return [levels[i * (len(levels) - 1) // max(1, count - 1)] for i in range(count)]


def measure_thoughtless(environment: Environment, levels: Sequence[int]) -> list[ThoughtlessAnswer]:
    """The best such answer of each level. Raises WorkerError: a scorer cannot run here."""
    return [measure_level(environment, level) for level in levels]


def measure_level(environment: Environment, level: int) -> ThoughtlessAnswer:
    """The best such answer of a level. Raises WorkerError as above."""
    seeds = (sha256(f"thoughtless {i}".encode()).digest() for i in range(PROBLEMS))
    problems = [environment.make_problem(seed, [level]) for seed in seeds]
    texts = [environment.list_thoughtless(problem) for problem in problems]
    count = min(map(len, texts))
    tasks = [
        partial(_answer, environment, problem, [*given[number:], *given[:number]])
        for number in range(count)
        for problem, given in zip(problems, texts, strict=True)
    ]
    scores = run_all(environment, tasks)
    by_answer = [scores[i : i + PROBLEMS] for i in range(0, len(scores), PROBLEMS)]
    best = max(range(count), key=lambda number: _rank(by_answer[number]))
    parts = by_answer[best]
    shares = sorted(part.satisfaction for part in parts)
    return ThoughtlessAnswer(
        level=level,
        problems=PROBLEMS,
        number=best,
        sample=texts[0][best],
        correctness=sum(part.correctness for part in parts) // PROBLEMS,
        satisfaction=sum(shares) // PROBLEMS,
        format=sum(part.format for part in parts) // PROBLEMS,
        floor=-(-shares[PROBLEMS * _KEPT // 100] // _STEP) * _STEP,
    )


def _answer(environment: Environment, problem: Problem, turns: Sequence[str]) -> RewardParts:
    """What such answers achieve, one turn after the other while the problem's world replies."""
    state = environment.open(problem)
    for turn in turns:
        state, reply = state.step(turn, is_ended=True)
        if reply is None:
            break
    return state.score()


def _rank(parts: list[RewardParts]) -> tuple[int, int]:
    return sum(part.satisfaction for part in parts), sum(part.format for part in parts)
