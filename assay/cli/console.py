"""Output of commands."""

import json
from collections.abc import Container
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

#: Least columns of a table of figures. A narrower terminal breaks its lines, which is ugly but
#: legible; cut figures would not be.
FIGURES = 80
#: Columns where no terminal sets them.
_WIDE = 1_000


def open_console(least: int = 0) -> Console:
    """A console for standard output. In a file or a pipe each row is one line of any length, so no
    figures are cut and no sentences broken. `least` is the minimum of columns on a narrow
    terminal."""
    console = Console(highlight=False)
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    return console


def print_result(document: Any, as_json: bool, view: RenderableType, least: int = 0) -> None:
    """Print one JSON document, or the form for people."""
    if as_json or isinstance(view, str):
        print(json.dumps(document) if as_json else view)
    else:
        open_console(least).print(view)


def make_table(*names: str, left: Container[str] | None = None, **options: Any) -> Table:
    """A table whose cells fold.

    Args:
        left: for a table of figures: nothing folds, and all columns but these are right-aligned.
        options: of `Table`.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, **options)
    for name in names:
        if left is None:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table
