"""Tiny hybrids: recurrent layers and one of attention, random weights that lie in bf16."""

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

KINDS = ("qwen3_5_text", "qwen3_next")
VOCABULARY = 512


def build_hybrid(kind: str, seed: int = 0, vocabulary: int = VOCABULARY) -> PreTrainedModel:
    """In fp32; its logits have a standard deviation of about 1.5."""
    settings = {
        "vocab_size": vocabulary,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 64,
        "linear_value_head_dim": 64,
        "linear_conv_kernel_dim": 4,
        "max_position_embeddings": 2_048,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": 1,
        "tie_word_embeddings": False,
    }
    if kind == "qwen3_next":  # no experts in any layer
        settings |= {"num_experts": 2, "mlp_only_layers": [0, 1, 2]}
    config = CONFIG_MAPPING[kind](**settings)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="sdpa"
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                scale = 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5
                weight.copy_((torch.randn(weight.shape) * scale).bfloat16())
    return model.eval().requires_grad_(False)
