"""The sampling test: checks that every token was the model's own keyed draw.

The test has two halves, each with half of α. No margin may exceed the cap, and a betting martingale
over the small margins must stay below 2/α (Ville's inequality: an honest rollout crosses it with
probability at most α/2 at any stopping time, given the calibration's rates). Specification, section
5.

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (2024).
The flip law and the mixture of stakes are ours (docs/specification.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import MILLION, Tests
from assay.verification.bounds import LOG_CAPITAL, MARGIN_MAX

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SamplingResult:
    """Statistics of one rollout's test."""

    margin_max: int  # largest margin, 2^-20 logits
    log_capital: float  # largest natural logarithm of the martingale over the rollout
    token: int | None  # first token at which the rollout fails, None if it passes
    #: ln of the factor that the rollout gave each bet, float64 [bets]. The ledger carries them on.
    log_bets: Floats


def compute_honest_rates(gini: Floats, calibration: Calibration, tests: Tests, t: float) -> Floats:
    """μ_k of every token: upper bound on P(margin > τ_k) for honest work, float64 [T, levels]."""
    rates = np.array(calibration.rates, np.float64) / RATE_UNIT * tests.rate_inflation
    bound = gini[:, None] / t * rates[None, :] + tests.rate_floor / RATE_UNIT
    return np.minimum(bound, 1.0)


def compute_log_bets(passed: Floats, rates: Floats, tests: Tests) -> Floats:
    """ln of each bet's wealth after each token, float64 [T, bets].

    With x_k = passed_k/μ_k − 1, a bet on all levels is Π(1 + ρ·mean_k x_k) and a bet on one level
    Π(1 + ρ·x_k). The former come first, by stake; then the latter, by level and stake.

    Args:
        passed: float64 [T, levels], 1 where a token's margin exceeds the level and 0 elsewhere.
            With the probabilities of that instead, the result is the bets' expected wealth.
        rates: μ_k, float64 [T, levels], in (0, 1].
    """
    x = passed / rates - 1.0
    mean_stakes = np.array(tests.mean_stakes) / MILLION
    level_stakes = np.array(tests.level_stakes) / MILLION
    on_mean = mean_stakes * x.mean(axis=1, keepdims=True)
    on_level = (x[:, :, None] * level_stakes).reshape(len(x), -1)
    log_bets: Floats = np.log1p(np.concatenate([on_mean, on_level], axis=1)).cumsum(axis=0)
    return log_bets


def mix_log_bets(log_bets: Floats, tests: Tests) -> Floats:
    """ln of the mixture of bets, with the last axis reduced: half on all levels, half on single
    ones."""
    on_mean = len(tests.mean_stakes)
    halves = [
        np.logaddexp.reduce(bets, axis=-1) - np.log(2.0 * bets.shape[-1])
        for bets in (log_bets[..., :on_mean], log_bets[..., on_mean:])
    ]
    mixed: Floats = np.logaddexp(*halves)
    return mixed


def judge_sampling(
    margins: NDArray[np.int64],
    gini: Floats,
    calibration: Calibration,
    tests: Tests,
    temperature: int,
) -> SamplingResult:
    """Run both halves over one rollout.

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
    levels = np.array(tests.margin_levels, np.int64)
    passed = (margins[:, None] > levels).astype(np.float64)
    log_bets = compute_log_bets(passed, rates, tests)
    capital = mix_log_bets(log_bets, tests)
    bad = MARGIN_MAX.is_exceeded(margins, tests.margin_cap) | LOG_CAPITAL.is_exceeded(
        capital, LOG_CAPITAL.compute(tests)
    )
    return SamplingResult(
        margin_max=int(margins.max()),
        log_capital=float(capital.max()),
        token=int(bad.argmax()) if bad.any() else None,
        log_bets=log_bets[-1],
    )


def compute_peaks(
    chances: Floats, rates: Floats, lengths: Sequence[int], tests: Tests
) -> tuple[Floats, Floats]:
    """Peaks of the bets' expected wealth A(t), which the envelope's failures at single positions
    raise.

    Tokens are drawn under independent noise, so A is a known product. A bet is at most sup A times
    a martingale that starts at 1, and Ville's inequality holds with α times the mixture of sup A.

    Args:
        chances: P(margin > τ_k) of honest work, float64 [N, levels], for concatenated rollouts.
        rates: μ_k, float64 [N, levels].
        lengths: tokens of each rollout.

    Returns:
        ln A at each rollout's end, and the largest ln A within it, at least 0: float64 [rollouts,
        bets].
    """
    starts = np.cumsum(lengths)[:-1]
    paths = [
        compute_log_bets(p, r, tests)
        for p, r in zip(np.split(chances, starts), np.split(rates, starts), strict=True)
    ]
    return np.stack([path[-1] for path in paths]), np.stack(
        [path.max(axis=0).clip(0) for path in paths]
    )
