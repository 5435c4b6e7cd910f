"""A model as the learner reads it: completions in packs, their log-probabilities in chunks.

A pack is a row of sequences without padding, and completions of one prompt share it, as in the
judge's packs (`assay.inference.reading`). No [tokens, vocabulary] array of a whole pack is ever in
memory: logits exist for one chunk of rows, and are computed again in the backward pass.

This module does not know whether its weights are whole or spread over a team (`sharding`), nor on
which device they are.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from assay.inference.reading import Pack, read_pack

Precision = Literal["float32", "bfloat16"]

#: Logits that are computed at once. Tuning.
LOGITS_MAX = 1 << 25


class Policy(nn.Module):
    """Log-probabilities of completions under a causal model that packs.

    Args:
        model: with `.model` and `.lm_head`, and packed attention.
        excluded: ids that can never be drawn: log-probabilities leave them out.
        precision: of products; weights, their gradients and results are float32.
        recompute: keep only a layer's inputs, and compute it again in the backward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        excluded: Sequence[int] = (),
        precision: Precision = "float32",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.inner = model
        self._excluded = list(excluded)
        self._precision = precision
        if recompute:
            enable: Any = model.gradient_checkpointing_enable
            enable({"use_reentrant": False})
            for module in model.modules():  # only this: dropout stays off
                if isinstance(module, GradientCheckpointingLayer):
                    module.training = True

    def forward(self, pack: Pack, tokens: Tensor) -> Tensor:
        """Natural logarithms, float32 [N]: of the tokens of each of the pack's completions, int64
        [N] in the pack's order, given the tokens before."""
        base: Any = self.inner  # the model within LoRA's, if factors learn
        base = base.get_base_model() if hasattr(base, "get_base_model") else base
        with self._enter_precision(tokens.device):
            states = torch.cat(read_pack(base, pack))
            step = max(1, LOGITS_MAX // base.config.vocab_size)
            if len(states) <= step:
                return self._score(base.lm_head, states, tokens)
            parts = [
                checkpoint(
                    self._score,
                    base.lm_head,
                    states[start : start + step],
                    tokens[start : start + step],
                    use_reentrant=False,
                )
                for start in range(0, len(states), step)
            ]
            return torch.cat(parts)

    def _enter_precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)

    def _score(self, head: nn.Module, states: Tensor, tokens: Tensor) -> Tensor:
        logits = head(states).float()
        if self._excluded:
            logits[:, self._excluded] = -torch.inf
        own = logits.gather(-1, tokens[:, None]).squeeze(-1)
        return own - logits.logsumexp(-1)
