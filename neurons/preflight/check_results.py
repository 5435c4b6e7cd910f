"""The result of one check, and its display: a line as soon as it is known. Light: the first checks
come before PyTorch is loaded."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from assay.cli.console import open_console
from assay.protocol.errors import OperatorError

T = TypeVar("T")

#: Columns of a check's name, to align lines that are printed one by one.
_NAME_WIDTH = 12


class CheckState(StrEnum):
    """The outcome of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class PreflightCheck:
    """The result of one check."""

    check: str  # its name, one word
    state: CheckState
    detail: str  # the finding
    remedy: str = ""  # what to do; empty if nothing

    def to_json(self) -> dict[str, Any]:
        """The result in the form of `assay doctor --json`."""
        return asdict(self) | {"state": self.state.value}


#: Takes the results of one check, or of several at once.
Note = Callable[..., None]


def attempt(name: str, remedy: str, look: Callable[[], PreflightCheck]) -> PreflightCheck:
    """Run a check that may raise an error. An error that an operator can fix becomes its failure.
    `remedy` says what to do then, besides the error's own text."""
    try:
        return look()
    except (OperatorError, OSError) as error:
        return PreflightCheck(name, CheckState.FAIL, str(error), remedy)


class OpenAttempt:
    """Opens one thing after the other. A thing that cannot be opened becomes a failure, which
    `note` gets, and None."""

    def __init__(self, note: Note) -> None:
        self._note = note

    def open(self, name: str, remedy: str, make: Callable[[], T], *needs: object) -> T | None:
        """Open a thing with `make`. None if that fails, or if something that it needs is None."""
        if any(need is None for need in needs):
            return None
        try:
            return make()
        except (OperatorError, OSError) as error:
            self._note(PreflightCheck(name, CheckState.FAIL, str(error), remedy))
            return None


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
