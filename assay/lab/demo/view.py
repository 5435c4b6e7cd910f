"""Draws a run: its status and summary for a terminal, its rewards as a picture. Everything comes
from the documents alone."""

from statistics import fmean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from assay.artifacts.status.demo import DemoRunStatus, DemoStatus
from assay.charts.axes import make_count_axis, make_share_axis
from assay.charts.drawing import Plot, Point, Series, draw_picture
from assay.sandbox.child import clean

#: Windows from the first and the last to what was measured before and after them.
_BESIDE = 0.6
_MARKS = {"ACCEPTED": ("✓", "green"), "NO_COMMITMENT": ("·", "dim"), "NOT_REGISTERED": ("·", "dim")}


def render_status(document: DemoStatus) -> RenderableType:
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


def _render_header(stage: str, status: DemoRunStatus) -> Text:
    text = Text()
    text.append(stage, style="bold")
    text.append(
        f"   block {status['block']} of {status['last_block']}"
        f"   window {status['window'] - status['first_window'] + 1} of {status['windows']}\n"
    )
    for phase in status["phases"]:
        text.append(f"  window {phase['window']}: {phase['phase']}\n", style="dim")
    return text


def _render_miners(status: DemoRunStatus) -> Table:
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
    if (gate := summary["gate"]) is not None:
        lines.append(f"on new problems: {gate['gain_sentence']}\n")
    if summary["episode"] is not None:
        lines.append(_render_episode(summary["episode"]))
    lines.append(
        f"{summary['seconds']:.0f} s, at most {summary['peak_rss_mib']:,} MiB in memory\n",
        style="dim",
    )
    if summary["promises_broken"]:
        for promise in summary["promises_broken"]:
            lines.append(f"NOT AS PROMISED: {promise}\n", style="bold red")
    else:
        kept = ["Every cheat earned 0", "the chain paid every honest miner"]
        if accuracy["after_interval95"][0] > accuracy["before_interval95"][1]:
            kept.append("the model got better")  # a recipe's subnet does not promise it
        lines.append(f"{', '.join(kept)}.", style="bold green")
    return Group(table, lines)


def _render_episode(episode: dict[str, Any]) -> Text:
    """An episode of the last checkpoint, turn by turn."""
    lines = Text("\nAn episode of the last checkpoint:\n")
    lines.append(f"  {clean(' '.join(episode['question'].split()))}\n", style="dim")
    for turn in episode["turns"]:
        lines.append(f"  > {_join(turn['turn'])}\n", style="cyan")
        if turn["reply"]:
            lines.append(f"    {_join(turn['reply'])}\n", style="dim")
    return lines.append(f"  {episode['end']}\n\n", style="dim")


def _join(text: str) -> str:
    """A turn on one line."""
    return clean(" ".join(text.split()))


def _render_pay(summary: dict[str, Any], name: str) -> str:
    """A miner's mean share of the consensus' pay to miners."""
    paid = [s["incentives"] for s in summary["settlements"] if s["incentives"] is not None]
    shares = [incentives[name] / (sum(incentives.values()) or 1) for incentives in paid]
    return f"{100 * fmean(shares):.1f} %" if any(shares) else "0"


def plot_reward(summary: dict[str, Any]) -> str:
    """The mean reward of all groups that the trainer accepted, and held-out accuracy at both ends,
    as an SVG file."""
    rewards = []
    for lesson in summary["steps"]:
        values = [reward / 1e6 for reward in lesson["rewards"]]
        mean = fmean(values)
        spread = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        rewards.append(Point(lesson["window"], mean, max(0, mean - spread), min(1, mean + spread)))
    mined = [window["window"] for window in summary["windows"]]
    ends = [
        _make_end(summary["accuracy"], "before", mined[0] - _BESIDE),
        _make_end(summary["accuracy"], "after", mined[-1] + _BESIDE),
    ]
    series = [
        Series("reward of the accepted groups (mean, 95 %)", rewards),
        Series("held-out accuracy before and after (95 %)", ends, line=False),
    ]
    axis = make_count_axis(mined, "window", margin=2 * _BESIDE + len(mined) / 20)
    plot = Plot(axis, make_share_axis("reward and accuracy"), series)
    return draw_picture("The model learns from what miners submit", [plot])


def _make_end(accuracy: dict[str, Any], when: str, place: float) -> Point:
    low, high = accuracy[f"{when}_interval95"]
    value = accuracy[when]
    return Point(place, value, low, high, f"{100 * value:.1f} %")
