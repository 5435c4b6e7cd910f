"""Routers of mixtures: which experts a token needs, and with which weights.

A family's own router chooses the k experts with the largest scores. Where the k-th and the next are
close, two permitted implementations would choose differently, and everything behind the router
jumps. So the reference replaces the choice by a ramp, which is continuous (`compute_factors`). An
expert takes part if its factor is positive, and there may be any number of them.

A ramped router lists a token's experts in the form that Hugging Face's models have, as many as the
neediest token of a pass has. `mix_experts` is the sum over them, and no kernel of a hub takes its
place.

A row of the table of families says what its routers make of logits. Specification, section 3.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from assay.inference.families import CHOSEN, FAMILIES
from assay.inference.grouping import get_stack, has_grouped_products, mix_slots, multiply_in_bf16
from assay.protocol.parameters import EXPERT_BITS, FRACTION_BITS

#: The name by which Hugging Face's models find `mix_for_models`.
RAMPED_EXPERTS = "assay_ramped"
#: ε by which a mixture is read where nobody has measured its routers, 2^-20: a 32nd.
FIRST_RAMP = 1 << 15


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

    @property
    def least(self) -> float:
        """Added to the sum that weights are divided by: sigmoids may all be 0."""
        return 1e-20 if self.sigmoid else 0.0


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


def compute_scores(logits: Tensor, biases: Tensor | None, rule: RouterRule) -> Tensor:
    """What experts are chosen by, float32 [N, E]."""
    scores = logits.sigmoid() if rule.sigmoid else logits
    return scores if biases is None else scores + biases


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
    scores = compute_scores(logits.detach(), biases, rule)
    weights = shares * compute_factors(scores, rule.chosen, ramp)
    if rule.normalised:
        weights = weights / (weights.sum(-1, keepdim=True) + rule.least)
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
            weights = compute_weights(logits, self._biases, self.rule, self._ramp)
        taking_part = (weights != 0).sum(-1)  # what is no number counts, and comes first
        most = max(1, int(taking_part.max()))
        weights, numbers = weights.topk(most, dim=-1)
        return logits, weights, numbers.masked_fill(weights == 0, logits.shape[-1])

    def score(self, logits: Tensor) -> Tensor:
        """What experts are chosen by, float32 [N, E]."""
        return compute_scores(logits.detach(), self._biases, self.rule)

    @property
    def _biases(self) -> Tensor | None:
        correction: Any = self.e_score_correction_bias
        return None if correction is None else correction.float()


def mix_experts(
    experts: Any,
    states: Tensor,
    numbers: Tensor,
    weights: Tensor,
    multiply: Callable[[Tensor, Tensor, Tensor | None], Tensor] = functional.linear,
) -> Tensor:
    """The weighted sum of each token's experts, float32 [N, H], as Hugging Face's models call it
    behind a `RampedRouter`. They are added in the order of their numbers.

    Args:
        experts: stacked: `gate_up_proj` [E, 2I, H] and `down_proj` [E, H, I], or both transposed,
            with biases or without.
        states: [N, H].
        numbers: int64 [N, K], E for none. weights: [N, K].
        multiply: rows [n, in] by a matrix [out, in], and add a bias or none.
    """
    if multiply is functional.linear and has_grouped_products(experts, states):
        return mix_slots(experts, states, numbers, weights, multiply_in_bf16)
    slots = numbers.flatten().sort(stable=True)
    counts = torch.bincount(slots.values, minlength=experts.num_experts).tolist()
    mixed = torch.zeros_like(states)
    # parts of one stack, so that the gradient of the whole is put together once
    widen, narrow = (_unbind(experts, name) for name in ("gate_up_proj", "down_proj"))
    for number, chosen in enumerate(slots.indices.split(counts)[: experts.num_experts]):
        if not counts[number]:
            continue
        rows = chosen // numbers.shape[1]
        inner = experts._apply_gate(multiply(states[rows], *widen[number]))  # noqa: SLF001
        outer = multiply(inner, *narrow[number]) * weights.flatten()[chosen, None]
        mixed.index_add_(0, rows, outer.to(mixed.dtype))
    return mixed


def _unbind(experts: Any, name: str) -> list[tuple[Tensor, Tensor | None]]:
    """The matrix [out, in] and the bias of each expert."""
    stack, biases = get_stack(experts, name)
    matrices = stack.unbind()
    each = (None,) * len(matrices) if biases is None else biases.unbind()
    return list(zip(matrices, each, strict=True))


def make_rule(config: Any) -> RouterRule:
    """The rule of a model's family. Raises a ValueError where the family has no routers."""
    family = FAMILIES.get(config.model_type)
    experts = None if family is None else family.experts
    if experts is None:
        raise ValueError(f"the routers of {config.model_type} are not known")
    return RouterRule(
        chosen=getattr(config, CHOSEN),
        sigmoid=experts.sigmoid,
        normalised=getattr(config, experts.normalised) if experts.normalised else True,
        scaling=getattr(config, experts.scaling) if experts.scaling else 1.0,
    )


