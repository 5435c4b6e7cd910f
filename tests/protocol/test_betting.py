"""Bets on pairs: bounds are exact, and passed by luck no oftener than they say."""

import doctest
import itertools
from fractions import Fraction
from math import comb
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol import betting
from assay.protocol.betting import (
    Pairs,
    bound_gain,
    find_better,
    is_better,
    is_worse,
    measure_evidence,
)
from assay.protocol.gate import COURSE_FULL
from assay.protocol.parameters import GATE_PROBLEMS_MAX

ALPHA = 50_000
COURSES = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)).map(
        lambda one: Pairs(sum(one), one[0], one[1])
    ),
    max_size=8,
)
RATES = st.integers(1, 999_999)
#: One pair a checkpoint, of which one side solved the problem.
WIN, LOSS = Pairs(1, 1, 0), Pairs(1, 0, 1)


def bet(wins, losses):
    """The mean of what two bettors have, by its definition."""
    kept = [Fraction(j, 16) for j in (3, 5)]
    return sum((1 + j) ** wins * (1 - j) ** losses for j in kept) / 2


def mix(course):
    """The capital against a course, a part bet from each checkpoint on."""
    parts = [Fraction((1 << 32) // (n * (n + 1)), 1 << 32) for n in range(1, len(course) + 1)]
    begun = sum(
        part * bet(sum(p.losses for p in course[n:]), sum(p.wins for p in course[n:]))
        for n, part in enumerate(parts)
    )
    return begun + 1 - sum(parts)


def test_the_examples_hold():
    assert doctest.testmod(betting).failed == 0


@given(COURSES, RATES, st.integers(1, 60))
def test_bounds_are_those_of_their_definition(course, error, attempt):
    alpha = Fraction(error, 10**6)
    needed = Fraction(1_644_935, 10**6) * attempt**2 / alpha
    sums = [
        (sum(p.wins for p in course[:n]), sum(p.losses for p in course[:n]))
        for n in range(1, len(course) + 1)
    ]
    shown = [place for place, pairs in enumerate(sums) if bet(*pairs) >= needed]
    assert find_better(course, attempt, error) == next(iter(shown), None)
    assert is_better(course, attempt, error) == bool(shown)
    assert is_worse(course, error) == (mix(course) >= 1 / alpha)


@given(COURSES, RATES, RATES, st.integers(1, 60))
def test_evidence_is_what_decides_in_thousandths(course, error_better, error_worse, attempt):
    found = measure_evidence(course, attempt, error_better, error_worse)
    wins, losses = sum(p.wins for p in course), sum(p.losses for p in course)
    assert found.better == bet(wins, losses) * 1_000 // 1
    assert found.worse == mix(course) * 1_000 // 1
    assert found.better_needed == Fraction(1_644_935_000 * attempt**2, error_better) // 1
    assert found.worse_needed == Fraction(10**9, error_worse) // 1


def test_a_coin_is_called_better_no_oftener_than_alpha():
    """Exact: of all courses of 60 differing pairs, those that ever pass the bound."""
    error = 200_000
    waiting, passed = {0: 1}, Fraction(0)
    for n in range(1, 61):
        after: dict[int, int] = {}
        for wins, ways in waiting.items():
            for more in (0, 1):
                after[wins + more] = after.get(wins + more, 0) + ways
        for wins in [w for w in after if is_better([Pairs(n, w, n - w)], 1, error)]:
            passed += Fraction(after.pop(wins), 2**n)
        waiting = after
    assert 0 < passed <= Fraction(error, 10**6)


def test_a_coin_is_called_worse_no_oftener_than_alpha():
    """Exact: each of the courses of 12 checkpoints whose one pair differs, read after each."""
    error = 400_000
    called = sum(
        any(is_worse(course[:n], error) for n in range(1, 13))
        for course in itertools.product((WIN, LOSS), repeat=12)
    )
    assert 0 < Fraction(called, 2**12) <= Fraction(error, 10**6)


def test_all_courses_from_a_milestone_share_its_error():
    """The bounds of attempts 1, 2, … are inverse to error rates whose sum is below α."""
    shares = [Fraction(10**6, 1_644_935 * k * k) for k in range(1, 20_000)]
    assert Fraction(99, 100) < sum(shares) < 1
    won = [Pairs(100, 60, 20)]
    passed = [k for k in range(1, 100) if is_better(won, k, ALPHA)]
    assert passed == list(range(1, len(passed) + 1))
    assert 0 < len(passed) < 99


def test_ten_good_checkpoints_do_not_hide_a_fall():
    good, fall = [Pairs(256, 25, 20)] * 10, Pairs(256, 15, 28)
    directly = next(n for n in range(1, 50) if is_worse([fall] * n, ALPHA))
    behind = next(n for n in range(1, 50) if is_worse([*good, *[fall] * n], ALPHA))
    assert directly <= behind <= directly + 3


@given(COURSES, RATES)
def test_bounds_of_the_gain_hold_it(course, error):
    low, high = bound_gain(course, error)
    asked = sum(p.asked for p in course)
    assert -1_000 <= low <= high <= 1_000
    if asked:
        gain = Fraction(sum(p.wins - p.losses for p in course), asked)
        assert low <= 1_000 * gain <= high
    swapped = [Pairs(p.asked, p.losses, p.wins) for p in course]
    assert bound_gain(swapped, error) == (-high, -low)


@pytest.mark.parametrize("gain", [0, 1, 3])
def test_bounds_miss_the_gain_no_oftener_than_alpha(gain):
    """Exact: ten problems, of which each is a win with (3 + gain) / 10, a loss with (3 − gain) /
    10."""
    error, n, missed = 300_000, 10, Fraction(0)
    win, loss = Fraction(3 + gain, 10), Fraction(3 - gain, 10)
    for wins in range(n + 1):
        for losses in range(n + 1 - wins):
            low, high = bound_gain([Pairs(n, wins, losses)], error)
            if not low <= 1_000 * (win - loss) <= high:
                ways = comb(n, wins) * comb(n - wins, losses)
                rest = 1 - win - loss
                missed += ways * win**wins * loss**losses * rest ** (n - wins - losses)
    assert missed <= Fraction(error, 10**6)


def test_the_longest_course_of_the_most_pairs_is_read_in_seconds() -> None:
    """Whoever opens a manifest reads it: no stranger's counts may hold that up."""
    most = [Pairs(GATE_PROBLEMS_MAX, GATE_PROBLEMS_MAX // 2, GATE_PROBLEMS_MAX // 2)] * COURSE_FULL
    began = process_time()
    assert not is_worse(most, 50_000)
    assert not is_better(most, 1, 50_000)
    assert not is_better([Pairs(64, 64, 0)], 0, 50_000)
    assert process_time() - began < 60
