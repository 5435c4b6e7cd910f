"""The comparison of two implementations as a document: rates, their envelope, honest differences
and attacks, and findings.

Half of the contexts fit the rates, and the other half checks them: an envelope that held only where
it was fitted would refuse honest work elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assay.inference.calibration import Comparison, sum_margins
from assay.inference.placing.model_sizes import EXPERTS_SHARE
from assay.protocol.manifest import RATE_UNIT, Calibration
from assay.protocol.parameters import FRACTION_BITS, Tests
from assay.verification.sampling import compute_honest_rates, compute_peaks, mix_log_bets
from assay.verification.sketch import compute_token_distances, iterate_blocks

#: Largest allowed probability for each token that an honest margin exceeds the cap, which costs an
#: honest miner its settlement.
CAP_RATE_MAX = 1e-10
#: "The largest honest margin" is exceeded once in this many tokens.
SEEN_TOKENS = 1e8
#: The cap is at least this multiple of it.
CAP_DISTANCE = 20
#: Log-probabilities that an audit compares in a rollout.
_POSITIONS = 32
#: Thresholds of the curves, logits: four a decade.
GRID = tuple(float(tau) for tau in np.logspace(-8, 1, 37))
GINI_EDGES = (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
#: A bin of fewer is joined with its neighbour. Few tokens say nothing of a rate: in a bin of three,
#: one processor's rounding was 1.2 times the bound and another's a quarter of it.
BIN_TOKENS = 32

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RouterReading:
    """What ramped routers do to a mixture.

    Attributes:
        ramp, proposed: the checkpoint's, and one that fits the spread of its routers' scores,
            2^-20.
        chosen: experts that its family's routers choose for a token.
        needed: experts of a token that take part, on average.
        divergence: Kullback–Leibler, of the model with its own routers from the ramped one, nats a
            token.
    """

    ramp: int
    proposed: int
    chosen: int
    needed: float
    divergence: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two compared implementations."""

    a: str
    b: str
    honest: Comparison  # of two implementations; the others fit, and contexts of odd number check
    #: of a cheat's model against b, over any number of the first contexts
    attacks: Mapping[str, Comparison]
    tests: Tests
    temperature: int
    #: the checkpoint's own rates; None if they are not for these tests
    stored: Calibration | None
    routers: RouterReading | None = None  # of a mixture


def list_thresholds(tests: Tests) -> list[float]:
    """τ of `Comparison.survival`, logits: the levels, the cap, the grid."""
    return [tau / 2**FRACTION_BITS for tau in (*tests.margin_levels, tests.margin_cap)] + [*GRID]


def describe_pair(pair: Pair) -> tuple[dict[str, Any], Calibration | None]:
    """The report, and the calibration unless the pair is refused.

    `refused` and `findings` of the report are sentences. A refused pair gets no calibration.
    """
    tests, t = pair.tests, pair.temperature / 1024
    levels = len(tests.margin_levels)
    honest, lengths = pair.honest, np.array(pair.honest.lengths)
    held = get_held_out(honest)
    rates = fit_pair(pair)
    curve = honest.survival.mean(axis=0)
    document: dict[str, Any] = {
        "a": pair.a,
        "b": pair.b,
        "temperature": pair.temperature,
        "contexts": len(lengths),
        "tokens": len(honest.gini),
        "mean_gini": _round(honest.gini.mean()),
        "cap": tests.margin_cap / 2**FRACTION_BITS,
        "rates": [rate / RATE_UNIT for rate in rates.rates],
        "rate_limits": [limit / RATE_UNIT for limit in tests.rate_limits],
        "rate_beyond_cap": _round(curve[levels]),
        "margin_once_in_1e8": _round(find_margin(curve[levels + 1 :], 1 / SEEN_TOKENS)),
        "margin_once_in_1e10": _round(find_margin(curve[levels + 1 :], CAP_RATE_MAX)),
        "envelope": _describe_envelope(honest, lengths, held, rates, tests, t),
        "stored": None
        if pair.stored is None
        else _describe_envelope(honest, lengths, np.ones_like(held), pair.stored, tests, t),
        "fingerprints": _describe_fingerprints(honest, tests),
        "routers": None if pair.routers is None else _describe_routers(pair.routers),
        "attacks": {
            name: {
                "rate_above_0": _round(comparison.survival[:, 0].mean()),
                "rate_beyond_cap": _round(comparison.survival[:, levels].mean()),
                **_describe_fingerprints(comparison, tests),
            }
            for name, comparison in pair.attacks.items()
        },
    }
    document["refused"] = _find_refusals(document)
    document["findings"] = [] if document["refused"] else _find_others(document)
    return document, None if document["refused"] else rates


