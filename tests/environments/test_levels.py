"""The levels of the next checkpoint: they climb with the model, step by step, and do not swing."""

import random

import pytest

from assay.environments import Success, compute_levels, find_undecided

LEGAL = range(1, 13)


def all_of(levels: tuple[int, ...], thousandths: int, asked: int = 1_000) -> dict[int, Success]:
    return {level: Success(asked * thousandths // 1_000, asked) for level in levels}


@pytest.mark.parametrize(
    ("levels", "thousandths", "expected"),
    [
        ((5, 6), 700, (6, 7)),
        ((5, 6), 699, (5, 6)),
        ((5, 6), 400, (5, 6)),
        ((5, 6), 151, (5, 6)),
        ((5, 6), 150, (4, 5)),
        ((5, 6), 0, (4, 5)),
        ((11, 12), 1_000, (11, 12)),
        ((1, 2), 0, (1, 2)),
        ((3,), 900, (4,)),
        ((2, 5), 900, (3, 6)),
        (tuple(LEGAL), 900, tuple(LEGAL)),
    ],
)
def test_a_run_moves_by_one_level(
    levels: tuple[int, ...], thousandths: int, expected: tuple[int, ...]
) -> None:
    assert compute_levels(levels, LEGAL, all_of(levels, thousandths)) == expected


def test_too_few_problems_conclude_nothing() -> None:
    assert compute_levels((5, 6), LEGAL, {5: Success(199, 199)}) == (5, 6)
    assert compute_levels((5, 6), LEGAL, {5: Success(200, 200)}) == (6, 7)
    assert compute_levels((5, 6), LEGAL, {}) == (5, 6)
    assert compute_levels((5, 6), LEGAL, {9: Success(900, 900)}) == (5, 6)  # another level's


def test_levels_of_a_run_count_together() -> None:
    assert compute_levels((5, 6), LEGAL, {5: Success(500, 500), 6: Success(190, 500)}) == (5, 6)
    assert compute_levels((5, 6), LEGAL, {5: Success(500, 500), 6: Success(200, 500)}) == (6, 7)


def test_parts_of_a_mixture_move_by_themselves() -> None:
    legal = (*range(1_001, 1_013), *range(2_001, 2_009))
    seen = {1_005: Success(900, 1_000), 2_004: Success(10, 1_000)}
    assert compute_levels((1_005, 2_004), legal, seen) == (1_006, 2_003)
    top = {1_012: Success(1_000, 1_000), 2_001: Success(400, 1_000)}
    assert compute_levels((1_012, 2_001), legal, top) == (1_012, 2_001)


def test_an_environment_of_one_level_stays_where_it_is() -> None:
    for thousandths in (0, 1_000):
        assert compute_levels((1,), (1,), all_of((1,), thousandths)) == (1,)
    assert find_undecided((1,), (1,), {}) == ()


def test_levels_that_too_few_problems_decide_are_named() -> None:
    legal = (*range(1_001, 1_013), 2_001, *range(3_001, 3_009))
    seen = {1_005: Success(90, 100), 1_006: Success(10, 100), 3_001: Success(0, 199)}
    assert find_undecided((1_005, 1_006, 2_001, 3_001), legal, seen) == (3_001,)


def test_gaps_in_what_is_legal_are_stepped_over() -> None:
    assert compute_levels((1,), (1, 3, 7), {1: Success(900, 900)}) == (3,)
    assert compute_levels((7,), (1, 3, 7), {7: Success(0, 900)}) == (3,)


def test_noise_does_not_swing_them() -> None:
    """A model that solves 60 % of the run in force and 40 % of the next, asked 300 problems."""
    chance, levels, moves = random.Random(1), (4, 5), 0
    rate = {3: 0.9, 4: 0.7, 5: 0.5, 6: 0.3}
    for _ in range(1_000):
        seen = {
            level: Success(sum(chance.random() < rate[level] for _ in range(150)), 150)
            for level in levels
        }
        following = compute_levels(levels, range(1, 7), seen)
        moves += following != levels
        levels = following
    assert moves <= 1


@pytest.mark.parametrize("levels", [(), (0,), (13,), (6, 5), (5, 5)])
def test_illegal_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="level"):
        compute_levels(levels, LEGAL, {})


@pytest.mark.parametrize(("solved", "asked"), [(-1, 5), (6, 5)])
def test_impossible_counts(solved: int, asked: int) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Success(solved, asked)
