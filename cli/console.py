"""What commands print, and what they ask before anything is sent."""

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console

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
    width to cut figures or to break sentences for.

    Args:
        least: columns, however narrow a terminal is.
    """
    console = Console(highlight=False)
    console.width = max(console.width, least) if console.is_terminal else _WIDE
    return console


def print_result(document: Any, as_json: bool, text: str) -> None:
    """One JSON document, or a sentence for people."""
    print(json.dumps(document) if as_json else text)


def require_consent(confirm: Confirm, question: str) -> None:
    """Raises ConfigError where a person does not agree."""
    if not confirm(question):
        raise ConfigError("not agreed to: nothing was sent")
