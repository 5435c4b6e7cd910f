"""The logits of a model: its output matrix, and what its class does behind that.

Some families divide, multiply or cap their logits. Their classes do so in `forward`, which packed
reading never calls. So everything that wants logits calls `compute_logits`. What a class without a
family does there, `assay.inference.plain.head` finds out.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from assay.inference.families import FAMILIES


class Headed(Protocol):
    """A model with an output matrix."""

    @property
    def config(self) -> Any:
        """Hugging Face's configuration."""

    @property
    def lm_head(self) -> Any:
        """States [..., H] → the output matrix's products [..., V]."""


@dataclass(frozen=True, slots=True)
class Finisher:
    """What follows the output matrix of one model: see `Finish`. `rule` None: nothing."""

    rule: Literal["divide", "multiply", "cap"] | None
    number: float = 1.0

    def apply(self, products: Tensor) -> Tensor:
        """Logits from the output matrix's products, of which they take the place if no gradient
        needs them."""
        match self.rule:
            case "divide":
                return products.div_(self.number)
            case "multiply":
                return products.mul_(self.number)
            case "cap" if products.requires_grad:
                return torch.tanh(products / self.number) * self.number
            case "cap":
                return products.div_(self.number).tanh_().mul_(self.number)
        return products

    def find_slope(self, logits: Tensor) -> Tensor | float | None:
        """The derivative of each logit in its product, from finished logits; None: 1."""
        match self.rule:
            case "divide":
                return 1 / self.number
            case "multiply":
                return self.number
            case "cap":
                return 1 - (logits / self.number).square_()
        return None


def find_finisher(model: Any) -> Finisher:
    """What follows the output matrix of a model: of one that is read plainly what its class was
    seen to do, else by its family and Hugging Face's configuration. A model of no known family has
    nothing there: probes find out."""
    plain = getattr(model, "plain_head", None)
    if plain is not None:
        found: Finisher = plain.finisher
        return found
    family = FAMILIES.get(getattr(model.config, "model_type", ""))
    finish = None if family is None else family.finish
    number = None if finish is None else getattr(model.config, finish.field)
    return Finisher(None) if finish is None or number is None else Finisher(finish.rule, number)


def get_output(model: Any) -> Any:
    """The module that has a model's output matrix: states [..., H] → products [..., V]."""
    plain = getattr(model, "plain_head", None)
    if plain is not None and hasattr(model, "get_submodule"):  # a class's own, under any name
        return model.get_submodule(plain.output)
    return model.lm_head


def compute_logits(model: Headed, states: Tensor) -> Tensor:
    """Logits, float32 [..., V], of normed last states [..., H]."""
    return find_finisher(model).apply(get_output(model)(states).float())
