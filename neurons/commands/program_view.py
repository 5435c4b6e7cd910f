"""A neuron's status.json drawn for a terminal, from the document alone."""

import time
from collections import Counter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.neurons.mining.history_view import render_history

#: Seconds after which a status is said to be old: a running program writes every second.
_OLD_S = 30


def render_program(status: dict[str, Any]) -> RenderableType:
    """Header, then what that program has to show."""
    parts = [_render_header(status)]
    draw = {"miner": _render_miner, "validator": _render_validator, "trainer": _render_trainer}
    parts += draw[status["program"]](status)
    if status["trouble"]:
        parts.append(Text(status["trouble"], style="yellow"))
    return Group(*parts)


def _render_header(status: dict[str, Any]) -> RenderableType:
    text = Text()
    text.append(status["program"], style="bold")
    text.append(
        f"  {status['hotkey']}\n"
        f"subnet {status['netuid']}   block {status['head']:,}   window {status['window_now']:,}"
    )
    age = int(time.time()) - status["at"]
    if age > _OLD_S:
        text.append(f"   not running: written {age:,} s ago", style="yellow")
    for item in status.get("fetching", ()):
        done, due = item["bytes"] / 1e9, item["of"] / 1e9
        text.append(f"\nfetching checkpoint {item['checkpoint'][:16]}…: {done:.2f} of {due:.2f} GB")
    return text


def _render_miner(status: dict[str, Any]) -> list[RenderableType]:
    work = status["at_work"]
    doing = Text("" if work is None else f"window {work['window']}: {work['groups']} groups done")
    return [doing, render_history(status["windows"])]


def _render_validator(status: dict[str, Any]) -> list[RenderableType]:
    windows = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("window", "state", "accepted", "others"):
        windows.add_column(name, overflow="fold")
    for window in status["windows"]:
        reasons = Counter(verdict["reason"] for verdict in window["verdicts"])
        accepted = reasons.pop("ACCEPTED", 0)
        others = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        state = "void" if window["void"] else window["state"]
        said = "; ".join(filter(None, (others, window["missing"])))
        windows.add_row(str(window["window"]), state, str(accepted), said)
    return [windows, render_settlements(status["settlements"]), _render_posts(status)]


def _render_posts(status: dict[str, Any]) -> RenderableType:
    """How settlements fare on their way to the ledger: nothing where none is posted."""
    counts = Counter(post["state"] for post in status.get("posts", []))
    trouble = status.get("posting_trouble")
    if not counts and not trouble:
        return Text("")
    said = ", ".join(f"{n} {state}" for state, n in sorted(counts.items()))
    text = Text(f"ledger: {said or 'nothing to post yet'}")
    if trouble:
        text.append(f"\n{trouble}", style="yellow")
    return text


def render_settlements(rows: list[dict[str, Any]]) -> RenderableType:
    """A validator's weights and what became of them."""
    if not rows:
        return Text("nothing is settled yet", style="dim")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("epoch", "weights", "sent at", "confirmed at", "uids", "trouble"):
        table.add_column(name, overflow="fold")
    for row in rows:
        cells = (row["sent_at"], row["confirmed_at"], len(row["weights"]), row["trouble"])
        table.add_row(
            str(row["epoch"]), row["state"], *("" if cell is None else str(cell) for cell in cells)
        )
    return table


def _render_trainer(status: dict[str, Any]) -> list[RenderableType]:
    if not status["lessons"]:
        return [Text("no lesson yet", style="dim")]
    tried = {point["number"]: point["correct"] / point["problems"] for point in status["held_out"]}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("window", "groups", "mean reward", "checkpoint", "held-out", "digest"):
        table.add_column(name, justify="left" if name == "digest" else "right", no_wrap=True)
    for lesson in status["lessons"]:
        digest = lesson["digest"][:16] + "…"
        table.add_row(
            *(str(lesson[key]) for key in ("window", "groups")), f"{lesson['reward']:.3f}",
            str(lesson["checkpoint"]),
            f"{tried[lesson['checkpoint']]:.3f}" if lesson["checkpoint"] in tried else "", digest,
        )  # fmt: skip
    alarm = status["alarm"]
    return [table] if alarm is None else [table, Text(alarm, style="red")]
