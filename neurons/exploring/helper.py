"""The parent's half of a helper: a child that starts when it is asked, and ends when it idles."""

import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from assay.cage import Budget, Cage, Lost, WorkerError

#: Seconds without a request after which the child ends.
IDLE_S = 120.0
#: Seconds for a request, and for the child to start: it imports a lot, and machines are busy.
_SECONDS = 120.0
#: Processor seconds that one request may take, and bytes that its answer may have.
_PROCESSOR_S, _REPLY_MAX = 120.0, 64 << 20
#: Requests that may wait.
_WAITING_MAX = 4


class BusyError(Exception):
    """Too many requests wait already."""


class Helper:
    """One child and one thread that asks it. Safe to share between threads.

    Args:
        name: of the child, in errors.
        boot: Python code that the child runs; it ends in `assay.neurons.exploring.child.serve`.
    """

    def __init__(self, name: str, boot: str, idle_s: float = IDLE_S) -> None:
        self._cage = Cage(name, boot, _SECONDS)
        self._threads = ThreadPoolExecutor(1, name)
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle_s = idle_s
        self._timer: threading.Timer | None = None
        self._used = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._cage.pid

    def ask(self, request: dict[str, Any]) -> "Future[dict[str, Any] | str]":
        """The child's answer; a sentence where it has none.

        Raises:
            BusyError: too many wait already, or the helper is closed.
        """
        with self._lock:
            if self._closed or self._waiting >= _WAITING_MAX:
                raise BusyError
            self._waiting += 1
            return self._threads.submit(self._ask, json.dumps(request).encode())

    def _ask(self, request: bytes) -> dict[str, Any] | str:
        try:
            reply = self._cage.ask(request, _REPLY_MAX, Budget(_PROCESSOR_S))
        except WorkerError as error:
            return str(error)
        finally:
            with self._lock:
                self._waiting -= 1
                self._used = time.monotonic()
                self._watch()
        if isinstance(reply, Lost):
            return f"it could not be found out: {reply.cause or 'it takes too long'}"
        document: dict[str, Any] = json.loads(reply)
        return document

    def _watch(self) -> None:
        """Looks later whether the child idles. Called with the lock."""
        if self._timer is None and not self._closed:
            self._timer = threading.Timer(self._idle_s, self._rest)
            self._timer.daemon = True
            self._timer.start()

    def _rest(self) -> None:
        with self._lock:
            self._timer = None
            idle = not self._waiting and time.monotonic() - self._used >= self._idle_s
            if not idle:
                self._watch()
        if idle:
            self._cage.renew()

    def close(self) -> None:
        """Ends the child and waits for what is under way."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._cage.close()
