"""Lines about what a command is doing, on standard error. Light."""

import sys
from collections.abc import Callable

#: Takes a line.
Say = Callable[[str], None]


def choose_say(quiet: bool, say: Say | None = None) -> Say:
    """What prints lines, or nothing with `quiet`. `say`: prints them in another form."""
    return _ignore if quiet else say or _say


def say_plainly(line: str) -> None:
    """Print a line of a longer log, without our name."""
    print(line, file=sys.stderr)


def _say(line: str) -> None:
    print(f"assay: {line}", file=sys.stderr, flush=True)


def _ignore(_: str) -> None:
    """Print nothing."""
