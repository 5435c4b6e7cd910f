"""Stores that hand out what they like: a checkpoint is whole and the right one, or not there."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.inference import CheckpointError, UnusableCheckpointError, load_checkpoint
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    SMALL_FILES,
    digest_tensors,
    find_tensors,
)
from assay.inference.tensors import TABLE_FILE, compute_size, encode_table
from assay.network import ObjectStore, StoreError, open_folder
from assay.neurons import checkpoints as checkpoints_module
from assay.neurons import fetching, gathering
from assay.neurons.checkpoints import CheckpointFolder, Fetching
from assay.neurons.fetching import FetchLimits, fetch_checkpoint
from assay.neurons.files import hold_folder
from assay.neurons.publication import publish_checkpoint
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.adversarial.watched import publish_by_hand

SMALL = (MANIFEST_FILE, *SMALL_FILES, TABLE_FILE)
FILES = (MANIFEST_FILE, *SMALL_FILES, MODEL_FILE)
DIGEST = load_checkpoint(GENESIS).digest
MODEL_BYTES = (GENESIS / MODEL_FILE).stat().st_size
TENSORS = sorted(digest_tensors(GENESIS), key=compute_size)
#: Names of tensors in a store; the last one is the largest.
NAMES = [tensor.sha256.hex() for tensor in TENSORS]
#: The one that a single worker takes last.
LAST = sorted(sorted(TENSORS, key=lambda t: t.name), key=compute_size, reverse=True)[-1]
LAST = LAST.sha256.hex()
SIZES = {tensor.sha256.hex(): compute_size(tensor) for tensor in TENSORS}


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
        lie = self.mirror.lies.get(self.name, self.mirror.lies.get("all"))
        return data if lie is None else lie(data, start)


class Mirror:
    """An honest store, but for what a test changes: file → size, file → bytes."""

    def __init__(self, store: ObjectStore):
        self.store, self.sizes, self.lies = store, {}, {}
        self.opened, self.reads = set(), []

    @property
    def tensors_read(self):
        return [name for name, _ in self.reads if name in SIZES]

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
    monkeypatch.setattr(gathering, "CHUNK_BYTES", 1 << 14)


@pytest.fixture
def one_worker(monkeypatch):
    monkeypatch.setattr(gathering, "WORKERS", 1)


def flip(data, start):
    return bytes([data[0] ^ 1]) + data[1:]


def require_nothing(root):
    """No checkpoint, and no more on the disk than one."""
    assert not (root / DIGEST.hex()).exists()
    left = [path for path in root.rglob("*") if path.is_file()]
    small = sum((GENESIS / name).stat().st_size for name in FILES)
    assert sum(path.stat().st_size for path in left) <= small + 10_000


def require_whole(root):
    folder = root / DIGEST.hex()
    for name in FILES:
        assert (folder / name).read_bytes() == (GENESIS / name).read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in root.iterdir()] == [DIGEST.hex()]


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
    with pytest.raises(CheckpointError, match=r"are taken|bytes for a tensor of"):
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
    """Nothing of what it names is asked for, here or elsewhere."""
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
    with pytest.raises(CheckpointError, match="500,000 are taken"):
        fetch_checkpoint([mirror], DIGEST, tmp_path, FetchLimits(checkpoint_bytes=500_000))
    assert not mirror.tensors_read


@pytest.mark.parametrize("cut", [-1, 1 << 20])
def test_more_or_fewer_bytes_than_were_asked_for(mirror, tmp_path, cut):
    mirror.lies["all"] = lambda data, start: data[:cut] if cut < 0 else data + bytes(cut)
    with pytest.raises(CheckpointError, match="other than by its size"):
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
    assert 0 < len(mirror.tensors_read) <= gathering.WORKERS // 2


def test_a_mirror_that_dies_half_way(mirror, store, tmp_path, one_worker):
    """The rest is had from the other one, and nothing twice but what was under way."""

    def die(data, start):
        if len(mirror.tensors_read) > len(NAMES) // 2:
            raise StoreError("the connection was reset")
        time.sleep(0.01)  # the other one has its turn
        return data

    mirror.lies["all"] = die
    second = Mirror(store)
    second.lies["all"] = lambda data, start: time.sleep(0.05) or data
    fetch_checkpoint([mirror, second], DIGEST, tmp_path)
    require_whole(tmp_path)
    assert len(mirror.tensors_read) + len(second.tensors_read) == len(NAMES) + 1


def test_a_mirror_that_never_answers(mirror, store, tmp_path, monkeypatch):
    """Whatever it is asked: it costs its patience, and nothing is written once it wakes up."""
    monkeypatch.setattr(gathering, "_PATIENCE_S", 0.5)
    monkeypatch.setattr(gathering, "_HASTE_S", 0.5)
    wake = threading.Event()
    mirror.lies = dict.fromkeys(NAMES, lambda data, start: wake.wait(30) and flip(data, start))
    fetch_checkpoint([mirror, store], DIGEST, tmp_path)
    wake.set()
    time.sleep(0.1)
    require_whole(tmp_path)
    monkeypatch.setattr(fetching, "_PATIENCE_S", 0.5)
    for name in SMALL:
        silent = Mirror(store)
        wake = threading.Event()
        silent.sizes[name] = lambda wake=wake: wake.wait(30)
        fetch_checkpoint([silent, store], DIGEST, tmp_path / name)
        wake.set()
        require_whole(tmp_path / name)


def test_a_slow_mirror_is_left_for_a_fast_one(mirror, store, tmp_path, monkeypatch, small_chunks):
    monkeypatch.setattr(gathering, "_HASTE_S", 0.3)
    monkeypatch.setattr(gathering, "_SLOWER", 2.0)
    mirror.lies["all"] = lambda data, start: time.sleep(3) or data
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetching, "_PATIENCE_S", 30.0)
        fetch_checkpoint([store, mirror], DIGEST, tmp_path)
    assert time.monotonic() - began < 2.5
    require_whole(tmp_path)


def test_the_last_mirror_is_borne_with(mirror, tmp_path, monkeypatch):
    """Slow as it is, it is all there is."""
    monkeypatch.setattr(gathering, "_HASTE_S", 0.01)
    mirror.lies[NAMES[-1]] = lambda data, start: time.sleep(0.5) or data
    fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_whole(tmp_path)


def test_it_ends_with_the_time_that_is_given(mirror, tmp_path):
    mirror.lies[NAMES[-1]] = lambda data, start: time.sleep(5) or data
    began = time.monotonic()
    with pytest.raises(CheckpointError, match="too slow"):
        fetch_checkpoint([mirror], DIGEST, tmp_path, FetchLimits(seconds=0.5))
    assert time.monotonic() - began < 3
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


# --- cut off


def test_a_cut_download_goes_on_where_it_ended(mirror, store, tmp_path, one_worker):
    """At another mirror, too; no tensor that came is asked for again."""
    mirror.lies[LAST] = lambda data, start: b""
    with pytest.raises(CheckpointError):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    require_nothing(tmp_path)
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    assert {name for name, _ in second.reads} == {LAST}
    require_whole(tmp_path)


def test_what_was_damaged_meanwhile_is_fetched_again(mirror, store, tmp_path, one_worker):
    mirror.lies[LAST] = lambda data, start: b""
    with pytest.raises(CheckpointError):
        fetch_checkpoint([mirror], DIGEST, tmp_path)
    file = tmp_path / f".fetch-{DIGEST.hex()}" / MODEL_FILE
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    assert len(second.reads) == 2
    require_whole(tmp_path)


#: Fetches from a store in which every read takes its time.
SLOW_FETCH = """
import sys, time
from pathlib import Path
from assay.network import open_folder
from assay.neurons import gathering
from assay.neurons.fetching import fetch_checkpoint

