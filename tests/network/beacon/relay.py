"""A relay with bad days: raw bytes over a socket, one behaviour at a time."""

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from assay.protocol.beacon import Beacon

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]

#: A body that no client should wait for in full, bytes.
ENDLESS = 1 << 40


class Relay:
    """Answers every request as `answer` says, until it is closed.

    Attributes:
        answer: (path, writer) → nothing; the connection is closed after it.
        asked: paths in the order of their requests.
        headers: every request's header lines.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.headers: list[list[str]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()
        assert self._ready.wait(60)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(60)
            self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        server.close()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        await asyncio.sleep(0.01)  # their sockets close in the loop's next turns

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            self.asked.append(head[0].split()[1])
            self.headers.append(head[1:])
            await self.answer(self.asked[-1], writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has left
        except asyncio.CancelledError:
            writer.transport.abort()  # the relay closes, whatever is still to be sent
        finally:
            writer.close()


class DeafRelay:
    """Half open: the kernel takes connection and request, and nobody ever reads them."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()


def find_closed_port() -> str:
    """An address where connections are refused."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def write_answer(
    body: bytes, status: int = 200, length: int | None = None, more: str = ""
) -> bytes:
    """An HTTP answer, which may lie about its length."""
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status} -\r\nContent-Length: {size}\r\nConnection: close\r\n{more}\r\n"
    return head.encode() + body


def describe(beacon: Beacon, **changes: Any) -> dict[str, Any]:
    """A round as drand's first version writes it."""
    fields = {
        "round": beacon.round,
        "randomness": beacon.randomness.hex(),
        "signature": beacon.signature.hex(),
    }
    if beacon.previous_signature:
        fields["previous_signature"] = beacon.previous_signature.hex()
    return fields | changes


def serve(get: Callable[[int], Any], delay_s: float = 0.0) -> Answer:
    """Answers with what `get` says of the round in the path: JSON fields, or None for a 404."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(delay_s)
        fields = get(int(path.rsplit("/", 1)[1]))
        if fields is None:
            writer.write(write_answer(b"no such round", 404))
        else:
            writer.write(write_answer(json.dumps(fields).encode()))

    return answer


def send(data: bytes) -> Answer:
    """These bytes, whatever is asked, and then the end."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def send_and_stall(data: bytes) -> Answer:
    """These bytes, and then neither more nor an end."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(3_600)

    return answer


def drip(data: bytes, pause_s: float) -> Answer:
    """A byte at a time, for ever."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        while True:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(pause_s)

    return answer


def pour(head: bytes, chunk: bytes) -> Answer:
    """A head, and then the same chunk as long as somebody takes it."""

    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(chunk)
            await writer.drain()

    return answer
