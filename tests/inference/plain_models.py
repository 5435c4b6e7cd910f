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
    # of classes that have an encoder beside
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "encoder_layers": 1,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "num_decoder_layers": 2,
    "num_decoder_attention_heads": 4,
    "num_encoder_layers": 1,
    "num_encoder_attention_heads": 4,
    # of experts
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "shared_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    # of an indexer
    "index_topk": 4,
    "index_head_dim": 8,
    "index_n_heads": 2,
    # of linear attention
    "linear_key_head_dim": 16,
    "linear_num_key_heads": 1,
    "linear_num_value_heads": 2,
    "linear_value_head_dim": 16,
}
#: Of types with compressed keys, which have `kv_lora_rank`.
_LATENT = {
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
    "head_dim": 8,
}
_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 32}
_MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 12}
#: One layer without a router, and one with.
_SPARSE = {"mlp_layer_types": ["dense", "sparse"]}
_HALF = {"first_k_dense_replace": 1}
_PADDED = {"pad_token_id": 0}
_INKLING = {
    "layer_types": ["hybrid_sliding", "hybrid"],
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 8,
    "d_rel": 4,
    "rel_extent": 64,
    "tie_word_embeddings": False,
}
#: What a type needs beside sizes.
_MORE: dict[str, dict[str, Any]] = {
    "axk1": _SPARSE,
    "axk2": _SPARSE | {"layer_types": ["indexed_attention"] * 2, "gated_norm_rank": 4},
    "bailing_hybrid": {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_head_dim": 8,
        "linear_num_heads": 4,
        "num_experts_per_token": 2,
        "num_expert_group": 1,
        **_SPARSE,
    },
    "bamba": {**_MAMBA2, "mamba_n_groups": 1, "attn_layer_indices": [1]},
    "beam": _SPARSE | _MIXED,
    "camembert": _PADDED,
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {
        **_MIXED,
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10_000.0}
            for kind in ("sliding_attention", "full_attention")
        },
    },
    "cwm": {**_MIXED, "bos_token_id": 0},
    "data2vec-text": _PADDED,
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10_000.0},
        "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": _HALF,
    "deepseek_v3": _HALF,
    "deepseek_v32": {**_SPARSE, "layer_types": ["indexed_attention"] * 2},
    "dory": {
        "num_hidden_layers": 6,
        "n_input_layers": 2,
        "n_recurrent_layers": 2,
        "n_output_layers": 2,
        "layer_types": [
            "sliding_attention",
            "mlp",
            "full_attention",
            "mlp",
            "full_attention",
            "mlp",
        ],
    },
    "electra": {"embedding_size": 32},
    "falcon_h1": {
        **_MAMBA2,
        "mamba_d_ssm": 64,
        "mamba_n_groups": 1,
        "lm_head_multiplier": 0.5,
        "embedding_multiplier": 2.0,
        "key_multiplier": 0.7,
    },
    "falcon_mamba": {"state_size": 8, "time_step_rank": 4},
    "flint": {**_MIXED, "mlp_only_layers": [0]},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "sliding_window": 12,
        "intermediate_size": 48,
        "activation_sparsity_pattern": [0.95, 0.95, 0.0, 0.0],
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": VOCABULARY,
        "laurel_rank": 8,
    },
    "git": {
        **_PADDED,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 16,
        },
    },
    "glm4_moe_lite": _SPARSE,
    "gpt_neo": {
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 12,
    },
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        **_MAMBA2,
        "mamba_n_groups": 1,
        "layer_types": ["mamba", "attention"],
        "shared_intermediate_size": 48,
        "logits_scaling": 2.0,
    },
    "hy_v4": {
        **_SPARSE,
        "layer_types": ["indexed_attention"] * 2,
        "indexer_types": ["full", "shared"],
        "hc_mult": 2,
    },
    "inkling2_loop_text": {
        **_INKLING,
        "num_hidden_layers": 4,
        "layer_types": ["hybrid_sliding", "hybrid"] * 2,
        "loop_layer_index_start": 1,
        "loop_layer_index_end": 3,
        "n_layers_per_attn_res_block": 1,
        "loop_gate_rank": 4,
        "unpadded_vocab_size": VOCABULARY,
    },
    "inkling2_text": {
        **_INKLING,
        "n_layers_per_attn_res_block": 1,
        "unpadded_vocab_size": VOCABULARY,
    },
    "inkling_text": {**_INKLING, "mlp_layer_types": ["dense", "sparse"]},
    "internlm3": _PADDED,
    "jamba": {
        "expert_layer_offset": 0,
        "expert_layer_period": 2,
        "attn_layer_offset": 1,
        "attn_layer_period": 2,
        "mamba_dt_rank": 4,
        "mamba_d_state": 8,
        "use_mamba_kernels": False,
    },
    "kimi_linear": _HALF,
    "kolibri1": _MIXED,
    "lara_mini": {
        "num_hidden_layers": 3,
        "layer_types": ["linear_attention", "sliding_attention", "full_attention"],
        "sliding_window": 12,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False},
    "lfm3": {
        "num_hidden_layers": 3,
        "layer_types": ["conv", "full_attention", "sliding_attention"],
        "sliding_window": 12,
    },
    "llama4_text": {
        "num_hidden_layers": 4,
        "interleave_moe_layer_step": 2,
        "intermediate_size_mlp": 48,
        "attention_chunk_size": 64,
    },
    "longcat_flash": {
        "num_layers": 1,
        "ffn_hidden_size": 48,
        "expert_ffn_hidden_size": 16,
        "moe_topk": 2,
        "zero_expert_num": 2,
    },
    "mamba": {"state_size": 8, "time_step_rank": 4},
    "mamba2": {"num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 1, "chunk_size": 32},
    "mimo_v2_flash": {
        **_SPARSE,
        "layer_types": ["full_attention", "sliding_attention"],
        "sliding_window": 12,
        "v_head_dim": 8,
    },
    "minicpm3": {"dim_model_base": 16},
    "modernbert-decoder": {
        **_MIXED,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "cls_token_id", "sep_token_id"), 0),
    },
    "nemotron_h": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "attention", "mlp", "moe"],
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 32,
    },
    "phi4_multimodal": _PADDED,
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"],
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_embed_dim": 16,
        "ngram_vocab_size_base": 97,
        "make_ngram_vocab_size_divisible_by": 1,
        "split_ngram_parts": 1,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "prophetnet": _PADDED,
    "recurrent_gemma": {"num_hidden_layers": 3, "attention_window_size": 12},
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "axial_pos_embds_dim": [8, 24],
        "axial_pos_shape": [16, 64],
        "attention_head_size": 8,
        "feed_forward_size": 48,
        "num_buckets": 8,
        **_PADDED,
    },
    "rembert": {"input_embedding_size": 32, "output_embedding_size": 32},
    "roberta": _PADDED,
    "roberta-prelayernorm": _PADDED,
    "sarvam_mla": _HALF,
    "sarvam_moe": _HALF,
    "solar_open": {},
    "whisper": {"max_target_positions": 1024, **_PADDED},
    "xlm": {"causal": True, "pad_token_id": 0, "n_layers": 2, "is_encoder": True},
    "xlm-roberta": _PADDED,
    "xlm-roberta-xl": _PADDED,
    "xlnet": {"d_head": 8, "attn_type": "uni", "d_inner": 48, "pad_token_id": 0},
    "xmod": {"default_language": "en_XX", **_PADDED},
    "zaya": {"num_experts_per_tok": 1},
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
    "rwkv": {"num_hidden_layers": 8},  # every sixth layer's weights are divided
}
_ALL_DENSE = {"mlp_layer_types": ["dense"] * 2}
#: Fields by which a type has no router. Only of some types models without one were released.
DENSE: dict[str, dict[str, Any]] = {
    "axk1": _ALL_DENSE,
    "bailing_hybrid": _ALL_DENSE,
    "beam": _ALL_DENSE,
    "deepseek_v2": {"first_k_dense_replace": 2},
    "deepseek_v3": {"first_k_dense_replace": 2},
    "flint": {"mlp_only_layers": [0, 1]},
    "glm4_moe_lite": {**_ALL_DENSE, "first_k_dense_replace": 2},
    "granitemoehybrid": {"num_local_experts": 0, "num_experts_per_tok": 0},
    "jamba": {"num_experts": 1, "num_local_experts": 1, "num_experts_per_tok": 1},
    "llama4_text": {"moe_layers": [], "interleave_moe_layer_step": 0},
    "nemotron_h": {"num_hidden_layers": 3, "layers_block_type": ["mamba", "attention", "mlp"]},
    "sarvam_mla": {"first_k_dense_replace": 2},
}


def make_plain_config(kind: str, *, routed: bool = False, **more: Any) -> Any:
    """A tiny config of the library's class, with all kinds of layers that its default config has.

    Args:
        routed: with experts; else without, where the class has models without.
    """
    made = CONFIG_MAPPING[kind]
    defaults, names = made(), getattr(made, "attribute_map", {})
    known = {*defaults.to_dict(), *names}
    sizes = _SIZES | (_LATENT if "kv_lora_rank" in known else {})
    fields = {name: value for name, value in sizes.items() if name in known}
    fields |= _MORE.get(kind, {}) | ({} if routed else DENSE.get(kind, {}))
    config = made(**{**fields, **more})
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


#: Types that run the whole course in tests where the library has them, one of each kind of layers
#: first.
COURSE = (
    *("falcon_h1", "lfm2", "minicpm3", "gpt_neox", "mamba2", "nemotron", "granitemoehybrid"),
    *("bamba", "nemotron_h", "falcon_mamba", "jamba", "zamba2", "deepseek_v2", "llama4_text"),
    *("deepseek_v3", "zamba", "mamba", "gemma3n_text", "internlm3"),
)
