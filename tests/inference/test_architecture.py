"""A config.json that asks for more than the files hold is refused before a library acts on it."""

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, PretrainedConfig, Qwen2Config, Qwen3Config
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from assay.inference.checkpoint import load_checkpoint
from assay.inference.families import find_misfit
from assay.inference.folder import UnusableCheckpointError, digest_structure
from assay.protocol.encoding import from_json, to_json
from assay.protocol.manifest import Manifest
from assay.training import GENESIS

CONFIG = json.loads((GENESIS / "config.json").read_text())
SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def get_shapes(config: Any) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (LlamaConfig, {"tie_word_embeddings": True}),
        (LlamaConfig, {"head_dim": 16, "attention_bias": True}),
        (Qwen2Config, {}),
        (Qwen2Config, {"tie_word_embeddings": True}),
        (Qwen3Config, {}),
        (Qwen3Config, {"head_dim": 16}),
    ],
    ids=str,
)
def test_configs_of_the_known_families_fit_their_models(kind: Any, more: dict[str, Any]) -> None:
    config = kind(**SMALL, **more, architectures=["Any"], dtype="bfloat16")
    shapes = get_shapes(config)
    written = json.loads(config.to_json_string(use_diff=False))
    written = {name: value for name, value in written.items() if name in KEPT}
    assert find_misfit(written, shapes) is None
    for name in SMALL:
        assert find_misfit(written | {name: written[name] + 1}, shapes) is not None, name


#: Fields of a published config.json; `use_diff=False` also writes every default of a library.
KEPT = {*CONFIG, "head_dim", "attention_bias", "mlp_bias"}

MISFITS: dict[str, dict[str, Any]] = {
    "a million layers": {"num_hidden_layers": 10**6},
    "a layer too few": {"num_hidden_layers": 2},
    "a vocabulary of a billion": {"vocab_size": 10**9},
    "wide states": {"hidden_size": 1 << 20},
    "a wide inner layer": {"intermediate_size": 1 << 30},
    "a million heads": {"num_attention_heads": 10**6},
    "more key heads": {"num_key_value_heads": 8},
    "heads of a megabyte": {"head_dim": 1 << 20},
    "no heads": {"num_attention_heads": 0},
    "layers as text": {"num_hidden_layers": "3"},
    "layers as a truth": {"num_hidden_layers": True},
    "kinds for other layers": {"layer_types": ["full_attention"] * 4},
    "kinds that are no list": {"layer_types": "abc"},
    "kinds of an unknown attention": {"layer_types": ["chunked_attention"] * 3},
    "kinds that are lists": {"layer_types": [[]] * 3},
    "another activation": {"hidden_act": "gelu"},
    "no activation": {"hidden_act": None},
    "a switch that is a number": {"tie_word_embeddings": 0},
    "angles by the longest of a batch": {"rope_parameters": {"rope_type": "dynamic"}},
    "the same by its older name": {"rope_scaling": {"rope_type": "longrope"}},
    "the same by the type's older name": {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
    "two types": {"rope_parameters": {"rope_type": "default", "type": "dynamic"}},
    "angles for each type of layer": {
        "rope_parameters": {"full_attention": {"rope_type": "dynamic"}}
    },
    "angles in two places": {
        "rope_parameters": {"rope_type": "default"},
        "rope_scaling": {"rope_type": "yarn", "factor": 2.0},
    },
    "a number that is a text": {"rope_parameters": {"rope_theta": "10000"}},
    "angles of a type that is a list": {"rope_scaling": {"rope_type": []}},
    "angles that are text": {"rope_parameters": "default"},
    "a billion labels": {"num_labels": 10**9},
    "a quantiser": {"quantization_config": {"quant_method": "gptq"}},
    "code of its own": {"auto_map": {"AutoConfig": "evil.Config"}},
    "experts": {"num_experts": 10**6},
    "another family": {"model_type": "qwen2_moe"},
    "a family that is a list": {"model_type": ["qwen2"]},
}


@pytest.mark.parametrize("name", MISFITS)
def test_nothing_is_built_for_a_config_that_does_not_fit(tmp_path, monkeypatch, name: str) -> None:
    """Not one module: neither a config object nor a model is made of it."""
    folder = tmp_path / "model"
    shutil.copytree(GENESIS, folder)
    (folder / "config.json").write_text(json.dumps(CONFIG | MISFITS[name]))
    manifest = from_json(Manifest, json.loads((folder / "manifest.json").read_text()))
    manifest = replace(manifest, structure=digest_structure(folder))
    (folder / "manifest.json").write_text(json.dumps(to_json(manifest)))
    built: list[Any] = []
    for part in (torch.nn.Module, PretrainedConfig):
        monkeypatch.setattr(part, "__init__", lambda self, *a, **k: built.append(type(self)))
    monkeypatch.setattr(PretrainedConfig, "from_dict", lambda *a, **k: built.append(a))
    with pytest.raises(UnusableCheckpointError):
        load_checkpoint(folder, manifest.digest)
    assert built == []


@pytest.mark.parametrize("config", [None, [], 1, {}, {"model_type": "qwen2"}], ids=str)
def test_a_config_that_is_none(config: Any) -> None:
    assert find_misfit(config, {}) is not None
