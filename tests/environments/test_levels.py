"""The levels of the next checkpoint: those that teach, and no others, whatever else is solved."""

import random
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.levels import (
    PROBLEMS_MIN,
    TEACHING,
    WIDTH,
    Success,
    compute_candidates,
    compute_levels,
    find_undecided,
)
from assay.environments.registry import make_environment
from assay.environments.steering import list_standings
from assay.protocol.manifest import (
    LEVELS_MAX,
    HeldOutCounts,
    LevelSuccess,
    LevelWeight,
    LevelWeights,
    Manifest,
)

LEGAL = range(1, 13)


def part(mixed: int, solved: int = 50) -> Success:
    """Results on a hundred problems."""
    return Success(solved, 100, mixed)


def test_levels_that_teach_are_in_force_and_no_others() -> None:
    assert compute_levels((5, 6), LEGAL, {4: part(45), 5: part(44), 6: part(40)}) == (4, 5, 6)
    assert compute_levels((5, 6), LEGAL, {4: part(36), 5: part(10), 6: part(40)}) == (4, 6)
    assert compute_levels((4, 5, 6), LEGAL, {k: part(40) for k in range(3, 8)}) == (5, 6, 7)


def test_a_mean_of_a_half_teaches_nothing_where_no_problem_is_undecided() -> None:
    """Half of the problems always solved, half never: a level's success does not show that."""
    assert compute_levels((6,), LEGAL, {5: part(0, 100), 6: part(40), 7: part(0, 50)}) == (6,)
    assert compute_levels((6, 7), LEGAL, {5: part(30, 80), 6: part(40), 7: part(0, 50)}) == (6,)


def test_a_level_beside_is_entered_where_it_teaches_and_not_before() -> None:
    """A cliff: the level in force is nearly solved, and nothing of the next level is."""
    assert compute_levels((6,), LEGAL, {5: part(5, 97), 6: part(18, 90), 7: part(0, 0)}) == (6,)
    assert compute_levels((6,), LEGAL, {5: part(5, 97), 6: part(9, 95), 7: part(12, 6)}) == (7,)


def test_wholly_solved_levels_lead_upward_and_unsolved_ones_downward() -> None:
    for solved, expected in ((100, (7,)), (0, (4,))):
        seen = {level: part(0, solved) for level in range(4, 8)}
        assert compute_levels((5, 6), LEGAL, seen) == expected


def test_too_few_problems_conclude_nothing() -> None:
    few, enough = PROBLEMS_MIN - 1, PROBLEMS_MIN
    assert compute_levels((5,), LEGAL, {5: Success(few, few), 6: Success(12, few, few)}) == (5,)
    assert compute_levels((5,), LEGAL, {5: Success(few, few), 6: Success(9, 24, 12)}) == (5, 6)
    assert compute_levels((5,), LEGAL, {5: Success(enough, enough), 6: Success(9, 24, 12)}) == (6,)
    assert compute_levels((5, 6), LEGAL, {}) == (5, 6)
    assert compute_levels((5, 6), LEGAL, {9: part(45)}) == (5, 6)  # far from what is in force
    assert find_undecided((5, 6), LEGAL, {5: part(0), 6: Success(few, few)}) == (6,)


def test_parts_of_a_mixture_move_by_themselves() -> None:
    legal = (*range(1_001, 1_013), *range(2_001, 2_009), 3_001)
    seen = {1_005: part(2, 99), 1_006: part(45, 60), 2_004: part(1, 1), 2_003: part(40, 30)}
    assert compute_levels((1_005, 2_004, 3_001), legal, seen) == (1_006, 2_003, 3_001)
    assert compute_candidates((1_012, 2_001, 3_001), legal) == (1_011, 1_012, 2_001, 2_002, 3_001)
    # nothing that is seen of one part tells which way another goes
    dead = {1_005: part(0, 100), 1_006: part(0, 100), 2_004: part(0, 0), 2_003: part(0, 0)}
    assert compute_levels((1_005, 2_004), legal, dead) == (1_006, 2_003)


def test_an_environment_of_one_level_stays_where_it_is() -> None:
    for solved in (0, 100):
        assert compute_levels((1,), (1,), {1: part(0, solved)}) == (1,)
    assert find_undecided((1,), (1,), {}) == ()


def test_gaps_in_what_is_legal_are_stepped_over() -> None:
    assert compute_candidates((3,), (1, 3, 7)) == (1, 3, 7)
    seen = {3: part(0, 100), 7: part(36)}
    assert compute_levels((3,), (1, 3, 7), seen) == (7,)


