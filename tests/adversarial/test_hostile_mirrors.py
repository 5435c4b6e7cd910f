"""Stores that hand out what they like: a checkpoint is whole and the right one, or not there."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.inference import CheckpointError, UnusableCheckpointError, load_checkpoint
from assay.inference.folder import INDEX_FILE, MANIFEST_FILE, MODEL_FILE, SMALL_FILES
from assay.network import ObjectStore, StoreError, open_folder
from assay.neurons import checkpoints as checkpoints_module
from assay.neurons import fetching
from assay.neurons.checkpoints import CheckpointFolder, Fetching
from assay.neurons.fetching import FetchLimits, fetch_checkpoint, fetch_from_any
from assay.neurons.files import hold_folder
from assay.neurons.publication import publish_checkpoint
from assay.neurons.rules import PublicationError
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.adversarial.watched import publish_by_hand

FILES = (MANIFEST_FILE, *SMALL_FILES, MODEL_FILE)
DIGEST = load_checkpoint(GENESIS).digest
MODEL_BYTES = (GENESIS / MODEL_FILE).stat().st_size


class Source:
    """An object of a hostile store."""

    def __init__(self, mirror, name, honest):
        self.mirror, self.name, self.honest = mirror, name, honest

    def size(self):
        lie = self.mirror.sizes.get(self.name)
        return self.honest.size() if lie is None else lie()

    def read(self, start, end):
        self.mirror.reads.append((self.name, start))
        data = self.honest.read(start, end)
        lie = self.mirror.lies.get(self.name)
        return data if lie is None else lie(data, start)


class Mirror:
    """An honest store, but for what a test changes: file → size, file → bytes."""

    def __init__(self, store: ObjectStore):
        self.store, self.sizes, self.lies = store, {}, {}
        self.opened, self.reads = set(), []

    def open(self, name):
        self.opened.add(name)
        return Source(self, Path(name).name, self.store.open(name))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ObjectStore:
    store = open_folder(tmp_path_factory.mktemp("store"))
    publish_checkpoint(store, GENESIS, DIGEST)
    return store


@pytest.fixture
def mirror(store) -> Mirror:
    return Mirror(store)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(fetching, "CHUNK_BYTES", 1 << 16)


def flip(data, start):
    return bytes([data[0] ^ 1]) + data[1:]


def require_nothing(root):
    """No checkpoint, and next to nothing on the disk."""
    assert not (root / DIGEST.hex()).exists()
    left = [path for path in root.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in left) <= MODEL_BYTES


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_in_any_file(mirror, store, tmp_path, name):
    mirror.lies[name] = flip
    with pytest.raises(PublicationError, match="is not it"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert fetch_from_any([mirror, store], DIGEST, tmp_path) == tmp_path / DIGEST.hex()
    assert load_checkpoint(tmp_path / DIGEST.hex(), DIGEST).digest == DIGEST


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(mirror, tmp_path, name):
    mirror.sizes[name] = lambda: None
    with pytest.raises(PublicationError, match="has no"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    require_nothing(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_thousand_terabytes_is_not_begun(mirror, tmp_path, name):
    mirror.sizes[name] = lambda: 10**15
    with pytest.raises(PublicationError, match="taken"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    assert all(read != name for read, _ in mirror.reads)
    require_nothing(tmp_path)


def test_a_sparse_file_larger_than_the_model_is_not_begun(mirror, tmp_path):
    """Zeros cost a store nothing: no reader takes more of them than the model has bytes."""
    mirror.sizes[MODEL_FILE] = lambda: 2 * MODEL_BYTES
    with pytest.raises(PublicationError, match="taken"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    assert all(read != MODEL_FILE for read, _ in mirror.reads)
    require_nothing(tmp_path)


def test_shards_that_together_exceed_the_model(mirror, tmp_path):
    mirror.sizes[MODEL_FILE] = lambda: None
    index = b'"model-00001-of-00002.safetensors"'
    mirror.sizes[INDEX_FILE] = lambda: len(index)
    mirror.lies[INDEX_FILE] = lambda data, start: index
    for i in (1, 2):
        mirror.sizes[f"model-0000{i}-of-00002.safetensors"] = lambda: MODEL_BYTES * 3 // 4
    with pytest.raises(PublicationError, match="more than the"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    assert all("-of-" not in name for name, _ in mirror.reads)


def test_a_file_that_grows_once_it_was_looked_at(mirror, tmp_path):
    sizes = iter([MODEL_BYTES, MODEL_BYTES])
    mirror.sizes[MODEL_FILE] = lambda: next(sizes, 10**15)
    with pytest.raises(PublicationError, match="taken"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    require_nothing(tmp_path)


def test_shards_that_together_exceed_the_limit(mirror, tmp_path):
    mirror.sizes[MODEL_FILE] = lambda: None
    index = b'"model-00001-of-00003.safetensors"'
    mirror.sizes[INDEX_FILE] = lambda: len(index)
    mirror.lies[INDEX_FILE] = lambda data, start: index
    for i in (1, 2, 3):
        mirror.sizes[f"model-0000{i}-of-00003.safetensors"] = lambda: 400_000
    limits = FetchLimits(checkpoint_bytes=1_000_000)
    with pytest.raises(PublicationError, match="1,200,000 bytes"):
        fetch_checkpoint(mirror, DIGEST, tmp_path, limits)
    assert all("-of-" not in name for name, _ in mirror.reads)


def test_more_bytes_than_were_asked_for(mirror, tmp_path):
    mirror.lies[MODEL_FILE] = lambda data, start: data + bytes(1 << 20)
    with pytest.raises(PublicationError, match="other than by its size"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    require_nothing(tmp_path)


def test_a_trickle_ends_with_the_time_that_is_given(mirror, tmp_path, monkeypatch):
    now = iter(range(10**9))
    monkeypatch.setattr(fetching.time, "monotonic", lambda: next(now))
    mirror.lies[MODEL_FILE] = lambda data, start: data[:1]
    with pytest.raises(PublicationError, match="too slow"):
        fetch_checkpoint(mirror, DIGEST, tmp_path, FetchLimits(seconds=100.0))
    assert len(mirror.reads) < 110


@pytest.mark.parametrize(
    "index",
    [
        b'{"weight_map": {"a": "../../../home/me/.ssh/authorized_keys"}}',
        b'{"weight_map": {"a": "/etc/model.safetensors"}}',
        b'{"weight_map": {"a": "model-00001-of-99999.safetensors"}}',
        b'{"a": "model-00001-of-00002.safetensors", "b": "model-00001-of-00003.safetensors"}',
        b'{"a": "model-00001-of-00000.safetensors"}',
        b"[" * 100_000,
    ],
)
def test_an_index_that_names_other_files(mirror, tmp_path, index):
    mirror.sizes |= {MODEL_FILE: lambda: None, INDEX_FILE: lambda: len(index)}
    mirror.lies[INDEX_FILE] = lambda data, start: index
    with pytest.raises(PublicationError, match="names no"):
        fetch_checkpoint(mirror, DIGEST, tmp_path / "root")
    assert {Path(name).name for name in mirror.opened} == {*FILES, INDEX_FILE}
    assert list(tmp_path.iterdir()) == [tmp_path / "root"]


def test_names_are_ours_and_nothing_is_listed(mirror, store, tmp_path):
    """A store may hold anything else, for ever: nobody asks for it."""
    fetch_checkpoint(mirror, DIGEST, tmp_path)
    assert mirror.opened == {f"checkpoints/{DIGEST.hex()}/{name}" for name in FILES}
    assert sorted(p.name for p in (tmp_path / DIGEST.hex()).iterdir()) == sorted(FILES)


def test_a_cut_download_goes_on_where_it_ended(mirror, store, tmp_path, small_chunks):
    """At another mirror, too; nothing that came is asked for again."""
    cut = 5 << 16
    mirror.lies[MODEL_FILE] = lambda data, start: b"" if start == cut else data
    with pytest.raises(PublicationError):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    require_nothing(tmp_path)
    second = Mirror(store)
    fetch_checkpoint(second, DIGEST, tmp_path)
    assert {name for name, _ in second.reads} == {MODEL_FILE}
    assert min(start for _, start in second.reads) == cut
    load_checkpoint(tmp_path / DIGEST.hex(), DIGEST)


class Killed(BaseException):
    """What a process meets that is killed."""


def test_killed_at_every_read(mirror, store, tmp_path, small_chunks):
    due = 0

    def count(data, start):
        if len(mirror.reads) == due:
            raise Killed
        return data

    mirror.lies = dict.fromkeys(FILES, count)
    fetch_checkpoint(mirror, DIGEST, tmp_path / "whole")
    points = len(mirror.reads)
    assert points > 15
    for due in range(1, points + 1):
        root = tmp_path / str(due)
        mirror.reads.clear()
        with pytest.raises(Killed):
            fetch_checkpoint(mirror, DIGEST, root)
        assert not (root / DIGEST.hex()).exists()
        fetch_checkpoint(store, DIGEST, root)
        for name in FILES:
            assert (root / DIGEST.hex() / name).read_bytes() == (GENESIS / name).read_bytes()
        assert [path.name for path in root.iterdir()] == [DIGEST.hex()]


def test_what_a_liar_left_does_not_spoil_the_honest_copy(mirror, store, tmp_path, small_chunks):
    """Its first bytes were wrong, the honest store's are added to them: one more try, from none."""
    cut = 5 << 16
    mirror.lies[MODEL_FILE] = lambda d, start: b"" if start == cut else flip(d, start)
    with pytest.raises(PublicationError):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    fetch_checkpoint(store, DIGEST, tmp_path)
    load_checkpoint(tmp_path / DIGEST.hex(), DIGEST)