def _describe_routers(routers: RouterReading) -> dict[str, Any]:
    return {
        "router_ramp": routers.ramp,
        "proposed_ramp": routers.proposed,
        "experts_chosen": routers.chosen,
        "experts_needed": _round(routers.needed),
        "divergence": _round(routers.divergence),
    }


def get_held_out(comparison: Comparison) -> NDArray[np.bool_]:
    """Tokens of every other context, bool [N]."""
    return np.repeat(np.arange(len(comparison.lengths)) % 2 == 1, comparison.lengths)


def fit_pair(pair: Pair) -> Calibration:
    """The rates, from the contexts that are not held out."""
    fitted = ~get_held_out(pair.honest)
    survival = pair.honest.survival[fitted, : len(pair.tests.margin_levels)]
    curve = sum_margins(survival, pair.honest.gini[fitted])
    return curve.fit(survival.shape[1], pair.temperature / 1024)


def find_margin(curve: Floats, rate: float) -> float:
    """The τ on the grid that a token's margin exceeds with probability `rate`; 0 if there is none.
    `curve` is P(margin > τ) at `GRID`, falling."""
    above = np.flatnonzero(curve >= rate)
    if not len(above):
        return 0.0
    last = int(above[-1])
    if last == len(GRID) - 1:
        return GRID[last]
    high, low = np.log(curve[last]), np.log(max(float(curve[last + 1]), 1e-300))
    share = float((high - np.log(rate)) / (high - low))
    return float(GRID[last] * (GRID[last + 1] / GRID[last]) ** share)


def compute_distances(comparison: Comparison) -> tuple[Floats, Floats]:
    """Sketch differences a token of every context, as the judge counts them: worst block, and
    mean."""
    per_token = compute_token_distances(comparison.sketch_a, comparison.sketch_b)
    rows = _split(per_token, comparison.lengths)
    blocks = [max(row[s:e].mean() for s, e in iterate_blocks(len(row))) for row in rows]
    return np.array(blocks), np.array([row.mean() for row in rows])


def _describe_envelope(
    comparison: Comparison,
    lengths: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    rates: Calibration,
    tests: Tests,
    t: float,
) -> dict[str, Any]:
    """Measured rates relative to the bounds of the sampling test, by bin of Gini impurity and by
    context.

    A ratio of at most 1 keeps the promise of the sampling test. The worst of all levels counts. The
    growth is the factor on α where single positions exceed the envelope, in the worst context: see
    `compute_peaks`.
    """
    bounds = compute_honest_rates(comparison.gini, rates, tests, t)
    measured = comparison.survival[:, : bounds.shape[1]]
    bins: list[dict[str, Any]] = []
    for low, high in _join_bins(comparison.gini[chosen]):
        inside = chosen & (comparison.gini >= low) & ((comparison.gini < high) | (high == 1.0))
        if inside.any():
            ratio = (measured[inside].sum(axis=0) / bounds[inside].sum(axis=0)).max()
            bins.append({"gini": [low, high], "tokens": int(inside.sum()), "ratio": _round(ratio)})
    starts = np.cumsum(lengths) - lengths
    by_context = np.add.reduceat(measured, starts) / np.add.reduceat(bounds, starts)
    peaks = compute_peaks(measured, bounds, comparison.lengths, tests)[1][chosen[starts]]
    growth = float(np.exp(np.minimum(mix_log_bets(peaks, tests).max(initial=0.0), 700.0)))
    return {
        "bins": bins,
        "worst_bin": max((row["ratio"] for row in bins), default=0.0),
        "worst_context": _round(by_context[chosen[starts]].max(initial=0.0)),
        "alpha_growth": _round(growth),
    }


def _join_bins(gini: Floats) -> list[tuple[float, float]]:
    """Bins of `GINI_EDGES`, neighbours joined until each has `BIN_TOKENS` of these tokens; one bin
    with all, if they are fewer."""
    counts, _ = np.histogram(gini, GINI_EDGES)
    edges, left, rest = [GINI_EDGES[0]], 0, len(gini)
    for high, count in zip(GINI_EDGES[1:-1], counts[:-1].tolist(), strict=True):
        left, rest = left + count, rest - count
        if min(left, rest) >= BIN_TOKENS:
            edges.append(high)
            left = 0
    return list(pairwise([*edges, GINI_EDGES[-1]]))


