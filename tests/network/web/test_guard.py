"""The guard before every page."""

import re
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from assay.network.web.guard import BURST, RATE, Guard, Rates, get_network, is_known_host
from assay.network.web.http_server import ServingError, list_hosts, list_proxies, make_server
from tests.inference.workers.pooled import wait_until


@pytest.fixture
def client():
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    return TestClient(Guard(app, ("127.0.0.1", "localhost", "::1")), base_url="http://127.0.0.1")


def test_only_reading_is_answered(client):
    assert client.get("/").text == "here"
    assert client.head("/").status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = client.request(method, "/")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"
    assert client.request("GET", "/", content=b"body").status_code == 413


def test_a_name_that_was_made_to_lead_here_is_refused(client):
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "",
        "[::1",
        "127.0.0.1/",
        "x:y",
    ):
        assert client.get("/", headers={"host": host}).status_code == 421, host
    hosts = frozenset(("127.0.0.1", "localhost", "::1"))
    for host in ("127.0.0.1", "LOCALHOST:8400", "[::1]:8400", "localhost:1"):
        assert is_known_host(host, hosts), host


def test_names_that_are_allowed_are_those_that_a_browser_sends():
    allowed = "Explorer.Example", "2001:DB8:0::1", "a-b_c"
    hosts = frozenset(list_hosts("127.0.0.1", allowed))
    for host in ("explorer.example", "EXPLORER.EXAMPLE:443", "[2001:db8::1]:8400", "a-b_c"):
        assert is_known_host(host, hosts), host


