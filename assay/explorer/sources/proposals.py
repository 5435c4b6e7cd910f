"""What a network has proposed to itself, read by a helper that scores a step's groups again.

That takes seconds to a minute for a step, which never changes: what each says is kept by its
digest, a request reads one step at most, and a page shows what the steps say that were read so far.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from assay.explorer.documents.windows import ReadingLack
from assay.explorer.ports import ProposalsReading
from assay.explorer.sources.courses import find_newest_step, list_published
from assay.explorer.sources.helper_reading import HelperReading, Mark

_BOOT = (
    "from assay.sandbox.child import serve;"
    "from assay.explorer.sources.proposal_child import answer;"
    "serve(answer, None)"
)
#: Newest steps that are read.
STEPS = 16
#: Seconds without a request after which the child ends: the next step follows at once or later.
_IDLE_S = 30.0
#: Seconds before a step that could not be read is tried again.
_AGAIN_S = 600.0


class Proposals:
    """Reads a network's proposals. Thread-safe.

    Args:
        folder: a trainer's. It may not exist.
        stores: folders of stores, for steps that were published.
        scratch: for checkpoints without tensors, while a published step is read.
        on_change: called when a step was read, for pages that no longer wait for it.
    """

    def __init__(
        self, folder: Path, stores: Sequence[Path], scratch: Path, on_change: Callable[[], None]
    ) -> None:
        self._folder, self._stores, self._scratch = folder, stores, scratch
        self._reading = HelperReading(
            "proposals",
            _BOOT,
            _IDLE_S,
            "proposals",
            self._decode,
            "the newest step’s groups are being scored again",
            "no step can be read",
            scratch,
            on_change,
        )
        # of the steps on the line: what each says, and when one could not be read
        self._found: dict[str, dict[str, Any]] = {}
        self._unread: dict[str, float] = {}
        self._turn = 0

    def close(self) -> None:
        self._reading.close()

    def read(self, steps: Sequence[str], wait_s: float) -> ProposalsReading | ReadingLack:
        """The newest proposals. steps: see `PageSources.read_proposals`."""
        published = list_published(self._stores, steps[-STEPS:])
        if not find_newest_step(self._folder) and not published:
            return ReadingLack(
                why="there is neither a trainer's folder with steps, nor a store with published "
                "steps",
                passing=False,
            )
        return self._reading.read(
            lambda: self._make_mark(published), lambda: self._make_order(published), wait_s
        )

    def _make_mark(self, published: Sequence[str]) -> Mark:
        now = time.monotonic()
        late = [step for step, at in list(self._unread.items()) if now - at > _AGAIN_S]
        newest = find_newest_step(self._folder)
        return newest, tuple(published), self._turn, tuple(late)

    def _make_order(self, published: Sequence[str]) -> dict[str, Any]:
        now = time.monotonic()
        self._unread = {step: at for step, at in self._unread.items() if now - at <= _AGAIN_S}
        return {
            "folder": str(self._folder),
            "stores": [str(store) for store in self._stores],
            "published": list(published),
            "scratch": str(self._scratch),
            "most": STEPS,
            "found": self._found,
            "unread": list(self._unread),
        }

    def _decode(self, document: dict[str, Any]) -> ProposalsReading | None:
        if document["reading"] is None:
            return None
        reading, now = ProposalsReading(**document["reading"]), time.monotonic()
        self._found = document["found"]
        self._unread = {step: self._unread.get(step, now) for step in document["unread"]}
        self._turn += reading.waiting > 0  # the next request reads the next step
        return reading
