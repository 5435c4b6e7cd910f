"""Small GGUF files, as llama.cpp's converter writes them. Needs the extra `gguf`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from assay.inference.families import FAMILIES
from tests.hub_folders import CHATML, QWEN_TOKENS, SIZES, make_core, make_tensors
from tests.inference.family_models import make_config, make_model

#: The parts of a layer, as the format names them.
_NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_CONTROL, _NORMAL = 3, 1


def _rename(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        part, _, kind = rest.rpartition(".")
        return f"blk.{layer}.{_NAMES[part]}.{kind}"
    return {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }[name]


def permute(rows: np.ndarray, heads: int) -> np.ndarray:
    """The order of rows of queries and keys that llama.cpp has for Llama."""
    turned = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return turned.swapaxes(1, 2).reshape(rows.shape)


def _list_tokens() -> list[str]:
    tokens = [*make_core(QWEN_TOKENS)["model"]["vocab"], *QWEN_TOKENS, "ab", "cd"]
    return tokens + [f"[PAD{i}]" for i in range(len(tokens), SIZES["vocab_size"])]


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str], splits: bool = True) -> None:
    writer.add_tokenizer_model("gpt2")
    if splits:
        writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([_CONTROL if token in QWEN_TOKENS else _NORMAL for token in tokens])
    writer.add_token_merges(["a b", "c d"])
    writer.add_chat_template(CHATML)


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(path: Path, family: str = "llama", **entries: Any) -> dict[str, torch.Tensor]:
    """Write a tiny model, its products in Q8_0. Returns the tensors that a reader must find.

    Args:
        entries: further entries of the header, or others.
    """
    tokens = _list_tokens()
    writer = gguf.GGUFWriter(str(path), family)
    told = {
        f"{family}.block_count": SIZES["num_hidden_layers"],
        f"{family}.context_length": SIZES["max_position_embeddings"],
        f"{family}.embedding_length": SIZES["hidden_size"],
        f"{family}.feed_forward_length": SIZES["intermediate_size"],
        f"{family}.attention.head_count": SIZES["num_attention_heads"],
        f"{family}.attention.head_count_kv": SIZES["num_key_value_heads"],
        "tokenizer.ggml.eos_token_id": tokens.index("<|im_end|>"),
    } | entries
    for name, value in told.items():
        if isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_uint32(name, value)
    writer.add_float32(f"{family}.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32(f"{family}.rope.freq_base", 10000.0)
    _add_tokenizer(writer, tokens, "tokenizer.ggml.pre" not in entries)
    found = {}
    for name, tensor in make_tensors(family).items():
        numbers = tensor.float().numpy()
        kind = gguf.GGMLQuantizationType.F32
        if "proj.weight" in name and numbers.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
        stored = numbers
        if family == "llama" and ("q_proj" in name or "k_proj" in name):
            heads = "num_attention_heads" if "q_proj" in name else "num_key_value_heads"
            stored = permute(numbers, SIZES[heads])
        packed = gguf.quantize(stored, kind)
        writer.add_tensor(_rename(name), packed, raw_dtype=kind)
        # a row is quantised by itself, so that its place does not matter
        exact = gguf.dequantize(gguf.quantize(numbers, kind), kind)
        found[name] = torch.from_numpy(np.array(exact)).bfloat16()
    _write(writer)
    return found


#: The architecture of a family in GGUF files, where it has another name than `model_type`.
ARCHITECTURES = {
    "gemma3_text": "gemma3",
    "gemma4_text": "gemma4",
    "gpt_oss": "gpt-oss",
    "mistral": "llama",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
}
#: What no GGUF file says of a model, as llama.cpp has it.
_UNSAID: dict[str, dict[str, Any]] = {
    "gemma3_text": {"layer_types": ["sliding_attention"] * 2},
    "llama": {"attention_bias": False, "mlp_bias": False},
    "mistral": {"sliding_window": None},
    "qwen2": {"layer_types": ["full_attention"] * 2, "use_sliding_window": False},
    "qwen3": {"layer_types": ["full_attention"] * 2, "use_sliding_window": False},
    "qwen2_moe": {"decoder_sparse_step": 1},
    "qwen3_moe": {"mlp_only_layers": []},
    "starcoder2": {"sliding_window": None},
}


def write_family(path: Path, kind: str, quantised: str) -> Any:
    """Write a tiny model of a family. Returns the library's model, in fp32.

    Args:
        quantised: the type of its matrices, as the package gguf names it.
    """
    changes = {"vocab_size": SIZES["vocab_size"], "moe_intermediate_size": 32}
    if "moe_intermediate_size" not in FAMILIES[kind].fields:
        del changes["moe_intermediate_size"]
    if "shared_expert_intermediate_size" in FAMILIES[kind].fields:
        changes["shared_expert_intermediate_size"] = 64
    changes |= {"intermediate_size": 64, **_UNSAID.get(kind, {})}
    model = make_model(make_config(kind, **changes))
    config = model.config
    family = ARCHITECTURES.get(kind, kind)
    head = FAMILIES[kind].get_head_size(config.to_dict())
    tokens = _list_tokens()
    writer = gguf.GGUFWriter(str(path), family)
    writer.add_name("mistral" if kind == "mistral" else "a model")
    writer.add_file_type(0)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(config.vocab_size)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    if kind == "starcoder2":
        writer.add_layer_norm_eps(config.norm_epsilon)
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if kind != "gemma2":  # its converter writes none
        rope = config.rope_parameters
        writer.add_rope_freq_base(rope.get("full_attention", rope)["rope_theta"])
    if kind in ("gemma2", "gemma3_text", "gemma4_text", "gpt_oss", "phi3"):
        writer.add_sliding_window(config.sliding_window)
    if getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
    if FAMILIES[kind].experts is not None:
        stack = model.model.layers[0].mlp.experts.down_proj
        writer.add_expert_count(len(stack))
        writer.add_expert_used_count(config.num_experts_per_tok)
        if kind != "gpt_oss":
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if kind == "qwen2_moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    _add_tokenizer(writer, tokens)
    if kind not in ("gemma4_text", "gpt_oss"):  # which are refused before their tensors
        for name, numbers in rename(model, family):
            is_matrix = numbers.ndim > 1 and name.endswith(".weight")
            type_ = gguf.GGMLQuantizationType[quantised if is_matrix else "F32"]
            writer.add_tensor(name, gguf.quantize(numbers, type_), raw_dtype=type_)
    _write(writer)
    return model


def rename(model: Any, family: str) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors as llama.cpp's converter writes them."""
    config = model.config
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == family)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        numbers = tensor.float().numpy()
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if name.endswith("experts.gate_up_proj"):
            layer = name.split(".")[2]
            for part, half in zip(("gate", "up"), np.split(numbers, 2, axis=1), strict=True):
                yield f"blk.{layer}.ffn_{part}_exps.weight", np.ascontiguousarray(half)
            continue
        if name.endswith("experts.down_proj"):
            yield f"blk.{name.split('.')[2]}.ffn_down_exps.weight", numbers
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert found is not None, name
        if family == "llama" and ("attn_q." in found or "attn_k." in found):
            several = "attn_q." in found
            numbers = permute(
                numbers, config.num_attention_heads if several else config.num_key_value_heads
            )
        if family.startswith("gemma") and found.endswith("norm.weight"):
            numbers = numbers + 1
        if "ffn_gate_inp_shexp" in found:
            numbers = numbers[0]
        yield found, np.ascontiguousarray(numbers)
