"""An HTTP client for stores, strangers' and one's own. No server can block it or fill its memory.

A name is looked up once, and the connection goes to a checked address, under the name's own TLS
certificate. A request has one deadline for everything, so that slow bytes do not stretch it. For
the rest see `bounded_http`. Every failure is a StoreError.
"""

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpcore2

from assay.network.bounded_http import (
    AnswerReader,
    HttpAnswer,
    HttpFault,
    HttpRequest,
    count_read,
    limit_read,
    reading_at_most,
)
from assay.network.store.addresses import ADDRESSES_MAX, Resolve, is_public, resolve_name
from assay.network.store.base import ServedError, StoreError
from assay.network.store.deadlines import get_rest, take_seconds, tighten, trying
from assay.network.text import describe_error

#: Connections of one client, and its idle ones, which are kept for this many seconds.
_CONNECTIONS, _IDLE, _IDLE_S = 64, 32, 15.0
#: Bytes of a piece that is sent.
_SENT = 64 << 10
#: Statuses of a server that may succeed next time.
_BUSY = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class HttpTimeouts:
    """The client's patience with a server."""

    connect_s: float = 5.0  # for one address, TLS aside
    silence_s: float = 10.0  # between two bytes
    #: for a request with all its tries, from the lookup to the last byte; one more second is added
    #: for each of these bytes that were requested:
    total_s: float = 20.0
    bytes_a_second: int = 256 << 10  # a slower server is not worth waiting for
    tries: int = 3  # of a request that a server was too busy for, or whose connection broke
    pause_s: float = 0.25  # before the second try, twice as long before each further one


@cache
def trust_system() -> ssl.SSLContext:
    """The authorities that the system trusts, read once: that takes as long as many requests."""
    return ssl.create_default_context()


