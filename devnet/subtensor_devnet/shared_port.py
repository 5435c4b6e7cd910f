"""Websockets and HTTP on one port: a connection's first bytes say which of the two it is.

JSON-RPC over HTTP as a substrate node serves it: POST with JSON, no subscriptions. Statuses and
messages are those of jsonrpsee (server/src/transport/http.rs). A connection that is neither is
closed.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import h11
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from subtensor_devnet.json_rpc import MESSAGE_BYTES, make_size_error

#: A JSON-RPC message to its answer; None: it asks for none.
Answer = Callable[[bytes], str | None]
#: What a websocket's opening begins with.
_OPENING = b"GET "
#: Longest head of a request, bytes, and most that is read at once.
_HEAD_BYTES, _READ_BYTES = 16 * 1024, 64 * 1024
#: Most seconds for the next request to arrive and its answer to be taken.
WAIT_S = 60.0
#: Most seconds for the client to read the last answer and disconnect.
_LINGER_S = 5.0
#: What a client may call JSON, spaces left out.
_JSON_TYPES = {
    f"application/{name}{charset}"
    for name in ("json", "json-rpc")
    for charset in ("", ";charset=utf-8")
}
_JSON, _TEXT = "application/json; charset=utf-8", "text/plain"
_METHOD_REFUSED = "Used HTTP Method is not allowed. POST is required\n"
_TYPE_REFUSED = "Supplied content type is not allowed. Content-Type: application/json is required\n"


class SharedPort:
    """Passes websockets on to their library, and serves HTTP itself."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._transports: set[asyncio.Transport] = set()

    def make_connection(self, *arguments: Any, **options: Any) -> "PortConnection":
        """For the library's `create_connection`."""
        return PortConnection(self, *arguments, **options)

    def close(self) -> None:
        """Ends all connections that are not websockets."""
        for transport in list(self._transports):
            transport.abort()

    def add(self, transport: asyncio.Transport) -> None:
        """Notes a new connection, which may become a websocket."""
        self._transports.add(transport)

    def discard(self, transport: asyncio.Transport) -> None:
        """Forgets a connection that has ended or has become a websocket."""
        self._transports.discard(transport)

    def serve_http(self, transport: asyncio.Transport, first: bytes) -> None:
        """Serves a connection whose first bytes are `first`."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader, self._serve)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(first)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one request after the other until the client disconnects or is too slow."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
        try:
            with suppress(TimeoutError, OSError):
                while await self._serve_one(http, reader, writer):
                    http.start_next_cycle()
                await _linger(reader, writer)
        finally:
            writer.transport.abort()
            self.discard(cast("asyncio.Transport", writer.transport))

    async def _serve_one(
        self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answers the next request. Whether another may follow on this connection."""
        async with asyncio.timeout(WAIT_S):
            try:
                request = await _next_event(http, reader, writer)
                if not isinstance(request, h11.Request):  # the client has disconnected
                    return False
                body = await _read_body(http, request, reader, writer)
                status, kind, text = self._respond(request, body)
            except h11.RemoteProtocolError as error:
                status, kind, text = HTTPStatus(error.error_status_hint), _TEXT, ""
            _write(http, writer, status, kind, text)
            await writer.drain()
        return http.our_state is h11.DONE and http.their_state is h11.DONE

    def _respond(self, request: h11.Request, body: bytes | None) -> tuple[HTTPStatus, str, str]:
        if request.method != b"POST":
            text = "" if request.method == b"HEAD" else _METHOD_REFUSED
            return HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, text
        if _get_header(request, b"content-type").lower().replace("; ", ";") not in _JSON_TYPES:
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _TEXT, _TYPE_REFUSED
        if body is None:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _JSON, make_size_error()
        return HTTPStatus.OK, _JSON, self._answer(body) or ""


class PortConnection(ServerConnection):
    """A connection to the chain's port: a websocket once its first bytes are an opening's."""

    def __init__(self, port: SharedPort, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._port = port
        self._first = b""
        self._is_websocket = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._port.add(self.transport)
        self._timer = self.loop.call_later(WAIT_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._is_websocket:
            super().data_received(data)
            return
        self._first += data
        if len(self._first) < len(_OPENING):
            return
        self._timer.cancel()
        if self._first.startswith(_OPENING):
            self._is_websocket = True
            self._port.discard(self.transport)
            super().connection_made(self.transport)
            super().data_received(self._first)
        else:
            self._port.serve_http(self.transport, self._first)

    def eof_received(self) -> None:
        if self._is_websocket:
            super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_websocket:
            super().connection_lost(exc)
        else:
            self._timer.cancel()
            self._port.discard(self.transport)


def refuse_plain_get(connection: ServerConnection, request: Request) -> Response | None:
    """For websockets' `process_request`: a GET that opens no websocket."""
    if "Upgrade" in request.headers:
        return None
    return connection.respond(HTTPStatus.METHOD_NOT_ALLOWED, _METHOD_REFUSED)


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends a connection. Reads on until then: unread data would cost the client its answer."""
    async with asyncio.timeout(_LINGER_S):
        writer.write_eof()
        while await reader.read(_READ_BYTES):
            pass
        writer.close()
        await writer.wait_closed()


async def _read_body(
    http: h11.Connection,
    request: h11.Request,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> bytes | None:
    """A request's body; None: it is too large, and is not read to its end."""
    length = _get_header(request, b"content-length")
    if length and int(length) > MESSAGE_BYTES:
        return None
    body = bytearray()
    while isinstance(event := await _next_event(http, reader, writer), h11.Data):
        body += event.data
        if len(body) > MESSAGE_BYTES:
            return None
    return bytes(body)


async def _next_event(
    http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Any:
    while (event := http.next_event()) is h11.NEED_DATA:
        if http.they_are_waiting_for_100_continue:
            writer.write(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        http.receive_data(await reader.read(_READ_BYTES))
    return event


def _write(
    http: h11.Connection, writer: asyncio.StreamWriter, status: HTTPStatus, kind: str, text: str
) -> None:
    body = text.encode()
    headers = [("content-type", kind), ("content-length", str(len(body)))]
    if http.their_state is not h11.DONE:  # the rest of the request is not read
        headers.append(("connection", "close"))
    response = h11.Response(status_code=status, headers=headers, reason=status.phrase)
    for event in (response, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(http.send(event) or b"")


def _get_header(request: h11.Request, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in request.headers if key == name), "")
