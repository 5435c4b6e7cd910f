"""Deltas that lie, and parents that they are not for."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from assay.artifacts.checkpoints.download import fetch_checkpoint
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE
from assay.inference.folder import MANIFEST_FILE, MODEL_FILE, find_tensors
from assay.network.store.folder import open_folder
from assay.protocol.manifest import Manifest
from assay.training import GENESIS
from tests.adversarial.mirrors.lab import DIGEST, TENSORS, Mirror, flip


def make_child(models: Path, change: float = 1e-3) -> Manifest:
    """A child next to the genesis: most tensors slightly changed, one the same."""
    CheckpointFolder(models).add(GENESIS, DIGEST)
    weights = load_file(models / DIGEST.hex() / MODEL_FILE)
    generator = torch.Generator().manual_seed(7)
    for name in sorted(weights)[1:]:
        noise = torch.randn(weights[name].shape, generator=generator)
        weights[name] = (weights[name].float() * (1 + change * noise)).to(torch.bfloat16)
    checkpoints = CheckpointFolder(models)
    return checkpoints.publish(checkpoints.get(DIGEST), weights, b"\1" * 32)


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
    small = {MANIFEST_FILE, TABLE_FILE}  # the others are the parent's, too
    assert {name for name, _ in child[1].reads} == small | published
    assert len(TENSORS) // 2 < len(published) < len(TENSORS)  # the others are the parent's own


def test_without_the_parent_it_comes_whole(child, tmp_path):
    deltas, whole = fetch_child(child, tmp_path / "miner", with_parent=False)
    assert deltas == []
    assert len(whole) == len(TENSORS)


def test_a_delta_against_the_wrong_parent(child, tmp_path):
    """The copy of the parent is damaged: the result is not taken for the child."""
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
    published.put(
        name,
        {
            "flip": flip(data, 0),
            "cut": data[:-1],
            "bomb": BOMB + data[12:],
            "another": published.get(other, 1 << 30),
            "long": data + b"\0",
            "huge": data * 40,
        }[how],
    )
    _, whole = fetch_child(child, tmp_path / "miner")
    assert whole == {Path(name).name}


def test_a_large_step_has_no_delta(tmp_path, unmeasured):
    """If a difference is hardly smaller than the tensor, only the tensor is published."""
    manifest = make_child(tmp_path / "trainer", change=1.0)
    published = open_folder(tmp_path / "published")
    folder = tmp_path / "trainer" / manifest.digest.hex()
    publish_checkpoint(published, folder, manifest.digest)
    assert not [name for name in published.list() if "/deltas/" in name]
    _, whole = fetch_child((manifest, Mirror(published), folder), tmp_path / "miner")
    assert len(whole) == len(TENSORS) - 1
