"""The targets of locators: public addresses, by one spelling and one look-up, with no redirect."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from assay.network.store.addresses import is_public, resolve_name
from assay.network.store.base import StoreError
from assay.network.store.locators import WebLocator, read_locator
from assay.network.store.opening import ReadableStores, open_store
from tests.network.store.hostile import CALM, DATA, HASTY, answer, behave, get_some, read_some

Reach = Callable[..., tuple]


# --- where a name leads


PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "161.26.0.10",
    "166.9.0.1",
    "168.63.129.16",
    "64:ff9b::a83f:8110",
    "192.80.8.124",
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
    "168.63.129.15",
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
    """The connection goes to the checked address; the name is not looked up again."""
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
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert b"is not a store" in done.stderr


@pytest.mark.parametrize(
    "host", ["a", "_a.b-c.example", "127.1", "a1-2.r2.dev", "xn--a-b", "a__b.c"]
)
def test_hosts_that_are_valid(host: str) -> None:
    place = read_locator(f"https://{host.upper()}/x")
    assert isinstance(place, WebLocator)
    assert place.host == host


@pytest.mark.parametrize(
    "host", ["a.", "a..b", ".a", "-a", "a-.b", "a.-b", "a%2e", "a" * 64, "\u0430"]
)
def test_hosts_that_are_not_valid(host: str) -> None:
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
