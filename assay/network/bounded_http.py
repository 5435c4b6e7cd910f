"""HTTP without trust in the server, as both clients have it: the one here, for event loops, and
that of `store.http_client`, for threads.

No redirect is followed, no proxy used, no environment variable read, no cookie kept, no compression
accepted. Bytes are counted on the wire, with interim answers, headers and framing. Interim answers
(1xx) may come without end: each costs processor time and adds nothing to a body, so a deadline
alone would keep a processor busy until it ends.

Both are pools of httpcore2, the engine of httpx2, which the Hub's library brings along. For threads
the client of event loops would take more than four times the processor time for a small range
(measured: 1.2 ms, not 0.26), and httpx2's own client 0.38 ms, without a public way to choose an
address or to end a read at a deadline. The Hub's client (`hub.session`) is httpx2's: its library
asks for one, follows redirects, and uses the proxy that a person's environment names.
"""

import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import certifi
import httpcore2
from httpcore2 import AnyIOBackend  # the one of asyncio

from assay.network.text import describe_error

OK = 200
#: Errors of an exchange: no connection, no answer in time, or no HTTP.
HTTP_ERRORS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)
#: After this many pieces, a body must have at least this many bytes a piece on average. Each piece
#: costs the same processor time, and single-byte chunks would cost seconds a megabyte.
_PIECES, _PIECE_BYTES = 1_024, 64
#: Seconds for which an idle connection is kept.
_IDLE_S = 5.0
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
_HEADERS: list[tuple[bytes | str, bytes | str]] = [
    ("Accept-Encoding", "identity"),
    ("User-Agent", "assay"),
]

RequestHeaders = Sequence[tuple[bytes | str, bytes | str]]


class HttpFault(Exception):
    """An answer that is not read further. The text says what it does, and begins with a verb."""


class TooLongFault(HttpFault):
    """An answer's body is longer than its limit."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a server, and the limits on reading its answer."""

    method: str
    url: str
    limit: int | None  # most bytes of a success's body; None: nobody reads it
    #: besides the clients' own
    headers: RequestHeaders = field(default=(), repr=False)  # may hold a signature and a token
    content: bytes = field(default=b"", repr=False)  # the request's body
    words: int = 0  # most bytes of a failure's text that are read; the rest is cut off
    #: name of the place in errors, which then contain neither its address nor its server's text;
    #: "": its address
    called: str = ""
    head: int = 256 << 10  # most bytes on the wire before an answer's body

    @property
    def place(self) -> str:
        """The name of the place, for errors."""
        return self.called or self.url

    @property
    def all_headers(self) -> list[tuple[bytes | str, bytes | str]]:
        """All headers that are sent."""
        return [*_HEADERS, *self.headers]

    @property
    def wire(self) -> int:
        """Most bytes on the wire from an answer's body on."""
        most = (self.limit or 0) + self.words
        return most + most // 4

    def describe(self, error: Exception) -> str:
        """The cause of a failure, for errors."""
        return type(error).__name__ if self.called else describe_error(error)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """One answer: headers by lower-case name; the whole body of a success, if it was wanted, else
    its beginning."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_range(self) -> tuple[int, int, int] | None:
        """First and last byte of the part, and the whole's size; None: the answer does not say."""
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        return None if match is None else (int(match[1]), int(match[2]), int(match[3]))


class AnswerReader:
    """Reads one answer, without input or output. Raises an `HttpFault` as soon as its headers or
    its body are not what the request allows."""

    def __init__(
        self, request: HttpRequest, status: int, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        self.status = status
        self.headers = _read_headers(headers)
        self.length = int(self.headers["content-length"]) if self._has_length() else None
        success, headed = status in (200, 206), request.method == "HEAD"
        self._is_whole = success and request.limit is not None and not headed
        if self._is_whole:
            self._most = request.limit or 0
        else:
            self._most = 0 if success or headed else request.words
        if self._is_whole and (self.length or 0) > self._most:
            raise TooLongFault(f"has {self.length} bytes; at most {self._most} are read")
        # otherwise nobody waits for a body, at the price of the connection
        ends = self.length == 0 or (headed and request.words > 0)
        self.wants_body = self._is_whole or self._most > 0 or ends
        self._body, self._pieces = bytearray(), 0

    def _has_length(self) -> bool:
        length = self.headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit() and len(length) < 20):
            raise HttpFault("does not say how many bytes it sends")
        return length is not None

    def add(self, piece: bytes) -> bool:
        """Take a piece of the body. Return whether the next one is wanted."""
        self._body += piece
        self._pieces += 1
        size = len(self._body)
        if self._pieces > _PIECES + 1 and size < (self._pieces - 1) * _PIECE_BYTES:
            raise HttpFault("sends its bytes one by one")
        if size > self._most and self._is_whole:
            raise TooLongFault(f"sends more than {self._most} bytes; at most these are read")
        return size <= self._most

    @property
    def size(self) -> int:
        """Bytes of the body so far."""
        return len(self._body)

    @property
    def answer(self) -> HttpAnswer:
        """The answer as far as it was read."""
        return HttpAnswer(self.status, self.headers, bytes(memoryview(self._body)[: self._most]))


