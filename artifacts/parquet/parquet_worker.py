"""A cage for a native parser: untrusted bytes are parsed in a child process that may die.

Parquet is read by native code that a crafted file may crash, stall or bloat (349 bytes can decode
to 300 million values). So one child does it, in a cage, and it alone imports pyarrow. What it says
is not trusted either: the judge hashes every group against the root on chain.

These limits are the last resort: validators of different speed may differ on what exceeds them. So
`artifacts.submissions` refuses by counts of bytes, values and pages whatever could come near them,
and every validator counts alike.

Both halves know processes, not files: what a request means is
`artifacts.submissions.submission_parser`'s, or that of another boot.
"""

import os
from collections.abc import Callable
from typing import Any, NoReturn

from assay.cage import Budget, Cage, Lost, child
from assay.cage.child import DETAIL_MAX, clean
from assay.protocol import Reason, Refusal

_BOOT = (
    "from assay.artifacts.parquet.parquet_worker import serve;"
    "from assay.artifacts.submissions.submission_parser import answer;"
    "serve(answer)"
)
#: First byte of an answer.
OK = 0
REFUSALS = {1: Reason.MALFORMED, 2: Reason.TOO_LARGE}
_STATUSES = {reason: status for status, reason in REFUSALS.items()}


class ParquetWorker(Cage):
    """A cage whose child parses: as it is, miners' files."""

    def __init__(
        self, name: str = "Parquet worker", boot: str = _BOOT, seconds: float | None = None
    ) -> None:
        super().__init__(name, boot, seconds)

    def parse(self, request: bytes, reply_max: int, budget: Budget) -> bytes | Refusal:
        """The child's answer to one request, at most `reply_max` bytes; what it costs is taken
        from `budget`.

        A file is at fault if two children are lost over it (MALFORMED), or once its budget is spent
        (TOO_LARGE: it asks for more work than an honest file can).

        Raises:
            WorkerError: no child can be started, or the worker is closed.
        """
        reply = self.ask(request, 1 + max(reply_max, 4 * DETAIL_MAX), budget)
        if isinstance(reply, Lost) and reply.spent:
            return Refusal(Reason.TOO_LARGE, "the file takes too much processor time to read")
        if isinstance(reply, bytes) and reply[0] == OK:
            return reply[1:]
        if isinstance(reply, bytes) and reply[0] in REFUSALS:
            return Refusal(REFUSALS[reply[0]], clean(reply[1:].decode(errors="replace")))
        cause = reply.cause if isinstance(reply, Lost) else f"it answered with status {reply[0]}"
        return Refusal(Reason.MALFORMED, f"the Parquet parser gave up on this file: {cause}")


class FileFault(Exception):
    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(detail)
        self.reason = reason


def serve(answer: Callable[[bytes], bytes], memory: int = child.MEMORY_BYTES) -> NoReturn:
    """The child's whole life: answers requests until its standard input closes.

    `answer` returns the reply, or raises FileFault or what pyarrow raises at a broken file.
    Anything else, running out of memory above all, ends the process, and the parent concludes.

    Args:
        memory: bytes of address space that it may add.
    """
    import pyarrow as pa
    import pyarrow.parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space ahead
    faults = (FileFault, pa.ArrowException, OSError, ValueError, NotImplementedError)

    def reply(request: bytes) -> bytes:
        try:
            return bytes([OK]) + answer(request)
        except MemoryError:  # pyarrow's own is also an ArrowException
            raise
        except faults as fault:
            return _pack_fault(fault)

    child.serve(reply, memory)


def _pack_fault(fault: Exception) -> bytes:
    reason, text = Reason.MALFORMED, f"the file cannot be read as Parquet: {fault}"
    if isinstance(fault, FileFault):
        reason, text = fault.reason, str(fault)
    return bytes([_STATUSES[reason]]) + clean(text).encode(errors="replace")


class FileRange:
    """For the child: a file of `size` bytes of which only those from `start` are at hand. The
    parser may read nothing else."""

    closed = False

    def __init__(self, size: int, start: int, data: bytes) -> None:
        self._size, self._start, self._data = size, start, data
        self._position = 0

    def read(self, count: int) -> bytes:
        first = self._position - self._start
        if not 0 <= first <= first + count <= len(self._data):
            raise FileFault("the footer points outside of the row group that is read")
        self._position += count
        return self._data[first : first + count]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """Holds nothing."""


def open_parquet(source: FileRange, items: int, metadata: Any = None) -> Any:
    """For the child: a pyarrow.parquet.ParquetFile with everything off that helps an attacker.

    Args:
        items: most elements of a list of the footer.
        metadata: of an earlier ParquetFile, else read from the source's end.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.PythonFile(source, mode="r"),
        metadata=metadata,
        pre_buffer=False,
        thrift_container_size_limit=items,
        schema_depth_limit=4,
        arrow_extensions_enabled=False,
    )
