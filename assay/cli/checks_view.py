"""Checks on a terminal: a line each, as soon as it is known. Light: the first ones come before
PyTorch is loaded."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.cli.console import open_console
from assay.neurons.preflight.check_results import CheckState, Note, PreflightCheck

if TYPE_CHECKING:
    from assay.neurons.miner.dry_run import DryRun, Earning
    from assay.neurons.miner.mining_cost import MiningCost

#: Columns of a check's name, to align lines that are printed one by one.
_NAME_WIDTH = 12
_FINDING = attrgetter("state", "detail", "remedy")
_MARKS = {
    CheckState.OK: ("✓", "green"),
    CheckState.WARN: ("!", "yellow"),
    CheckState.FAIL: ("✗", "red"),
}


def render_checks(checks: Sequence[PreflightCheck]) -> RenderableType:
    """One line for each check, with the remedy below its finding. A shared remedy is shown once."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(min_width=_NAME_WIDTH)
    table.add_column(overflow="fold")
    for (state, detail, remedy), alike in groupby(checks, _FINDING):
        mark, style = _MARKS[state]
        words = Text(detail)
        if remedy:
            words.append(f"\n→ {remedy}", style=style)
        names = "\n".join(check.check for check in alike)
        table.add_row(Text(mark, style=style), Text(names), words)
    return table


@contextmanager
def print_checks(as_json: bool) -> Iterator[Note]:
    """A function that prints findings as they come: lines, or the items of one JSON document."""
    console, count = open_console(), 0

    def note(*checks: PreflightCheck) -> None:
        nonlocal count
        if checks and not as_json:
            console.print(render_checks(checks))
        for check in checks if as_json else ():
            print(f"{',' if count else ''}\n{json.dumps(check.to_json())}", end="")
            count += 1
        sys.stdout.flush()

    if as_json:
        print("[", end="", flush=True)
    try:
        yield note
    finally:
        if as_json:
            print("\n]")


def show_checks(checks: Iterable[PreflightCheck], as_json: bool) -> bool:
    """Show checks, each as soon as it is known. Return whether nothing must be fixed."""
    is_fit = True
    with print_checks(as_json) as show:
        for check in checks:
            show(check)
            is_fit &= check.state is not CheckState.FAIL
    return is_fit


def render_dry_run(run: "DryRun", cost: "MiningCost | None" = None) -> RenderableType:
    """The checks, then the rough earnings with their inputs, and what the machine costs."""
    parts = [render_checks(run.checks)]
    if run.earning is not None:
        parts.append(_describe_earning(run.earning))
    if cost is not None:
        parts.append(_describe_cost(cost))
    words = "everything is ready" if run.ready else "not ready: see the lines marked ✗"
    parts.append(Text(words, style="bold green" if run.ready else "bold red"))
    return Group(*parts)


def _describe_earning(earning: "Earning") -> Text:
    text = Text("rough estimate, if nothing changes and all groups are accepted:\n", style="bold")
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
        after = "never at that rate" if days is None else f"earned back in {days:,.1f} days"
        text.append(f"  a uid costs {earning.registration / 1e9:,.4f} TAO: {after}\n")
    return text


def _describe_cost(cost: "MiningCost") -> Text:
    """A window's cost, its pay, and what is not known of it."""
    from assay.settings.money import format_dollars

    text = Text(f"a window of {cost.cycle_seconds:,.0f} s on this machine:\n", style="bold")
    text.append(
        f"  costs {format_dollars(cost.window)} at {format_dollars(cost.hour)} an hour, rented all "
        "the time"
    )
    if cost.million is not None:
        text.append(f"; a million tokens take {format_dollars(cost.million)} while it draws")
    text.append("\n")
    if cost.alpha is None or cost.tao is None:
        text.append("  its pay is not known: the chain could not be read\n")
        return text
    text.append(f"  is paid {cost.alpha / 1e9:,.6f} alpha, {cost.tao / 1e9:,.6f} TAO\n")
    if cost.pay is not None and cost.tao_price is not None:
        at = f"at {format_dollars(cost.tao_price)} a TAO: {format_dollars(cost.pay)}"
        more = cost.pay - cost.window
        left = f"{format_dollars(abs(more))} {'less' if more < 0 else 'more'} than it costs"
        text.append(f"  {at}, {left}\n")
    if cost.even_tao_price is None:
        text.append("  no price of TAO covers the cost: nothing is paid\n")
    else:
        known = "" if cost.pay is not None else ", which the chain does not know (--tao-price)"
        even = format_dollars(cost.even_tao_price)
        text.append(f"  pay covers the cost from {even} a TAO on{known}\n")
    text.append("  not known: future emission, other miners, and what sales do to alpha's price\n")
    return text
