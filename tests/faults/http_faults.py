"""Faults of an HTTP answer, and the loop that passes requests on."""

import asyncio
import gzip
from typing import TYPE_CHECKING

from tests.faults.wire import Message, read_message

if TYPE_CHECKING:
    from tests.faults.proxy import Fault, FaultProxy, Link

#: name → the effect on the client.
FAULTS = {
    "cut": "the request is served, and the connection reset in the middle of its answer",
    "stall": "the answer stops in its middle, and the connection stays open",
    "drip": "the answer comes byte by byte",
    "latency": "the answer comes late",
    "endless body": "a body that never ends, without a length",
    "endless head": "headers that never end",
    "length too long": "a body that is shorter than its Content-Length",
    "length too short": "a body that is longer than its Content-Length",
    "huge length": "a Content-Length of a terabyte, and bytes as long as anybody reads",
    "wrong range": "other bytes than those asked for, under the right Content-Range",
    "whole body": "a range is asked for and the whole object comes, with status 200",
    "shifted range": "other bytes than those asked for, and a Content-Range that says so",
    "redirect": "a redirect to another host",
    "bomb": "a compressed body of a gigabyte",
    "garbage": "bytes that are no HTTP",
    "altered body": "the answer with a few bits of its body turned",
    "reordered": "the answer to the request before",
    "busy": "status 503, and a Retry-After of an hour",
    "not there": "status 404 for what is there",
}
#: The target of redirects: nobody listens there, and a client that follows one fails.
ELSEWHERE = "http://127.0.0.2:9/elsewhere"
_FILLER = b" " * 2**16
_BOMB = 2**30


async def serve(proxy: "FaultProxy", link: "Link") -> None:
    """Answers requests of one connection, one after the other, until it ends."""
    while (request := await read_message(link.reader)) is not None:
        if link.dead.is_set():
            return await link.hang()
        method, path = request.first_line.split()[:2]
        fault = proxy.draw(f"{method} {path}")
        if fault is not None and fault.name in _UNSERVED and proxy.note(fault):
            await _turn_away(link, fault.name)
            continue
        asked = request if fault is None else _ask_otherwise(fault.name, request)
        answer = await _ask(proxy, asked, bodiless=method == "HEAD")
        if link.dead.is_set():
            return await link.hang()
        sent = answer.encode()
        if fault is not None and fault.name in _ALTERED:
            sent = _alter(proxy, fault.name, request, answer)
            changed = sent != answer.encode() or (asked is not request and answer.status < 300)
            fault = fault if changed else None
        if fault is None or proxy.note(fault) is None:
            await link.send(answer.encode())
        else:
            await _spoil(link, fault, answer, sent)
        proxy.previous.append(answer)
        if (request.find("connection") or "").lower() == "close":
            return None
    return None


async def _turn_away(link: "Link", name: str) -> None:
    """The service hears nothing of it."""
    if name == "refuse":
        link.reset()
    elif name == "half-open":
        await link.hang()
    else:
        await link.send(_UNSERVED[name])


async def _ask(proxy: "FaultProxy", request: Message, *, bodiless: bool) -> Message:
    reader, writer = await asyncio.open_connection(*proxy.upstream, limit=2**20)
    try:
        writer.write(request.encode())
        await writer.drain()
        answer = await read_message(reader, bodiless=bodiless)
    finally:
        writer.close()
    if answer is None:
        raise ConnectionError("the service has hung up")
    return answer


async def _spoil(link: "Link", fault: "Fault", answer: Message, altered: bytes) -> None:
    """Sends an answer that is not as it should be."""
    name, whole = fault.name, answer.encode()
    middle = len(answer.head) + len(answer.body) // 2 if answer.body else len(whole) // 2
    if name == "cut":
        await link.send(whole[:middle])
        await asyncio.sleep(0.01)  # the bytes sent arrive before the reset
        link.reset()
    elif name == "stall":
        await link.send(whole[:middle])
        await link.hang()
    elif name == "drip":
        for at in range(len(whole)):
            await link.send(whole[at : at + 1])
            await asyncio.sleep(fault.delay_s)
    elif name == "latency":
        await asyncio.sleep(fault.delay_s)
        await link.send(whole)
    elif name in _POURED:
        await _pour(link, *_POURED[name](answer))
    else:
        await link.send(altered)
        if "length" in name:
            link.writer.close()


