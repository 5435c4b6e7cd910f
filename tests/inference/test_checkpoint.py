"""A model folder is used only if every byte of it is what its manifest says."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.environments.base import ask
from assay.inference.checkpoint import load_checkpoint
from assay.inference.folder import (
    PASSAGES_FILE,
    CheckpointError,
    UnusableCheckpointError,
    digest_tensors,
    read_passages,
)
from assay.inference.model_loading import load_model, outline_config
from assay.protocol.manifest import find_fault
from assay.protocol.parameters import SMALL_MODEL_TESTS, Gate
from assay.training import GENESIS
from tests.small_genesis import open_small_genesis

FILES = sorted(path.name for path in GENESIS.iterdir() if path.name != "__pycache__")


@pytest.fixture
def folder(tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(GENESIS, copy)
    return copy


def test_the_shipped_model_is_small_and_whole(checkpoint):
    assert sum((GENESIS / name).stat().st_size for name in FILES) <= 4 << 20
    assert (
        find_fault(checkpoint.manifest, checkpoint.calibration, SMALL_MODEL_TESTS, Gate(), 4_096)
        is None
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("[]\n", "it has no passage"),
        ("[[[98],[1]]]\n", "an id is not a token's"),
        ("[[[1],[97,98]]]\n", "an id is not a token's"),
        ("[[[1],[2],[98],[3]]]\n", "an id is not a token's"),
        ("[[[],[1]]]\n", "a passage is a prompt and a turn"),
        ("[[[1],[2],[3],[]]]\n", "a passage is a prompt and a turn"),
    ],
)
def test_a_calibration_set_that_the_model_cannot_read_is_refused(folder, data, said):
    (folder / PASSAGES_FILE).write_text("[[[1],[97],[],[3]]]\n")
    assert len(read_passages(folder)) == 1
    (folder / PASSAGES_FILE).write_text(data)
    with pytest.raises(CheckpointError, match=said):
        read_passages(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_noticed(folder, name, checkpoint):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"not|damaged"):
        load_checkpoint(folder, checkpoint.digest)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=r"safetensors" if "model" in name else name):
        load_checkpoint(folder)


@pytest.mark.parametrize("name", ["manifest.json", "calibration.json"])
def test_a_small_file_that_is_large_is_not_parsed(folder, name):
    """Fifteen megabytes of brackets would be a third of a gigabyte of lists."""
    (folder / name).write_bytes(b"[" + b"[]," * (5 << 20) + b"[]]")
    with pytest.raises(CheckpointError, match="larger than 4 MiB"):
        load_checkpoint(folder)


def test_another_checkpoint_than_the_one_in_force(folder):
    with pytest.raises(CheckpointError, match="fetch the one in force"):
        load_checkpoint(folder, bytes(32))


def test_a_manifest_that_would_switch_the_tests_off_is_unusable(checkpoint):
    """Bounds on scale and rates are parameters: a trainer cannot calibrate the judge away."""
    from dataclasses import replace

    manifest, rates = checkpoint.manifest, checkpoint.calibration
    loose = replace(rates, rates=(10**18,) * len(rates.rates))
    for bad, calibration in (
        (replace(manifest, scale=2**40), rates),
        (replace(manifest, scale=0), rates),
        (manifest, loose),
        (replace(manifest, calibration=loose.digest), loose),
        (replace(manifest, max_tokens=0), rates),
        (replace(manifest, end_tokens=()), rates),
        (replace(manifest, levels=()), rates),
    ):
        assert find_fault(bad, calibration, SMALL_MODEL_TESTS, Gate(), 4_096) is not None


def publish_again(folder, base, times):
    """Manifests of a checkpoint's own weights, published under it."""
    checkpoints = CheckpointFolder(folder)
    checkpoints.add(base.folder, base.digest)
    parent = checkpoints.get(base.digest)
    weights = {n: w.to(torch.bfloat16) for n, w in parent.model.state_dict().items()}
    return [checkpoints.publish(parent, weights, b"\1" * 32) for _ in range(times)]


