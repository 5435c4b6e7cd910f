"""Sums of several terms, worked step by step: `7+15+3=?` → `7+15=22`, `22+3=25`, `#### 25`.

The answer has one form and is compared as text. No number in a completion is parsed before its
length is known, so a line of a million digits costs one comparison. Only a chain of true equations
that uses every term of the problem once counts as reasoning. Nothing else in the text can raise the
score, so padding gains nothing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from assay.environments.base import (
    UNREAD,
    Answer,
    DrawnEnvironment,
    Param,
    Problem,
    RewardParts,
    cut_thought,
    rate_answer,
)
from assay.environments.kind import Drawn, Kind
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream

NAME = "arithmetic"
#: Increases whenever any problem or score would change.
VERSION = 2

PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        "minus": Param(0, 0, 100, "percent of the terms after the first that are subtracted"),
        "words": Param(0, 0, 100, "percent of the problems told as a short story"),
    }
)

#: Per level: (number of terms, largest term). Terms are drawn from 1 to the largest.
LEVELS: tuple[tuple[int, int], ...] = (
    (2, 9),
    (3, 9),
    (4, 9),
    (2, 49),
    (3, 49),
    (4, 49),
    (2, 99),
    (3, 99),
    (4, 99),
    (3, 999),
    (5, 999),
    (8, 9_999),
)

_NAMES = "Ada", "Ben", "Cleo", "Dan", "Eve", "Finn"
_THINGS = "apples", "books", "coins", "eggs", "pens", "shells"

# Eighteen digits hold every true number of every level, and `int` of them is cheap.
_INTEGER = r"(?:0|-?[1-9][0-9]{0,17})"
_ANSWER_LINE = re.compile(rf"#### {_INTEGER}")
_STEP = re.compile(rf"({_INTEGER})([+-])([1-9][0-9]{{0,17}})=({_INTEGER})")


@dataclass(frozen=True, slots=True)
class Terms(Answer):
    """The signed terms of a sum, at least two, in the prompt's order."""

    values: tuple[int, ...]


class Arithmetic(DrawnEnvironment):
    levels = range(1, len(LEVELS) + 1)
    rated = frozenset({"quality"})

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params)

    def _draw(self, stream: Stream, level: int) -> Problem:
        count, largest = LEVELS[level - 1]
        values = [stream.draw_between(1, largest)]
        for _ in range(count - 1):
            size = stream.draw_between(1, largest)
            values.append(-size if stream.draw_below(100) < self.params["minus"] else size)
        is_story = stream.draw_below(100) < self.params["words"]
        prompt = _tell_story(stream, values) if is_story else f"{_join(values)}=?\n"
        return Problem(prompt, level, Terms(tuple(values)))

    def solve(self, problem: Problem) -> Sequence[str]:
        return [write_solution(problem, range(len(_get_values(problem))))]

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: what follows the thought ends with its only `####`, a line `#### <integer>`,
        exact.

        The integer is canonical: no plus, no leading zero, no space, no `-0`. Nothing follows it,
        not even a newline. Quality: see `_rate_steps`.
        """
        values = _get_values(problem)
        said = cut_thought(completion)
        *steps, last = said.split("\n")
        if said.count("####") != 1 or not _ANSWER_LINE.fullmatch(last):
            return UNREAD
        correct = last == f"#### {sum(values)}"
        return rate_answer(correct, quality=_rate_steps(values, steps))


def write_solution(problem: Problem, order: Sequence[int]) -> str:
    """The worked solution, of full marks, that takes the problem's terms in `order`.

    `order` is a permutation of the terms' positions. The sum is the same in any order.

    Raises:
        ValueError: `order` is not a permutation of the terms' positions.
        TypeError: `problem` was made by another environment.
    """
    values = _get_values(problem)
    if sorted(order) != list(range(len(values))):
        raise ValueError(f"{list(order)} is not a permutation of {len(values)} terms")
    total = values[order[0]]
    lines = []
    for position in order[1:]:
        following = total + values[position]
        lines.append(f"{total}{values[position]:+d}={following}")
        total = following
    return "\n".join([*lines, f"#### {total}"])


def _rate_steps(values: tuple[int, ...], steps: Sequence[str]) -> int:
    """The share of the expected steps that count, in millionths.

    A step `a±b=c` counts if the equation is true, b is an unused term, and a is the result of the
    step before (in the first step: another term). Counting ends at the first step that does not
    count. If there is even one line too many, nothing counts. *Repeated, trivial or borrowed
    equations and bare answers earn nothing.*
    """
    expected = len(values) - 1
    if len(steps) > expected:
        return 0
    unused = list(values)
    total: int | None = None
    standing = 0
    for line in steps:
        match = _STEP.fullmatch(line)
        if match is None:
            break
        left, right, result = int(match[1]), int(match[2] + match[3]), int(match[4])
        if total is None and left in unused:
            unused.remove(left)
        elif left != total:
            break
        if right not in unused or left + right != result:
            break
        unused.remove(right)
        total = result
        standing += 1
    return standing * MILLION // expected


def _get_values(problem: Problem) -> tuple[int, ...]:
    if not isinstance(problem.answer, Terms):
        raise TypeError(f"not an arithmetic problem: {type(problem.answer).__name__}")
    return problem.answer.values


def _join(values: Sequence[int]) -> str:
    return str(values[0]) + "".join(f"{value:+d}" for value in values[1:])


def _tell_story(stream: Stream, values: Sequence[int]) -> str:
    name, things = stream.choose(_NAMES), stream.choose(_THINGS)
    parts = [f"{name} counts {values[0]} {things}"]
    parts += [f"{'adds' if value > 0 else 'takes away'} {abs(value)}" for value in values[1:]]
    return f"{', '.join(parts)}. How many?\n"


KIND = Kind(
    NAME, VERSION, drawn=Drawn(Arithmetic, "sums of several terms, worked step by step", PARAMS)
)
