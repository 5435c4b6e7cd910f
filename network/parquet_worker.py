"""A cage for a native parser: untrusted bytes are parsed in a child process that may die.

Parquet is read by native code that a crafted file may crash, stall or bloat (349 bytes can decode
to 300 million values). So one child does it, under limits on memory and processor time; each
request has a deadline; a child that dies, stalls or talks nonsense is replaced. Only framed bytes
of limited length cross the pipes, and nothing that the child sends is unpickled. What it says is
not trusted either: the judge hashes every group against the root on chain.

This module knows processes, not files: what a request means is `assay.network.submission_file`'s.
The upper half is the parent; the lower half, `serve`, is the child, which alone imports pyarrow.
"""

import math
import os
import resource
import selectors
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Any, NoReturn, Self

from assay.protocol import Reason, Refusal
from assay.protocol.errors import OperatorError

# Tuning: none of these changes a verdict on an honest file.
#: Seconds a request may take, and the first sign of life of a new child.
REQUEST_SECONDS, START_SECONDS = 5.0, 30.0
#: Processor seconds a request may take, rounded up to whole seconds of the child's life.
CPU_SECONDS = 2
#: Bytes of address space a child may add to what it has after its imports.
MEMORY_BYTES = 512 << 20

_READY = b"parquet worker is ready"
_BOOT = (
    "from assay.network.parquet_worker import serve;"
    "from assay.network.submission_file import answer;"
    "serve(answer)"
)
_LENGTH = struct.Struct(">I")
_OK = 0
_REFUSALS = {1: Reason.MALFORMED, 2: Reason.TOO_LARGE}
_STATUSES = {reason: status for status, reason in _REFUSALS.items()}
_DETAIL_MAX = 300  # characters of a refusal
_PIECE = 1 << 16  # bytes a pipe takes at once


class WorkerError(OperatorError):
    """The worker cannot be run at all: our own fault, never a file's."""


class FileFault(Exception):
    """Raised in the child: the file is at fault, and how."""

    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED) -> None:
        super().__init__(detail)
        self.reason = reason


