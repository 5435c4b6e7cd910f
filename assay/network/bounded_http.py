"""Limits on the bytes that HTTP clients read of an answer, counted on the wire: interim answers,
headers, framing; and an httpx client that keeps to them.

Interim answers (1xx) may come without end. Each costs processor time and adds nothing to a count of
the body's bytes, so a deadline alone would keep a processor busy until it ends.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ssl import SSLContext
from typing import Any

import httpcore
import httpx
from httpcore import AnyIOBackend  # the one of asyncio


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


def make_client(
    headers: Mapping[str, str],
    connect_s: float,
    answer_s: float,
    limits: httpx.Limits | None = None,
) -> httpx.AsyncClient:
    """A client that keeps no state but open connections, follows no redirect and reads no
    environment variable."""
    return httpx.AsyncClient(
        headers=headers,
        timeout=httpx.Timeout(answer_s, connect=connect_s),
        transport=BoundedTransport(limits),
        follow_redirects=False,
        trust_env=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


async def read_body(response: httpx.Response, most: int, too_long: Exception) -> bytes:
    """An answer's body as it was sent. Raises `too_long` if it has more than `most` bytes."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            raise too_long
    return bytes(body)


@cache
def _make_context() -> SSLContext:
    """One context for all clients: reading the certificates takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)


class BoundedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport over HTTP/1.1. It uses no proxy. A peer that sends more than
    `reading_at_most` allows causes a `httpx.RemoteProtocolError`."""

    def __init__(self, limits: httpx.Limits | None = None) -> None:
        limits = limits or httpx.Limits(max_connections=100, max_keepalive_connections=20)
        context = _make_context()
        super().__init__(verify=context, trust_env=False, limits=limits)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            retries=0,
            network_backend=_CountingBackend(),
        )


class _CountingBackend(AnyIOBackend):
    """Connects with streams that count."""

    async def connect_tcp(self, *args: Any, **more: Any) -> httpcore.AsyncNetworkStream:
        return _CountingStream(await super().connect_tcp(*args, **more))


class _CountingStream(httpcore.AsyncNetworkStream):
    """A stream that reads no more than the current task may."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        fault = httpcore.RemoteProtocolError("it sends more than an answer has")
        return count_read(await self._inner.read(limit_read(max_bytes, fault), timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return _CountingStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
