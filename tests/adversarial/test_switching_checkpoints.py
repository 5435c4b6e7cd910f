"""A checkpoint that takes its time to come: everybody works on with the one in force, and changes
over at the window from which the protocol names the next, in one run."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.inference.folder import CheckpointError
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.neurons.miner.miner import Miner, MinerConfig, MinerDependencies
from assay.neurons.program.neuron import NetworkMonitor
from assay.protocol.amendment import ParameterHistory
from assay.protocol.reason import Reason
from assay.protocol.window import compute_window
from tests.adversarial.conftest import LOCATOR
from tests.adversarial.watched import Watched, publish


class Held:
    """A store whose larger objects do not come before they are let go. `expired` are those that
    somebody's step, or closing, has waited for until nothing else was left to happen."""

    expired: ClassVar[list[str]] = []

    def __init__(self, store):
        self.store, self.go, self.asked = store, threading.Event(), threading.Event()

    def open(self, name):
        return HeldObject(self, name, self.store.open(name))


class HeldObject:
    def __init__(self, held, name, inner):
        self.held, self.name, self.inner = held, name, inner

    def size(self):
        return self.inner.size()

    def read(self, start, end):
        if "/deltas/" in self.name or self.name.startswith("tensors/"):
            self.held.asked.set()
            if not self.held.go.wait(60):
                self.held.expired.append(self.name)
        return self.inner.read(start, end)


@pytest.fixture(autouse=True)
def nobody_waits_for_a_download():
    Held.expired.clear()
    yield
    assert Held.expired == []


@pytest.fixture(autouse=True)
def a_download_is_waited_for(monkeypatch):
    """By a caller that begins it, however busy this machine is."""
    monkeypatch.setattr(checkpoint_folder, "SHORT_S", 60.0)


@pytest.fixture
def child(fresh_world, monkeypatch):
    """The next checkpoint, in a store, with its digest."""
    monkeypatch.setattr(checkpoint_folder, "measure_manifest", lambda manifest, *_, **__: manifest)
    world = fresh_world
    weights = {
        name: (weight * 1.003).to(torch.bfloat16)
        for name, weight in world.checkpoint.model.state_dict().items()
    }
    manifest = world.sources.checkpoints.publish(world.checkpoint, weights, b"\1" * 32)
    store = open_folder(world.folder / "published")
    folder = world.folder / "models" / manifest.digest.hex()
    publish_checkpoint(store, folder, manifest.digest)
    return manifest.digest, store


def make_folder(world, name, store):
    """One program's models: the genesis, and those that it fetches in the background."""
    held = Held(store)
    folder = CheckpointFolder(
        world.folder / name, DownloadSettings(lambda: [held], retry_s=0.0, in_background=True)
    )
    folder.add(world.checkpoint.folder, world.checkpoint.digest)
    return folder, held


def make_monitor(world, checkpoints):
    """The part of a program that looks for new checkpoints."""
    monitor = NetworkMonitor(
        SimpleNamespace(
            chain=world.chain,
            followed=SimpleNamespace(pending=None),
            history=ParameterHistory(world.parameters),
            parameters=world.parameters,
            sources=SimpleNamespace(checkpoints=checkpoints),
        )
    )
    return monitor


def run_to(world, block, neurons):
    """Every neuron does all it can at each block."""
    while world.chain.get_head() < block:
        world.chain.mint()
        for neuron in neurons:
            while neuron.step():
                pass


def wait_until_here(checkpoints):
    until = time.monotonic() + 60
    while checkpoints.downloads and time.monotonic() < until:
        time.sleep(0.05)
    assert not checkpoints.downloads


