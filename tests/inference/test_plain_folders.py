"""Folders of models that no family describes, as hubs have them: what their index says is tried."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.inference.folder import CheckpointError
from assay.subnet.adoption.adopt import adopt_model
from assay.training.genesis_model import ALPHABET, END, make_tokenizer
from tests.inference.plain_models import make_plain_config, make_plain_model

PARTS = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A hub's folder of two parts, and its index."""
    folder = tmp_path_factory.mktemp("hub")
    config = make_plain_config("gpt_neox", vocab_size=len(ALPHABET) + 2, eos_token_id=END)
    make_plain_model(config).to(torch.bfloat16).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    whole = folder / "model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    halves = names[::2], names[1::2]
    for part, half in zip(PARTS, halves, strict=True):
        save_file({name: tensors[name] for name in half}, folder / part, {"format": "pt"})
    places = {n: part for part, half in zip(PARTS, halves, strict=True) for n in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder, places


def adopt_with(source, tmp_path, places):
    folder, true = source
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    try:
        return adopt_model(folder, tmp_path / "model", probes=False)
    finally:
        index.write_text(json.dumps({"weight_map": true}))


def test_a_true_index_opens(source, tmp_path):
    adopt_with(source, tmp_path, source[1])
    assert (tmp_path / "model" / "model.safetensors").exists()


LIES = {
    "a tensor in another part": lambda p: {**p, min(p): PARTS[1]},
    "a tensor that no file has": lambda p: {**p, "gpt_neox.more.weight": PARTS[0]},
    "a tensor less": lambda p: {name: part for name, part in p.items() if name != min(p)},
    "a part of another folder": lambda p: {**p, min(p): "../" + PARTS[0]},
    "a part that is not there": lambda p: {**p, min(p): "model-00003-of-00003.safetensors"},
    "a number for a part": lambda p: {**p, min(p): 7},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_lies_is_refused_in_a_line(source, tmp_path, lie):
    with pytest.raises(CheckpointError) as refused:
        adopt_with(source, tmp_path, LIES[lie](source[1]))
    assert str(refused.value).count("\n") == 0
    assert not (tmp_path / "model").exists()
