"""Ctrl-C that is never lost.

Python drops exceptions of a signal within a destructor, a callback of a weak reference, or a
library that catches everything while it is imported. So this module remembers Ctrl-C and raises it
again, and Python says nothing of one that it drops. While libraries are imported it waits: numpy
and torch cannot be imported a second time, and an exception in the middle of torch's aborts.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Plain values: a second Ctrl-C may come while the first one's handler runs, and would wait for a
#: lock that the first one holds.
_asked = _importing = False


@contextmanager
def catch_interrupts() -> Iterator[None]:
    """Raise Ctrl-C as usual, and remember it until the end of the outermost of these blocks."""
    global _asked
    tell = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        global _asked
        waits = _importing and not _asked
        _asked = True
        if not waits:
            signal.default_int_handler(number, frame)

    def tell_others(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            tell(dropped)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # the parent process wants another handler
        yield
        return
    _asked = False
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = tell_others
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = tell


@contextmanager
def importing() -> Iterator[None]:
    """Raise a Ctrl-C that comes in this block, of imports, at its end. The next comes at once."""
    global _importing
    _importing = True
    try:
        yield
    finally:
        _importing = False
    require_wanted()


def require_wanted() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that was lost."""
    if _asked:
        raise KeyboardInterrupt