def test_a_switch_at_the_window_boundary_without_a_restart(fresh_world, child):
    world, (digest, store) = fresh_world, child
    mine, mirror = make_folder(world, "miner", store)
    judge, judges_mirror = make_folder(world, "validator", store)
    outside = MinerDependencies(
        world.chain, world.beacons, mine, world.sources.stores[LOCATOR], LOCATOR
    )
    config = MinerConfig(2, 2)
    miner = Miner(
        "alice", world.hotkeys["alice"], ParameterHistory(world.parameters), outside, config, print
    )
    watched = Watched(replace(world, sources=replace(world.sources, checkpoints=judge)))
    validator = watched.validator
    neurons = [miner, validator]
    length = world.parameters.timing.window_blocks

    run_to(world, length + 5, neurons)
    assert miner.work.challenge.window == 1
    publish(world, digest)
    world.chain.mint()
    world.chain.mint()
    # both begin to fetch as soon as it is on chain, and continue with their work
    make_monitor(world, mine).fetch_ahead(world.chain.get_head())
    make_monitor(world, judge).fetch_ahead(world.chain.get_head())
    assert mirror.asked.wait(60)
    run_to(world, 2 * length - 1, neurons)
    assert mine.downloads
    assert miner.trouble is None
    assert miner.work.challenge.checkpoint == world.checkpoint.digest
    mirror.go.set()
    wait_until_here(mine)
    assert digest in mine.opened  # before it is needed

    # the miner changes over with window 2; the validator has not got it yet, and judges window 1
    run_to(world, 3 * length - 2, neurons)
    assert compute_window(world.parameters.timing, world.chain.get_head()) == 2
    assert miner.work.challenge.window == 2
    assert miner.work.challenge.checkpoint == digest
    assert miner.trouble is None
    run_to(world, 3 * length + 10, neurons)
    assert judge.downloads
    alice = world.hotkeys["alice"]
    for window in (0, 1):
        assert watched.audit(window).verdicts[alice].reason is Reason.ACCEPTED
    assert alice not in watched.audit(2).verdicts
    assert "is being fetched" in watched.audit(2).missing

    judges_mirror.go.set()
    wait_until_here(judge)
    run_to(world, 3 * length + 12, neurons)
    verdict = watched.audit(2).verdicts[alice]
    assert verdict.reason is Reason.ACCEPTED
    assert watched.audit(2).context.checkpoint == digest
    mine.close()
    judge.close()


def test_a_missing_checkpoint_is_reported_and_tried_again(fresh_world, child, monkeypatch):
    world, (digest, store) = fresh_world, child
    now, mirrors = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    monkeypatch.setattr(checkpoint_folder, "time", clock)
    checkpoints = CheckpointFolder(
        world.folder / "late", DownloadSettings(lambda: mirrors, retry_s=30.0, in_background=True)
    )
    with pytest.raises(CheckpointError, match="no mirror is known"):
        checkpoints.get(digest)
    mirrors.append(store)
    with pytest.raises(CheckpointError, match="no mirror is known"):  # not asked again at once
        checkpoints.get(digest)
    now[0] = 31.0
    assert checkpoints.get(digest).digest == digest  # a small one is waited for


def test_one_download_of_one_checkpoint(fresh_world, child):
    """However many ask for it, and however often; and one at a time of what nobody needs yet."""
    world, (digest, store) = fresh_world, child
    checkpoints, held = make_folder(world, "one", store)
    checkpoints.prefetch(digest)
    assert held.asked.wait(60)
    for _ in range(3):
        with pytest.raises(CheckpointError, match="is being fetched"):
            checkpoints.get(digest)
        checkpoints.prefetch(bytes(32))
    (download,) = checkpoints.downloads
    assert download.digest == digest
    assert checkpoints.get(world.checkpoint.digest).digest == world.checkpoint.digest
    held.go.set()
    wait_until_here(checkpoints)
    assert checkpoints.get(digest).digest == digest
    assert (download.done, download.due) != (0, 0)


def test_a_program_that_ends_leaves_its_download_to_the_next(fresh_world, child):
    world, (digest, store) = fresh_world, child
    checkpoints, held = make_folder(world, "one", store)
    checkpoints.prefetch(digest)
    assert held.asked.wait(60)
    checkpoints.close()
    assert not [
        thread for thread in threading.enumerate() if thread.name in ("fetch", "checkpoint")
    ]
    held.go.set()
    again, held = make_folder(world, "one", store)
    held.go.set()
    assert again.get(digest).digest == digest


def test_a_defect_of_ours_is_not_swallowed(fresh_world, child, monkeypatch):
    """The caller that needs the checkpoint gets the error, and only once."""
    world, (digest, store) = fresh_world, child
    checkpoints, held = make_folder(world, "one", store)
    met = []

    def fail(*_, **__):
        met.append(True)
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(checkpoint_folder, "fetch_checkpoint", fail)
    with pytest.raises(ZeroDivisionError):
        checkpoints.get(digest)
    monkeypatch.undo()
    held.go.set()
    assert checkpoints.get(digest).digest == digest
    assert len(met) == 1


def test_a_mirror_that_fails_is_no_defect(fresh_world, child):
    world, (digest, _) = fresh_world, child

    class Broken:
        def open(self, name):
            raise StoreError("the disk is on fire")

    checkpoints = CheckpointFolder(
        world.folder / "broken", DownloadSettings(lambda: [Broken()], in_background=True)
    )
    with pytest.raises(CheckpointError, match="on fire"):
        checkpoints.get(digest)
