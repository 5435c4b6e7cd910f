"""The sampling test's martingale: the formula, its false positives, its power."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS, Parameters
from assay.protocol.parameters import Tests as Bounds
from assay.verification.sampling import (
    compute_honest_rates,
    compute_log_bets,
    compute_peaks,
    judge_sampling,
    mix_log_bets,
)

TESTS = SMALL_MODEL_TESTS
LEVELS = len(TESTS.margin_levels)
CAP = TESTS.margin_cap
CALIBRATION = Calibration(rates=tuple(10**12 >> k for k in range(LEVELS)), tokens=10**6)
VECTORS = Path(__file__).parents[1] / "vectors"


def compute_naive_capital(margins: list[int], rates: np.ndarray) -> float:
    """M after the last token as section 5 writes it, products and all."""
    mean_bets = [1.0] * len(TESTS.mean_stakes)
    level_bets = [[1.0] * LEVELS for _ in TESTS.level_stakes]
    for margin, mu in zip(margins, rates.tolist(), strict=True):
        x = [(margin > tau) / m - 1 for tau, m in zip(TESTS.margin_levels, mu, strict=True)]
        for i, stake in enumerate(TESTS.mean_stakes):
            mean_bets[i] *= 1 + stake / 1e6 * sum(x) / LEVELS
        for i, stake in enumerate(TESTS.level_stakes):
            for k in range(LEVELS):
                level_bets[i][k] *= 1 + stake / 1e6 * x[k]
    on_levels = [bet for bets in level_bets for bet in bets]
    return sum(mean_bets) / len(mean_bets) / 2 + sum(on_levels) / len(on_levels) / 2


def compute_log_capital(
    margins: np.ndarray, rates: np.ndarray, tests: Bounds = TESTS
) -> np.ndarray:
    passed = (margins[:, None] > np.array(tests.margin_levels)).astype(float)
    return mix_log_bets(compute_log_bets(passed, rates, tests), tests)


@given(st.lists(st.integers(0, CAP), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_capital_is_the_mixture_of_products(margins: list[int], seed: int) -> None:
    rates = np.random.default_rng(seed).uniform(1e-3, 1, (len(margins), LEVELS))
    found = compute_log_capital(np.array(margins), rates, TESTS)
    for end in range(1, len(margins) + 1):
        wanted = math.log(compute_naive_capital(margins[:end], rates[:end]))
        assert math.isclose(found[end - 1], wanted, rel_tol=1e-9, abs_tol=1e-9)


def test_rates_are_the_flip_law_inflated_and_floored() -> None:
    gini = np.array([0.0, 0.5, 1.0])
    for t in (1.0, 0.5):
        rates = compute_honest_rates(gini, CALIBRATION, TESTS, t)
        for i, g in enumerate(gini):
            for k, kappa in enumerate(CALIBRATION.rates):
                wanted = g / t * 4 * kappa / 10**18 + 1e-6
                assert math.isclose(rates[i, k], wanted, rel_tol=1e-12)
    certain = replace(CALIBRATION, rates=(10**18,) * LEVELS)
    assert compute_honest_rates(gini, certain, TESTS, 1.0).tolist()[2] == [1.0] * LEVELS


def simulate(rates: np.ndarray, rollouts: int, tokens: int, seed: int) -> list[np.ndarray]:
    """Margins that exceed each level exactly as often as `rates` say: one flip passes several."""
    rng = np.random.default_rng(seed)
    over = np.array([0, *(tau + 1 for tau in TESTS.margin_levels)])
    # P(at least k + 1 levels passed) = rates[k]: rates fall from level to level
    uniform = rng.random((rollouts, tokens))
    passed = (uniform[:, :, None] < rates[None, None, :]).sum(axis=2)
    return list(over[passed])


@pytest.mark.parametrize("first", [0.2, 0.02, 0.002])
def test_honest_noise_crosses_no_more_often_than_ville_allows(first: float) -> None:
    """At α = 1/4, so that α/2 can be measured; the bound holds for every α alike."""
    rates = np.array([first * 0.6**k for k in range(LEVELS)])
    loose, rollouts, tokens = replace(TESTS, alpha_inverse=4), 1_500, 400
    rows = np.tile(rates, (tokens, 1))
    bound = math.log(2 * loose.alpha_inverse)

    def count_crossings(true_rates: np.ndarray, seed: int) -> int:
        runs = simulate(true_rates, rollouts, tokens, seed)
        return sum(compute_log_capital(run, rows, loose).max() >= bound for run in runs)

    allowed = rollouts / (2 * loose.alpha_inverse)
    assert count_crossings(rates, 1) <= allowed + 4 * math.sqrt(allowed)
    assert count_crossings(np.minimum(6 * rates, 1), 2) > 2 * allowed  # and it is not deaf


def test_capital_keeps_its_mean_of_one_at_the_calibrated_rates() -> None:
    rates = np.array([0.5 * 0.8**k for k in range(LEVELS)])
    rows = np.tile(rates, (10, 1))
    ends = [
        np.exp(compute_log_capital(run, rows, TESTS)[-1]) for run in simulate(rates, 8_000, 10, 3)
    ]
    assert abs(np.mean(ends) - 1) < 4 * np.std(ends) / math.sqrt(len(ends))
    assert np.std(ends) > 0.05


def test_the_bound_where_single_positions_leave_the_envelope() -> None:
    """At α = 1/4: one position in fifty flips ten times as often as its rate, and α grows by what
    `compute_peaks` says, no more and not much less than it must."""
    rates = np.tile([0.02 * 0.6**k for k in range(LEVELS)], (400, 1))
    chances = rates * np.where(np.arange(400) % 50 == 0, 10.0, 0.5)[:, None]
    loose, rollouts = replace(TESTS, alpha_inverse=4), 1_500
    ends, peaks = compute_peaks(chances, rates, [400], loose)
    growth = float(np.exp(mix_log_bets(peaks, loose))[0])
    assert 1.2 < growth < 10
    assert (ends <= peaks).all()
    bound = math.log(2 * loose.alpha_inverse)
    rng, over = np.random.default_rng(5), np.array([0, *(tau + 1 for tau in TESTS.margin_levels)])
    crossed = 0
    for _ in range(rollouts):
        margins = over[(rng.random((400, 1)) < chances).sum(axis=1)]
        crossed += compute_log_capital(margins, rates, loose).max() >= bound
    allowed = rollouts * growth / (2 * loose.alpha_inverse)
    assert crossed <= allowed + 4 * math.sqrt(allowed)
    inside = compute_peaks(rates, rates, [400], loose)[1]
    assert np.allclose(mix_log_bets(inside, loose), 0)


def judge_margins(margins: list[int], gini: float = 0.6) -> int | None:
    impurity = np.full(len(margins), gini)
    return judge_sampling(np.array(margins), impurity, CALIBRATION, TESTS, 1_024).token


def test_no_margin_may_exceed_the_cap() -> None:
    assert judge_margins([0] * 50 + [CAP] + [0] * 50) is None
    assert judge_margins([0] * 50 + [CAP + 1] + [0] * 50) == 50


def test_many_small_steerings_are_caught_where_one_is_not() -> None:
    steered = [0, 0, 0, CAP // 2] * 64
    caught = judge_margins(steered)
    assert caught is not None
    assert judge_margins(steered[:caught]) is None
    assert steered[caught] > 0


def test_evidence_once_seen_is_not_forgotten() -> None:
    steered = [CAP // 2] * 30
    assert judge_margins(steered + [0] * 20_000) == judge_margins(steered) is not None


def test_a_rollout_without_a_flip_never_gains() -> None:
    result = judge_sampling(np.zeros(4_096, np.int64), np.ones(4_096), CALIBRATION, TESTS, 1_024)
    assert (result.margin_max, result.token) == (0, None)
    assert result.log_capital < 0


def test_levels_and_cap_are_those_of_section_5() -> None:
    written = json.loads((VECTORS / "parameters.json").read_bytes())["parameters"]
    tests = Parameters.from_json(written).tests
    cap = 2e-4 * 2**20
    assert tests.margin_cap == round(cap)
    assert tests.margin_levels[0] == 0
    for j, level in enumerate(tests.margin_levels[1:]):
        assert abs(level - cap / 100 * 2**j) < 1.5
    assert len(tests.margin_levels) == 8
    assert tests.margin_levels[-1] < tests.margin_cap < 2 * tests.margin_levels[-1]


def test_a_margin_at_a_level_has_not_passed_it() -> None:
    level = TESTS.margin_levels[1]

    def bet(margin: int) -> list[float]:
        margins, gini = np.full(3, margin), np.full(3, 0.6)
        return judge_sampling(margins, gini, CALIBRATION, TESTS, 1_024).log_bets.tolist()

    assert bet(level) == bet(level - 1) != bet(level + 1)


@pytest.mark.parametrize(("inverse", "fails"), [(0.49, True), (0.51, False)])
def test_a_rollout_fails_once_its_capital_reaches_twice_one_over_alpha(
    inverse: float, fails: bool
) -> None:
    margins, gini = np.array([CAP // 2]), np.array([0.6])
    reached = judge_sampling(margins, gini, CALIBRATION, TESTS, 1_024).log_capital
    loose = replace(TESTS, alpha_inverse=round(inverse * math.exp(reached)))
    assert loose.alpha_inverse > 100
    result = judge_sampling(margins, gini, CALIBRATION, loose, 1_024)
    assert (result.token is not None) is fails


def test_an_impurity_that_is_not_a_number_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="not a number"):
        judge_sampling(np.zeros(2, np.int64), np.array([0.5, np.nan]), CALIBRATION, TESTS, 1_024)
