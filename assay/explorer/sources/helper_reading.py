"""What a helper reads where something is new and somebody looks: cached, never waited for long.

The helper is a child process, see `HelperProcess`. It keeps what reads steps and knows models out
of the process that serves.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from assay.explorer.documents.windows import ReadingLack
from assay.explorer.sources.groups import BusyError, HelperProcess, Reply
from assay.explorer.sources.progress import note_progress, read_progress, watch_progress

logger = logging.getLogger(__name__)
#: Seconds before what could not be read is tried again, and what took too long.
_AGAIN_S, _LOST_AGAIN_S = 20.0, 600.0

#: By which it is known that there is something new.
Mark = tuple[object, ...]
_T = TypeVar("_T")


class HelperReading(Generic[_T]):
    """Reads one thing. Thread-safe.

    Args:
        name: of the helper.
        boot: the child's program. It answers with `message`, for the operator, and what `decode`
            makes a reading of; None: there is nothing to read.
        idle_s: seconds without a request after which the child ends.
        what: it is, for messages. waiting, missing: sentences for pages.
        scratch: a folder, in which the child notes how far it is.
        on_change: called when a reading ends, for pages that no longer wait for it.
    """

    def __init__(
        self,
        name: str,
        boot: str,
        idle_s: float,
        what: str,
        decode: Callable[[dict[str, Any]], _T | None],
        waiting: str,
        missing: str,
        scratch: Path,
        on_change: Callable[[], None],
    ) -> None:
        self._what, self._waiting, self._missing = what, waiting, missing
        self._decode = decode
        self._progress = scratch / f"{name}.progress"
        self._on_change = on_change
        self._helper = HelperProcess(name, boot, idle_s)
        self._lock = threading.Lock()
        self._known: tuple[Mark, _T] | None = None
        self._failed: tuple[Mark, float, str] | None = None
        self._pending: Reply | None = None

    def close(self) -> None:
        self._helper.close()

    def read(
        self, get_mark: Callable[[], Mark], make_order: Callable[[], dict[str, Any]], wait_s: float
    ) -> _T | ReadingLack:
        """The reading. While a newer one is made, the one before. `passing` is set if the first
        takes longer than a page waits.

        Args:
            get_mark: what is new since a reading that had another mark.
            wait_s: seconds that the page waits for the first reading.
        """
        found = self._find(get_mark(), make_order)
        if not isinstance(found, Future):
            return found
        with suppress(TimeoutError):
            found.result(wait_s)
            found = self._find(get_mark(), make_order)
        if isinstance(found, Future):
            return ReadingLack(
                why=self._waiting, passing=True, progress=read_progress(self._progress)
            )
        return found

    def _find(
        self, mark: Mark, make_order: Callable[[], dict[str, Any]]
    ) -> _T | ReadingLack | Reply:
        with self._lock:
            if self._known is not None and self._known[0] == mark:
                return self._known[1]
            failed, begun = self._failed, self._pending
            is_fresh = failed is not None and time.monotonic() < failed[1]
            if failed is not None and failed[0] == mark and is_fresh:
                return ReadingLack(why=failed[2], passing=False)
            if begun is None:
                try:
                    note_progress(str(self._progress), 0, 1, "starting what reads it")
                    order = make_order() | {"progress": str(self._progress)}
                    self._pending = self._helper.ask(order)
                except BusyError:  # it is closed
                    return ReadingLack(why="the explorer is being stopped", passing=True)
            reply, known = self._pending, self._known
        assert reply is not None  # put there just now, or before
        if begun is None:
            watch_progress(self._progress, reply, self._on_change)
            reply.add_done_callback(lambda done: self._note(mark, done))
        return reply if known is None else known[1]

    def _note(self, mark: Mark, done: Reply) -> None:
        document = done.result()
        message = document if isinstance(document, str) else document["message"]
        if message is not None and not self._helper.closed:
            logger.warning("%s: %s", self._what, message, extra={"event": "explorer_trouble"})
        with self._lock:
            found = None if isinstance(document, str) else self._decode(document)
            self._pending = None
            if found is None:
                why = self._missing if message is None else "it cannot be read just now"
                pause = _LOST_AGAIN_S if isinstance(document, str) else _AGAIN_S
                self._failed = mark, time.monotonic() + pause, why
            else:
                self._known, self._failed = (mark, found), None
            self._progress.unlink(missing_ok=True)  # before the next reading begins
        self._on_change()
