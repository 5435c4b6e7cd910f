"""Miners that choose what should not be choosable: attacks on chain state and calendar."""

from dataclasses import replace
from hashlib import sha256

import pytest

from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.artifacts.submissions.reader import open_submission
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.context import find_context_fault
from assay.protocol.reason import Reason
from assay.protocol.window import Phase, compute_block
from assay.session.window_reader import BeaconError, get_challenge


def judge(world, context, hotkey):
    submission = open_submission(context, hotkey, world.sources)
    return judge_with_checkpoint(submission, hotkey, context, world.checkpoint)


def commit(world, name, **changes):
    commitment = Commitment(Tag.MINER, 0, 5, bytes(32), "test:store")
    payload = encode_commitment(replace(commitment, **changes))
    world.chain.set_commitment(world.hotkeys[name], payload)


def test_registering_after_seeing_the_challenge(fresh_world):
    world = fresh_world
    late = sha256(b"late").digest()
    world.mint(2)
    world.chain.register(late)
    context = world.open_context(0)
    assert late in world.chain.get_members(world.chain.get_head())
    assert judge(world, context, late).reason is Reason.NOT_REGISTERED


def test_never_registering(fresh_world):
    context = fresh_world.open_context(0)
    stranger = sha256(b"stranger").digest()
    assert judge(fresh_world, context, stranger).reason is Reason.NOT_REGISTERED


def test_committing_nothing(fresh_world):
    world = fresh_world
    context = world.open_context(0)
    assert judge(world, context, world.hotkeys["owner"]).reason is Reason.NO_COMMITMENT


def test_overwriting_the_commitment_after_its_block(fresh_world):
    """State at exactly the commitment block counts: later changes have no effect."""
    world = fresh_world
    world.mint(compute_block(world.parameters.timing, 0, Phase.COMMIT))
    commit(world, "alice", digest=b"\1" * 32)
    context = world.open_context(0)
    assert judge(world, context, world.hotkeys["alice"]).reason is Reason.ACCEPTED


@pytest.mark.parametrize(
    "changes",
    [{"number": 7}, {"tag": Tag.CHECKPOINT}],
    ids=["for another window", "of another kind"],
)
def test_commitment_that_is_not_to_this_window(fresh_world, changes):
    world = fresh_world
    commit(world, "owner", **changes)
    context = world.open_context(0)
    assert judge(world, context, world.hotkeys["owner"]).reason is Reason.NO_COMMITMENT


def test_garbage_in_the_commitment_slot(fresh_world):
    world = fresh_world
    world.chain.set_commitment(world.hotkeys["owner"], b"ASM1\xff\xfe garbage")
    context = world.open_context(0)
    assert judge(world, context, world.hotkeys["owner"]).reason is Reason.NO_COMMITMENT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"groups": 0}, Reason.MALFORMED),
        ({"groups": 1_025}, Reason.TOO_LARGE),
        ({}, Reason.NOT_REVEALED),
        ({"locator": "file:///etc"}, Reason.NOT_REVEALED),
    ],
    ids=["no group", "more groups than allowed", "no file", "a locator into our own disk"],
)
def test_commitment_with_nothing_behind_it(fresh_world, changes, reason):
    world = fresh_world
    commit(world, "owner", **changes)
    context = world.open_context(0)
    assert judge(world, context, world.hotkeys["owner"]).reason is reason


def test_a_source_that_names_its_own_beacon(fresh_world):
    """A real signature of the round before: valid, and not the one the block names."""
    world = fresh_world
    world.mint(6)

    class OtherRound:
        def get(self, number):
            return world.beacons.get(number - 1)

    class Forged:
        def get(self, number):
            return replace(world.beacons.get(number - 1), round=number)

    for source in (OtherRound(), Forged()):
        with pytest.raises(BeaconError):
            get_challenge(world.chain, source, world.parameters, 0)


def test_a_context_that_names_its_own_beacon(world):
    context = world.contexts[1]
    assert find_context_fault(context) is None
    other = world.beacons.get(context.challenge.round + 1)
    assert "names round" in find_context_fault(replace(context, challenge=other))
    forged = replace(context.challenge, signature=other.signature)
    assert "signature" in find_context_fault(replace(context, challenge=forged))


def test_the_challenge_waits_for_its_beacon(fresh_world):
    """Nobody can start before the round is out, however early the block was known."""
    world = fresh_world
    assert get_challenge(world.chain, world.beacons, world.parameters, 0) is None
    delay = world.parameters.timing.beacon_delay_ms // 1_000
    world.mint(delay)
    assert get_challenge(world.chain, world.beacons, world.parameters, 0) is None
    world.mint(2)
    assert get_challenge(world.chain, world.beacons, world.parameters, 0) is not None
