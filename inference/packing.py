"""Many sequences in one row of tokens, without padding, and what they share read once.

Everything in a decoder but attention works on tokens one by one: it takes the row as it is. Only
attention must know where sequences begin, and it is computed for each by itself: its queries see
their own sequence and, where it continues another, that one before it. So completions of one prompt
stand behind it in the row, and none of them is padded, and no cache is kept.

What this does not know: any model. `attend_for_models` is attention as Hugging Face's models call
it; `assay.inference.split` calls `attend_packed`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

#: The name by which Hugging Face's models find `attend_for_models`.
PACKED_ATTENTION = "assay_packed"


class Segment(NamedTuple):
    """One sequence in a row: its tokens, and those of an earlier one that it continues."""

    start: int
    end: int
    shared_start: int = 0  # equal to the next: it continues none
    shared_end: int = 0

    @property
    def first(self) -> int:
        """The position of its first token."""
        return self.shared_end - self.shared_start


@dataclass(frozen=True)
class Packing:
    """Where sequences lie in a row. They follow each other without gaps.

    Attributes:
        segments: in their order; what one continues lies before it and continues none.
    """

    segments: tuple[Segment, ...]
    _masks: dict[tuple[int, int, int], Tensor] = field(default_factory=dict, repr=False)

    def make_positions(self, device: torch.device) -> Tensor:
        """Of every token in its sequence, int64 [1, N]."""
        parts = [
            torch.arange(s.first, s.first + s.end - s.start, device=device) for s in self.segments
        ]
        return torch.cat(parts)[None]

    def get_mask(self, queries: int, keys: int, window: int, device: torch.device) -> Tensor:
        """Which keys the last `queries` of them see, bool [queries, keys]; made once for all
        layers."""
        shape = queries, keys, window
        if shape not in self._masks:
            places = torch.arange(keys, device=device)
            own = places[keys - queries :, None]
            self._masks[shape] = (places <= own) & (places > own - window)
        return self._masks[shape]


def make_packing(lengths: Sequence[tuple[int, int | None]]) -> Packing:
    """The packing of sequences of so many tokens, each with the index of the one it continues."""
    segments: list[Segment] = []
    start = 0
    for length, shared in lengths:
        own = (start, start + length)
        segments.append(Segment(*own) if shared is None else Segment(*own, *segments[shared][:2]))
        start += length
    return Packing(tuple(segments))


def attend_packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing | None,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Causal attention in every sequence, by torch's own, which keeps no table of scores.

    Args:
        q: [B, heads, N, width].
        k, v: [B, key heads, N, width]; each key head serves heads / key heads queries.
        packing: of the N tokens of each row; None: one sequence.
        scale: of scores; None: 1 / √width.
        window: a token sees itself and so many before it, less one; None: all.

    Returns:
        [B, heads, N, width].
    """
    repeats = q.shape[1] // k.shape[1]
    if q.is_cuda and repeats > 1:  # its path for fp32 serves no shared key heads
        k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    packing = packing or make_packing([(q.shape[2], None)])
    parts = []
    for segment, keys, values in _iterate_keys(packing, k, v):
        own = q[:, :, segment.start : segment.end]
        seen = keys.shape[2]
        mask = None
        if segment.first or (window is not None and window < seen):
            mask = packing.get_mask(own.shape[2], seen, window or seen, q.device)
        parts.append(
            functional.scaled_dot_product_attention(
                own,
                keys,
                values,
                attn_mask=mask,
                is_causal=mask is None,
                scale=scale,
                enable_gqa=k.shape[1] < q.shape[1],
            )
        )
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _iterate_keys(
    packing: Packing, k: Tensor, v: Tensor
) -> Iterator[tuple[Segment, Tensor, Tensor]]:
    """Each sequence with all keys and values that it may see."""
    for segment in packing.segments:
        own = slice(segment.start, segment.end)
        if not segment.first:
            yield segment, k[:, :, own], v[:, :, own]
            continue
        shared = slice(segment.shared_start, segment.shared_end)
        keys, values = (torch.cat((x[:, :, shared], x[:, :, own]), dim=2) for x in (k, v))
        yield segment, keys, values


def attend_for_models(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    packing: Packing | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """`attend_packed` as Hugging Face's models call it, without a mask: they make none for an
    attention that they do not know.

    Raises:
        ValueError: keys of a cache, or a mask.
    """
    if attention_mask is not None or key.shape[2] != query.shape[2]:
        raise ValueError("packed attention reads whole sequences: neither masks nor caches")
    mixed = attend_packed(query, key, value, packing, scaling, sliding_window)
    return mixed.transpose(1, 2).contiguous(), None


AttentionInterface.register(PACKED_ATTENTION, attend_for_models)
