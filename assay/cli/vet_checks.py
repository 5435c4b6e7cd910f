"""Checks of `assay env vet` as a table."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from assay.cli.console import make_table
from assay.environments.foreign.vet_report import VetCheck


def make_checks_table(checks: Iterable[VetCheck]) -> Table:
    """A row for each check: its name, whether it passed, and what was found."""
    table = make_table("looked at", "", "found")
    for check in checks:
        mark = Text("✓", "green") if check.passed else Text("✗", "red")
        table.add_row(check.name, mark, Text(_make_printable(check.detail)))
    return table


def _make_printable(text: str) -> str:
    """Make a stranger's words printable: they must not steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
