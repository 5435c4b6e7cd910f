"""Cheating does not pay: the claim of section 9, swept over a cheat's choices."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from assay.protocol.parameters import MAIN_WORK
from assay.protocol.selection import select_groups, select_rollouts
from tests.lab.gauntlet.incentives import (
    WINDOWS,
    Fake,
    compute_adaptive_gain,
    compute_expected_gain,
    compute_expected_income,
    compute_largest_lift,
    compute_window_gain,
    compute_window_pay,
)

#: Parameters by which a completion's work is its tokens.
FLAT = replace(MAIN_WORK, position_share=0)
#: Costs of a faked window, with 1 for a genuine one.
COSTS = [0.001, 0.01, 0.1, 0.3, 0.6, 0.8, 0.95]
PRICES = [0.0, 0.02, 0.1, 0.5, 0.9]


@pytest.mark.parametrize("cost", COSTS)
def test_cheating_loses_where_detection_exceeds_the_bound(cost: float) -> None:
    bound = 1 - cost ** (1 / WINDOWS)
    detections = [
        d for d in (bound + 1e-3, 2 * bound, 0.05, 0.1, 0.2, 0.5, 0.9, 1.0) if bound < d <= 1
    ]
    assert detections
    for detection, cheating, price in product(detections, range(1, WINDOWS + 1), PRICES):
        assert compute_expected_gain(cheating, cost, detection, price) < 0


@pytest.mark.parametrize("cost", COSTS)
def test_the_bound_is_no_larger_than_it_must_be(cost: float) -> None:
    below = (1 - cost ** (1 / WINDOWS)) * 0.95
    assert compute_expected_gain(WINDOWS, cost, below) > 0


def find_bound(cost: float, *, withholds: bool) -> float:
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        gains = compute_expected_gain(WINDOWS, cost, middle, withholds=withholds) > 0
        low, high = (middle, high) if gains else (low, middle)
    return high


def test_the_figures_of_section_9() -> None:
    assert round(find_bound(0.6, withholds=False), 3) == 0.042
    assert round(find_bound(0.6, withholds=True), 3) == 0.106


@pytest.mark.parametrize("cost", COSTS)
def test_withholding_what_the_audit_has_hit_helps_but_does_not_save(cost: float) -> None:
    bound = find_bound(cost, withholds=True)
    assert bound >= find_bound(cost, withholds=False)
    for detection in (bound + 1e-3, (1 + bound) / 2, 1.0):
        if detection <= 1:
            assert compute_expected_gain(WINDOWS, cost, detection, withholds=True) < 0


#: Length of a fake, a genuine rollout having 1: rewarded ones of a token, and junk up to max_tokens
#: where completions have a hundredth of it on average.
LENGTHS = [0.01, 0.1, 0.5, 1, 4, 17, 41, 100]
#: First some of each kind: all are audited, all but some are valued, some are not seen.
GROUPS = [1, 12, 16, 17, 48, 256, 2, 3, 5, 8, 24, 1_024]


def iterate_fakes(groups: int) -> Iterator[tuple[int, Fake]]:
    """A rollout, a stretch, a group; few groups and all; with and without rewards written in."""
    shares = {1, 2, 3, *(groups // part for part in (48, 24, 8, 4, 2)), 3 * groups // 4, groups}
    for faked in sorted(share for share in shares if 1 <= share <= groups):
        for rollouts, length in product((1, 2, 3, 4, 6, 8, 12, 15, 16), LENGTHS):
            for lift in (0.0, LIFTS[rollouts]):
                yield faked, Fake(rollouts, length, lift)


LIFTS = {rollouts: compute_largest_lift(MAIN_WORK, rollouts) for rollouts in range(1, 17)}


@pytest.mark.parametrize("groups", GROUPS)
def test_no_fake_gains_within_one_window(groups: int) -> None:
    """Without the settlement, and all compute that was saved counted at full pay."""
    gains = (compute_window_gain(MAIN_WORK, groups, *fake) for fake in iterate_fakes(groups))
    assert max(gains) < 1e-9


def test_the_purpose_of_each_part_of_the_audit() -> None:
    """Without draws by tokens long junk would pay, without uniform ones short fakes with rewards
    written into them."""
    long, short = Fake(8, 41), Fake(4, 0.01, LIFTS[4])
    all_by_tokens = replace(MAIN_WORK, valued_groups=MAIN_WORK.audited_rollouts)
    assert compute_window_gain(all_by_tokens, 16, 16, short) > 0.1
    assert compute_window_gain(all_by_tokens, 1_024, 1_024, short) > 0.1
    assert compute_window_gain(MAIN_WORK, 1_024, 1_024, short) < 0

    class Uniform(Fake):
        def compute_miss(self, size: int, looked: int, *, valued: bool) -> float:
            return super().compute_miss(size, looked, valued=False)

    gains = [
        compute_window_gain(MAIN_WORK, 1_024, faked, Uniform(1, long.length)) for faked in range(64)
    ]
    assert max(gains) > 0
    assert compute_window_gain(MAIN_WORK, 1_024, 21, long) < 0


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("rollouts", range(1, 17))
def test_a_valued_group_pays_its_genuine_tokens(rollouts: int, length: float) -> None:
    """Its value times the chance that no fake of it is seen: the law behind the test above."""
    fake = Fake(rollouts, length)
    expected = fake.compute_value(16) * fake.compute_miss(16, 1, valued=True)
    assert expected == pytest.approx((16 - rollouts) / 16)


def test_the_chance_that_an_audit_finds_something() -> None:
    def find(groups: int, faked: int, rollouts: int = 16) -> float:
        return compute_window_pay(MAIN_WORK, groups, faked, Fake(rollouts, 1.0))[1]

    assert find(1_024, 0) == pytest.approx(0)
    assert find(1_024, 1_024) == 1
    assert all(find(groups, groups // 4) >= 0.99 for groups in (64, 256, 1_024))
    worst = min(find(1_024, 1_024 * 16 // (48 * j), j) for j in (1, 2, 4, 8, 16))
    assert worst >= 0.28
    assert 1 - (1 - worst) ** WINDOWS >= 0.98
    # where all rollouts of all groups are looked at
    assert find(1, 1, 1) == pytest.approx(1)
    assert find(2, 1, 1) == pytest.approx(0.5)


@pytest.mark.parametrize("groups", GROUPS)
def test_the_sum_is_what_a_simulated_audit_gives(groups: int) -> None:
    """The selection itself, over audit seeds."""
    faked, fake = max(1, groups // 3), Fake(2, 3.0)
    work, hotkey, found, paid = MAIN_WORK, bytes(32), 0, 0.0
    lengths = [3] * fake.rollouts + [1] * (work.group_size - fake.rollouts)
    count = 2_000
    for number in range(count):
        seed = number.to_bytes(32, "big")
        chosen = select_groups(seed, hotkey, groups, work)
        hit = any(
            min(select_rollouts(seed, hotkey, group, lengths, FLAT)) < fake.rollouts
            for group in chosen
            if group.index < faked
        )
        values = [
            fake.compute_value(work.group_size) if group.index < faked else 1.0
            for group in chosen
            if group.valued
        ]
        found += hit
        paid += 0.0 if hit else sum(values) / len(values)
    pay, chance = compute_window_pay(work, groups, faked, fake)
    # five standard deviations of a binomial, and as much for a pay of at most 2
    room = 5 * (chance * (1 - chance) / count) ** 0.5 + 1e-9
    assert found / count == pytest.approx(chance, abs=room)
    assert paid / count == pytest.approx(pay, abs=2 * room)


@pytest.mark.parametrize("fraction", [1 / 24, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0])
@pytest.mark.parametrize("seen", [0.5, 0.9, 1.0])
def test_faking_any_fraction_of_each_window_loses(fraction: float, seen: float) -> None:
    """f of 24 groups faked for next to nothing, in as many windows as it likes."""
    _, found = compute_window_pay(MAIN_WORK, 24, round(24 * fraction), Fake(16, 1.0, seen=seen))
    cost = max(1 - fraction, 0.01)
    for cheating, price, withholds in product(range(1, WINDOWS + 1), PRICES, (False, True)):
        gain = compute_expected_gain(cheating, cost, found, price, withholds=withholds)
        # a whole window faked for nothing and hidden when hit: resting for one, and a ticket
        # worth (1 - detection) windows
        idle = withholds and cheating == 1 and fraction == 1
        ticket = (1 - found) / (WINDOWS - 1) + 1e-9 if idle else 0.0
        assert gain < ticket, (cheating, price, withholds)


def test_losing_the_window_alone_would_let_cheats_live() -> None:
    """The whole settlement is at stake because one window would be too cheap to lose."""
    cost, detection = 0.6, 0.2
    assert compute_expected_gain(WINDOWS, cost, detection) < 0
    income = compute_expected_income(WINDOWS, detection, kept=1.0)
    assert income / cost > 1


def test_an_honest_miner_gains_nothing_and_loses_nothing() -> None:
    assert compute_expected_gain(0, 0.5, 0.9) == 0


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize(("price", "eased"), [(0.0, 1.0), (0.1, 1 / 1.1), (0.5, 1 / 1.5)])
def test_the_best_cheat_that_watches_the_audit_loses_above_its_bound(
    cost: float, price: float, eased: float
) -> None:
    """It fakes until it is hit, hides that once, and rests: a fake must be hit more often than it
    saves. A price of registration, lost with the settlement, lowers the bound."""
    bound = (1 - cost) * eased
    assert compute_adaptive_gain(cost, min(bound + 2e-3, 1.0), price) < 1e-6
    if bound > 4e-3:
        assert compute_adaptive_gain(cost, bound - 2e-3, price) > 0


def test_adapting_is_worth_more_than_any_fixed_plan() -> None:
    for cost, detection in ((0.6, 0.2), (0.3, 0.5), (0.1, 0.8)):
        fixed = max(
            compute_expected_gain(cheating, cost, detection, withholds=withholds)
            for cheating in range(WINDOWS + 1)
            for withholds in (False, True)
        )
        assert compute_adaptive_gain(cost, detection) > fixed > 0


def make_lengths(name: str) -> NDArray[np.float64]:
    """Tokens of 2,000 completions."""
    rng = np.random.default_rng(3)
    if name == "log-normal":
        return np.clip(rng.lognormal(np.log(500), 0.8, 2_000), 1, 4_096)
    return np.where(rng.random(2_000) < 0.01, 4_096.0, np.clip(rng.gamma(4, 60, 2_000), 1, 4_096))


def compute_best_drop(lengths: NDArray[np.float64], paid: float, late: float) -> float:
    """The largest gain of a window in which one end token replaces a share of the completions
    within bounds, whose lengths are known beforehand.

    Args:
        paid, late: what each own token before it adds to a token's pay and cost.
    """
    before = lengths * (lengths - 1) / 2
    pay, cost = lengths + paid * before, lengths + late * before
    uniform = MAIN_WORK.audited_rollouts - MAIN_WORK.valued_groups
    edges = [0, *np.quantile(lengths, [0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.985]), 4_096]
    best = -1.0
    for low, high, share in product(edges, edges, (0.01, 0.1, 0.3, 1.0)):
        dropped = share * ((low < lengths) & (lengths <= high))
        if 0 < dropped.mean() < 1:
            kept = 1 - (dropped * pay).sum() / pay.sum()
            spent = 1 - (dropped * cost).sum() / cost.sum()
            best = max(best, kept * (1 - dropped.mean()) ** uniform / spent - 1)
    return best


@pytest.mark.parametrize("name", ["log-normal", "bimodal"])
def test_no_drop_gains_up_to_the_cost_that_is_paid(name: str) -> None:
    """Late tokens as dear as `position_share` pays them, or less. Dearer ones, or pay by tokens
    alone, would let a miner gain by dropping long completions."""
    lengths, paid = make_lengths(name), MAIN_WORK.position_share / 10**6
    for part in (0.0, 0.1, 0.3, 0.5, 0.8, 1.0):
        assert compute_best_drop(lengths, paid, part * paid) < 0
    if name == "bimodal":
        assert compute_best_drop(lengths, 0.0, paid) > 0.1
        assert compute_best_drop(lengths, paid, 20 * paid) > 0


@pytest.mark.parametrize("name", ["log-normal", "bimodal"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_what_a_drop_saves_beyond_its_pay(name: str, part: float) -> None:
    """The bound of docs/security.md, reached at E[T(T − 1)/2] / E[T], and small enough."""
    lengths, paid = make_lengths(name), MAIN_WORK.position_share / 10**6
    late, first = part * paid, lengths.mean()
    second = (lengths * (lengths - 1) / 2).mean()
    places = np.arange(1.0, 4_097)
    before = places * places / 2
    saved = (places + late * before) / (first + late * second)
    saved -= (places + paid * before) / (first + paid * second)
    top = second / first
    most = (paid - late) * top**2 / 2 / first / (1 + paid * top) / (1 + late * top)
    assert saved.max() == pytest.approx(most, rel=1e-3)
    assert abs(places[saved.argmax()] - top) <= 1
    assert most <= top / (2 * first) < 2.7
