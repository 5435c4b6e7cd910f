"""Stores that return arbitrary bytes: a checkpoint is whole and the right one, or missing."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from assay.artifacts.checkpoints import download as checkpoint_download
from assay.artifacts.checkpoints import tensor_download
from assay.artifacts.checkpoints.download import DownloadLimits, fetch_checkpoint
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE, encode_table
from assay.inference.folder import MANIFEST_FILE, CheckpointError
from assay.network.store.base import StoreError
from tests.adversarial.mirrors.lab import (
    DIGEST,
    NAMES,
    SMALL,
    TENSORS,
    Mirror,
    flip,
    require_nothing,
    require_whole,
)


@pytest.mark.parametrize("name", [*SMALL, NAMES[0], NAMES[-1]])
def test_a_changed_byte_in_any_object(mirror, store, tmp_path, name):
    mirror.lies[name] = flip
    with pytest.raises(CheckpointError, match=r"is not it|other bytes"):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_nothing(tmp_path)
    fetch_checkpoint([mirror, store], DIGEST, tmp_path)
    require_whole(tmp_path)


@pytest.mark.parametrize("name", [*SMALL, NAMES[0]])
def test_a_missing_object(mirror, store, tmp_path, name):
    mirror.sizes[name] = lambda: None
    with pytest.raises(CheckpointError, match=r"has no|has not all"):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_nothing(tmp_path)
    fetch_checkpoint([mirror, store], DIGEST, tmp_path)
    require_whole(tmp_path)


def test_two_stores_that_have_half_each(store, tmp_path):
    """Neither lies, neither is enough."""
    halves = Mirror(store), Mirror(store)
    for number, half in enumerate(halves):
        half.sizes = {name: lambda: None for name in NAMES[number::2]}
    fetch_checkpoint(halves, DIGEST, tmp_path)
    require_whole(tmp_path)
    for number, half in enumerate(halves):
        assert set(half.tensors_read) == set(NAMES) - set(NAMES[number::2])


@pytest.mark.parametrize("name", [*SMALL, NAMES[-1]])
def test_an_object_of_a_thousand_terabytes_is_not_begun(mirror, tmp_path, name):
    mirror.sizes[name] = lambda: 10**15
    with pytest.raises(CheckpointError, match=r"are accepted|bytes for a tensor of"):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    assert all(read != name for read, _ in mirror.reads)
    require_nothing(tmp_path)


def make_tables():
    """Lists that say something else than the manifest binds."""
    first, second, *others = TENSORS
    yield encode_table([replace(first, sha256=bytes(32)), second, *others])
    yield encode_table([replace(first, shape=(1 << 40, 1 << 40)), second, *others])
    yield encode_table([replace(first, shape=(first.shape[0], 1)), second, *others])
    yield encode_table([replace(first, name="../../.ssh/authorized_keys"), second, *others])
    yield encode_table([second, *others])
    yield encode_table([first, first, second, *others])
    yield b"[]"
    yield b"{}"
    yield b'[["a", "BF16", [-1], "00"]]'
    yield b'[["a", "BF16", [1], 7]]'
    yield b'[["\\ud800", "BF16", [1], "00"]]'
    yield b"[" * 100_000


@pytest.mark.parametrize("table", [*make_tables()])
def test_a_lying_list_of_tensors(mirror, store, tmp_path, table):
    """Nothing that it names is requested, here or elsewhere."""
    mirror.sizes[TABLE_FILE] = lambda: len(table)
    mirror.lies[TABLE_FILE] = lambda data, start: table
    root = tmp_path / "root"
    with pytest.raises(CheckpointError, match="is not it"):
        fetch_checkpoint([mirror], DIGEST, root)
    assert {Path(name).name for name in mirror.opened} == set(SMALL)
    assert list(tmp_path.iterdir()) == [root]
    fetch_checkpoint([mirror, store], DIGEST, root)
    require_whole(root)


def test_a_checkpoint_that_exceeds_the_limit(mirror, tmp_path):
    with pytest.raises(CheckpointError, match="500,000 are accepted"):
        fetch_checkpoint([mirror], DIGEST, tmp_path, DownloadLimits(checkpoint_bytes=500_000))
    assert not mirror.tensors_read


@pytest.mark.parametrize("cut", [-1, 1 << 20])
def test_more_or_fewer_bytes_than_were_asked_for(mirror, tmp_path, cut):
    mirror.lies["all"] = lambda data, start: data[:cut] if cut < 0 else data + bytes(cut)
    with pytest.raises(CheckpointError, match="with another size than it says"):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_nothing(tmp_path)


def test_names_are_ours_and_nothing_is_listed(mirror, tmp_path):
    """A store may hold anything else, for ever: nobody asks for it."""
    fetch_checkpoint([mirror], DIGEST, tmp_path)
    small = {f"checkpoints/{DIGEST.hex()}/{name}" for name in SMALL}
    assert mirror.opened == small | {f"tensors/{name}" for name in NAMES}
    require_whole(tmp_path)


# --- several at once


def test_a_liar_is_dropped_at_its_first_tensor(mirror, store, tmp_path):
    mirror.lies = dict.fromkeys(NAMES, flip)
    fetch_checkpoint([mirror, store], DIGEST, tmp_path)
    require_whole(tmp_path)
    assert 0 < len(mirror.tensors_read) <= tensor_download.WORKERS // 2


def test_a_mirror_that_dies_half_way(mirror, store, tmp_path, one_worker, monkeypatch):
    """The other one delivers the rest, and nothing twice except the tensor under way."""

    dead = threading.Event()

    def die(data, start):
        if len(mirror.tensors_read) > len(NAMES) // 2:
            dead.set()
            raise StoreError("the connection was reset")
        return data

    monkeypatch.setattr(tensor_download, "HASTE_S", 60.0)  # the second is not left for the first
    mirror.lies["all"] = die
    second = Mirror(store)
    second.lies["all"] = lambda data, start: dead.wait(60) and data
    fetch_checkpoint([mirror, second], DIGEST, tmp_path)
    require_whole(tmp_path)
    assert len(mirror.tensors_read) + len(second.tensors_read) == len(NAMES) + 1


def test_a_mirror_that_never_answers(mirror, store, tmp_path, monkeypatch):
    """Whatever it is asked: it costs its patience, and nothing is written once it wakes up."""
    monkeypatch.setattr(tensor_download, "PATIENCE_S", 2.0)
    monkeypatch.setattr(tensor_download, "HASTE_S", 0.5)
    wake = threading.Event()
    mirror.lies = dict.fromkeys(NAMES, lambda data, start: wake.wait(30) and flip(data, start))
    fetch_checkpoint([mirror, store], DIGEST, tmp_path)
    wake.set()
    for thread in threading.enumerate():
        if thread.name in ("fetch", "read"):
            thread.join(60)
    require_whole(tmp_path)
    monkeypatch.setattr(checkpoint_download, "PATIENCE_S", 0.5)
    for name in (SMALL[0], SMALL[-1]):
        silent = Mirror(store)
        wake = threading.Event()
        silent.sizes[name] = lambda wake=wake: wake.wait(30)
        fetch_checkpoint([silent, store], DIGEST, tmp_path / name)
        wake.set()
        require_whole(tmp_path / name)


def test_a_slow_mirror_is_left_for_a_fast_one(mirror, store, tmp_path, monkeypatch, small_chunks):
    monkeypatch.setattr(tensor_download, "HASTE_S", 0.3)
    monkeypatch.setattr(tensor_download, "SLOWER", 2.0)
    wake, answered = threading.Event(), []
    mirror.lies["all"] = lambda data, start: answered.append(wake.wait(60)) or data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint_download, "PATIENCE_S", 30.0)
        fetch_checkpoint([store, mirror], DIGEST, tmp_path)
    assert answered == [], "it was waited for"
    wake.set()
    require_whole(tmp_path)


def test_the_last_mirror_is_borne_with(mirror, tmp_path, monkeypatch):
    """Slow as it is, it is all there is."""
    monkeypatch.setattr(tensor_download, "HASTE_S", 0.01)
    mirror.lies[NAMES[-1]] = lambda data, start: time.sleep(0.5) or data
    fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_whole(tmp_path)


def test_it_ends_with_the_time_that_is_given(mirror, tmp_path):
    wake, answered = threading.Event(), []
    mirror.lies[NAMES[-1]] = lambda data, start: answered.append(wake.wait(60)) or data
    with pytest.raises(CheckpointError, match="too slow"):
        fetch_checkpoint([mirror], DIGEST, tmp_path, DownloadLimits(seconds=0.5))
    assert answered == [], "it was waited for"
    wake.set()
    require_nothing(tmp_path)


def test_every_mirror_is_named_with_its_fault(mirror, tmp_path):
    class Broken:
        def open(self, name):
            raise StoreError("the disk is on fire")

    mirror.lies[MANIFEST_FILE] = flip
    with pytest.raises(CheckpointError) as caught:
        fetch_checkpoint([mirror, Broken()], DIGEST, tmp_path)
    for words in ("mirror 1", "is not it", "mirror 2", "on fire"):
        assert words in str(caught.value)
    with pytest.raises(CheckpointError, match="no mirror is known"):
        fetch_checkpoint([], DIGEST, tmp_path)


def test_mirrors_without_end(mirror, tmp_path):
    mirror.sizes[MANIFEST_FILE] = lambda: None

    def iterate():
        while True:
            yield mirror

    with pytest.raises(CheckpointError, match="mirror 16"):
        fetch_checkpoint(iterate(), DIGEST, tmp_path)
