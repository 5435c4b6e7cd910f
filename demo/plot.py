"""Reward over windows, as a picture."""

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import PercentFormatter

_HONEST, _ACCURACY = "#0b6e4f", "#b35c00"


def plot_reward(summary: dict[str, Any], path: Path) -> None:
    """Mean reward of all groups the trainer accepted, held-out accuracy at both ends; a PNG."""
    windows = [lesson["window"] for lesson in summary["lessons"]]
    rewards, spread = [], []
    for lesson in summary["lessons"]:
        found = [reward / 1e6 for reward in lesson["rewards"]]
        rewards.append(statistics.fmean(found))
        deviation = statistics.stdev(found) if len(found) > 1 else 0.0
        spread.append(1.96 * deviation / len(found) ** 0.5)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes.errorbar(
        windows,
        rewards,
        yerr=spread,
        color=_HONEST,
        marker="o",
        capsize=3,
        label="reward of the accepted groups (mean, 95 %)",
    )
    accuracy = summary["accuracy"]
    mined = [window["window"] for window in summary["windows"]]
    places = [mined[0] - 0.6, mined[-1] + 0.6]
    for place, when in zip(places, ("before", "after"), strict=True):
        low, high = accuracy[f"{when}_interval95"]
        value = accuracy[when]
        axes.errorbar(
            [place],
            [value],
            yerr=[[value - low], [high - value]],
            color=_ACCURACY,
            marker="s",
            capsize=3,
            label="held-out accuracy before and after (95 %)" if when == "before" else None,
        )
        axes.annotate(
            f"{100 * value:.1f} %",
            (place, value),
            (0, -16),
            textcoords="offset points",
            ha="center",
            color=_ACCURACY,
        )
    axes.set(
        xlabel="window",
        ylabel="reward, accuracy",
        ylim=(0, 1),
        title="The model learns from what miners submit",
    )
    axes.set_xticks(mined[:: max(1, len(mined) // 12)])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    pyplot.close(figure)
    temporary.replace(path)