def test_the_same_weights_have_the_same_centre(tmp_path, checkpoint):
    (made,) = publish_again(tmp_path, checkpoint, 1)
    assert made.centre == checkpoint.manifest.centre


def test_publishing_the_same_weights_is_the_same_checkpoint(tmp_path):
    base = open_small_genesis()
    first, second = publish_again(tmp_path, base, 2)
    assert first == second
    assert first.parent == base.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        [base.digest.hex(), first.digest.hex()]
    )
    child = json.loads((tmp_path / first.digest.hex() / "manifest.json").read_text())
    assert child["number"] == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("special_tokens_map.json", '{"pad_token": "7"}'),
        ("special_tokens_map.json", "{"),
        ("added_tokens.json", "[1]"),
        ("chat_template.jinja", "{{ messages }}"),
        ("generation_config.json", "{"),
        ("adapter_config.json", "{}"),
    ],
)
def test_a_file_under_no_digest_changes_nothing(folder, name, content, checkpoint):
    """Libraries read more files than the manifest binds; a mirror could slip one in."""
    (folder / name).write_text(content)
    loaded = load_checkpoint(folder, checkpoint.digest)
    assert (loaded.tokenizer.drawable == checkpoint.tokenizer.drawable).all()
    assert loaded.tokenizer.encode(ask("1+2=?\n")) == checkpoint.tokenizer.encode(ask("1+2=?\n"))


