"""A store on the web as a good server serves it: whole, by range, over few connections."""

import threading
import time

import pytest

from assay.network.store.base import StoreError
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.opening import open_store
from tests.network.store.hostile import DATA, answer, behave

QUICK = HttpTimeouts(pause_s=0.01)


def test_whole_and_by_range(reach) -> None:
    store, server = reach(behave)
    assert store.get("b/c", len(DATA)) == DATA
    source = store.open("b/c")
    assert source.read(2, 5) == DATA[2:5]
    assert source.size() == len(DATA)
    assert source.read(0, len(DATA)) == DATA
    end = len(DATA)
    assert source.read(end - 3, end + 9) == DATA[-3:]
    assert store.open("b/c").read(end - 3, end + 9) == DATA[-3:]
    assert server.asked[1] == ("GET", "/a/b/c", "bytes=2-4")
    assert server.headers["host"] == f"127.0.0.1:{server.port}"
    assert server.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("asked", [(10_000, 10_001), (3, 3), (5, 2), (-4, 2)])
def test_nothing_lies_there(reach, asked: tuple[int, int]) -> None:
    store, _ = reach(behave)
    assert store.open("x").read(*asked) == b""
    known = store.open("x")
    known.size()
    assert known.read(*asked) == b""


def test_a_missing_object(reach) -> None:
    store, _ = reach(behave)
    assert store.get("absent", 10) is None
    source = store.open("absent")
    assert source.size() is source.read(0, 1) is source.read(1, 1) is None


def test_s3_says_forbidden_of_what_is_not_there(reach) -> None:
    store, _ = reach(lambda method, path, headers, socket: answer(socket, 403) is None)
    assert store.get("x", 10) is store.open("x").size() is store.open("x").read(0, 1) is None


def test_object_above_the_limit(reach) -> None:
    store, _ = reach(behave)
    with pytest.raises(StoreError, match="at most 10 are read"):
        store.get("x", 10)


def test_an_empty_object(reach) -> None:
    store, _ = reach(lambda method, path, headers, socket: answer(socket, 200) is None)
    assert store.get("x", 0) == b""
    assert store.open("x").size() == 0
    assert store.open("x").read(0, 10) == b""


def test_a_connection_is_used_again(reach) -> None:
    store, server = reach(behave)
    for i in range(10):
        assert store.open("x").read(i, i + 1) == DATA[i : i + 1]
    assert server.connections == 1


def test_threads_do_not_mix_up_answers(reach) -> None:
    store, _ = reach(behave)
    wrong = []

    def read(start: int) -> None:
        tries = range(start, start + 20)
        wrong.extend(i for i in tries if store.open("x").read(i, i + 100) != DATA[i : i + 100])

    threads = [threading.Thread(target=read, args=(30 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_busy_server_is_asked_again(start, connect) -> None:
    statuses = [503, 429]

    def be_busy(method, path, headers, socket):
        if statuses:
            answer(socket, statuses.pop())
            return True
        return behave(method, path, headers, socket)

    server = start(be_busy)
    store = open_store(server.url, connect(True, patience=QUICK))
    assert store.open("x").read(0, 4) == DATA[:4]
    assert len(server.asked) == 3


def test_a_busy_server_shortens_no_later_try(start, connect) -> None:
    """Its short answer has a shorter limit than the requested object, which comes after it."""
    statuses = [503]

    def be_slow(method, path, headers, socket):
        if statuses:
            answer(socket, statuses.pop())
            return True
        time.sleep(0.6)
        return behave(method, path, headers, socket)

    patience = HttpTimeouts(total_s=0.3, bytes_a_second=1 << 10, tries=2, pause_s=0.0)
    store = open_store(start(be_slow).url, connect(True, patience=patience))
    assert len(store.open("x").read(0, 20 << 10)) == len(DATA)


def test_a_server_that_stays_busy(start, connect) -> None:
    server = start(lambda method, path, headers, socket: answer(socket, 503) is None)
    store = open_store(server.url, connect(True, patience=QUICK))
    with pytest.raises(StoreError, match="status 503"):
        store.open("x").read(0, 4)
    assert len(server.asked) == QUICK.tries


def test_it_is_only_read(reach) -> None:
    store, server = reach(behave)
    for use in (
        lambda: store.put("x", b""),
        lambda: store.put_parts("x", iter(())),
        lambda: store.list(),
        lambda: store.delete("x"),
    ):
        with pytest.raises(StoreError, match="is read only"):
            use()
    assert server.asked == []


def test_names_that_escape(reach) -> None:
    store, server = reach(behave)
    for name in ("../x", "x?y", "/etc/passwd", "a//b", "x%2e", "x y", "x\r\nHost: y"):
        for use in (store.open, lambda n: store.get(n, 10)):
            with pytest.raises(StoreError, match="is not an object's name"):
                use(name)
    assert server.asked == []
