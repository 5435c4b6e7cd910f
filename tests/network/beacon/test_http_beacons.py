"""The source of beacons that programs use: real rounds, the order of relays, pauses, settings."""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.network.beacon import (
    QUICKNET_ENDPOINTS,
    BeaconSourceError,
    HttpBeacons,
    LocalBeacon,
    RelayTimeouts,
)
from assay.network.beacon.server import BeaconServer
from assay.protocol.beacon import QUICKNET, Beacon, compute_round_time_ms
from tests.network.beacon.conftest import CALM, GENESIS_MS, NOW_MS, ROUNDS
from tests.network.beacon.recorded_rounds import DATA, TODAY_MS, get_chain, get_recorded
from tests.network.beacon.relay import (
    Answer,
    Relay,
    describe,
    find_closed_port,
    send,
    serve,
    write_answer,
)

Start = Callable[[Answer], Relay]
Open = Callable[..., HttpBeacons]


# real rounds


@pytest.mark.parametrize("name", ["quicknet", "default"])
def test_every_recorded_round_is_found(name: str, start: Start, open_source: Open) -> None:
    recorded = get_recorded(name)
    chain = QUICKNET if name == "quicknet" else get_chain(name)
    source = open_source(start(serve(recorded.get)).url, chain=chain, now_ms=lambda: TODAY_MS)
    for number, fields in recorded.items():
        beacon = source.get(number)
        assert beacon is not None, source.trouble
        assert beacon.randomness.hex() == fields["randomness"]
        assert beacon.previous_signature.hex() == fields.get("previous_signature", "")


@pytest.mark.parametrize("bad", DATA["bad"], ids=lambda bad: f"{bad['chain']}: {bad['reason']}")
def test_a_bad_beacon_is_refused(bad: dict[str, Any], start: Start, open_source: Open) -> None:
    """Asked for the round that it claims, and for the one that it was made of."""
    recorded, chain = get_recorded(bad["chain"]), get_chain(bad["chain"])
    fields = {key: value for key, value in bad.items() if key not in ("chain", "reason")}
    relay, good = start(serve(lambda _: fields)), start(serve(recorded.get))
    for number in {bad["round"], 42 if bad["chain"] == "quicknet" else 367}:
        alone = open_source(relay.url, chain=chain, now_ms=lambda: TODAY_MS)
        assert alone.get(number) is None
        if number in recorded:
            beside = open_source(relay.url, good.url, chain=chain, now_ms=lambda: TODAY_MS)
            beacon = beside.get(number)
            assert beacon is not None
            assert beacon.signature.hex() == recorded[number]["signature"]


@pytest.mark.parametrize("bad", DATA["quicknet"]["negative"], ids=lambda bad: bad["id"])
def test_a_published_bad_encoding_is_refused(
    bad: dict[str, Any], start: Start, open_source: Open
) -> None:
    fields = {"round": bad["round"], "signature": bad["signature"]}
    source = open_source(
        start(serve(lambda _: fields)).url, chain=QUICKNET, now_ms=lambda: TODAY_MS
    )
    assert source.get(bad["round"]) is None


# which relay, and how it is asked


def test_the_chain_hash_and_the_round_are_in_the_path(
    honest: Relay, open_source: Open, local: LocalBeacon
) -> None:
    assert open_source(honest.url + "/drand/").get(7) == local.get(7)
    assert honest.asked == [f"/drand/{local.chain.chain_hash.hex()}/public/7"]


def test_a_relay_of_the_second_version_only_is_learnt(
    start: Start, open_source: Open, local: LocalBeacon
) -> None:
    def get(number: int) -> Any:
        fields = describe(local.get(number) or Beacon(0, b""))
        del fields["randomness"]
        return fields

    second = serve(get)

    async def answer(path: str, writer: Any) -> None:
        await (second if path.startswith("/v2/chains/") else send(write_answer(b"", 404)))(
            path, writer
        )

    relay = start(answer)
    source = open_source(relay.url)
    assert source.get(7) == local.get(7)
    assert source.get(8) == local.get(8)
    chain = local.chain.chain_hash.hex()
    assert relay.asked == [
        f"/{chain}/public/7",
        f"/v2/chains/{chain}/rounds/7",
        f"/v2/chains/{chain}/rounds/8",
    ]


