"""Whether it makes sense to go on: what a neuron looks at once a window."""

from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import pytest

from assay.devnet import SimulatedChain, SimulatedRules
from assay.network.chain.chain_values import TAO
from assay.neurons.program.program_loop import ParametersChangedError
from assay.neurons.session import neuron_session
from assay.neurons.session.neuron_session import NetworkMonitor, NeuronSession, find_longest_retry
from assay.neurons.settings.loading import ConfigError
from assay.protocol import Commitment, Tag, encode_commitment
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING

OWNER, SELF = (sha256(name).digest() for name in (b"owner", b"self"))
WINDOW, TEMPO = DEMO_TIMING.window_blocks, DEMO_TIMING.tempo


class Place:
    """One hotkey beside a subnet whose owner's word stays the same until `changed` is set."""

    def __init__(self, *hotkeys: bytes) -> None:
        self.chain = SimulatedChain(b"standing", 3, 0, 1_000, TEMPO, hotkeys)
        self.chain.rules = SimulatedRules(permits=True)
        self.changed: str | None = None
        self.looks = 0
        self.prefetched: list[bytes] = []

    def has_parameters_changed(self, *_: object) -> str | None:
        self.looks += 1
        return self.changed

    def stand(self, *, needs_permit: bool = False) -> NetworkMonitor:
        identity = SimpleNamespace(trainer=OWNER, genesis_checkpoint=bytes(32))
        member: Any = SimpleNamespace(
            chain=self.chain,
            account=SimpleNamespace(hotkey=SELF),
            parameters=SimpleNamespace(timing=DEMO_TIMING, identity=identity),
            sources=SimpleNamespace(checkpoints=SimpleNamespace(prefetch=self.prefetched.append)),
        )
        return NetworkMonitor(cast(NeuronSession, member), needs_permit=needs_permit)

    def mint_to(self, block: int) -> None:
        while self.chain.get_head() < block:
            self.chain.mint()


@pytest.fixture
def make_place(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*hotkeys: bytes) -> Place:
        place = Place(*hotkeys)
        monkeypatch.setattr(neuron_session, "has_parameters_changed", place.has_parameters_changed)
        return place

    return make


def test_a_uid_bought_within_a_window_counts_from_the_next_one(make_place: Any) -> None:
    place = make_place(OWNER)
    monitor = place.stand()
    with pytest.raises(ConfigError, match="holds no uid"):
        monitor.require_seat()
    place.mint_to(WINDOW + 2)
    place.chain.register(SELF)
    place.mint_to(WINDOW + 3)
    monitor.require_seat()
    assert "held no uid of subnet 3 when this window began" in monitor.check()
    head = monitor.seen.head
    assert head is not None
    assert head.number == WINDOW + 3
    place.mint_to(2 * WINDOW - 1)
    assert "held no uid" in monitor.check()
    place.mint_to(2 * WINDOW)
    assert monitor.check() is None


def test_a_validator_without_a_permit_is_told_and_no_other_neuron(make_place: Any) -> None:
    place = make_place(OWNER, SELF)
    place.chain.fund(OWNER, TAO)
    place.chain.add_stake(OWNER, TAO)  # another's permit is not its own
    place.mint_to(TEMPO + WINDOW)
    validator, miner = place.stand(needs_permit=True), place.stand()
    validator.require_seat()
    assert "no validator permit" in validator.check()
    assert miner.check() is None
    place.chain.fund(SELF, TAO)
    place.chain.add_stake(SELF, TAO)
    place.mint_to(2 * (TEMPO + WINDOW))
    assert validator.check() is None


def test_it_looks_once_a_window_and_ends_where_the_network_is_gone(make_place: Any) -> None:
    place = make_place(OWNER, SELF)
    monitor = place.stand()
    for block in range(1, 2 * WINDOW):
        place.mint_to(block)
        monitor.check()
    assert place.looks == 2
    place.changed = "the owner has published other parameters"
    assert monitor.check() is None
    place.mint_to(2 * WINDOW)
    with pytest.raises(ParametersChangedError, match="other parameters"):
        monitor.check()


def test_what_the_trainer_publishes_is_fetched_at_once(make_place: Any) -> None:
    """A few looks a window; what is no checkpoint's commitment is nothing to fetch."""
    place = make_place(OWNER, SELF)
    monitor = place.stand()
    place.mint_to(2 * WINDOW + 1)
    monitor.check()
    for tag, wanted in ((Tag.MINER, []), (Tag.CHECKPOINT, [SELF])):
        payload = encode_commitment(Commitment(tag, 1, 1, SELF, "test:store"))
        place.chain.set_commitment(OWNER, payload)
        for _ in range(4):
            place.chain.mint()
            monitor.check()
        assert place.prefetched[: len(wanted)] == wanted
        assert set(place.prefetched) == set(wanted)


def test_a_checkpoint_that_nobody_had_is_asked_for_several_times_a_window():
    window_s = DEMO_TIMING.window_blocks * DEMO_TIMING.slot_ms / 1_000
    assert find_longest_retry(DEMO_TIMING) == window_s / 8
    assert find_longest_retry(MAIN_TIMING) == 45.0
