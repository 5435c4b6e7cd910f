"""Beacons through the proxy: relays with every fault, and the chain as one more source."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

from assay.network.beacon import HttpBeacons, LocalBeacon, RelayTimeouts
from assay.network.beacon.server import BeaconServer
from assay.network.chain.errors import ChainError
from assay.protocol.beacon import QUICKNET
from tests.faults.connections import wait_until
from tests.faults.proxy import HTTP_FAULTS, FaultProxy
from tests.integration.chain.nets import RuntimeNet, ask

Before = Callable[[str], FaultProxy]

LOCAL = LocalBeacon(b"faults", 1_700_000_000_000, 1_000, lambda: 1_700_000_100_000)
NOW_MS = 1_700_000_100_000
#: A relay that stalls is given up soon, and a round that was missed may be asked for at once.
SOON = RelayTimeouts(stagger_s=0.05, answer_s=0.5, total_s=1.0, pause_s=0)
#: A good one is waited for, however busy this machine is.
PATIENT = replace(SOON, answer_s=60.0, total_s=60.0)
#: Under these a relay is as good as any other; a byte too many or too few where JSON ends is one.
HARMLESS = ("latency", "wrong range", "shifted range", "whole body")
DATA = json.loads((Path(__file__).parents[1] / "data" / "drand-beacons.json").read_text())


@pytest.fixture(scope="module")
def relay() -> Iterator[str]:
    with closing(BeaconServer(LOCAL)) as server:
        yield server.url


@pytest.mark.parametrize("name", HTTP_FAULTS)
def test_each_fault_of_a_relay(
    name: str, relay: str, before: Before, stack: ExitStack, tmp_path: Path
) -> None:
    """Alone it gives this round's beacon or none; with a good one beside it nothing is lost."""
    proxy = before(relay)

    def open_source(folder: str, patience: RelayTimeouts, *urls: str) -> HttpBeacons:
        source = HttpBeacons(LOCAL.chain, urls, tmp_path / folder, lambda: NOW_MS, patience)
        return stack.enter_context(closing(source))

    alone = open_source("alone", PATIENT if name in HARMLESS else SOON, proxy.url)
    wait_until(lambda: alone.get(1) == LOCAL.get(1))  # a connection that the fault may strike
    proxy.set_fault(name, delay_s=0.01)
    found = alone.get(2)
    assert found == (LOCAL.get(2) if name in HARMLESS else None)
    assert (alone.trouble == "") == (found is not None)
    assert open_source("beside", PATIENT, proxy.url, relay).get(3) == LOCAL.get(3)
    assert (proxy.hits[name] >= 1) == ("range" not in name and name != "whole body")
    proxy.clear()
    fresh = open_source("fresh", PATIENT, proxy.url)  # one that has lied is left alone for a while
    assert fresh.get(4) == LOCAL.get(4)


def get_rounds() -> list[tuple[int, bytes]]:
    return [(r["round"], bytes.fromhex(r["signature"])) for r in DATA["quicknet"]["beacons"][:3]]


@pytest.fixture
def open_quicknet(
    before: Before, stack: ExitStack, relay: str, tmp_path: Path
) -> Callable[..., HttpBeacons]:
    """Quicknet by a relay that is away, and by a chain's stored pulses."""

    def open_quicknet(read: Callable[[int], bytes | None]) -> HttpBeacons:
        away = before(relay)
        away.set_fault("refuse")
        later_ms = 2 * 10**12
        source = HttpBeacons(
            QUICKNET, [away.url], tmp_path / "beacons", lambda: later_ms, PATIENT, read
        )
        return stack.enter_context(closing(source))

    return open_quicknet


def test_a_round_is_had_from_the_chain_where_no_relay_is(
    subnet: RuntimeNet, open_quicknet: Callable[..., HttpBeacons]
) -> None:
    """Real pulses, as subtensor stores them, through the SDK; none that the chain lacks."""
    (known, signature), (unknown, _) = get_rounds()[:2]
    answer = ask(subnet.endpoint, "dev_addPulse", [known, "0x" + signature.hex()])
    assert answer["result"] is True
    subnet.pass_blocks(1)
    source = open_quicknet(subnet.chain.get_pulse)
    found = source.get(known)
    assert found is not None
    assert found.signature == signature
    assert source.get(unknown) is None
    assert "the chain does not have it yet" in source.trouble


def test_the_chain_is_not_believed_either(open_quicknet: Callable[..., HttpBeacons]) -> None:
    (number, _), (_, other) = get_rounds()[:2]
    source = open_quicknet(lambda _: other)
    assert source.get(number) is None
    assert f"has a false signature of round {number}" in source.trouble


def test_a_chain_that_cannot_be_read_is_a_relay_that_fails(
    open_quicknet: Callable[..., HttpBeacons],
) -> None:
    def fail(_: int) -> bytes | None:
        raise ChainError("the node is away")

    source = open_quicknet(fail)
    assert source.get(get_rounds()[0][0]) is None
    assert "the node is away" in source.trouble


def test_another_network_has_nothing_to_do_with_pulses(relay: str, tmp_path: Path) -> None:
    asked: list[int] = []

    def read(number: int) -> bytes | None:
        asked.append(number)
        return None

    source = HttpBeacons(LOCAL.chain, [relay], tmp_path, lambda: NOW_MS, PATIENT, read)
    with closing(source):
        assert source.get(5) == LOCAL.get(5)
        assert source.get(200) is None
    assert asked == []
