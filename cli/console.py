"""What commands print, and what they ask before anything is sent."""

import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

from assay.neurons.settings.loading import ConfigError

#: Asks a person to agree to a sentence.
Confirm = Callable[[str], bool]

#: Columns that a table of figures takes at least: a narrower terminal breaks its lines, which is
#: ugly and legible; cut figures are neither.
FIGURES = 80
#: Columns where nobody's terminal sets them.
_WIDE = 1_000


def open_console(least: int = 0) -> Console:
    """Standard output. Into a file or a pipe a row is a line, whatever its length: there is no
    width to cut figures or to break sentences for. least: columns, however narrow a terminal is."""
    console = Console(highlight=False)
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    return console


def print_result(document: Any, as_json: bool, shown: RenderableType, least: int = 0) -> None:
    """One JSON document, or what people read."""
    if as_json or isinstance(shown, str):
        print(json.dumps(document) if as_json else shown)
    else:
        open_console(least).print(shown)


def make_table(*names: str, left: Container[str] | None = None, **options: Any) -> Table:
    """A table whose cells fold.

    Args:
        left: it is one of figures instead: nothing folds, and all columns but these stand right.
        options: of `Table`.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, **options)
    for name in names:
        if left is None:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def make_out_folder(folder: Path) -> None:
    """What --out names, made where it is missing. Raises ConfigError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write to --out {folder} ({error.strerror})") from None


def require_consent(confirm: Confirm, question: str, kept: str = "nothing was sent") -> None:
    """Raises ConfigError where a person does not agree."""
    if not confirm(question):
        raise ConfigError(f"not confirmed: {kept}")