def test_every_answer_has_the_policy(client):
    for answer in (client.get("/"), client.post("/"), client.get("/", headers={"host": "evil"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "form-action 'self'" in policy  # the search of miners
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_long_addresses_are_refused(client):
    assert client.get("/?" + "a" * 2_000).status_code == 414


def test_a_client_that_asks_too_much_waits_and_others_do_not():
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert not any(rates.take("10.0.0.1") for _ in range(BURST))
    assert rates.take("10.0.0.1") == 1 / RATE
    assert not rates.take("10.0.0.2")
    now[0] += 1
    assert sum(not rates.take("10.0.0.1") for _ in range(BURST)) == RATE


def test_a_whole_network_of_ipv6_is_one_client():
    rates = Rates(lambda: 0.0)
    assert sum(not rates.take(f"2001:db8::{n:x}") for n in range(BURST + 50)) == BURST


def test_the_table_of_clients_does_not_grow():
    rates = Rates(lambda: 0.0)
    for n in range(20_000):
        rates.take(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(rates.buckets) <= 4_096


SERVER = """
import sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from assay.network.web.http_server import ServerLimits, bind, make_server, serve

async def large(request):
    return Response(b"a" * (32 << 20))

async def small(request):
    return Response(b"here")

opened = bind("127.0.0.1", 0)
print(opened.getsockname()[1], flush=True)
app = Starlette(routes=[Route("/large", large), Route("/", small)])
request_s, answer_s = map(int, sys.argv[1:])
patience = ServerLimits(connections=12, per_client=8, request_s=request_s, answer_s=answer_s)
serve(make_server(app, patience), opened)
"""
ASKED = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextmanager
def serving(request_s, answer_s, program=SERVER):
    """A server in a process of its own: its port."""
    command = [sys.executable, "-c", program, str(request_s), str(answer_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def hasty():
    """With little patience."""
    with serving(1, 2) as port:
        yield port


@pytest.fixture(scope="module")
def calm():
    """With more patience than any machine needs."""
    with serving(600, 600) as port:
        yield port


def test_a_head_of_a_request_that_is_too_large_is_not_read(hasty):
    with socket.create_connection(("127.0.0.1", hasty), 60) as large:
        large.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 40_000)
        assert b"200" not in large.recv(100)


def test_half_a_request_is_not_waited_for(hasty):
    """And others are answered meanwhile."""
    address = ("127.0.0.1", hasty)
    with socket.create_connection(address, 60) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        with socket.create_connection(address, 60) as other:
            other.sendall(ASKED % b"/")
            assert b" 200 " in other.recv(100)
        assert slow.recv(100) == b""  # it was hung up on


def connect(port, client="127.0.0.1"):
    return socket.create_connection(("127.0.0.1", port), 30, source_address=(client, 0))


def ask(opened, path=b"/"):
    """Its answer, whole: head and body may come in pieces."""
    opened.sendall(ASKED % path)
    data = opened.recv(4_096)
    while data and not is_whole(data):
        part = opened.recv(4_096)
        if not part:
            break
        data += part
    return data


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(found) and (length is None or len(body) >= int(length[1]))


def read_to_the_end(opened):
    """The bytes received until the other side hung up."""
    data = b""
    try:
        while part := opened.recv(1 << 16):
            data += part
    except ConnectionResetError:
        pass
    return data


def test_a_client_holds_so_many_connections_and_others_still_come_in(calm):
    held = [connect(calm) for _ in range(8)]
    assert b"200 OK" in ask(held[0])
    refused = connect(calm)
    assert b"503" in read_to_the_end(refused)
    others = [connect(calm, "127.0.0.2") for _ in range(4)]
    assert b"200 OK" in ask(others[0])
    assert b"503" in read_to_the_end(connect(calm, "127.0.0.3")), "twelve in all"
    for one in (*held, *others):
        one.close()
    wait_until(lambda: b"200 OK" in ask_anew(calm))


def ask_anew(port):
    with connect(port) as opened, suppress(ConnectionError):
        return ask(opened)
    return b""


def test_idle_connections_are_hung_up_on(hasty):
    """And those kept alive after an answer."""
    held = [connect(hasty) for _ in range(8)]
    with suppress(ConnectionError):  # a late process is hung up on before
        ask(held[0])
    for one in held:
        assert read_to_the_end(one).count(b"HTTP/1.1") == 0
        one.close()


def test_whoever_reads_a_byte_a_second_is_hung_up_on(hasty):
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.settimeout(30)
    slow.connect(("127.0.0.1", hasty))
    slow.sendall(ASKED % b"/large")
    ended = select.poll()
    ended.register(slow, 0)  # whatever is asked for, the end is told
    said = b""
    while not ended.poll(200):  # 32 MiB at this pace: a year
        said += slow.recv(1)
        assert len(said) < 300
    assert said.startswith(b"HTTP")
    assert len(read_to_the_end(slow)) < 32 << 20


def test_a_body_that_drips_holds_no_connection(hasty):
    with connect(hasty) as opened:
        opened.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n")
        ended = select.poll()
        ended.register(opened, 0)
        sent = 0
        while not ended.poll(200):
            sent += opened.send(b"a")
            assert sent < 300


def test_a_connection_that_goes_on_asking_is_kept(hasty):
    """For longer than one request may take. Where this process itself was late it asks anew."""
    is_kept = False
    until = time.monotonic() + 60
    while not is_kept:
        assert time.monotonic() < until
        with connect(hasty) as opened, suppress(ConnectionError):
            is_kept = all(b"200 OK" in ask_later(opened) for _ in range(8))


def ask_later(opened):
    time.sleep(0.3)
    return ask(opened)


EARLY = """
import os, signal
from starlette.applications import Starlette
from assay.network.web.http_server import bind, make_server, serve

server = make_server(Starlette())
run = server.run

def run_later(**how):
    os.kill(os.getpid(), signal.SIGTERM)
    run(**how)

server.run = run_later
serve(server, bind("127.0.0.1", 0))
"""


def test_sigterm_ends_a_server_that_has_not_begun():
    """A supervisor does not wait until the program listens to signals."""
    process = subprocess.run([sys.executable, "-c", EARLY], timeout=60, check=False)
    assert process.returncode == 0


def ask_behind(peer, forwarded, trusted=("10.0.0.0/8", "127.0.0.1")):
    """The client that a server with these proxies counts a request for."""

    async def tell(request):
        return PlainTextResponse(request.client.host)

    server = make_server(Starlette(routes=[Route("/", tell)]), proxies=list_proxies(trusted))
    server.config.load()
    with TestClient(server.config.loaded_app, client=(peer, 1_234)) as client:
        return client.get("/", headers=[("x-forwarded-for", one) for one in forwarded]).text


def test_a_visitor_behind_trusted_proxies_is_the_last_address_that_is_none_of_theirs():
    for peer, forwarded, client in (
        ("127.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.1.1.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.1.1.1", ["1.1.1.1, 203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        ("10.1.1.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        ("10.1.1.1", ["2001:db8::7"], "2001:db8::7"),
        ("10.1.1.1", [], "10.1.1.1"),
    ):
        assert ask_behind(peer, forwarded) == client, (peer, forwarded)


def test_a_stranger_who_forges_an_address_is_counted_as_itself():
    assert ask_behind("203.0.113.9", ["10.0.0.1"]) == "203.0.113.9"
    assert ask_behind("127.0.0.1", ["203.0.113.9"], trusted=()) == "127.0.0.1"


def test_a_malformed_network_is_no_proxy():
    for text in ("*", "localhost", "10.0.0.1/8", ""):
        with pytest.raises(ServingError, match="--trusted-proxy"):
            list_proxies([text])


def test_ipv4_in_the_dress_of_ipv6_is_one_client_each():
    assert get_network("::ffff:203.0.113.7") == get_network("203.0.113.7")
    assert get_network("::ffff:203.0.113.7") != get_network("::ffff:203.0.113.8")
    assert len(get_network("x" * 10_000)) <= 64


def test_a_client_over_the_limit_is_told_when_to_come_again():
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    with TestClient(Guard(app, ("testserver",), lambda: 0.0, rate=0.1)) as client:
        assert client.get("/").status_code == 200
        refused = client.get("/")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")


def test_connections_of_a_trusted_proxy_are_not_counted_as_one_client():
    proxied = SERVER.replace("make_server(app, patience)", "make_server(app, patience, None, nets)")
    nets = "from ipaddress import ip_network\nnets = [ip_network('127.0.0.1')]\n"
    with serving(600, 600, nets + proxied) as port:
        held = [connect(port) for _ in range(10)]  # eight are a client's share
        assert b"200 OK" in ask(held[-1])
        for one in held:
            one.close()
