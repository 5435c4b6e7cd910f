"""What `assay gauntlet` prints."""

import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.lab.gauntlet.measuring import TableRow
from assay.lab.gauntlet.run import PlayedGauntlet
from assay.lab.gauntlet.strategy import PRICES
from assay.protocol.reason import Reason
from assay.subnet.waiting import Report, ignore_report

#: Columns that the table takes.
_WIDTH = 160


def choose_report(quiet: bool) -> Report:
    """What prints lines on stderr with the seconds so far, or nothing with `quiet`."""
    errors, started = Console(stderr=True, highlight=False), time.monotonic()

    def report(line: str) -> None:
        errors.print(f"[{time.monotonic() - started:4.0f} s] {line}", markup=False)

    return ignore_report if quiet else report


def show_gauntlet(played: PlayedGauntlet, as_json: bool) -> None:
    """Show the table, and what must not happen."""
    print_result(played.to_json(), as_json, _render(played.rows, played.broken), _WIDTH)


def _render(rows: Sequence[TableRow], broken: Sequence[str]) -> RenderableType:
    models = dict.fromkeys(row.model for row in rows)
    tables = [_render_model([row for row in rows if row.model == m], m) for m in models]
    prices = ", ".join(f"{name} {price:g}" for name, price in PRICES.items())
    legend = Text(
        f"Cost of a token, in the attacker's favour: {prices}. Income: settled score a unit of "
        "cost over 200 windows, honest work with the same engine being 1; ± is a standard "
        "error. 99.99 %: completion tokens until caught, from a lower bound of the rate per "
        "rollout. A strategy pays if it earns more than 1 by three errors.",
        style="dim",
    )
    words = [Text(f"BROKEN: {sentence}", style="bold red") for sentence in broken] or [
        Text(
            "Every legal strategy was accepted; no other earned more than honest work.",
            style="bold green",
        )
    ]
    return Group(*tables, legend, *words)


def _render_model(rows: Sequence[TableRow], model: str) -> Table:
    table = make_table(
        "strategy",
        "rollouts\ndiffer",
        "of these\ncaught",
        "rollouts\ncaught",
        "groups\ncaught",
        "windows\ncaught",
        "tokens to\n99.99 %",
        "income\n",
        "refused for",
        left=("strategy", "refused for"),
        title=f"{model}, in percent",
        title_justify="left",
    )
    for row in rows:
        style = "bold red" if row.is_broken else "green" if row.legal else None
        shares = (
            row.differs,
            row.caught_given_differs,
            row.detected_per_rollout,
            row.detected_per_group,
            row.detected_per_window,
        )
        table.add_row(
            row.attack,
            *("" if share is None else f"{100 * share:.1f}" for share in shares),
            "" if row.tokens_to_9999 is None else f"{row.tokens_to_9999:,}",
            f"{row.income_per_compute:.2f}±{row.income_error:.2f}",
            ", ".join(name for name in row.reasons if name != Reason.ACCEPTED.value),
            style=style,
        )
    return table