def test_noise_does_not_swing_them() -> None:
    """A hundred problems a level, a run of three that teaches, one on either side that does not. A
    level of the run is lost with 29 mixed or fewer: 4 standard errors, P < 6e-5 each (binomial)."""
    chance = random.Random(1)
    levels, moves = (4, 5, 6), 0
    parting = {3: 0.13, 4: 0.49, 5: 0.5, 6: 0.49, 7: 0.13}
    for _ in range(1_000):
        seen = {
            level: Success(50, 100, sum(chance.random() < rate for _ in range(100)))
            for level, rate in parting.items()
        }
        following = compute_levels(levels, LEGAL, seen)
        moves += following != levels
    assert moves <= 3  # a mean below 0.18: more has P < 1e-4


@given(st.lists(st.tuples(st.integers(0, 64), st.integers(1, 20)), min_size=1), st.integers(8, 32))
def test_teaching_levels_leave_less_than_three_tenths_of_groups_without_signal(
    problems: list[tuple[int, int]], size: int
) -> None:
    """Problems solved with any probabilities, each as often as any weight says: the expected share
    of groups without signal, exactly, is below 30 % wherever two tries part often enough."""
    total = sum(weight for _, weight in problems)
    mixed = silent = Fraction(0)
    for chance, weight in problems:
        p = Fraction(chance, 64)
        mixed += weight * 2 * p * (1 - p) / total
        silent += weight * (p**size + (1 - p) ** size) / total
    assert silent <= 1 - 2 * (1 - Fraction(1, 2 ** (size - 1))) * mixed
    assert mixed < Fraction(TEACHING, 1_000) or silent < Fraction(3, 10)


@given(
    st.dictionaries(st.integers(1, 16), st.sets(st.integers(1, 12), min_size=1), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_next_levels_fit_into_a_manifest(
    runs: dict[int, set[int]], chance: random.Random
) -> None:
    """Legal, ascending, of the same parts, at most 32; and the tried levels fit into a record."""
    legal = tuple(1_000 * part + level for part in range(1, 17) for level in LEGAL)
    levels = tuple(sorted(1_000 * p + k for p, run in runs.items() for k in run))[:LEVELS_MAX]
    candidates = compute_candidates(levels, legal)
    assert set(levels) <= set(candidates) <= set(legal)
    assert len(candidates) <= 3 * LEVELS_MAX
    seen = {}
    for level in candidates:
        asked = chance.choice((0, PROBLEMS_MIN, 100))
        seen[level] = Success(chance.randint(0, asked), asked, chance.randint(0, asked))
    following = compute_levels(levels, legal, seen)
    assert 1 <= len(following) <= LEVELS_MAX
    assert all(a < b for a, b in pairwise(following))
    assert {k // 1_000 for k in following} == {k // 1_000 for k in levels}
    for number in {k // 1_000 for k in levels}:
        before, after = (sum(k // 1_000 == number for k in run) for run in (levels, following))
        assert after <= max(WIDTH, before)


@pytest.mark.parametrize("levels", [(), (0,), (13,), (6, 5), (5, 5)])
def test_illegal_levels(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="level"):
        compute_levels(levels, LEGAL, {})


@pytest.mark.parametrize("counts", [(-1, 5, 0), (6, 5, 0), (5, 5, 6), (5, 5, -1)])
def test_impossible_counts(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="impossible"):
        Success(*counts)


def make_manifest(levels: LevelWeights, before: LevelWeights, held_out: HeldOutCounts) -> Manifest:
    """A manifest of which only the levels matter."""
    none = bytes(32)
    return Manifest(
        3, *[none] * 4, (2,), 48, levels, before, held_out, (0,), 1, 0, 0, none, none, (), none,
        b"\1" * 32, 0,
    )  # fmt: skip


def test_the_standing_of_levels_says_their_share_and_why() -> None:
    mix = make_environment("mix", {"arithmetic": 3, "gsm": 1})
    levels = (LevelWeight(1_004, 1_000), LevelWeight(1_005, 1_000), LevelWeight(2_001, 2_000))
    made = make_manifest(levels, levels[:1], (LevelSuccess(1_004, 30, 64, 20),))
    first, second, third = list_standings(made, mix)
    assert [one.share for one in (first, second, third)] == [300_000, 300_000, 400_000]
    assert first.describe() == (
        "level 1004: 30.0 % of the problems, weight 1 (1 before): of 64 held-out problems 30 were "
        "solved, and two samples differed on 20"
    )
    assert second.describe().endswith("weight 1, as at the start")
    assert {one.share for one in list_standings(made, None)} == {None}