class Slow:
    def __init__(self, inner): self.inner = inner
    def open(self, name): return Slow(self.inner.open(name))
    def size(self): return self.inner.size()
    def read(self, start, end):
        time.sleep(0.05)
        return self.inner.read(start, end)

gathering.WORKERS = 2
fetch_checkpoint([Slow(open_folder(Path(sys.argv[1])))], bytes.fromhex(sys.argv[2]),
                 Path(sys.argv[3]), progress=lambda done, due: print(done, flush=True))
"""


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_kill_9_at_any_time(store, tmp_path, share):
    arguments = [sys.executable, "-c", SLOW_FETCH, store.root, DIGEST.hex(), tmp_path]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line) >= share * MODEL_BYTES:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / DIGEST.hex()).exists()
    second = Mirror(store)
    fetch_checkpoint([second], DIGEST, tmp_path)
    require_whole(tmp_path)
    assert sum(SIZES[name] for name in set(second.tensors_read)) < MODEL_BYTES * (1 - share) + 1
    assert {name for name, _ in second.reads} <= set(NAMES)


def test_ctrl_c(mirror, store, tmp_path):
    """What has come is kept; no thread goes on."""

    def interrupt(done, due):
        if done > MODEL_BYTES // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_checkpoint([mirror], DIGEST, tmp_path, progress=interrupt)
    assert not [thread for thread in threading.enumerate() if thread.name in ("fetch", "read")]
    require_nothing(tmp_path)
    fetch_checkpoint([store], DIGEST, tmp_path)
    require_whole(tmp_path)


def test_two_programs_never_write_one_download(store, tmp_path):
    partial = tmp_path / f".fetch-{DIGEST.hex()}"
    partial.mkdir()
    with hold_folder(partial) as held:
        assert held
        with pytest.raises(CheckpointError, match="another program"):
            fetch_checkpoint([store], DIGEST, tmp_path)
    fetch_checkpoint([store], DIGEST, tmp_path)


# --- a disk that fills


def test_a_disk_without_room_is_ours_and_no_mirrors_fault(mirror, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(CheckpointError, match="are free") as caught:
        fetch_checkpoint([mirror, mirror], DIGEST, tmp_path)
    assert "mirror" not in str(caught.value)
    assert not mirror.tensors_read
    assert list(tmp_path.iterdir()) == []


#: Fetches where no file may grow beyond a size: what the system refuses is refused here.
LIMITED_FETCH = """
import resource, sys
from pathlib import Path
from assay.inference import CheckpointError
from assay.network import open_folder
from assay.neurons.fetching import fetch_checkpoint

