"""The sign test and Holm's correction, against enumeration and by their laws."""

from fractions import Fraction
from itertools import product
from math import comb

import pytest

from assay.lab.contests.ranking import PairTally, compare_pairs
from assay.lab.contests.sign_test import SIGNIFICANCE, adjust_holm, compute_sign_test, compute_tail


def find_fewest_wins(discordant):
    """The number of wins needed to be called better, out of the problems on which two contestants
    differ."""
    return next(
        (
            wins
            for wins in range((discordant + 1) // 2, discordant + 1)
            if compute_sign_test(wins, discordant - wins) <= SIGNIFICANCE
        ),
        None,
    )


def compute_power(problems, only_better, only_worse):
    """The chance that the better of two is called better if it alone solves a problem with one
    probability and the other alone with another. Exact except for the last bits."""
    parted, power = only_better + only_worse, 0.0
    for n in range(problems + 1):
        fewest = find_fewest_wins(n)
        if fewest is None:
            continue
        share = only_better / parted
        won = sum(comb(n, w) * share**w * (1 - share) ** (n - w) for w in range(fewest, n + 1))
        power += comb(problems, n) * parted**n * (1 - parted) ** (problems - n) * won
    return power


@pytest.mark.parametrize("trials", range(9))
def test_the_tail_is_what_enumeration_counts(trials):
    """The test enumerates all results of that many fair coins."""
    heads = [sum(flips) for flips in product((0, 1), repeat=trials)]
    for wins in range(trials + 1):
        as_many = sum(count >= wins for count in heads)
        assert compute_tail(wins, trials - wins) == Fraction(as_many, 1 << trials)
        far = sum(abs(2 * count - trials) >= abs(2 * wins - trials) for count in heads)
        assert compute_sign_test(wins, trials - wins) == Fraction(far, 1 << trials)


def test_equals_are_told_apart_once_in_a_hundred_at_most():
    """The law behind the level, for every number of problems that part the two: ties do not
    matter, and nothing is approximated."""
    for discordant in range(301):
        fewest = find_fewest_wins(discordant)
        if fewest is None:
            assert discordant < 8
            continue
        ways = sum(comb(discordant, wins) for wins in range(fewest, discordant + 1))
        assert Fraction(2 * ways, 1 << discordant) <= SIGNIFICANCE
    assert find_fewest_wins(8) == 8


def test_many_problems_are_no_matter_of_rounding():
    assert compute_sign_test(10_000, 10_000) == 1
    assert 0 < compute_sign_test(20_000, 0) == Fraction(2, 1 << 20_000)


def test_holm_raises_p_values_as_he_says():
    """His own rule, step by step; and a value that is met later is no smaller."""
    values = [Fraction(n, 1_000) for n in (40, 2, 700, 3)]
    assert adjust_holm(values) == [Fraction(80, 1_000), Fraction(8, 1_000), Fraction(700, 1_000),
                                   Fraction(9, 1_000)]  # fmt: skip
    assert adjust_holm([Fraction(1, 2)] * 3) == [1, 1, 1]
    assert adjust_holm([Fraction(3, 100), Fraction(29, 1_000)])[0] == Fraction(58, 1_000)
    assert adjust_holm([]) == []


def test_one_of_three_equals_is_called_better_once_in_a_hundred_at_most():
    """Three contestants with independent answers to 10 problems that each solves half the time:
    every outcome of three pairs' tests, weighted, by convolution of problems."""
    pairs = ((0, 1), (0, 2), (1, 2))
    moves: dict[tuple[int, ...], int] = {}
    for solved in product((0, 1), repeat=3):
        move = tuple(solved[a] - solved[b] for a, b in pairs)
        moves[move] = moves.get(move, 0) + 1
    ways = {(0,) * 6: 1}
    for _ in range(10):
        after: dict[tuple[int, ...], int] = {}
        for state, count in ways.items():
            for move, weight in moves.items():
                new = list(state)
                for i, sign in enumerate(move):
                    new[2 * i] += sign > 0
                    new[2 * i + 1] += sign < 0
                after[tuple(new)] = after.get(tuple(new), 0) + count * weight
        ways = after
    wrong = sum(
        count
        for state, count in ways.items()
        if any(
            result.winner is not None
            for result in compare_pairs(
                {p: PairTally(state[2 * i], state[2 * i + 1]) for i, p in enumerate(pairs)}
            )
        )
    )
    assert 0 < Fraction(wrong, sum(ways.values())) <= SIGNIFICANCE


#: For two contestants five points apart on 500 problems: percent of problems on which they differ →
#: chance that the better one is called better, percent. docs/contests.md has this table.
POWER = {5: 100, 7: 97, 10: 83, 15: 59, 20: 43, 30: 27, 50: 15}


@pytest.mark.parametrize(
    "parted", [10, 50, *(pytest.param(p, marks=pytest.mark.nightly) for p in (5, 7, 15, 20, 30))]
)
def test_five_points_are_found_with_the_power_that_the_page_says(parted):
    power = compute_power(500, (parted + 5) / 200, (parted - 5) / 200)
    assert round(100 * power) == POWER[parted]
