"""Ctrl-C that is never lost.

Python drops exceptions of a signal within a destructor, a callback of a weak reference, or a
library that catches everything while it is imported. So this module remembers Ctrl-C and raises it
again, and Python says nothing of one that it drops.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked = threading.Event()


@contextmanager
def catch_interrupts() -> Iterator[None]:
    """Raise Ctrl-C as usual, and remember it until the end of the outermost of these blocks."""
    tell = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        _asked.set()
        signal.default_int_handler(number, frame)

    def tell_others(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            tell(dropped)

    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:  # the parent process wants another handler
        yield
        return
    _asked.clear()
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = tell_others
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = tell


def require_wanted() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that was lost."""
    if _asked.is_set():
        raise KeyboardInterrupt
