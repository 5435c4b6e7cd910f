"""What a miner keeps on disk while it works, and what it does where the disk takes nothing.

A full or read-only disk ends no window: the miner goes on in memory, says so, and writes what is
missing as soon as it can.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from assay.artifacts.submissions import SubmissionLimits
from assay.neurons.miner.mining_history import HistoryError, MinedWindow, MiningHistory
from assay.neurons.miner.workbook import SavedWork, WorkDatabase, WorkDatabaseError, WorkStage
from assay.neurons.session.window_reader import Challenge
from assay.protocol import Rollout

T = TypeVar("T")


class Keeping:
    """A miner's workbook and history, either of which may be missing.

    Args:
        report: called with one line when a disk begins to refuse.

    Attributes:
        troubles: what cannot be written just now, and why.
    """

    def __init__(
        self,
        workbook: WorkDatabase | None,
        history: MiningHistory | None,
        report: Callable[[str], None],
    ) -> None:
        self.troubles: dict[str, str] = {}
        self._workbook = workbook
        self._history = history
        self._report = report

    def list_windows(self) -> list[int]:
        """Windows that some work is kept of, ascending."""
        book = self._workbook
        return [] if book is None else self._attempt("work", book.list_windows) or []

    def open_page(
        self, challenge: Challenge, hotkey: bytes, limits: SubmissionLimits
    ) -> SavedWork | None:
        """What is kept of a hotkey's work on a challenge; what is too old goes."""
        book = self._workbook
        if book is None:
            return None
        self._attempt("work", partial(book.prune, challenge.window))
        group = limits.group_size, limits.group_bytes
        return self._attempt("work", partial(book.open, challenge, hotkey, *group))

    def keep(
        self,
        page: SavedWork | None,
        groups: Sequence[Sequence[Rollout]],
        mark: WorkStage | None = None,
        number: int = 0,
    ) -> None:
        """Writes groups that are not there yet, then a mark."""
        if page is None:
            return

        def write() -> None:
            page.keep(groups)
            if mark is not None:
                page.mark(mark, number)

        self._attempt("work", write)

    def record(self, mined: MinedWindow) -> None:
        """Tells the history how a window stands."""
        if self._history is not None:
            self._attempt("history", partial(self._history.write_mined, mined))

    def _attempt(self, what: str, call: Callable[[], T]) -> T | None:
        try:
            done = call()
        except (WorkDatabaseError, HistoryError) as error:
            if what not in self.troubles:
                self._report(str(error))
            self.troubles[what] = str(error)
            return None
        self.troubles.pop(what, None)
        return done
