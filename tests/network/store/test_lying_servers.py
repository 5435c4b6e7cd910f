"""Attacks by the server of a locator: each ends soon, with a StoreError and little memory."""

import gzip
import os
import socket
import ssl
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
import trustme

from assay.network.store.base import StoreError
from assay.network.store.deadlines import within
from assay.network.store.http_client import HttpTimeouts
from assay.network.store.opening import open_store
from tests.network.store.hostile import (
    CALM,
    DATA,
    ETAG,
    HASTY,
    Hostile,
    answer,
    behave,
    get_some,
    read_some,
)

Reach = Callable[..., tuple]


# --- how long, and how much


def test_endless_body(reach: Reach) -> None:
    def pour(method, path, headers, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")

    store, _ = reach(pour)
    tracemalloc.start()
    with pytest.raises(StoreError, match="more than 1000 bytes"):
        get_some(store)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_every_byte_in_a_chunk_of_its_own(reach: Reach) -> None:
    def crumble(method, path, headers, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")

    store, _ = reach(crumble)
    with pytest.raises(StoreError, match="one by one"):
        store.get("x", 1 << 20)


def test_interim_answers_without_end(reach: Reach) -> None:
    def promise(method, path, headers, connection):
        while True:
            connection.sendall(b"HTTP/1.1 103 Soon\r\n\r\n" * 1_000)

    store, _ = reach(promise)
    with pytest.raises(StoreError, match="more than the requested bytes"):
        get_some(store)


@pytest.mark.parametrize("place", ["status", "headers", "body"])
def test_slow_drip(reach: Reach, place: str) -> None:
    """Bytes that come within every silence, and never end."""

    def drip(method, path, headers, connection):
        before = {
            "status": b"H",
            "headers": b"HTTP/1.1 200 OK\r\nX: ",
            "body": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n",
        }
        connection.sendall(before[place])
        while not server.wait(0.05):
            connection.sendall(b"x")

    store, server = reach(drip, HASTY)
    with pytest.raises(StoreError, match=r"did not answer in time|cannot be read"):
        get_some(store)


def test_slow_drip_within_an_outer_deadline(reach: Reach) -> None:
    def drip(method, path, headers, connection):
        while not server.wait(0.05):
            connection.sendall(b"H")

    store, server = reach(drip, HttpTimeouts(silence_s=60, total_s=600, tries=1))
    with within(0.3), pytest.raises(StoreError, match="did not answer in time"):
        get_some(store)


@pytest.mark.parametrize("stage", ["accept", "headers", "body"])
def test_silence(reach: Reach, stage: str) -> None:
    def fall_silent(method, path, headers, connection):
        if stage != "accept":
            connection.sendall(b"HTTP/1.1 206 OK\r\nContent-Length: 100\r\n")
        if stage == "body":
            connection.sendall(b"Content-Range: bytes 100-199/4096\r\n\r\n" + bytes(50))
        server.wait(60)

    store, server = reach(fall_silent, HASTY)
    with pytest.raises(StoreError, match="did not answer in time"):
        read_some(store)


def test_silence_in_the_handshake(start, connect) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    store = open_store(
        f"https://127.0.0.1:{listener.getsockname()[1]}", connect(True, patience=HASTY)
    )
    with listener, pytest.raises(StoreError, match="did not answer in time"):
        read_some(store)


# --- lying lengths and ranges


def lie(*headers: str, status: int = 206, body: bytes = DATA[100:200]):
    def manners(method, path, asked, connection):
        answer(connection, status, body, *headers)

    return manners


RIGHT = "Content-Range: bytes 100-199/4096"
LIES = {
    "length too large": (lie(RIGHT, "Content-Length: 5000000000"), "at most 100 are read"),
    "length beyond the body": (lie(RIGHT, "Content-Length: 100", body=bytes(60)), "cannot be read"),
    "length below the body": (lie(RIGHT, "Content-Length: 40"), "another length"),
    "length is not a number": (lie(RIGHT, "Content-Length: -1"), "cannot be read|does not say"),
    "length is huge": (lie(RIGHT, "Content-Length: " + "9" * 400), "cannot be read|does not say"),
    "two lengths": (lie(RIGHT, "Content-Length: 100", "Content-Length: 99"), "cannot be read"),
    "no range": (lie(), "does not say which"),
    "range of another place": (lie("Content-Range: bytes 0-99/4096"), "another part"),
    "range too short": (lie("Content-Range: bytes 100-150/4096"), "another part"),
    "range beyond its object": (lie("Content-Range: bytes 100-199/150"), "another part"),
    "range without total": (lie("Content-Range: bytes 100-199/*"), "does not say which"),
    "range in other units": (lie("Content-Range: rows 100-199/4096"), "does not say which"),
    "two ranges": (lie(RIGHT, "Content-Range: bytes 0-99/4096"), "two headers"),
    "range of negative numbers": (lie("Content-Range: bytes -1-99/4096"), "does not say which"),
    "all of it for a range": (lie(status=200, body=DATA[:80]), "not served by range"),
    "all of it, far too long": (lie(status=200, body=DATA), "at most 100 are read"),
    "refused within the object": (lie("Content-Range: bytes */4096", status=416), "lies within"),
    "another success": (lie(status=204, body=b""), "status 204"),
    "teapot": (lie(status=418), "status 418"),
}


@pytest.mark.parametrize("name", LIES)
def test_lying_answer_to_a_range(reach: Reach, name: str) -> None:
    manners, words = LIES[name]
    store, _ = reach(manners)
    with pytest.raises(StoreError, match=words):
        read_some(store)


def test_all_of_a_small_object_for_a_range_from_its_start(reach: Reach) -> None:
    store, _ = reach(lie(status=200, body=DATA[:80]))
    assert store.open("x").read(0, 100) == DATA[:80]


def test_lying_size(reach: Reach) -> None:
    """HEAD says one thing and the range another."""

    def manners(method, path, headers, connection):
        if method == "HEAD":
            answer(connection, 200, b"", "Content-Length: 1000000")
            return True
        return behave(method, path, headers, connection)

    source = reach(manners)[0].open("x")
    assert source.size() == 1_000_000
    with pytest.raises(StoreError, match="has changed"):
        source.read(0, 10)


def test_no_size(reach: Reach) -> None:
    def manners(method, path, headers, connection):
        answer(connection, 200, b"", "Transfer-Encoding: chunked")

    with pytest.raises(StoreError, match="does not say how long"):
        reach(manners)[0].open("x").size()


@pytest.mark.parametrize("what", ["size", "etag"])
def test_object_that_changes_between_two_reads(reach: Reach, what: str) -> None:
    count = iter(range(10))

    def manners(method, path, headers, connection):
        n = next(count)
        total = len(DATA) + (n if what == "size" else 0)
        etag = f'"{n}"' if what == "etag" else ETAG
        where = f"Content-Range: bytes 100-199/{total}"
        answer(connection, 206, DATA[100:200], where, f"ETag: {etag}")
        return True

    source = reach(manners)[0].open("x")
    assert source.read(100, 200) == DATA[100:200]
    with pytest.raises(StoreError, match="has changed"):
        source.read(100, 200)


# --- malformed answers


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "zstd", "gzip, identity", "deflate"])
def test_gzip_bomb(reach: Reach, encoding: str) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    store, _ = reach(lie(RIGHT, f"Content-Encoding: {encoding}", body=bomb))
    for use in (read_some, get_some):
        with pytest.raises(StoreError, match="compressed"):
            use(store)


