"""Figures of an evaluation: pass@k, maj@k and their 95 % intervals over problems.

    pass@k   the mean over problems of 1 − C(n − c, k) / C(n, k), for c right ones of n samples: the
             unbiased estimator of Chen et al. (2021). pass@1 is the mean of c / n
    maj@k    the share of problems for which the most frequent answer of the first k samples is
             right. Samples without an answer do not vote; of equally frequent answers, the one
             that was drawn first wins

An interval treats the problems as a sample, and the samples of one problem as one observation. If
each problem's value is 0 or 1, it is the score interval of Wilson (1927). Otherwise it is the
percentile bootstrap over problems: the 2.5 % and 97.5 % quantiles of the means of 10,000 resamples,
drawn by numpy's PCG64 from seed 0.

A bootstrap knows only the values that it has seen: of equal ones it makes an interval of no width.
So where fewer than 10 problems differ from the most frequent value, the interval is Wilson's of the
mean, as if each problem's value were 0 or 1. That is conservative: of all values from 0 to 1 with
one mean, those have the largest variance.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np

from assay.environments.levels import compute_score_interval

#: Resamples of a bootstrap, its seed, and the fewest problems that must differ from the others.
RESAMPLES, SEED, DIFFERENT = 10_000, 0, 10
WILSON, WILSON_MEAN, BOOTSTRAP = "wilson", "wilson-mean", "bootstrap"


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over problems with its 95 % interval, all 0 to 1, and the interval's method."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scorer says of one completion. answer: equal for equal answers; None: it has none."""

    answer: Hashable
    is_right: bool


def compute_pass(samples: int, right: int, k: int) -> Fraction:
    """The unbiased estimate of pass@k of one problem.

    Raises:
        ValueError: not 1 ≤ k ≤ samples and 0 ≤ right ≤ samples.
    """
    if not (1 <= k <= samples and 0 <= right <= samples):
        raise ValueError(f"pass@{k} of {right} right ones of {samples} samples")
    return 1 - Fraction(comb(samples - right, k), comb(samples, k))


def has_majority(outcomes: Sequence[Outcome]) -> bool:
    """Whether the most frequent answer is right, see `maj@k`."""
    votes = Counter(each.answer for each in outcomes if each.answer is not None)
    if not votes:
        return False
    winner, _ = votes.most_common(1)[0]  # of equals, the first
    return next(each.is_right for each in outcomes if each.answer == winner)


def list_ks(samples: int) -> list[int]:
    """The numbers k for which figures are given: powers of two, and the number of samples."""
    return sorted({1 << power for power in range(samples.bit_length())} | {samples})


def estimate_mean(values: Sequence[Fraction | bool]) -> Figure:
    """The mean of one value for each problem, at least one, with its interval."""
    total, count = sum(values, Fraction(0)), len(values)
    classes = Counter(values)
    is_binary = classes.keys() <= {0, 1}
    if is_binary or count - max(classes.values()) < DIFFERENT:
        value = float(total / count)
        low, high = compute_score_interval(value, count)
        return Figure(value, low, high, WILSON if is_binary else WILSON_MEAN)
    # equal to drawing problems one by one, and as fast for a large suite as for a small one
    shares = np.array([number / count for number in classes.values()])
    drawn = np.random.default_rng(SEED).multinomial(count, shares, RESAMPLES)
    means = drawn @ np.array([float(value) for value in classes]) / count
    low, high = np.quantile(means, (0.025, 0.975))
    return Figure(float(total / count), float(low), float(high), BOOTSTRAP)
