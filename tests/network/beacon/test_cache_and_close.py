"""A source of beacons: its cache, its use by several threads, and its state once it is closed."""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from assay.network.beacon import BeaconSourceError, HttpBeacons, LocalBeacon
from assay.network.beacon.round_cache import MEMORY_ROUNDS, RoundCache
from assay.network.beacon.server import BeaconServer
from assay.protocol.beacon import QUICKNET, Beacon
from tests.network.beacon.conftest import CALM, EAGER, NOW_MS
from tests.network.beacon.recorded_rounds import TODAY_MS, get_recorded
from tests.network.beacon.relay import Answer, Relay, describe, find_closed_port, serve

Start = Callable[[Answer], Relay]
Open = Callable[..., HttpBeacons]


# the cache


def test_a_round_is_asked_for_once(honest: Relay, open_source: Open) -> None:
    source = open_source(honest.url)
    assert source.get(7) == source.get(7) is not None
    assert len(honest.asked) == 1


def test_a_restart_asks_nobody(honest: Relay, open_source: Open, local: LocalBeacon) -> None:
    first = open_source(honest.url)
    assert first.get(7)
    first.close()
    again = open_source(find_closed_port())
    assert again.get(7) == local.get(7)
    assert again.get(8) is None


@pytest.mark.parametrize("forged", [b"\xc0" + bytes(47), b"", "text", 10**12, None])
def test_a_forged_cache_is_not_believed(
    forged: Any, honest: Relay, open_source: Open, local: LocalBeacon, tmp_path: Path
) -> None:
    first = open_source(honest.url)
    assert first.get(7)
    first.close()
    [file] = tmp_path.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as database, database:
        if forged is None:  # another round's genuine signature
            other = local.get(8)
            assert other is not None
            forged = other.signature
        database.execute("UPDATE rounds SET signature = ?", (forged,))
    again = open_source(honest.url)
    assert again.get(7) == local.get(7)
    assert len(honest.asked) == 2
    again.close()
    assert open_source(find_closed_port()).get(7) == local.get(7)  # it was mended


def test_each_chain_has_its_own_file(honest: Relay, open_source: Open, start: Start) -> None:
    recorded = get_recorded("quicknet")
    quicknet = open_source(start(serve(recorded.get)).url, chain=QUICKNET, now_ms=lambda: TODAY_MS)
    local = open_source(honest.url)
    assert quicknet.get(42) != local.get(42)
    assert quicknet.get(42) is not None
    assert local.get(42) is not None


def test_the_cache_is_bounded(local: LocalBeacon, tmp_path: Path) -> None:
    with closing(RoundCache(local.chain, tmp_path, disk_rounds=5)) as cache:
        for number in range(1, 21):
            cache.put(local.get(number) or Beacon(0, b""))
    [file] = tmp_path.glob("*.sqlite")
    with closing(sqlite3.connect(file)) as database:
        kept = [row[0] for row in database.execute("SELECT number FROM rounds ORDER BY number")]
    assert kept == [16, 17, 18, 19, 20]
    assert 20 < MEMORY_ROUNDS < 10_000