def test_compressed_transfer(reach: Reach) -> None:
    store, _ = reach(lie(RIGHT, "Transfer-Encoding: gzip, chunked"))
    with pytest.raises(StoreError, match="cannot be read"):
        read_some(store)


ABSURD = {
    "a long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20),
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000,
    "a long status": b"HTTP/1.1 200 " + b"O" * (1 << 20),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "HTTP/2": b"\0\0\x12\4\0\0\0\0\0" + bytes(18),
    "HTTP/0.9": b"hello\n\n",
    "bytes": os.urandom(5_000),
    "no colon": b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n",
    "a bare line feed": b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "an odd chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a chunk of exabytes": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"f" * 30
    + b"\r\n",
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "cut in the status": b"HTTP/1.1 2",
    "cut in the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "cut in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc",
    "cut in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nabc",
    "nothing": b"",
}


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_answer(reach: Reach, name: str) -> None:
    store, _ = reach(lambda m, p, h, connection: connection.sendall(ABSURD[name]))
    with pytest.raises(StoreError) as caught:
        get_some(store)
    text = str(caught.value)
    assert len(text) < 400
    assert text.isprintable()


def test_answer_that_was_slipped_in_before_the_question(reach: Reach) -> None:
    """A second answer behind the first does not pass for that to the next range."""

    def slip(method, path, headers, connection):
        behave(method, path, headers, connection)
        answer(connection, 206, b"slipped in"[:4], "Content-Range: bytes 0-3/4096")
        time.sleep(0.02)
        return True

    source = reach(slip)[0].open("x")
    assert source.read(100, 200) == DATA[100:200]
    with suppress(StoreError):
        assert source.read(300, 400) == DATA[300:400]


def test_connection_refused(connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(StoreError, match="cannot be read"):
        read_some(open_store(f"http://127.0.0.1:{port}", connect(True, patience=CALM)))


# --- certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.mark.parametrize("certified", ["miner.example", "other.example"])
@pytest.mark.parametrize("known", [True, False])
def test_certificate_of_another_host(
    connect, start, authority: trustme.CA, certified: str, known: bool
) -> None:
    """The name is that of the locator, whichever address it leads to."""
    ours, theirs = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(certified).configure_cert(theirs)
    if known:
        authority.configure_trust(ours)
    server: Hostile = start(behave, tls=theirs)
    client = connect(True, lambda *_: ["127.0.0.1"], CALM, tls=ours)
    store = open_store(f"https://miner.example:{server.port}", client)
    if known and certified == "miner.example":
        assert read_some(store) == DATA[100:200]
        assert server.headers["host"] == f"miner.example:{server.port}"
    else:
        with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED"):
            read_some(store)
        assert server.asked == []
