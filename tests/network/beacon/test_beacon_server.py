"""The local relay speaks drand's API, and our own client verifies what it says."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest

from assay.network.beacon import BeaconSourceError, LocalBeacon, read_chain_info
from assay.network.beacon.server import BeaconServer
from tests.network.beacon.conftest import GENESIS_MS, NOW_MS, ROUNDS


@pytest.fixture(scope="module")
def server() -> Iterator[BeaconServer]:
    beacons = LocalBeacon(b"relays", GENESIS_MS, 1_000, lambda: NOW_MS)
    with closing(BeaconServer(beacons)) as server:
        yield server


@pytest.fixture
def client(server: BeaconServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=60) as client:
        yield client


def get_roots(local: LocalBeacon) -> list[tuple[str, str, int]]:
    chain = local.chain.chain_hash.hex()
    return [
        ("", "public", 1),
        (f"/{chain}", "public", 1),
        (f"/v2/chains/{chain}", "rounds", 2),
        ("/v2/beacons/assay-local", "rounds", 2),
    ]


def test_it_listens_on_this_machine_alone(server: BeaconServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")


def test_rounds_are_as_drand_writes_them(client: httpx2.Client, local: LocalBeacon) -> None:
    beacon = local.get(42)
    assert beacon is not None
    for root, rounds, version in get_roots(local):
        answer = client.get(f"{root}/{rounds}/42")
        assert answer.headers["content-type"] == "application/json"
        expected = {"round": 42, "signature": beacon.signature.hex()}
        if version == 1:
            expected["randomness"] = beacon.randomness.hex()
        assert answer.json() == expected


def test_the_newest_round(client: httpx2.Client, local: LocalBeacon) -> None:
    for root, rounds, _ in get_roots(local):
        assert client.get(f"{root}/{rounds}/latest").json()["round"] == ROUNDS
        assert client.get(f"{root}/{rounds}/0").json()["round"] == ROUNDS
        assert client.get(f"{root}/health").json() == {"current": ROUNDS, "expected": ROUNDS}


@pytest.mark.parametrize("number", [ROUNDS + 1, 2**64 - 1])
def test_a_future_round_is_too_early(
    number: int, client: httpx2.Client, local: LocalBeacon
) -> None:
    for root, rounds, _ in get_roots(local):
        assert client.get(f"{root}/{rounds}/{number}").status_code == 425


@pytest.mark.parametrize("text", ["-1", "1.5", "x", "٣", str(2**64), "9" * 5_000])
def test_a_malformed_round_is_refused(text: str, client: httpx2.Client) -> None:
    assert client.get(f"/public/{text}").status_code == 400


def test_a_missing_page_is_not_found(client: httpx2.Client, local: LocalBeacon) -> None:
    for path in ("/", f"/{'ab' * 32}/info", f"/{'ab' * 32}/public/1", "/v2/beacons/default/info"):
        assert client.get(path).status_code == 404


def test_a_program_pins_the_chain_from_its_info(client: httpx2.Client, local: LocalBeacon) -> None:
    for root, _, _ in get_roots(local):
        assert read_chain_info(client.get(f"{root}/info").content) == local.chain


def test_the_lists_name_the_chain(client: httpx2.Client, local: LocalBeacon) -> None:
    for path in ("/chains", "/v2/chains"):
        assert client.get(path).json() == [local.chain.chain_hash.hex()]
    assert client.get("/v2/beacons").json() == ["assay-local"]


@pytest.mark.parametrize(
    "request_",
    ["GET /info HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket", "junk"],
)
def test_a_clients_error_is_answered_and_not_logged(
    server: BeaconServer, caplog: pytest.LogCaptureFixture, request_: str
) -> None:
    """uvicorn's advice on packages to install was printed among a localnet's lines."""
    _, _, port = server.url.rpartition(":")
    with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as opened:
        opened.sendall(f"{request_}\r\n\r\n".encode())
        answer = opened.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 200 OK" if "info" in request_ else b"HTTP/1.1 400 ")
    assert caplog.records == []


def test_before_the_first_round_there_is_nothing() -> None:
    beacons = LocalBeacon(b"relays", GENESIS_MS, 1_000, lambda: GENESIS_MS - 1)
    with closing(BeaconServer(beacons)) as server:
        for path in ("latest", "1", "0"):
            answer = httpx2.get(f"{server.url}/public/{path}", trust_env=False)
            assert answer.status_code == 425


def test_it_ends_with_its_thread_and_port(local: LocalBeacon) -> None:
    threads = threading.active_count()
    server = BeaconServer(local)
    port = int(server.url.rsplit(":", 1)[1])
    with httpx2.Client(trust_env=False) as client:  # an open connection does not keep it
        client.get(f"{server.url}/health")
        server.close()
        server.close()
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)
    with closing(BeaconServer(local, port=port)) as again:
        assert again.url == server.url


def test_a_port_that_is_taken_is_named(server: BeaconServer, local: LocalBeacon) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(BeaconSourceError, match=f"port {port} .* name another port"):
        BeaconServer(local, port=port)


@pytest.mark.parametrize(("genesis_ms", "period_ms"), [(1, 1_000), (0, 1_500)])
def test_drand_knows_whole_seconds_only(genesis_ms: int, period_ms: int) -> None:
    beacons = LocalBeacon(b"fractions", genesis_ms, period_ms, lambda: 0)
    with pytest.raises(BeaconSourceError, match="whole seconds"):
        BeaconServer(beacons)
