"""At the exact bound of a test, the judge, `assay explain` and the explorer say the same."""

from dataclasses import fields, replace
from math import inf, log, nextafter
from types import SimpleNamespace

import numpy as np
import pytest

from assay.audit.explain import measures as explain
from assay.explorer.views import windows as explorer
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.protocol.reason import Reason
from assay.verification import Accepted, Ledger, Statistics, sampling
from assay.verification.bounds import BOUNDS
from assay.verification.logprobs import judge_logprobs
from assay.verification.sampling import judge_sampling
from assay.verification.sketch import judge_sketch

#: Bounds of the parts are out of the way, and a sketch can differ by its bound at every token.
TESTS = replace(
    SMALL_MODEL_TESTS,
    sketch_rollout_bound=2_000,
    sketch_block_bound=9_000,
    logprob_max_bound=SMALL_MODEL_TESTS.logprob_rms_bound + 1,
)
COUNT = 40
#: The name that `assay explain` gives a statistic.
EXPLAINED = {
    "margin_max": "largest logit gap",
    "log_capital": "sequential test",
    "logprob_rms": "log-probabilities, root mean square",
    "sketch_mean": "fingerprint distance over the rollout",
    "ledger_capital": "settlement's ledger",
}


def sample(margin, capital, monkeypatch):
    """The sampling test's result for a largest margin and a logarithm of the martingale."""
    levels = len(TESTS.margin_levels)
    monkeypatch.setattr(sampling, "mix_log_bets", lambda *_: np.full(COUNT, capital))
    calibration = Calibration(rates=(10**12,) * levels, tokens=10**6)
    margins = np.zeros(COUNT, np.int64)
    margins[-1] = margin
    return judge_sampling(margins, np.ones(COUNT), calibration, TESTS, 1_024)


def judge_margin(beyond, monkeypatch):
    result = sample(TESTS.margin_cap + beyond, 0.0, monkeypatch)
    return result.token is not None, Statistics(margin_max=result.margin_max)


def judge_capital(beyond, monkeypatch):
    bound = log(2 * TESTS.alpha_inverse)
    result = sample(0, bound if beyond else nextafter(bound, -inf), monkeypatch)
    return result.token is not None, Statistics(log_capital=result.log_capital)


def judge_rms(beyond, monkeypatch):
    claimed = np.full(COUNT, 1_000, np.uint32)
    measured = claimed + np.uint32(TESTS.logprob_rms_bound)
    measured[0] += beyond
    result = judge_logprobs(claimed, measured, range(COUNT), TESTS)
    return result.token is not None, Statistics(logprob_rms=result.rms)


def judge_mean(beyond, monkeypatch):
    claimed, measured = np.zeros((COUNT, 2), np.int8), np.ones((COUNT, 2), np.int8)
    measured[0, 0] += beyond
    result = judge_sketch(claimed, measured, TESTS)
    return result.token is not None, Statistics(sketch_mean=result.mean)


def judge_ledger(beyond, monkeypatch):
    bound = log(TESTS.alpha_inverse)
    capital = bound if beyond else nextafter(bound, -inf)
    monkeypatch.setattr(Ledger, "compute_log_capital", lambda self, tests: capital)
    return Ledger().is_crossed(TESTS), Statistics(ledger_capital=capital)


JUDGES = {
    "margin_max": judge_margin,
    "log_capital": judge_capital,
    "logprob_rms": judge_rms,
    "sketch_mean": judge_mean,
    "ledger_capital": judge_ledger,
}


def explain_measures(statistics):
    """Name → whether `assay explain` says that the bound is exceeded."""
    parameters = SimpleNamespace(tests=TESTS)
    found = SimpleNamespace(measured=None, verdict=None)
    facts = SimpleNamespace(context=SimpleNamespace(parameters=parameters), rejudgment=found)
    listed = explain.list_measures(facts, Reason.ACCEPTED, statistics)
    return {measure.name: measure.exceeded for measure in listed}


def show_measures(statistics):
    """Name → whether the explorer says so."""
    words = {"reason": Reason.ACCEPTED.value, "statistics": statistics}
    row = SimpleNamespace(reason=Reason.ACCEPTED)
    return {one["name"]: one["exceeded"] for one in explorer.list_measures(words, row, TESTS)}


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("beyond", [0, 1])
def test_all_three_agree_at_the_bound(name, beyond, monkeypatch):
    """The bound itself is refused of a capital, and accepted of everything else."""
    refused, statistics = JUDGES[name](beyond, monkeypatch)
    assert refused is bool(beyond)
    verdict = Accepted(window=1, hotkey=bytes(32), detail="", statistics=statistics)
    values = verdict.to_record().to_json(0)["statistics"]
    if name.endswith("capital"):
        values[name] = getattr(statistics, name)  # as a number of six digits it is not exact
    assert show_measures(values)[name] is refused
    assert explain_measures(values)[EXPLAINED[name]] is refused


def test_every_statistic_has_a_bound():
    assert {bound.name for bound in BOUNDS} == {field.name for field in fields(Statistics)}
    assert JUDGES.keys() == EXPLAINED.keys() == {bound.name for bound in BOUNDS}