def has_routers(model: nn.Module) -> bool:
    """Return whether a model is a mixture."""
    return any(map(_is_router, model.modules()))


def _is_router(module: nn.Module) -> bool:
    """Whether a module is a family's router, by the name of its class, or a ramped one."""
    name = type(module).__name__
    return isinstance(module, RampedRouter) or name.lower().endswith("topkrouter")


def ramp_routers(model: Any) -> None:
    """Put ramped routers in the place of a model's own, with its attribute `router_ramp`. A model
    that is no mixture stays as it is. Raises a ValueError where there are routers and no ramp, or
    they are not known."""
    places = [
        (parent, name, child)
        for parent in list(model.modules())
        for name, child in parent.named_children()
        if _is_router(child)
    ]
    if not places:
        return
    ramp, rule = getattr(model, "router_ramp", 0), make_rule(model.config)
    if not ramp:
        raise ValueError("it is a mixture of experts, and router_ramp is 0")
    for parent, name, router in places:
        setattr(parent, name, RampedRouter(router, rule, ramp))
    model.set_experts_implementation(RAMPED_EXPERTS)


def choose_fewer(model: Any, chosen: Callable[[int], int]) -> None:
    """Let a mixture's ramped routers choose another number of experts, as a cheat would: from the
    family's number."""
    for module in model.modules():
        if isinstance(module, RampedRouter):
            module.rule = replace(module.rule, chosen=chosen(module.rule.chosen))


@dataclass(slots=True)
class RouterCount:
    """What the routers of a model have done.

    Attributes:
        tokens: of each router, added up. experts: that took part in them.
        spread: the variances of a token's scores, added up.
    """

    tokens: int = 0
    experts: int = 0
    spread: float = 0.0

    @property
    def needed(self) -> int:
        """The mean number of experts of a token, 2^-10, rounded up; 0 if there are no routers."""
        return -(-(self.experts << EXPERT_BITS) // max(1, self.tokens))

    @property
    def proposed(self) -> int:
        """A ramp that fits, 2^-20: a 32nd of the spread of a token's scores."""
        spread = sqrt(self.spread / max(1, self.tokens))
        return max(1, round(spread * (1 << FRACTION_BITS) / 32))


@contextmanager
def count_experts(model: Any) -> Iterator[RouterCount]:
    """Count what the ramped routers of a model do meanwhile, padding included."""
    count = RouterCount()

    def add(router: RampedRouter, _: Any, found: tuple[Tensor, Tensor, Tensor]) -> None:
        logits, weights, _numbers = found
        scores = router.score(logits)
        count.tokens += len(weights)
        count.experts += int((weights > 0).sum())
        count.spread += float(scores.double().var(-1, correction=0).sum())

    with _hook(model, add):
        yield count


@contextmanager
def record_logits(model: nn.Module) -> Iterator[list[Tensor]]:
    """The logits [N, E] of each router that runs meanwhile, in order."""
    logits: list[Tensor] = []
    with _hook(model, lambda _, __, found: logits.append(found[0])):
        yield logits


@contextmanager
def _hook(model: Any, hook: Callable[[Any, Any, Any], None]) -> Iterator[None]:
    modules = model.modules() if isinstance(model, nn.Module) else ()  # a class has none of ours
    routers = [module for module in modules if isinstance(module, RampedRouter)]
    handles = [router.register_forward_hook(hook) for router in routers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


ALL_EXPERTS_FUNCTIONS.register(RAMPED_EXPERTS, mix_experts)
