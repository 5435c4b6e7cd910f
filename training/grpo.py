"""Group-relative policy optimisation: advantages of a group, loss of a batch of tokens.

Advantages are rewards minus the group's mean, *not* divided by its standard deviation: the
division weighs a group of one success in eight as much as an even one and so favours the problems
that are nearly always or nearly never solved (Liu et al., "Understanding R1-Zero-like training",
2025, "Dr. GRPO"). For the same reason tokens are summed and divided by one constant, so that a long
wrong completion is not cheaper per token than a short one.

The loss is clipped on two sides: the usual pessimistic clip with a higher upper bound, which leaves
rare tokens room to grow (Yu et al., "DAPO", 2025), and a cap on the ratio where the advantage is
negative, which the usual clip leaves unbounded (Prime Intellect, "INTELLECT-2", 2025).

What this file does not know: where the behaviour's log-probabilities come from. They must be
recomputed under the checkpoint that sampled the completions, never taken from a miner.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClipConfig:
    """Bounds on the ratio of new to behaviour probability of a token, all dimensionless.

    Raises:
        ValueError: the bounds are out of order.
    """

    low: float = 0.2
    high: float = 0.28
    cap: float = 4.0
    #: Weight of the divergence from the behaviour policy; 0 computes none.
    kl_weight: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0 and 1 + self.high <= self.cap):
            raise ValueError("clip bounds need 0 < low < 1, 0 < high and 1 + high <= cap")
        if self.kl_weight < 0:
            raise ValueError(f"the divergence's weight {self.kl_weight} is negative")


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of a minibatch and what to watch in it; sums run over `tokens` masked-in tokens."""

    value: Tensor
    tokens: int
    clipped: int
    ratio_sum: float
    kl_sum: float


def compute_advantages(rewards: Sequence[int]) -> list[float] | None:
    """Rewards of one group, in millionths → advantages in whole rewards; None if all are equal.

    A group without variance has nothing to teach: it is dropped, and its caller counts it.

    Raises:
        ValueError: the group is empty.
    """
    if not rewards:
        raise ValueError("a group has at least one rollout")
    if min(rewards) == max(rewards):
        return None
    total = sum(rewards)  # integers up to here: the result is the same on every machine
    return [(reward * len(rewards) - total) / (len(rewards) * 1_000_000) for reward in rewards]


def compute_loss(
    logprobs: Tensor,
    behaviour: Tensor,
    advantages: Tensor,
    mask: Tensor,
    scale: float,
    clip: ClipConfig,
) -> Loss:
    """Clipped policy loss of a minibatch, summed over tokens and divided by `scale`.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        behaviour: fp32 [rows, tokens], the same under the checkpoint that sampled; no gradient.
        advantages: fp32 [rows], one a completion.
        mask: bool [rows, tokens], true at completion tokens.
        scale: a constant count of tokens, the same for all minibatches of a call.
        clip: bounds.
    """
    # Outside the mask the two are equal, so that no padding can produce inf * 0.
    difference = torch.where(mask, logprobs - behaviour, torch.zeros_like(logprobs))
    ratio = difference.exp()
    advantage = advantages[:, None]
    capped = ratio.clamp(max=clip.cap) * advantage
    inside = ratio.clamp(1 - clip.low, 1 + clip.high) * advantage
    gain = torch.minimum(capped, inside)
    # Unbiased, never negative estimate of KL(new‖behaviour)'s mirror (Schulman, "k3").
    divergence = ratio - 1 - difference
    if clip.kl_weight:
        gain = gain - clip.kl_weight * divergence
    with torch.no_grad():
        clipped = int(((inside < capped) & mask).sum())
        ratio_sum = float(ratio[mask].sum())
        kl_sum = float(divergence[mask].sum())
    value = -torch.where(mask, gain, torch.zeros_like(gain)).sum() / scale
    return Loss(value, int(mask.sum()), clipped, ratio_sum, kl_sum)
