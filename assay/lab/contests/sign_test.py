"""The exact sign test on paired answers, and Holm's correction of many. Rational numbers: the same
everywhere.

This module does not know who was compared, nor by whom.
"""

from collections.abc import Sequence
from fractions import Fraction

#: Largest probability that a contest calls a contestant better that is not. A convention of the
#: field for few comparisons; a larger one finds smaller differences and errs more often.
SIGNIFICANCE = Fraction(1, 100)


def compute_tail(wins: int, losses: int) -> Fraction:
    """P(X ≥ wins) for X ~ Binomial(wins + losses, 1/2): the one-sided p-value of the sign test
    (Dixon & Mood, 1946) against "wins no more often than it loses". Ties carry no evidence and are
    left out, as in McNemar's exact test."""
    trials = wins + losses
    fewer = min(losses, wins - 1)  # the shorter tail is summed
    term, total = 1, 0
    for count in range(fewer + 1):
        total += term
        term = term * (trials - count) // (count + 1)
    return Fraction(total if fewer == losses else (1 << trials) - total, 1 << trials)


def compute_sign_test(wins: int, losses: int) -> Fraction:
    """The two-sided p-value. It is 1 if neither wins more often."""
    return min(Fraction(1), 2 * compute_tail(max(wins, losses), min(wins, losses)))


def adjust_holm(values: Sequence[Fraction]) -> list[Fraction]:
    """P-values of several hypotheses, each raised just enough that all may be compared with one
    level (Holm, 1979). The probability that any true hypothesis falls below the level is at most
    that level, however the hypotheses depend on each other."""
    adjusted = [Fraction(1)] * len(values)
    largest = Fraction(0)
    for done, place in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        largest = max(largest, (len(values) - done) * values[place])
        adjusted[place] = min(Fraction(1), largest)
    return adjusted