class HttpClient:
    """Connections to servers, shared by threads.

    Args:
        trusted: its servers are the operator's own choice, and may have any address.
        resolve: finds addresses.
        tls: trusted certificates; None: the system's.
    """

    def __init__(
        self,
        trusted: bool,
        resolve: Resolve = resolve_name,
        patience: HttpTimeouts | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._patience = patience or HttpTimeouts()
        self._pool = httpcore2.ConnectionPool(
            ssl_context=tls or trust_system(),
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_IDLE,
            keepalive_expiry=_IDLE_S,
            retries=0,
            network_backend=_PinnedBackend(trusted, resolve, self._patience.connect_s),
        )

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def ask(self, method: str, url: str, limit: int, wanted: str | None = None) -> HttpAnswer:
        """The object at a place, or a Range of it, at most `limit` bytes; see `send`."""
        headers = () if wanted is None else (("Range", wanted),)
        return self.send(HttpRequest(method, url, limit, headers))

    def send(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request. `StoreError`: there is none, or it is late, too long,
        compressed, or not HTTP. The error contains no header that was sent."""
        patience = self._patience
        size = (request.limit or 0) + len(request.content)
        with take_seconds(patience.total_s + size / patience.bytes_a_second):
            for attempt in range(1, patience.tries + 1):
                with trying():
                    answer = self._try(request, attempt == patience.tries)
                if answer is not None:
                    return answer
                time.sleep(min(patience.pause_s * 2 ** (attempt - 1), get_rest()))
        raise AssertionError("the last try answers or raises")

    def _try(self, request: HttpRequest, last: bool) -> HttpAnswer | None:
        """Make one attempt. None: a further one is worthwhile."""
        url, describe = request.place, request.describe
        try:
            answer = self._ask_once(request)
        except (httpcore2.TimeoutException, TimeoutError) as error:
            if get_rest() > 0 and not last:
                return None
            text = f"{url} did not answer in time ({describe(error)})"
            raise _name_kind(error)(text) from None
        except (httpcore2.NetworkError, httpcore2.RemoteProtocolError, OSError) as error:
            if get_rest() > 0 and not last:
                return None
            raise _name_kind(error)(f"{url} cannot be read ({describe(error)})") from None
        except (httpcore2.ProtocolError, httpcore2.UnsupportedProtocol) as error:
            raise ServedError(f"{url} cannot be read ({describe(error)})") from None
        except HttpFault as fault:
            raise ServedError(f"{url} {fault}") from None
        return None if answer.status in _BUSY and not last else answer

    def _ask_once(self, request: HttpRequest) -> HttpAnswer:
        silence_s, url, content = self._patience.silence_s, request.place, request.content
        timeout = {"connect": silence_s, "read": silence_s, "write": silence_s, "pool": get_rest()}
        with (
            reading_at_most(request.head) as wire,
            self._pool.stream(
                request.method,
                request.url,
                headers=request.all_headers,
                content=_cut(content) if content else None,
                extensions={"timeout": timeout},
            ) as response,
        ):
            wire.size += request.wire
            reader = AnswerReader(request, response.status, response.headers)
            if reader.length is not None:  # it is often far less than the limit
                wanted = min(reader.length, (request.limit or 0) + request.words)
                tighten(self._patience.total_s + wanted / self._patience.bytes_a_second)
            if 300 <= response.status < 400:
                raise ServedError(
                    f"{url} redirects (status {response.status}): Assay follows no redirect, so "
                    "name the place itself"
                )
            for piece in response.iter_stream() if reader.wants_body else ():
                if not reader.add(piece):
                    break
                if not get_rest():
                    raise TimeoutError(f"{reader.size} bytes had arrived by then")
            return reader.answer


def _cut(content: bytes) -> Iterator[bytes]:
    """The pieces of a body. Each is sent within the time that is left."""
    for start in range(0, len(content), _SENT):
        yield content[start : start + _SENT]


def _name_kind(error: Exception) -> type[StoreError]:
    """The kind of error of a failure. Before there is a connection, the cause may be this machine's
    own network, and nobody else may learn which names that network knows."""
    ours = httpcore2.ConnectError | httpcore2.ConnectTimeout | httpcore2.PoolTimeout
    return StoreError if isinstance(error, ours) else ServedError


class _PinnedBackend(httpcore2.NetworkBackend):
    """Connects to a checked address of a name that was looked up once."""

    def __init__(self, trusted: bool, resolve: Resolve, connect_s: float) -> None:
        self._trusted = trusted
        self._resolve = resolve
        self._connect_s = connect_s
        self._inner = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        try:
            resolved = self._resolve(host, port, min(self._connect_s, get_rest()))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from None
        except OSError as error:
            raise httpcore2.ConnectError(describe_error(error)) from None
        addresses = resolved[:ADDRESSES_MAX]
        hidden = [address for address in addresses if not is_public(address)]
        if hidden and not self._trusted:
            raise StoreError(
                f"{host} leads to {hidden[0]}, which is not a public address: list its URL with "
                "--readable to allow it"
            )
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            rest = min(self._connect_s, get_rest())
            if not rest:
                raise httpcore2.ConnectTimeout("no time is left to connect")
            try:
                stream = self._inner.connect_tcp(address, port, rest, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
            else:
                return _LimitedStream(stream)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore2.NetworkStream:
        raise httpcore2.UnsupportedProtocol("no locator leads to a socket of this machine")

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _LimitedStream(httpcore2.NetworkStream):
    """A stream that never waits beyond the deadline of its thread."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        fault = ServedError("a server sends more than the requested bytes and an answer's headers")
        room = limit_read(max_bytes, fault)
        return count_read(self._inner.read(room, _limit_timeout(timeout, httpcore2.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _limit_timeout(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        rest = _limit_timeout(timeout, httpcore2.ConnectTimeout)
        return _LimitedStream(self._inner.start_tls(ssl_context, server_hostname, rest))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _limit_timeout(timeout: float | None, late: type[httpcore2.TimeoutException]) -> float:
    """The smaller of a timeout and the deadline's rest. A timeout of 0 would mean no timeout at
    all."""
    rest = get_rest()
    if timeout is not None:
        rest = min(rest, timeout)
    if not rest:
        raise late("the time for it is over")
    return rest
