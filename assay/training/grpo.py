"""Group-relative policy optimisation: advantages of a group, loss of a batch of tokens.

Advantages are rewards minus the group's mean, by default *not* divided by its standard deviation:
the division weighs a group of one success in eight as much as an even one and so favours the
problems that are nearly always or nearly never solved (Liu et al., "Understanding R1-Zero-like
training", 2025, "Dr. GRPO"). Tokens are summed and divided by one constant, so that a long wrong
completion is not cheaper per token than a short one.

The losses, by name. r is the ratio of new to behaviour probability, A the advantage, both of a
token; what is said to bound r has the distances `low` and `high` from 1.

- grpo: min(r·A, bounded r·A), the usual pessimistic clip with a higher upper bound, which leaves
  rare tokens room to grow (Yu et al., "DAPO", 2025). Where A is negative, which the usual clip
  leaves unbounded, r is at most `cap` (Prime Intellect, "INTELLECT-2", 2025).
- gspo: the same of whole completions. r is the geometric mean over a completion's tokens, and each
  completion counts alike (Zheng et al., "Group sequence policy optimization", 2025).
- cispo: log-probabilities weighted by A and by r up to its upper bound, without a gradient through
  r: every token teaches (MiniMax, "MiniMax-M1", 2025).
- icepop: r·A, and nothing for a token whose r is beyond a bound (Ling team, "Every step evolves",
  2025; Prime Intellect, "INTELLECT-3", 2025, equation 1).
- dppo: r·A, r at most `cap`, and nothing for a token whose probability, not its ratio, has moved
  too far: up by more than `high` where A is positive, else down by more than `low` (Qi et al.,
  "Rethinking the trust region in LLM reinforcement learning", 2026, the binary total variation).

The formulas are those of TRL's `GRPOTrainer` where that has them (`loss_type`, `epsilon`,
`epsilon_high`, `delta`, `beta`, `importance_sampling_level`, `scale_rewards`); a test compares the
two.

What this file does not know: where the behaviour's log-probabilities come from. They must be
recomputed under the checkpoint that sampled the completions, never taken from a miner.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LossName = Literal["grpo", "gspo", "cispo", "icepop", "dppo"]

#: Log-ratios beyond this are far outside every bound; `exp` of more would overflow, and the
#: gradient of a clipped infinity is no number. Natural logarithm.
_LOG_RATIO_MAX = 20.0
#: Added to a standard deviation before dividing by it, in whole rewards. As TRL does.
_DEVIATION_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The loss: bounds on the ratio of new to behaviour probability, all dimensionless.

    Attributes:
        name: the formula, see above.
        low, high: distances of bounds below and above a ratio of 1; of dppo, probabilities.
        cap: the highest ratio that counts, of grpo and gspo where the advantage is negative.
        kl_weight: of the divergence from the reference; 0 computes none.

    Raises:
        ValueError: the bounds are out of order.
    """

    low: float = 0.2
    high: float = 0.28
    cap: float = 4.0
    kl_weight: float = 0.0
    name: LossName = "grpo"

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0):
            raise ValueError("clip bounds need 0 < low < 1 and 0 < high")
        if self.name in ("grpo", "gspo") and 1 + self.high > self.cap:
            raise ValueError("clip bounds need 1 + high <= cap")
        if self.kl_weight < 0:
            raise ValueError(f"the divergence's weight {self.kl_weight} is negative")

    @property
    def counts_completions(self) -> bool:
        """Whether completions count alike, and not tokens."""
        return self.name == "gspo"


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
    """Policy loss of a minibatch, summed and divided by `scale`.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        behaviour: fp32 [rows, tokens], the same under the checkpoint that sampled; no gradient.
        advantages: fp32 [rows], one for each completion.
        mask: bool [rows, tokens], true at completion tokens.
        scale: a constant count of tokens, or of completions if they count alike, the same for all
            minibatches of a call: losses of parts of a batch then add up to the whole's.
        config: formula and bounds.
        reference: fp32 [rows, tokens], the policy from which the divergence is measured; None: the
            behaviour.
    """
    # Outside the mask the two are equal, so that no padding can produce inf * 0.
    difference = torch.where(mask, logprobs - behaviour, torch.zeros_like(logprobs))
    weight = mask.to(logprobs.dtype)
    if config.counts_completions:
        weight = weight / mask.sum(-1, keepdim=True).clamp(min=1)
        ratio = (difference * weight).sum(-1, keepdim=True).expand_as(difference)
    else:
        ratio = difference
    ratio = ratio.clamp(max=_LOG_RATIO_MAX).exp()
    gain, bounded = _compute_gain(ratio, logprobs, behaviour, advantages[:, None], config)
    # Unbiased, never negative estimate of KL(new‖reference) (Schulman, "k3").
    gap = -difference if reference is None else torch.where(mask, reference - logprobs, 0.0)
    gap = gap.clamp(max=_LOG_RATIO_MAX)
    divergence = gap.exp() - gap - 1
    if config.kl_weight:
        gain = gain - config.kl_weight * divergence
    with torch.no_grad():
        clipped = int((bounded & mask).sum())
        ratio_sum = float(ratio[mask].sum())
        kl_sum = float(divergence[mask].sum())
    value = -(torch.where(mask, gain, torch.zeros_like(gain)) * weight).sum() / scale
    return Loss(value, int(mask.sum()), clipped, ratio_sum, kl_sum)


def _compute_gain(
    ratio: Tensor, logprobs: Tensor, behaviour: Tensor, advantage: Tensor, config: LossConfig
) -> tuple[Tensor, Tensor]:
    """What each token gains, and whether a bound has changed that. A ratio that is no number makes
    a gain that is none, so that somebody notices."""
    low, high = 1 - config.low, 1 + config.high
    if config.name == "cispo":
        return ratio.detach().clamp(max=high) * advantage * logprobs, ratio > high
    if config.name == "icepop":
        out = (ratio < low) | (ratio > high)
        return torch.where(out, 0.0, ratio * advantage), out
    capped = ratio.clamp(max=config.cap) * advantage
    if config.name == "dppo":
        moved = (logprobs.exp() - behaviour.exp()).detach()
        out = torch.where(advantage > 0, moved > config.high, moved < -config.low)
        return torch.where(out, 0.0, capped), out
    inside = ratio.clamp(low, high) * advantage
    return torch.minimum(capped, inside), inside < capped
