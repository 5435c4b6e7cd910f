"""`assay gauntlet`: the strategies, the table, the exit code."""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from assay.gauntlet.attack_setup import AttackSetup
from assay.gauntlet.bench_models import BENCH, SHIPPED, build_models, open_family
from assay.gauntlet.chain_setup import WINDOWS, run_calendar
from assay.gauntlet.measuring import TableRow, choose, describe, run_family
from assay.gauntlet.strategy import PRICES
from assay.gauntlet.table import CALENDAR, STRATEGIES
from assay.network.files import write_json
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import GauntletSettings
from assay.protocol import Reason

_FAST_GROUPS = 8
#: Columns that the table takes.
_WIDTH = 160


def run_gauntlet(settings: GauntletSettings, as_json: bool, quiet: bool) -> int:
    """Measures, prints and judges; 1 if a row shows what must not be.

    Raises:
        CheckpointError, StoreError, ConfigError: it could not run.
    """
    started = time.monotonic()
    torch.set_num_threads(1)  # small models: threads would wait for each other
    torch.manual_seed(0)
    errors = Console(stderr=True, highlight=False)

    def report(line: str) -> None:
        if not quiet:
            errors.print(f"[{time.monotonic() - started:4.0f} s] {line}", markup=False)

    titles = {kind.title.lower() for kind in STRATEGIES + CALENDAR}
    if settings.only is not None and not any(settings.only.lower() in t for t in titles):
        raise ConfigError(f"no strategy has {settings.only!r} in its name")
    if settings.out is not None:
        try:
            settings.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write to --out {settings.out} ({error.strerror})") from None
    groups = min(settings.groups, _FAST_GROUPS) if settings.fast else settings.groups
    if not settings.fast:
        build_models(settings.models)
    rows: list[TableRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (SHIPPED,) if settings.fast else (SHIPPED, BENCH):
            family = open_family(name, settings.models)
            if missing := sorted({"smaller", "sibling", "foreign"} - family.others.keys()):
                report(f"{name}: no {', '.join(missing)} model in {settings.models}: left out")
            setup = AttackSetup(family, Path(folder) / name, groups)
            rows += run_family(setup, choose(settings.only), report)
        rows += run_calendar(
            Path(folder) / "calendar", 2 if settings.fast else WINDOWS, settings.only, report
        )
    wanted = (settings.only or "").lower()
    if not any(wanted in row.attack.lower() for row in rows):
        raise ConfigError(
            f"nothing ran of {settings.only!r}: it needs the bench models, so run it without --fast"
        )
    document = describe(rows, time.monotonic() - started)
    document["asked"] = {"fast": settings.fast, "groups": groups, "only": settings.only}
    if settings.out is not None:
        write_json(settings.out / "gauntlet.json", document)
    if as_json:
        print(json.dumps(document))
    else:
        console = Console(soft_wrap=True, highlight=False)
        console.width = max(console.width, _WIDTH)  # a row is a line, also in a file
        for model in dict.fromkeys(row.model for row in rows):
            console.print(render([row for row in rows if row.model == model], model))
        prices = ", ".join(f"{name} {price:g}" for name, price in PRICES.items())
        console.print(
            f"Cost of a token, in the attacker's favour: {prices}. Income: settled score a unit of "
            "cost over 200 windows, honest work with the same engine being 1; ± is a standard "
            "error. 99.99 %: completion tokens until caught, from a lower bound of the rate per "
            "rollout. A strategy pays if it earns more than 1 by three errors.",
            style="dim",
        )
        for broken in document["broken"]:
            console.print(f"BROKEN: {broken}", style="bold red", markup=False)
        if not document["broken"]:
            console.print(
                "Every legal strategy was accepted; no other earned more than honest work.",
                style="bold green",
            )
    return 1 if document["broken"] else 0


def show(share: float | None) -> str:
    """A share in percent, or nothing."""
    return "" if share is None else f"{100 * share:.1f}"


def render(rows: Sequence[TableRow], model: str) -> Table:
    """The table of one model."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        title=f"{model}, in percent",
        title_justify="left",
    )
    table.add_column("strategy", no_wrap=True)
    for name in (
        "rollouts\ndiffer",
        "of these\ncaught",
        "rollouts\ncaught",
        "groups\ncaught",
        "windows\ncaught",
        "tokens to\n99.99 %",
        "income\n",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("refused for", no_wrap=True)
    for row in rows:
        style = "bold red" if row.is_broken else "green" if row.legal else None
        table.add_row(
            row.attack,
            show(row.differs),
            show(row.caught_given_differs),
            show(row.detected_per_rollout),
            show(row.detected_per_group),
            show(row.detected_per_window),
            "" if row.tokens_to_9999 is None else f"{row.tokens_to_9999:,}",
            f"{row.income_per_compute:.2f}±{row.income_error:.2f}",
            ", ".join(name for name in row.reasons if name != Reason.ACCEPTED.value),
            style=style,
        )
    return table
