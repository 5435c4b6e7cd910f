"""The points at which a process may die: before each of its effects on the outside, and at each
answer.

The program itself is unchanged. The interpreter's audit events report files that are opened for
writing, renamed and removed, and SQLite's traces report every statement. Websockets, stores and
beacons are wrapped. Between two points nothing that a process does is visible outside, so all kills
there are alike.
"""

import json
import os
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Events of the interpreter about files, and which arguments name them.
_FILES = {"open": 1, "os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.truncate": 1}
#: Name of a turn's begin.
TURN = "turn"
#: Name of a world's step, at the end of a turn of an episode.
STEP = "step"
#: Kinds of things that leave nothing behind.
_TRACELESS = frozenset(
    {"ask read", "asked read", "told read", "connect", "store get", "store open", "beacon"}
    | {"start", "fsync", STEP}
)
#: The call that submits an extrinsic. Later messages about it are points, too.
_SUBMIT = "author_submitAndWatchExtrinsic"
#: The part that differs between two files of one kind.
_VARIES = re.compile(r"[0-9a-f]{6,}|[0-9]+")


@dataclass(frozen=True, slots=True)
class Fate:
    """The end of one process.

    Attributes:
        at: the kill comes before the effect with this number, from 1; 0: not by number.
        kinds: the kill comes before the first effect of one of these kinds.
    """

    at: int = 0
    kinds: frozenset[str] = frozenset()


class Points:
    """Counts a process's effects, writes them to a log, and kills the process at one of them.

    Args:
        folder: files below it are the process's own.
        log: one line for each point, kept over a kill.
        fate: when the process dies.
    """

    def __init__(self, folder: Path, log: Path, fate: "Fate") -> None:
        self._folder = str(folder)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._fate = fate
        self._count = 0
        self._lock = threading.Lock()
        self._statement = ""

    def __call__(self, name: str) -> None:
        with self._lock:
            self._count += 1
            os.write(self._log, f"{name}\n".encode())
            if self._count == self._fate.at or name_kind(name) in self._fate.kinds:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """From here on files and databases are watched; there is no way back."""
        sys.addaudithook(self._hear)
        synchronise = os.fsync

        def fsync(descriptor: int) -> None:
            self("fsync")
            synchronise(descriptor)

        os.fsync = fsync
        connect = sqlite3.connect

        def open_traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self._hear_statement)
            return connection

        sqlite3.connect = open_traced

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """Has a method of a class or module be a point."""
        inner = getattr(owner, method)

        def call(*arguments: Any, **options: Any) -> Any:
            self(name)
            return inner(*arguments, **options)

        setattr(owner, method, call)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            self("start a process")
        elif event in _FILES and self._is_own(event, arguments):
            self(f"{event} {_name_file(arguments[0])}")

    def _is_own(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return False
        paths = arguments[: _FILES[event]]
        return any(
            isinstance(path, str | bytes | os.PathLike)
            and os.fsdecode(path).startswith(self._folder)
            for path in paths
        )

    def _hear_statement(self, statement: str) -> None:
        words = " ".join(statement.split("(")[0].split()[:5])
        reads = words.startswith(("SELECT", "PRAGMA", "--"))
        if not reads and words != self._statement:  # many rows of one kind are one write
            self(f"sql {words}")
        self._statement = words


class WatchedSocket:
    """The SDK's websocket. The process may die at each of its requests, and at each message about
    an extrinsic.

    Args:
        on_submit: called when an extrinsic has been submitted.
    """

    def __init__(self, inner: Any, points: Points, on_submit: Callable[[], None]) -> None:
        self._inner = inner
        self.transport = inner.transport
        self._points = points
        self._on_submit = on_submit
        self._submitted: set[int] = set()

    async def send(self, message: str) -> None:
        frame = json.loads(message)
        requests = frame if isinstance(frame, list) else [frame]
        methods = list(dict.fromkeys(request["method"] for request in requests))
        self._points(f"ask {' '.join(methods)}")
        await self._inner.send(message)
        if _SUBMIT in methods:
            self._submitted |= {request["id"] for request in requests}
            self._on_submit()

    async def recv(self) -> Any:
        message = await self._inner.recv()
        heard = json.loads(message)
        if isinstance(heard, dict):
            if heard.get("method") == "author_extrinsicUpdate":
                status = heard["params"]["result"]
                self._points(f"hear {status if isinstance(status, str) else next(iter(status))}")
            elif heard.get("id") in self._submitted:
                self._points("hear of submission")
        return message

    async def close(self) -> None:
        await self._inner.close()


def name_kind(name: str) -> str:
    """The kind of a point: a statement's verb, or for a request whether it changes anything."""
    what, *rest = name.split()
    if what in ("ask", "asked", "told", "tell"):
        sends = any(word.startswith("author_submit") for word in rest)
        return f"{what} {'extrinsic' if sends else rest[0] if what == 'tell' else 'read'}"
    return " ".join([what, *rest[: what in ("sql", "hear", "store")]])


def list_distinct(points: Sequence[str]) -> list[int]:
    """Points, from 1 on, before which disk, store or chain have changed: a kill after a mere
    question, or within a transaction, leaves the same as a kill before it. Also the first point of
    every turn, because time has passed."""
    found, within, left = [], False, True
    for at, name in enumerate(points, 1):
        kind = name_kind(name)
        if left or kind == TURN:
            found.append(at)
        left = not ((within and kind.startswith("sql")) or kind in _TRACELESS)
        if kind in ("sql BEGIN", "sql COMMIT"):
            within, left = kind == "sql BEGIN", kind == "sql COMMIT"
    return found


def _name_file(path: Any) -> str:
    """A file's name without what differs from one to the next."""
    name = Path(os.fsdecode(path)).name
    return "temporary" if name.startswith((".", "tmp")) else _VARIES.sub("#", name)
