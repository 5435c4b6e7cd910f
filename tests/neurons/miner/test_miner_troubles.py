"""Faults outside of a miner, and the miner's reaction for as long as they can matter."""

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.inference.folder import CheckpointError, UnusableCheckpointError
from assay.network.beacon import BeaconSourceError
from assay.network.chain.errors import ChainError, UnknownOutcomeError, WrongChainError
from assay.network.store.base import StoreError
from assay.neurons.miner import miner as module
from assay.neurons.miner.commitment_delivery import CommitmentDelivery, PendingCommitment
from assay.neurons.miner.miner import MinerConfig
from assay.neurons.miner.work_database import WorkStage
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import Beacon
from assay.protocol.commitment import parse_commitment
from assay.protocol.parameters import DEMO_TIMING
from assay.protocol.window import Phase, compute_block
from assay.sandbox import WorkerError
from assay.training import GENESIS


class Failing:
    """An object of which one method fails a number of times.

    Attributes:
        calls: heads at which the method was called.
        times: of its calls, up to which it fails.
    """

    def __init__(self, inner, name, error, times, chain, *, after=False):
        self._inner, self._name, self._error = inner, name, error
        self.times, self._chain, self._after = times, chain, after
        self.calls = []

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name != self._name:
            return found

        def call(*arguments, **options):
            self.calls.append(self._chain.get_head())
            if len(self.calls) > self.times:
                return found(*arguments, **options)
            if self._after:
                found(*arguments, **options)
            raise self._error

        return call


def mine_until(subnet, miner, wanted):
    """Mint until `wanted()`. Returns the errors on the way."""
    troubles = []
    for _ in range(40):
        if wanted():
            return troubles
        subnet.run_to(miner, subnet.chain.get_head() + 1)
        if miner.trouble:
            troubles.append(miner.trouble.text)
    raise AssertionError("it never came to it")


@pytest.mark.parametrize(
    ("what", "name", "error"),
    [
        ("chain", "set_commitment", ChainError("no space left in this epoch")),
        ("chain", "set_commitment", UnknownOutcomeError("nobody said")),
        ("store", "put", StoreError("the disk is full")),
    ],
)
def test_a_delivery_that_fails_twice_is_made_at_the_third_block(
    what, name, error, make_subnet, quick_miner
):
    subnet = make_subnet()
    failing = Failing(getattr(subnet, what), name, error, 2, subnet.chain)
    miner = subnet.start(quick_miner, **{what: failing})
    troubles = mine_until(subnet, miner, subnet.get_slot)
    first = failing.calls[0]
    assert failing.calls == [first, first + 1, first + 2]
    assert len(troubles) == 2
    assert all(str(error) in trouble and "by block 13" in trouble for trouble in troubles)
    assert miner.trouble is None
    assert parse_commitment(subnet.get_slot()).number == 0


def test_a_delivery_that_fails_to_the_last_is_told_and_ends_nothing(make_subnet, quick_miner):
    subnet = make_subnet()
    failing = Failing(subnet.chain, "set_commitment", ChainError("refused"), 9, subnet.chain)
    miner = subnet.start(quick_miner, chain=failing)
    subnet.run_to(miner, 13)
    assert failing.calls[-1] == 12  # block 13 takes what is sent at head 12
    assert any("was not committed" in line and "refused" in line for line in subnet.lines)
    (mined,) = subnet.history.get_mined()
    assert mined.sent_at is None
    assert "refused" in mined.note
    mine_until(subnet, miner, subnet.get_slot)
    assert parse_commitment(subnet.get_slot()).number == 1


def test_an_unknown_outcome_is_read_back_before_anything_is_sent_again(make_subnet, quick_miner):
    subnet = make_subnet()
    error = UnknownOutcomeError("nobody said")
    failing = Failing(subnet.chain, "set_commitment", error, 1, subnet.chain, after=True)
    miner = subnet.start(quick_miner, chain=failing)
    subnet.run_to(miner, 13)
    assert len(failing.calls) == 1
    assert miner.trouble is None
    assert subnet.history.get_mined()[0].sent_at is not None


