"""Appeals as a program can afford them: at most so many in a window, within its memory.

A miner can provoke an appeal. If it cannot be heard, the refusal stands: that costs the file's
owner the settlement, and delays or stops no verdict on another file. Specification, section 5.
"""

from collections.abc import Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from assay.inference.checkpoint import Checkpoint
from assay.inference.folder import CheckpointError
from assay.inference.workers.pool import MEMORY_LACKS
from assay.protocol.episode import Reply
from assay.verification import Measurement, Projection, UnheardError

#: Rollouts that a validator measures again in one window. Honest files practically need none: all
#: of them together would use this many in millions of windows.
APPEALS_A_WINDOW = 16


class AppealBudget:
    """The appeals that a program still hears in one window. Safe to use from several threads.

    Args:
        left: None: as many as a window has.
    """

    def __init__(self, left: int | None = None) -> None:
        self._left = APPEALS_A_WINDOW if left is None else left
        self._lock = Lock()

    def take(self) -> bool:
        """Take one. Return whether there was one."""
        with self._lock:
            self._left -= 1
            return self._left >= 0


class AffordableAppeal:
    """The judge's second `Forward`, made when it is first needed.

    Args:
        budget: of the window; None: only the judge's own bound on a submission holds.
    """

    def __init__(
        self, checkpoint: Checkpoint, temperature: int, budget: AppealBudget | None
    ) -> None:
        self._checkpoint = checkpoint
        self._temperature = temperature
        self._budget = budget

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Sequence[Sequence[Reply]] | None = None,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`. Raises UnheardError: the window's appeals are used up,
        or memory does not suffice."""
        if self._budget is not None and not self._budget.take():
            raise UnheardError("this window's appeals are used up")
        try:
            forward = self._checkpoint.get_appeal(self._temperature)
            return forward.measure(prompts, completions, seeds, projection, replies)
        except (*MEMORY_LACKS, CheckpointError) as error:
            raise UnheardError(str(error)) from None
