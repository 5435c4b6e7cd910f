"""A web server with bad manners: raw bytes over a socket, as a test's function says."""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

from assay.network.store.base import ObjectStore
from assay.network.store.http_client import HttpTimeouts

DATA = bytes(range(256)) * 16
ETAG = '"one"'

#: (method, path, headers by lower-case name, connection) → nothing; the connection is closed after
#: it unless it returns True.
Manners = Callable[[str, str, dict[str, str], socket.socket], object]


#: Silence and dripping are given up soon; nothing is tried twice.
HASTY = HttpTimeouts(connect_s=1.0, silence_s=0.3, total_s=0.6, tries=1)
#: Nothing ends here except by the server's behaviour.
CALM = HttpTimeouts(connect_s=30, silence_s=30, total_s=60, tries=1)


class Hostile:
    """Answers every request with `manners`, each connection on a thread of its own.

    Attributes:
        asked: method, path and Range header of every request, in order.
        headers: of the last request.
        connections: how many were accepted.
    """

    def __init__(self, manners: Manners, tls: ssl.SSLContext | None = None) -> None:
        self.manners = manners
        self.asked: list[tuple[str, str, str | None]] = []
        self.headers: dict[str, str] = {}
        self.connections = 0
        self._tls = tls
        self._open: list[socket.socket] = []
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait(self, seconds: float) -> bool:
        """Pause. Returns whether the server should end."""
        return self._closed.wait(seconds)

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed.is_set():
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while (request := _read_request(connection)) is not None:
                method, path, headers = request
                self.headers = headers
                self.asked.append((method, path, headers.get("range")))
                if self.manners(method, path, headers, connection) is not True:
                    break
            connection.close()


def _read_request(connection: socket.socket) -> tuple[str, str, dict[str, str]] | None:
    raw = b""
    while b"\r\n\r\n" not in raw:
        got = connection.recv(65_536)
        if not got:
            return None
        raw += got
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split()
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    left = int(headers.get("content-length", "0")) - len(body)
    while left > 0:
        got = connection.recv(min(left, 65_536))
        if not got:
            return None
        left -= len(got)
    return method, path, headers


def answer(connection: socket.socket, status: int, body: bytes = b"", *headers: str) -> None:
    """A whole answer; its length is the body's unless a header says something else."""
    lines = [f"HTTP/1.1 {status} So", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def behave(method: str, path: str, headers: dict[str, str], connection: socket.socket) -> bool:
    """Serves DATA under every path as a good server does, ranges too."""
    if path.endswith("absent"):
        answer(connection, 404, b"no")
    elif method == "HEAD":
        answer(connection, 200, b"", f"Content-Length: {len(DATA)}", f"ETag: {ETAG}")
    elif "range" in headers:
        first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
        if first >= len(DATA):
            answer(connection, 416, b"", f"Content-Range: bytes */{len(DATA)}")
            return True
        last = min(last, len(DATA) - 1)
        where = f"Content-Range: bytes {first}-{last}/{len(DATA)}"
        answer(connection, 206, DATA[first : last + 1], where, f"ETag: {ETAG}")
    else:
        answer(connection, 200, DATA)
    return True


def read_some(store: ObjectStore) -> bytes | None:
    return store.open("x").read(100, 200)


def get_some(store: ObjectStore) -> bytes | None:
    return store.get("x", 1_000)
