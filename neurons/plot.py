"""Reward over windows, as a picture."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator, PercentFormatter

_HONEST, _ACCURACY = "#0b6e4f", "#b35c00"


def plot_reward(summary: dict[str, Any], path: Path) -> None:
    """Mean reward of audited honest groups by window, held-out accuracy at both ends; a PNG."""
    windows, rewards, spread = [], [], []
    for window in summary["windows"]:
        found = [r / 1e6 for v in window["verdicts"] if v["role"] == "honest" for r in v["rewards"]]
        if found:
            mean = sum(found) / len(found)
            variance = sum((r - mean) ** 2 for r in found) / max(1, len(found) - 1)
            windows.append(window["window"])
            rewards.append(mean)
            spread.append(1.96 * (variance / len(found)) ** 0.5)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), dpi=120, layout="constrained")
    axes.errorbar(
        windows, rewards, yerr=spread, color=_HONEST, marker="o", capsize=3,
        label="reward of audited honest groups (mean, 95 %)",
    )  # fmt: skip
    ends = [summary["accuracy"]["before"], summary["accuracy"]["after"]]
    places = [windows[0] - 0.5, windows[-1] + 0.5]
    for place, measured in zip(places, ends, strict=True):
        low, high = measured["interval95"]
        value = measured["accuracy"]
        axes.errorbar(
            [place], [value], yerr=[[value - low], [high - value]], color=_ACCURACY, marker="s",
            capsize=3, label="held-out accuracy before and after (95 %)" if place < 0 else None,
        )  # fmt: skip
        axes.annotate(
            f"{100 * value:.1f} %",
            (place, value),
            (0, -16),
            textcoords="offset points",
            ha="center",
            color=_ACCURACY,
        )
    axes.set(
        xlabel="window", ylim=(0, 1), title="What the miners earned and what the model learned"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    temporary = path.with_name(f".{path.name}")
    figure.savefig(temporary, format="png")
    pyplot.close(figure)
    temporary.replace(path)
