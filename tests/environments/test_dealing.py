"""Levels and parts in blocks: in exact proportions, and no prefix much richer than another."""

from collections import Counter
from fractions import Fraction
from itertools import accumulate
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.dealing import (
    BLOCK_MAX,
    count_block,
    deal_block,
    deal_level,
    make_miner_problem,
)
from assay.environments.registry import make_environment
from assay.environments.steering import compute_asked_shares
from assay.protocol.manifest import LevelWeight, start_levels
from tests.environments.conftest import make_seed

#: Shares and their names: two parts of three levels, one level, and shares that no block divides.
SHARES = ([3, 3, 3, 1, 1, 1], [1], [1, 1], [1] * 32, [97, 53, 31, 17], [10**6, 1])
HOTKEY = bytes(32)


@pytest.mark.parametrize("shares", SHARES)
def test_a_block_asks_each_level_as_often_as_its_share(shares: list[int]) -> None:
    total, size = sum(shares), count_block(shares)
    for number in range(20):
        asked = Counter(deal_block(shares, make_seed(number)))
        assert sum(asked.values()) == size
        for place, share in enumerate(shares):
            wanted = Fraction(size * share, total)
            assert wanted - 1 < asked[place] < wanted + 1
            if total <= BLOCK_MAX:
                assert asked[place] == share


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=32), st.binary(min_size=32, max_size=32)
)
def test_any_shares_make_a_block(shares: list[int], seed: bytes) -> None:
    common = gcd(*shares)
    shares = [share // common for share in shares]
    asked = Counter(deal_block(shares, seed))
    assert sum(asked.values()) == count_block(shares)
    for place, share in enumerate(shares):
        assert abs(asked[place] * sum(shares) - share * count_block(shares)) < sum(shares)


@pytest.mark.parametrize("shares", [[97, 53, 31, 17], [130, 1]])
def test_rounded_proportions_are_right_on_average(shares: list[int]) -> None:
    """Every first point is equally likely: over all of them each level is met exactly by its
    share."""
    total = sum(shares)
    met = Counter[int]()
    for first in range(total):
        ends = [BLOCK_MAX * end for end in accumulate(shares)]
        points = [first + total * point for point in range(BLOCK_MAX)]
        met.update(next(k for k, end in enumerate(ends) if point < end) for point in points)
    assert [met[place] for place in range(len(shares))] == [BLOCK_MAX * share for share in shares]


@pytest.mark.parametrize("shares", [[3, 3, 3, 1, 1, 1], [8] * 8, [97, 53, 31, 17], [1, 63]])
def test_a_block_spreads_every_stretch_of_levels(shares: list[int]) -> None:
    """The first problems of a block hold each level, and each run of neighbouring levels such as a
    part's, by its share: to within three problems."""
    total = sum(shares)
    for number in range(10):
        block = deal_block(shares, make_seed(number))
        for low in range(len(shares)):
            for high in range(low, len(shares)):
                share = Fraction(sum(shares[low : high + 1]), total)
                met = 0
                for count, level in enumerate(block, 1):
                    met += low <= level <= high
                    assert abs(met - count * share) < 3


def test_a_first_problem_is_of_each_level_by_its_share() -> None:
    """Five standard deviations of a binomial, and the seeds are fixed."""
    first = Counter(deal_block([3, 1], make_seed(i))[0] for i in range(1_000))
    assert abs(first[0] - 750) < 5 * (1_000 * 3 / 16) ** 0.5


def test_shares_of_a_mixture() -> None:
    mix = make_environment("mix", {"arithmetic": 3, "gsm": 1, "sat": 2})
    assert mix.compute_shares([1_004, 1_006, 2_002]) == [3, 3, 2]
    assert mix.compute_shares([1_004, 1_005, 1_006, 3_007]) == [1, 1, 1, 2]
    assert mix.compute_shares([1_004]) == [1]
    assert make_environment("sat", {}).compute_shares([5, 9]) == (1, 1)


def test_a_miners_problem_is_the_environments_at_the_level_dealt() -> None:
    mix = make_environment("mix", {"arithmetic": 3, "gsm": 1})
    levels = start_levels((1_004, 1_006, 2_002))
    problems = [make_miner_problem(mix, make_seed(1), HOTKEY, i, levels) for i in range(16)]
    dealt = [deal_level(mix, make_seed(1), HOTKEY, i, levels) for i in range(16)]
    assert [problem.level for problem in problems] == dealt
    assert Counter(dealt[:8]) == Counter(dealt[8:]) == {1_004: 3, 1_006: 3, 2_002: 2}
    assert len({problem.prompt for problem in problems}) == 16
    for other in ((make_seed(2), HOTKEY), (make_seed(1), b"\x01" * 32)):
        asked = [deal_level(mix, *other, i, levels) for i in range(64)]
        assert asked != [deal_level(mix, make_seed(1), HOTKEY, i, levels) for i in range(64)]


@pytest.mark.parametrize("levels", [(), (1_006, 1_004), (3_001,)])
def test_levels_that_are_not_legal(levels: tuple[int, ...]) -> None:
    mix = make_environment("mix", {"arithmetic": 3, "gsm": 1})
    with pytest.raises(ValueError, match="levels"):
        make_miner_problem(mix, make_seed(1), HOTKEY, 0, start_levels(levels))


def test_weights_in_force_multiply_the_shares() -> None:
    mix = make_environment("mix", {"arithmetic": 3, "gsm": 1})
    levels = tuple(map(LevelWeight, (1_004, 1_006, 2_002), (500, 1_500, 2_000)))
    assert compute_asked_shares(mix, levels) == [3, 9, 8]
    dealt = [deal_level(mix, make_seed(1), HOTKEY, index, levels) for index in range(20)]
    assert Counter(dealt) == {1_004: 3, 1_006: 9, 2_002: 8}
    # as the network begins, the settings alone decide
    assert compute_asked_shares(mix, start_levels((1_004, 1_006, 2_002))) == [3, 3, 2]
    with pytest.raises(ValueError, match="no weight"):  # as a stranger's manifest may say
        compute_asked_shares(mix, tuple(map(LevelWeight, (1_004, 1_006), (0, 0))))
