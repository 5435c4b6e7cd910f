"""What a trainer's course does, read and judged by a helper, which starts when figures changed and
somebody looks. Steps of strangers are read in a sandbox of its own.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.artifacts.store_objects import make_step_name
from assay.explorer.documents.windows import ReadingLack
from assay.explorer.ports import CourseReading
from assay.explorer.sources.helper_reading import HelperReading, Mark

_BOOT = (
    "from assay.sandbox.child import serve;"
    "from assay.explorer.sources.course_child import answer;"
    "serve(answer, None)"
)
#: A trainer's file of figures, see `assay.training.watch`, which loads PyTorch.
_FIGURES = "windows.json"
#: Seconds without a request after which the child ends: the next window's figures are not soon.
_IDLE_S = 10.0


class Courses:
    """Reads a trainer's course. Thread-safe.

    Args:
        folder: a trainer's. It may not exist.
        stores: folders of stores, for steps that were published.
        scratch: in which the helper notes how far it is.
        on_change: called when a reading ends, for pages that no longer wait for it.
    """

    def __init__(
        self, folder: Path, stores: Sequence[Path], scratch: Path, on_change: Callable[[], None]
    ) -> None:
        self._folder = folder
        self._stores = stores
        self._reading = HelperReading(
            "watch",
            _BOOT,
            _IDLE_S,
            "a course",
            _decode,
            "the first and the newest steps are being read",
            "no step can be read",
            scratch,
            on_change,
        )

    def close(self) -> None:
        self._reading.close()

    def read(self, steps: Sequence[str], wait_s: float) -> CourseReading | ReadingLack:
        """The course. steps: see `PageSources.read_course`."""
        published = list_published(self._stores, steps)
        mark = self._make_mark(published)
        if not any(mark):
            return ReadingLack(
                why="there is neither a trainer's folder with figures or steps, nor a store with "
                "published steps",
                passing=False,
            )
        order = {
            "folder": str(self._folder),
            "stores": [str(store) for store in self._stores],
            "steps": published,
        }
        return self._reading.read(lambda: self._make_mark(published), lambda: order, wait_s)

    def _make_mark(self, steps: Sequence[str]) -> Mark:
        figures = None
        with suppress(OSError):
            stat = (self._folder / _FIGURES).stat()
            figures = stat.st_mtime_ns, stat.st_size
        return figures, find_newest_step(self._folder), tuple(steps)


def list_published(stores: Sequence[Path], steps: Sequence[str]) -> list[str]:
    """Those of steps that a store has.

    Args:
        stores: their folders. steps: digests of records, hex.
    """
    names = {step: make_step_name(bytes.fromhex(step), "step.json") for step in steps}
    return [s for s, name in names.items() if any((store / name).is_file() for store in stores)]


def find_newest_step(folder: Path) -> str:
    """The name of a trainer's newest step; no text: there is none."""
    return max((path.name for path in (folder / "steps").glob("step-*.json")), default="")


def _decode(document: dict[str, Any]) -> CourseReading | None:
    course = document["course"]
    return None if course is None else CourseReading(**course)
