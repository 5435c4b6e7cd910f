"""Attention of a sequence's last tokens to all of its tokens, by torch's own kernels, in memory
that grows with the tokens and not with their square.

The kernels store no table of scores. But all that they know themselves is a square: as many queries
as keys, each with the keys up to its own. Tokens behind others that were read before are none, and
a mask for them would have queries · keys elements, many times all else. So where there are no fewer
queries than keys before them, zeros in front of the queries make a square, whose results are
dropped: at most a third more work, and no mask. Elsewhere, and where tokens see only a window, some
queries at a time have a mask, for the keys that they see. What is done follows from the sequence
alone: no result depends on the memory of a machine.

A key head that several heads share is never copied: its heads are a batch, which reads it again and
again.

No kernel caps scores: capped ones are stored for a block of queries and one key head at a time.
Sinks are a key more for the kernels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from assay.inference.placing.model_sizes import KEYS_TOGETHER

#: Queries of a block with a mask; the last one has less than twice as many. Tuning: the mask of
#: 16,384 keys takes 20 MiB. On a CPU fewer than 192 are multiplied by another kernel, whose last
#: bits may differ.
BLOCK = 256
#: Columns that sinks add: kernels want a multiple of eight.
_SINK_COLUMNS = 8


class _Scores(NamedTuple):
    """How scores are made: see `attend`. `sunk`: queries have the columns for sinks."""

    scale: float | None
    cap: float | None = None
    sunk: bool = False


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    window: int | None = None,
    cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Causal attention of the last tokens of a sequence.

    Args:
        q: [B, heads, N, width], of the last N of T tokens.
        k, v: [B, key heads, T, width], each with a width of its own; each key head serves heads /
            key heads queries.
        scale: of scores; None: 1 / √width.
        window: number of tokens that a token sees, itself included; None: all.
        cap: scores become cap · tanh(score / cap); None: they stay.
        sinks: [heads], scores of a further key that every token sees, whose value is zero; None:
            there is none.

    Returns:
        [B, heads, N, width of v].

    Raises:
        ValueError: there are a cap and sinks, which no model has together.
    """
    if sinks is not None:
        if cap is not None:
            raise ValueError("there are no sinks beside capped scores")
        return _attend_with_sinks(q, k, v, scale, window, sinks)
    scores = _Scores(scale, cap)
    window = None if window is not None and window >= k.shape[2] else window
    if cap is None and window is None:
        return _attend_all(q, k, v, scores)
    return _attend_in_blocks(q, k, v, scores, window)


def _attend_all(q: Tensor, k: Tensor, v: Tensor, scores: _Scores) -> Tensor:
    """Attention without a window."""
    ahead = k.shape[2] - q.shape[2]
    if not ahead:
        return _attend(q, k, v, scores, None)
    if ahead <= q.shape[2]:
        padded = functional.pad(q, (0, 0, ahead, 0))
        return _attend(padded, k, v, scores, None)[:, :, ahead:]
    return _attend_in_blocks(q, k, v, scores, None)


def _attend_with_sinks(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None, window: int | None, sinks: Tensor
) -> Tensor:
    """The further key has a column of its own, in which queries have its score."""
    width = q.shape[3]
    scale = width**-0.5 if scale is None else scale
    column = (sinks / scale).view(1, -1, 1, 1).expand(len(q), -1, q.shape[2], -1)
    q = functional.pad(torch.cat((q, column), dim=3), (0, _SINK_COLUMNS - 1))
    if window is None or window >= k.shape[2]:
        mixed = _attend_all(q, *_add_sink(k, v), _Scores(scale))
    else:
        mixed = _attend_in_blocks(q, k, v, _Scores(scale, sunk=True), window)
    return mixed[..., : v.shape[3]]


def _add_sink(k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values, wider, with a further key in front of the others."""
    width = k.shape[3]
    k = functional.pad(k, (0, _SINK_COLUMNS, 1, 0))
    k[:, :, 0, width] = 1
    return k, functional.pad(v, (0, k.shape[3] - v.shape[3], 1, 0))


def _attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, scores: _Scores, window: int | None
) -> Tensor:
    # a gradient would keep every block's mask: they are made again for it
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    parts = []
    for queries, keys in _cut(q.shape[2], k.shape[2], window):
        ahead = k.shape[2] - q.shape[2] + queries.start - keys.start
        block = q[:, :, queries], k[:, :, keys], v[:, :, keys], ahead, scores, window
        parts.append(
            checkpoint(_attend_masked, *block, use_reentrant=False, preserve_rng_state=False)
            if learns
            else _attend_masked(*block)
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _cut(count: int, seen: int, window: int | None) -> Iterator[tuple[slice, slice]]:
    """Blocks of the last `count` of `seen` tokens, each with the keys that its queries see. They
    begin and end with whole ones of those that a kernel takes together, so that results are those
    of one mask for all queries to the last bit."""
    ahead = seen - count
    starts = range(0, max(1, count - BLOCK + 1), BLOCK)
    for start in starts:
        end = count if start == starts[-1] else start + BLOCK
        first = 0 if window is None else max(0, ahead + start + 1 - window)
        last = min(seen, -(-(ahead + end) // KEYS_TOGETHER) * KEYS_TOGETHER)
        yield slice(start, end), slice(first // KEYS_TOGETHER * KEYS_TOGETHER, last)


def _attend_masked(
    q: Tensor, k: Tensor, v: Tensor, ahead: int, scores: _Scores, window: int | None
) -> Tensor:
    """Attention of the tokens that follow the first `ahead` of T ones, with a mask of N · T
    elements."""
    mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril_(ahead)
    if window is not None:
        mask.triu_(ahead + 1 - window)
    if scores.cap is not None:
        return _attend_capped(q, k, v, scores.scale, mask, scores.cap)
    if scores.sunk:
        k, v = _add_sink(k, v)
        mask = functional.pad(mask, (1, 0), value=True)
    return _attend(q, k, v, scores, mask)


def _attend_capped(
    q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor, cap: float
) -> Tensor:
    """Attention by its formula, for the heads of one key head after the other."""
    count, width = q.shape[2:]
    queries = q.unflatten(1, (k.shape[1], -1)) * (width**-0.5 if scale is None else scale)
    parts = []
    for head in range(k.shape[1]):
        products = queries[:, head].flatten(1, 2) @ k[:, head].mT  # [B, repeats · N, keys]
        capped = (torch.tanh(products / cap) * cap).unflatten(1, (-1, count))
        weights = capped.masked_fill(~mask, -torch.inf).softmax(-1)
        parts.append(weights @ v[:, head, None])
    return torch.cat(parts, dim=1)


def _attend(q: Tensor, k: Tensor, v: Tensor, scores: _Scores, mask: Tensor | None) -> Tensor:
    """Attention by torch's kernel; without a mask that of a square."""
    shared = k.shape[1]
    repeats = q.shape[1] // shared
    if repeats > 1:
        q = q.unflatten(1, (shared, repeats)).flatten(0, 1)
        k, v = (x.flatten(0, 1)[:, None].expand(-1, repeats, -1, -1) for x in (k, v))
    mixed = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scores.scale
    )
    return mixed.unflatten(0, (-1, shared)).flatten(1, 2) if repeats > 1 else mixed
