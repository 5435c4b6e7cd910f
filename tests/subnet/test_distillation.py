"""On-policy distillation of the shipped model, by a teacher that it once learned to be."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.inference.placement import Placement
from assay.settings.loading import ConfigError
from assay.subnet.adoption.adopt import find_unadopted
from assay.subnet.distillation import DistillationRequest, run_distillation
from assay.subnet.recipe import read_recipe
from assay.training import GENESIS, LearnConfig, Learner
from assay.training.preparation import PreparationConfig
from tests.commands import run_command

LEARNING = LearnConfig(tokens_per_pass=512)


@pytest.fixture
def request_(tmp_path):
    """The student is the teacher with noise in its weights."""
    student = tmp_path / "student"
    shutil.copytree(GENESIS, student)
    (student / "manifest.json").unlink()
    weights = load_file(GENESIS / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    for name, weight in weights.items():
        noise = torch.randn(weight.shape, generator=generator) * weight.float().std() / 2
        weights[name] = (weight.float() + noise).bfloat16()
    save_file(weights, student / "model.safetensors", metadata={"format": "pt"})
    return DistillationRequest(
        model=student,
        folder=tmp_path / "w",
        recipe=read_recipe("genesis-arithmetic"),
        teacher=GENESIS,
        config=PreparationConfig(steps=4, batch=4, rate=1e-3, every=2),
        problems=6,
        held=8,
    )


def run(request):
    return run_distillation(request, LEARNING, Placement(), lambda line: None)


def read_model(request):
    return load_file(request.folder / "model" / "model.safetensors")


def test_a_course_brings_a_model_nearer_to_its_teacher(request_):
    request = replace(request_, config=PreparationConfig(6, 8, 4e-4, 6))
    document = run(request)
    first, last = document["progress"]["trials"]
    assert (first["step"], last["step"]) == (0, 6)
    assert 0 < last["loss"] < first["loss"]
    assert document["end"] == "all 6 steps are done"
    assert document["plan"]["teacher"]["tokenizer"] == document["plan"]["model"]["tokenizer"]
    assert document == json.loads((request.folder / "distill.json").read_text())
    assert find_unadopted(request.folder / "model") is None


def test_factors_learn_from_a_teacher_and_leave_an_adapter(request_, tmp_path):
    pytest.importorskip("peft", reason="peft is of the extra `train`")
    factors = replace(LEARNING, lora_rank=4)
    request = replace(request_, config=PreparationConfig(16, 8, 1e-3, 16))
    document = run_distillation(request, factors, Placement(), lambda line: None)
    first, last = document["progress"]["trials"]
    assert 0 < last["loss"] < first["loss"]
    file, made = request.folder / "adapter.safetensors", tmp_path / "made"
    assert document["adapter"] == str(file)
    done = run_command("adopt", file, "--base", request.model, "--out", made)
    assert done.returncode == 0, done.stderr
    again, learned = load_file(made / "model.safetensors"), read_model(request)
    assert all(torch.equal(again[name], learned[name]) for name in learned)


@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_course_ends_with_the_same_bits(request_, tmp_path, monkeypatch, at):
    run(replace(request_, folder=tmp_path / "whole"))
    learn, done = Learner.update, []

    def update(self, *arguments):
        done.append(None)
        if len(done) == at:
            raise RuntimeError("killed")
        return learn(self, *arguments)

    monkeypatch.setattr(Learner, "update", update)
    with pytest.raises(RuntimeError, match="killed"):
        run(request_)
    run(request_)
    whole, resumed = read_model(replace(request_, folder=tmp_path / "whole")), read_model(request_)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_another_teacher_is_another_plan(request_):
    request = replace(request_, config=PreparationConfig(steps=1, batch=1, every=1))
    run(request)
    with pytest.raises(ConfigError, match="a distillation with other teacher: name another"):
        run(replace(request, teacher=request.model))


def test_a_teacher_with_another_tokenizer_is_refused(request_, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(request_.model, other)
    document = json.loads((other / "tokenizer.json").read_text())
    vocabulary = document["model"]["vocab"]
    a, b, *_ = (token for token in vocabulary if token.isalpha())
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(document))
    out = tmp_path / "out"
    done = run_command(
        "train", "distill", request_.model, other, "--recipe=genesis-arithmetic", f"--out={out}"
    )
    assert done.returncode == 2
    assert "has another tokenizer than" in " ".join(done.stderr.split())
