"""A miner that is ended at any moment, and started again on its remaining files."""

from dataclasses import replace

import pytest

from assay.environments.registry import open_environment
from assay.environments.worlds.guessing import Guesses
from assay.neurons.miner.miner import Miner, MinerConfig
from assay.neurons.miner.work_database import WorkStage
from assay.protocol.commitment import parse_commitment
from assay.protocol.window import Phase, compute_block
from tests.neurons.miner_bench import ALICE, Fuse, Killed, fuse_files

WINDOW = 0
#: All groups of a window at its first block; one a block, so that time is up before they are done.
CONFIGS = {"finished": (MinerConfig(4, 2), 100), "partial": (MinerConfig(40, 1), 1)}


def run_window(subnet, kind, fuse, pace):
    """Mine a window, `pace` groups a block. If the fuse blows, another program starts.

    Time does not pass meanwhile: everything that a block has time for is done in it.
    """
    last = compute_block(subnet.parameters.timing, WINDOW, Phase.COMMIT)
    miner, more = subnet.start(kind, fuse), True
    while subnet.chain.get_head() < last:
        subnet.chain.mint()
        before = count_groups(miner)
        more = True
        while more and count_groups(miner) < before + pace:
            try:
                more = miner.step()
            except Killed:
                miner = subnet.start(kind, fuse)
    return miner


def count_groups(miner):
    return miner.progress[1] if miner.progress else 0


def get_result(subnet):
    """The content of the slot and of the store, and the history's entries on it."""
    timing = subnet.parameters.timing
    slot = subnet.get_slot(compute_block(timing, WINDOW, Phase.COMMIT))
    (told,) = subnet.history.get_mined(WINDOW)
    told = replace(told, opened_at=0, sent_at=None if told.sent_at is None else 0)
    return slot, subnet.get_file(WINDOW), told


def run_undisturbed(subnet, kind, pace, monkeypatch) -> int:
    fuse = Fuse()
    with monkeypatch.context() as patched:
        fuse_files(patched, fuse)
        run_window(subnet, kind, fuse, pace)
    return fuse


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "is_first"), [("finished", True), *((name, False) for name in CONFIGS)]
)
def test_killed_at_every_call(name, is_first, make_subnet, quick_miner, monkeypatch):
    """Any effect of a miner on the outside may be its last: the submission is the same. With
    `is_first`, only the first one of each kind."""
    config, pace = CONFIGS[name]
    undisturbed = make_subnet(config)
    fuse = run_undisturbed(undisturbed, quick_miner, pace, monkeypatch)
    expected = get_result(undisturbed)
    assert None not in expected
    assert {"before set_commitment", "after put", "before a half of a write"} <= set(fuse.names)
    groups = parse_commitment(expected[0]).groups
    assert groups == 4 if name == "finished" else 1 < groups < 40
    kinds = list(dict.fromkeys(fuse.names))
    every = range(1, fuse.touched + 1)
    for number in [fuse.names.index(kind) + 1 for kind in kinds] if is_first else every:
        subnet = make_subnet(config)
        blown = Fuse(number)
        with monkeypatch.context() as patched:
            fuse_files(patched, blown)
            run_window(subnet, quick_miner, blown, pace)
        assert blown.touched > number
        assert get_result(subnet) == expected, f"killed {fuse.names[number - 1]}, call {number}"
        subnet.end()


@pytest.mark.parametrize("every", [47, 60, 75])
def test_killed_again_and_again(every, make_subnet, quick_miner, monkeypatch):
    config, pace = CONFIGS["finished"]
    undisturbed = make_subnet(config)
    run_window(undisturbed, quick_miner, None, pace)
    subnet = make_subnet(config)

    class Recurring(Fuse):
        def touch(self, name):
            super().touch(name)
            self.touched %= every

    fuse = Recurring(every - 1)
    fuse_files(monkeypatch, fuse)
    run_window(subnet, quick_miner, fuse, pace)
    assert get_result(subnet) == get_result(undisturbed)


