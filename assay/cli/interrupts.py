"""Ctrl-C that is never lost.

Python drops exceptions of a signal within a destructor, a callback of a weak reference, or a
library that catches everything while it is imported. So this module remembers Ctrl-C and raises it
again, and Python says nothing of one that it drops. While libraries are imported it waits: numpy
and torch cannot be imported a second time, and an exception in the middle of torch's aborts.
"""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_asked, _importing = threading.Event(), threading.Event()


@contextmanager
def catch_interrupts() -> Iterator[None]:
    """Raise Ctrl-C as usual, and remember it until the end of the outermost of these blocks."""
    tell = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        waits = _importing.is_set() and not _asked.is_set()
        _asked.set()
        if not waits:
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


@contextmanager
def importing() -> Iterator[None]:
    """Raise a Ctrl-C that comes in this block, of imports, at its end. The next comes at once."""
    _importing.set()
    try:
        yield
    finally:
        _importing.clear()
    require_wanted()


def require_wanted() -> None:
    """Raise the KeyboardInterrupt of a Ctrl-C that was lost."""
    if _asked.is_set():
        raise KeyboardInterrupt