def test_shards_of_a_liar_beside_the_honest_model(mirror, store, tmp_path):
    shard = "model-00001-of-00002.safetensors"
    index, body = f'"{shard}"'.encode(), (GENESIS / MODEL_FILE).read_bytes()
    lies = {INDEX_FILE: index, shard: body}
    mirror.sizes = {MODEL_FILE: lambda: None} | {
        name: lambda data=data: len(data) for name, data in lies.items()
    }
    mirror.lies = {
        name: lambda _, start, data=data: data[start : start + fetching.CHUNK_BYTES]
        for name, data in lies.items()
    }
    with pytest.raises(PublicationError, match="has no model-00002"):
        fetch_checkpoint(mirror, DIGEST, tmp_path)
    # as if the second shard had been cut off
    (tmp_path / f".fetch-{DIGEST.hex()}" / shard).write_bytes(body)
    fetch_checkpoint(store, DIGEST, tmp_path)
    assert sorted(p.name for p in (tmp_path / DIGEST.hex()).iterdir()) == sorted(FILES)


def test_every_mirror_is_named_with_its_fault(mirror, tmp_path):
    class Broken:
        def open(self, name):
            raise StoreError("the disk is on fire")

    mirror.lies[MANIFEST_FILE] = flip
    with pytest.raises(CheckpointError) as caught:
        fetch_from_any([mirror, Broken()], DIGEST, tmp_path)
    for words in ("mirror 1", "is not it", "mirror 2", "on fire"):
        assert words in str(caught.value)
    with pytest.raises(CheckpointError, match="no mirror is known"):
        fetch_from_any([], DIGEST, tmp_path)


