"""The picture of a calibration: survival of margins, of log-probability and sketch differences."""

from collections.abc import Sequence

import numpy as np

from assay.charts.axes import make_log_axis
from assay.charts.drawing import Bound, Plot, Point, Series, draw_picture
from assay.inference.pair_report import (
    CAP_RATE_MAX,
    GRID,
    Floats,
    Pair,
    compute_distances,
    fit_pair,
)
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.submission import LOGPROB_BITS
from assay.verification.sampling import compute_honest_rates

#: Least probability that is drawn.
_RATE_MIN = 1e-13
#: Values of a curve that are drawn, about: a quarter at equal distances, the others by logarithm.
_DRAWN = 400


def draw_pair(pair: Pair) -> str:
    """Survival of margins, of log-probability and of sketch differences, as an SVG file."""
    margins, logprobs, sketches = [], [], []
    comparisons = {f"honest: {pair.a} against {pair.b}": pair.honest, **pair.attacks}
    for name, comparison in comparisons.items():
        curve = comparison.survival[:, len(pair.tests.margin_levels) + 1 :].mean(axis=0)
        points = [Point(tau, p) for tau, p in zip(GRID, curve, strict=True) if p >= _RATE_MIN]
        margins.append(Series(name, points, marks=None))
        differences = comparison.logprobs / 2**LOGPROB_BITS
        logprobs.append(_make_survival(name, differences, 2.0**-LOGPROB_BITS))
        sketches.append(_make_survival(name, compute_distances(comparison)[1], 1e-2))
    plots = [
        _plot_margins(pair, margins),
        _plot_survival(
            "Log-probabilities",
            "difference, nats (leftmost: none)",
            "share of tokens beyond",
            logprobs,
            Bound("x", pair.tests.logprob_max_bound / 2**LOGPROB_BITS, "bound of the largest"),
        ),
        _plot_survival(
            "Sketches",
            "mean difference of a token (leftmost: none)",
            "share of rollouts beyond",
            sketches,
            Bound("x", pair.tests.sketch_rollout_bound / 1_000, "bound of a rollout"),
        ),
    ]
    return draw_picture(f"Calibration of {pair.a} against {pair.b}", plots, 380, 360)


def _plot_margins(pair: Pair, series: Sequence[Series]) -> Plot:
    rates = compute_honest_rates(
        pair.honest.gini, fit_pair(pair), pair.tests, pair.temperature / 1024
    ).mean(axis=0)
    levels = np.maximum(np.array(pair.tests.margin_levels) / 2**FRACTION_BITS, GRID[0])
    allowed = Series(
        "bound of honest rates at the levels",
        [Point(level, rate) for level, rate in zip(levels.tolist(), rates.tolist(), strict=True)],
        line=False,
        marks="rings",
        look=0,
    )
    return Plot(
        make_log_axis(GRID[0], GRID[-1], "τ, logits"),
        make_log_axis(_RATE_MIN, 1, "P(margin > τ) of a token"),
        [*series, allowed],
        "Margins",
        [
            Bound("x", pair.tests.margin_cap / 2**FRACTION_BITS, "cap"),
            Bound("y", CAP_RATE_MAX, "most that may pass the cap"),
        ],
    )


def _plot_survival(title: str, x: str, y: str, series: Sequence[Series], bound: Bound) -> Plot:
    values = [point for one in series for point in one.points]
    first = min(bound.value, *(point.x for point in values))
    last = max(bound.value, *(point.x for point in values))
    return Plot(
        make_log_axis(first, 1.2 * last, x),
        make_log_axis(min(point.y for point in values), 1, y),
        series,
        title,
        [bound],
    )


def _make_survival(name: str, values: Floats, smallest: float) -> Series:
    """Share of values beyond each. Values below `smallest` are drawn at half of it."""
    ordered = np.sort(np.maximum(values, smallest / 2))
    count = len(ordered)
    ranks = np.concatenate(
        [
            np.linspace(0, count - 1, min(count, _DRAWN // 4)),
            count - np.geomspace(1, count, min(count, 3 * _DRAWN // 4)),
        ]
    )
    chosen = np.unique(ranks.astype(int))
    corners: list[Point] = []
    for rank, value in zip(chosen.tolist(), ordered[chosen].tolist(), strict=True):
        share = 1 - rank / count
        if corners and corners[-1].x < value:  # a step: down where the value begins
            corners.append(Point(value, corners[-1].y))
        corners.append(Point(value, share))
    return Series(name, corners, marks=None)
