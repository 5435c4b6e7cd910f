"""Cheating does not pay: the claim of section 9, swept over what a cheat may choose.

Probabilities are exact sums over how many windows are caught; the income of each case comes from
`compute_settlement`. What it does not model: being caught by the trainer, or losing the stake.
"""

from math import comb

import pytest

from assay.protocol import Reason
from assay.verification import Result, Seat, compute_settlement

WINDOWS = 12  # of a settlement
WINDOW_SCORE = 1_000
SEAT = Seat(1, 1)


def compute_income(cheating: int, detection: float, *, withholds: bool = False) -> float:
    """Expected settlement, an honest one being 1.

    Args:
        cheating: windows of the twelve that are faked.
        detection: probability that a faked window's audit hits something faked.
        withholds: whether a cheat that the audit has hit shows nothing rather than the fake.
    """
    reason = Reason.NOT_REVEALED if withholds else Reason.SAMPLING_MISMATCH
    expected = 0.0
    for caught in range(cheating + 1):
        results = [
            Result(w, SEAT, reason, 0)
            if w < caught
            else Result(w, SEAT, Reason.ACCEPTED, WINDOW_SCORE)
            for w in range(WINDOWS)
        ]
        chance = comb(cheating, caught) * detection**caught * (1 - detection) ** (cheating - caught)
        expected += chance * compute_settlement(results)[SEAT]
    return expected / (WINDOWS * WINDOW_SCORE)


def compute_expected_gain(
    cheating: int, cost: float, detection: float, price: float = 0.0, *, withholds: bool = False
) -> float:
    """Income a unit of cost, less that of the honest, which is 1 - price.

    Args:
        cost: of a faked window, a genuine one costing 1.
        price: of registration a settlement, in honest settlements' cost.
    """
    spent = (WINDOWS - cheating + cheating * cost) / WINDOWS
    income = compute_income(cheating, detection, withholds=withholds)
    return (income - price) / spent - (1 - price)


#: Of a faked window, a genuine one costing 1.
COSTS = [0.01, 0.1, 0.3, 0.6, 0.8, 0.95]


@pytest.mark.parametrize("cost", COSTS)
def test_cheating_loses_where_detection_exceeds_the_bound(cost: float) -> None:
    bound = 1 - cost ** (1 / WINDOWS)
    detections = [d for d in (bound + 1e-3, 2 * bound, 0.05, 0.2, 0.5, 0.9, 1.0) if bound < d <= 1]
    assert detections
    for detection in detections:
        for cheating in range(1, WINDOWS + 1):
            for price in (0.0, 0.1, 0.5):
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


def test_an_honest_miner_gains_nothing_and_loses_nothing() -> None:
    assert compute_expected_gain(0, 0.5, 0.9) == 0