def test_mirrors_without_end(mirror, tmp_path):
    mirror.sizes[MANIFEST_FILE] = lambda: None

    def iterate():
        while True:
            yield mirror

    with pytest.raises(CheckpointError, match="mirror 16"):
        fetch_from_any(iterate(), DIGEST, tmp_path)


def test_two_programs_never_write_one_download(store, tmp_path):
    partial = tmp_path / f".fetch-{DIGEST.hex()}"
    partial.mkdir()
    with hold_folder(partial) as held:
        assert held
        with pytest.raises(CheckpointError, match="another program"):
            fetch_checkpoint(store, DIGEST, tmp_path)
    fetch_checkpoint(store, DIGEST, tmp_path)


def test_a_full_disk_is_ours_and_no_mirrors_fault(mirror, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match="are free") as caught:
        fetch_from_any([mirror, mirror], DIGEST, tmp_path)
    assert "mirror" not in str(caught.value)
    assert all(name != MODEL_FILE for name, _ in mirror.reads)


# --- the folder that fetches


def test_a_checkpoint_that_is_not_here_is_fetched_once(store, tmp_path):
    mirror = Mirror(store)
    checkpoints = CheckpointFolder(tmp_path, Fetching(lambda: [mirror]))
    checkpoint = checkpoints.get(DIGEST)
    assert checkpoint.folder == tmp_path / DIGEST.hex()
    count = len(mirror.reads)
    assert checkpoints.get(DIGEST) is checkpoint
    assert CheckpointFolder(tmp_path).get(DIGEST).digest == DIGEST
    assert len(mirror.reads) == count


def test_mirrors_that_have_nothing_are_not_asked_all_the_time(store, tmp_path):
    asked = []
    answers = iter([[], [store]])

    def iterate():
        asked.append(True)
        return next(answers)

    checkpoints = CheckpointFolder(tmp_path, Fetching(iterate, retry_s=3_600.0))
    for _ in range(3):
        with pytest.raises(CheckpointError, match="cannot be had"):
            checkpoints.get(DIGEST)
    assert len(asked) == 1
    patient = CheckpointFolder(tmp_path, Fetching(iterate, retry_s=0.0))
    assert patient.get(DIGEST).digest == DIGEST


