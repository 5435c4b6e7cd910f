"""A run's status drawn for a terminal. Everything comes from the status document alone."""

from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_MARKS = {"ACCEPTED": ("✓", "green"), "NO_COMMITMENT": ("·", "dim"), "NOT_REGISTERED": ("·", "dim")}


def render_status(document: dict[str, Any]) -> RenderableType:
    """Header, miners, and what was learned."""
    status = document["demo"]
    parts: list[RenderableType] = [
        _render_header(document["stage"], status),
        _render_miners(status),
    ]
    if status["lessons"]:
        parts.append(_render_lessons(status))
    parts += [Text(note, style="yellow") for note in status["notes"]]
    return Group(*parts)


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


def _render_lessons(status: dict[str, Any]) -> Text:
    text = Text("reward of what the trainer accepted, by window: ")
    for lesson in status["lessons"]:
        text.append(f"{lesson['reward']:.2f} ", style="cyan")
    return text


def render_summary(summary: dict[str, Any]) -> RenderableType:
    """The demo's closing words."""
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
    table.add_column("refused for", overflow="fold")  # where it is narrow, figures stay whole
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
    """A miner's mean share of what the chain's consensus gave to miners."""
    found = [s["incentives"] for s in summary["settlements"] if s["incentives"] is not None]
    shares = [incentives[name] / (sum(incentives.values()) or 1) for incentives in found]
    return f"{100 * fmean(shares):.1f} %" if any(shares) else "0"
