"""The even use of a mixture's experts, as its family keeps it.

Most families add a loss to their own that grows where few experts have most tokens. A family
without such a coefficient has none here.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor


def get_balance_weight(config: Any) -> float:
    """The weight of the loss, from a model's config; 0: none."""
    return float(getattr(config, "router_aux_loss_coef", None) or 0.0)


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