def test_a_quick_answer_leaves_the_others_alone(
    honest: Relay, start: Start, open_source: Open
) -> None:
    second = start(send(write_answer(b"", 500)))
    source = open_source(honest.url, second.url)
    assert source.get(7)
    assert (len(honest.asked), len(second.asked)) == (1, 0)


def test_a_failure_does_not_wait_for_the_stagger(
    honest: Relay, start: Start, open_source: Open
) -> None:
    """With a stagger longer than the race, only a failure brings the next relay in."""
    first = start(send(write_answer(b"", 500)))
    assert open_source(first.url, honest.url).get(7)


def test_the_quicker_relay_is_asked_first_once_both_are_known(
    honest: Relay, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    slow = start(serve(lambda number: describe(local.get(number) or Beacon(0, b"")), 0.5))
    source = open_source(slow.url, honest.url)
    for number in range(1, 9):
        assert source.get(number)
    assert len(slow.asked) == 1  # its turn as the operator's first; the other is quicker since
    assert len(honest.asked) == 7


def test_a_proxy_of_the_environment_is_not_used(
    honest: Relay, open_source: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, find_closed_port())
    assert open_source(honest.url).get(7)


def test_a_relay_that_falls_silent_is_overtaken_at_its_own_pace(
    honest: Relay, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    """It used to be quick, so the next one is asked long before the stagger is over."""
    moody = start(serve(lambda number: describe(local.get(number) or Beacon(0, b""))))
    source = open_source(moody.url, honest.url, patience=replace(CALM, hedge=3))
    assert source.get(1)
    assert source.get(2)  # both are known

    async def stall(_: str, writer: Any) -> None:
        await asyncio.sleep(3_600)

    moody.answer = stall
    for number in range(3, 43):  # long enough for the silent one to come first again
        assert source.get(number) == local.get(number)


# rounds that are not out


def test_a_round_is_not_asked_for_before_its_time(
    honest: Relay, open_source: Open, local: LocalBeacon
) -> None:
    now_ms = NOW_MS
    source = open_source(honest.url, now_ms=lambda: now_ms, patience=replace(CALM, settle_s=0.1))
    assert source.get(ROUNDS + 1) is None
    now_ms = NOW_MS + 1_099
    assert source.get(ROUNDS + 1) is None
    assert honest.asked == []
    assert source.trouble == ""
    now_ms = NOW_MS + 1_100
    assert source.get(ROUNDS + 1) is None  # asked for, and not out by the relay's clock
    assert len(honest.asked) == 2  # in both versions, since old relays say 404 for either
    assert source.trouble == ""


@pytest.mark.parametrize(("period_ms", "settles_ms"), [(1_000, 166), (3_000, 500), (30_000, 500)])
def test_a_cdn_is_never_asked_for_what_it_would_remember_not_to_have(
    period_ms: int, settles_ms: int, start: Start, open_source: Open
) -> None:
    """As in drand/drand#774: the CDN of a relay keeps each "not found" for longer than a window."""
    now_ms = GENESIS_MS + 40 * period_ms
    local = LocalBeacon(b"seed", GENESIS_MS, period_ms, lambda: now_ms - 100)  # it takes a while
    kept: set[str] = set()

    async def answer(path: str, writer: Any) -> None:
        beacon = None if path in kept else local.get(int(path.rsplit("/", 1)[1]))
        if beacon is None:
            kept.add(path)
            writer.write(write_answer(b"", 404))
        else:
            writer.write(write_answer(json.dumps(describe(beacon)).encode()))

    relay = start(answer)
    patience = RelayTimeouts(pause_s=0.0, longest_pause_s=0.0)
    source = open_source(relay.url, chain=local.chain, now_ms=lambda: now_ms, patience=patience)
    number = local.get_newest_round() + 2
    due_ms = compute_round_time_ms(local.chain, number)
    for at_ms in range(due_ms - 1_000, due_ms + settles_ms, 50):
        now_ms = at_ms
        assert source.get(number) is None
    assert kept == set()
    now_ms = due_ms + settles_ms + 1
    assert source.get(number) == local.get(number) is not None


@pytest.mark.parametrize("number", [0, -1, 2**63, 2**64, 2**80])
def test_a_round_that_cannot_be_is_not_asked_for(
    number: int, honest: Relay, open_source: Open
) -> None:
    assert open_source(honest.url).get(number) is None
    assert honest.asked == []


def test_a_clock_that_is_set_an_hour_back_costs_nothing_and_is_said(
    honest: Relay, open_source: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller that asks for a round has seen the block that names it: the round is out, or about
    to be."""
    now_ms = NOW_MS - 3_600_000
    source = open_source(honest.url, now_ms=lambda: now_ms)
    for number in range(ROUNDS - 3, ROUNDS):
        beacon = source.get(number)
        assert beacon is not None
        assert beacon.round == number
        assert "check the clock" in source.trouble
    assert source.get(ROUNDS + 50) is None  # not out by the relay's own clock
    now_ms = NOW_MS
    assert source.get(ROUNDS) is not None
    assert source.trouble == ""
    assert caplog.text.count("check the clock") == 1
    assert caplog.text.count("clock is right again") == 1


def test_a_clock_that_is_set_an_hour_ahead_costs_nothing_and_is_said(
    honest: Relay, start: Start, open_source: Open
) -> None:
    source = open_source(honest.url, now_ms=lambda: NOW_MS + 3_600_000)
    assert source.get(ROUNDS) is not None
    assert source.get(ROUNDS + 1) is None  # asked for, and not out
    assert "due for 3599 s" in source.trouble
    assert "this machine's clock is ahead" in source.trouble
    assert source.get(ROUNDS - 1) is not None
    broken = start(send(write_answer(b"", 500)))  # knows nothing of when a round is out
    late = open_source(broken.url, now_ms=lambda: NOW_MS + 3_600_000)
    assert late.get(ROUNDS + 1) is None
    assert "due for 3599 s" in late.trouble
    assert "clock" not in late.trouble
    beside = open_source(broken.url, honest.url, now_ms=lambda: NOW_MS + 3_600_000)
    assert beside.get(ROUNDS + 1) is None
    assert "this machine's clock is ahead" in beside.trouble


@pytest.mark.parametrize("status", [404, 425])
def test_a_round_that_is_late_is_waited_for(
    status: int,
    start: Start,
    open_source: Open,
    local: LocalBeacon,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not out anywhere: no trouble at first, a trouble that is said once after ten seconds."""
    relay = start(send(write_answer(b"not yet", status)))
    now_ms = NOW_MS + 1_000
    source = open_source(relay.url, now_ms=lambda: now_ms)
    assert source.get(ROUNDS) is None
    assert source.trouble == ""
    now_ms += 20_000
    with caplog.at_level(logging.INFO, "assay.beacon"):
        assert source.get(ROUNDS) is None
        assert source.get(ROUNDS) is None
        assert "does not have it yet" in source.trouble
        relay.answer = serve(lambda number: describe(local.get(number) or Beacon(0, b"")))
        assert source.get(ROUNDS) == local.get(ROUNDS)
    assert source.trouble == ""
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_one_relay_behind_does_not_hold_the_others_up(
    honest: Relay, start: Start, open_source: Open, local: LocalBeacon
) -> None:
    behind = start(send(write_answer(b"", 425)))
    assert open_source(behind.url, honest.url).get(7) == local.get(7)


def test_relays_are_not_hammered(start: Start, open_source: Open) -> None:
    relay = start(send(write_answer(b"", 425)))
    source = open_source(relay.url, patience=replace(CALM, pause_s=3_600, longest_pause_s=3_600))
    for _ in range(50):
        assert source.get(7) is None
    assert len(relay.asked) == 1
    assert source.get(8) is None  # another round is another matter
    assert len(relay.asked) == 2


def test_the_pauses_are_bounded(start: Start, open_source: Open) -> None:
    source = open_source(find_closed_port(), patience=replace(CALM, pause_s=3_600))
    for number in range(1, ROUNDS + 1):
        assert source.get(number) is None
    assert len(source.pauses) <= 64


# what it is given


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.drand.sh",
        "ftp://api.drand.sh",
        "https://",
        "https://user:word@api.drand.sh",
        "https://api.drand.sh/?a=b",
        "https://api.drand.sh/#a",
        "https://api.drand.sh:99999",
        "https://api.drand.sh:0",
        "http://[::1",
        "http://a b",
        "http://host/{x}",
        "http://host/\n",
    ],
)
def test_an_invalid_address_is_refused(url: str, local: LocalBeacon, tmp_path: Path) -> None:
    with pytest.raises(BeaconSourceError, match="is not an address of a drand relay"):
        HttpBeacons(local.chain, [url], tmp_path, lambda: 0)


def test_a_password_in_an_address_is_not_repeated(local: LocalBeacon, tmp_path: Path) -> None:
    with pytest.raises(BeaconSourceError) as raised:
        HttpBeacons(local.chain, ["https://me:hunter2@host"], tmp_path, lambda: 0)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("count", [0, 17])
def test_too_few_or_too_many_relays(count: int, local: LocalBeacon, tmp_path: Path) -> None:
    urls = [f"http://127.0.0.1:{port}" for port in range(1, count + 1)]
    with pytest.raises(BeaconSourceError, match=f"{count} relays"):
        HttpBeacons(local.chain, urls, tmp_path, lambda: 0)


def test_quicknet_has_public_relays(tmp_path: Path) -> None:
    with closing(HttpBeacons(QUICKNET, (), tmp_path, lambda: 0)) as source:
        assert [f"https://{f.name}" for f in source.figures] == list(QUICKNET_ENDPOINTS)
        assert source.get(1) is None  # nobody is asked: it is 1970


def test_one_relay_named_twice_is_one(honest: Relay, open_source: Open) -> None:
    source = open_source(honest.url, honest.url + "/")
    assert len(source.figures) == 1


# the check of relays


def test_relays_are_checked_against_the_pin(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    local = LocalBeacon(b"pinned", GENESIS_MS, 1_000, lambda: NOW_MS)
    other = LocalBeacon(b"another", GENESIS_MS, 1_000, lambda: NOW_MS)
    with closing(BeaconServer(local)) as good, closing(BeaconServer(other)) as ignorant:
        liar = start(lambda path, writer: _send_info(other, writer))
        urls = [good.url, ignorant.url, liar.url, dead := find_closed_port()]
        patience = RelayTimeouts(stagger_s=0.01, pause_s=0)
        source = HttpBeacons(local.chain, urls, tmp_path, lambda: NOW_MS, patience)
        with closing(source):
            with caplog.at_level(logging.WARNING, "assay.beacon"):
                assert source.check() == (found := source.check())
            assert len(caplog.records) == 1  # a liar is named once
            assert found[good.url] == ""
            assert found[ignorant.url] == "does not know the chain"
            assert other.chain.chain_hash.hex() in found[liar.url]
            assert "ConnectError" in found[dead]
            assert source.get(7) == local.get(7)


async def _send_info(beacons: LocalBeacon, writer: Any) -> None:
    from assay.network.beacon.chain_info import describe_chain

    writer.write(write_answer(json.dumps(describe_chain(beacons.chain, "x", 1)).encode()))
