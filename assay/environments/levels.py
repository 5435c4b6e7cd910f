"""The choice of the next levels: those whose problems the model sometimes solves and sometimes does
not.

A group teaches if its rollouts differ. So each held-out problem is tried twice, and the measure is
the share of problems on which the two tries differ. For a problem that is solved with probability
p, the expected share is 2p(1 − p), at most half. A level's mean success would not do: if half of
its problems are always solved and half never, it is 50 % and teaches nothing.

Tries are made at the levels in force and at their neighbours, so that no level comes into force
unseen. All arithmetic is in integers, so everybody who has the counts computes the same levels.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from assay.environments.base import PART_LEVELS, require_levels
from assay.protocol.manifest import LEVELS_MAX

#: Thousandths of a level's held-out problems on which two tries differ. From this share on the
#: level teaches. A group of 8 or more then lacks signal at no more than 29.5 % of its problems,
#: however easy and hard ones are mixed: with q = p(1 − p), p^G + (1 − p)^G is convex in q, 1 at q =
#: 0 and 2^(1 − G) at 1/4, so its mean is at most 1 − 4(1 − 2^(1 − G)) · mean q.
TEACHING = 355
#: The same for a level in force: from this lower share on it stays, so that noise at the border
#: moves nothing.
STAYING = 300
#: Fewest held-out problems of a level that allow a conclusion.
PROBLEMS_MIN = 24
#: Most levels of a part, unless more are in force: each further level leaves fewer problems to the
#: others.
WIDTH = 3
#: 97.5 % quantile of the standard normal distribution.
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Success:
    """Results on the held-out problems of one level or of all.

    Attributes:
        solved: problems that were wholly solved.
        asked: problems that were asked.
        mixed: problems with two tries, one solved and the other not.

    Raises:
        ValueError: more problems were solved or mixed than asked, or a count is negative.
    """

    solved: int
    asked: int
    mixed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.solved <= self.asked or not 0 <= self.mixed <= self.asked:
            raise ValueError(
                f"{self.solved} of {self.asked} problems solved, {self.mixed} mixed: impossible"
            )

    @property
    def value(self) -> float:
        """The share of solved problems, for people."""
        return self.solved / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval of that share."""
        return compute_score_interval(self.value, self.asked)


def compute_score_interval(p: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share p of n (Wilson, 1927)."""
    centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def compute_candidates(levels: Sequence[int], legal: Sequence[int]) -> tuple[int, ...]:
    """The levels to try: those in force and, of the same part, the legal ones beside each.

    Raises:
        ValueError: a level is not legal.
    """
    require_levels(levels, legal)
    candidates = set(levels)
    for known in _divide(legal).values():
        for place in [place for place, level in enumerate(known) if level in levels]:
            candidates.update(known[max(0, place - 1) : place + 2])
    return tuple(sorted(candidates))


def compute_levels(
    levels: Sequence[int], legal: Sequence[int], successes: Mapping[int, Success]
) -> tuple[int, ...]:
    """The levels for the next checkpoint, each part of a mixture by itself.

    A candidate is a level with at least `PROBLEMS_MIN` problems asked. The hardest candidates that
    teach are chosen: at most `WIDTH`, or as many as were in force if these are more, or fewer if a
    manifest has no room. If no candidate teaches, those with the most tenths of mixed problems are
    chosen. If these are too many, the hardest of them are chosen if at least half of the part's
    problems were solved, else the easiest. Of candidates without mixed problems only one is chosen.
    A level in force with fewer problems asked stays.

    Args:
        levels: the levels in force: ascending, legal.
        legal: the environment's legal levels.
        successes: level → its results; a missing level was not asked.

    Raises:
        ValueError: a level is not legal.
    """
    candidates, runs = _divide(compute_candidates(levels, legal)), _divide(levels)
    fits = sum(max(WIDTH, len(run)) for run in runs.values()) <= LEVELS_MAX
    chosen: list[int] = []
    for part, run in runs.items():
        seen = {k: successes[k] for k in candidates[part] if k in successes}
        chosen += _choose(run, seen, max(len(run), WIDTH if fits else 1))
    return tuple(sorted(chosen))


def find_undecided(
    levels: Sequence[int], legal: Sequence[int], successes: Mapping[int, Success]
) -> tuple[int, ...]:
    """Levels in force that could move, but had too few problems asked."""
    known = _divide(legal)
    return tuple(
        level
        for level in levels
        if len(known[level // PART_LEVELS]) > 1
        and (level not in successes or successes[level].asked < PROBLEMS_MIN)
    )


def _divide(levels: Iterable[int]) -> dict[int, list[int]]:
    """The levels of each part."""
    parts = defaultdict[int, list[int]](list)
    for level in levels:
        parts[level // PART_LEVELS].append(level)
    return parts


def _choose(run: Sequence[int], seen: Mapping[int, Success], width: int) -> list[int]:
    """At most `width` levels of one part, those in force being `run`."""
    known = {level: one for level, one in seen.items() if one.asked >= PROBLEMS_MIN}
    staying = [level for level in run if level not in known]
    teaching = [
        k
        for k in sorted(known, reverse=True)
        if 1_000 * known[k].mixed >= (STAYING if k in run else TEACHING) * known[k].asked
    ]
    if teaching or staying or not known:
        return staying + teaching[: width - len(staying)]
    solved, asked = (sum(getattr(s, name) for s in known.values()) for name in ("solved", "asked"))
    upward = 1 if 2 * solved >= asked else -1
    tenths = {k: 10 * one.mixed // one.asked for k, one in known.items()}
    best = max(tenths.values())
    likely = sorted((k for k in known if tenths[k] == best), key=lambda k: -k * upward)
    return likely[: width if best else 1]
