"""Experts in one stack a layer, as a hub's folder or a trainer may have them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from assay.inference.model_loading import load_model
from assay.subnet.adoption.adopt import adopt_model
from assay.training.genesis_model import ALPHABET, make_tokenizer
from tests.inference.family_models import make_config, make_model


@pytest.mark.parametrize("kind", ["qwen3_5_moe_text", "qwen3_moe"])
def test_a_stack_is_taken_apart(tmp_path, kind):
    """Of a model that also sees, too: the experts are those of the stack."""
    model = make_model(make_config(kind, vocab_size=len(ALPHABET) + 2))
    config = json.loads(model.config.to_json_string(use_diff=True))
    names = {name: name for name in model.state_dict()}
    if kind == "qwen3_5_moe_text":
        config = {"model_type": "qwen3_5_moe", "text_config": config, "vision_config": {"depth": 2}}
        names = {name: name.replace("model.", "model.language_model.", 1) for name in names}
    source = tmp_path / "source"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(config))
    tensors = {names[n]: w.bfloat16().contiguous() for n, w in model.state_dict().items()}
    assert any(len(tensor.shape) == 3 and "experts" in name for name, tensor in tensors.items())
    save_file(tensors, source / "model.safetensors")
    make_tokenizer().save_pretrained(source)
    adoption = adopt_model(source, tmp_path / "adopted")
    assert any("to the matrices of each expert" in note for note in adoption.notes.converted)
    loaded = load_model(tmp_path / "adopted").state_dict()
    for name, weight in model.state_dict().items():
        assert torch.equal(loaded[name], weight), name