def test_down_for_some_blocks_with_the_file_made_and_not_committed(make_subnet, quick_miner):
    """Back in the next window, with the last one's commitment block still to come."""
    subnet = make_subnet()
    timing = subnet.parameters.timing
    undisturbed = make_subnet()
    run_window(undisturbed, quick_miner, None, 100)

    class DiesBeforeSending:
        def __getattr__(self, name):
            if name == "set_commitment":
                raise Killed
            return getattr(subnet.chain, name)

    miner = subnet.start(quick_miner, chain=DiesBeforeSending())
    with pytest.raises(Killed):
        subnet.run_to(miner, timing.window_blocks)
    while subnet.chain.get_head() < timing.commit_offset - 1:
        subnet.chain.mint()
    assert subnet.chain.get_head() >= timing.window_blocks  # it is the next window's time already
    miner = subnet.start(quick_miner)
    while miner.step():
        pass
    subnet.run_to(miner, timing.commit_offset)
    assert get_result(subnet) == get_result(undisturbed)
    subnet.run_to(miner, timing.window_blocks + timing.commit_offset)
    assert parse_commitment(subnet.get_slot()).number == 1


def test_back_too_late_it_goes_on_with_the_next_window(make_subnet, quick_miner):
    subnet = make_subnet()
    timing = subnet.parameters.timing
    miner = subnet.start(quick_miner)
    miner.upload = None  # ends the program, if it is called
    with pytest.raises(TypeError):
        subnet.run_to(miner, timing.window_blocks)
    while subnet.chain.get_head() < timing.commit_offset:
        subnet.chain.mint()
    miner = subnet.start(quick_miner)
    subnet.run_to(miner, timing.window_blocks + timing.commit_offset)
    assert subnet.get_file(0) is None
    assert parse_commitment(subnet.get_slot()).number == 1


def test_only_the_missing_groups_are_generated(make_subnet, genesis, models):
    """With the real model: a restart costs only the unfinished groups."""
    asked = []

    class Counting(Miner):
        def generate(self, work, indices):
            asked.append(indices)
            if len(asked) == 2:
                raise Killed
            return super().generate(work, indices)

    subnet, undisturbed = make_subnet(), make_subnet()
    run_window(subnet, Counting, None, 100)
    assert asked == [range(0, 1), range(1, 3), range(1, 3), range(3, 4)]
    run_window(undisturbed, Miner, None, 100)
    assert get_result(subnet) == get_result(undisturbed)


@pytest.fixture
def play_window(make_subnet, monkeypatch):
    """A function that mines a window of episodes, and dies in the turn at which the fuse blows."""
    step = Guesses.step

    def play(fuse):
        subnet = make_subnet(MinerConfig(2, 1))
        subnet.play()
        open_environment(subnet.parameters.environment)  # its digest, once, is of episodes, too

        def die(state, turn, is_ended):
            fuse.touch("turn")
            return step(state, turn, is_ended)

        with monkeypatch.context() as patched:
            patched.setattr(Guesses, "step", die)
            run_window(subnet, Miner, None, 100)
        return get_result(subnet)

    return play


@pytest.mark.parametrize(
    "part", [0.6, 1.0, *(pytest.param(n / 8, marks=pytest.mark.nightly) for n in range(8))]
)
def test_killed_at_a_turn(part, play_window):
    """Worlds and kept keys are gone, and the episodes are the same."""
    undisturbed, killed = Fuse(), Fuse()
    expected = play_window(undisturbed)
    assert undisturbed.touched > 4  # of two groups of two, some have more than one turn
    killed.at = 1 + int(part * (undisturbed.touched - 1))
    assert play_window(killed) == expected
    assert killed.touched > killed.at


def test_sealed_work_never_grows(make_subnet, quick_miner, monkeypatch):
    """Once a root may be on chain, more groups would contradict it."""
    subnet = make_subnet(MinerConfig(40, 1))
    timing = subnet.parameters.timing

    def refuse(hotkey, payload):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(subnet.chain, "set_commitment", refuse)
        miner, ended = subnet.start(quick_miner), False
        while not ended and subnet.chain.get_head() < timing.commit_offset:
            subnet.chain.mint()
            try:
                miner.step()
            except Killed:
                ended = True
        assert ended
    sealed = len(miner.work.groups)
    assert miner.work.page.marks[WorkStage.SEALED] == sealed < 40
    # the node that it meets next lags some blocks behind: there would be time for more groups
    head = subnet.chain.get_head() - 4
    monkeypatch.setattr(subnet.chain, "get_head", lambda: head)
    again = subnet.start(quick_miner)
    for _ in range(5):
        again.step()
    assert len(again.work.groups) == sealed
    subnet.chain.mint()
    slot = subnet.chain.get_commitments(head + 5)[ALICE]
    assert parse_commitment(slot).groups == sealed