class ParquetWorker:
    """Keeps one child alive from the first request to `close`. Safe to share between threads:
    they take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False

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
        child = self._child
        return child.pid if child else None

    def close(self) -> None:
        """Ends the child. What is asked afterwards raises WorkerError."""
        with self._lock:
            self._closed = True
            self._end_child()

    def ask(self, request: bytes, reply_max: int) -> bytes | Refusal:
        """The child's answer to one request, at most `reply_max` bytes.

        Tried again in a fresh child if the child is lost: it may have been ended by someone else,
        or filled by an earlier file. A file is at fault if both are lost, or at once if it burns
        its processor time.

        Raises:
            WorkerError: no child can be started, or the worker is closed.
        """
        with self._lock:
            for _ in range(2):
                if self._closed:
                    raise WorkerError("the Parquet worker is closed")
                self._child = self._child or _Child()
                answered = False
                status = None
                try:
                    reply = self._child.exchange(request, reply_max)
                    answered = True
                    return reply
                except _LostError as lost:
                    cause = str(lost)
                finally:
                    # Also after Ctrl-C: an answer nobody waited for would be the next request's.
                    if not answered:
                        status = self._end_child()
                if status == -signal.SIGXCPU:
                    cause = f"it took more than {CPU_SECONDS} s of processor time"
                    break
        return Refusal(Reason.MALFORMED, f"the Parquet parser gave up on this file: {cause}")

    def _end_child(self) -> int | None:
        """Ends the child, if there is one; its exit status, negative for a signal."""
        child, self._child = self._child, None
        return child.end() if child else None


class _LostError(Exception):
    """The child did not answer as it should; says how."""


class _Child:
    """One process and the two pipes to it. Ctrl-C does not reach it: it is in its own session, and
    ends when its standard input closes, however the parent ends."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", _BOOT]
        with tempfile.TemporaryFile() as errors:
            try:
                self._process = subprocess.Popen(
                    command,
                    bufsize=0,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise WorkerError(f"the Parquet worker cannot be started: {error}") from error
            self._await_ready(errors)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exchange(self, request: bytes, reply_max: int) -> bytes | Refusal:
        """Sends a request and awaits its answer; raises _LostError."""
        deadline = time.monotonic() + REQUEST_SECONDS
        self._send(_LENGTH.pack(len(request)) + request, deadline)
        (size,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
        if not 1 <= size <= 1 + max(reply_max, 4 * _DETAIL_MAX):
            raise _LostError(f"it answered {size} bytes")
        reply = self._receive(size, deadline)
        if reply[0] == _OK:
            return reply[1:]
        if reply[0] not in _REFUSALS:
            raise _LostError(f"it answered with status {reply[0]}")
        return Refusal(_REFUSALS[reply[0]], _clean(reply[1:].decode(errors="replace")))

    def end(self) -> int:
        """Kills and reaps the process; its exit status."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            return self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise WorkerError(f"process {self.pid} cannot be killed") from error

    def _await_ready(self, errors: IO[bytes]) -> None:
        ready = False
        try:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
            deadline = time.monotonic() + START_SECONDS
            ready = self._receive(len(_READY), deadline) == _READY
        except _LostError:
            pass
        finally:
            if not ready:
                self.end()
        if not ready:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2_000))
            lines = errors.read().decode(errors="replace").split("\n")
            said = next((line for line in reversed(lines) if line.strip()), "it says nothing")
            raise WorkerError(f"the Parquet worker does not start: {_clean(said)}")

    def _send(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            _wait(self._process.stdin, selectors.EVENT_WRITE, deadline)
            try:
                left = left[os.write(self._process.stdin.fileno(), left[:_PIECE]) :]
            except OSError as error:
                raise _LostError("it died") from error

    def _receive(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        data = bytearray()
        while len(data) < size:
            _wait(self._process.stdout, selectors.EVENT_READ, deadline)
            chunk = os.read(self._process.stdout.fileno(), size - len(data))
            if not chunk:
                raise _LostError("it died")
            data += chunk
        return bytes(data)


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise _LostError(f"it took more than {REQUEST_SECONDS:g} s")


def _clean(text: str) -> str:
    """One printable line: parts of it may be a stranger's."""
    line = text.strip().partition("\n")[0][:_DETAIL_MAX]
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
    replies.write(_READY)
    replies.flush()
    faults = (FileFault, pa.ArrowException, OSError, ValueError, NotImplementedError)
    try:
        while len(head := requests.read(_LENGTH.size)) == _LENGTH.size:
            request = requests.read(_LENGTH.unpack(head)[0])
            _renew_processor_time()
            try:
                reply = bytes([_OK]) + answer(request)
            except MemoryError:  # pyarrow's own is also an ArrowException
                break
            except faults as fault:
                reply = _pack_fault(fault)
            replies.write(_LENGTH.pack(len(reply)) + reply)
            replies.flush()
    finally:
        os._exit(0)  # never run native destructors after garbage: they abort or hang


def _pack_fault(fault: Exception) -> bytes:
    reason, text = Reason.MALFORMED, f"the file cannot be read as Parquet: {fault}"
    if isinstance(fault, FileFault):
        reason, text = fault.reason, str(fault)
    return bytes([_STATUSES[reason]]) + _clean(text).encode(errors="replace")


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


def open_parquet(source: Window, text: int, items: int, metadata: Any = None) -> Any:
    """For the child: a pyarrow.parquet.ParquetFile with everything off that helps an attacker.

    Args:
        text: longest string of the footer, bytes.
        items: most elements of a list of the footer.
        metadata: of an earlier ParquetFile, else read from the source's end.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(
        pa.PythonFile(source, mode="r"),
        metadata=metadata,
        pre_buffer=False,
        thrift_string_size_limit=text,
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


def _renew_processor_time() -> None:
    """The limit counts from the child's start, in whole seconds: moved on with each request."""
    _lower_limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + CPU_SECONDS, soft=True)


def _lower_limit(kind: int, value: int, soft: bool = False) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, hard if soft else value))