def _read_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name. Headers that are read here must occur once, with an allowed
    value."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key = name.decode("ascii", "replace").lower()
        if key in ("content-range", "content-encoding", "etag") and key in headers:
            raise HttpFault(f"sends two headers {key}")
        headers[key] = value.decode("latin-1").strip()
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpFault("sends compressed bytes, which were not requested")
    return headers


def read_address(text: str) -> SplitResult | None:
    """The parts of an http(s) address that can be asked; None for any other text."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:  # also UnicodeError
        return None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    is_web = parts.scheme in ("http", "https") and host != "" and port != 0
    return parts if is_plain and is_web else None


# --- bytes on the wire


@dataclass(slots=True)
class WireAllowance:
    """The number of bytes that may still be read off the wire, within TLS."""

    size: int


#: The allowance of this task's request.
_allowance: ContextVar[WireAllowance | None] = ContextVar("wire", default=None)


@contextmanager
def reading_at_most(size: int) -> Iterator[WireAllowance]:
    """Limit requests in the block to this many bytes in all. The allowance may be raised
    meanwhile."""
    allowance = WireAllowance(size)
    token = _allowance.set(allowance)
    try:
        yield allowance
    finally:
        _allowance.reset(token)


def limit_read(most: int, fault: Exception) -> int:
    """The bytes of `most` that the current request may still read; raises `fault` for zero."""
    left = _allowance.get()
    if left is None:
        return most
    if left.size <= 0:
        raise fault
    return min(most, left.size)


def count_read(data: bytes) -> bytes:
    """Subtract the read bytes from the current request's allowance."""
    left = _allowance.get()
    if left is not None:
        left.size -= len(data)
    return data


# --- for event loops


class AsyncHttpClient:
    """Connections of one event loop to servers of the operator's choice, over HTTP/1.1. A request's
    deadline is its caller's: `asyncio.timeout`."""

    def __init__(
        self, connect_s: float, silence_s: float, connections: int = 100, idle: int = 20
    ) -> None:
        self._timeout = {
            "connect": connect_s,
            "read": silence_s,
            "write": silence_s,
            "pool": silence_s,
        }
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=_make_context(),
            max_connections=connections,
            max_keepalive_connections=idle,
            keepalive_expiry=_IDLE_S,
            retries=0,
            network_backend=_CountingBackend(),
        )

    async def __aenter__(self) -> "AsyncHttpClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request. Raises one of `HTTP_ERRORS`: there is none. HttpFault: it is too
        long, compressed, or not as HTTP has it."""
        with reading_at_most(request.head) as wire:
            async with self._pool.stream(
                request.method,
                request.url,
                headers=request.all_headers,
                content=request.content if request.method == "POST" else None,
                extensions={"timeout": self._timeout},
            ) as response:
                wire.size += request.wire
                reader = AnswerReader(request, response.status, response.headers)
                if reader.wants_body:
                    async for piece in response.aiter_stream():
                        if not reader.add(piece):
                            break
                return reader.answer


@cache
def _make_context() -> ssl.SSLContext:
    """One context for all clients: reading the certificates takes longer than a request."""
    return ssl.create_default_context(cafile=certifi.where())


class _CountingBackend(AnyIOBackend):
    """Connects with streams that count."""

    async def connect_tcp(self, *args: Any, **more: Any) -> httpcore2.AsyncNetworkStream:
        return _CountingStream(await super().connect_tcp(*args, **more))


class _CountingStream(httpcore2.AsyncNetworkStream):
    """A stream that reads no more than the current task may."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        fault = httpcore2.RemoteProtocolError("it sends more than an answer has")
        return count_read(await self._inner.read(limit_read(max_bytes, fault), timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return _CountingStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
