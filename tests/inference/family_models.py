"""Tiny random models of every family, as transformers builds them."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

from assay.inference.expert_stacks import split_experts
from assay.inference.families import FAMILIES, Mask, list_fields
from assay.inference.routing import has_routers

VOCABULARY = 96
#: Shorter than the sequences of the tests.
_WINDOW = 12
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 1,
}
#: One recurrent layer and one of attention.
_RECURRENT = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_value_head_dim": 16,
}
#: ε of mixtures, 2^-20: an eighth, so that most tokens have more experts than are chosen.
RAMP = 1 << 17
EXPERTS, CHOSEN = 6, 2
_ROUTED = {"num_experts_per_tok": CHOSEN}
#: Widths of experts, and of the one that all tokens have.
_SHARED = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 24}
#: What a family needs, or what shows more of it.
_MORE: dict[str, dict[str, Any]] = {
    "cohere": {"use_qk_norm": True, "logit_scale": 0.25},
    "cohere2": {"logit_scale": 0.25},
    "exaone4": {"sliding_window_pattern": 2},
    "gemma2": {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0},
    "gemma3_text": {"query_pre_attn_scalar": 8, "final_logit_softcapping": 8.0},
    "gemma4_text": {
        "final_logit_softcapping": 8.0,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        "num_hidden_layers": 3,
        "num_kv_shared_layers": 1,
        "use_double_wide_mlp": True,
        "vocab_size_per_layer_input": VOCABULARY,
    },
    "glm4_moe": {
        **_ROUTED,
        "attention_bias": True,
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 16,
        "n_group": 1,
        "n_routed_experts": EXPERTS,
        "n_shared_experts": 2,
        "routed_scaling_factor": 1.5,
        "topk_group": 1,
        "use_qk_norm": True,
    },
    "gpt_oss": {
        **_ROUTED,
        "num_local_experts": EXPERTS,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    },
    "granite": {
        "attention_multiplier": 0.3,
        "embedding_multiplier": 2.0,
        "logits_scaling": 2.0,
        "residual_multiplier": 0.5,
    },
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mixtral": {**_ROUTED, "num_local_experts": EXPERTS},
    "olmo": {"clip_qkv": 1.5},
    "olmoe": {**_ROUTED, "clip_qkv": 1.5, "num_experts": EXPERTS},
    "qwen2_moe": {
        **_ROUTED,
        **_SHARED,
        "decoder_sparse_step": 2,
        "num_experts": EXPERTS,
        "use_sliding_window": False,
    },
    "qwen3_5_moe_text": {**_RECURRENT, **_ROUTED, **_SHARED, "num_experts": EXPERTS},
    "qwen3_5_text": _RECURRENT,
    "qwen3_moe": {
        **_ROUTED,
        "mlp_only_layers": [0],
        "moe_intermediate_size": 16,
        "norm_topk_prob": True,
        "num_experts": EXPERTS,
        "use_sliding_window": False,
    },
    "qwen3_next": {
        **_RECURRENT,
        **_ROUTED,
        **_SHARED,
        "num_experts": EXPERTS,
        "mlp_only_layers": [0],
    },
    "smollm3": {"no_rope_layer_interval": 2},
}


def make_config(kind: str, **more: Any) -> Any:
    """A tiny config of the library's class."""
    return CONFIG_MAPPING[kind](**make_fields(kind, **more))


def make_fields(kind: str, **more: Any) -> dict[str, Any]:
    """Fields of a tiny config with windows in some layers or all, where the family has them."""
    family = FAMILIES[kind]
    fields = {**_SIZES, **_MORE.get(kind, {}), **more}
    if family.mask is not Mask.FULL:
        fields.setdefault("sliding_window", _WINDOW)
    if "use_sliding_window" in family.fields:
        fields.setdefault("use_sliding_window", True)
    if family.mask is Mask.BY_LAYER:
        fields.setdefault("layer_types", ["sliding_attention", "full_attention"])
    if "head_dim" not in family.fields:
        fields.pop("head_dim")
    for name in family.without:
        fields.pop(name)
    return fields


@cache
def get_model(kind: str) -> PreTrainedModel:
    """One model of the family, in fp32 with weights that bf16 holds. Not to be changed."""
    return make_model(make_config(kind))


def make_model(config: Any) -> PreTrainedModel:
    """A random model with logits of moderate size, and norms and biases that matter."""
    torch.manual_seed(1)
    model: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)](config)
    model.router_ramp = RAMP
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=random)
            if weight.dim() < 2:
                weight.add_(noise * 0.1)
            else:
                is_table = "embed" in name and not model.config.tie_word_embeddings
                weight.copy_(noise if is_table else noise * 1.5 / weight.shape[-1] ** 0.5)
        for weight in (*model.parameters(), *dict(list_stored_buffers(model)).values()):
            weight.copy_(weight.bfloat16().float())
    if has_routers(model):
        model.set_experts_implementation("eager")
    made: PreTrainedModel = model.float().eval().requires_grad_(False)
    return made


def list_stored_buffers(model: PreTrainedModel) -> list[tuple[str, torch.Tensor]]:
    """The buffers that files hold."""
    stored = model.state_dict(keep_vars=True)
    return [(name, buffer) for name, buffer in model.named_buffers() if name in stored]


def get_tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What a file of the model holds, in bf16."""
    tensors = {
        name: part.bfloat16().contiguous()
        for whole, tensor in model.state_dict().items()
        for name, part in split_experts(model.config.model_type, whole, tensor)
    }
    if model.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    return tensors


def write_config(config: Any, folder: Path) -> dict[str, Any]:
    """config.json as the library writes it beside a model of the family; parsed."""
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]]
    config.dtype = torch.bfloat16
    config.save_pretrained(folder)
    written: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return written


def list_variants(kind: str) -> list[dict[str, Any]]:
    """The family's configs with each switch turned over, and the head tied and not."""
    family, changes = FAMILIES[kind], []
    for name, rule in list_fields(family).items():
        if rule.about == "true or false" and name not in ("use_cache", "use_sliding_window"):
            changes += [{name: True}, {name: False}]
    return changes
