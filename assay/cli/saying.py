"""Lines about what a command is doing, on standard error. Light."""

import sys
from collections.abc import Callable

#: Takes a line.
Say = Callable[[str], None]


def choose_say(quiet: bool) -> Say:
    """What prints lines, or nothing with `quiet`."""
    return _ignore if quiet else _say


def _say(line: str) -> None:
    print(f"assay: {line}", file=sys.stderr, flush=True)


def _ignore(_: str) -> None:
    """Print nothing."""
