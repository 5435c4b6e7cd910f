"""Small GGUF files, as llama.cpp's converter writes them. Needs the extra `gguf`."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from tests.hub_folders import CHATML, QWEN_TOKENS, SIZES, make_core, make_tensors

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


def write_gguf(path: Path, family: str = "llama", **entries: Any) -> dict[str, torch.Tensor]:
    """Write a tiny model, its products in Q8_0. Returns the tensors that a reader must find.

    Args:
        entries: further entries of the header, or others.
    """
    tokens = [*make_core(QWEN_TOKENS)["model"]["vocab"], *QWEN_TOKENS, "ab", "cd"]
    tokens += [f"[PAD{i}]" for i in range(len(tokens), SIZES["vocab_size"])]
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
    writer.add_tokenizer_model("gpt2")
    if "tokenizer.ggml.pre" not in entries:
        writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    special = range(len(tokens))
    writer.add_token_types([_CONTROL if tokens[i] in QWEN_TOKENS else _NORMAL for i in special])
    writer.add_token_merges(["a b", "c d"])
    writer.add_chat_template(CHATML)
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
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return found
