"""The ledger: the mixture over restarts, its false positives, and the drift that a single product
misses."""

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.encoding import EncodingError, from_json, to_json
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.verification import Ledger
from assay.verification.sampling import compute_log_bets, judge_sampling, mix_log_bets
from tests.verification.bets import count_bets

TESTS = SMALL_MODEL_TESTS
LEVELS = len(TESTS.margin_levels)
CAP = TESTS.margin_cap
CALIBRATION = Calibration(rates=tuple(10**12 >> k for k in range(LEVELS)), tokens=10**6)
THRESHOLD = math.log(TESTS.alpha_inverse)


def fill(runs: list[np.ndarray]) -> Ledger:
    ledger = Ledger()
    for log_bets in runs:
        ledger = ledger.add(log_bets)
    return ledger


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_ledger_is_the_mixture_over_restarts(rollouts: int, seed: int) -> None:
    runs = list(np.random.default_rng(seed).normal(0, 3, (rollouts, count_bets(TESTS))))
    mixture = 1 / (rollouts + 1)  # Σ 1/(j(j+1)) over j > n: restarts that hold their 1 still
    for j in range(1, rollouts + 1):
        since = math.exp(mix_log_bets(sum(runs[j - 1 :]), TESTS))
        mixture += since / (j * (j + 1))
    found = fill(runs).compute_log_capital(TESTS)
    assert math.isclose(found, math.log(mixture), rel_tol=1e-9, abs_tol=1e-9)


def test_an_empty_ledger_says_nothing() -> None:
    assert Ledger().compute_log_capital(TESTS) == 0
    assert not Ledger().is_crossed(TESTS)


def judge_run(margins: np.ndarray, gini: float = 0.5) -> np.ndarray:
    """ln of the bets of one rollout that must pass its own test."""
    result = judge_sampling(margins, np.full(len(margins), gini), CALIBRATION, TESTS, 1_024)
    assert result.token is None
    return result.log_bets


def steer(tokens: int, steered: int) -> np.ndarray:
    margins = np.zeros(tokens, np.int64)
    margins[:steered] = CAP // 8
    return margins


HONEST = judge_run(steer(128, 0))
ONE_TIE = judge_run(steer(128, 1))


def test_honest_rollouts_never_raise_it() -> None:
    ledger = Ledger()
    for _ in range(5_000):
        ledger = ledger.add(HONEST)
        assert ledger.compute_log_capital(TESTS) <= 0
    assert len(ledger.log_sums) == count_bets(TESTS)


@pytest.mark.parametrize("honest", [0, 10, 500])
def test_one_steered_tie_a_rollout_is_caught_however_late_it_starts(honest: int) -> None:
    """Each rollout passes its own test; a single product over all of them has gone deaf."""
    ledger = fill([HONEST] * honest)
    steered = 0
    while not ledger.is_crossed(TESTS):
        ledger = ledger.add(ONE_TIE)
        steered += 1
        assert steered <= 5
    assert steered > 1
    product = mix_log_bets(HONEST * honest + ONE_TIE * steered, TESTS)
    assert (product < THRESHOLD) or honest < 500


def test_one_flip_in_a_settlement_is_forgiven() -> None:
    """Honest work flips 3e-7 of its tokens: about once in a settlement of millions."""
    for before in (0, 1, 700):
        runs = [HONEST] * before + [ONE_TIE] + [HONEST] * 50
        for end in range(before + 1, len(runs) + 1):
            assert not fill(runs[:end]).is_crossed(TESTS)


def test_a_rollout_cleared_on_appeal_changes_no_bet() -> None:
    ledger = fill([ONE_TIE, np.zeros(count_bets(TESTS))])
    alone = fill([ONE_TIE])
    assert ledger.rollouts == 2
    assert ledger.compute_log_capital(TESTS) == pytest.approx(alone.compute_log_capital(TESTS))


