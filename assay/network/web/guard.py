"""The checks before every page: permitted clients, their rates, and headers for browsers.

Pure ASGI, so that streams of events pass through it as well.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: A browser loads nothing but our own files, runs no inline script or style, and frames nothing.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-frame-options": "DENY",
}
_METHODS = ("GET", "HEAD")
#: Longest path and query, bytes.
_ADDRESS_MAX = 1_024
#: Requests that a client may make at once, and per second over time; number of clients counted.
BURST, RATE, _CLIENTS = 120, 20.0, 4_096


class Guard:
    """Refuses a request before anything of it is read, and adds headers to every answer.

    Args:
        hosts: names under which this page may be requested, lower case, without port. If another
            site's name was made to lead here, a browser requests that name.
        advice: how the operator can have the page served under another name.
        rate: requests that a client may make a second, over time.
        fresh: how long a cache may keep an answer without a Cache-Control of its own: the value of
            that header.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        advice: str = "start it with --allow-host NAME",
        rate: float = RATE,
        fresh: str = "no-cache",
    ) -> None:
        self._app = app
        self._unknown = f"Nothing is served here under that name: {advice}.\n"
        self._hosts = frozenset(hosts)
        self._rates, self._fresh = Rates(clock, rate), fresh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                caching = self._fresh if message["status"] in (200, 304) else "no-cache"
                headers.setdefault("cache-control", caching)
            await send(message)

        refusal = self._find_refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _find_refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if scope["method"] not in _METHODS:
            return PlainTextResponse("Nothing can be written here.\n", 405, {"allow": "GET, HEAD"})
        if not is_known_host(headers.get("host", ""), self._hosts):
            return PlainTextResponse(self._unknown, 421)
        if len(scope["raw_path"]) + len(scope["query_string"]) > _ADDRESS_MAX:
            return PlainTextResponse("The address is too long.\n", 414)
        if headers.get("transfer-encoding") or headers.get("content-length", "0") != "0":
            return PlainTextResponse("A request has no body here.\n", 413)
        client = scope.get("client")
        wait = self._rates.take(client[0] if client else "")
        if wait:
            after = {"retry-after": str(math.ceil(wait))}
            return PlainTextResponse("Too many requests.\n", 429, after)
        return None


def is_known_host(host: str, hosts: frozenset[str]) -> bool:
    """Return whether a Host header has one of our names, whatever the port."""
    try:
        parts = urlsplit("//" + host)
        name = (parts.hostname or "").lower()
        plain = parts.netloc == host and parts.username is None and not parts.path
        _ = parts.port
    except ValueError:
        return False
    return plain and name in hosts


class Rates:
    """Each client's recent requests: one bucket each, in a table of bounded size."""

    def __init__(self, clock: Callable[[], float], rate: float = RATE) -> None:
        self._clock, self._rate, self._burst = clock, rate, max(1.0, BURST / RATE * rate)
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, when

    def take(self, client: str) -> float:
        """Take a request of a client. Returns the seconds until it may ask; 0: it may now."""
        key, now = get_network(client), self._clock()
        left, then = self.buckets.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1
        self.buckets[key] = (left - 1 if allowed else left), now
        while len(self.buckets) > _CLIENTS:
            self.buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


def get_network(client: str) -> str:
    """The network of a client. An IPv6 client has a whole /64. A mapped IPv4 address counts as
    IPv4."""
    try:
        address = ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address) if address.version == 4 else str(int(address) >> 64)
