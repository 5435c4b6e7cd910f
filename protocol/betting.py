"""Evidence that checkpoints are better, or worse, than the milestone that their course began with.

A checkpoint and its milestone answer the same problems, which nobody knew before the checkpoint was
in force, with the same draws. A problem that one of them solves and the other does not is a win or
a loss. If the two are equally good, each is as likely as the other. A bettor who stakes a fixed
part of what he has on the next one then gains nothing on average, and from 1 ever reaches 1/α with
a probability of at most α (Ville's inequality; Waudby-Smith and Ramdas, "Estimating means of
bounded random variables by betting", 2023). So counts may be read after every checkpoint:

    >>> won = [Pairs(asked=256, wins=26, losses=17)] * 5
    >>> is_better(won[:4], 1, 50_000), is_better(won, 1, 50_000)
    (False, True)
    >>> lost = [Pairs(asked=256, wins=17, losses=26)] * 5
    >>> is_worse(lost[:4], 50_000), is_worse(lost, 50_000)
    (False, True)

A milestone may have several courses: one that is given up is followed by another from the same
milestone. What its checkpoints showed stays with it, and the next one needs more, so that all
courses together reach a milestone by luck with a probability of α. Everything here is an exact
integer: two programs never disagree about a bound. Pure.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log1p

from assay.protocol.encoding import U32

#: Sixteenths of what they have that two bettors stake. Where 17 % of pairs differ, a fall of 5
#: points is found soonest by 4.7, and where 40 % do by 2.
STAKES = (3, 5)
_PARTS, _BITS = 16, 4
#: Denominator of an error rate.
RATE = 10**6
#: π²/6 in millionths, rounded up: course k from one milestone has α · 6 / (π² k²).
_BASEL = 1_644_935
#: Of a capital of 1, what is bet from checkpoint j on, for "worse": ⌊2^32 / (j (j + 1))⌋ of 2^32.
_WHOLE = 1 << 32
#: Logarithms of what a bettor keeps of 1 when he wins and when he loses, by stake. They decide
#: where nothing depends on their rounding: exact integers of a long course take a second.
_LOGS = [(log1p(stake / _PARTS), log1p(-stake / _PARTS)) for stake in STAKES]
_CLOSE = 1e-7
#: Half points between two gains that `bound_gain` tells apart: 1/200 of a success.
_GRID = 200


@dataclass(frozen=True, slots=True)
class Pairs:
    """What a checkpoint showed beside another one on the same problems."""

    asked: U32  # problems
    wins: U32  # problems that it solved and the other did not
    losses: U32  # problems that the other solved and it did not


def is_better(course: Sequence[Pairs], attempt: int, error: int) -> bool:
    """Whether a course has shown that one of its checkpoints is better than the milestone: see
    `find_better`."""
    return find_better(course, attempt, error) is not None


def find_better(course: Sequence[Pairs], attempt: int, error: int) -> int | None:
    """The place of the first checkpoint with which a course has shown that one of its checkpoints
    is better than the milestone, from 0. None: it has not. What comes behind this place, good or
    bad, does not move it.

    Args:
        course: counts against the milestone, of every checkpoint since it.
        attempt: number of the course among those from this milestone, from 1. Of 0, which is no
            course's, nothing is shown.
        error: α of all courses from a milestone, 1e-6; from 1 to 999,999.
    """
    if not attempt:
        return None
    needed = log(_BASEL * attempt**2 / error)
    wins = losses = 0
    for place, one in enumerate(course):
        if place and not one.wins and not one.losses:
            continue  # as before it
        wins, losses = wins + one.wins, losses + one.losses
        ends = [0.0 + wins * gained + losses * lost for gained, lost in _LOGS]
        shown = _tell(_add_logs(ends) - log(len(STAKES)), needed)
        if shown is None:
            capital, whole = _bet_on_better([Pairs(wins + losses, wins, losses)])
            shown = capital * error >= whole * _BASEL * attempt**2
        if shown:
            return place
    return None


def is_worse(course: Sequence[Pairs], error: int) -> bool:
    """Whether a course has shown that its checkpoints, from one of them on, are worse than the
    milestone.

    A part of the capital is bet from each checkpoint on: good checkpoints would otherwise hide a
    fall behind them, whose losses would first have to outweigh their wins.

    Args:
        course: as of `is_better`.
        error: α of a course, 1e-6; from 1 to 999,999.
    """
    held, waiting = [], _WHOLE
    wins, losses = sum(one.wins for one in course), sum(one.losses for one in course)
    for number, one in enumerate(course, 1):
        part = _WHOLE // (number * (number + 1))
        held += [log(part / len(STAKES)) + losses * gain + wins * lost for gain, lost in _LOGS]
        waiting -= part
        wins, losses = wins - one.wins, losses - one.losses
    capital_log = _add_logs([*held, log(waiting)]) - log(_WHOLE)
    if (sign := _tell(capital_log, log(RATE / error))) is not None:
        return sign
    capital, whole = _bet_on_worse(course)
    return capital * error >= whole * RATE


def _tell(capital: float, needed: float) -> bool | None:
    """Which of two logarithms is larger; None: they are so close that rounding may decide. A
    manifest's counts have logarithms below 10^6, known to better than 10^-8."""
    return None if abs(capital - needed) < _CLOSE else capital > needed


