"""Draws a run: its status and summary for a terminal, its rewards as a picture. Everything comes
from the documents alone."""

from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_HONEST, _ACCURACY = "#0b6e4f", "#b35c00"
_MARKS = {"ACCEPTED": ("✓", "green"), "NO_COMMITMENT": ("·", "dim"), "NOT_REGISTERED": ("·", "dim")}


def render_status(document: dict[str, Any]) -> RenderableType:
    """Header, miners, and learning progress."""
    status = document["demo"]
    parts: list[RenderableType] = [
        _render_header(document["stage"], status),
        _render_miners(status),
    ]
    if status["steps"]:
        text = Text("reward of what the trainer accepted, by window: ")
        for lesson in status["steps"]:
            text.append(f"{lesson['reward']:.2f} ", style="cyan")
        parts.append(text)
    return Group(*parts, *(Text(note, style="yellow") for note in status["notes"]))


def _render_header(stage: str, status: dict[str, Any]) -> Text:
    checkpoint = status["checkpoint"]
    text = Text()
    text.append(stage, style="bold")
    text.append(
        f"   block {status['block']} of {status['last_block']}"
        f"   window {status['window'] - status['first_window'] + 1} of {status['windows']}"
        f"   checkpoint {checkpoint['number']} ({checkpoint['digest'][:12]}…)\n"
    )
    for phase in status["phases"]:
        text.append(f"  window {phase['window']}: {phase['phase']}\n", style="dim")
    return text


def _render_miners(status: dict[str, Any]) -> Table:
    total = sum(miner["weight"] for miner in status["miners"]) or 1
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0))
    table.add_column("miner", no_wrap=True)
    table.add_column("role", no_wrap=True)
    table.add_column("groups", justify="right", no_wrap=True)
    table.add_column("verdicts", no_wrap=True)
    table.add_column("last reason", overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("weight", justify="right", no_wrap=True)
    for miner in status["miners"]:
        marks = Text()
        for verdict in miner["verdicts"]:
            mark, style = _MARKS.get(verdict["reason"], ("✗", "red"))
            marks.append(mark, style=style)
        last = miner["verdicts"][-1] if miner["verdicts"] else None
        work = miner["at_work"]
        table.add_row(
            escape(miner["name"]),
            miner["role"],
            "" if work is None else f"{work['groups']}",
            marks,
            last["reason"] if last else "",
            f"{last['score']:,}" if last else "",
            f"{100 * miner['weight'] / total:.1f} %" if miner["weight"] else "0",
        )
    return table


def render_summary(summary: dict[str, Any]) -> RenderableType:
    """The demo's final report."""
    table = Table(
        box=SIMPLE_HEAD,
        title="earned in each settlement, by windows",
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("miner", no_wrap=True)
    for settlement in summary["settlements"]:
        ends = sorted({settlement["windows"][0], settlement["windows"][-1]})
        table.add_column("–".join(map(str, ends)), justify="right", no_wrap=True)
    table.add_column("paid", justify="right", no_wrap=True)
    table.add_column("refused for", overflow="fold")  # in a narrow terminal, figures stay whole
    names: dict[str, set[str]] = {}
    for window in summary["windows"]:
        for verdict in window["verdicts"]:
            names.setdefault(verdict["name"], set()).add(verdict["reason"])
    for name, reasons in names.items():
        scores = [f"{s['scores'][name]:,}" for s in summary["settlements"]]
        refused = ", ".join(sorted(reasons - {"ACCEPTED"})) or "–"
        table.add_row(name, *scores, _render_pay(summary, name), refused)
    accuracy = summary["accuracy"]
    lines = Text()
    for when in ("before", "after"):
        low, high = accuracy[f"{when}_interval95"]
        lines.append(
            f"held-out accuracy {when:<6} {100 * accuracy[when]:.1f} %  "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}, "
            f"{accuracy['problems']:,} problems)\n"
        )
    lines.append(
        f"{summary['seconds']:.0f} s, at most {summary['peak_rss_mib']:,} MiB in memory\n",
        style="dim",
    )
    if summary["promises_broken"]:
        for promise in summary["promises_broken"]:
            lines.append(f"NOT AS PROMISED: {promise}\n", style="bold red")
    else:
        lines.append(
            "Every cheat earned 0, the chain paid every honest miner, the model got better.",
            style="bold green",
        )
    return Group(table, lines)


def _render_pay(summary: dict[str, Any], name: str) -> str:
    """A miner's mean share of the consensus' pay to miners."""
    found = [s["incentives"] for s in summary["settlements"] if s["incentives"] is not None]
    shares = [incentives[name] / (sum(incentives.values()) or 1) for incentives in found]
    return f"{100 * fmean(shares):.1f} %" if any(shares) else "0"


def plot_reward(summary: dict[str, Any], path: Path) -> None:
    """Plot the mean reward of all groups that the trainer accepted, and held-out accuracy at both
    ends; a PNG."""
    import matplotlib  # a light command draws only tables

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import PercentFormatter

    windows = [lesson["window"] for lesson in summary["steps"]]
    rewards, spread = [], []
    for lesson in summary["steps"]:
        found = [reward / 1e6 for reward in lesson["rewards"]]
        rewards.append(fmean(found))
        deviation = stdev(found) if len(found) > 1 else 0.0
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
