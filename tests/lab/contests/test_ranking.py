"""The order of contestants, and the ranks that each may have."""

import pytest

from assay.lab.contests.ranking import PairTally, compare_pairs, rank


def test_a_ladder_has_one_rank_each():
    tallies = {(a, b): PairTally(wins=30, losses=0, ties=70) for a, b in ((0, 1), (0, 2), (1, 2))}
    results = compare_pairs(tallies)
    assert [result.winner for result in results] == [0, 0, 1]
    assert [(one.place, one.best, one.worst) for one in rank(results, 3)] == [
        (0, 1, 1), (1, 2, 2), (2, 3, 3)
    ]  # fmt: skip


def test_those_that_chance_explains_share_their_ranks():
    tallies = {
        (0, 1): PairTally(wins=12, losses=8, ties=80),
        (0, 2): PairTally(wins=0, losses=40, ties=60),
        (1, 2): PairTally(wins=0, losses=40, ties=60),
    }
    ranked = rank(compare_pairs(tallies), 3)
    assert [(one.place, one.best, one.worst) for one in ranked] == [(2, 1, 1), (0, 2, 3), (1, 2, 3)]
    assert [one.halves for one in ranked] == [280, 2 * 12 + 80 + 60, 2 * 8 + 80 + 60]


def test_a_circle_is_shown_as_one():
    """Each is better than the next: no ranking holds, and none is claimed."""
    tallies = {(0, 1): PairTally(50), (1, 2): PairTally(50), (0, 2): PairTally(0, 50)}
    ranked = rank(compare_pairs(tallies), 3)
    assert [(one.best, one.worst) for one in ranked] == [(2, 2)] * 3
    assert {one.halves for one in ranked} == {100}


@pytest.mark.parametrize("contestants", [2, 8, 32])
def test_more_contestants_ask_for_more_evidence(contestants):
    """Nine wins of nine: 2^-9 on one side, over twice as many hypotheses as there are pairs."""
    tallies = {
        (a, b): PairTally(9 * (a == 0 and b == 1), 0, 91)
        for a in range(contestants)
        for b in range(a + 1, contestants)
    }
    first, *others = compare_pairs(tallies)
    hypotheses = contestants * (contestants - 1)
    assert first.adjusted == min(1, first.alone / 2 * hypotheses)
    assert first.winner == (0 if contestants == 2 else None)
    assert all(other.winner is None for other in others)
