"""Reads a miner's file from a store in parts. Specification, section 4.

The caller checks whether the bytes are the committed ones.
"""

from assay.artifacts.submissions.reading import SubmissionCopy
from assay.network.store.base import ObjectSource
from assay.protocol.reason import Reason, Refusal
from assay.protocol.submission import Range


class SubmissionFile(SubmissionCopy):
    """One object of a store. Raises StoreError: it cannot be read."""

    def __init__(self, source: ObjectSource) -> None:
        self._source = source

    def read(self, part: Range) -> bytes | Refusal:
        """See `SubmissionCopy`."""
        data = self._source.read(part.start, part.end) if part.size else b""
        if data is None:
            detail = "the store has no such file, or not for everybody"
            return Refusal(Reason.NOT_REVEALED, detail, unbound=True)
        return data
