"""Whether it makes sense to continue: a neuron's look once a window."""

import logging
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import pytest

from assay.artifacts.discovery import DiscoveryError
from assay.lab.simulator import SimulatedChain, SimulatedRules
from assay.network.chain.values import TAO
from assay.neurons.program.loop import ParametersChangedError
from assay.neurons.program.neuron import (
    NetworkMonitor,
    NeuronSession,
    describe_wait,
    find_longest_retry,
)
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import QUICKNET
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.parameters import DEMO_TIMING, MAIN_TIMING, Parameters, Start
from assay.protocol.window import Phase, compute_block
from assay.settings.loading import ConfigError
from assay.subnet.presets import make_demo_parameters

OWNER, SELF = (sha256(name).digest() for name in (b"owner", b"self"))
WINDOW, TEMPO = DEMO_TIMING.window_blocks, DEMO_TIMING.tempo


class Place:
    """One hotkey on a subnet whose owner's announcement stays the same until `changed` is set.

    Attributes:
        history, pending, note: as a `ParameterFollower` has them.
    """

    def __init__(self, *hotkeys: bytes) -> None:
        self.chain = SimulatedChain(b"standing", 3, 0, 1_000, TEMPO, hotkeys)
        self.chain.rules = SimulatedRules(permits=True)
        self.parameters = make_demo_parameters(
            self.chain.genesis_hash, QUICKNET, 0, OWNER, bytes(32)
        )
        self.history = ParameterHistory(self.parameters)
        self.pending: Parameters | None = None
        self.note: str | None = None
        self.changed: str | None = None
        self.looks = 0
        self.prefetched: list[bytes] = []

    def look(self) -> None:
        """Look as a follower does."""
        self.looks += 1
        if self.changed is not None:
            raise DiscoveryError(self.changed)

    def stand(self, *, needs_permit: bool = False) -> NetworkMonitor:
        member: Any = SimpleNamespace(
            chain=self.chain,
            account=SimpleNamespace(hotkey=SELF),
            followed=self,
            history=self.history,
            parameters=self.parameters,
            sources=SimpleNamespace(
                checkpoints=SimpleNamespace(
                    prefetch=lambda digest, _: self.prefetched.append(digest)
                )
            ),
        )
        return NetworkMonitor(cast(NeuronSession, member), needs_permit=needs_permit)

    def mint_to(self, block: int) -> None:
        while self.chain.get_head() < block:
            self.chain.mint()


def amend(parameters: Parameters, window: int, checkpoint: bytes) -> Parameters:
    """Others that follow them, with other levels and a checkpoint for these."""
    start = Start(parameters.digest, window, checkpoint, 7)
    work = replace(parameters.work, temperature=parameters.work.temperature + 1)
    return replace(parameters, start=start, work=work)


def test_a_uid_bought_within_a_window_counts_from_the_next_one() -> None:
    place = Place(OWNER)
    monitor = place.stand()
    with pytest.raises(ConfigError, match="has no uid"):
        monitor.require_seat()
    place.mint_to(WINDOW + 2)
    place.chain.register(SELF)
    place.mint_to(WINDOW + 3)
    monitor.require_seat()
    assert "had no uid of subnet 3 when this window began" in str(monitor.check())
    head = monitor.seen.head
    assert head is not None
    assert head.number == WINDOW + 3
    place.mint_to(2 * WINDOW - 1)
    assert "had no uid" in str(monitor.check())
    place.mint_to(2 * WINDOW)
    assert monitor.check() is None


def test_the_start_says_when_the_first_verdicts_are_final(caplog: pytest.LogCaptureFixture) -> None:
    place = Place(OWNER, SELF)
    place.mint_to(WINDOW + 3)
    with caplog.at_level(logging.INFO, logger="assay"):
        place.stand().require_seat()
    timing = place.parameters.timing
    begins, ends = (
        describe_wait((2 * WINDOW + offset - WINDOW - 3) * timing.slot_ms / 1_000)
        for offset in (0, timing.verdict_end)
    )
    [said] = [record.getMessage() for record in caplog.records if record.event == "seat_found"]
    assert said.endswith(
        f": window 2 begins in about {begins}, its verdicts are final in about {ends}"
    )
    assert [describe_wait(seconds) for seconds in (0.4, 119.4, 120, 5_400)] == [
        "0 s",
        "119 s",
        "2 min",
        "90 min",
    ]


def test_a_validator_without_a_permit_is_told_and_no_other_neuron() -> None:
    place = Place(OWNER, SELF)
    place.chain.fund(OWNER, TAO)
    place.chain.add_stake(OWNER, TAO)  # another's permit is not its own
    place.mint_to(TEMPO + WINDOW)
    validator, miner = place.stand(needs_permit=True), place.stand()
    validator.require_seat()
    assert "no validator permit" in str(validator.check())
    assert miner.check() is None
    place.chain.fund(SELF, TAO)
    place.chain.add_stake(SELF, TAO)
    place.mint_to(2 * (TEMPO + WINDOW))
    assert validator.check() is None


def test_it_looks_once_a_window_and_ends_where_the_network_is_gone() -> None:
    place = Place(OWNER, SELF)
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


def test_a_faulty_announcement_is_named_and_hides_no_missing_seat() -> None:
    place = Place(OWNER, SELF)
    monitor = place.stand()
    assert monitor.check() is None
    place.note = "nobody follows it"
    assert str(monitor.check()) == place.note
    place = Place(OWNER)
    place.note = "nobody follows it"
    assert "had no uid" in str(place.stand().check())


def test_it_goes_on_until_what_it_knows_is_settled_and_no_further() -> None:
    """Parameters that cannot be read hold from window 2 on: weights of windows 0 and 1 go out."""
    place = Place(OWNER, SELF)
    monitor = place.stand()
    place.history.stop_at(2, "parameters cannot be had")
    settled = compute_block(DEMO_TIMING, 1, Phase.VERDICT_END)
    while not place.chain.is_epoch(settled):
        settled += 1
    for block in range(1, settled + TEMPO // 2):
        place.mint_to(block)
        monitor.check()
    place.mint_to(settled + 2 * TEMPO)
    with pytest.raises(ParametersChangedError, match=r"before 2 are finished.*cannot be had"):
        monitor.check()


@pytest.mark.parametrize("decided", [False, True])
def test_the_checkpoint_of_an_amendment_is_fetched_before_it_holds(decided: bool) -> None:
    place = Place(OWNER, SELF)
    monitor = place.stand()
    amended = amend(place.parameters, place.parameters.timing.notice_windows + 1, SELF)
    if decided:
        place.history.add(amended)
    else:
        place.pending = amended
    place.mint_to(1)
    monitor.check()
    assert place.prefetched == [SELF]
    place.pending = None
    place.prefetched.clear()
    place.mint_to(amended.start.window * WINDOW)
    monitor.check()
    assert place.prefetched == []


def test_the_trainers_checkpoint_is_fetched_at_once() -> None:
    """It looks a few times a window. A commitment to something else is nothing to fetch."""
    place = Place(OWNER, SELF)
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