def test_who_needs_what_is_here_waits_for_no_download(mirror, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def hang(data, start):
        begun.set()
        assert go_on.wait(30)
        return data

    mirror.lies[MANIFEST_FILE] = hang
    checkpoints = CheckpointFolder(tmp_path, Fetching(lambda: [mirror]))
    CheckpointFolder(tmp_path).add(GENESIS, DIGEST)
    other = bytes(32)
    failures = []

    def fetch():
        try:
            checkpoints.get(other)
        except CheckpointError as error:
            failures.append(error)

    mirror.store = open_folder(tmp_path / "other")
    publish = mirror.store.put
    publish(f"checkpoints/{other.hex()}/{MANIFEST_FILE}", b"{}")
    thread = threading.Thread(target=fetch)
    thread.start()
    assert begun.wait(30)
    assert checkpoints.get(DIGEST).digest == DIGEST  # while the other one hangs
    assert thread.is_alive()
    go_on.set()
    thread.join(30)
    assert len(failures) == 1


def test_an_unusable_checkpoint_is_fetched_all_the_same(fresh_world, tmp_path):
    """That it is what the chain names is what voids the window: it must not look like a lie."""
    world = fresh_world
    weights = {n: w.to(torch.bfloat16) for n, w in world.checkpoint.model.state_dict().items()}
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], torch.nan)
    digest = publish_by_hand(world, weights)
    store = open_folder(tmp_path / "store")
    publish_checkpoint(store, world.folder / "by-hand", digest)
    checkpoints = CheckpointFolder(tmp_path / "models", Fetching(lambda: [store]))
    with pytest.raises(UnusableCheckpointError, match="finite"):
        checkpoints.get(digest)


def test_a_model_in_shards_travels_like_any_other(tmp_path):
    folder = tmp_path / "sharded"
    shutil.copytree(GENESIS, folder)
    weights = load_file(folder / MODEL_FILE)
    (folder / MODEL_FILE).unlink()
    names = sorted(weights)
    shards = {
        f"model-0000{i + 1}-of-00003.safetensors": {n: weights[n] for n in names[i::3]}
        for i in range(3)
    }
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    index = {"weight_map": {n: name for name, tensors in shards.items() for n in tensors}}
    (folder / INDEX_FILE).write_text(json.dumps(index))
    store = open_folder(tmp_path / "store")
    publish_checkpoint(store, folder, DIGEST)
    fetched = fetch_checkpoint(store, DIGEST, tmp_path / "models")
    assert load_checkpoint(fetched, DIGEST).digest == DIGEST
    # and from there to the next
    publish_checkpoint(open_folder(tmp_path / "next"), fetched, DIGEST)
    fetch_checkpoint(open_folder(tmp_path / "next"), DIGEST, tmp_path / "again")

    (folder / "model-00003-of-00003.safetensors").rename(folder / "extra.safetensors")
    with pytest.raises(CheckpointError, match="save the model anew"):
        publish_checkpoint(store, folder, DIGEST)


@pytest.fixture
def unmeasured(monkeypatch):
    """μ and scale are not what these tests are about, and take a while."""
    monkeypatch.setattr(checkpoints_module, "measure_manifest", lambda manifest, folder: manifest)


def make_children(checkpoints: CheckpointFolder, count: int) -> list[Manifest]:
    parent = checkpoints.get(DIGEST)
    weights = {n: w.to(torch.bfloat16) for n, w in parent.model.state_dict().items()}
    manifests = []
    for number in range(count):
        manifests.append(checkpoints.publish(parent, weights, bytes([number]) * 32))
        parent = replace(parent, manifest=manifests[-1])
    return manifests


def test_old_checkpoints_go_but_never_genesis_newest_or_open(tmp_path, unmeasured):
    CheckpointFolder(tmp_path).add(GENESIS, DIGEST)
    checkpoints = CheckpointFolder(tmp_path, keep=2)
    first, second = make_children(checkpoints, 2)
    checkpoints.get(first.digest)
    third, fourth, fifth = make_children(checkpoints, 5)[2:]
    here = {path.name for path in tmp_path.iterdir()}
    assert {m.digest.hex() for m in (first, fourth, fifth)} | {DIGEST.hex()} == here
    assert third.digest != second.digest


def test_without_being_asked_nothing_goes(tmp_path, unmeasured):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.add(GENESIS, DIGEST)
    assert len(make_children(checkpoints, 5)) + 1 == len(list(tmp_path.iterdir()))