def _add_logs(logs: Sequence[float]) -> float:
    """The logarithm of a sum of positive numbers."""
    most = max(logs)
    return most + log(sum(exp(one - most) for one in logs))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a bettor has made of a capital of 1, and what decides; all in thousandths."""

    better: int
    better_needed: int
    worse: int
    worse_needed: int


def measure_evidence(
    course: Sequence[Pairs], attempt: int, error_better: int, error_worse: int
) -> Evidence:
    """How far a course is from being better or worse, for people: all of it rounded down. Whether
    it is reached, `is_better` and `is_worse` say.

    Args:
        course, attempt: as of `is_better`.
        error_better, error_worse: as of `is_better` and `is_worse`.
    """
    (better, all_better), (worse, all_worse) = _bet_on_better(course), _bet_on_worse(course)
    return Evidence(
        better * 1_000 // all_better,
        _BASEL * attempt**2 * 1_000 // error_better,
        worse * 1_000 // all_worse,
        RATE * 1_000 // error_worse,
    )


def bound_gain(course: Sequence[Pairs], error: int) -> tuple[int, int]:
    """Bounds of the mean gain of a course's checkpoints over the other one, in thousandths.

    The gain is the probability to solve a problem less the other's; its mean is over all problems
    asked. The bounds hold with a probability of 1 − α at any one checkpoint, not at all together,
    however the gain changes on the way: a product of factors is at most the power of their mean.

    Args:
        course: counts of every checkpoint.
        error: α of the two bounds together, 1e-6; from 1 to 999,999.
    """
    wins, losses, asked = (
        sum(getattr(one, name) for one in course) for name in ("wins", "losses", "asked")
    )
    ties = asked - wins - losses
    low = _find_surpassed(wins, losses, ties, error)
    high = -_find_surpassed(losses, wins, ties, error)
    return low * 1_000 // _GRID, high * 1_000 // _GRID


def _bet_on_better(course: Sequence[Pairs]) -> tuple[int, int]:
    """What the two bettors have made of a capital, and that capital."""
    wins, losses = sum(one.wins for one in course), sum(one.losses for one in course)
    capital = sum(_bet(stake, wins, losses) for stake in STAKES)
    return capital, len(STAKES) << _BITS * (wins + losses)


def _bet_on_worse(course: Sequence[Pairs]) -> tuple[int, int]:
    """The same, with a part of the capital that is bet from each checkpoint on."""
    parts = [_WHOLE // (number * (number + 1)) for number in range(1, len(course) + 1)]
    held, bits = 0, 0
    for stake in STAKES if course else ():
        _, capital, bits = _bet_from(stake, course, parts)
        held += capital
    waiting = len(STAKES) * (_WHOLE - sum(parts)) << bits
    return held + waiting, len(STAKES) * _WHOLE << bits


def _bet_from(stake: int, course: Sequence[Pairs], parts: Sequence[int]) -> tuple[int, int, int]:
    """What a stake on losses makes of 1 over a course, and of the parts that are bet from each
    checkpoint on; both times 2 to the third number. By halves, so that a long course of many pairs
    takes a second, not minutes."""
    if len(course) == 1:
        one = course[0]
        made = _bet(stake, one.losses, one.wins)
        return made, parts[0] * made, _BITS * (one.wins + one.losses)
    half = len(course) // 2
    first, held, before = _bet_from(stake, course[:half], parts[:half])
    then, begun, behind = _bet_from(stake, course[half:], parts[half:])
    return first * then, held * then + (begun << before), before + behind


def _bet(stake: int, wins: int, losses: int) -> int:
    """What a stake of so many sixteenths makes of 1, in 16^-(wins + losses)."""
    return _raise(_PARTS + stake, wins) * _raise(_PARTS - stake, losses)


def _raise(base: int, exponent: int) -> int:
    power: int = base**exponent
    return power


def _find_surpassed(wins: int, losses: int, ties: int, error: int) -> int:
    """The largest gain, in 1/200, that the mean is shown to exceed with an error of α/2; -200, the
    least that there is, where nothing is shown."""
    whole = _PARTS * _GRID
    bound = 2 * RATE * len(STAKES) * _raise(whole, wins + losses + ties)

    def is_not_shown(gain: int) -> bool:
        capital = sum(
            _raise(whole + stake * (_GRID - gain), wins)
            * _raise(whole - stake * (_GRID + gain), losses)
            * _raise(whole - stake * gain, ties)
            for stake in STAKES
        )
        return capital * error < bound

    gains = range(-_GRID, _GRID)
    return max(-_GRID, -_GRID - 1 + bisect_left(gains, True, key=is_not_shown))
