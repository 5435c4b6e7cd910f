"""Each group goes once, whatever a server answers."""

import time
from contextlib import closing
from dataclasses import replace

import pytest

from assay.audit.provenance import step_push
from assay.audit.provenance.step_push import push_steps
from assay.network.atropos import (
    PATIENCE,
    GroupRefusedError,
    GroupServer,
    GroupServerError,
    ServerAwayError,
    UnknownDeliveryError,
)
from tests.adversarial.pushing.counts import ALL, GROUPS, count_posts
from tests.adversarial.pushing.group_servers import RECEIVED, PoorServer
from tests.adversarial.test_reexecuting_steps import invoke

HASTY = replace(PATIENCE, silence_s=0.3, total_s=0.5)


def drip(number, handler):
    time.sleep(2)
    return RECEIVED


def answer_twice(number, handler):
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status":"received"}'
    handler.wfile.write(answer)
    return RECEIVED


def send_gigabytes(number, handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(5 << 30))
    handler.end_headers()
    for _ in range(64):
        handler.wfile.write(bytes(1 << 16))
    return RECEIVED


UNCLEAR = {
    "no answer in time": drip,
    "an error of its own": lambda *_: (500, b"Internal Server Error"),
    "a redirect": lambda *_: (307, b""),
    "no JSON": lambda *_: (200, b"\xff" * 100),
    "a list": lambda *_: (200, b"[]"),
    "another status": lambda *_: (200, b'{"status":"thanks"}'),
    "gigabytes": send_gigabytes,
    "JSON nested deeply": lambda *_: (200, b"[" * 50_000),
}


@pytest.mark.parametrize("fault", UNCLEAR)
def test_an_answer_that_says_nothing_clear_stops_it_and_nothing_is_sent_twice(
    known, poor, monkeypatch, fault
):
    poor.script = lambda number, handler: (
        UNCLEAR[fault](number, handler) if number == 1 else RECEIVED
    )
    with monkeypatch.context() as patch:
        if fault == "no answer in time":  # a stall of the machine is one, too, for the others
            patch.setattr(GroupServer.__init__, "__defaults__", (HASTY,))
        with pytest.raises(UnknownDeliveryError, match="nobody knows whether"):
            push_steps(known, poor.url, ALL, wait_s=5)
    assert len(poor.posted) == 2
    summary = push_steps(known, poor.url, ALL, wait_s=5)
    assert (summary.already, summary.sent, len(summary.unknown)) == (1, GROUPS - 2, 1)
    assert summary.left_over == 0
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)
    assert len(poor.posted) == GROUPS


def test_a_server_that_answers_twice_is_heard_once(known, poor):
    poor.script = answer_twice
    assert push_steps(known, poor.url, ALL, wait_s=5).sent == GROUPS
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)


def test_a_refused_group_may_be_sent_again(known, poor):
    poor.script = lambda number, _: RECEIVED if number != 1 else (422, b'{"detail":"no"}')
    with pytest.raises(GroupRefusedError, match=r'refuses the group \(status 422: {"detail":"no"}'):
        push_steps(known, poor.url, ALL, wait_s=5)
    summary = push_steps(known, poor.url, ALL, wait_s=5)
    assert (summary.already, summary.sent, summary.unknown) == (1, GROUPS - 1, [])


def test_a_server_that_is_away_is_waited_for(known, monkeypatch):
    monkeypatch.setattr(step_push, "LOOK_S", 0.01)
    with closing(PoorServer()) as gone:
        port = gone.server_port
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(ServerAwayError, match="took no groups for 0 s"):
        push_steps(known, url, ALL, wait_s=0)
    said, servers = [], []

    def say(line):
        said.append(line)
        if line.startswith("waiting"):
            servers.append(PoorServer(port=port))

    try:
        assert push_steps(known, url, ALL, 60, say=say).sent == GROUPS
        (server,) = servers
        assert count_posts(server.posted) == dict.fromkeys(server.posted, 1)
    finally:
        for server in servers:
            server.close()


def test_a_server_whose_queue_is_full_or_that_began_anew_is_waited_for(known, poor, monkeypatch):
    monkeypatch.setattr(step_push, "LOOK_S", 0.01)
    good, said = dict(poor.answers), []
    full = {"/status": (200, {"current_step": 0, "queue_size": 1_024})}
    anew = {"/info": (200, {"batch_size": -1, "max_token_len": -1})}
    busy = {"/info": (503, b"")}
    troubles = [full, anew, busy]

    def spoil(number, _):
        if number % 5 == 4 and troubles:
            poor.answers |= troubles.pop()
        return RECEIVED

    def say(line):
        said.append(line)
        if line.startswith("waiting"):
            poor.answers |= good

    poor.script = spoil
    assert push_steps(known, poor.url, ALL, 60, say=say).sent == GROUPS
    waits = [line for line in said if line.startswith("waiting")]
    assert len(waits) == 3
    assert "1024 groups wait" in waits[2]
    assert "no trainer has registered" in waits[1]
    assert count_posts(poor.posted) == dict.fromkeys(poor.posted, 1)


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/info", (404, b"not here")),
        ("/info", (200, b"<html>")),
        ("/info", (200, {"batch_size": "many"})),
        ("/status", (200, {"queue_size": -7})),
        ("/register-env", (200, {"status": "success", "env_id": [1]})),
    ],
)
def test_a_server_of_another_protocol_is_refused_at_once(known, poor, path, answer):
    poor.answers[path] = answer
    with pytest.raises(GroupServerError, match="not an Atropos server") as raised:
        push_steps(known, poor.url, ALL, wait_s=60)
    assert not isinstance(raised.value, ServerAwayError)
    assert poor.posted == []


@pytest.mark.parametrize(
    "url", ["ftp://a", "http://me:secret@a", "file:///tmp", "http://a/?k=v", ""]
)
def test_an_address_that_is_none(course, url):
    with pytest.raises(GroupServerError, match=r"http://host:port") as raised:
        push_steps(course, url, ALL, wait_s=0)
    assert "secret" not in str(raised.value)


def test_exit_codes(known, poor):
    """0: all is delivered; 1: nobody knows of a group; 2: the server is away, or refuses one."""
    words = "export", "--dir", str(known), "--wait", "0", "--quiet"
    away = invoke(*words, "--push", "http://127.0.0.1:9")
    assert away.exit_code == 2, away.output
    poor.script = lambda number, _: (500, b"") if number == 1 else RECEIVED
    unclear = invoke(*words, "--push", poor.url)
    assert unclear.exit_code == 1, unclear.output
    assert "nobody knows whether" in unclear.stderr
    assert invoke(*words, "--push", poor.url).exit_code == 1
    assert invoke(*words, "--push", poor.url, "--resend").exit_code == 0
    assert invoke(*words, "--push", poor.url).exit_code == 0
