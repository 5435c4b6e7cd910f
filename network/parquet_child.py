"""The child of a ParquetWorker: a process that parses what strangers wrote, and may die of it.

It alone imports pyarrow. It limits its own memory and processor time, has no way to write a file,
and says nothing but framed answers. What is asked of it is `assay.network.submission_parser`'s.
"""

import math
import os
import resource
import signal
import struct
import time
from collections.abc import Callable
from typing import Any, NoReturn

from assay.protocol import Reason

#: Bytes of address space a child may add to what it has after its imports. Tuning.
MEMORY_BYTES = 512 << 20
#: What a child says once its imports are done.
READY = b"parquet worker is ready"
#: Of a request: its length, and the processor time it may take in ms. Of an answer: its length.
HEAD, LENGTH = struct.Struct(">II"), struct.Struct(">I")
#: First byte of an answer.
OK = 0
REFUSALS = {1: Reason.MALFORMED, 2: Reason.TOO_LARGE}
_STATUSES = {reason: status for status, reason in REFUSALS.items()}
#: Characters of a refusal.
DETAIL_MAX = 300


class FileFault(Exception):
    """Raised in the child: the file is at fault, and how."""

    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(detail)
        self.reason = reason


def clean(text: str) -> str:
    """One printable line: parts of it may be a stranger's."""
    line = text.strip().partition("\n")[0][:DETAIL_MAX]
    return "".join(c if c.isprintable() else "?" for c in line)


def serve(answer: Callable[[bytes], bytes]) -> NoReturn:
    """The child's whole life: answers requests until its standard input closes.

    `answer` returns the reply, or raises FileFault or what pyarrow raises at a broken file.
    Anything else, running out of memory above all, ends the process, and the parent concludes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import pyarrow as pa
    import pyarrow.parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space ahead
    # Whatever native code prints must not look like an answer, nor fill the parent's disk.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for stream in range(3):
            os.dup2(nothing.fileno(), stream)
    _limit_memory()
    replies.write(READY)
    replies.flush()
    faults = (FileFault, pa.ArrowException, OSError, ValueError, NotImplementedError)
    try:
        while len(head := requests.read(HEAD.size)) == HEAD.size:
            size, milliseconds = HEAD.unpack(head)
            request = requests.read(size)
            _renew_processor_time(milliseconds / 1_000)
            try:
                reply = bytes([OK]) + answer(request)
            except MemoryError:  # pyarrow's own is also an ArrowException
                break
            except faults as fault:
                reply = _pack_fault(fault)
            replies.write(LENGTH.pack(len(reply)) + reply)
            replies.flush()
    finally:
        os._exit(0)  # never run native destructors after garbage: they abort or hang


def _pack_fault(fault: Exception) -> bytes:
    reason, text = Reason.MALFORMED, f"the file cannot be read as Parquet: {fault}"
    if isinstance(fault, FileFault):
        reason, text = fault.reason, str(fault)
    return bytes([_STATUSES[reason]]) + clean(text).encode(errors="replace")


class Window:
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


def open_parquet(source: Window, items: int, metadata: Any = None) -> Any:
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


def _limit_memory() -> None:
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    _lower_limit(resource.RLIMIT_AS, used + MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _renew_processor_time(seconds: float) -> None:
    """The limit counts from the child's start, in whole seconds: moved on with each request."""
    _lower_limit(resource.RLIMIT_CPU, math.ceil(time.process_time() + seconds), soft=True)


def _lower_limit(kind: int, value: int, soft: bool = False) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard if soft else value))