def test_a_commitment_that_nobody_confirmed_and_that_stood_is_not_told_as_missed(
    make_subnet, quick_miner
):
    """The node answers again when the block has come: what state held in it is what counts."""
    subnet = make_subnet()
    timing = subnet.parameters.timing
    error = UnknownOutcomeError("nobody said what became of it")
    away = Failing(subnet.chain, "get_commitments", ChainError("busy"), 0, subnet.chain)
    chain = Failing(away, "set_commitment", error, 1, subnet.chain, after=True)
    miner = subnet.start(quick_miner, chain=chain)
    mine_until(subnet, miner, lambda: chain.calls)
    while subnet.chain.get_head() < timing.commit_offset + 2:  # it hears of no block
        subnet.chain.mint()
    away.times = len(away.calls) + 1
    miner.step()
    assert "busy" in miner.trouble.text
    miner.step()
    assert miner.trouble is None
    assert not any("was not committed" in line for line in subnet.lines)
    (mined,) = [row for row in subnet.history.get_mined() if row.window == 0]
    assert (mined.sent_at, mined.note) == (timing.commit_offset, "")
    assert len(chain.calls) == 1


def test_a_commitment_whose_block_was_reverted_is_sent_again(make_subnet, quick_miner):
    subnet = make_subnet()
    miner = subnet.start(quick_miner)
    mine_until(subnet, miner, lambda: miner.work and miner.work.stage is WorkStage.SENT)
    subnet.chain.pending.commitments.clear()  # the block that would have held it never comes
    mine_until(subnet, miner, subnet.get_slot)
    assert subnet.chain.get_head() <= 13
    assert parse_commitment(subnet.get_slot()).number == 0


def test_a_chain_that_is_away_is_trouble_and_comes_back(make_subnet, quick_miner):
    subnet = make_subnet()
    away = Failing(subnet.chain, "get_head", ChainError("no node answers"), 3, subnet.chain)
    miner = subnet.start(quick_miner, chain=away)
    for _ in range(3):
        assert not miner.step()
        assert miner.trouble.text == "no node answers"
    subnet.run_to(miner, 13)
    assert miner.trouble is None
    assert parse_commitment(subnet.get_slot()).groups == 4


def test_a_node_of_another_chain_ends_the_miner(make_subnet, quick_miner):
    subnet = make_subnet()
    for name in ("get_head", "set_commitment"):
        wrong = Failing(subnet.chain, name, WrongChainError("another chain"), 1, subnet.chain)
        miner = subnet.start(quick_miner, chain=wrong)
        with pytest.raises(WrongChainError):
            subnet.run_to(miner, subnet.chain.get_head() + 13)


def test_a_beacon_source_that_lies_is_trouble(make_subnet, quick_miner):
    subnet = make_subnet()

    class Lying:
        lies = True

        def get(self, number):
            beacon = subnet.beacons.get(number)
            return Beacon(number, bytes(48)) if self.lies and beacon else beacon

    source = Lying()
    miner = subnet.start(quick_miner, beacons=source)
    subnet.run_to(miner, 8)
    assert "is not the pinned chain's" in miner.trouble.text
    source.lies = False
    subnet.run_to(miner, 13)
    assert miner.trouble is None
    assert parse_commitment(subnet.get_slot()).number == 0


def test_a_sandbox_that_does_not_run_costs_the_groups_behind_it_alone(make_subnet, quick_miner):
    """What was made before is committed, and the miner goes on once there is one again."""
    subnet = make_subnet()
    miner = subnet.start(quick_miner)
    generate, windows = miner.generate, []

    def fail(work, indices):
        windows.append(work.challenge.window)
        if work.challenge.window == 0 and work.groups:
            raise WorkerError("no memory for a program")
        return generate(work, indices)

    miner.generate = fail
    troubles = mine_until(subnet, miner, subnet.get_slot)
    assert "no memory for a program" in troubles
    assert parse_commitment(subnet.get_slot()).groups == 1
    assert windows.count(0) > 2
    assert miner.trouble is None
    mine_until(subnet, miner, lambda: parse_commitment(subnet.get_slot()).number == 1)
    assert parse_commitment(subnet.get_slot()).groups == 4


def test_a_beacon_source_that_cannot_be_asked_is_trouble(make_subnet, quick_miner):
    subnet = make_subnet()
    error = BeaconSourceError("the race did not end")
    stuck = Failing(subnet.beacons, "get", error, 5, subnet.chain)
    miner = subnet.start(quick_miner, beacons=stuck)
    subnet.run_to(miner, 4)
    assert "the race did not end" in miner.trouble.text
    subnet.run_to(miner, 13)
    assert miner.trouble is None
    assert parse_commitment(subnet.get_slot()).number == 0


