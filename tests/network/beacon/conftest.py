"""A signing chain, relays and sources that end with their test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assay.network.beacon import HttpBeacons, LocalBeacon, RelayTimeouts
from assay.protocol.beacon import BeaconChain
from tests.network.beacon.relay import Answer, Relay, describe, serve

#: Round 1 of the local chain came out long before NOW_MS, round ROUNDS is its newest.
GENESIS_MS, ROUNDS = 1_700_000_000_000, 100
NOW_MS = GENESIS_MS + (ROUNDS - 1) * 1_000
#: Nothing ends here but by what a relay does: the next one is asked when the one before has failed.
CALM = RelayTimeouts(stagger_s=3_600, hedge=1e9, answer_s=60, total_s=60, pause_s=0, settle_s=0)
#: The next relay is asked soon; for relays that stall.
EAGER = replace(CALM, stagger_s=0.02)
#: A relay that stalls is given up soon.
HASTY = replace(EAGER, answer_s=0.2)


@pytest.fixture(scope="session")
def local() -> LocalBeacon:
    return LocalBeacon(b"relays", GENESIS_MS, 1_000, lambda: NOW_MS)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack: ExitStack) -> Callable[[Answer], Relay]:
    """Starts a relay."""
    return lambda answer: stack.enter_context(closing(Relay(answer)))


@pytest.fixture
def honest(start: Callable[[Answer], Relay], local: LocalBeacon) -> Relay:
    return start(serve(lambda number: (b := local.get(number)) and describe(b)))


@pytest.fixture
def open_source(stack: ExitStack, local: LocalBeacon, tmp_path: Path) -> Callable[..., HttpBeacons]:
    """Opens a source of the local chain, or of another."""

    def open_source(
        *urls: str,
        chain: BeaconChain = local.chain,
        now_ms: Callable[[], int] = lambda: NOW_MS,
        patience: RelayTimeouts = CALM,
        **more: Any,
    ) -> HttpBeacons:
        source = HttpBeacons(chain, urls, tmp_path, now_ms, patience, **more)
        return stack.enter_context(closing(source))

    return open_source
