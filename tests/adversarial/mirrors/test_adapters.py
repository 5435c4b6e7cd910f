"""Checkpoints as adapters: what a reader fetches, and adapters that lie."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH, make_adapter
from assay.artifacts.checkpoints.download import DownloadLimits, fetch_checkpoint
from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.checkpoints.publish import publish_checkpoint
from assay.artifacts.checkpoints.tensor_table import TABLE_FILE
from assay.inference.folder import MANIFEST_FILE, MODEL_FILE, CheckpointError
from assay.inference.low_rank import (
    Adapter,
    Factors,
    decode_adapter,
    encode_adapter,
    merge,
    round_factors,
)
from assay.network.store.folder import open_folder
from assay.protocol.encoding import EncodingError
from assay.training import GENESIS
from tests.adversarial.mirrors.lab import DIGEST, NAMES, SMALL, TENSORS, Mirror

RANK = 4
ADAPTER = Path(ADAPTER_PATH).name
VECTORS = Path(__file__).parents[2] / "vectors"
NODE = shutil.which("node")
BAD = json.loads((VECTORS / "adapters.json").read_bytes())["bad"]
HUGE = 10 << 30


def draw_factors(weights, seed):
    """Of each layer's matrices."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return 0.02 * torch.randn(shape, generator=generator)

    return {
        name: round_factors(draw(len(weight), RANK), draw(RANK, weight.shape[1]))
        for name, weight in sorted(weights.items())
        if "proj.weight" in name
    }


def make_child(models, parent=DIGEST, seed=0, data=None, *, plain=False):
    """A child whose weights are the genesis with factors. It has their adapter, or `data`, or, if
    it is plain, none."""
    weights = load_file(models / DIGEST.hex() / MODEL_FILE)
    factors = draw_factors(weights, seed)
    for name, pair in factors.items():
        weights[name] = merge(weights[name], pair)
    adapter = None if plain else data or make_adapter(DIGEST, factors)
    checkpoints = CheckpointFolder(models)
    return checkpoints.publish(
        checkpoints.get(parent), weights, bytes([seed + 1]) * 32, adapter=adapter
    )


@pytest.fixture
def models(tmp_path, unmeasured):
    """The trainer's."""
    root = tmp_path / "trainer"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    return root


def publish(models, manifest, into):
    publish_checkpoint(into, models / manifest.digest.hex(), manifest.digest)
    return into


def require_equal(models, folder):
    """The files are the trainer's."""
    for path in sorted((models / folder.name).rglob("*.*")):
        assert (folder / path.relative_to(models / folder.name)).read_bytes() == path.read_bytes()


def test_a_trainer_uploads_the_base_once_and_no_other_tensor(models, tmp_path):
    store, names = open_folder(tmp_path / "store"), set()
    for seed in range(2):
        manifest = make_child(models, seed=seed)
        publish(models, manifest, store)
        names |= {f"checkpoints/{manifest.digest.hex()}/{n}" for n in (*SMALL, ADAPTER_PATH)}
    names |= {f"checkpoints/{DIGEST.hex()}/{name}" for name in SMALL}
    names |= {f"tensors/{name}" for name in NAMES}
    assert set(store.list()) == names


