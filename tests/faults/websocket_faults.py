"""Faults of a node's websocket, and the loop that passes frames on."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.faults.wire import (
    BINARY,
    RESERVED,
    TEXT,
    Frame,
    Message,
    deflate,
    read_frame,
    read_message,
    write_frame,
)

if TYPE_CHECKING:
    from tests.faults.proxy import Fault, FaultProxy, Link

#: name → the effect on the client.
FAULTS = {
    "cut": "the connection is reset in the middle of an answer, whose request was served",
    "stall": "an answer stops in its middle, and the connection stays open",
    "deaf": "requests are served, and no answer to them ever comes",
    "drip": "answers come byte by byte",
    "latency": "answers come late",
    "endless body": "an answer whose frames never end",
    "empty fragments": "an answer that goes on in fragments of nothing",
    "length too long": "a frame that announces more bytes than it has",
    "length too short": "a frame that announces fewer bytes than it has",
    "huge length": "a frame that announces an exbibyte",
    "redirect": "the handshake is answered with a redirect to another host",
    "busy": "the handshake is answered with status 503",
    "bomb": "a compressed message of a gigabyte",
    "garbage": "frames of a reserved kind, no UTF-8, no JSON, or JSON that is not an answer",
    "reordered": "answers come in another order, each with its own number",
    "swapped": "two answers bear each other's numbers",
}
#: Struck once a connection, at its handshake.
_AT_HANDSHAKE = ("redirect", "busy", "bomb")
#: The target of redirects.
ELSEWHERE = "ws://127.0.0.2:9/elsewhere"
#: Seconds for which an answer is held, so that another may overtake it.
_HOLD_S = 0.03
_FILLER = b" " * 2**16
_BOMB = 2**30
#: None of it is an answer to anything.
_GARBAGE = (
    write_frame(b"what", RESERVED),
    write_frame(b"\xff\xfe\xfd"),
    write_frame(b"\xff\xfe\xfd", BINARY),
    write_frame(b"<html>log in first</html>"),
    write_frame(b"42"),
    write_frame(b"[[[]]]"),
    write_frame(b'{"jsonrpc": "2.0", "id": [], "result": {}}'),
    write_frame(b'{"jsonrpc": "2.0", "method": 1, "params": {"subscription": {}}}'),
    write_frame(b"[" * 100_000),
    b"\x00" * 64,
)


async def serve(proxy: "FaultProxy", link: "Link") -> None:
    """One client's conversation, until either side leaves."""
    request = await read_message(link.reader)
    if request is None:
        return
    fault = proxy.fault
    struck = None
    if fault is not None and fault.name in _AT_HANDSHAKE:
        struck = proxy.note(fault)
    if struck is not None:
        await _spoil_handshake(link, request, struck.name)
        return
    node = await asyncio.open_connection(*proxy.upstream, limit=2**20)
    try:
        node[1].write(request.with_header("Sec-WebSocket-Extensions", None).encode())
        answer = await read_message(node[0], bodiless=True)
        if answer is None:
            raise ConnectionError("the node has hung up")
        await link.send(answer.encode())
        await _Conversation(proxy, link, *node).hold()
    finally:
        node[1].close()


async def _spoil_handshake(link: "Link", request: Message, name: str) -> None:
    if name == "redirect":
        head = f"HTTP/1.1 302 Found\r\nLocation: {ELSEWHERE}\r\nContent-Length: 0\r\n\r\n"
        return await link.send(head.encode())
    if name == "busy":
        busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"
        return await link.send(busy)
    offered = "permessage-deflate" in (request.find("Sec-WebSocket-Extensions") or "")
    await link.send(_accept_compressed(request, compressed=offered))
    await read_frame(link.reader)
    packed = deflate(bytes(2**20)) if offered else bytes(2**20)
    first = True
    for _ in range(_BOMB >> 20):  # one message, a frame a mebibyte
        part = write_frame(packed, TEXT if first else 0, final=False, compressed=first and offered)
        await link.send(part)
        first = False
        await asyncio.sleep(0)
    return await link.hang()


def _accept_compressed(request: Message, *, compressed: bool) -> bytes:
    from websockets.utils import accept_key

    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(request.find('Sec-WebSocket-Key') or '')}",
    ]
    if compressed:
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    return "\r\n".join([*lines, "", ""]).encode()


