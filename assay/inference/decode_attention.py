"""Attention of a decode step on a CPU, where several query heads share a key head.

The library repeats keys and values for each query head: of a step of many rows, copies and
attention are half of the time. Here the query heads that share a key head are queries of it, and
nothing is repeated. Every other call goes to the library's own function: models that read whole
texts compute the same bits as before.
"""

from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

#: Hugging Face's name of torch's own attention.
_SDPA = "sdpa"


def attend_in_step(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as Hugging Face's models call it.

    Args:
        query: [B, heads, T, width].
        key, value: [B, key heads, L, width]; each key head serves heads / key heads queries.
        attention_mask: [B, 1, T, L] or None.

    Returns:
        [B, T, heads, width of values].
    """
    rows, heads, tokens, _ = query.shape
    is_step = tokens == 1 and query.device.type == "cpu" and heads > key.shape[1]
    is_shared = attention_mask is None or attention_mask.shape[1] == 1  # by all heads
    is_plain = all(others.get(name) is None for name in ("position_bias", "cache"))
    if not (is_step and is_shared and is_plain):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
    queries = query.view(rows, key.shape[1], -1, query.shape[3])
    mixed = scaled_dot_product_attention(
        queries, key, value, attn_mask=attention_mask, scale=scaling
    )
    return mixed.reshape(rows, 1, heads, value.shape[3]), None


def share_keys_in_steps() -> None:
    """Let models of this process that attend by torch's own attention do so in the steps of a
    draft. Doing it again changes nothing."""
    AttentionInterface.register(_SDPA, attend_in_step)