def test_a_checkpoint_that_comes_late_is_mined_on(make_subnet, quick_miner, genesis, tmp_path):
    subnet = make_subnet()
    late = CheckpointFolder(tmp_path / "late")
    miner = subnet.start(quick_miner, checkpoints=late)
    subnet.run_to(miner, 8)
    assert "cannot mine window 0 yet" in miner.trouble.text
    assert len([line for line in subnet.lines if "cannot mine" in line]) == 1
    assert "cannot mine" in subnet.history.get_mined()[0].note
    late.add(GENESIS, genesis.digest)
    subnet.run_to(miner, 13)
    assert miner.trouble is None
    assert parse_commitment(subnet.get_slot()).groups == 4
    assert not subnet.history.get_mined()[0].note


def test_a_checkpoint_is_looked_for_once_a_block(make_subnet, quick_miner, monkeypatch):
    subnet, asked = make_subnet(), []

    def look(*_):
        asked.append(subnet.chain.get_head())
        raise CheckpointError("not here yet")

    monkeypatch.setattr(module, "open_checkpoint", look)
    miner = subnet.start(quick_miner)
    for _ in range(9):
        subnet.chain.mint()
        for _ in range(3):
            assert not miner.step()
    assert asked
    assert len(asked) == len(set(asked))


def test_an_unusable_checkpoint_is_not_looked_for_again(make_subnet, quick_miner, monkeypatch):
    subnet, asked = make_subnet(), []

    def look(*_):
        asked.append(subnet.chain.get_head())
        raise UnusableCheckpointError("no good to anybody")

    monkeypatch.setattr(module, "open_checkpoint", look)
    miner = subnet.start(quick_miner)
    subnet.run_to(miner, 11)
    assert len(asked) == 1
    assert "no good to anybody" in subnet.history.get_mined()[0].note
    monkeypatch.undo()
    mine_until(subnet, miner, subnet.get_slot)
    assert parse_commitment(subnet.get_slot()).number == 1


def test_the_next_commitment_waits_until_the_last_one_was_read(make_subnet):
    """One slot a hotkey: a quick miner would overwrite its own work before it counts."""
    subnet, sent = make_subnet(), []
    delivery = CommitmentDelivery(subnet.chain, ParameterHistory(subnet.parameters))
    delivery.add(PendingCommitment(1, lambda: sent.append(1), lambda head: None, sent.append))
    for head in (11, 12):
        delivery.step(head)
        assert sent == []
    delivery.step(13)
    assert sent == [1]


def test_a_step_that_would_end_too_late_is_not_begun(make_subnet, quick_miner):
    """Each step takes four blocks: a third one would end after the commitment is due."""
    subnet = make_subnet(MinerConfig(8, 1))

    class Slow(quick_miner):
        def generate(self, work, indices):
            for _ in range(4):
                subnet.chain.mint()
            return super().generate(work, indices)

    miner = subnet.start(Slow)
    while not subnet.get_slot():
        subnet.run_to(miner, subnet.chain.get_head() + 1)
    committed = parse_commitment(subnet.get_slot())
    (mined,) = subnet.history.get_mined()
    assert committed.number == 0
    assert committed.groups in (1, 2)
    assert mined.sent_at <= 10  # three blocks before it must stand


def test_a_step_that_was_slow_once_stops_no_later_window(make_subnet, quick_miner):
    """It took longer than a window has: the next window is tried as if it had not."""
    subnet, slow = make_subnet(MinerConfig(2, 2)), [DEMO_TIMING.window_blocks]

    class SlowOnce(quick_miner):
        def generate(self, work, indices):
            for _ in range(slow.pop() if slow else 0):
                subnet.chain.mint()
            return super().generate(work, indices)

    miner = subnet.start(SlowOnce)
    subnet.run_to(miner, 3 * DEMO_TIMING.window_blocks)
    done = {mined.window: mined.groups for mined in subnet.history.get_mined()}
    assert done[1] == done[2] == 2


def test_no_time_for_any_group(make_subnet, quick_miner):
    subnet = make_subnet()
    commit = compute_block(DEMO_TIMING, 0, Phase.COMMIT)
    for _ in range(commit - subnet.config.commit_margin - 1):
        subnet.chain.mint()
    miner = subnet.start(quick_miner)
    subnet.run_to(miner, commit)
    assert subnet.get_slot() is None
    mined = {mined.window: mined for mined in subnet.history.get_mined()}
    assert "no group of window 0 was finished in time" in mined[0].note
