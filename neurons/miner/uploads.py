"""The upload of a file into a store, and its progress."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from assay.network.store.base import ObjectStore
from assay.network.threads import call_beside
from assay.protocol.errors import Trouble, TroubleKind

#: A larger file is uploaded in parts of this size, bytes; seconds between two lines.
_PART_BYTES, _LINE_S = 8 << 20, 5.0
#: Seconds between two looks at an upload; seconds after which a stalled upload is reported.
_BEAT_S, _SLOW_S = 1.0, 10.0


@dataclass(slots=True)
class Upload:
    """The progress of a window's file, as status.json shows it. A failed attempt is not visible
    here. The next attempt continues where it stopped, if the store can do that."""

    window: int
    bytes: int = 0  # bytes that the store already had or that this attempt has sent
    of: int = 0  # bytes of the file
    tries: int = 0  # attempts begun, this one included
    done: bool = False  # whether the store has the file


def upload(
    store: ObjectStore,
    name: str,
    data: bytes,
    report: Callable[[str], None],
    note: Callable[[int], None] = lambda sent: None,
) -> None:
    """Write a file atomically: a reader sees all of it or nothing.

    Args:
        note: called with the number of sent bytes, now and then and at the end.

    Raises:
        StoreError: the store cannot be written.
    """
    note(0)
    if len(data) <= _PART_BYTES:
        store.put(name, data)
        note(len(data))
        return
    begun = logged_at = time.monotonic()

    def cut() -> Iterator[bytes]:
        nonlocal logged_at
        for start in range(0, len(data), _PART_BYTES):
            yield data[start : start + _PART_BYTES]
            done = min(len(data), start + _PART_BYTES)
            note(done)
            if time.monotonic() - logged_at > _LINE_S:
                logged_at = time.monotonic()
                report(f"uploaded {done / 1e6:.1f} of {len(data) / 1e6:.1f} MB of {name}")

    store.put_parts(name, cut())
    seconds = time.monotonic() - begun
    if seconds > _LINE_S:
        report(f"{name} is uploaded, {len(data) / 1e6:.1f} MB in {seconds:.0f} s")


class Uploads:
    """Uploads files one after the other.

    Args:
        report: called with a progress line now and then.

    Attributes:
        newest: the file that was uploaded last, or is being uploaded.
        beat: called at least once a second during an upload, which can take long.
        trouble: why the upload makes no progress; None: it does.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.newest: Upload | None = None
        self.trouble: Trouble | None = None
        self.beat: Callable[[], None] = lambda: None
        self._report = report

    def put(self, store: ObjectStore, window: int, name: str, data: bytes) -> None:
        """Write a window's file. Another call for the same window counts as another attempt."""
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
                    self.trouble = Trouble(
                        TroubleKind.STORE,
                        f"the store has accepted no byte of {name} for more than {_SLOW_S:g} s",
                    )
                self.beat()
            result.result()
        finally:
            self.trouble = None
        now.done = True
