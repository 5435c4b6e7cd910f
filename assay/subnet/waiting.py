"""Tells an owner what is being done during work of minutes or hours."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

#: Called with one line.
Report = Callable[[str], None]
#: Seconds until the first line that says how long it takes; each next one waits twice as long.
_FIRST_S, _LONGEST_S = 10.0, 120.0


def ignore_report(text: str) -> None:
    """A `Report` that nobody reads."""


@contextmanager
def telling(report: Report, doing: str) -> Iterator[None]:
    """Report what the block does, and again while it lasts, with the seconds so far."""
    report(doing)
    begun, ended = time.monotonic(), Event()

    def tell() -> None:
        wait = _FIRST_S
        while not ended.wait(wait):
            report(f"{doing}: {time.monotonic() - begun:.0f} s so far")
            wait = min(_LONGEST_S, 2 * wait)

    teller = Thread(target=tell, name="telling", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()
