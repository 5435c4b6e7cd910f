"""A model as the learner reads it: completions in packs, their log-probabilities in chunks.

A pack is a row of sequences without padding, and completions of one prompt share it, as in the
judge's packs (`assay.inference.reading`). No [tokens, vocabulary] array of a whole pack is ever in
memory: logits exist for one chunk of rows, and are computed again in the backward pass.

torch's own `linear_cross_entropy` does the same, but with bf16 factors its results are bf16, with 8
bits, and a ratio of probabilities needs more. Autograd over chunks holds two gradients of the
output matrix besides the sum, and five arrays of logits: 2 GiB for half a billion weights and
V = 151,936. This module holds one gradient and one array.

It does not know whether its weights are whole or spread over a team (`sharding`), nor on which
device they are.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from assay.inference.head import Finisher, compute_logits, find_finisher, get_output
from assay.inference.reading import Pack, read_pack

Precision = Literal["float32", "bfloat16"]

#: Logits that are computed at once. Tuning.
LOGITS_MAX = 1 << 25
#: Rows of the output matrix whose gradients are computed at once. Tuning.
_BLOCK = 1 << 13
#: Logits of a token that a measure of entropy may cost: of larger vocabularies every second, third
#: … token is looked at. All of them took a sixth of a pass's time with 32,000 ids. Tuning.
ENTROPY_LOGITS = 1 << 10


class Policy(nn.Module):
    """Log-probabilities of completions under a causal model that packs.

    Args:
        model: with `.model` and `.lm_head`, and packed attention.
        excluded: ids that can never be drawn: log-probabilities leave them out.
        precision: of products; weights, their gradients and results are float32.
        recompute: keep only a layer's inputs, and compute it again in the backward pass.

    Attributes:
        entropy: of the last pass, float32 [N / k], in nats, without a gradient: of the
            distributions that every k-th token was drawn from, at temperature 1. k is 1 up to
            `ENTROPY_LOGITS` ids.
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
        self.entropy = torch.empty(0)
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
            states = torch.cat(read_pack(base, pack, together=True))
            rows = max(1, LOGITS_MAX // base.config.vocab_size)
            output = get_output(base)
            if len(states) <= rows or getattr(output, "bias", None) is not None:
                logits = compute_logits(base, states)
                scores = _score(logits, tokens, self._excluded)
                self.entropy = _compute_entropy(logits)
                return scores
        dtype = torch.bfloat16 if self._precision == "bfloat16" else torch.float32
        finisher = find_finisher(base)
        scored: Any = _Chunks.apply(
            states, output.weight, tokens, finisher, self._excluded, rows, dtype
        )
        self.entropy = scored[1]
        return cast(Tensor, scored[0])

    def _enter_precision(self, device: torch.device) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


def _score(logits: Tensor, tokens: Tensor, excluded: Sequence[int]) -> Tensor:
    """float32 [N], natural logarithms: of tokens, int64 [N], by logits, float32 [N, V], which are
    overwritten at the excluded ids."""
    if excluded:
        logits[:, excluded] = -torch.inf
    return logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)


@torch.no_grad()
def _compute_entropy(logits: Tensor) -> Tensor:
    """float32 [N / k], in nats, of every k-th row of logits [N, V], which `_score` has seen."""
    logs = logits[:: -(-logits.shape[-1] // ENTROPY_LOGITS)].log_softmax(-1)
    # an id that cannot be drawn has no share, and 0 * -inf would be no number
    return -torch.linalg.vecdot(logs.exp(), logs.clamp_(min=-1e4))


class _Chunks(torch.autograd.Function):
    """`_score` of states [N, H], an output matrix [V, H] and what follows it, with gradients for
    both, and entropies without. Logits of `rows` rows are in memory together, and are computed
    again in the backward pass. The factors of all products have type `dtype`."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        tokens: Tensor,
        finisher: Finisher,
        excluded: Sequence[int],
        rows: int,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(states, weight, tokens)
        ctx.finisher, ctx.excluded, ctx.rows, ctx.dtype = finisher, excluded, rows, dtype
        factor = weight.to(dtype)
        parts = zip(torch.split(states, rows), torch.split(tokens, rows), strict=True)
        scores, entropies = [], []
        for part, targets in parts:
            logits = finisher.apply(functional.linear(part.to(dtype), factor).float())
            scores.append(_score(logits, targets, excluded))
            entropies.append(_compute_entropy(logits))
        entropy = torch.cat(entropies)
        ctx.mark_non_differentiable(entropy)
        return torch.cat(scores), entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        states, weight, tokens = ctx.saved_tensors
        factor = weight.to(ctx.dtype)
        of_states = torch.empty_like(states)
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, len(states), ctx.rows):
            piece = slice(start, start + ctx.rows)
            part, scale = states[piece].to(ctx.dtype), gradient[piece, None]
            logits = ctx.finisher.apply(functional.linear(part, factor).float())
            bend = ctx.finisher.find_slope(logits)
            if ctx.excluded:
                logits[:, ctx.excluded] = -torch.inf
            # a log-probability's slope in its logits: 1 at the token, less all probabilities
            slope = logits.sub_(logits.logsumexp(-1, keepdim=True)).exp_().mul_(-scale)
            places = torch.arange(len(part), device=part.device)
            slope[places, tokens[piece]] += scale[:, 0]
            slope = (slope if bend is None else slope.mul_(bend)).to(ctx.dtype)
            of_states[piece] = slope @ factor
            if of_weight is not None:
                blocks = zip(
                    torch.split(of_weight, _BLOCK), torch.split(slope.T, _BLOCK), strict=True
                )
                for block, slopes in blocks:  # a sum of two types makes a copy of its terms
                    block += slopes @ part
        return of_states, of_weight, None, None, None, None, None
