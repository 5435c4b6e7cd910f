"""A helper: a child process that starts when it is asked, and ends when it idles; both halves.

It keeps what needs torch and Parquet out of the process that serves. It is trusted code over
verified bytes, not a cage: miners' Parquet files are parsed in a cage of their own below it.
"""

import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, Queue
from typing import Any, NoReturn

from assay.cage import Budget, Cage, Lost, WorkerError
from assay.cage.child import HEAD, LENGTH, READY

#: Seconds without a request after which the child ends.
IDLE_S = 120.0
#: Seconds for a request, and for the child to start: it imports a lot, and machines are busy.
_SECONDS = 120.0
#: Processor seconds that one request may take, and bytes that its answer may have.
_PROCESSOR_S, _REPLY_MAX = 120.0, 64 << 20
#: Requests that may wait; seconds that the end of an idle child is waited for.
_WAITING_MAX, _CLOSE_S = 4, 10.0

Reply = Future[dict[str, Any] | str]


class BusyError(Exception):
    """Too many requests wait already."""


class HelperProcess:
    """One child and one thread that asks it. Safe to share between threads. Nobody waits for a busy
    child when the program ends: it ends by itself once nobody holds its standard input.

    Args:
        name: of the child, in errors.
        boot: Python code that the child runs; it ends in `serve`.
    """

    def __init__(self, name: str, boot: str, idle_s: float = IDLE_S) -> None:
        self._cage = Cage(name, boot, _SECONDS)
        self._asked: Queue[tuple[bytes, Reply] | None] = Queue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle_s = idle_s
        self._closed = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._cage.pid

    def ask(self, request: dict[str, Any]) -> Reply:
        """The child's answer; a sentence where it has none.

        Raises:
            BusyError: too many wait already, or the helper is closed.
        """
        with self._lock:
            if self._closed or self._waiting >= _WAITING_MAX:
                raise BusyError
            self._waiting += 1
        reply: Reply = Future()
        self._asked.put((json.dumps(request).encode(), reply))
        return reply

    def close(self) -> None:
        """Ends the child, at once or after what it is busy with."""
        with self._lock:
            self._closed = True
            busy = self._waiting > 0
        self._asked.put(None)
        if not busy:
            self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while True:
            try:
                asked = self._asked.get(timeout=self._idle_s)
            except Empty:
                self._cage.renew()  # it idles
                continue
            if asked is None or self._closed:
                self._cage.close()
                return
            request, reply = asked
            found = self._exchange(request)
            with self._lock:
                self._waiting -= 1
            reply.set_result(found)

    def _exchange(self, request: bytes) -> dict[str, Any] | str:
        try:
            reply = self._cage.ask(request, _REPLY_MAX, Budget(_PROCESSOR_S))
        except WorkerError as error:
            return str(error)
        if isinstance(reply, Lost):
            return f"it could not be found out: {reply.cause or 'it takes too long'}"
        document: dict[str, Any] = json.loads(reply)
        return document


def serve(answer: Callable[[bytes], bytes]) -> NoReturn:
    """The child's half: answers framed requests until standard input closes; what `answer` raises
    ends the process, and its standard error says what it was. To be called once the imports are
    done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "r+b", buffering=0) as nothing:
        for stream in (0, 1):  # whatever a library prints must not look like an answer
            os.dup2(nothing.fileno(), stream)
    replies.write(READY)
    replies.flush()
    try:
        while len(head := requests.read(HEAD.size)) == HEAD.size:
            size, _ = HEAD.unpack(head)
            reply = answer(requests.read(size))
            replies.write(LENGTH.pack(len(reply)) + reply)
            replies.flush()
    finally:
        os._exit(0)