def test_a_new_reader_fetches_the_base_and_one_adapter(models, tmp_path, store):
    """Of three checkpoints in a row. The second store has lost the base, the first has no child."""
    digest, published = DIGEST, open_folder(tmp_path / "store")
    for seed in range(3):
        digest = make_child(models, digest, seed).digest
        publish_checkpoint(published, models / digest.hex(), digest)
    shutil.rmtree(tmp_path / "store" / "checkpoints" / DIGEST.hex())
    shutil.rmtree(tmp_path / "store" / "tensors")
    first, second = Mirror(store), Mirror(published)
    root = tmp_path / "miner"
    folder = fetch_checkpoint([first, second], digest, root)
    require_equal(models, folder)
    assert {path.name for path in root.iterdir()} == {DIGEST.hex(), digest.hex()}
    assert sorted(first.tensors_read) == sorted(NAMES)  # each once, and nothing of the others
    assert sorted(name for name, _ in second.reads) == sorted([*SMALL, ADAPTER])
    # another one costs its manifest, the table and its adapter
    later = make_child(models, digest, 3)
    publish(models, later, published)
    first.reads.clear()
    second.reads.clear()
    folder = fetch_checkpoint([second, first], later.digest, root)
    require_equal(models, folder)
    assert {name for name, _ in second.reads} == {MANIFEST_FILE, TABLE_FILE, ADAPTER}
    assert first.reads == []
    whole = (folder / MODEL_FILE).stat().st_size
    assert (folder / ADAPTER_PATH).stat().st_size < whole / 3  # of so small a model


def test_an_interrupted_download_goes_on(models, tmp_path):
    """What was made is checked and made again where it is wrong."""
    manifest = make_child(models)
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    whole = fetch_checkpoint([published], manifest.digest, root)
    left = root / f".fetch-{manifest.digest.hex()}"
    whole.rename(left)
    (left / "tensors.json").write_bytes(
        published.get(f"checkpoints/{manifest.digest.hex()}/tensors.json", 1 << 30)
    )
    file = left / MODEL_FILE
    data = bytearray(file.read_bytes())
    data[-9] ^= 1
    file.write_bytes(data)
    mirror = Mirror(published)
    require_equal(models, fetch_checkpoint([mirror], manifest.digest, root))
    assert mirror.reads == []


def test_a_full_child_has_no_adapter(models, tmp_path):
    """Its parent's would make other tensors."""
    manifest = make_child(models)
    child = make_child(models, manifest.digest, 1, plain=True)
    assert [file.name for file in manifest.files] == [ADAPTER]
    assert child.files == ()
    published = publish(models, child, open_folder(tmp_path / "store"))
    assert len([name for name in published.list() if name.startswith("tensors/")]) > 10
    require_equal(models, fetch_checkpoint([published], child.digest, tmp_path / "miner"))


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_another_language_makes_the_same_tensors(models):
    manifest = make_child(models)
    folder = models / manifest.digest.hex()
    script = [NODE, VECTORS / "second" / "adapter.js", models / DIGEST.hex(), folder]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == f"{len(TENSORS)} tensors made, 0 differ\n"
    weights = load_file(folder / MODEL_FILE)
    name = next(name for name in sorted(weights) if "proj.weight" in name)
    weights[name].view(torch.int16)[1, 1] ^= 1
    save_file(weights, folder / MODEL_FILE)
    done = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[1:] == [name]


def test_the_base_stays_while_checkpoints_go(models, tmp_path):
    """One that is no genesis, and that nothing has open."""
    base = make_child(models, plain=True)
    weights = load_file(models / base.digest.hex() / MODEL_FILE)
    factors = draw_factors(weights, 3)
    changed = {n: merge(w, factors[n]) if n in factors else w for n, w in weights.items()}
    adapter, parent = make_adapter(base.digest, factors), CheckpointFolder(models).get(base.digest)
    for step in range(5):
        os.utime(models / base.digest.hex(), (step, step))  # long ago
        trainer = CheckpointFolder(models, keep=2)
        trainer.publish(parent, changed, bytes([step]) * 32, number=9 + step, adapter=adapter)
    assert (models / base.digest.hex()).exists()
    assert len(list(models.iterdir())) == 3  # with the genesis and the newest


# --- adapters that lie


