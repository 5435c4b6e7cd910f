"""A hub's folder of every family of the table is adopted, and computes what it did."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from assay.inference.families import FAMILIES
from assay.inference.folder import MODEL_FILE
from assay.inference.model_loading import load_model
from assay.inference.routing import has_routers
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.subnet.adoption.adopt import adopt_model, export_checkpoint, find_unadopted
from assay.subnet.adoption.config import TEXT_FAMILIES
from assay.subnet.genesis_checkpoint import make_genesis
from tests.hub_folders import CHATML, QWEN_TOKENS, VOCABULARY, make_core, make_settings
from tests.inference.family_models import RAMP, get_tensors, make_config, make_model


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


@pytest.mark.parametrize("kind", ["qwen3_moe", "qwen3_5_text"])  # dense ones: test_folder.py
def test_transformers_opens_what_is_exported(tmp_path: Path, kind: str) -> None:
    """A mixture with its family's own routers, and a hybrid: with the tokenizer and its template
    they are the models that were adopted."""
    model = write_source(tmp_path / "source", kind)
    settings = make_settings(chat_template=CHATML)
    (tmp_path / "source" / "tokenizer_config.json").write_text(json.dumps(settings))
    adopt_model(tmp_path / "source", tmp_path / "model", probes=False)
    tests = replace(SMALL_MODEL_TESTS, router_ramp=RAMP if has_routers(model) else 0)
    make_genesis(tmp_path / "model", 4, problems=2, tests=tests)
    export_checkpoint(tmp_path / "model", tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "user", "content": "7+15=?\n"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert tokenizer.decode(ids).endswith("<|im_end|>\n<|im_start|>assistant\n")
    opened = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    row = torch.tensor([ids * 3])
    with torch.inference_mode():
        wanted = model(row, use_cache=False).logits
        assert torch.allclose(opened(row, use_cache=False).logits, wanted, atol=1e-4)


def see(folder: Path, outer: str, prefix: str, **changes: Any) -> None:
    """Make of a source the folder of a model that also sees. `changes` of its text's config; `...`:
    the field is left out."""
    config = json.loads((folder / "config.json").read_text())
    shared = {name: config.pop(name) for name in ("tie_word_embeddings", "eos_token_id")}
    inner = {name: value for name, value in (config | changes).items() if value is not ...}
    (folder / "config.json").write_text(
        json.dumps({"model_type": outer, "text_config": inner, "vision_config": {}, **shared})
    )
    tensors = load_file(folder / MODEL_FILE)
    tensors = {name.replace("model.", prefix, 1): tensor for name, tensor in tensors.items()}
    tensors["model.visual.blocks.0.weight"] = torch.zeros(2)
    save_file(tensors, folder / MODEL_FILE)


OUTER = {
    outer: kind
    for outer, kind in TEXT_FAMILIES.items()
    if not outer.endswith("_text") and kind in FAMILIES
}


@pytest.mark.parametrize(("outer", "kind"), OUTER.items())
def test_the_text_part_computes_what_it_did(tmp_path: Path, outer: str, kind: str) -> None:
    model = write_source(tmp_path / "source", kind)
    inner = f"{outer}_text" if f"{outer}_text" in TEXT_FAMILIES else kind
    see(tmp_path / "source", outer, "model.language_model.", model_type=inner)
    adoption = adopt_model(tmp_path / "source", tmp_path / "out", probes=False)
    assert adoption.config["model_type"] == kind
    ids = torch.arange(24)[None]
    with torch.inference_mode():
        wanted = model(ids, use_cache=False).logits
        found = load_model(tmp_path / "out")(ids, use_cache=False).logits
    assert torch.allclose(found, wanted, atol=1e-4)


def test_a_gemma_3_of_the_hub_keeps_both_of_its_angles(tmp_path: Path) -> None:
    """Its text part leaves out what its class has, and spells angles in the older way."""
    write_source(tmp_path / "source", "gemma3_text")
    older = {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "sliding_window_pattern": 2}
    scaled = {"rope_scaling": {"rope_type": "linear", "factor": 8.0}, "layer_types": ...}
    changes = {"rope_parameters": ..., "hidden_activation": ..., **older, **scaled}
    see(tmp_path / "source", "gemma3", "language_model.model.", **changes)
    adoption = adopt_model(tmp_path / "source", tmp_path / "out", probes=False)
    rope = load_model(tmp_path / "out").config.rope_parameters
    assert rope["full_attention"] == {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
    assert rope["sliding_attention"]["rope_theta"] == 1e4
    assert adoption.config["layer_types"] == ["sliding_attention", "full_attention"]
