"""The picture of a calibration: survival of margins, of log-probability and sketch differences."""

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from assay.inference.pair_report import CAP_RATE_MAX, GRID, Pair, compute_distances, fit_pair
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.submission import LOGPROB_BITS
from assay.verification.sampling import compute_honest_rates

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

_HONEST, _BOUND = "#0b6e4f", "#555555"
_ATTACKS = ("#b35c00", "#7b3294", "#c51b7d", "#2166ac", "#8c6d31")
_RATE_MIN = 1e-13


def draw_pair(pair: Pair) -> bytes:
    """Three panels, PNG bytes: survival of margins, of log-probability and sketch differences."""
    figure, (margins, logprobs, sketches) = pyplot.subplots(
        1, 3, figsize=(15, 5.2), dpi=110, layout="constrained", gridspec_kw={"wspace": 0.06}
    )
    honest = f"honest: {pair.a} against {pair.b}"
    rows = [(honest, _HONEST, pair.honest)] + [
        (name, _ATTACKS[i % len(_ATTACKS)], found)
        for i, (name, found) in enumerate(pair.attacks.items())
    ]
    for name, color, found in rows:
        style: dict[str, Any] = {"color": color, "label": name}
        style |= {"linewidth": 2.8, "zorder": 3} if found is pair.honest else {"linewidth": 1.6}
        curve = found.survival[:, len(pair.tests.margin_levels) + 1 :].mean(axis=0)
        seen = curve > 0
        margins.plot(np.array(GRID)[seen], curve[seen], **style)
        _draw_survival(logprobs, found.logprobs / 2**LOGPROB_BITS, 2.0**-LOGPROB_BITS, style)
        _draw_survival(sketches, compute_distances(found)[1], 1e-2, style)
    _finish_margins(margins, pair)
    bound = pair.tests.logprob_max_bound / 2**LOGPROB_BITS
    logprobs.set(
        xscale="log",
        yscale="log",
        title="Log-probabilities",
        ylabel="share of tokens beyond",
        xlabel="difference, nats (leftmost: none)",
    )
    _mark(logprobs, bound, "bound of the largest")
    sketches.set(
        xscale="log",
        yscale="log",
        title="Sketches",
        ylabel="share of rollouts beyond",
        xlabel="mean difference a token (leftmost: none)",
    )
    _mark(sketches, pair.tests.sketch_rollout_bound / 1_000, "bound of a rollout")
    for axes in (margins, logprobs, sketches):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    handles, labels = margins.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=10
    )
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    pyplot.close(figure)
    return data.getvalue()


def _finish_margins(axes: Axes, pair: Pair) -> None:
    axes.set(
        xscale="log",
        yscale="log",
        ylim=(_RATE_MIN, 2),
        xlim=(GRID[0], GRID[-1]),
        title="Margins",
        xlabel="τ, logits",
        ylabel="P(margin > τ) a token",
    )
    _mark(axes, pair.tests.margin_cap / 2**FRACTION_BITS, "cap")
    tests, honest = pair.tests, pair.honest
    rates = fit_pair(pair)
    bounds = compute_honest_rates(honest.gini, rates, tests, pair.temperature / 1024).mean(axis=0)
    levels = np.maximum(np.array(tests.margin_levels) / 2**FRACTION_BITS, GRID[0])
    axes.plot(
        levels,
        bounds,
        color=_HONEST,
        linestyle="none",
        marker="v",
        markersize=6,
        clip_on=False,
        markerfacecolor="white",
        label="bound of honest rates at the levels",
    )
    axes.axhline(CAP_RATE_MAX, color=_BOUND, linestyle=":", linewidth=1)
    axes.annotate(
        "most that may pass the cap",
        (GRID[-1], CAP_RATE_MAX),
        (-4, 4),
        color=_BOUND,
        textcoords="offset points",
        ha="right",
        fontsize=9,
    )


def _draw_survival(
    axes: Axes, values: NDArray[np.float64], smallest: float, style: Mapping[str, Any]
) -> None:
    """Share of values beyond each. Values below `smallest` are drawn at half of it."""
    ordered = np.sort(np.maximum(values, smallest / 2))
    share = 1 - np.arange(len(ordered)) / len(ordered)
    axes.step(ordered, share, where="post", **style)
    axes.plot(ordered[-1], share[-1], marker="o", markersize=4, color=style["color"])


def _mark(axes: Axes, place: float, text: str) -> None:
    axes.axvline(place, color=_BOUND, linestyle="--", linewidth=1.2)
    axes.annotate(
        text,
        (place, 0),
        (-4, 6),
        xycoords=("data", "axes fraction"),
        color=_BOUND,
        rotation=90,
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=9,
    )