def _describe_fingerprints(comparison: Comparison, tests: Tests) -> dict[str, Any]:
    """Sketches and log-probabilities relative to the judge's bounds, and the share that exceeds
    them.

    The positions of an audit are drawn after the commitment: the report uses a context's worst.
    """
    blocks, means = compute_distances(comparison)
    worst = [
        np.sort(rows)[-_POSITIONS:] for rows in _split(comparison.logprobs, comparison.lengths)
    ]
    rms = np.array([np.sqrt((rows.astype(float) ** 2).mean()) for rows in worst])
    largest = np.array([rows[-1] for rows in worst])
    breaks_sketch = (blocks * 1_000 > tests.sketch_block_bound) | (
        means * 1_000 > tests.sketch_rollout_bound
    )
    breaks_logprobs = (largest > tests.logprob_max_bound) | (rms > tests.logprob_rms_bound)
    return {
        "sketch_block": _round(blocks.max()),
        "sketch_block_bound": tests.sketch_block_bound / 1_000,
        "sketch_rollout": _round(means.max()),
        "sketch_rollout_bound": tests.sketch_rollout_bound / 1_000,
        "logprob_rms": _round(rms.max()),
        "logprob_rms_bound": tests.logprob_rms_bound,
        "logprob_max": int(largest.max()),
        "logprob_max_bound": tests.logprob_max_bound,
        "caught_by_sketch": _round(breaks_sketch.mean()),
        "caught_by_logprobs": _round(breaks_logprobs.mean()),
    }


def _find_refusals(document: Mapping[str, Any]) -> list[str]:
    """The reasons why no network may permit this pair."""
    pair = f"{document['a']} against {document['b']}"
    refusals = []
    if document["rate_beyond_cap"] > CAP_RATE_MAX:
        refusals.append(
            f"{pair}: margins pass the cap of {document['cap']:.3g} logits "
            f"{document['rate_beyond_cap']:.2g} times a token; at most {CAP_RATE_MAX:g} is allowed"
        )
    if document["envelope"]["worst_bin"] > 1:
        refusals.append(
            f"{pair}: rates on held-out contexts are up to {document['envelope']['worst_bin']:.3g} "
            "times the bound"
        )
    for level, (rate, limit) in enumerate(
        zip(document["rates"], document["rate_limits"], strict=True)
    ):
        if rate > limit:
            refusals.append(f"{pair}: κ_{level} = {rate:.3g} exceeds the parameters' {limit:.3g}")
            break
    return refusals


def _find_others(document: Mapping[str, Any]) -> list[str]:
    """Problems that an owner should fix, though the pair itself may be permitted."""
    warnings = []
    margin = document["margin_once_in_1e8"]
    if margin * CAP_DISTANCE > document["cap"]:
        warnings.append(
            f"the cap of {document['cap']:.3g} is less than {CAP_DISTANCE} times the margin of "
            f"{margin:.2g} that honest work exceeds once in 1e8 tokens: choose one of at least "
            f"{CAP_DISTANCE * margin:.2g}"
        )
    routers = document["routers"]
    if routers is not None:
        warnings += _find_router_faults(routers)
    growth = document["envelope"]["alpha_growth"]
    if growth > 2:  # half of α is for the cap, which is exceeded far more rarely
        warnings.append(
            f"some contexts exceed the envelope so far that honest rollouts are refused up to "
            f"{growth:.3g} times as often as half of α allows"
        )
    stored = document["stored"]
    if stored is not None and stored["worst_bin"] > 1:
        warnings.append(
            f"the checkpoint's own rates do not cover this pair: {stored['worst_bin']:.3g} times "
            "the bound"
        )
    honest = document["fingerprints"]
    warnings += [
        f"honest {name} {honest[name]} exceeds {honest[f'{name}_bound']}"
        for name in ("sketch_block", "sketch_rollout", "logprob_rms", "logprob_max")
        if honest[name] > honest[f"{name}_bound"]
    ]
    return warnings


def _find_router_faults(routers: Mapping[str, Any]) -> list[str]:
    warnings = []
    ramp, proposed = routers["router_ramp"], routers["proposed_ramp"]
    if not proposed <= 2 * ramp <= 4 * proposed:
        warnings.append(
            f"router_ramp = {ramp} does not fit the spread of the routers' scores: {proposed} would"
        )
    chosen, needed = routers["experts_chosen"], routers["experts_needed"]
    if needed > EXPERTS_SHARE * chosen:
        warnings.append(
            f"a token needs {needed:.3g} experts on average, where its routers choose {chosen}: "
            "scores are too flat for this ramp"
        )
    return warnings


def _split(rows: NDArray[Any], lengths: Sequence[int]) -> list[NDArray[Any]]:
    return np.split(rows, np.cumsum(lengths)[:-1])


def _round(value: float) -> float:
    """Four digits: further ones differ between machines."""
    return float(f"{float(value):.4g}")