def test_an_adapter_that_makes_other_tensors_is_named(models, tmp_path):
    """With the tensors it costs time alone, and without them there is no checkpoint."""
    weights = load_file(models / DIGEST.hex() / MODEL_FILE)
    factors = draw_factors(weights, 0)
    name = next(iter(factors))
    factors[name] = Factors(-factors[name].left, factors[name].right)
    manifest = make_child(models, data=encode_adapter(Adapter(DIGEST, factors)))
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    stored = {Path(name).name for name in published.list() if name.startswith("tensors/")}
    (tensor,) = stored - set(NAMES)
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    mirror = Mirror(published)
    mirror.lies[tensor] = lambda data, start: bytes(len(data))
    with pytest.raises(CheckpointError, match=f"makes other tensors than it lists: {name}"):
        fetch_checkpoint([mirror], manifest.digest, root)
    assert not (root / manifest.digest.hex()).exists()
    require_equal(models, fetch_checkpoint([published], manifest.digest, root))


@pytest.mark.parametrize("entry", BAD, ids=lambda entry: entry["reason"])
def test_bytes_that_are_no_adapter(entry):
    with pytest.raises(EncodingError):
        decode_adapter(bytes.fromhex(entry["file"]))


@pytest.mark.parametrize("entry", BAD, ids=lambda entry: entry["reason"])
def test_an_adapter_that_is_refused(entry, models, tmp_path):
    """The manifest binds its bytes. Its tensors are fetched, where somebody has them."""
    data = bytes.fromhex(entry["file"]) or b"\0"
    manifest = make_child(models, data=data)
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    require_equal(models, fetch_checkpoint([published], manifest.digest, tmp_path / "miner"))
    bare = open_folder(tmp_path / "bare")
    for name in published.list():
        if not name.startswith("tensors/"):
            bare.put(name, published.get(name, 1 << 30))
    with pytest.raises(CheckpointError, match="its adapter: "):
        fetch_checkpoint([bare], manifest.digest, tmp_path / "other")


@pytest.mark.parametrize("how", ["unknown", "shape", "base"])
def test_an_adapter_of_another_model(how, models, tmp_path):
    weights = load_file(models / DIGEST.hex() / MODEL_FILE)
    factors, base = draw_factors(weights, 0), DIGEST
    name = next(iter(factors))
    if how == "unknown":
        factors["model.layers.9" + name] = factors.pop(name)
    elif how == "shape":
        factors[name] = Factors(factors[name].left[1:].contiguous(), factors[name].right)
    else:
        base = b"\3" * 32  # which nobody has
    manifest = make_child(models, data=encode_adapter(Adapter(base, factors)))
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    require_equal(models, fetch_checkpoint([published], manifest.digest, root))
    assert {path.name for path in root.iterdir() if path.name[0] != "."} == {
        DIGEST.hex(),
        manifest.digest.hex(),
    }


def test_an_adapter_of_ten_gigabytes_is_not_fetched(models, tmp_path):
    manifest = make_child(models)
    mirror = Mirror(publish(models, manifest, open_folder(tmp_path / "store")))
    mirror.sizes[ADAPTER] = lambda: HUGE
    with pytest.raises(CheckpointError, match=rf"{HUGE:,} bytes; at most"):
        fetch_checkpoint([mirror], manifest.digest, tmp_path / "miner")
    assert ADAPTER not in {name for name, _ in mirror.reads}


def test_other_bytes_are_not_this_adapter(models, tmp_path):
    manifest = make_child(models)
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    liar = Mirror(published)
    liar.lies[ADAPTER] = lambda data, start: bytes(len(data))
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    with pytest.raises(CheckpointError, match=ADAPTER):
        fetch_checkpoint([liar], manifest.digest, root)
    require_equal(models, fetch_checkpoint([liar, published], manifest.digest, root))


def test_no_time_is_spent_beyond_the_limit(models, tmp_path):
    manifest = make_child(models)
    published = publish(models, manifest, open_folder(tmp_path / "store"))
    root = tmp_path / "miner"
    CheckpointFolder(root).add(GENESIS, DIGEST)
    with pytest.raises(CheckpointError, match="time"):
        fetch_checkpoint([published], manifest.digest, root, DownloadLimits(seconds=0.0))