def run(margins: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """ln of the bets after a rollout."""
    passed = (margins[:, None] > np.array(TESTS.margin_levels)).astype(float)
    return compute_log_bets(passed, rates, TESTS)[-1]


def play(
    choose: Callable[[bool], float], tokens: int, rollouts: int, rng: np.random.Generator
) -> Iterator[Ledger]:
    """A seat whose margins pass each level exactly as often as the calibration allows.

    Args:
        choose: from whether the last rollout flipped to the rate of the next one's first level:
            what an adversary may steer without leaving honest work, by its choice of contexts.
    """
    over = np.array([0, *(tau + 1 for tau in TESTS.margin_levels)])
    ledger, flipped = Ledger(), False
    for _ in range(rollouts):
        rates = choose(flipped) * 0.5 ** np.arange(LEVELS)
        passed = (rng.random((tokens, 1)) < rates).sum(axis=1)
        flipped = bool(passed.any())
        ledger = ledger.add(run(over[passed], np.tile(rates, (tokens, 1))))
        yield ledger


ADVERSARIES = {
    "steady": lambda flipped: 0.02,
    "riskier after a flip": lambda flipped: 0.4 if flipped else 0.01,
    "calmer after a flip": lambda flipped: 0.002 if flipped else 0.1,
}


@pytest.mark.parametrize("choose", ADVERSARIES.values(), ids=ADVERSARIES)
def test_no_continuation_after_honest_flips_crosses_more_often_than_ville_allows(
    choose: Callable[[bool], float],
) -> None:
    """At α = 1/4, so that it can be measured; stopping at the first crossing is best for it."""
    rng = np.random.default_rng(7)
    loose, seats = replace(TESTS, alpha_inverse=4), 400
    crossed = sum(
        any(ledger.is_crossed(loose) for ledger in play(choose, 10, 30, rng)) for _ in range(seats)
    )
    allowed = seats / 4
    assert crossed <= allowed + 4 * math.sqrt(allowed)


def test_it_is_not_deaf_to_rates_above_the_calibrated() -> None:
    rng = np.random.default_rng(7)
    ledger = Ledger()
    over = np.array([0, *(tau + 1 for tau in TESTS.margin_levels)])
    rates = 0.02 * 0.5 ** np.arange(LEVELS)
    for _ in range(200):
        passed = (rng.random((10, 1)) < 3 * rates).sum(axis=1)
        ledger = ledger.add(run(over[passed], np.tile(rates, (10, 1))))
    assert ledger.is_crossed(TESTS)


@pytest.mark.parametrize(("beside", "crossed"), [(1e-6, True), (-1e-6, False)])
def test_it_crosses_at_one_over_alpha(beside: float, crossed: bool) -> None:
    wanted = TESTS.alpha_inverse * (1 + beside)
    sums = (math.log(wanted - 0.5),) * count_bets(TESTS)  # the restarts to come hold the half
    assert Ledger(1, sums).is_crossed(TESTS) is crossed


ANY = st.floats(allow_nan=False)


@given(st.integers(0, 2**40), st.lists(ANY, max_size=9))
def test_a_ledger_comes_back_from_json_bit_for_bit(rollouts, log_sums):
    ledger = Ledger(rollouts, tuple(log_sums))
    text = json.dumps(to_json(ledger))
    back = from_json(Ledger, json.loads(text))
    assert back == ledger
    assert [struct.pack("d", v) for v in back.log_sums] == [struct.pack("d", v) for v in log_sums]
    assert json.dumps(to_json(back)) == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"rollouts": 1},
        {"rollouts": 1.0, "log_sums": []},
        {"rollouts": True, "log_sums": []},
        {"rollouts": 1, "log_sums": [0.5]},
        {"rollouts": 1, "log_sums": ["0.5"]},  # not as it is written
        {"rollouts": 1, "log_sums": ["0x1p9999"]},
        {"rollouts": 1, "log_sums": "0x1p0"},
        {"rollouts": 1, "log_sums": [], "more": 1},
    ],
)
def test_malformed_json_of_a_ledger_is_refused(value):
    with pytest.raises(EncodingError):
        from_json(Ledger, value)
