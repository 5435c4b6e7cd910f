"""Reads a submission by its plan, from whoever has the bytes.

`assay.verification` says which parts are wanted, and takes those that the root on chain binds.
"""

import logging
from abc import ABC, abstractmethod
from typing import Protocol

from assay.network.store.base import StoreError
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import Range
from assay.verification import CheckedSubmission, ReadPlan

logger = logging.getLogger("assay")


class SubmissionReader(Protocol):
    """A miner's file, wherever its bytes come from."""

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """Offer the part that a plan wants. None: the plan has taken it; else an unbound refusal,
        since no source here has the committed bytes. Raises StoreError: nobody could be asked."""


def read_submission(plan: ReadPlan, reader: SubmissionReader) -> CheckedSubmission:
    """Run a plan to its end. Raises StoreError, PackError: as the reader."""
    while plan.wanted is not None:
        refusal = reader.offer(plan)
        if refusal is not None:
            plan.refuse(refusal)
    return plan.result


class SubmissionCopy(ABC):
    """A reader of one copy, whose bytes may be anybody's."""

    @abstractmethod
    def read(self, part: Range) -> bytes | Refusal:
        """The copy's bytes there, or an unbound refusal if it has none."""

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`."""
        assert plan.wanted is not None  # otherwise nothing would be offered
        data = self.read(plan.wanted)
        return data if isinstance(data, Refusal) else plan.take(data)


class AbsentSubmission(SubmissionCopy):
    """A file in a store that is not opened here."""

    def read(self, part: Range) -> bytes | Refusal:
        detail = "the locator on chain leads to no store known here"
        return Refusal(Reason.NOT_REVEALED, detail, unbound=True)


class TolerantReader:
    """A reader for which a store that cannot be read shows nothing."""

    def __init__(self, reader: SubmissionReader) -> None:
        self._reader = reader

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`. Raises no StoreError."""
        try:
            return self._reader.offer(plan)
        except StoreError as error:
            return refuse_unread(error)


def refuse_unread(error: StoreError) -> Refusal:
    """A refusal with the public reason why a file is not revealed. The operator's log has all
    details."""
    logger.debug("a file cannot be read: %s", error, extra={"event": "file_unread"})
    detail = f"the file cannot be read from its store: {error.public}"
    return Refusal(Reason.NOT_REVEALED, detail, unbound=True)
