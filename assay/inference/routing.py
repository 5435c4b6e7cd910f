"""Routers of mixtures: which experts a token needs, and with which weights.

A family's own router chooses the k experts with the largest scores. Where the k-th and the next are
close, two permitted implementations would choose differently, and everything behind the router
jumps. So the reference replaces the choice by a ramp, which is continuous (`compute_factors`). An
expert takes part if its factor is positive, and there may be any number of them.

A ramped router lists a token's experts in the form that Hugging Face's models have, as many as the
neediest token of a pass has. `mix_experts` is the sum over them, and no kernel of a library takes
its place.

This module does not know a family's fields. Specification, section 3.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from assay.protocol.parameters import FRACTION_BITS

#: The name by which Hugging Face's models find `mix_for_models`.
RAMPED_EXPERTS = "assay_ramped"


@dataclass(frozen=True, slots=True)
class RouterRule:
    """What a family makes of a router's logits.

    Attributes:
        chosen: k, the number of experts that its own router chooses; below the number of experts.
        sigmoid: scores are sigmoids of logits, each for itself, and with biases choose experts;
            else the logits choose, and softmax over all experts makes weights.
        normalised: weights are divided by their sum.
        scaling: of weights, at the end.
    """

    chosen: int
    sigmoid: bool = False
    normalised: bool = True
    scaling: float = 1.0


def compute_factors(scores: Tensor, chosen: int, ramp: int) -> Tensor:
    """f_i = clip(½ + (s_i − t) / 2ε, 0, 1), where t is halfway between the k-th and the next score.

    Args:
        scores: float32 [N, E].
        chosen: k < E.
        ramp: ε in 2^-20, positive.

    Returns:
        float32 [N, E]. Where the k-th score leads by 2ε, k of them are 1 and the others 0.
    """
    highest = scores.topk(chosen + 1, dim=-1).values
    middle = (highest[:, chosen - 1] + highest[:, chosen])[:, None] / 2
    return ((scores - middle) * ((1 << FRACTION_BITS) / (2 * ramp)) + 0.5).clamp(0, 1)


def compute_weights(logits: Tensor, biases: Tensor | None, rule: RouterRule, ramp: int) -> Tensor:
    """The weight of every expert for every token, float32 [N, E]: zero for those that do not take
    part. No gradient passes through the ramp's factors: they are so steep that it would drown all
    others.

    Args:
        logits: float32 [N, E].
        biases: float32 [E], of the choice alone, or None.
        ramp: ε in 2^-20, positive.
    """
    shares = logits.sigmoid() if rule.sigmoid else logits.softmax(-1)
    scores = (shares if rule.sigmoid else logits).detach()
    scores = scores if biases is None else scores + biases
    weights = shares * compute_factors(scores, rule.chosen, ramp)
    if rule.normalised:
        weights = weights / weights.sum(-1, keepdim=True)
    return weights * rule.scaling


class RampedRouter(nn.Module):
    """Takes the place of a family's router, with the same weights under the same names.

    Args:
        router: with `weight` [E, H], and where its family has them `bias` [E] and
            `e_score_correction_bias` [E].
        ramp: ε in 2^-20, positive.
    """

    def __init__(self, router: Any, rule: RouterRule, ramp: int) -> None:
        super().__init__()
        self.weight = router.weight
        self.bias = getattr(router, "bias", None)
        correction = getattr(router, "e_score_correction_bias", None)
        self.register_buffer("e_score_correction_bias", correction)
        self.rule = rule
        self._ramp = ramp

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of states [..., H], N in all: logits [N, E], weights [N, K] and numbers int64 [N, K] of
        the experts that take part, the heaviest first, where K is the most of one token. Behind a
        token's experts, weights are 0 and the number is E."""
        states = states.reshape(-1, states.shape[-1]).float()
        with torch.autocast(states.device.type, enabled=False):
            bias = None if self.bias is None else self.bias.float()
            logits = functional.linear(states, self.weight.float(), bias)
            correction = self.e_score_correction_bias
            biases = None if correction is None else correction.float()
            weights = compute_weights(logits, biases, self.rule, self._ramp)
        most = int((weights != 0).sum(-1).max())  # what is no number counts, and comes first
        weights, numbers = weights.topk(most, dim=-1)
        return logits, weights, numbers.masked_fill(weights == 0, logits.shape[-1])


def mix_experts(experts: Any, states: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum of each token's experts, float32 [N, H], as Hugging Face's models call it
    behind a `RampedRouter`. They are added in the order of their numbers.

    Args:
        experts: stacked: `gate_up_proj` [E, 2I, H] and `down_proj` [E, H, I], or both transposed,
            with biases or without.
        states: [N, H].
        numbers: int64 [N, K], E for none. weights: [N, K].
    """
    slots = numbers.flatten().sort(stable=True)
    counts = torch.bincount(slots.values, minlength=experts.num_experts).tolist()
    mixed = torch.zeros_like(states)
    # parts of one stack, so that the gradient of the whole is put together once
    widen, narrow = (_unbind(experts, name) for name in ("gate_up_proj", "down_proj"))
    for number, chosen in enumerate(slots.indices.split(counts)[: experts.num_experts]):
        if not counts[number]:
            continue
        rows = chosen // numbers.shape[1]
        inner = experts._apply_gate(functional.linear(states[rows], *widen[number]))  # noqa: SLF001
        outer = functional.linear(inner, *narrow[number]) * weights.flatten()[chosen, None]
        mixed.index_add_(0, rows, outer.to(mixed.dtype))
    return mixed


def _unbind(experts: Any, name: str) -> list[tuple[Tensor, Tensor | None]]:
    """The matrix [out, in] and the bias of each expert."""
    stacked = getattr(experts, name)
    matrices = (stacked.mT if experts.is_transposed else stacked).unbind()
    biases = getattr(experts, f"{name}_bias").unbind() if experts.has_bias else (None,)
    return list(zip(matrices, biases * (len(matrices) // len(biases)), strict=True))


ALL_EXPERTS_FUNCTIONS.register(RAMPED_EXPERTS, mix_experts)