def test_an_index_file_does_not_lead_to_other_weights(folder, checkpoint):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "zzz.safetensors")
    (folder / "sub").mkdir()
    save_file({n: torch.zeros_like(w) for n, w in weights.items()}, folder / "sub/evil.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "sub/evil.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    loaded = load_checkpoint(folder, checkpoint.digest)
    for name, weight in checkpoint.model.state_dict().items():
        assert torch.equal(weight, loaded.model.state_dict()[name])


@pytest.mark.parametrize(
    "changes",
    [{"num_attention_heads": 0}, {"hidden_size": 95}, {"num_hidden_layers": 4}, {"vocab_size": -1}],
    ids=str,
)
def test_a_config_that_makes_no_sense_is_nobodys_to_use(folder, changes):
    """Under a manifest that fits, so that the config itself is what fails."""
    from dataclasses import replace

    from assay.inference.folder import UnusableCheckpointError, digest_structure
    from assay.protocol.encoding import from_json, to_json
    from assay.protocol.manifest import Manifest

    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    manifest = from_json(Manifest, json.loads((folder / "manifest.json").read_text()))
    manifest = replace(manifest, structure=digest_structure(folder))
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    with pytest.raises(UnusableCheckpointError):
        load_checkpoint(folder, manifest.digest)


def test_a_type_that_this_library_lacks_is_this_machines_trouble(folder):
    """Until the parameters say that no network of theirs has such a type."""
    from dataclasses import replace

    from assay.artifacts.checkpoints.folder import CheckpointFolder, open_checkpoint
    from assay.inference.folder import digest_structure, find_tensors
    from assay.inference.plain.opening import LackingClassError, digest_shapes, get_library_version
    from assay.protocol.encoding import from_json, to_json
    from assay.protocol.manifest import Manifest
    from assay.protocol.parameters import ModelClass
    from tests.vectors.subjects import PARAMETERS

    config = json.loads((folder / "config.json").read_text()) | {"model_type": "nonsense"}
    (folder / "config.json").write_text(json.dumps(config))
    manifest = from_json(Manifest, json.loads((folder / "manifest.json").read_text()))
    manifest = replace(manifest, structure=digest_structure(folder))
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    with pytest.raises(LackingClassError, match="nonsense"):
        load_checkpoint(folder, manifest.digest)
    whole = CheckpointFolder(folder.parent / "models")
    whole.add(folder, manifest.digest)
    with pytest.raises(UnusableCheckpointError, match="no family"):
        open_checkpoint(whole, manifest.digest, PARAMETERS)
    shapes = digest_shapes({n: place.shape for n, (_, place) in find_tensors(folder).items()})
    wanted = ModelClass(manifest.structure, shapes, get_library_version(), "one", "other")
    with pytest.raises(LackingClassError, match="nonsense"):
        open_checkpoint(whole, manifest.digest, replace(PARAMETERS, model_class=wanted))


def test_another_structure_than_the_parameters_name_is_unusable(folder):
    from dataclasses import replace

    from assay.artifacts.checkpoints.folder import find_checkpoint_fault
    from assay.inference.folder import find_tensors
    from assay.inference.plain.opening import digest_shapes
    from assay.protocol.parameters import ModelClass
    from assay.subnet.presets import make_demo_parameters
    from tests.vectors.subjects import PARAMETERS

    checkpoint = replace(load_checkpoint(folder), is_plain=True)
    shapes = {name: place.shape for name, (_, place) in find_tensors(folder).items()}
    own = checkpoint.manifest.structure, digest_shapes(shapes)
    for structure, named, word in (
        (bytes(32), own[1], "config.json"),
        (own[0], bytes(32), "names and shapes"),
    ):
        wanted = ModelClass(structure, named, "5.19.0", "fp32-sdpa", "split3")
        fault = find_checkpoint_fault(checkpoint, replace(PARAMETERS, model_class=wanted))
        assert word in str(fault)
    right = ModelClass(*own, "5.19.0", "fp32-sdpa", "split3")
    demo = make_demo_parameters(bytes(32), PARAMETERS.beacon, 0, bytes(32), bytes(32))
    fault = find_checkpoint_fault(checkpoint, replace(demo, model_class=right))
    assert "names" not in str(fault)
    assert "no family" in str(find_checkpoint_fault(checkpoint, PARAMETERS))
    other = replace(checkpoint, is_plain=False)
    with_class = replace(demo, model_class=right)
    assert "a family describes" in str(find_checkpoint_fault(other, with_class))


def make_stranger(folder, changes):
    """A folder whose config.json is of a type without a family, and its manifest's."""
    from dataclasses import replace

    from assay.inference.folder import digest_structure
    from assay.protocol.encoding import from_json, to_json
    from assay.protocol.manifest import Manifest

    config = json.loads((folder / "config.json").read_text())
    sizes = {name: config[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
    (folder / "config.json").write_text(json.dumps(sizes | changes))
    manifest = from_json(Manifest, json.loads((folder / "manifest.json").read_text()))
    manifest = replace(manifest, structure=digest_structure(folder))
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    return manifest


def test_no_class_is_opened_that_the_parameters_do_not_name(folder, monkeypatch):
    """A stranger's config would cost each program a child up to its limits."""
    from dataclasses import replace

    from assay.artifacts.checkpoints.folder import CheckpointFolder, DownloadSettings
    from assay.artifacts.checkpoints.publish import publish_checkpoint
    from assay.audit.sources import ModelShelf
    from assay.inference.folder import find_tensors
    from assay.inference.plain import opening
    from assay.network.store.folder import open_folder
    from assay.protocol.parameters import ModelClass
    from tests.vectors.subjects import PARAMETERS

    manifest = make_stranger(folder, {"model_type": "gpt_neox"})
    (folder.parent / "store").mkdir()
    store = open_folder(folder.parent / "store")
    publish_checkpoint(store, folder, manifest.digest)

    def build(*_, **__):
        raise AssertionError("a class is opened")

    monkeypatch.setattr(opening.subprocess, "run", build)
    shapes = {name: place.shape for name, (_, place) in find_tensors(folder).items()}
    right, library = opening.digest_shapes(shapes), opening.get_library_version()
    for number, (wanted, word) in enumerate(
        (
            (None, "no family"),
            (ModelClass(bytes(32), right, library, "a", "b"), "config.json"),
            (ModelClass(manifest.structure, bytes(32), library, "a", "b"), "names and shapes"),
        )
    ):
        parameters = replace(PARAMETERS, model_class=wanted)
        fetching = DownloadSettings(lambda: [store])
        fetched = CheckpointFolder(folder.parent / f"fetched{number}", fetching)
        held = CheckpointFolder(folder.parent / f"held{number}")
        held.add(folder, manifest.digest)
        for checkpoints in (fetched, held):
            with pytest.raises(UnusableCheckpointError, match=word):
                checkpoints.get(manifest.digest, parameters)
        with pytest.raises(UnusableCheckpointError, match=word):  # as an auditor opens it
            ModelShelf([folder]).get(manifest.digest, parameters)
        for checkpoints in (fetched, held):
            with pytest.raises(CheckpointError, match="only parameters of its network") as caught:
                checkpoints.get(manifest.digest)
            assert not isinstance(caught.value, UnusableCheckpointError)
        assert not fetched.holds(manifest.digest)
    wanted = ModelClass(manifest.structure, right, library, "a", "b")
    with pytest.raises(CheckpointError, match="a class is opened"):  # amended parameters name it
        held.get(manifest.digest, replace(PARAMETERS, model_class=wanted))


def test_what_a_class_says_of_a_config_is_this_machines_trouble(folder):
    manifest = make_stranger(folder, {"model_type": "gpt_neox", "num_attention_heads": 5})
    with pytest.raises(CheckpointError, match="refused by its own class") as caught:
        load_checkpoint(folder, manifest.digest)
    assert not isinstance(caught.value, UnusableCheckpointError)


def test_tensors_whose_shape_is_not_their_size(folder):
    """Bound by the manifest's root, and still no tensors: no library's error may escape."""
    from dataclasses import replace

    from assay.protocol.encoding import from_json, to_json
    from assay.protocol.manifest import Manifest, compute_tensor_root

    path = folder / "model.safetensors"
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["lm_head.weight"]["shape"][0] += 1
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + size :])
    manifest = from_json(Manifest, json.loads((folder / "manifest.json").read_text()))
    manifest = replace(manifest, tensors=compute_tensor_root(digest_tensors(folder)))
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    with pytest.raises(UnusableCheckpointError):
        load_checkpoint(folder, manifest.digest)


@pytest.mark.parametrize("change", [lambda d: d[:100_000], lambda d: d + b"x", lambda d: d[:5]])
def test_a_cut_or_padded_safetensors_file_is_named(tmp_path, change):
    path = tmp_path / "model.safetensors"
    path.write_bytes(change((GENESIS / "model.safetensors").read_bytes()))
    with pytest.raises(CheckpointError, match=r"cannot read .*model\.safetensors"):
        digest_tensors(tmp_path)


def test_threads_that_load_at_once_leave_transformers_as_it_was(checkpoint):
    """Loading replaces functions of transformers and of torch, and puts them back."""
    before = PreTrainedModel.tie_weights, nn.init.normal_, nn.Linear.reset_parameters
    with ThreadPoolExecutor(4) as threads:
        for model in [threads.submit(load_model, GENESIS) for _ in range(24)]:
            model.result()
    after = PreTrainedModel.tie_weights, nn.init.normal_, nn.Linear.reset_parameters
    assert after == before


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_an_outline_has_sizes_of_weights_and_values_of_constants(make_random_model, tmp_path, kind):
    make_random_model(kind, 48, 2).to(torch.bfloat16).save_pretrained(tmp_path)
    whole = load_model(tmp_path)
    outline = outline_config((tmp_path / "config.json").read_bytes())
    shapes = {name: weight.shape for name, weight in whole.named_parameters()}
    assert {name: weight.shape for name, weight in outline.named_parameters()} == shapes
    assert all(weight.is_meta for weight in outline.parameters())
    constants = dict(outline.named_buffers())
    assert constants.keys() == dict(whole.named_buffers()).keys()
    assert all(torch.equal(constants[name], value) for name, value in whole.named_buffers())
