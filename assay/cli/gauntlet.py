"""`assay gauntlet`: the strategies, the table, the exit code."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from assay.cli.console import make_table, print_result
from assay.lab.gauntlet.attack_setup import AttackSetup
from assay.lab.gauntlet.bench_models import BENCH, EPISODES, SHIPPED, build_models, open_family
from assay.lab.gauntlet.chain_setup import WINDOWS, run_calendar
from assay.lab.gauntlet.measuring import TableRow, choose, describe, run_family
from assay.lab.gauntlet.strategy import PRICES
from assay.lab.gauntlet.table import CALENDAR, STRATEGIES
from assay.network.files import write_json
from assay.protocol.reason import Reason
from assay.settings.loading import ConfigError, make_out_folder
from assay.settings.placing import open_placement
from assay.settings.sections import Settings

_FAST_GROUPS = 8
#: Columns that the table takes.
_WIDTH = 160


def run_gauntlet(every: Settings, as_json: bool, quiet: bool) -> int:
    """Measure, print and judge. Return 1 if a row shows something that must not happen."""
    settings = every.gauntlet
    started = time.monotonic()
    if every.compute.threads is None:
        torch.set_num_threads(1)  # small models: threads would wait for each other
    placement = open_placement(every.compute)
    torch.manual_seed(0)
    errors = Console(stderr=True, highlight=False)

    def report(line: str) -> None:
        if not quiet:
            errors.print(f"[{time.monotonic() - started:4.0f} s] {line}", markup=False)

    titles = {kind.title.lower() for kind in STRATEGIES + CALENDAR}
    if settings.only is not None and not any(settings.only.lower() in t for t in titles):
        raise ConfigError(f"no strategy has {settings.only!r} in its name")
    if settings.out is not None:
        make_out_folder(settings.out)
    groups = min(settings.groups, _FAST_GROUPS) if settings.fast else settings.groups
    if not settings.fast:
        build_models(settings.models)
    rows: list[TableRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (SHIPPED,) if settings.fast else (SHIPPED, BENCH, EPISODES):
            family = open_family(name, settings.models)
            wanted_roles = set() if name == EPISODES else {"smaller", "sibling", "foreign"}
            if missing := sorted(wanted_roles - family.others.keys()):
                report(f"{name}: no {', '.join(missing)} model in {settings.models}: left out")
            setup = AttackSetup(family, Path(folder) / name, groups, placement)
            rows += run_family(setup, choose(settings.only), report)
        rows += run_calendar(
            Path(folder) / "calendar", 2 if settings.fast else WINDOWS, settings.only, report
        )
    wanted = (settings.only or "").lower()
    if not any(wanted in row.attack.lower() for row in rows):
        raise ConfigError(
            f"{settings.only!r} did not run: it needs the bench models, so run it without --fast"
        )
    document = describe(rows, time.monotonic() - started)
    document["asked"] = {"fast": settings.fast, "groups": groups, "only": settings.only}
    if settings.out is not None:
        write_json(settings.out / "gauntlet.json", document)
    print_result(document, as_json, _render(rows, document["broken"]), _WIDTH)
    return 1 if document["broken"] else 0


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
