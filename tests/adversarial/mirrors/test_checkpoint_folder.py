"""Publishing a checkpoint, and the folder that fetches it: it is whole on both ends."""

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.artifacts.checkpoints import folder as checkpoint_folder
from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.steps.folder import digest_tensors_of
from assay.inference.folder import (
    MANIFEST_FILE,
    MODEL_FILE,
    CheckpointError,
    UnusableCheckpointError,
    list_small_files,
)
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.adversarial.mirrors.lab import DIGEST, NAMES, SMALL, Mirror, flip, require_whole
from tests.adversarial.watched import publish_by_hand


class Forgetful:
    """A store that keeps something else than it is given."""

    def __init__(self, store, keep):
        self.store, self.keep = store, keep

    def open(self, name):
        return self.store.open(name)

    def put(self, name, data):
        if (kept := self.keep(name, data)) is not None:
            self.store.put(name, kept)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        pytest.param(name, how, marks=[pytest.mark.nightly] * ((place - turn) % 3 != 0))
        for place, name in enumerate([*SMALL, NAMES[-1]])
        for turn, how in enumerate(("nothing", "flip", "cut"))
    ],
)
def test_a_checkpoint_that_does_not_read_back_is_not_published(tmp_path, name, how):
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
    checkpoints = CheckpointFolder(tmp_path, DownloadSettings(lambda: [mirror]))
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

    checkpoints = CheckpointFolder(tmp_path, DownloadSettings(iterate, retry_s=3_600.0))
    for _ in range(3):
        with pytest.raises(CheckpointError, match="cannot be had"):
            checkpoints.get(DIGEST)
    assert len(asked) == 1
    patient = CheckpointFolder(tmp_path, DownloadSettings(iterate, retry_s=0.0))
    assert patient.get(DIGEST).digest == DIGEST


def test_however_often_mirrors_had_nothing_they_are_asked_within_the_longest_pause(
    tmp_path, monkeypatch
):
    now, asked = [0.0], []
    clock = SimpleNamespace(monotonic=lambda: now[0], time=lambda: now[0])
    monkeypatch.setattr(checkpoint_folder, "time", clock)
    fetching = DownloadSettings(lambda: asked.append(now[0]) or [], longest_s=3.0)
    checkpoints = CheckpointFolder(tmp_path, fetching)
    for second in range(13):
        now[0] = float(second)
        with pytest.raises(CheckpointError, match="cannot be had"):
            checkpoints.get(DIGEST)
    assert asked == [0.0, 3.0, 6.0, 9.0, 12.0]


def test_a_present_checkpoint_waits_for_no_download(mirror, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def hang(data, start):
        begun.set()
        assert go_on.wait(30)
        return data

    mirror.lies[MANIFEST_FILE] = hang
    checkpoints = CheckpointFolder(tmp_path, DownloadSettings(lambda: [mirror]))
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
    """The window is void because the chain names this checkpoint: it must not look like a lie."""
    world = fresh_world
    weights = {n: w.to(torch.bfloat16) for n, w in world.checkpoint.model.state_dict().items()}
    weights["lm_head.weight"] = torch.full_like(weights["lm_head.weight"], torch.nan)
    digest = publish_by_hand(world, weights)
    store = open_folder(tmp_path / "store")
    publish_checkpoint(store, world.folder / "by-hand", digest)
    checkpoints = CheckpointFolder(tmp_path / "models", DownloadSettings(lambda: [store]))
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


def make_children(checkpoints: CheckpointFolder, count: int) -> list[Manifest]:
    parent = checkpoints.get(DIGEST)
    weights = {n: w.to(torch.bfloat16) for n, w in parent.model.state_dict().items()}
    manifests = []
    for number in range(count):
        manifests.append(checkpoints.publish(parent, weights, bytes([number]) * 32))
        parent = replace(parent, manifest=manifests[-1])
    return manifests


def test_weights_that_are_hashed_and_in_memory_are_neither_again(tmp_path, monkeypatch):
    CheckpointFolder(tmp_path / "a").add(GENESIS, DIGEST)
    checkpoints, others = (CheckpointFolder(tmp_path / "a") for _ in range(2))
    parent = checkpoints.get(DIGEST)
    weights = load_file(GENESIS / MODEL_FILE)
    weights = {name: (weight * 1.003).to(torch.bfloat16) for name, weight in weights.items()}
    plain = checkpoints.publish(parent, weights, bytes(32))
    assert plain.digest not in checkpoints.opened
    shutil.rmtree(tmp_path / "a" / plain.digest.hex())
    root = digest_tensors_of(weights.items())
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_folder, "digest_tensors", lambda _: pytest.fail("hashed"))
        patched.setattr(checkpoint_folder, "load_checkpoint", lambda *_: pytest.fail("loaded"))
        made = checkpoints.publish(parent, weights, bytes(32), root=root)
        mine = checkpoints.get(made.digest)
    assert made == plain
    theirs = others.get(made.digest)  # hashes every tensor
    assert mine.folder == theirs.folder
    assert mine.calibration == theirs.calibration
    for one, other in zip(*(c.model.parameters() for c in (mine, theirs)), strict=True):
        assert torch.equal(one, other)


