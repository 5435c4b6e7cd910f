"""HTTP messages and websocket frames as they lie on a wire: read whole, with every byte kept."""

import asyncio
import zlib
from dataclasses import dataclass

#: Longest message that is passed on, bytes.
MESSAGE_MAX = 64 * 1024 * 1024
TEXT, BINARY, RESERVED = 0x1, 0x2, 0x3


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP request or answer.

    Attributes:
        head: with the empty line at its end.
        body: as sent, still with chunks.
    """

    head: bytes
    body: bytes

    @property
    def first_line(self) -> str:
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def status(self) -> int:
        return int(self.first_line.split()[1])

    def find(self, name: str) -> str | None:
        """A header's value, of the first one of that name."""
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.strip().lower() == name.lower():
                return value.strip()
        return None

    def with_header(self, name: str, value: str | None) -> "Message":
        """The same with another value of a header; None: without it."""
        lines = self.head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        kept = [line for line in lines if line.partition(":")[0].strip().lower() != name.lower()]
        if value is not None:
            kept.append(f"{name}: {value}")
        return Message("\r\n".join([*kept, "", ""]).encode("latin-1"), self.body)

    def encode(self) -> bytes:
        return self.head + self.body


@dataclass(frozen=True, slots=True)
class Frame:
    """A websocket frame (RFC 6455, section 5.2).

    Attributes:
        raw: as it was read.
        payload: unmasked.
    """

    raw: bytes
    opcode: int
    payload: bytes


async def read_message(reader: asyncio.StreamReader, *, bodiless: bool = False) -> Message | None:
    """The next HTTP message; None: the peer has left.

    Args:
        bodiless: it answers a HEAD.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    message = Message(head, b"")
    answer = head.startswith(b"HTTP/")
    if bodiless or (answer and (message.status < 200 or message.status in (204, 304))):
        return message
    length = message.find("content-length")
    if (message.find("transfer-encoding") or "").lower() == "chunked":
        return Message(head, await _read_chunks(reader))
    if length is not None:
        return Message(head, await reader.readexactly(min(int(length), MESSAGE_MAX)))
    return Message(head, await reader.read(-1) if answer else b"")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    read = b""
    while len(read) < MESSAGE_MAX:
        line = await reader.readline()
        size = int(line.split(b";")[0], 16)
        read += line + await reader.readexactly(size + 2)
        if not size:
            return read
    raise ValueError("an HTTP body is too long to be passed on")


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame.

    Raises:
        asyncio.IncompleteReadError: the peer has left.
    """
    raw = await reader.readexactly(2)
    masked, length = raw[1] & 0x80, raw[1] & 0x7F
    if length >= 126:
        more = await reader.readexactly(2 if length == 126 else 8)
        raw, length = raw + more, int.from_bytes(more, "big")
    if length > MESSAGE_MAX:
        raise ValueError("a frame is too long to be passed on")
    mask = await reader.readexactly(4) if masked else b""
    data = await reader.readexactly(length)
    return Frame(raw + mask + data, raw[0] & 0x0F, _unmask(data, mask) if masked else data)


def _unmask(data: bytes, mask: bytes) -> bytes:
    wide = (mask * (len(data) // 4 + 1))[: len(data)]
    mixed = int.from_bytes(data, "big") ^ int.from_bytes(wide, "big")
    return mixed.to_bytes(len(data), "big")


def write_frame(
    payload: bytes,
    opcode: int = TEXT,
    *,
    final: bool = True,
    compressed: bool = False,
    length: int | None = None,
) -> bytes:
    """A server's frame, which may lie about its length."""
    size = len(payload) if length is None else length
    first = bytes([final << 7 | compressed << 6 | opcode])
    if size < 126:
        return first + bytes([size]) + payload
    if size < 2**16:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload


def deflate(data: bytes) -> bytes:
    """Part of a message as permessage-deflate compresses it (RFC 7692): more may follow."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
