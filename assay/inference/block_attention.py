"""Attention by its formula: softmax(q kᵀ · scale) v, in fp32, for some queries at a time.

It is the plainest attention, so that it rounds in other places than torch's own kernels: a second
opinion uses it. Written out at once, its scores would take heads · T² floats, many times the memory
of the pass that the second opinion is about. Blocks of queries bound them, and a block leaves out
the keys that none of its queries sees. The size of a block follows from the row alone: no result
depends on the memory of a machine.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from assay.inference.packing import require_known_arguments

#: The name by which Hugging Face's models find `attend_in_blocks`.
BLOCK_ATTENTION = "assay_blocks"
#: Most scores of a block, and its fewest queries. Tuning: 8 MiB stay in a processor's caches.
SCORES, QUERIES_MIN = 1 << 21, 16


def attend_in_blocks(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention of whole rows as Hugging Face's models call it, without a mask: they make
    none for an attention that they do not know.

    Args:
        query: [B, heads, T, width].
        key, value: [B, key heads, T, width]; each key head serves heads / key heads queries.
        softcap: scores become softcap · tanh(score / softcap).
        s_aux: [heads], scores of a further key that every token sees, whose value is zero.

    Returns:
        [B, T, heads, width].

    Raises:
        ValueError: there are keys of a cache, a mask, or an argument that is not known.
    """
    require_known_arguments(module, others)
    rows, heads, tokens, width = query.shape
    if attention_mask is not None or key.shape[2] != tokens:
        raise ValueError("attention in blocks reads whole sequences: neither masks nor caches")
    scale = width**-0.5 if scaling is None else scaling
    queries = query.unflatten(1, (key.shape[1], -1))  # [B, key heads, repeats, T, width]
    mixed = value.new_empty(*queries.shape[:-1], value.shape[3])
    sinks = (
        None
        if s_aux is None
        else s_aux.view(1, key.shape[1], -1, 1, 1).expand(rows, -1, -1, -1, -1)
    )
    step = max(QUERIES_MIN, SCORES // (rows * heads * tokens))
    places = torch.arange(tokens, device=query.device)
    for start in range(0, tokens, step):
        end = min(start + step, tokens)
        first = 0 if sliding_window is None else max(0, start + 1 - sliding_window)
        seen = slice(first, end)
        block = queries[:, :, :, start:end].flatten(2, 3) * scale
        scores = (block @ key[:, :, seen].mT).unflatten(2, (-1, end - start))
        if softcap is not None:
            scores.div_(softcap).tanh_().mul_(softcap)
        edge = start if sliding_window is None else first  # every query sees all keys before it
        unseen = _find_unseen(places[start:end], places[edge:end], sliding_window)
        scores[..., edge - first :].masked_fill_(unseen, -torch.inf)
        if sinks is not None:
            scores = torch.cat((scores, sinks.expand(-1, -1, -1, end - start, -1)), dim=-1)
        weights = scores.softmax(-1)[..., : end - first].flatten(2, 3)
        mixed[:, :, :, start:end] = (weights @ value[:, :, seen]).unflatten(2, (-1, end - start))
    return mixed.flatten(1, 2).transpose(1, 2).contiguous(), None


def _find_unseen(queries: Tensor, keys: Tensor, window: int | None) -> Tensor:
    """The keys that each query does not see, by their places, bool [queries, keys]."""
    ahead = queries[:, None] - keys
    unseen = ahead < 0
    return unseen if window is None else unseen | (ahead >= window)


AttentionInterface.register(BLOCK_ATTENTION, attend_in_blocks)
