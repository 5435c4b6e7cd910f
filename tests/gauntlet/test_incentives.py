"""Cheating does not pay: the claim of section 9, swept over what a cheat may choose."""

from itertools import product

import pytest

from tests.gauntlet.incentives import (
    WINDOWS,
    compute_adaptive_gain,
    compute_audit_detection,
    compute_expected_gain,
    compute_expected_income,
)

#: Of a faked window, a genuine one costing 1.
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


@pytest.mark.parametrize("fraction", [1 / 24, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0])
@pytest.mark.parametrize("per_group", [0.5, 0.9, 1.0])
def test_faking_any_fraction_of_each_window_loses(fraction: float, per_group: float) -> None:
    """f of the groups faked for next to nothing, in as many windows as it likes: n = 24, K = 4."""
    detection = compute_audit_detection(fraction, per_group, 24, 4)
    cost = max(1 - fraction, 0.01)
    for cheating, price, withholds in product(range(1, WINDOWS + 1), PRICES, (False, True)):
        gain = compute_expected_gain(cheating, cost, detection, price, withholds=withholds)
        # a whole window faked for nothing and hidden when hit: resting for one, and a ticket
        # worth (1 - detection) windows
        idle = withholds and cheating == 1 and fraction == 1
        ticket = (1 - detection) / (WINDOWS - 1) + 1e-9 if idle else 0.0
        assert gain < ticket, (cheating, price, withholds)


def test_one_audited_group_would_not_be_enough() -> None:
    """The attack that K = 4 stops: a few faked groups, found too rarely."""
    saved = 1 / 24
    few = compute_audit_detection(saved, 0.05, 24, 1)
    assert compute_expected_gain(WINDOWS, 1 - saved, few) > 0


def test_the_audit_misses_as_a_hypergeometric_draw_does() -> None:
    assert compute_audit_detection(0.0, 1.0, 24, 4) == 0
    assert compute_audit_detection(1.0, 1.0, 24, 4) == 1
    assert compute_audit_detection(1.0, 0.5, 24, 4) == pytest.approx(1 - 0.5**4)
    assert compute_audit_detection(0.5, 1.0, 4, 4) == 1
    assert compute_audit_detection(0.25, 1.0, 24, 4) == pytest.approx(
        1 - (18 * 17 * 16 * 15) / (24 * 23 * 22 * 21)
    )


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