class _Conversation:
    """A client and a node that speak to each other through here."""

    def __init__(
        self,
        proxy: "FaultProxy",
        link: "Link",
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._proxy, self._link = proxy, link
        self._reader, self._writer = reader, writer
        self._struck: dict[int, Fault | None] = {}
        self._held: list[dict[str, Any]] = []
        self._release: asyncio.TimerHandle | None = None

    async def hold(self) -> None:
        tasks = [asyncio.create_task(self._pass_up()), asyncio.create_task(self._pass_down())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._link.dead.is_set():
                await self._link.hang()
        finally:
            if self._release is not None:
                self._release.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_up(self) -> None:
        while not self._link.dead.is_set():
            frame = await read_frame(self._link.reader)
            if self._link.dead.is_set():
                return
            if frame.opcode in (TEXT, BINARY):
                said = json.loads(frame.payload)
                for request in said if isinstance(said, list) else [said]:
                    self._struck[request["id"]] = self._draw(request["method"])
            self._writer.write(frame.raw)
            await self._writer.drain()

    async def _pass_down(self) -> None:
        while not self._link.dead.is_set():
            frame = await read_frame(self._reader)
            if self._link.dead.is_set():
                return
            message = json.loads(frame.payload) if frame.opcode == TEXT else None
            fault = self._find_fault(message)
            if fault is None:
                await self._link.send(frame.raw)
            else:
                await self._spoil(fault, frame, message)

    def _draw(self, method: str) -> "Fault | None":
        """The fault of a request's answer. Of two exchanged answers, it shows when both are
        there."""
        fault = self._proxy.draw(method)
        if fault is None or fault.name in ("reordered", "swapped"):
            return fault
        return self._proxy.note(fault)

    def _find_fault(self, message: Any) -> "Fault | None":
        """The fault of the answer's request; for a notification, the fault of all answers."""
        answers = message if isinstance(message, list) else [message]
        for answer in answers:
            if isinstance(answer, dict) and answer.get("id") in self._struck:
                return self._struck.pop(answer["id"])
        current = self._proxy.fault
        untouched = ("half-open", "refuse", "reordered", "swapped")
        if message is None or current is None or current.only or current.share < 1:
            return None
        return None if current.name in untouched else self._proxy.note(current)

    async def _spoil(self, fault: "Fault", frame: Frame, message: Any) -> None:
        link, name = self._link, fault.name
        half = frame.raw[: max(1, len(frame.raw) // 2)]
        if name == "refuse":
            link.reset()
        elif name in ("half-open", "deaf"):
            if name == "half-open":
                link.dead.set()
        elif name == "cut":
            await link.send(half)
            await asyncio.sleep(0.01)  # the bytes sent arrive before the reset
            link.reset()
        elif name == "stall":
            await link.send(half)
            link.dead.set()
        elif name == "drip":
            for at in range(len(frame.raw)):
                await link.send(frame.raw[at : at + 1])
                await asyncio.sleep(fault.delay_s)
        elif name == "latency":
            await asyncio.sleep(fault.delay_s)
            await link.send(frame.raw)
        elif name in ("reordered", "swapped"):
            await self._hold_back(fault, message)
        elif name == "endless body":
            await link.send(write_frame(_FILLER, TEXT, final=False))
            while not link.dead.is_set():
                await link.send(write_frame(_FILLER, 0, final=False))
                await asyncio.sleep(0)
        elif name == "empty fragments":
            await link.send(write_frame(b"{", TEXT, final=False))
            while not link.dead.is_set():
                await link.send(write_frame(b"", 0, final=False))
                await asyncio.sleep(fault.delay_s)
        elif name == "garbage":
            await link.send(self._proxy.random.choice(_GARBAGE))
        else:
            await link.send(_lie_about_length(name, frame))

    async def _hold_back(self, fault: "Fault", message: Any) -> None:
        """Sends answers in pairs, the later one first; one that stays alone is sent as it is."""
        self._held.append(message)
        if len(self._held) < 2:
            loop = asyncio.get_running_loop()
            self._release = loop.call_later(_HOLD_S, self._let_go)
            return
        if self._release is not None:
            self._release.cancel()
        first, second = self._held
        self._held = []
        self._proxy.note(fault)
        if fault.name == "swapped" and isinstance(first, dict) and isinstance(second, dict):
            first["id"], second["id"] = second["id"], first["id"]
        for answer in (second, first):
            await self._link.send(write_frame(json.dumps(answer).encode()))

    def _let_go(self) -> None:
        held, self._held = self._held, []
        for answer in held:
            if not self._link.dead.is_set():
                self._link.writer.write(write_frame(json.dumps(answer).encode()))


def _lie_about_length(name: str, frame: Frame) -> bytes:
    size = len(frame.payload)
    length = {
        "length too long": size + 9,
        "length too short": max(0, size - 9),
        "huge length": 2**60,
    }[name]
    return write_frame(frame.payload, length=length)
