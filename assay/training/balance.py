"""The even use of a mixture's experts, as its family keeps it.

Most families add a loss to their own that grows where few experts have most tokens. A family
without such a coefficient has none here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from assay.inference.families import CHOSEN


@dataclass(frozen=True, slots=True)
class Balance:
    """A family's loss of balance.

    Attributes:
        weight: 0: it has none.
        chosen: experts that the family chooses for a token.
    """

    weight: float
    chosen: int

    @classmethod
    def of(cls, config: Any) -> "Balance":
        """That of a model's config."""
        weight = float(getattr(config, "router_aux_loss_coef", None) or 0.0)
        return cls(weight, getattr(config, CHOSEN, 0))

    def compute(self, routed: Sequence[Tensor], share: float) -> Tensor:
        """What a pass adds to a loss, float32 []. `routed`: see `compute_imbalance`; `share`: of
        the pass in its update."""
        return self.weight * share * compute_imbalance(routed, self.chosen)


def compute_imbalance(logits: Sequence[Tensor], chosen: int) -> Tensor:
    """`chosen` where all experts have equally many tokens, more elsewhere (Fedus et al., "Switch
    transformers", 2021). Prompts count, too.

    Args:
        logits: of each router, float32 [N, E].
        chosen: experts that its family chooses for a token.
    """
    # every family has a copy of this function, and few programs need it
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    every: Any = tuple(logits)  # its type asks for exactly one
    imbalance = load_balancing_loss_func(every, logits[0].shape[-1], chosen)
    assert isinstance(imbalance, Tensor), "there are routers"
    return imbalance
