"""The sampling test: was every token the model's own keyed draw?

Two halves, each with half of α. No margin may exceed the cap; and a betting martingale over the
small margins stays below 2/α (Ville's inequality: an honest rollout crosses it with probability at
most α/2 at any stopping time, given the calibration's rates). Specification, section 5.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024);
the flip law and the mixture of stakes are ours (docs/specification.md).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import MILLION, Tests

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SamplingResult:
    """Statistics of one rollout's test.

    Attributes:
        margin_max: largest margin, 2^-20 logits.
        log_capital: largest natural logarithm of the martingale on its way.
        token: first token at which the rollout fails, None if it passes.
    """

    margin_max: int
    log_capital: float
    token: int | None


def compute_honest_rates(gini: Floats, calibration: Calibration, tests: Tests, t: float) -> Floats:
    """μ_k of every token: upper bound on P(margin > τ_k) for honest work, float64 [T, levels]."""
    rates = np.array(calibration.rates, np.float64) / RATE_UNIT * tests.rate_inflation
    bound = gini[:, None] / t * rates[None, :] + tests.rate_floor / RATE_UNIT
    return np.minimum(bound, 1.0)


def compute_log_capital(margins: NDArray[np.int64], rates: Floats, tests: Tests) -> Floats:
    """ln of the martingale M after each token, float64 [T].

    M = ½ avg_ρ Π(1 + ρ·mean_k x_k) + ½ avg_{ρ,k} Π(1 + ρ·x_k) with x_k = 1{margin > τ_k}/μ_k − 1.

    Args:
        margins: int64 [T].
        rates: μ_k, float64 [T, levels], in (0, 1].
    """
    levels = np.array(tests.margin_levels, np.int64)
    x = (margins[:, None] > levels) / rates - 1.0
    mean_stakes = np.array(tests.mean_stakes) / MILLION
    level_stakes = np.array(tests.level_stakes) / MILLION
    on_mean = np.log1p(mean_stakes * x.mean(axis=1, keepdims=True)).cumsum(axis=0)
    on_level = np.log1p(level_stakes * x[:, :, None]).cumsum(axis=0).reshape(len(x), -1)
    halves = [
        np.logaddexp.reduce(bets, axis=1) - np.log(bets.shape[1]) for bets in (on_mean, on_level)
    ]
    capital: Floats = np.logaddexp(*halves) - np.log(2.0)
    return capital


def judge_sampling(
    margins: NDArray[np.int64],
    gini: Floats,
    calibration: Calibration,
    tests: Tests,
    temperature: int,
) -> SamplingResult:
    """Runs both halves over one rollout.

    Args:
        margins: int64 [T], 2^-20 logits; T ≥ 1.
        gini: float64 [T].
        temperature: Tq = 1024 · T.

    Raises:
        ValueError: the forward pass measured something that is not a number: our own fault.
    """
    if not np.isfinite(gini).all():
        raise ValueError("the forward pass gave a Gini impurity that is not a number")
    rates = compute_honest_rates(gini, calibration, tests, temperature / 1024)
    capital = compute_log_capital(margins, rates, tests)
    bad = (margins > tests.margin_cap) | (capital >= np.log(2.0 * tests.alpha_inverse))
    return SamplingResult(
        margin_max=int(margins.max()),
        log_capital=float(capital.max()),
        token=int(bad.argmax()) if bad.any() else None,
    )
