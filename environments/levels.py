"""Which levels come next: harder problems once those in force are mostly solved.

A problem teaches where its rollouts differ, so the levels in force are a run of neighbours that
climbs with the model. Integers throughout: whoever has the counts has the levels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import sqrt

from assay.environments.base import PART_LEVELS, require_levels

#: Thousandths of held-out problems solved: at least this many, and the run climbs a level; at most
#: that many, and it descends one. Far apart, so that a step is not undone by the noise after it.
CLIMB, DESCEND = 700, 150
#: Held-out problems of a run below which nothing is concluded: 200 tell 70 % from 60 %.
PROBLEMS_MIN = 200
#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Success:
    """Held-out problems of one level or of all: how many were asked, how many wholly solved.

    Raises:
        ValueError: more were solved than asked, or fewer than none.
    """

    solved: int
    asked: int

    def __post_init__(self) -> None:
        if not 0 <= self.solved <= self.asked:
            raise ValueError(f"{self.solved} of {self.asked} problems solved: impossible")

    @property
    def value(self) -> float:
        """Share of solved problems, for people."""
        return self.solved / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % score interval (Wilson, 1927)."""
        n, p = self.asked, self.value
        centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return max(0.0, centre - half), min(1.0, centre + half)


def compute_levels(
    levels: Sequence[int], legal: Sequence[int], successes: Mapping[int, Success]
) -> tuple[int, ...]:
    """The levels for the next checkpoint.

    Each part of a mixture by itself, its run of levels as one: it moves by one legal level, keeping
    its number of levels, if at least `PROBLEMS_MIN` of its problems were asked, at least `CLIMB` or
    at most `DESCEND` of a thousand of them were solved, and there is a level to move to.

    Args:
        levels: in force: ascending, legal.
        legal: of the environment.
        successes: level → what was seen of it; a level that is not there was not asked.

    Raises:
        ValueError: levels that are not legal.
    """
    require_levels(levels, legal)
    moved: list[int] = []
    for part, run in groupby(levels, lambda level: level // PART_LEVELS):
        known = [level for level in legal if level // PART_LEVELS == part]
        moved += _move(list(run), known, successes)
    return tuple(moved)


def find_undecided(
    levels: Sequence[int], legal: Sequence[int], successes: Mapping[int, Success]
) -> tuple[int, ...]:
    """Those of the levels in force that could move, and of which too few problems were asked."""
    found: list[int] = []
    for part, run in groupby(levels, lambda level: level // PART_LEVELS):
        inside = list(run)
        known = sum(level // PART_LEVELS == part for level in legal)
        asked = sum(successes[level].asked for level in inside if level in successes)
        if asked < PROBLEMS_MIN and len(inside) < known:
            found += inside
    return tuple(found)


def _move(run: list[int], known: list[int], successes: Mapping[int, Success]) -> list[int]:
    seen = [successes[level] for level in run if level in successes]
    solved, asked = sum(s.solved for s in seen), sum(s.asked for s in seen)
    if asked < PROBLEMS_MIN:
        return run
    places = [known.index(level) for level in run]
    if solved * 1_000 >= CLIMB * asked and places[-1] + 1 < len(known):
        return [known[place + 1] for place in places]
    if solved * 1_000 <= DESCEND * asked and places[0] > 0:
        return [known[place - 1] for place in places]
    return run
