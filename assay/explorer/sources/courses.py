"""What a trainer's course does, read and judged by a helper: cached, never waited for long.

The helper is a child process that starts when figures changed and somebody looks. It keeps what
reads steps and knows models out of the process that serves. Steps of strangers are read in a
sandbox of its own.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, TimeoutError
from contextlib import suppress
from pathlib import Path

from assay.artifacts.store_objects import make_step_name
from assay.explorer.documents.windows import ReadingLack
from assay.explorer.ports import CourseReading
from assay.explorer.sources.groups import WAIT_S, BusyError, HelperProcess, Reply

logger = logging.getLogger(__name__)
_BOOT = (
    "from assay.sandbox.child import serve;"
    "from assay.explorer.sources.course_child import answer;"
    "serve(answer, None)"
)
#: A trainer's file of figures, see `assay.neurons.trainer.monitor`.
_FIGURES = "windows.json"
#: Seconds without a request after which the child ends: the next window's figures are not soon.
_IDLE_S = 10.0
#: Seconds before figures that could not be read are tried again.
_AGAIN_S = 20.0

#: By which it is known that there is something new.
_Mark = tuple[object, ...]


class Courses:
    """Reads a trainer's course. Thread-safe.

    Args:
        folder: a trainer's. It may not exist.
        stores: folders of stores, for steps that were published.
        on_change: called when a reading ends, for pages that no longer wait for it.
    """

    def __init__(self, folder: Path, stores: Sequence[Path], on_change: Callable[[], None]) -> None:
        self._folder = folder
        self._stores = stores
        self._on_change = on_change
        self._helper = HelperProcess("watch", _BOOT, _IDLE_S)
        self._lock = threading.Lock()
        self._known: tuple[_Mark, CourseReading] | None = None
        self._failed: tuple[_Mark, float, str] | None = None
        self._pending: Reply | None = None

    def close(self) -> None:
        self._helper.close()

    def read(self, steps: Sequence[str]) -> CourseReading | ReadingLack:
        """The course. While newer figures are read, the one before. `passing` is set if the first
        takes longer than a page waits. steps: see `PageSources.read_course`."""
        found = self._find(steps)
        if not isinstance(found, Future):
            return found
        with suppress(TimeoutError):
            found.result(WAIT_S)
            found = self._find(steps)
        if isinstance(found, Future):
            return ReadingLack(why="the course is being read: it takes a moment.", passing=True)
        return found

    def _find(self, steps: Sequence[str]) -> CourseReading | ReadingLack | Reply:
        published = [step for step in steps if self._is_published(step)]
        mark = self._make_mark(published)
        if not any(mark):
            return ReadingLack(
                why="there is neither a trainer's folder with figures or steps, nor a store with "
                "published steps",
                passing=False,
            )
        with self._lock:
            if self._known is not None and self._known[0] == mark:
                return self._known[1]
            failed, begun = self._failed, self._pending
            is_fresh = failed is not None and time.monotonic() - failed[1] < _AGAIN_S
            if failed is not None and failed[0] == mark and is_fresh:
                return ReadingLack(why=failed[2], passing=False)
            if begun is None:
                order = {
                    "folder": str(self._folder),
                    "stores": [str(store) for store in self._stores],
                    "steps": published,
                }
                try:
                    self._pending = self._helper.ask(order)
                except BusyError:  # it is closed
                    return ReadingLack(why="the explorer is being stopped", passing=True)
            reply, known = self._pending, self._known
        assert reply is not None  # put there just now, or before
        if begun is None:
            reply.add_done_callback(lambda done: self._note(mark, done))
        return reply if known is None else known[1]

    def _is_published(self, step: str) -> bool:
        name = make_step_name(bytes.fromhex(step), "step.json")
        return any((store / name).is_file() for store in self._stores)

    def _make_mark(self, steps: Sequence[str]) -> _Mark:
        figures = None
        with suppress(OSError):
            stat = (self._folder / _FIGURES).stat()
            figures = stat.st_mtime_ns, stat.st_size
        paths = (self._folder / "steps").glob("step-*.json")
        return figures, max((path.name for path in paths), default=""), tuple(steps)

    def _note(self, mark: _Mark, done: Reply) -> None:
        document = done.result()
        message = document if isinstance(document, str) else document["message"]
        if message is not None:
            logger.warning("a course: %s", message, extra={"event": "explorer_trouble"})
        course = None if isinstance(document, str) else document["course"]
        with self._lock:
            self._pending = None
            if course is None:
                why = "no step can be read" if message is None else "it cannot be read just now"
                self._failed = mark, time.monotonic(), why
            else:
                self._known, self._failed = (mark, CourseReading(**course)), None
        self._on_change()
