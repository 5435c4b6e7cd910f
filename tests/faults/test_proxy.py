"""The proxy: it passes on bytes unchanged, and each of its faults has the described effect."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as dial

from tests.faults import http_faults
from tests.faults.proxy import HTTP_FAULTS, WEBSOCKET_FAULTS, FaultProxy

BODY = bytes(range(256)) * 64
#: Longest wait for an answer, seconds, and longest answer that is read.
WAIT_S, MOST = 0.3, 2**20


class _Files(BaseHTTPRequestHandler):
    """One object, whole or by range; keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        first, _, last = (self.headers["Range"] or "").removeprefix("bytes=").partition("-")
        body = BODY[int(first) : int(last) + 1] if first else BODY
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(BODY)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    """Answers a request with its own parameters."""
    loop, ready, url = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def answer(client: ServerConnection) -> None:
        async for text in client:
            request = json.loads(text)
            echo = {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]}
            await client.send(json.dumps(echo))

    async def run() -> None:
        async with serve_websocket(answer, "127.0.0.1", 0) as server:
            url.append(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(60)
    yield url[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(60)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def get(client: httpx2.Client, url: str, span: str = "") -> tuple[int, bytes, str | None]:
    """Status, body as far as a careful client reads it, and the range that it claims to be."""
    headers = {"Range": f"bytes={span}"} if span else {}
    body = b""
    with client.stream("GET", f"{url}/object", headers=headers) as answer:
        for part in answer.iter_raw():
            body += part
            if len(body) > MOST:
                raise httpx2.ReadError("too long")
        return answer.status_code, body, answer.headers.get("Content-Range")


#: Faults of HTTP that a client notices by its own library, and the errors of the others.
HANDED_OVER = {
    "latency": (200, BODY, None),
    "length too short": (200, BODY[:-9], None),
    "wrong range": (206, BODY[9:19], "bytes 10-19/16384"),
    "shifted range": (206, BODY[9:19], "bytes 9-18/16384"),
    "whole body": (200, BODY, None),
    "redirect": (302, b"", None),
    "busy": (503, b"", None),
    "not there": (404, b"", None),
}
ASKED = {"wrong range": "10-19", "shifted range": "10-19", "whole body": "10-19"}


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_each_fault_of_http(name: str, files: str, stack: ExitStack) -> None:
    proxy = stack.enter_context(closing(FaultProxy(files)))
    with httpx2.Client(timeout=WAIT_S, trust_env=False) as client:
        assert get(client, proxy.url, "10-19") == (206, BODY[10:20], "bytes 10-19/16384")
        proxy.set_fault(name)
        if name in HANDED_OVER:
            assert get(client, proxy.url, ASKED.get(name, "")) == HANDED_OVER[name]
        elif name == "altered body":
            _, body, _ = get(client, proxy.url)
            assert len(body) == len(BODY)
            assert 1 <= sum(a != b for a, b in zip(body, BODY, strict=True)) <= 3
        elif name == "reordered":
            assert get(client, proxy.url)[1] == BODY[10:20]
        elif name == "drip":
            with client.stream("GET", proxy.url) as answer:
                sizes = {len(part) for _, part in zip(range(3), answer.iter_raw(), strict=False)}
            assert sizes == {1}
        else:
            with pytest.raises(httpx2.TransportError):
                get(client, proxy.url)
        assert proxy.hits[name] >= 1
        proxy.clear()
    with httpx2.Client(timeout=WAIT_S, trust_env=False) as client:
        assert get(client, proxy.url) == (200, BODY, None)


def ask(client: ClientConnection, number: int) -> Any:
    client.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": "echo", "params": [number]}))
    return json.loads(client.recv(WAIT_S))


def connect(stack: ExitStack, url: str) -> ClientConnection:
    return stack.enter_context(dial(url, max_size=MOST, open_timeout=WAIT_S, close_timeout=0.05))


@pytest.mark.parametrize("name", WEBSOCKET_FAULTS)
def test_each_fault_of_a_websocket(name: str, node: str, stack: ExitStack) -> None:
    proxy = stack.enter_context(closing(FaultProxy(node)))
    client = connect(stack, proxy.url)
    good = {"jsonrpc": "2.0", "id": 1, "result": [1]}
    assert ask(client, 1) == good
    proxy.set_fault(name, delay_s=0.02)
    if name in ("redirect", "busy", "bomb"):
        with pytest.raises((WebSocketException, OSError)):
            ask(connect(stack, proxy.url), 2)
    elif name in ("reordered", "swapped"):
        for number in (2, 3):
            text = {"jsonrpc": "2.0", "id": number, "method": "echo", "params": [number]}
            client.send(json.dumps(text))
        heard = [json.loads(client.recv(WAIT_S)) for _ in range(2)]
        assert [answer["result"] for answer in heard] == [[3], [2]]
        assert [answer["id"] for answer in heard] == ([3, 2] if name == "reordered" else [2, 3])
    elif name == "latency":
        assert ask(client, 2)["result"] == [2]
    else:
        try:
            answer = ask(client, 2)
        except (WebSocketException, OSError, ValueError):
            answer = None
        assert not (isinstance(answer, dict) and answer.get("result") == [2]), "it came through"
    assert proxy.hits[name] >= 1
    proxy.clear()
    assert ask(connect(stack, proxy.url), 1) == good


def test_a_fault_strikes_whom_it_is_meant_for(files: str, stack: ExitStack) -> None:
    proxy = stack.enter_context(closing(FaultProxy(files, seed=7)))
    client = stack.enter_context(httpx2.Client(timeout=WAIT_S, trust_env=False))
    proxy.set_fault("busy", only="/elsewhere")
    assert get(client, proxy.url)[0] == 200
    proxy.set_fault("busy", times=2)
    assert [get(client, proxy.url)[0] for _ in range(3)] == [503, 503, 200]
    proxy.set_fault("not there", share=0.5)
    assert {get(client, proxy.url)[0] for _ in range(20)} == {200, 404}
    assert proxy.requests.total() == 24
    assert http_faults.ELSEWHERE not in proxy.url


def test_a_connection_that_fell_silent_stays_silent(node: str, stack: ExitStack) -> None:
    proxy = stack.enter_context(closing(FaultProxy(node)))
    client = connect(stack, proxy.url)
    assert ask(client, 1)["result"] == [1]
    proxy.set_fault("half-open")
    proxy.clear()
    with pytest.raises(TimeoutError):
        ask(client, 2)
    other = connect(stack, proxy.url)
    assert ask(other, 3)["result"] == [3]
    proxy.cut()
    with pytest.raises(WebSocketException):
        ask(other, 4)
