"""The time by relays: from their dates and from the newest round, whichever relay answers."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from assay.network.beacon import BeaconSourceError, LocalBeacon, relay_clock
from assay.network.beacon.relay_clock import read_relay_clocks
from assay.network.beacon.server import BeaconServer
from assay.protocol.beacon import Beacon
from tests.network.beacon.relay import Answer, Relay

HOUR_MS = 3_600_000
#: Seconds that a machine may hold up two processes between a clock's two readings.
SLACK_MS = 60_000


def get_now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def beacons() -> LocalBeacon:
    """In time with this machine."""
    begin_ms = (get_now_ms() - HOUR_MS) // 1_000 * 1_000
    return LocalBeacon(b"clock", begin_ms, 1_000, get_now_ms)


@pytest.fixture(scope="module")
def server(beacons: LocalBeacon) -> Iterator[BeaconServer]:
    with closing(BeaconServer(beacons)) as server:
        yield server


@pytest.mark.parametrize("off_ms", [0, 3 * HOUR_MS, -3 * HOUR_MS])
def test_date_and_round_tell_how_far_the_clock_is_off(server: BeaconServer, off_ms: int) -> None:
    date, newest = read_relay_clocks([server.url], lambda: get_now_ms() + off_ms)
    host = server.url.removeprefix("http://")
    assert date.source == f"the date of {host}"
    assert newest.source.startswith("round ")
    assert newest.source.endswith(f" of {host}")
    for reading in (date, newest):
        assert reading.host == host
        assert abs(reading.ahead_ms + off_ms) < SLACK_MS
        assert 0 < reading.error_ms < SLACK_MS
        assert not reading.proves  # whoever runs a chain of his own can sign any round


def test_a_round_of_the_pinned_chain_is_a_proof(
    server: BeaconServer, beacons: LocalBeacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_clock, "QUICKNET", beacons.chain)
    _, newest = read_relay_clocks([server.url], get_now_ms)
    assert newest.proves


async def _say(writer: asyncio.StreamWriter, head: str, body: bytes = b"") -> None:
    writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


def make_false_round(beacons: LocalBeacon) -> Answer:
    """A relay that dates a round an hour ahead, with another round's signature."""

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        number = beacons.get_newest_round() + 3_600
        genuine = beacons.get(1)
        assert isinstance(genuine, Beacon)
        hidden = sha256(genuine.signature).hexdigest()
        signature = genuine.signature.hex()
        text = f'{{"round": {number}, "randomness": "{hidden}", "signature": "{signature}"}}'
        await _say(writer, "200 OK", text.encode())

    return answer


async def hang_up(path: str, writer: asyncio.StreamWriter) -> None:
    pass


async def say_no_date(path: str, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "404 Not Found\r\nDate: yesterday")


async def say_too_much(path: str, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "200 OK", b"x" * 100_000)


async def say_headers(path: str, writer: asyncio.StreamWriter) -> None:
    await _say(writer, "200 OK" + "\r\nX: y" * 10_000)


@pytest.mark.parametrize("answer", [hang_up, say_no_date, say_too_much, say_headers])
def test_a_malformed_answer_tells_no_time(
    start: Callable[[Answer], Relay], server: BeaconServer, answer: Answer
) -> None:
    bad = start(answer)
    assert read_relay_clocks([bad.url], get_now_ms) == []
    both = read_relay_clocks([bad.url, server.url], get_now_ms)
    assert {reading.host for reading in both} == {server.url.removeprefix("http://")}


def test_a_false_signature_is_no_round(
    start: Callable[[Answer], Relay], beacons: LocalBeacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_clock, "QUICKNET", beacons.chain)
    assert read_relay_clocks([start(make_false_round(beacons)).url], get_now_ms) == []


def test_nobody_there_and_no_address() -> None:
    assert read_relay_clocks([], get_now_ms) == []
    assert read_relay_clocks(["http://127.0.0.1:9"], get_now_ms) == []
    with pytest.raises(BeaconSourceError, match="is not an address of a drand relay"):
        read_relay_clocks(["nonsense"], get_now_ms)