limit = int(sys.argv[4])
store = open_folder(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    fetch_checkpoint([store], bytes.fromhex(sys.argv[2]), Path(sys.argv[3]))
except CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 20_000, MODEL_BYTES - 1, MODEL_BYTES])
def test_a_disk_that_fills(store, tmp_path, limit):
    root = tmp_path / "models"
    arguments = [sys.executable, "-c", LIMITED_FETCH, store.root, DIGEST.hex(), root, str(limit)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=120)
    if limit == MODEL_BYTES:
        require_whole(root)
        return
    assert "cannot keep checkpoint" in done.stdout
    assert "disk not full" in done.stdout
    assert list(root.iterdir()) == []
    fetch_checkpoint([store], DIGEST, root)
    require_whole(root)


# --- deltas


def make_child(models: Path, change: float = 1e-3) -> Manifest:
    """A child of the genesis beside it: most tensors a little different, one the same."""
    CheckpointFolder(models).add(GENESIS, DIGEST)
    weights = load_file(models / DIGEST.hex() / MODEL_FILE)
    generator = torch.Generator().manual_seed(7)
    for name in sorted(weights)[1:]:
        noise = torch.randn(weights[name].shape, generator=generator)
        weights[name] = (weights[name].float() * (1 + change * noise)).to(torch.bfloat16)
    checkpoints = CheckpointFolder(models)
    return checkpoints.publish(checkpoints.get(DIGEST), weights, bytes(32))


@pytest.fixture
def child(tmp_path, unmeasured, store):
    """A published child, as others see it."""
    manifest = make_child(tmp_path / "trainer")
    published = open_folder(tmp_path / "published")
    folder = tmp_path / "trainer" / manifest.digest.hex()
    publish_checkpoint(published, folder, manifest.digest)
    return manifest, Mirror(published), folder


def fetch_child(child, root, *, with_parent=True):
    manifest, mirror, folder = child
    if with_parent:
        CheckpointFolder(root).add(GENESIS, DIGEST)
    fetched = fetch_checkpoint([mirror], manifest.digest, root)
    assert (fetched / MODEL_FILE).read_bytes() == (folder / MODEL_FILE).read_bytes()
    return [name for name in mirror.opened if "/deltas/" in name], {
        name for name, _ in mirror.reads if f"tensors/{name}" in mirror.opened
    }


def test_whoever_has_the_parent_fetches_differences(child, tmp_path):
    deltas, whole = fetch_child(child, tmp_path / "miner")
    assert len(deltas) == len(TENSORS)
    assert whole == set()
    published = {Path(name).name for name in child[1].store.list() if "/deltas/" in name}
    assert {name for name, _ in child[1].reads} == {*SMALL, *published}
    assert len(TENSORS) // 2 < len(published) < len(TENSORS)  # the others are the parent's own


