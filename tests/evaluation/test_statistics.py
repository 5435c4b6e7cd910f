"""pass@k, maj@k and intervals, beside what they mean."""

from fractions import Fraction
from itertools import combinations
from statistics import NormalDist

import numpy as np
import pytest

from assay.environments.levels import Success
from assay.evaluation.statistics import (
    BOOTSTRAP,
    WILSON,
    WILSON_MEAN,
    Outcome,
    compute_pass,
    estimate_mean,
    has_majority,
    list_ks,
)


@pytest.mark.parametrize(("samples", "right"), [(1, 0), (1, 1), (4, 1), (5, 3), (6, 0), (6, 6)])
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(samples, right):
    marks = [True] * right + [False] * (samples - right)
    for k in range(1, samples + 1):
        drawn = list(combinations(marks, k))
        assert compute_pass(samples, right, k) == Fraction(sum(map(any, drawn)), len(drawn))
    with pytest.raises(ValueError, match="pass@"):
        compute_pass(samples, right, samples + 1)


def test_a_majority_is_of_those_that_answer_and_a_tie_is_the_firsts():
    right, wrong, other = Outcome("7", True), Outcome("8", False), Outcome("9", False)
    none = Outcome(None, False)
    assert has_majority([wrong, right, right])
    assert has_majority([none, none, right])
    assert not has_majority([none, none])
    assert has_majority([right, wrong])
    assert not has_majority([wrong, right])
    assert has_majority([other, wrong, right, right])
    assert list_ks(1) == [1]
    assert list_ks(12) == [1, 2, 4, 8, 12]


def test_an_interval_covers_the_truth_as_often_as_it_says():
    """Two kinds of problems, whose values are 0 and 1, or shares of samples; and problems of which
    hardly any is ever solved."""
    random = np.random.default_rng(7)
    hits = {WILSON: 0, BOOTSTRAP: 0, WILSON_MEAN: 0}
    for _ in range(80):
        chances = random.choice([0.2, 0.8], 60)
        rare = random.choice([0.0, 0.5], 60, p=[0.95, 0.05])
        for samples, drawn, method, truth in (
            (1, chances, WILSON, 0.5),
            (4, chances, BOOTSTRAP, 0.5),
            (2, rare, WILSON_MEAN, 0.025),
        ):
            right = random.binomial(samples, drawn)
            figure = estimate_mean([Fraction(int(each), samples) for each in right])
            assert figure.method == method or method == WILSON_MEAN
            hits[method] += figure.low <= truth <= figure.high
    assert all(68 <= count <= 80 for count in hits.values()), hits


@pytest.mark.parametrize("value", [0, Fraction(1, 4), Fraction(1, 2), 1])
@pytest.mark.parametrize("odd", [0, 1, 9, 10])
def test_equal_values_leave_something_unknown(value, odd):
    """No interval is a point, and the mean is in it. Few other values count for little."""
    values = [Fraction(value)] * 40 + [Fraction(1, 3)] * odd
    figure = estimate_mean(values)
    assert 0 <= figure.low <= figure.value <= figure.high <= 1
    assert figure.high > figure.low
    assert figure.method == (
        BOOTSTRAP if odd == 10 else WILSON if not odd and value in (0, 1) else WILSON_MEAN
    )
    if not odd:
        assert (figure.low, figure.high) == Success(int(40 * value), 40).interval


def test_a_bootstrap_is_near_the_normal_interval_and_the_same_each_time():
    values = [Fraction(number % 5, 4) for number in range(400)]
    figure = estimate_mean(values)
    assert figure == estimate_mean(values[::-1])
    error = np.std([float(value) for value in values]) / 20
    reach = NormalDist().inv_cdf(0.975) * error
    assert figure.value == 0.5
    assert figure.high - figure.low == pytest.approx(2 * reach, rel=0.05)