def test_a_file_of_other_weights_than_were_hashed_is_not_uploaded(tmp_path, unmeasured):
    """The disk may have failed meanwhile: what is uploaded is read from it."""
    checkpoints, store = CheckpointFolder(tmp_path), open_folder(tmp_path / "store")
    checkpoints.add(GENESIS, DIGEST)
    parent = checkpoints.get(DIGEST)
    weights = {n: w.to(torch.bfloat16) for n, w in parent.model.state_dict().items()}
    made = checkpoints.publish(parent, weights, bytes(32), root=bytes(31) + b"1")
    with pytest.raises(CheckpointError, match="are not those of its manifest"):
        publish_checkpoint(store, tmp_path / made.digest.hex(), made.digest)
    assert not list((tmp_path / "store").rglob("manifest.json"))


def test_old_checkpoints_go_but_never_genesis_newest_or_open(tmp_path, unmeasured):
    CheckpointFolder(tmp_path).add(GENESIS, DIGEST)
    checkpoints = CheckpointFolder(tmp_path, keep=2)
    first, second = make_children(checkpoints, 2)
    checkpoints.get(first.digest)
    third, fourth, fifth = make_children(checkpoints, 5)[2:]
    here = {path.name for path in tmp_path.iterdir()}
    assert {m.digest.hex() for m in (first, fourth, fifth)} | {DIGEST.hex()} == here
    assert third.digest != second.digest


def test_of_old_checkpoints_all_but_the_tensors_may_stay(tmp_path, unmeasured):
    CheckpointFolder(tmp_path).add(GENESIS, DIGEST)
    checkpoints = CheckpointFolder(tmp_path, keep=2, outlines=4)
    manifests = make_children(checkpoints, 7)
    whole = {DIGEST.hex(), manifests[-2].digest.hex(), manifests[-1].digest.hex()}
    outlines = {f"{one.digest.hex()}.outline" for one in manifests[2:5]}
    assert {path.name for path in tmp_path.iterdir()} == whole | outlines
    folder = tmp_path / f"{manifests[2].digest.hex()}.outline"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {MANIFEST_FILE, *list_small_files(manifests[2])}
    for one in manifests[2:]:
        assert CheckpointFolder(tmp_path).get_outline(one.digest).manifest == one
    with pytest.raises(CheckpointError):
        checkpoints.get_outline(manifests[1].digest)


def test_an_outline_is_fetched_without_tensors(tmp_path):
    store, models = open_folder(tmp_path / "store"), tmp_path / "models"
    publish_checkpoint(store, GENESIS, DIGEST)
    checkpoints = CheckpointFolder(models, DownloadSettings(lambda: [store], in_background=True))
    assert checkpoints.get_outline(DIGEST).manifest.digest == DIGEST
    assert [path.name for path in models.iterdir()] == [f"{DIGEST.hex()}.outline"]
    assert not list(models.rglob("*.safetensors"))
    asked = []
    without = CheckpointFolder(tmp_path / "none", DownloadSettings(lambda: asked.append(1) or []))
    for _ in range(3):
        with pytest.raises(CheckpointError, match="no mirror is known"):
            without.get_outline(DIGEST)
    assert len(asked) == 1  # mirrors that had nothing are left alone for a while


def test_without_being_asked_nothing_goes(tmp_path, unmeasured):
    checkpoints = CheckpointFolder(tmp_path)
    checkpoints.add(GENESIS, DIGEST)
    assert len(make_children(checkpoints, 5)) + 1 == len(list(tmp_path.iterdir()))
