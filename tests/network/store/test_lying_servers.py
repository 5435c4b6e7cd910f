"""Attacks by whoever serves a locator: each ends soon, with a StoreError and little memory."""

import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest
import trustme

from assay.network import ReadableStores, StoreError, open_store
from assay.network.store import HttpTimeouts, within
from assay.network.store.addresses import is_public, resolve_name
from assay.network.store.locators import WebLocator, read_locator
from tests.network.store.hostile import CALM, DATA, ETAG, HASTY, Hostile, answer, behave

Reach = Callable[..., tuple]


def read_some(store) -> bytes | None:
    return store.open("x").read(100, 200)


def get_some(store) -> bytes | None:
    return store.get("x", 1_000)


# --- where a name leads


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.0.1",
    "172.32.0.1",
    "198.17.0.1",
    "198.20.0.1",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "64:ff9b::808:808",
]


def test_addresses_that_are_not_public() -> None:
    assert [address for address in PRIVATE if is_public(address)] == []
    assert [address for address in PUBLIC if not is_public(address)] == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::1"])
def test_a_name_that_leads_inside(connect, start, address: str) -> None:
    server = start(behave)
    stores = ReadableStores((), connect(False, lambda *_: ["1.1.1.1", address], CALM))
    with pytest.raises(StoreError, match="which is not a public address"):
        read_some(stores.open(f"https://miner.example:{server.port}"))
    assert server.connections == 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:7f00:1]", "localhost"]
)
def test_an_address_in_disguise(connect, start, host: str) -> None:
    server = start(behave)
    stores = ReadableStores((), connect(False, resolve_name, CALM))
    with pytest.raises(StoreError, match=r"not a public address|no address|cannot be read"):
        read_some(stores.open(f"https://{host}:{server.port}"))
    assert server.connections == 0


def test_rebinding_a_name_after_it_was_checked(connect, monkeypatch) -> None:
    """What is connected to is the address that was checked; the name is not looked up again."""
    lookups, connected = [], []

    def resolve(host: str, port: int, seconds: float) -> list[str]:
        lookups.append(host)
        return ["93.184.216.34"] if len(lookups) == 1 else ["127.0.0.1"]

    def connect_nowhere(address: tuple[str, int], *arguments, **more):
        connected.append(address[0])
        raise ConnectionRefusedError("as if")

    monkeypatch.setattr(socket, "create_connection", connect_nowhere)
    client = connect(False, resolve, HASTY)
    with pytest.raises(StoreError, match="cannot be read"):
        read_some(ReadableStores((), client).open("https://miner.example"))
    with pytest.raises(StoreError, match="not a public address"):
        read_some(ReadableStores((), client).open("https://miner.example"))
    assert (lookups, connected) == (["miner.example"] * 2, ["93.184.216.34"])


def test_a_lookup_that_hangs(monkeypatch, connect) -> None:
    free = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [] if free.wait(60) else None)
    with pytest.raises(StoreError, match="did not answer in time"):
        read_some(ReadableStores((), connect(False, patience=HASTY)).open("https://miner.example"))
    free.set()


def test_plain_http_and_private_addresses_where_configured(connect, start) -> None:
    server = start(behave)
    stores = ReadableStores([f"{server.url}/miners"], connect(False, patience=CALM))
    assert read_some(stores.open(f"{server.url}/miners/one")) == DATA[100:200]
    for other in (f"{server.url}/minersx", server.url, f"{server.url}/", "http://example.org/a"):
        assert stores.get(other) is None
    for outside in (f"{server.url}/miners/../x", f"{server.url}/miners//x"):
        with pytest.raises(StoreError):
            stores.get(outside)


SECRETS = [
    "https://user:hunter2@example.org/a",
    "https://hunter2@example.org",
    "https://e.org/a?sig=hunter2",
    "https://e.org/a?X-Amz-Signature=hunter2",
    "https://e.org/a#hunter2",
    "https://e.org/a?",
    "file://u:hunter2@localhost/tmp",
]


@pytest.mark.parametrize("locator", SECRETS)
def test_a_locator_that_carries_a_secret(locator: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(locator)
    assert "not a public locator" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["a" * 71 + "-", "a" * 71 + "!", "a." * 35 + "-", "a-" * 35])
def test_a_locator_that_keeps_the_matcher_busy(host: str) -> None:
    """A host that is none is found out in one pass: on the chain, all validators read it."""
    script = (
        f"from assay.network.store.locators import read_locator; read_locator('https://{host}')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20)
    assert b"is not a store" in done.stderr


@pytest.mark.parametrize(
    "host", ["a", "_a.b-c.example", "127.1", "a1-2.r2.dev", "xn--a-b", "a__b.c"]
)
def test_hosts_that_are_some(host: str) -> None:
    place = read_locator(f"https://{host.upper()}/x")
    assert isinstance(place, WebLocator)
    assert place.host == host


@pytest.mark.parametrize(
    "host", ["a.", "a..b", ".a", "-a", "a-.b", "a.-b", "a%2e", "a" * 64, "\u0430"]
)
def test_hosts_that_are_none(host: str) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        read_locator(f"https://{host}/x")


@pytest.mark.parametrize(
    "text",
    [
        "ht\ntps://ex\tample.com/a\r",
        "  https://example.com",
        "https://example.com/\x00",
        "https://exam\u212ale.com",
        "https://example.com:0443",
        "https://example.com:",
        "https://[::1]:0443",
        "https://[::1]:",
        "https://example.com/a b",
    ],
)
def test_a_locator_has_one_spelling(text: str) -> None:
    with pytest.raises(StoreError, match="is not a store"):
        read_locator(text)
    place = read_locator("https://[::1]:8443/a/")
    assert isinstance(place, WebLocator)
    assert place.url == "https://[::1]:8443/a"


# --- redirects


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "//other.example/x", "/a/x", "file:///etc/passwd"],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(reach: Reach, status: int, target: str) -> None:
    store, server = reach(lambda m, p, h, s: answer(s, status, b"", f"Location: {target}") is None)
    for use in (read_some, get_some, lambda s: s.open("x").size()):
        with pytest.raises(StoreError, match="redirects"):
            use(store)
    assert len(server.asked) == 3


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


# --- what is no answer


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
