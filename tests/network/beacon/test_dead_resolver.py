"""A resolver that does not answer: the chain is still asked, and the program's end does not
wait."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from assay.network.beacon import HttpBeacons, RelayTimeouts
from assay.network.store.addresses import resolve_name
from assay.network.threads import DaemonThreads
from assay.protocol.beacon import QUICKNET

DATA = json.loads((Path(__file__).parents[2] / "data" / "drand-beacons.json").read_bytes())
RECORDED = {row["round"]: row["signature"] for row in DATA["quicknet"]["beacons"]}
#: Relays with names, more than asyncio's own executor has threads on a small machine.
NAMES = [f"https://relay{number}.example" for number in range(16)]
HASTY = RelayTimeouts(stagger_s=0.01, connect_s=0.05, answer_s=30, total_s=60, pause_s=0)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that answers nothing as long as the test lasts; set: it was asked."""
    asked, over = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> None:
        asked.set()
        assert over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    yield asked
    over.set()


def read_pulse(number: int) -> bytes | None:
    return bytes.fromhex(RECORDED[number]) if number in RECORDED else None


def test_the_chain_is_asked_while_all_lookups_hang(
    silent: threading.Event, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Race after race, while the look-ups of earlier races still hang."""
    source = HttpBeacons(QUICKNET, NAMES, tmp_path, lambda: 2 * 10**12, HASTY, pulses=read_pulse)
    with closing(source), caplog.at_level(logging.WARNING):
        for number in sorted(RECORDED)[:3]:
            beacon = source.get(number)
            assert beacon is not None, source.trouble
            assert beacon.signature.hex() == RECORDED[number]
    assert silent.is_set()
    assert [record.getMessage() for record in caplog.records] == []  # it closes, and at once
    assert "beacon" not in [thread.name for thread in threading.enumerate()]


def test_a_hanging_look_up_does_not_delay_the_programs_end(
    silent: threading.Event, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    with closing(HttpBeacons(QUICKNET, NAMES, tmp_path, lambda: 2 * 10**12, HASTY)) as source:
        assert source.get(min(RECORDED)) is None
    hanging = set(threading.enumerate()) - before
    assert silent.is_set()
    assert {thread.name for thread in hanging} == {"resolve"}
    assert len(hanging) <= 64
    assert all(thread.daemon for thread in hanging)


def test_so_many_calls_hang_and_no_more() -> None:
    over, threads = threading.Event(), DaemonThreads("test", 2)
    try:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                call(threads, over.wait, 0.01)
        with pytest.raises(OSError, match="2 calls before it still hang"):
            call(threads, over.is_set)
    finally:
        over.set()
    for thread in threading.enumerate():
        if thread.name == "test":
            thread.join(60)
    assert call(threads, over.is_set)
    with pytest.raises(ZeroDivisionError):
        call(threads, lambda: 1 // 0)


def call(threads: DaemonThreads, work: Callable[[], object], seconds: float = 60) -> object:
    async def wait() -> object:
        async with asyncio.timeout(seconds):
            return await threads.call(work)

    return asyncio.run(wait())


def refuse(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_machine_without_a_thread_left_is_an_error_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = DaemonThreads("test", 1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="can't start new thread"):
            resolve_name("localhost", 80, 1.0)
        with pytest.raises(OSError, match="can't start new thread"):
            call(threads, bool)
    assert call(threads, bool) is False