def test_without_the_parent_it_comes_whole(child, tmp_path):
    deltas, whole = fetch_child(child, tmp_path / "miner", with_parent=False)
    assert deltas == []
    assert len(whole) == len(TENSORS)


def test_a_delta_against_the_wrong_parent(child, tmp_path):
    """The copy of the parent is damaged: what comes of it is not taken for the child's."""
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    path, place = find_tensors(root / DIGEST.hex())[TENSORS[-1].name]
    data = bytearray(path.read_bytes())
    data[place.start + 100] ^= 4
    path.write_bytes(data)
    _, whole = fetch_child(child, root, with_parent=False)
    assert len(whole) == 1


BOMB = (1 << 20).to_bytes(4, "little") * 3


@pytest.mark.parametrize("how", ["flip", "cut", "bomb", "another", "long", "huge"])
def test_a_lying_delta(child, tmp_path, how):
    """It costs the tensor's own bytes, and nothing else."""
    published = child[1].store
    names = [name for name in published.list() if "/deltas/" in name]
    name = max(names, key=lambda n: published.open(n).size())
    data = published.get(name, 1 << 30)
    other = min(names, key=lambda n: published.open(n).size())
    published.put(name, {
        "flip": flip(data, 0),
        "cut": data[:-1],
        "bomb": BOMB + data[12:],
        "another": published.get(other, 1 << 30),
        "long": data + b"\0",
        "huge": data * 40,
    }[how])  # fmt: skip
    _, whole = fetch_child(child, tmp_path / "miner")
    assert whole == {Path(name).name}


def test_a_large_step_has_no_delta(tmp_path, unmeasured):
    """Where a difference is hardly smaller than the tensor, the tensor is all there is."""
    manifest = make_child(tmp_path / "trainer", change=1.0)
    published = open_folder(tmp_path / "published")
    folder = tmp_path / "trainer" / manifest.digest.hex()
    publish_checkpoint(published, folder, manifest.digest)
    assert not [name for name in published.list() if "/deltas/" in name]
    _, whole = fetch_child((manifest, Mirror(published), folder), tmp_path / "miner")
    assert len(whole) == len(TENSORS) - 1


# --- what is published


class Forgetful:
    """A store that keeps something else than it is given."""

    def __init__(self, store, keep):
        self.store, self.keep = store, keep

    def open(self, name):
        return self.store.open(name)

    def put(self, name, data):
        if (kept := self.keep(name, data)) is not None:
            self.store.put(name, kept)


@pytest.mark.parametrize("name", [*SMALL, NAMES[-1]])
@pytest.mark.parametrize("how", ["nothing", "flip", "cut"])
def test_what_does_not_come_back_is_not_published(tmp_path, name, how):
    damage = {"nothing": lambda d: None, "flip": lambda d: flip(d, 0), "cut": lambda d: d[:-1]}[how]
    inner = open_folder(tmp_path / "store")
    bad = Forgetful(inner, lambda n, data: damage(data) if Path(n).name == name else data)
    with pytest.raises(StoreError, match="gives back other bytes"):
        publish_checkpoint(bad, GENESIS, DIGEST)
    if name != MANIFEST_FILE:  # whoever finds it finds everything
        assert not [n for n in inner.list() if n.endswith(MANIFEST_FILE)]
    publish_checkpoint(inner, GENESIS, DIGEST)
    fetch_checkpoint([inner], DIGEST, tmp_path / "models")
    require_whole(tmp_path / "models")


def test_a_damaged_folder_is_not_published(tmp_path):
    folder = tmp_path / "damaged"
    shutil.copytree(GENESIS, folder)
    data = bytearray((folder / MODEL_FILE).read_bytes())
    data[-1] ^= 1
    (folder / MODEL_FILE).write_bytes(data)
    store = open_folder(tmp_path / "store")
    with pytest.raises(CheckpointError, match="damaged"):
        publish_checkpoint(store, folder, DIGEST)
    assert store.list() == ()


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
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    store = open_folder(tmp_path / "store")
    publish_checkpoint(store, folder, DIGEST)
    fetch_checkpoint([store], DIGEST, tmp_path / "models")
    require_whole(tmp_path / "models")  # in one file again


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
