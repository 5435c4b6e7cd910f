"""Drafting: a decode loop with a key–value cache and keyed sampling, in whatever precision.

What this does not know: whether its tokens are right. A draft is a guess at the reference's own
sample; `assay.inference.generate` verifies it. Rows of unequal length are padded on the left.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from assay.inference.sampler import KeyedSampler, make_keys


@dataclass(frozen=True, slots=True)
class Rules:
    """How completions are drawn and end: from the parameters and the checkpoint's manifest."""

    temperature: int  # 1024 · T
    end_tokens: tuple[int, ...]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to continue: its prompt, the part that stands, and its seed."""

    prompt: tuple[int, ...]
    seed: bytes
    tokens: tuple[int, ...] = ()


class Drafter:
    """Continues many completions at once.

    Args:
        model: any precision; has `.model` and `.lm_head`.
        drawable: bool [V].
        rules: of the checkpoint in force.
        batch: rows decoded together, at most.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        drawable: NDArray[np.bool_],
        rules: Rules,
        batch: int = 256,
    ) -> None:
        self._model = model
        self._rules = rules
        self._batch = batch
        self._sampler = KeyedSampler(drawable, rules.temperature, model.device)
        self._ends = torch.tensor(rules.end_tokens, device=model.device)

    def draft(self, requests: Sequence[Request]) -> list[tuple[int, ...]]:
        """The whole completion of each request, what it came with included."""
        drafted: list[tuple[int, ...]] = []
        with torch.inference_mode():
            for start in range(0, len(requests), self._batch):
                drafted += self._draft_batch(requests[start : start + self._batch])
        return drafted

    def _draft_batch(self, requests: Sequence[Request]) -> list[tuple[int, ...]]:
        device = self._model.device
        rows = [request.prompt + request.tokens for request in requests]
        width = max(map(len, rows))
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(dim=1) - 1).clamp_(min=0)
        padded = bool((mask == 0).any())
        keys = make_keys([request.seed for request in requests], device)
        counts = torch.tensor([len(request.tokens) for request in requests], device=device)
        cache = DynamicCache(config=self._model.config)
        drawn: list[Tensor] = []
        alive = counts < self._rules.max_tokens
        while alive.any():
            out = self._model.model(
                ids,
                attention_mask=mask if padded else None,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            logits = self._model.lm_head(out.last_hidden_state[:, -1]).float()
            ids = self._sampler.draw(logits, keys, counts)[0][:, None]
            drawn.append(torch.where(alive, ids[:, 0], -1))
            counts = counts + 1
            alive &= ~torch.isin(ids[:, 0], self._ends) & (counts < self._rules.max_tokens)
            positions = positions[:, -1:] + 1
            if padded:
                mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        columns = torch.stack(drawn, dim=1).tolist() if drawn else [[] for _ in requests]
        return [
            request.tokens + tuple(token for token in row if token >= 0)
            for request, row in zip(requests, columns, strict=True)
        ]
