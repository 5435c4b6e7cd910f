"""The components of a loss, and their sum over the tokens of a minibatch.

A loss is a weighted sum of what each token gains by its components (as prime-rl's trainer has it):

- rl: by the advantage of its completion, see `assay.training.grpo`;
- ce: by its own log-probability, see `assay.training.imitation`;
- ref_kl: by being near a reference, the checkpoint that sampled, the first one, or a teacher.

What makes them is an objective (`assay.training.objectives`); the update loop knows none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ComponentName = Literal["rl", "ce", "ref_kl"]


@dataclass(frozen=True, slots=True)
class Component:
    """What each token gains by one component, fp32 [rows, tokens], and the component's weight."""

    name: ComponentName
    gain: Tensor
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of a minibatch and figures to monitor. Sums run over `tokens` masked-in tokens."""

    value: Tensor
    tokens: int
    clipped: int
    ratio_sum: float
    kl_sum: float


def sum_components(
    components: Sequence[Component], mask: Tensor, weights: Tensor | float, scale: float
) -> Tensor:
    """The loss of a minibatch, fp32 []: less what its tokens gain, summed and divided by `scale`.

    Args:
        components: at least one. Of a single one or the first, the weight is 1 if its gain is to
            be taken as it is.
        mask: bool [rows, tokens], true at tokens that count.
        weights: of tokens, broadcast to [rows, tokens].
        scale: the same for all minibatches of an update: losses of parts of a batch then add up to
            the whole's.
    """
    first, *others = (
        part.gain if part.weight == 1 else part.weight * part.gain for part in components
    )
    total = sum(others, start=first)
    return -(torch.where(mask, total, torch.zeros_like(total)) * weights).sum() / scale
