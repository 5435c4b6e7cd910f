"""Serves pages: one process, one port, deadlines for each client."""

import asyncio
import re
import signal
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.h11_impl import H11Protocol

from assay.network.web.guard import get_network
from assay.protocol.errors import OperatorError

_NAME, _NAME_MAX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"), 253
#: Bytes of a request's head, and seconds that open pages have when the server stops.
_HEAD_BYTES, _GRACE_S = 16 << 10, 2
#: Makes a socket drop its unsent data when it is closed.
_NO_LINGER = socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
#: Seconds between two checks of a connection.
_LOOK_S = 0.5
_FULL = b"Too many connections.\n"
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 60\r\n"
    b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(_FULL), _FULL)
)


class ServingError(OperatorError):
    """A page cannot be served here. The message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Most resources of the server that a client may hold, and for how long."""

    #: connections, per_client: open at once; a /64 of IPv6 counts as one client
    connections: int = 256
    per_client: int = 64
    #: whole seconds until the complete head of the next request, from the connection's beginning or
    #: from the previous answer
    request_s: int = 10
    answer_s: int = 60  # seconds within which the client must have received an answer


class _HastyProtocol(H11Protocol):
    """Refuses a client that holds too many connections, and closes those that keep it waiting: for
    the end of a request, or for a client to read."""

    patience = ServerLimits()
    network = ""
    proxies: Sequence[IPv4Network | IPv6Network] = ()
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.network = get_network(self.client[0] if self.client else "")
        self._asked_at = self._taken_at = self.loop.time()
        same = sum(getattr(other, "network", None) == self.network for other in self.connections)
        if self._is_proxy():  # its connections are many visitors'
            same = 0
        if same > self.patience.per_client or len(self.connections) > self.patience.connections:
            transport.write(_REFUSAL)
            transport.close()
        self._look()

    def _is_proxy(self) -> bool:
        try:
            address = ip_address(self.client[0] if self.client else "")
        except ValueError:
            return False
        return any(address in network for network in self.proxies)

    def on_response_complete(self) -> None:
        self._asked_at = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        now = self.loop.time()
        unread = self.transport.get_write_buffer_size() > 0
        if not unread:
            self._taken_at = now
        if unread or (self.cycle is not None and not self.cycle.response_complete):
            self._asked_at = now
        if now - self._taken_at > self.patience.answer_s:
            # closing would wait until everything is read; so would the system's buffer of the
            # socket
            self.transport.get_extra_info("socket").setsockopt(*_NO_LINGER)
            self.transport.abort()
        elif now - self._asked_at > self.patience.request_s:
            self.transport.close()
        self._timer = self.loop.call_later(_LOOK_S, self._look)


def bind(host: str, port: int) -> socket.socket:
    """The port that pages are served on; 0: any free one. `ServingError`: it is unavailable."""
    try:
        return open_socket(host, port)
    except (socket.gaierror, UnicodeError) as error:  # a name with an empty part cannot be encoded
        why = getattr(error, "strerror", None) or "it is not a name"
        raise ServingError(
            f"--host {host}: {why}; name an address of this machine, such as 127.0.0.1"
        ) from None
    except OSError as error:
        raise ServingError(
            f"cannot serve on {host}:{port} ({error.strerror}): name another with --port; 0 takes "
            "any free one"
        ) from None


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError:
        opened.close()
        raise
    return opened


def list_hosts(host: str, more: Sequence[str]) -> list[str]:
    """Names under which a page may be requested: this machine's own while it listens only locally,
    and the allowed ones. `ServingError`: a browser could not send one of these."""
    names = [_check_name(name) for name in more]
    try:
        address = ip_address(host)
    except ValueError:
        return ["127.0.0.1", "::1", "localhost", host.lower(), *names]
    own_names = [] if address.is_unspecified else [str(address)]
    return ["127.0.0.1", "::1", "localhost", *own_names, *names]


def list_proxies(texts: Sequence[str]) -> list[IPv4Network | IPv6Network]:
    """Networks whose word about a visitor's address is believed, those of IPv4 also as a socket of
    IPv6 names them; `ServingError`: one of these is no network."""
    networks: list[IPv4Network | IPv6Network] = []
    for text in texts:
        try:
            network = ip_network(text)
        except ValueError as error:
            raise ServingError(
                f"--trusted-proxy {text}: {error}; write an address or a network, such as "
                "127.0.0.1 or 10.0.0.0/8"
            ) from None
        networks.append(network)
        if isinstance(network, IPv4Network):
            mapped = f"::ffff:{network.network_address}/{96 + network.prefixlen}"
            networks.append(IPv6Network(mapped))
    return networks


def _check_name(name: str) -> str:
    """A name in a browser's form, without the port."""
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    if not _NAME.fullmatch(name) or len(name) > _NAME_MAX:
        raise ServingError(
            f"{name!r} is not a host name: write it alone, as a browser sends it, such as "
            "explorer.example; without scheme, port or path, other letters than a to z as xn--…"
        )
    return name.lower()


def make_server(
    app: ASGIApp,
    patience: ServerLimits = ServerLimits(),
    lines: dict[str, Any] | None = LOGGING_CONFIG,
    proxies: Sequence[IPv4Network | IPv6Network] = (),
) -> uvicorn.Server:
    """The server of an application; its `should_exit` ends it from another thread.

    Args:
        lines: configuration of uvicorn's logs; None: left as they are.
        proxies: trusted proxies. The client of a request that comes from one of these is the last
            address in X-Forwarded-For that is not itself a proxy's. The header of any other peer is
            ignored.
    """
    members = {"patience": patience, "proxies": proxies}
    protocol = type("HastyProtocol", (_HastyProtocol,), members)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=lines,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(map(str, proxies)),
        timeout_keep_alive=patience.request_s,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, opened: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    # set before the server handles signals itself; the server passes on the signal that ended it
    before = signal.signal(signal.SIGTERM, end)
    try:
        server.run(sockets=[opened])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)