def test_a_full_disk_costs_no_beacon(
    honest: Relay, open_source: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source(honest.url)
    source.cache.database.execute("PRAGMA max_page_count = 1")
    source.cache.database.execute("PRAGMA query_only = 1")
    with caplog.at_level(logging.WARNING, "assay.beacon"):
        assert source.get(7)
        assert source.get(8)
        assert source.get(7)
    assert len(caplog.records) == 1
    assert "can no longer store beacons" in caplog.text


def write_noise(file: Path, start: int) -> None:
    """Bytes that are no pages, from so far in."""
    data = file.read_bytes()
    noise = b"".join(sha256(b"%d" % turn).digest() for turn in range(1 + len(data) // 32))
    file.write_bytes(data[:start] + noise[: len(data) - start])


def make_table(file: Path, text: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE rounds")
        database.execute(f"CREATE TABLE rounds ({text})")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda file: file.write_bytes(b"no database" * 99),
    "all but the first bytes": lambda file: write_noise(file, 100),
    "all but the first page": lambda file: write_noise(file, 4_096),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:5_000]),
    "another table": lambda file: make_table(file, "a"),
    "a column more": lambda file: make_table(
        file,
        "entry INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE, signature BLOB NOT NULL, "
        "previous_signature BLOB NOT NULL, more BLOB NOT NULL",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_cache_is_put_aside_and_begun_anew(
    name: str, local: LocalBeacon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = (local.get(number) or Beacon(0, b"") for number in (1, 2))
    with closing(RoundCache(local.chain, tmp_path)) as cache:
        cache.put(first)
    [file] = tmp_path.glob("*.sqlite")
    for _ in range(2):  # earlier leftovers are in nobody's way
        DAMAGES[name](file)
        damaged = file.read_bytes()
        with closing(RoundCache(local.chain, tmp_path)) as cache:
            assert cache.get(1) is None
            cache.put(second)
        with closing(RoundCache(local.chain, tmp_path)) as cache:
            assert cache.get(2) == second
        [aside] = tmp_path.glob("*.damaged")
        assert aside.read_bytes() == damaged
    events = [record.__dict__["event"] for record in caplog.records]
    assert events == ["beacon_cache_damaged"] * 2


def test_a_cache_that_cannot_be_opened_is_named(local: LocalBeacon, tmp_path: Path) -> None:
    with closing(RoundCache(local.chain, tmp_path)):
        pass
    [file] = tmp_path.glob("*.sqlite")
    file.unlink()
    file.mkdir()
    before = threading.active_count()
    with pytest.raises(BeaconSourceError, match="delete the file"):
        HttpBeacons(local.chain, ["http://127.0.0.1:1"], tmp_path, lambda: 0)
    assert threading.active_count() == before


# threads, and the end


def test_many_threads_share_one_race(start: Start, open_source: Open, local: LocalBeacon) -> None:
    relay = start(serve(lambda number: describe(local.get(number) or Beacon(0, b"")), 0.2))
    source = open_source(relay.url)
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(source.get, [7, 8, 9] * 4))
    assert found == [local.get(7), local.get(8), local.get(9)] * 4
    assert len(relay.asked) == 3


def test_who_missed_the_cache_just_before_starts_no_second_race(
    start: Start, open_source: Open, local: LocalBeacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start(serve(lambda number: describe(local.get(number) or Beacon(0, b""))))
    source = open_source(relay.url)
    monkeypatch.setattr(source.cache, "get", lambda number: None)
    assert [source.get(7), source.get(7)] == [local.get(7)] * 2
    assert len(relay.asked) == 1


def count_sockets() -> int:
    links = []
    for entry in os.scandir("/proc/self/fd"):
        try:
            links.append(os.readlink(entry.path))
        except FileNotFoundError:  # the listing's own
            continue
    return sum(link.startswith(("socket:", "anon_inode:")) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_nothing_is_left_after_close(start: Start, local: LocalBeacon, tmp_path: Path) -> None:
    async def stall(_: str, writer: Any) -> None:
        await asyncio.sleep(3_600)

    threads, sockets = threading.active_count(), count_sockets()
    silent, honest = start(stall), BeaconServer(local)  # the latter keeps connections open
    for turn in range(5):
        urls = [silent.url, find_closed_port(), honest.url.replace("127.0.0.1", "localhost")]
        source = HttpBeacons(local.chain, urls, tmp_path / str(turn), lambda: NOW_MS, EAGER)
        assert source.get(7) == local.get(7)
        source.close()
        source.close()  # twice is once
    silent.close()
    honest.close()
    assert threading.active_count() == threads
    assert count_sockets() == sockets


def test_slower_relays_are_dropped_at_once(
    honest: Relay, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    left = threading.Event()

    async def drip_until_left(_: str, writer: Any) -> None:
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0.01)
        left.set()

    slow = start(drip_until_left)
    source = open_source(slow.url, honest.url, patience=EAGER)  # whose deadline is a minute off
    assert source.get(7) == local.get(7)
    assert left.wait(60)


def test_close_ends_a_race_under_way(start: Start, local: LocalBeacon, tmp_path: Path) -> None:
    asked = threading.Event()

    async def stall(_: str, writer: Any) -> None:
        asked.set()
        await asyncio.sleep(3_600)

    source = HttpBeacons(local.chain, [start(stall).url], tmp_path, lambda: NOW_MS, CALM)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.get, 7)
        assert asked.wait(60)
        source.close()
        with pytest.raises(BeaconSourceError, match="closed"):
            waiting.result(10)


def test_a_closed_source_says_so(honest: Relay, open_source: Open) -> None:
    source = open_source(honest.url)
    source.close()
    with pytest.raises(BeaconSourceError, match="closed"):
        source.get(7)
    with pytest.raises(BeaconSourceError, match="closed"):
        source.check()
