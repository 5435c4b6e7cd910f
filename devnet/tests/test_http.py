"""JSON-RPC over HTTP on the websockets' port, and clients that are neither one nor the other."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.sync.client import connect

from devlab import TAO, get_key, sign
from subtensor_devnet import Devnet, Seal
from subtensor_devnet.json_rpc import MESSAGE_BYTES


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet(tmp_path_factory.mktemp("devnet"), seal=Seal.INSTANT) as devnet:
        yield devnet


@pytest.fixture
def http(devnet: Devnet) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=devnet.endpoint.replace("ws:", "http:"), timeout=60) as client:
        yield client


def ask(http: httpx2.Client, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    answer = http.post("/", json=request)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    return answer.json()


def dial(devnet: Devnet) -> socket.socket:
    host, port = devnet.endpoint.removeprefix("ws://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def test_the_runtime_names_the_apis_that_clients_look_for(http: httpx2.Client) -> None:
    apis = dict(ask(http, "state_getRuntimeVersion")["result"]["apis"])
    assert apis["0x37e397fc7c91f5e4"] == 2  # Metadata, as every substrate node names it
    assert apis["0x37c8bb1350a9a2a8"] == 4  # TransactionPaymentApi
    assert len(apis) == 8


def test_all_subnets_are_described_at_once(http: httpx2.Client) -> None:
    one = ask(http, "state_call", "SubnetInfoRuntimeApi_get_dynamic_info", "0x0000")["result"]
    every = ask(http, "state_call", "SubnetInfoRuntimeApi_get_all_dynamic_info", "0x")["result"]
    assert every == "0x04" + one.removeprefix("0x")


def test_only_the_first_mechanism_has_a_metagraph(http: httpx2.Client) -> None:
    method = "SubnetInfoRuntimeApi_get_mechagraph"
    plain = ask(http, "state_call", "SubnetInfoRuntimeApi_get_metagraph", "0x0000")["result"]
    assert ask(http, "state_call", method, "0x000000")["result"] == plain
    assert ask(http, "state_call", method, "0x000001")["result"] == "0x00"


def test_nobody_has_a_lock(http: httpx2.Client) -> None:
    asked = "0x" + bytes(get_key("//Alice").public_key).hex() + "0100"  # of subnet 1
    lock = ask(http, "state_call", "StakeInfoRuntimeApi_get_coldkey_lock", asked)
    assert lock["result"] == "0x00"  # Option::None


def test_every_method_answers_as_over_a_websocket(devnet: Devnet, http: httpx2.Client) -> None:
    methods = ask(http, "rpc_methods")["result"]["methods"]
    follows = [m for m in methods if "ubscribe" in m or "Watch" in m or "unwatch" in m]
    assert len(follows) == 16
    for method in set(methods) - {"dev_newBlock"}:
        with connect(devnet.endpoint, max_size=None) as node:
            node.send(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": []}))
            over_websocket = json.loads(node.recv(timeout=60))
        if method in follows:  # nodes have it so
            over_websocket = {
                "jsonrpc": "2.0",
                "id": 7,
                "error": {"code": -32603, "message": "Internal error"},
            }
        assert ask(http, method) == over_websocket, method


def test_an_extrinsic_makes_its_block(devnet: Devnet, http: httpx2.Client) -> None:
    codec, alice = devnet.chain.codec, get_key("//Alice")
    arguments = {"dest": get_key("//Bob").ss58_address, "value": TAO}
    call = codec.encode_call("Balances", "transfer_keep_alive", arguments)
    head, nonce = devnet.get_head(), ask(http, "system_accountNextIndex", alice.ss58_address)
    signed = sign(codec, devnet.genesis_hash, alice, call, nonce["result"])
    ask(http, "author_submitExtrinsic", "0x" + signed.hex())
    assert devnet.get_head() == head + 1


def test_one_connection_carries_many_requests(http: httpx2.Client) -> None:
    for number in range(3):
        request = {"jsonrpc": "2.0", "id": number, "method": "system_name"}
        answer = http.post("/", json=request, headers={"connection": "keep-alive"})
        assert "connection" not in answer.headers
        assert answer.json()["id"] == number


def test_requests_that_come_at_once_are_answered_in_turn(devnet: Devnet) -> None:
    bodies = [b'{"jsonrpc":"2.0","id":%d,"method":"system_name"}' % i for i in range(3)]
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
    with dial(devnet) as client:
        client.sendall(b"".join(head % len(body) + b"\r\n" + body for body in bodies))
        heard = b""
        while heard.count(b'"id": ') < 3:
            more = client.recv(65_536)
            assert more, heard
            heard += more
    assert heard.count(b"HTTP/1.1 200") == 3
    assert [heard.index(b'"id": %d' % i) for i in range(3)] == sorted(
        heard.index(b'"id": %d' % i) for i in range(3)
    )


def test_a_batch_and_a_notification(http: httpx2.Client) -> None:
    told = {"jsonrpc": "2.0", "method": "system_name"}
    answer = http.post("/", json=[told | {"id": "a"}, told])
    assert [one["id"] for one in answer.json()] == ["a"]
    for nothing in (told, [told]):
        answer = http.post("/", json=nothing)
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused_and_the_next_client_served(
    devnet: Devnet, http: httpx2.Client, chunked: bool
) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b" " * 2**20] * 16

    body = pieces() if chunked else b" " * (MESSAGE_BYTES + 1)
    answer = http.post("/", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"] == {
        "code": -32007,
        "message": "Request is too big",
        "data": f"Exceeded max limit of {MESSAGE_BYTES}",
    }
    assert ask(http, "system_name")["result"] == "subtensor-devnet"


def test_the_largest_body_is_read(http: httpx2.Client) -> None:
    request = b'{"jsonrpc": "2.0", "id": 1, "method": "system_name"}'
    body = request + b" " * (MESSAGE_BYTES - len(request))
    answer = http.post("/", content=body, headers={"content-type": "application/json"})
    assert answer.json()["result"] == "subtensor-devnet"


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [
        ("POST", "text/plain", 415),
        ("POST", "application/jsonp", 415),
        ("POST", "Application/JSON; charset=utf-8", 200),
        ("POST", "application/json-rpc", 200),
        ("GET", "application/json", 405),
        ("HEAD", "application/json", 405),
        ("PUT", "application/json", 405),
        ("OPTIONS", "application/json", 405),
    ],
)
def test_requests_that_nodes_refuse(
    http: httpx2.Client, method: str, kind: str, status: int
) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "system_name"}
    body = json.dumps(request) if method in ("POST", "PUT") else None
    answer = http.request(method, "/", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert ask(http, "system_name")["result"] == "subtensor-devnet"


def test_a_client_that_expects_a_continue(devnet: Devnet) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"system_name"}'
    with dial(devnet) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        assert client.recv(65_536).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")


def test_an_opening_that_comes_a_byte_at_a_time(devnet: Devnet) -> None:
    with dial(devnet) as client:
        for byte in (
            b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
        ):
            client.sendall(bytes([byte]))
        assert client.recv(65_536).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize("piece", [b"", b"P", b"POST / HTTP/1.1\r\n", b"POST /"])
def test_a_client_that_never_finishes_its_request_is_dropped(
    devnet: Devnet, monkeypatch: pytest.MonkeyPatch, piece: bytes
) -> None:
    monkeypatch.setattr("subtensor_devnet.shared_port.WAIT_S", 0.2)
    monkeypatch.setattr("subtensor_devnet.shared_port._LINGER_S", 0.2)
    with dial(devnet) as client:
        client.sendall(piece)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""


def test_it_stops_while_clients_hang_on(tmp_path: Path) -> None:
    with Devnet(tmp_path, seal=Seal.MANUAL) as devnet:
        endpoint = devnet.endpoint.replace("ws:", "http:")
        with httpx2.Client(base_url=endpoint) as kept, dial(devnet) as silent, dial(devnet) as half:
            ask(kept, "system_name")
            half.sendall(b"POST / HTTP/1.1\r\n")
            devnet.stop()
            for client in (silent, half):
                with contextlib.suppress(ConnectionResetError):
                    assert client.recv(1) == b""
            devnet.start()
            assert ask(kept, "system_name")["result"] == "subtensor-devnet"


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"POST / HTTP/1.1\r\n", b"PUT "]))
def test_random_bytes_harm_nobody(devnet: Devnet, garbage: bytes, start: bytes) -> None:
    with dial(devnet) as client:
        client.sendall(start + garbage)
        client.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + 60
        try:
            while client.recv(65_536):
                assert time.monotonic() < deadline
        except ConnectionResetError:
            pass
    assert devnet.is_running
