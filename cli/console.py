"""Where the commands print what is for people."""

from rich.console import Console

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