def _alter(proxy: "FaultProxy", name: str, request: Message, answer: Message) -> bytes:
    """The bytes to send in an answer's place; the answer itself if there is nothing to alter."""
    if name == "length too long":
        return answer.with_header("Content-Length", str(len(answer.body) + 9)).encode()
    if name == "length too short":
        if not answer.body and answer.find("content-length") in (None, "0"):
            return answer.encode()
        shorter = str(max(0, len(answer.body) - 9))
        return answer.with_header("Content-Length", shorter).encode()
    if name == "wrong range":
        asked = request.find("range")
        total = (answer.find("content-range") or "/*").rpartition("/")[2]
        if asked is not None and answer.status == 206:
            span = asked.partition("=")[2]
            return answer.with_header("Content-Range", f"bytes {span}/{total}").encode()
        return answer.encode()
    if name == "garbage":
        return b"\x16\x03\x01" + proxy.random.randbytes(512)
    if name == "altered body":
        if not answer.body:
            return answer.encode()
        body = bytearray(answer.body)
        for _ in range(3):
            body[proxy.random.randrange(len(body))] ^= 1 << proxy.random.randrange(8)
        return Message(answer.head, bytes(body)).encode()
    if name == "reordered":
        return (proxy.previous[0] if proxy.previous else answer).encode()
    return answer.encode()  # "whole body", "shifted range": the service was asked for it


def _ask_otherwise(name: str, request: Message) -> Message:
    """The request to send to the service in a request's place; the same one if nothing is to be
    changed."""
    if name == "whole body" and request.find("range") is not None:
        return request.with_header("Range", None)
    return _shift(request) if name in ("wrong range", "shifted range") else request


def _shift(request: Message) -> Message:
    """The same, asking for bytes one further on, or one before."""
    first, dash, last = (request.find("range") or "").removeprefix("bytes=").partition("-")
    if not (dash and first.isdigit() and last.isdigit()):
        return request
    by = -1 if int(first) else 1
    return request.with_header("Range", f"bytes={int(first) + by}-{int(last) + by}")


def _write(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} -", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def _pour(link: "Link", head: bytes, part: bytes) -> None:
    """This, and then that for ever."""
    await link.send(head)
    while not link.dead.is_set():
        await link.send(part)
        await asyncio.sleep(0)


def _pour_body(answer: Message) -> tuple[bytes, bytes]:
    open_ended = answer.with_header("Content-Length", None).with_header("Connection", "close")
    return open_ended.with_header("Transfer-Encoding", None).encode(), _FILLER


def _pour_head(answer: Message) -> tuple[bytes, bytes]:
    return answer.head.removesuffix(b"\r\n"), b"X-Filler: " + b"y" * 4_096 + b"\r\n"


def _pour_length(answer: Message) -> tuple[bytes, bytes]:
    return answer.with_header("Content-Length", str(2**40)).encode(), _FILLER


def _pour_bomb(answer: Message) -> tuple[bytes, bytes]:
    """Members of gzip, one after the other: each a mebibyte of zeros in a kilobyte."""
    headed = answer.with_header("Content-Encoding", "gzip")
    member = gzip.compress(bytes(2**20))
    sized = headed.with_header("Content-Length", str(len(member) * (_BOMB >> 20)))
    return sized.head, member


#: Requests that the service never gets → the answer.
_UNSERVED = {
    "refuse": b"",
    "half-open": b"",
    "redirect": _write(302, b"", f"Location: {ELSEWHERE}"),
    "busy": _write(503, b"", "Retry-After: 3600"),
    "not there": _write(404, b""),
}
#: Faults that change the service's answer. The others change its transfer.
_ALTERED = (
    "length too long",
    "length too short",
    "wrong range",
    "whole body",
    "shifted range",
    "garbage",
    "altered body",
    "reordered",
)
_POURED = {
    "endless body": _pour_body,
    "endless head": _pour_head,
    "huge length": _pour_length,
    "bomb": _pour_bomb,
}
