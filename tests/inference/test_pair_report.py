"""The report of two compared implementations: refusals and findings, on synthetic pairs."""

from dataclasses import replace

import numpy as np
import pytest

from assay.inference.calibration import Comparison
from assay.inference.pair_report import GRID, Pair, describe_pair, find_margin, list_thresholds
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS, make_tests

LEVELS = len(SMALL_MODEL_TESTS.margin_levels)


def make_pair(noise, gini, contexts=8, length=32):
    """A synthetic pair: P(margin > τ) = noise · g · e^{−τ/1e-6} of every token."""
    tokens = contexts * length
    noise, gini = np.broadcast_to(noise, tokens), np.broadcast_to(gini, tokens)
    taus = np.array(list_thresholds(SMALL_MODEL_TESTS))
    zeros = np.zeros((tokens, 2), np.int8)
    honest = Comparison(
        lengths=(length,) * contexts,
        survival=(noise * gini)[:, None] * np.exp(-taus / 1e-6),
        gini=gini.astype(float),
        logprobs=np.zeros(tokens, np.int64),
        sketch_a=zeros,
        sketch_b=zeros,
    )
    return Pair("a", "b", honest, {}, SMALL_MODEL_TESTS, 1_024, None)


def test_rates_that_hold_only_where_they_were_fitted_are_refused():
    held = np.repeat(np.arange(8) % 2, 32)
    report, rates = describe_pair(make_pair(1e-6, 0.5))
    assert not report["refused"]
    assert rates.rates[0] == pytest.approx(10**12, rel=1e-3)
    report, rates = describe_pair(make_pair(np.where(held, 1e-5, 1e-6), 0.5))
    assert rates is None
    assert "held-out" in report["refused"][0]


def test_rates_that_hold_only_on_average_are_refused():
    """A bin of Gini impurity with ten times the mean rate, on a quarter of the tokens."""
    rare = np.arange(8 * 32) % 4 == 0
    pair = make_pair(np.where(rare, 2e-5, 1e-7), np.where(rare, 0.2, 0.6))
    report, rates = describe_pair(pair)
    assert rates is None
    assert "held-out" in report["refused"][0]
    ratios = {tuple(row["gini"]): row["ratio"] for row in report["envelope"]["bins"]}
    assert ratios[0.0, 0.3] > 1 > ratios[0.3, 1.0]


def test_a_bin_of_few_tokens_is_joined_with_its_neighbour():
    """What three tokens show is another on the next processor."""
    few = np.arange(8 * 32) % 32 == 0
    report, rates = describe_pair(make_pair(np.where(few, 2e-5, 1e-6), np.where(few, 0.8, 0.6)))
    assert rates is not None
    (only,) = report["envelope"]["bins"]
    assert (only["gini"], only["tokens"]) == ([0.0, 1.0], 4 * 32)


def test_rates_above_what_parameters_allow_are_refused():
    report, rates = describe_pair(make_pair(2e-5, 0.5))
    assert rates is None
    assert "κ_0" in report["refused"][0]


def test_the_manifests_rates_must_cover_the_pair():
    pair = make_pair(4e-6, 0.5)
    low = Calibration(rates=(10**10,) * LEVELS, tokens=1)
    report, rates = describe_pair(replace(pair, stored=low))
    assert rates is not None
    assert "do not cover" in report["findings"][0]
    assert report["stored"]["alpha_growth"] > report["envelope"]["alpha_growth"]
    assert describe_pair(replace(pair, stored=rates))[0]["findings"] == []


def test_a_cap_too_near_to_honest_margins_is_a_finding():
    pair = make_pair(1e-6, 0.5)
    assert describe_pair(pair)[0]["findings"] == []
    nearer = make_tests(SMALL_MODEL_TESTS.margin_cap // 4)
    report, _ = describe_pair(replace(pair, tests=nearer))
    assert "less than 20 times" in report["findings"][0]


def test_margins_are_read_off_the_curve():
    curve = 1e-4 * np.exp(-np.array(GRID) / 1e-3)
    assert find_margin(curve, 1e-8) == pytest.approx(1e-3 * np.log(1e4), rel=0.05)
    assert find_margin(np.zeros(len(GRID)), 1e-8) == 0.0
    assert find_margin(np.ones(len(GRID)), 1e-8) == GRID[-1]
