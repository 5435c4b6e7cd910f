"""Group-relative policy optimisation: advantages of a group, loss of a batch of tokens.

Advantages are rewards minus the group's mean, by default *not* divided by its standard deviation:
the division weighs a group of one success in eight as much as an even one and so favours the
problems that are nearly always or nearly never solved (Liu et al., "Understanding R1-Zero-like
training", 2025, "Dr. GRPO"). At token level tokens are summed and divided by one constant, so that
a long wrong completion is not cheaper per token than a short one; at sequence level a completion's
ratio is the geometric mean of its tokens' and each completion counts alike (Zheng et al., "Group
sequence policy optimization", 2025).

The loss is clipped on two sides: the usual pessimistic clip with a higher upper bound, which leaves
rare tokens room to grow (Yu et al., "DAPO", 2025), and a cap on the ratio where the advantage is
negative, which the usual clip leaves unbounded (Prime Intellect, "INTELLECT-2", 2025). The formulas
are those of TRL's `GRPOTrainer` (`epsilon`, `epsilon_high`, `delta`, `beta`,
`importance_sampling_level`, `scale_rewards`); a test compares the two.

What this file does not know: where the behaviour's log-probabilities come from. They must be
recomputed under the checkpoint that sampled the completions, never taken from a miner.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Level = Literal["token", "sequence"]

#: Log-ratios beyond this are far outside every bound; `exp` of more would overflow, and the
#: gradient of a clipped infinity is no number. Natural logarithm.
_LOG_RATIO_MAX = 20.0
#: Added to a standard deviation before dividing by it, in whole rewards. As TRL does.
_DEVIATION_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The loss: bounds on the ratio of new to behaviour probability, all dimensionless.

    Attributes:
        low, high: the clip's distance below and above a ratio of 1.
        cap: the highest ratio that counts where the advantage is negative.
        kl_weight: of the divergence from the reference; 0 computes none.
        level: what a ratio is of and what counts alike: tokens, or whole completions.

    Raises:
        ValueError: the bounds are out of order.
    """

    low: float = 0.2
    high: float = 0.28
    cap: float = 4.0
    kl_weight: float = 0.0
    level: Level = "token"

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0 and 1 + self.high <= self.cap):
            raise ValueError("clip bounds need 0 < low < 1, 0 < high and 1 + high <= cap")
        if self.kl_weight < 0:
            raise ValueError(f"the divergence's weight {self.kl_weight} is negative")


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of a minibatch and figures to monitor. Sums run over `tokens` masked-in tokens."""

    value: Tensor
    tokens: int
    clipped: int
    ratio_sum: float
    kl_sum: float


def compute_advantages(rewards: Sequence[int], *, scaled: bool = False) -> list[float] | None:
    """Turn the rewards of one group, in millionths, into advantages in whole rewards; None if all
    are equal.

    A group without variance has nothing to teach: it is dropped, and its caller counts it.

    Args:
        scaled: divide by the group's standard deviation, as the first GRPO did.

    Raises:
        ValueError: the group is empty.
    """
    if not rewards:
        raise ValueError("a group has at least one rollout")
    if min(rewards) == max(rewards):
        return None
    count, total = len(rewards), sum(rewards)
    # integers up to here: the result is the same on every machine
    centred = [reward * count - total for reward in rewards]
    if not scaled:
        return [value / (count * 1_000_000) for value in centred]
    squares = sum(value * value for value in centred)
    deviation = math.sqrt(squares / (count - 1)) / (count * 1_000_000)
    return [value / (count * 1_000_000) / (deviation + _DEVIATION_FLOOR) for value in centred]


def compute_loss(
    logprobs: Tensor,
    behaviour: Tensor,
    advantages: Tensor,
    mask: Tensor,
    scale: float,
    config: LossConfig,
    reference: Tensor | None = None,
) -> Loss:
    """Clipped policy loss of a minibatch, summed and divided by `scale`.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        behaviour: fp32 [rows, tokens], the same under the checkpoint that sampled; no gradient.
        advantages: fp32 [rows], one for each completion.
        mask: bool [rows, tokens], true at completion tokens.
        scale: a constant count of tokens, at sequence level of completions, the same for all
            minibatches of a call: losses of parts of a batch then add up to the whole's.
        config: bounds and level.
        reference: fp32 [rows, tokens], the policy from which the divergence is measured; None: the
            behaviour.
    """
    # Outside the mask the two are equal, so that no padding can produce inf * 0.
    difference = torch.where(mask, logprobs - behaviour, torch.zeros_like(logprobs))
    weight = mask.to(logprobs.dtype)
    if config.level == "sequence":
        weight = weight / mask.sum(-1, keepdim=True).clamp(min=1)
        ratio = (difference * weight).sum(-1, keepdim=True).expand_as(difference)
    else:
        ratio = difference
    ratio = ratio.clamp(max=_LOG_RATIO_MAX).exp()
    advantage = advantages[:, None]
    capped = ratio.clamp(max=config.cap) * advantage
    inside = ratio.clamp(1 - config.low, 1 + config.high) * advantage
    gain = torch.minimum(capped, inside)
    # Unbiased, never negative estimate of KL(new‖reference) (Schulman, "k3").
    gap = -difference if reference is None else torch.where(mask, reference - logprobs, 0.0)
    gap = gap.clamp(max=_LOG_RATIO_MAX)
    divergence = gap.exp() - gap - 1
    if config.kl_weight:
        gain = gain - config.kl_weight * divergence
    with torch.no_grad():
        clipped = int(((inside < capped) & mask).sum())
        ratio_sum = float(ratio[mask].sum())
        kl_sum = float(divergence[mask].sum())
    value = -(torch.where(mask, gain, torch.zeros_like(gain)) * weight).sum() / scale
    return Loss(value, int(mask.sum()), clipped, ratio_sum, kl_sum)
