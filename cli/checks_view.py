"""Checks and a dry run drawn for a terminal."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.neurons.miner.dry_run import DryRun, Earning
from assay.neurons.session.checks import CheckState, PreflightCheck

_FINDING = attrgetter("state", "detail", "remedy")
_MARKS = {
    CheckState.OK: ("✓", "green"),
    CheckState.WARN: ("!", "yellow"),
    CheckState.FAIL: ("✗", "red"),
}


def render_checks(checks: Sequence[PreflightCheck]) -> RenderableType:
    """A line a check, what to do below its finding; what several have in common is said once."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_header=False)
    for _ in ("mark", "check", "words"):
        table.add_column(overflow="fold")  # a path that is cut cannot be found
    for (state, detail, remedy), alike in groupby(checks, _FINDING):
        mark, style = _MARKS[state]
        words = Text(detail)
        if remedy:
            words.append(f"\n→ {remedy}", style=style)
        names = "\n".join(check.check for check in alike)
        table.add_row(Text(mark, style=style), Text(names), words)
    return table


def render_dry_run(run: DryRun) -> RenderableType:
    """Checks, then the rough earning with what it was computed from."""
    parts = [render_checks(run.checks)]
    if run.earning is not None:
        parts.append(_describe_earning(run.earning))
    words = "nothing stands in the way" if run.ready else "not ready: see the lines marked ✗"
    parts.append(Text(words, style="bold green" if run.ready else "bold red"))
    return Group(*parts)


def _describe_earning(earning: Earning) -> Text:
    text = Text("roughly, if all stays as it was and every group is accepted:\n", style="bold")
    text.append(
        f"  {earning.own_groups:,} groups a window beside {earning.other_groups:,} of others "
        f"(window {earning.window}): {earning.share:.2%} of what miners get\n"
        f"  miners got {earning.paid / 1e9:,.4f} alpha in the last epoch, "
        f"{earning.epochs_a_day:.1f} epochs a day: {earning.alpha_a_day / 1e9:,.4f} alpha a day\n"
        f"  at {earning.alpha_price / 1e9:,.6f} TAO an alpha: "
        f"{earning.alpha_a_day * earning.alpha_price / 1e18:,.4f} TAO a day\n"
    )
    if earning.registration is not None:
        days = earning.registration_days
        after = "never at that" if days is None else f"earned back in {days:,.1f} days"
        text.append(f"  a uid costs {earning.registration / 1e9:,.4f} TAO: {after}\n")
    return text
