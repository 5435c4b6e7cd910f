"""Many contestants in order, with the ranks that each may truly have.

For every two contestants, two tests check whose answers win more often, one in each direction. All
tests are corrected together. A contestant's rank is then a range: from one more than the number of
those found better, to the number of those not found worse. All ranges hold at once, except in one
contest in a hundred (Mogstad, Romano, Shaikh & Wilhelm, 2024, section 3). No model of strength such
as Bradley and Terry's is assumed: winning need not be transitive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from assay.lab.contests.sign_test import SIGNIFICANCE, adjust_holm, compute_sign_test, compute_tail


@dataclass(slots=True)
class PairTally:
    """Two contestants on all problems: how often the first, the second and neither was better."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    def count(self, outcome: int) -> None:
        """Count one more problem. `outcome`: 1 the first, -1 the second, 0 neither."""
        self.wins += outcome > 0
        self.losses += outcome < 0
        self.ties += outcome == 0


@dataclass(frozen=True, slots=True)
class PairResult:
    """The result of a tally.

    Attributes:
        first, second: places of the contestants, as they were named.
        alone: p-value of the two-sided sign test on this pair by itself.
        adjusted: the one-sided p-value of the better direction, corrected for all pairs of the
            contest.
        winner: place of the one that is called better; None: neither.
    """

    first: int
    second: int
    tally: PairTally
    alone: Fraction
    adjusted: Fraction
    winner: int | None


@dataclass(frozen=True, slots=True)
class RankedContestant:
    """One contestant's result: half points of all its pairs (two for a win, one for a tie), and the
    ranks that it may have. Rank 1 is the best."""

    place: int
    halves: int
    best: int
    worst: int


def compare_pairs(tallies: Mapping[tuple[int, int], PairTally]) -> list[PairResult]:
    """Every pair's result, in the order of `tallies`."""
    tails = []
    for tally in tallies.values():
        tails += [compute_tail(tally.wins, tally.losses), compute_tail(tally.losses, tally.wins)]
    adjusted = adjust_holm(tails)
    results = []
    for number, ((first, second), tally) in enumerate(tallies.items()):
        forth, back = adjusted[2 * number : 2 * number + 2]
        winner = first if forth <= SIGNIFICANCE else second if back <= SIGNIFICANCE else None
        alone = compute_sign_test(tally.wins, tally.losses)
        results.append(PairResult(first, second, tally, alone, min(forth, back), winner))
    return results


def rank(results: Sequence[PairResult], contestants: int) -> list[RankedContestant]:
    """All contestants, those with most points first. Among equals, the one named first comes
    first."""
    halves, better, worse = ([0] * contestants for _ in range(3))
    for result in results:
        tally = result.tally
        halves[result.first] += 2 * tally.wins + tally.ties
        halves[result.second] += 2 * tally.losses + tally.ties
        if result.winner is not None:
            loser = result.first + result.second - result.winner
            better[loser] += 1
            worse[result.winner] += 1
    ranked = [
        RankedContestant(place, halves[place], 1 + better[place], contestants - worse[place])
        for place in range(contestants)
    ]
    return sorted(ranked, key=lambda one: (-one.halves, one.place))
