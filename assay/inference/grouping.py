"""A layer's experts in one launch: tokens sorted by expert, and products of all experts at once.

`assay.inference.routing.mix_experts` is the same as a loop over experts, which is faster on a CPU.
A GPU waits for each of its launches, and few tokens choose each of many experts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

#: The least compute capability of GPUs with grouped products in bf16.
_CAPABLE = (8, 0)
#: Strides of operands that the library's grouped products take, in elements of bf16.
_ALIGNED = 8


@dataclass(frozen=True, slots=True)
class Slots:
    """The experts of N tokens, each at most K. A slot is one expert of one token; S have one, and
    are sorted by expert, then by token.

    Attributes:
        tokens: int64 [S].
        numbers: int64 [S], of the expert.
        ends: int64 [E], the place behind the last slot of each expert.
        places: int64 [N, K], of each token's slots, by ascending numbers of experts; 0 for none.
        weights: [N, K], in the same order. is_none: bool [N, K].
    """

    tokens: Tensor
    numbers: Tensor
    ends: Tensor
    places: Tensor
    weights: Tensor
    is_none: Tensor

    @staticmethod
    def sort(numbers: Tensor, weights: Tensor, experts: int) -> "Slots":
        """Of numbers int64 [N, K], E for none, and weights [N, K]."""
        ascending = numbers.sort(dim=1, stable=True)
        flat = ascending.values.flatten().sort(stable=True)
        ends = torch.bincount(flat.values, minlength=experts + 1)[:experts].cumsum(0)
        taken = int(ends[-1])
        places = torch.empty_like(flat.indices)
        places[flat.indices] = torch.arange(len(places), device=places.device)
        is_none = ascending.values == experts
        return Slots(
            tokens=flat.indices[:taken] // numbers.shape[1],
            numbers=flat.values[:taken],
            ends=ends,
            places=places.view_as(numbers).masked_fill(is_none, 0),
            weights=weights.gather(1, ascending.indices),
            is_none=is_none,
        )

    def mix(self, outer: Tensor, like: Tensor) -> Tensor:
        """The weighted sum of each token's slots [S, H], added in the order of experts: [N, H], of
        the dtype of `like`."""
        each = outer[self.places.flatten()].view(*self.places.shape, -1).unbind(1)
        mixed = torch.zeros_like(like)
        columns = (self.weights.unbind(1), self.is_none.unbind(1))
        for one, weight, is_none in zip(each, *columns, strict=True):
            own = (one * weight[:, None]).masked_fill(is_none[:, None], 0)
            mixed = mixed + own.to(mixed.dtype)
        return mixed


#: Multiplies rows [n, in] of an activation, of which `sources` int64 [S] names one for each slot,
#: by the matrices of a stack [E, out, in], and adds biases [E, out] or none: [S, out].
Multiply = Callable[[Tensor, Tensor, Slots, Tensor, Tensor | None], Tensor]


def mix_slots(
    experts: Any, states: Tensor, numbers: Tensor, weights: Tensor, multiply: Multiply
) -> Tensor:
    """See `assay.inference.routing.mix_experts`."""
    slots = Slots.sort(numbers, weights, experts.num_experts)
    if not len(slots.tokens):
        return torch.zeros_like(states)
    wide = multiply(states, slots.tokens, slots, *get_stack(experts, "gate_up_proj"))
    inner = experts._apply_gate(wide)  # noqa: SLF001
    own = torch.arange(len(inner), device=inner.device)
    outer = multiply(inner, own, slots, *get_stack(experts, "down_proj"))
    return slots.mix(outer, states)


def get_stack(experts: Any, name: str) -> tuple[Tensor, Tensor | None]:
    """The matrices [E, out, in] of stacked experts, and their biases [E, out] or None."""
    stacked = getattr(experts, name)
    biases = getattr(experts, f"{name}_bias") if experts.has_bias else None
    return stacked.mT if experts.is_transposed else stacked, biases


def multiply_in_bf16(
    x: Tensor, sources: Tensor, slots: Slots, stack: Tensor, biases: Tensor | None
) -> Tensor:
    """See `Multiply`: by the library's product of groups, in bf16, forward and backward."""
    rows = x[sources].bfloat16()
    ends = slots.ends.to(torch.int32)
    product = functional.grouped_mm(rows, stack.bfloat16().mT, offs=ends)
    return product if biases is None else product + biases.bfloat16()[slots.numbers]


def has_grouped_products(experts: Any, states: Tensor) -> bool:
    """Return whether the library multiplies these states by all experts at once: in bf16, by
    themselves or as autocast has it, on a GPU."""
    if not states.is_cuda or torch.cuda.get_device_capability(states.device) < _CAPABLE:
        return False
    narrow = states.dtype
    if torch.is_autocast_enabled("cuda"):
        narrow = torch.get_autocast_dtype("cuda")
    # not the stacks' own shapes: beside factors, each look at a stack adds them up
    inner = getattr(experts, "intermediate_dim", None) or experts.intermediate_size
    return narrow == torch.bfloat16 and states.shape[1] % _ALIGNED == inner % _ALIGNED == 0
