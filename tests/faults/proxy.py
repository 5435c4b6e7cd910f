"""A proxy on loopback before a chain node (websocket), a beacon relay or a store (HTTP).

It runs on a thread of its own and is told at any time what goes wrong from now on:

    proxy = FaultProxy("http://127.0.0.1:8080")
    client.use(proxy.url)
    proxy.set_fault("stall", only="/public/")
    …
    proxy.clear()

What has gone wrong with a connection stays wrong with it: one that fell silent stays silent when
the fault is over, as behind a router that has forgotten it. New connections are good then.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.faults import http_faults, websocket_faults
from tests.faults.wire import Message

#: Faults of either kind that strike before any request → their effect on a connection.
_CONNECTION = {
    "refuse": "new connections are reset, and those there are too",
    "half-open": "accepted, and silent for ever; those there are fall silent",
}
#: Faults by kind of service: name → the effect on the client.
HTTP_FAULTS = _CONNECTION | http_faults.FAULTS
WEBSOCKET_FAULTS = _CONNECTION | websocket_faults.FAULTS
#: Longest wait for the proxy's own thread, seconds.
_OWN_S = 10.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and its frequency.

    Attributes:
        name: of `HTTP_FAULTS` or `WEBSOCKET_FAULTS`.
        only: a pattern: the fault hits answers to requests that have it in their method and path,
            or in their JSON-RPC method.
        share: the share of these that it hits, drawn by the proxy's seed.
        times: most hits; 0: without end.
        delay_s: of "latency" per answer, of "drip" per byte, of "empty fragments" per fragment.
    """

    name: str
    only: str = ""
    share: float = 1.0
    times: int = 0
    delay_s: float = 0.02


@dataclass(slots=True, eq=False)
class Link:
    """One client's connection.

    Attributes:
        dead: nothing is read from it or written to it any more, and it stays open.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    def reset(self) -> None:
        """Ends it as a cut cable's other end does: without a word."""
        own = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        if not self.dead.is_set():
            self.writer.write(data)
            await self.writer.drain()

    async def hang(self) -> None:
        """Silence, until the client leaves or the proxy closes."""
        self.dead.set()
        while await self.reader.read(2**16):
            pass


class FaultProxy:
    """A proxy before the service at `upstream`.

    Attributes:
        url: its own, with the upstream's path.
        requests: requests seen: path or JSON-RPC method → how often.
        hits: answers and connections that a fault has struck, by its name; unchanged answers do not
            count.
        connections: how many were accepted.
        previous: the newest HTTP answer that was given.

    Args:
        upstream: http:// or ws:// URL, on this machine.
        seed: seed of the shares, and of the garbage that is sent.
        port: to listen on; 0: any.
    """

    def __init__(self, upstream: str, seed: int = 0, port: int = 0) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname, upstream
        assert parts.port, upstream
        self.is_websocket = parts.scheme == "ws"
        self.upstream = (parts.hostname, parts.port)
        self.requests: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.connections = 0
        self.previous: deque[Message] = deque(maxlen=1)
        self.random = random.Random(seed)
        self._fault: Fault | None = None
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._port = port
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(_OWN_S)
        self.url = f"{parts.scheme}://127.0.0.1:{self._port}{parts.path.rstrip('/')}"

    @property
    def faults(self) -> dict[str, str]:
        """The faults that it knows: name → the effect on the client."""
        return WEBSOCKET_FAULTS if self.is_websocket else HTTP_FAULTS

    def set_fault(self, name: str, **how: Any) -> None:
        """From now on this goes wrong, and nothing else. `how`: see `Fault`."""
        assert name in self.faults, name
        fault = Fault(name, **how)

        def begin() -> None:
            self._fault = fault
            if fault.name in _CONNECTION and not fault.only and fault.share == 1:
                for link in list(self._links):
                    self._strike_connection(link, fault)

        self._call(begin)

    def clear(self) -> None:
        """Nothing goes wrong with new connections from now on."""

        def end() -> None:
            self._fault = None

        self._call(end)

    def cut(self) -> None:
        """Resets every connection once; new ones are welcome."""
        self._call(lambda: [link.reset() for link in list(self._links)])

    def drop_dead(self) -> None:
        """Resets the connections that have fallen silent."""
        self._call(lambda: [link.reset() for link in list(self._links) if link.dead.is_set()])

    def close(self) -> None:
        """Ends connections and thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_OWN_S)
            self._loop.close()

    def draw(self, asked: str) -> Fault | None:
        """Notes a request; what may go wrong with its answer. For the proxy's own thread."""
        self.requests[asked] += 1
        fault = self._fault
        if fault is None or not re.search(fault.only, asked):
            return None
        if fault.share < 1 and self.random.random() >= fault.share:
            return None
        return fault

    def note(self, fault: Fault) -> Fault | None:
        """Counts a strike; None: it has struck often enough."""
        if fault.times and self.hits[fault.name] >= fault.times:
            return None
        self.hits[fault.name] += 1
        return fault

    @property
    def fault(self) -> Fault | None:
        """The present fault."""
        return self._fault

    # --- its own thread

    def _call(self, work: Callable[[], object]) -> None:
        async def run() -> None:
            work()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(_OWN_S)

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, limit=2**20, reuse_address=True
        )
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # sockets close in the loop's next turns

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        self._links.add(link)
        self.connections += 1
        try:
            await self._attend(link)
        except (OSError, EOFError, ValueError):
            pass  # client or upstream has left, or speaks no HTTP
        except asyncio.CancelledError:
            link.reset()
        finally:
            self._links.discard(link)
            writer.close()

    async def _attend(self, link: Link) -> None:
        fault = self._fault
        if fault is not None and fault.name in _CONNECTION and not fault.only:
            struck = fault.share == 1 or self.random.random() < fault.share
            if struck and self.note(fault):
                self._strike_connection(link, fault, count=False)
                return await link.hang()
        serve: Callable[[FaultProxy, Link], Coroutine[Any, Any, None]] = (
            websocket_faults.serve if self.is_websocket else http_faults.serve
        )
        await serve(self, link)
        return None

    def _strike_connection(self, link: Link, fault: Fault, *, count: bool = True) -> None:
        if count and not self.note(fault):
            return
        link.dead.set()
        if fault.name == "refuse":
            link.reset()
