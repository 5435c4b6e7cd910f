"""Calls that may hang, each on its own thread: none delays another, nor the program's end.

asyncio's own executor has few threads, shared by all blocking calls, and the program waits for them
at the end.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread
from typing import Any, TypeVar

T = TypeVar("T")

#: Most concurrent lookups of names: room for a resolver that hangs for half a minute, many times
#: over.
_LOOKUPS = 64


def call_beside(function: Callable[[], T], name: str) -> Future[T]:
    """Call a function on a thread of this name, which does not delay the program's end.

    Raises:
        OSError: this machine allows no further thread.
    """
    result: Future[T] = Future()
    result.set_running_or_notify_cancel()  # so that it can be set even if nobody waits

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result raises it
            result.set_exception(error)

    try:
        Thread(target=run, name=name, daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, f"no thread can be started: {error}") from None
    return result


class DaemonThreads:
    """Daemon threads for one purpose: one for each call, up to a maximum. A call that nobody waits
    for any more counts until it ends."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._free = BoundedSemaphore(most)

    async def call(self, function: Callable[[], T]) -> T:
        """The result of a function, if the caller waits that long. `OSError`: too many calls hang,
        or no thread can be started."""
        if not self._free.acquire(blocking=False):
            raise OSError(errno.EAGAIN, f"{self._most} calls before it still hang")
        try:
            result = call_beside(function, self._name)
        except OSError:
            self._free.release()
            raise
        result.add_done_callback(lambda _: self._free.release())
        return await asyncio.wrap_future(result)


class LookupLoop(asyncio.SelectorEventLoop):
    """An event loop whose name lookups delay nothing but themselves."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups = DaemonThreads("resolve", _LOOKUPS)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:  # addresses, whose type differs between Python's releases
        """See `asyncio`."""
        return await self._lookups.call(
            lambda: socket.getaddrinfo(host, port, family, type, proto, flags)
        )
