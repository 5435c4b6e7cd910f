"""What follows a LoRA checkpoint without being one: an amendment's start, and a round's merge."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from assay.artifacts.checkpoints.adapter import ADAPTER_PATH
from assay.artifacts.checkpoints.folder import CheckpointFolder, find_checkpoint_fault
from assay.artifacts.steps.learner import make_learner
from assay.protocol.beacon import QUICKNET
from assay.protocol.gate import NO_COURSE, Course
from assay.protocol.parameters import Start
from assay.rounds import published
from assay.subnet.genesis_checkpoint import calibrate_anew
from assay.subnet.presets import make_demo_parameters
from assay.training import LearnConfig
from tests.audit.audited import teach
from tests.small_genesis import open_small_genesis

NUMBER = 100


@pytest.fixture
def taught(tmp_path):
    """A checkpoint with an adapter, beside its base."""
    torch.set_num_threads(1)
    base = open_small_genesis()
    checkpoints = CheckpointFolder(tmp_path / "models")
    checkpoints.add(base.folder, base.digest)
    manifest = teach(checkpoints, base)
    assert [file.name for file in manifest.files] == ["adapter.safetensors"]
    return checkpoints, checkpoints.get(manifest.digest)


@pytest.mark.slow
def test_an_amendments_start_is_a_change_of_no_other(taught, tmp_path):
    """The owner names the trainer's newest checkpoint. A trainer's new factors change the start."""
    checkpoints, parent = taught
    parameters = make_demo_parameters(bytes(32), QUICKNET, 0, bytes(32), bytes(32))
    amended = replace(parameters, work=replace(parameters.work, temperature=900))
    start = tmp_path / "start"
    shutil.copytree(parent.folder, start)
    measured = replace(parent.manifest, course=Course(b"m" * 32, 1))  # of a network with a gate
    manifest = calibrate_anew(start, amended, measured, NUMBER)
    assert manifest.course == NO_COURSE
    assert manifest.files == ()
    assert not (start / ADAPTER_PATH).exists()
    assert (manifest.tensors, manifest.parent) == (measured.tensors, measured.digest)
    checkpoints.add(start, manifest.digest)
    opened = checkpoints.get(manifest.digest)
    named = Start(parameters.digest, 6, manifest.digest, NUMBER)
    assert find_checkpoint_fault(opened, replace(amended, start=named)) is None
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    learner = make_learner(opened, LearnConfig(lora_rank=2), lambda: opened, checkpoints.get)
    assert learner.base == manifest.digest
    stored = load_file(start / "model.safetensors")
    assert all(torch.equal(w, stored[name]) for name, w in learner.bf16_state().items())


def test_a_rounds_merge_has_no_adapter(taught):
    """It would make its parent's tensors."""
    checkpoints, parent = taught
    weights = load_file(parent.folder / "model.safetensors")
    merged = checkpoints.publish(parent, weights, b"\2" * 32, number=NUMBER)
    assert merged.files == ()
    find_fault = vars(published)["_find_manifest_fault"]
    merging = SimpleNamespace(facts=SimpleNamespace(parent=parent.manifest))
    assert find_fault(merged, merging) is None
    kept = replace(merged, files=parent.manifest.files)
    assert find_fault(kept, merging) == "it is another model than its parent"
