"""Pages of `--help`: how they break lines, and how they name values.

Typer wraps text at hyphens, too, and names values by Python's types. So a default value was cut in
two (`[default: assay-` and `demo]`), and a folder was a `list[Path]`.
"""

import re
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: The hyphen at which nothing wraps. It is as wide as the usual one.
_WHOLE_HYPHEN = "\N{NON-BREAKING HYPHEN}"
_Formatter: Any = typer.Context.formatter_class


def name_value(word: str) -> str:
    """An argument without Python's type: `FILE <path>` becomes `FILE`. An option that has only the
    type, as in `--seed <int range>`, keeps it without the range, which its text gives."""
    if not word.startswith("-"):
        return word.partition(" <")[0]
    return re.sub(r"<(int|float) range>$", r"<\1>", word)


class _WholeWords(_Formatter):  # type: ignore[misc] # a class that is found at run time
    """Wraps lines only at spaces: names, paths and default values stay whole."""

    def write_text(self, text: str) -> None:
        super().write_text(text.replace("-", _WHOLE_HYPHEN))

    def write_dl(self, rows: Sequence[tuple[str, str]], *args: Any, **kwargs: Any) -> None:
        named = [(name_value(word), text.replace("-", _WHOLE_HYPHEN)) for word, text in rows]
        super().write_dl(named, *args, **kwargs)

    def getvalue(self) -> str:
        text: str = super().getvalue()
        return text.replace(_WHOLE_HYPHEN, "-")


class PagedContext(typer.Context):
    """A call of a command with such a page."""

    formatter_class = _WholeWords


class PagedCommand(TyperCommand):
    """A command with such a page."""

    context_class = PagedContext


class PagedGroup(TyperGroup):
    """A list of commands with such a page."""

    context_class = PagedContext
