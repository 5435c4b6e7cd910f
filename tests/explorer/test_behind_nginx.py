"""Public mode behind a real nginx: limits count the visitor and not the proxy, a forged header
helps nobody, and nginx's cache keeps what it may.
"""

import http.client
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager

import pytest

from assay.explorer.routes import STREAMS_PER_CLIENT
from tests.explorer.program import serve

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="install Debian's nginx to run these"),
]
#: Requests a second of one visitor, so few that it gets one answer, and no other within a minute.
RATE = 0.01
CONFIG = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  proxy_cache_path {folder}/cache keys_zone=pages:1m;
  server {{
    listen 127.0.0.1:{port}; {second}
    location / {{
      proxy_pass {explorer};
      proxy_set_header Host explorer.example;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      {more}
    }}
  }}
}}
"""
CACHE = "proxy_cache pages; proxy_cache_revalidate on; add_header X-Cache $upstream_cache_status;"


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


def find_free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def start_nginx(folder, explorer, more=""):
    """nginx before an explorer, on 127.0.0.1 and, where there is one, ::1; its port."""
    while True:
        port = find_free_port()
        second = f"listen [::1]:{port};" if has_ipv6() else ""
        text = CONFIG.format(folder=folder, port=port, second=second, more=more, explorer=explorer)
        (folder / "nginx.conf").write_text(text)
        command = [NGINX, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                if not listens(process, folder / "nginx.pid"):
                    said = process.stderr.read()
                    assert "Address already in use" in said, said  # another test has taken the port
                    continue
                yield port
                return
            finally:
                process.terminate()


def listens(process, pid):
    """Wait until nginx has bound its ports, and so writes its file; False: it has ended."""
    ends = time.monotonic() + 60
    while not pid.exists():
        if process.poll() is not None:
            return False
        assert time.monotonic() < ends
        time.sleep(0.05)
    return True


def ask(port, path="/gauntlet", source="127.0.0.2", forged=None, host="127.0.0.1", **headers):
    """Status and headers of an answer to a visitor of an address."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if forged is not None:
        headers["X-Forwarded-For"] = forged
    came_from = (source, 0) if source else None
    connection = http.client.HTTPConnection(host, port, timeout=60, source_address=came_from)
    try:
        connection.request("GET", path, headers={"Accept": "text/html", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        connection.close()


def exhaust(port, **asked):
    """A visitor's one request, and one that is refused."""
    assert ask(port, **asked)[0] == 200
    status, headers = ask(port, **asked)
    assert status == 429
    assert 1 <= int(headers["Retry-After"]) <= 1 / RATE
    assert headers["Cache-Control"] == "no-cache"


@pytest.fixture
def trusting(demo, tmp_path):
    """nginx before an explorer that trusts it, for visitors with a low rate."""
    options = ("--rate", RATE, "--allow-host", "explorer.example")
    trust = ("--trusted-proxy", "127.0.0.1", "--trusted-proxy", "::1")
    with (
        serve(demo.parent, "--dir", demo.name, *options, *trust) as explorer,
        start_nginx(tmp_path, explorer.address.rstrip("/")) as port,
    ):
        yield explorer, port


def test_each_visitor_has_a_limit_of_its_own(trusting):
    _, port = trusting
    exhaust(port, source="127.0.0.2")
    assert ask(port, source="127.0.0.3")[0] == 200, "another visitor pays nothing for the first"


def test_a_forged_header_gives_nobody_a_new_limit(trusting):
    """nginx appends the address that it sees, and the last that is no proxy's counts."""
    _, port = trusting
    exhaust(port, source="127.0.0.2")
    for forged in ("10.9.8.7", "127.0.0.3", "2001:db8::1", "127.0.0.1, 10.1.1.1", "nonsense", ""):
        assert ask(port, source="127.0.0.2", forged=forged)[0] == 429, forged
    # nor can it use up another's
    exhaust(port, source="127.0.0.4", forged="127.0.0.5")
    assert ask(port, source="127.0.0.5")[0] == 200


def test_a_client_that_is_no_proxy_is_not_believed(trusting):
    """Past nginx, from an address that is not trusted."""
    explorer, _ = trusting
    port = explorer.port
    exhaust(port, source="127.0.0.6", forged="10.0.0.1")
    assert ask(port, source="127.0.0.6", forged="10.0.0.2")[0] == 429
    assert ask(port, source="127.0.0.7")[0] == 200


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_visitors_of_ipv6_count_by_their_network(trusting):
    """A second proxy, on ::1, names visitors of IPv6: a /64 is one of them."""
    _, port = trusting
    asked = {"host": "::1", "source": None}
    exhaust(port, forged="2001:db8:1:1::1", **asked)
    assert ask(port, forged="2001:db8:1:1:ffff::9", **asked)[0] == 429, "the same /64"
    assert ask(port, forged="2001:db8:1:2::1", **asked)[0] == 200, "another /64"
    # an address of IPv4 in the dress of IPv6 is that of IPv4
    exhaust(port, source="127.0.0.8")
    assert ask(port, forged="::ffff:127.0.0.8", **asked)[0] == 429


def test_without_trust_all_visitors_share_one_limit(demo, tmp_path):
    options = ("--rate", RATE, "--allow-host", "explorer.example")
    with (
        serve(demo.parent, "--dir", demo.name, *options) as explorer,
        start_nginx(tmp_path, explorer.address.rstrip("/")) as port,
    ):
        exhaust(port, source="127.0.0.2", forged="10.0.0.1")
        assert ask(port, source="127.0.0.3", forged="10.0.0.2")[0] == 429


def test_a_cache_spares_the_explorer_and_asks_again_in_time(demo, tmp_path):
    options = ("--allow-host", "explorer.example", "--trusted-proxy", "127.0.0.1")
    with (
        serve(demo.parent, "--dir", demo.name, *options) as explorer,
        start_nginx(tmp_path, explorer.address.rstrip("/"), CACHE) as port,
    ):
        status, first = ask(port)
        assert (status, first["X-Cache"]) == (200, "MISS")
        assert first["Cache-Control"] == "public, max-age=5"
        assert ask(port, source="127.0.0.3")[1]["X-Cache"] == "HIT"
        as_json = ask(port, Accept="application/json")[1]
        assert (as_json["Content-Type"], as_json["X-Cache"]) == ("application/json", "MISS")
        assert ask(port, If_None_Match=first["ETag"])[0] == 304
        assert ask(port, path="/window/999999")[0] == 404
        assert ask(port, path="/window/999999")[1]["X-Cache"] != "HIT"
        ends = time.monotonic() + 60
        while ask(port)[1]["X-Cache"] == "HIT":
            assert time.monotonic() < ends
            time.sleep(0.5)
        assert ask(port)[0] == 200


def test_live_pages_pass_and_are_counted_by_visitor(demo, tmp_path):
    options = ("--allow-host", "explorer.example", "--trusted-proxy", "127.0.0.1")
    with (
        ExitStack() as stack,
        serve(demo.parent, "--dir", demo.name, *options) as explorer,
        start_nginx(tmp_path, explorer.address.rstrip("/"), CACHE) as port,
    ):

        def listen(source):
            opened = http.client.HTTPConnection("127.0.0.1", port, 60, source_address=(source, 0))
            stack.callback(opened.close)
            opened.request("GET", "/events")
            return opened.getresponse()

        for _ in range(STREAMS_PER_CLIENT):
            assert listen("127.0.0.2").readline() == b"retry: 3000\n"
        assert listen("127.0.0.2").status == 503
        assert listen("127.0.0.3").readline() == b"retry: 3000\n"
