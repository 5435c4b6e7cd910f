"""A file on its way into a store: how far it is, for who waits."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from assay.network.store import ObjectStore
from assay.network.threads import call_beside

#: A file above this goes up in parts of this size, bytes; seconds between two lines.
_PART_BYTES, _LINE_S = 8 << 20, 5.0
#: Seconds between two looks at an upload; and after which one that does not move is told.
_BEAT_S, _SLOW_S = 1.0, 10.0


@dataclass(slots=True)
class Upload:
    """How far a window's file is, as status.json has it. Nothing is seen of a try that broke off;
    the next one goes on where it was, where the store can."""

    window: int
    bytes: int = 0  # that this try has found there or given to the connection
    of: int = 0  # bytes of the file
    tries: int = 0  # begun, this one with them
    done: bool = False  # the store has it


def upload(
    store: ObjectStore,
    name: str,
    data: bytes,
    report: Callable[[str], None],
    note: Callable[[int], None] = lambda sent: None,
) -> None:
    """Writes a file whole; a reader sees all of it or nothing.

    Args:
        note: called with the bytes that are on their way, now and then and at the end.

    Raises:
        StoreError: the store cannot be written.
    """
    note(0)
    if len(data) <= _PART_BYTES:
        store.put(name, data)
        note(len(data))
        return
    begun = said = time.monotonic()

    def cut() -> Iterator[bytes]:
        nonlocal said
        for start in range(0, len(data), _PART_BYTES):
            yield data[start : start + _PART_BYTES]
            done = min(len(data), start + _PART_BYTES)
            note(done)
            if time.monotonic() - said > _LINE_S:
                said = time.monotonic()
                report(f"uploaded {done / 1e6:.1f} of {len(data) / 1e6:.1f} MB of {name}")

    store.put_parts(name, cut())
    seconds = time.monotonic() - begun
    if seconds > _LINE_S:
        report(f"{name} is uploaded, {len(data) / 1e6:.1f} MB in {seconds:.0f} s")


class Uploads:
    """One file after the other.

    Args:
        report: called with a line now and then.

    Attributes:
        newest: the file that went up last, or goes.
        beat: called while one goes up, which can take long: at least once a second, here.
        trouble: why nothing of it moves; None: it does.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.newest: Upload | None = None
        self.trouble: str | None = None
        self.beat: Callable[[], None] = lambda: None
        self._report = report

    def put(self, store: ObjectStore, window: int, name: str, data: bytes) -> None:
        """Writes a window's file; the same window once more is another try."""
        before = self.newest
        tries = before.tries if before is not None and before.window == window else 0
        self.newest = now = Upload(window, 0, len(data), tries + 1)
        news: SimpleQueue[int | None] = SimpleQueue()

        def work() -> None:
            try:
                upload(store, name, data, self._report, news.put)
            finally:
                news.put(None)

        result = call_beside(work, "upload")
        moved = time.monotonic()
        try:
            while not result.done() or not news.empty():
                with suppress(Empty):
                    sent = news.get(timeout=_BEAT_S)
                    if sent is None:
                        break
                    now.bytes, moved, self.trouble = sent, time.monotonic(), None
                if time.monotonic() - moved > _SLOW_S:
                    self.trouble = (
                        f"the store has accepted no byte of {name} for more than {_SLOW_S:g} s"
                    )
                self.beat()
            result.result()
        finally:
            self.trouble = None
        now.done = True
