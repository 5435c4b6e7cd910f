"""A cage for a native parser: untrusted bytes are parsed in a child process that may die.

Parquet is read by native code that a crafted file may crash, stall or bloat (349 bytes can decode
to 300 million values). So one child does it, in a cage. What it says is not trusted either: the
judge hashes every group against the root on chain.

These limits are the last resort: validators of different speed may differ on what exceeds them. So
`artifacts.submissions` refuses by counts of bytes, values and pages whatever could come near them,
and every validator counts alike.

This module is the parent and knows processes, not files: the child's half is
`parquet_child`, what a request means is `artifacts.submissions.submission_parser`'s, or that of
another boot.
"""

from types import TracebackType
from typing import Self

from assay.artifacts.parquet.parquet_child import OK, REFUSALS
from assay.cage import Budget, Cage, Lost, WorkerError
from assay.cage.child import DETAIL_MAX, clean
from assay.protocol import Reason, Refusal

__all__ = ["Budget", "ParquetWorker", "WorkerError"]

_BOOT = (
    "from assay.artifacts.parquet.parquet_child import serve;"
    "from assay.artifacts.submissions.submission_parser import answer;"
    "serve(answer)"
)


class ParquetWorker:
    """Keeps one child alive from the first request to `close`. Safe to share between threads:
    they take turns.

    Args:
        name, boot, seconds: see `assay.cage.Cage`; as they are, for miners' files.
    """

    def __init__(
        self, name: str = "Parquet worker", boot: str = _BOOT, seconds: float | None = None
    ) -> None:
        self.cage = Cage(name, boot, seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self.cage.pid

    def close(self) -> None:
        """Ends the child. What is asked afterwards raises WorkerError."""
        self.cage.close()

    def renew(self) -> None:
        """Ends the child, so that the next request is answered by a fresh one."""
        self.cage.renew()

    def ask(self, request: bytes, reply_max: int, budget: Budget) -> bytes | Refusal:
        """The child's answer to one request, at most `reply_max` bytes; what it costs is taken
        from `budget`.

        A file is at fault if two children are lost over it (MALFORMED), or once its budget is spent
        (TOO_LARGE: it asks for more work than an honest file can).

        Raises:
            WorkerError: no child can be started, or the worker is closed.
        """
        reply = self.cage.ask(request, 1 + max(reply_max, 4 * DETAIL_MAX), budget)
        if isinstance(reply, Lost) and reply.spent:
            return Refusal(Reason.TOO_LARGE, "the file takes too much processor time to read")
        if isinstance(reply, Lost):
            return _give_up(reply.cause)
        if reply[0] == OK:
            return reply[1:]
        if reply[0] not in REFUSALS:
            return _give_up(f"it answered with status {reply[0]}")
        return Refusal(REFUSALS[reply[0]], clean(reply[1:].decode(errors="replace")))


def _give_up(cause: str) -> Refusal:
    return Refusal(Reason.MALFORMED, f"the Parquet parser gave up on this file: {cause}")
