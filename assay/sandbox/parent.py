"""The parent's half: keeps one child alive, sends it requests, and replaces it when it is lost."""

import math
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Self
from weakref import WeakSet

from assay.protocol.errors import OperatorError
from assay.sandbox.child import HEAD, LENGTH, READY, clean
from assay.sandbox.preloaded import PreloadedPython, start_python
from assay.sandbox.secret_variables import list_plain_variables

# Tuning: these do not change the answer to an honest request.
REQUEST_SECONDS, START_SECONDS = 30.0, 30.0
#: Seconds to wait before a child that did not start is started again: memory may be short for a
#: moment.
START_PAUSES = (0.1, 0.5, 2.5)

_PIECE = 1 << 16  # bytes that a pipe takes at once


class WorkerError(OperatorError):
    """The child cannot run at all. This is our own fault, never that of the request."""


@dataclass(slots=True)
class Budget:
    """Processor seconds that one piece of work may still take, over all its requests."""

    left: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Two children were lost over one request, or its budget is spent.

    Attributes:
        cause: how the last one was lost, one printable line.
        spent: whether no CPU time was left.
        slow: whether the last one missed its deadline with CPU time left, or somebody else killed
            it, as a system short of memory does: the machine may be to blame.
    """

    cause: str
    spent: bool
    slow: bool = False


class Sandbox:
    """Keeps one child alive from the first request to `close`. Safe to share between threads: they
    take turns. A fork of this process starts a child of its own.

    Args:
        name: the child's name in errors.
        boot: Python code that the child runs; it ends in `assay.sandbox.child.serve`.
        seconds: limit of a request, and of a new child's first sign of life; None:
            `REQUEST_SECONDS`.
        starts: number of attempts to start a child that does not start; None: by `START_PAUSES`.
        preloaded: forks the child, whose code must be ours; None: it starts cold.
        kept: beginnings of the names of secret variables that the child needs; it gets no others.
    """

    def __init__(
        self,
        name: str,
        boot: str,
        seconds: float | None = None,
        starts: int | None = None,
        preloaded: PreloadedPython | None = None,
        kept: tuple[str, ...] = (),
    ) -> None:
        self._starts = starts
        self._kept = kept
        self._preloaded = preloaded
        self.boot = boot
        self._name = name
        self._seconds = seconds
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._closed = False
        _sandboxes.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def leave_child(self) -> None:
        """In a fork: leave the child to the process that started it, whose replies this one would
        read. No other thread is here, whatever it held."""
        self._lock = threading.Lock()
        child, self._child = self._child, None
        if child is not None:
            child.leave()

    @property
    def pid(self) -> int | None:
        child = self._child
        return child.pid if child else None

    @property
    def is_alive(self) -> bool:
        """Return whether there is a running child. For callers with one thread."""
        return self._child is not None and self._child.is_alive

    def close(self) -> None:
        """End the child. Later requests raise WorkerError."""
        with self._lock:
            self._closed = True
            self._end_child()

    def renew(self) -> None:
        """End the child, so that the next request gets a new one. For retrying a failed request
        without the effects of earlier ones."""
        with self._lock:
            self._end_child()

    def stop(self) -> None:
        """End the child at once, even during a request. Later or unanswered requests raise
        WorkerError or are lost."""
        self._closed = True  # without the lock, which a running request holds
        child = self._child
        if child is not None:
            child.kill()

    def ask(
        self,
        request: bytes,
        reply_max: int,
        budget: Budget,
        seconds: float | None = None,
        tries: int = 2,
    ) -> bytes | Lost:
        """The child's answer to one request, 1 to `reply_max` bytes. Its cost is taken from
        `budget`.

        If the child is lost, the request is sent to a new one: the first may have been ended by
        someone else, or filled by an earlier request. If the second is lost too, the request is at
        fault.

        Args:
            seconds: limit of this request; None: that of all requests.
            tries: most children that this request may cost; with one, the caller retries.

        Raises:
            WorkerError: no child can be started, or the sandbox is closed.
        """
        cause, slow = "", False
        with self._lock:
            for _ in range(tries):
                self._require_open()
                if budget.left <= 0:
                    break
                child = self._child or self._start_child()
                self._require_open()  # it may have been stopped meanwhile
                answered = died = False
                try:
                    reply = child.exchange(request, reply_max, budget, seconds)
                    answered = True
                    return reply
                except _LostError as lost:
                    cause = str(lost)
                    slow, died = isinstance(lost, _SlowError), isinstance(lost, _DiedError)
                finally:
                    # Also after Ctrl-C: otherwise the next request would get this request's answer.
                    status = None if answered else self._end_child()
                    slow = slow or (died and status == -signal.SIGKILL)
                    if status == -signal.SIGXCPU:
                        budget.left = 0.0
        spent = budget.left <= 0
        return Lost(cause, spent, slow and not spent)

    def _require_open(self) -> None:
        if self._closed:
            self._end_child()
            raise WorkerError(f"the {self._name} is closed")

    def _end_child(self) -> int | None:
        child, self._child = self._child, None
        return child.end() if child else None

    def _start_child(self) -> "_Child":
        pauses = START_PAUSES if self._starts is None else START_PAUSES[: self._starts - 1]
        for pause in pauses:
            try:
                return self._start_once()
            except WorkerError:
                self._require_open()
                time.sleep(pause)
        return self._start_once()

    def _start_once(self) -> "_Child":
        child = self._child = _Child(
            self._name, self.boot, self._seconds, self._preloaded, self._kept
        )
        is_ready = False
        try:
            self._require_open()  # from here on `stop` can end it, even before it is ready
            child.await_ready()
            is_ready = True
        finally:
            if not is_ready:
                self._end_child()
        return child


_sandboxes: WeakSet[Sandbox] = WeakSet()


def _leave_children() -> None:
    for sandbox in list(_sandboxes):
        sandbox.leave_child()


os.register_at_fork(after_in_child=_leave_children)


class _LostError(Exception):
    """The child did not answer correctly. The message says how."""


class _SlowError(_LostError):
    """The child missed its deadline."""


class _DiedError(_LostError):
    """The child has ended, by itself or because somebody else ended it."""


class _Child:
    """One process and the two pipes to it. Ctrl-C does not reach it: it is in its own session, and
    ends when its standard input closes, however the parent ends."""

    def __init__(
        self,
        name: str,
        boot: str,
        seconds: float | None,
        preloaded: PreloadedPython | None,
        kept: tuple[str, ...],
    ) -> None:
        self._name = name
        self._patience = seconds
        start = start_python if preloaded is None else preloaded.popen
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - read once it is ready, or is not
        try:
            self._process = start(
                boot,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
                env=list_plain_variables(*kept),
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(f"the {self._name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def _seconds(self) -> float:
        return REQUEST_SECONDS if self._patience is None else self._patience

    def exchange(
        self, request: bytes, reply_max: int, budget: Budget, seconds: float | None = None
    ) -> bytes:
        before = self.get_processor_time()
        try:
            head = HEAD.pack(len(request), math.ceil(budget.left * 1_000))
            return self._exchange(head + request, reply_max, seconds or self._seconds)
        finally:
            budget.left -= self.get_processor_time() - before

    def _exchange(self, request: bytes, reply_max: int, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        self._send(request, deadline, seconds)
        (size,) = LENGTH.unpack(self._receive(LENGTH.size, deadline, seconds))
        if not 1 <= size <= reply_max:
            raise _LostError(f"it answered {size} bytes")
        return self._receive(size, deadline, seconds)

    @property
    def is_alive(self) -> bool:
        """Return whether the child is running. Does not reap it."""
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.pid, look) is None
        except ChildProcessError:
            return False

    def kill(self) -> None:
        """End the process and its copies. The thread that waits for its answer reaps it."""
        with suppress(ProcessLookupError):
            if self._process.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill and reap the process. Return its exit status."""
        self.kill()
        self._close()
        try:
            return self._process.wait(START_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise WorkerError(f"process {self.pid} cannot be killed") from error

    def leave(self) -> None:
        """Close this process's ends of the pipes: the child ends with its parent, not with us."""
        self._process.returncode = 0  # as if it were reaped: it is another process's child
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    def get_processor_time(self) -> float:
        """CPU seconds of the process and its ended copies, known until it is reaped."""
        with open(f"/proc/{self.pid}/stat", "rb") as stat:
            worked = stat.read().rpartition(b")")[2].split()[11:15]
        return sum(map(int, worked)) / os.sysconf("SC_CLK_TCK")

    def await_ready(self) -> None:
        """Wait for the child's first sign of life. Raises WorkerError, with the reason, if there is
        none."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        seconds = max(START_SECONDS, self._seconds)
        try:
            ready = self._receive(len(READY), time.monotonic() + seconds, seconds) == READY
        except _SlowError as error:
            raise WorkerError(f"the {self._name} does not start: {error}") from None
        except _LostError:
            ready = False
        if not ready:
            errors = self._errors
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2_000))
            lines = errors.read().decode(errors="replace").split("\n")
            last_line = next((line for line in reversed(lines) if line.strip()), "it says nothing")
            raise WorkerError(f"the {self._name} does not start: {clean(last_line)}")
        self._errors.close()

    def _send(self, data: bytes, deadline: float, seconds: float) -> None:
        assert self._process.stdin is not None
        left = memoryview(data)
        while left:
            _wait(self._process.stdin, select.POLLOUT, deadline, seconds)
            try:
                left = left[os.write(self._process.stdin.fileno(), left[:_PIECE]) :]
            except OSError as error:
                raise _DiedError("it died") from error

    def _receive(self, size: int, deadline: float, seconds: float) -> bytes:
        assert self._process.stdout is not None
        data = bytearray()
        while len(data) < size:
            _wait(self._process.stdout, select.POLLIN, deadline, seconds)
            chunk = os.read(self._process.stdout.fileno(), size - len(data))
            if not chunk:
                raise _DiedError("it died")
            data += chunk
        return bytes(data)


def _wait(pipe: IO[bytes], event: int, deadline: float, seconds: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1_000):
        raise _SlowError(f"it took more than {seconds:g} s")
