"""Relays that fail or lie: alone they give nothing, beside a good one nothing is lost.

Nothing here measures time: a good relay has won if its beacon is there, for a race that was not won
gives none.
"""

import gzip
import json
import logging
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest

from assay.network.beacon import HttpBeacons, LocalBeacon
from assay.network.beacon.relay_endpoint import ANSWER_MAX
from tests.network.beacon.conftest import CALM, EAGER, HASTY, ROUNDS
from tests.network.beacon.relay import (
    ENDLESS,
    Answer,
    DeafRelay,
    Relay,
    describe,
    drip,
    find_closed_port,
    pour,
    send,
    send_and_stall,
    serve,
    write_answer,
)

ROUND = 42
Start = Callable[[Answer], Relay]
Open = Callable[..., HttpBeacons]

LOCAL = LocalBeacon(b"relays", 1_700_000_000_000, 1_000, lambda: 1_700_000_100_000)
OTHER = LocalBeacon(b"another chain", 1_700_000_000_000, 1_000, lambda: 1_700_000_100_000)


def sign(beacons: LocalBeacon, number: int = ROUND, **changes: Any) -> dict[str, Any]:
    beacon = beacons.get(number)
    assert beacon is not None
    return describe(beacon, **changes)


def write(fields: Any) -> bytes:
    return json.dumps(fields).encode()


TRUE = write(sign(LOCAL))
OK = b"HTTP/1.1 200 OK\r\n"

#: Stall → the relay's answer. Each error says that there was no answer within the deadline.
STALLS: dict[str, Answer] = {
    "never answers": send_and_stall(b""),
    "stalls in its head": send_and_stall(OK + b"Content-Le"),
    "stalls in its body": send_and_stall(write_answer(TRUE)[:-9]),
    "drips": drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000, 0.01),
}
#: Failure → (the relay's answer, words of the error).
FAILURES: dict[str, tuple[Answer, str]] = {
    "head without end": (pour(OK, b"X-Filler: " + b"y" * 1_000 + b"\r\n"), "cannot be read"),
    "interim answers without end": (
        pour(b"", b"HTTP/1.1 103 -\r\n\r\n" * 500),
        "it sends more than an answer has",
    ),
    "body without end": (pour(OK + b"\r\n", b" " * 1_000), "more than 4096 bytes"),
    "chunks without end": (
        pour(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"3e8\r\n" + b" " * 1_000 + b"\r\n"),
        "more than 4096 bytes",
    ),
    "announces a terabyte": (
        pour(write_answer(b"", length=ENDLESS), b" " * 1_000),
        "more than 4096 bytes",
    ),
    "one byte more than allowed": (
        send(write_answer(TRUE + b" " * (ANSWER_MAX + 1 - len(TRUE)))),
        "more than 4096 bytes",
    ),
    "cut in its body": (send(write_answer(TRUE, length=len(TRUE) + 9)), "cannot be read"),
    "length too short": (send(write_answer(TRUE, length=len(TRUE) - 9)), "is not JSON"),
    "two lengths": (send(write_answer(TRUE, more="Content-Length: 7\r\n")), "cannot be read"),
    "compressed": (
        send(write_answer(gzip.compress(TRUE), more="Content-Encoding: gzip\r\n")),
        "compressed",
    ),
    "bomb": (
        send(write_answer(gzip.compress(b" " * 2_000_000), more="Content-Encoding: gzip\r\n")),
        "compressed",
    ),
    "hangs up": (send(b""), "cannot be read"),
    "no HTTP": (send(b"\x00\xff\x16\x03\x01 SSH-2.0 \r\n\r\n" * 9), "cannot be read"),
    "no JSON": (send(write_answer(b"<html>log in first</html>")), "is not JSON"),
    "not UTF-8": (send(write_answer(b"\xff\xfe" + TRUE)), "is not JSON"),
    "deep JSON": (send(write_answer(b"[" * 4_000)), "is not JSON"),
    "a list": (send(write_answer(b"[1]")), "not a JSON object"),
    "no round": (send(write_answer(write({"signature": "00"}))), "no round"),
    "a round in words": (send(write_answer(write(sign(LOCAL, round="42")))), "no round"),
    "a round that is true": (send(write_answer(write(sign(LOCAL, round=True)))), "no round"),
    "a round below zero": (send(write_answer(write(sign(LOCAL, round=-42)))), "no round"),
    "two rounds": (send(write_answer(b'{"round": 41, ' + TRUE[1:])), "occurs twice"),
    "no signature": (send(write_answer(write({"round": ROUND}))), "not lower-case hex"),
    "no hex": (send(write_answer(write(sign(LOCAL, signature="zz")))), "not lower-case hex"),
    "500": (send(write_answer(TRUE, 500)), "answered with status 500"),
    "429": (send(write_answer(b"", 429)), "answered with status 429"),
    "204": (send(b"HTTP/1.1 204 No Content\r\n\r\n"), "answered with status 204"),
}
#: Lie → (the relay's answer, words of the error).
LIES: dict[str, tuple[Answer, str]] = {
    "round before": (send(write_answer(write(sign(LOCAL, ROUND - 1)))), "sent round 41"),
    "newest round": (send(write_answer(write(sign(LOCAL, ROUNDS)))), "sent round 100"),
    "another round's signature": (
        send(write_answer(write(sign(LOCAL, ROUND - 1, round=ROUND)))),
        "false signature",
    ),
    "another chain's beacon": (send(write_answer(write(sign(OTHER)))), "false signature"),
    "another randomness": (
        send(write_answer(write(sign(LOCAL, randomness="00" * 32)))),
        "false randomness",
    ),
}


