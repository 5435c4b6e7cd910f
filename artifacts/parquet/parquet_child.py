"""The child of a ParquetWorker: a process that parses what strangers wrote, and may die of it.

It alone imports pyarrow. Its limits are those of `assay.cage`; what is asked of it is another
module's: of miners' files `assay.artifacts.submissions.submission_parser`'s.
"""

import os
from collections.abc import Callable
from typing import Any, NoReturn

from assay.cage import child
from assay.cage.child import clean
from assay.protocol import Reason

#: First byte of an answer.
OK = 0
REFUSALS = {1: Reason.MALFORMED, 2: Reason.TOO_LARGE}
_STATUSES = {reason: status for status, reason in REFUSALS.items()}


class FileFault(Exception):
    """Raised in the child: the file is at fault, and how."""

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
