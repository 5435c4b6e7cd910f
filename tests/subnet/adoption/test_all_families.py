"""A hub's folder of every family of the table is adopted, and computes what it did."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from assay.inference.families import FAMILIES
from assay.inference.folder import MODEL_FILE
from assay.inference.model_loading import load_model
from assay.subnet.adoption.adopt import adopt_model, find_unadopted
from tests.hub_folders import QWEN_TOKENS, VOCABULARY, make_core, make_settings
from tests.inference.family_models import get_tensors, make_config, make_model


def write_source(folder: Path, kind: str) -> Any:
    """A folder as transformers saves it. Returns the model."""
    more = {"vocab_size": VOCABULARY, "eos_token_id": 258}
    if "vocab_size_per_layer_input" in FAMILIES[kind].fields:
        more["vocab_size_per_layer_input"] = VOCABULARY
    model = make_model(make_config(kind, **more))
    folder.mkdir()
    model.config.save_pretrained(folder)
    save_file({n: t.contiguous() for n, t in get_tensors(model).items()}, folder / MODEL_FILE)
    (folder / "tokenizer.json").write_text(json.dumps(make_core(QWEN_TOKENS)))
    (folder / "tokenizer_config.json").write_text(json.dumps(make_settings()))
    return model


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_computes_what_it_did(tmp_path: Path, kind: str) -> None:
    model = write_source(tmp_path / "source", kind)
    adopt_model(tmp_path / "source", tmp_path / "out", probes=False)
    assert find_unadopted(tmp_path / "out") is None
    found = load_file(tmp_path / "out" / MODEL_FILE)
    assert all(torch.equal(found[name], one) for name, one in get_tensors(model).items())
    adopted = load_model(tmp_path / "out")
    ids = torch.arange(24)[None]
    with torch.inference_mode():
        wanted = model(ids, use_cache=False).logits
        assert torch.allclose(adopted(ids, use_cache=False).logits, wanted, atol=1e-4)