@pytest.mark.parametrize("name", FAILURES | LIES)
def test_alone_gives_nothing(name: str, start: Start, open_source: Open) -> None:
    answer, words = (FAILURES | LIES)[name]
    relay = start(answer)
    source = open_source(relay.url)
    assert source.get(ROUND) is None
    assert words in source.trouble
    assert f"round {ROUND}" in source.trouble
    assert source.trouble.isprintable()
    assert len(source.trouble) < 600
    assert len(relay.asked) == 1


@pytest.mark.parametrize("name", FAILURES | LIES)
def test_the_good_one_beside_it_wins(
    name: str, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    bad = start((FAILURES | LIES)[name][0])
    good = start(serve(lambda number: sign(local, number)))
    source = open_source(bad.url, good.url)
    assert source.get(ROUND) == local.get(ROUND)
    assert (len(bad.asked), len(good.asked)) == (1, 1)
    assert source.trouble == ""


@pytest.mark.parametrize("name", STALLS)
def test_a_stall_alone_ends_with_the_deadline(name: str, start: Start, open_source: Open) -> None:
    source = open_source(start(STALLS[name]).url, patience=HASTY)
    assert source.get(ROUND) is None
    assert "did not answer within 0.2 s" in source.trouble


@pytest.mark.parametrize("name", STALLS)
def test_a_stall_is_overtaken(
    name: str, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    """The deadline is far: only a second relay asked meanwhile gives the beacon in time."""
    bad, good = start(STALLS[name]), start(serve(lambda number: sign(local, number)))
    source = open_source(bad.url, good.url, patience=EAGER)
    assert source.get(ROUND) == local.get(ROUND)
    assert len(good.asked) == 1


def test_a_race_of_stalls_ends_with_its_own_deadline(start: Start, open_source: Open) -> None:
    urls = [start(answer).url for answer in STALLS.values()]
    source = open_source(*urls, patience=replace(EAGER, total_s=0.2))
    assert source.get(ROUND) is None
    assert "nobody else answered within 0.2 s" in source.trouble


def test_a_half_open_relay(
    stack: ExitStack, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    deaf = stack.enter_context(closing(DeafRelay()))
    alone = open_source(deaf.url, patience=HASTY)
    assert alone.get(ROUND) is None
    assert "did not answer" in alone.trouble
    good = start(serve(lambda number: sign(local, number)))
    assert open_source(deaf.url, good.url, patience=EAGER).get(ROUND) == local.get(ROUND)


def test_a_relay_that_refuses_connections(
    start: Start, open_source: Open, local: LocalBeacon
) -> None:
    url = find_closed_port()
    alone = open_source(url)
    assert alone.get(ROUND) is None
    assert "ConnectError" in alone.trouble
    good = start(serve(lambda number: sign(local, number)))
    assert open_source(url, good.url).get(ROUND) == local.get(ROUND)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status: int, start: Start, open_source: Open) -> None:
    aim = start(serve(lambda number: sign(LOCAL, number)))
    where = f"Location: {aim.url}/{LOCAL.chain.chain_hash.hex()}/public/{ROUND}\r\n"
    source = open_source(start(send(write_answer(b"", status, more=where))).url)
    assert source.get(ROUND) is None
    assert f"status {status}" in source.trouble
    assert aim.asked == []


def test_a_redirect_to_nowhere_is_a_failure(start: Start, open_source: Open) -> None:
    relay = start(send(write_answer(b"", 302, more="Location: http://[\r\n")))
    source = open_source(relay.url)
    assert source.get(ROUND) is None
    assert source.trouble


def test_every_relay_fails_at_once(start: Start, open_source: Open) -> None:
    relays = [start(answer) for answer, _ in FAILURES.values()][:12]
    source = open_source(*(relay.url for relay in relays), patience=replace(CALM, stagger_s=0))
    assert source.get(ROUND) is None
    assert all(len(relay.asked) == 1 for relay in relays)


@pytest.mark.parametrize("name", LIES)
def test_a_liar_is_set_aside_and_named_once(
    name: str, start: Start, open_source: Open, caplog: pytest.LogCaptureFixture
) -> None:
    liar, good = start(LIES[name][0]), start(serve(lambda number: sign(LOCAL, number)))
    source = open_source(liar.url, good.url)
    with caplog.at_level(logging.WARNING, "assay.beacon"):
        for number in range(ROUND, ROUND + 5):
            assert source.get(number) == LOCAL.get(number)
    assert (len(liar.asked), len(good.asked)) == (1, 5)
    assert [record.message.split()[0] for record in caplog.records] == [liar.url[7:]]


def test_nobody_is_left_when_all_have_lied(start: Start, open_source: Open) -> None:
    liars = [start(answer) for answer, _ in LIES.values()]
    source = open_source(*(liar.url for liar in liars))
    assert source.get(ROUND) is None
    assert source.get(ROUND) is None
    assert "every relay is set aside" in source.trouble
    assert [len(liar.asked) for liar in liars] == [1] * len(liars)


def test_a_relay_that_failed_is_asked_again(start: Start, open_source: Open) -> None:
    relay = start(send(write_answer(b"", 500)))
    source = open_source(relay.url)
    assert source.get(ROUND) is None
    relay.answer = serve(lambda number: sign(LOCAL, number))
    assert source.get(ROUND) == LOCAL.get(ROUND)
    assert source.trouble == ""


def test_another_round_is_never_taken(start: Start, open_source: Open) -> None:
    """Every relay sends genuine beacons of other rounds: none of them replaces this one."""
    newer = start(serve(lambda number: sign(LOCAL, number + 1)))
    older = start(serve(lambda number: sign(LOCAL, number - 1)))
    source = open_source(newer.url, older.url)
    assert source.get(ROUND) is None
    assert source.get(ROUND + 1) is None


def test_a_previous_signature_does_not_ride_along(start: Start, open_source: Open) -> None:
    """On an unchained network nothing signs it: it would enter records unverified."""
    relay = start(send(write_answer(write(sign(LOCAL, previous_signature="ab" * 96)))))
    assert open_source(relay.url).get(ROUND) == LOCAL.get(ROUND)


def test_a_cookie_is_not_kept(start: Start, open_source: Open) -> None:
    async def answer(path: str, writer: Any) -> None:
        fields = sign(LOCAL, int(path.rsplit("/", 1)[1]))
        writer.write(write_answer(write(fields), more="Set-Cookie: who=you\r\n"))

    relay = start(answer)
    source = open_source(relay.url)
    assert source.get(ROUND)
    assert source.get(ROUND + 1)
    assert not any("cookie" in line.lower() for lines in relay.headers for line in lines)
