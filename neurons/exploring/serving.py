"""Serving pages: one process, one port, deadlines on whoever asks."""

import asyncio
import signal
import socket
from types import FrameType
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from assay.neurons.config import ConfigError

#: Seconds for a request's head; connections at once; bytes of a head; seconds that a connection may
#: idle, and that open pages have when the server stops.
_HEAD_S, _CONNECTIONS, _HEAD_BYTES, _IDLE_S, _GRACE_S = 10.0, 256, 16 << 10, 10, 2


class _HastyProtocol(H11Protocol):
    """Ends a connection whose request does not come to an end."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._hurry()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _hurry(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEAD_S, self._end)

    def _end(self) -> None:
        self._deadline = None
        busy = self.cycle is not None and not self.cycle.response_complete
        if self.conn.their_state is h11.IDLE and not busy and not self.transport.is_closing():
            self.transport.close()


def bind(host: str, port: int) -> socket.socket:
    """The port that pages are served on; 0: any that is free.

    Raises:
        ConfigError: it is taken, or there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"--host {host}: {error.strerror or error}") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise ConfigError(
            f"cannot serve on {host}:{port} ({error.strerror}): name another with --port; 0 takes "
            "any that is free"
        ) from None
    return opened


def make_server(app: ASGIApp) -> uvicorn.Server:
    """What serves an application; its `should_exit` ends it from another thread."""
    config = uvicorn.Config(
        app,
        http=_HastyProtocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, opened: socket.socket) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    before = signal.signal(signal.SIGTERM, _ignore)  # the server passes on what has ended it
    try:
        server.run(sockets=[opened])
    except KeyboardInterrupt:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


def _ignore(number: int, frame: FrameType | None) -> Any:
    """The server has stopped already."""
