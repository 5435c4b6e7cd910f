"""Tiny random models of types that no family describes, as transformers builds them."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

VOCABULARY = 96
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 1024,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 1,
    "n_inner": 64,
}
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 32}
_LATENT = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
}
#: What a type needs beside sizes.
_MORE: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA2, "mamba_n_groups": 1, "attn_layer_indices": [1]},
    "deepseek_v2": {**_LATENT, "first_k_dense_replace": 2},
    "deepseek_v3": {**_LATENT, "first_k_dense_replace": 2},
    "falcon_h1": {
        **_MAMBA2,
        "mamba_d_ssm": 64,
        "mamba_n_groups": 1,
        "lm_head_multiplier": 0.5,
        "embedding_multiplier": 2.0,
        "key_multiplier": 0.7,
    },
    "falcon_mamba": {"state_size": 8, "time_step_rank": 4},
    "glm4_moe_lite": {**_LATENT, "first_k_dense_replace": 2, "mlp_layer_types": ["dense"] * 2},
    "granitemoehybrid": {
        **_MAMBA2,
        "mamba_n_groups": 1,
        "layer_types": ["mamba", "attention"],
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "shared_intermediate_size": 48,
        "logits_scaling": 2.0,
    },
    "jamba": {
        "num_experts": 1,
        "num_experts_per_tok": 1,
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "mamba_dt_rank": 4,
        "mamba_d_state": 8,
        "use_mamba_kernels": False,
    },
    "kimi_linear": {**_LATENT},
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "llama4_text": {"moe_layers": [], "interleave_moe_layer_step": 0, "intermediate_size_mlp": 48},
    "mamba": {"state_size": 8, "time_step_rank": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 32},
    "minicpm3": {**_LATENT, "dim_model_base": 16},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 32,
    },
    "youtu": {**_LATENT},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "n_mamba_heads": 2,
        "mamba_dt_rank": 4,
        "mamba_d_state": 8,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "use_mamba_kernels": False,
    },
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"],
        "mamba_ngroups": 1,
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "mamba_d_state": 8,
        "chunk_size": 32,
        "num_mem_blocks": 1,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "use_mem_eff_path": False,
    },
}


def make_plain_config(kind: str, **more: Any) -> Any:
    """A tiny config of the library's class."""
    made = CONFIG_MAPPING[kind]
    defaults, names = made(), getattr(made, "attribute_map", {})
    known = {*defaults.to_dict(), *names}
    fields = {name: value for name, value in _SIZES.items() if name in known}
    config = made(**{**fields, **_MORE.get(kind, {}), **more})
    if getattr(config, "is_decoder", None) is False:
        config.is_decoder = True
    return config


def make_plain_model(config: Any, most: int = 1 << 30) -> PreTrainedModel:
    """A random model with logits of moderate size, whose weights bf16 holds. Raises a ValueError
    where it has more than `most` weights."""
    torch.manual_seed(1)
    made_by = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    if most < 1 << 30:
        with torch.device("meta"):
            weights = sum(weight.numel() for weight in made_by(config).parameters())
        if weights > most:
            raise ValueError(f"its smallest config here has {weights:,} weights")
    model: Any = made_by(config)
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=random)
            if weight.dim() < 2 or "A_log" in name or name.endswith((".D", "dt_bias")):
                weight.add_(noise * 0.1)
            else:
                wide = weight[0].numel()
                is_table = "embed" in name and not config.tie_word_embeddings
                weight.copy_(noise if is_table else noise * 1.5 / wide**0.5)
        for weight in (*model.parameters(), *_list_stored_buffers(model)):
            if weight.is_floating_point():
                weight.copy_(weight.bfloat16().float())
    made: PreTrainedModel = model.float().eval().requires_grad_(False)
    return made


def _list_stored_buffers(model: PreTrainedModel) -> list[torch.Tensor]:
    stored = model.state_dict(keep_vars=True)
    return [buffer for name, buffer in model.named_buffers() if name in stored]


#: Types that run the whole course in tests, one of each kind of layers first.
COURSE = (
    *("falcon_h1", "lfm2", "minicpm3", "gpt_neox", "mamba2", "nemotron", "granitemoehybrid"),
    *("bamba", "nemotron_h", "falcon_mamba", "jamba", "zamba2", "deepseek_v2", "llama4_text"),
    *("deepseek_v3", "zamba", "mamba"),
)
