"""Group-relative policy optimisation: advantages of a group, loss of a batch of tokens.

Advantages are rewards minus the group's mean, by default *not* divided by its standard deviation:
the division weighs a group of one success in eight as much as an even one and so favours the
problems that are nearly always or nearly never solved (Liu et al., "Understanding R1-Zero-like
training", 2025, "Dr. GRPO"). Tokens are summed and divided by one constant, so that a long wrong
completion is not cheaper per token than a short one.

The losses, by name. r is the ratio of new to behaviour probability, A the advantage, both of a
token; what is said to bound r has the distances `low` and `high` from 1. Each is a record of its
own bounds, with its formula (`LOSSES`).

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
  too far: up by more than `rise` where A is positive, else down by more than `fall` (Qi et al.,
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
from functools import reduce
from operator import add
from typing import ClassVar, Literal

import torch
from torch import Tensor

from assay.training.components import Component, Loss, sum_components

LossName = Literal["grpo", "gspo", "cispo", "icepop", "dppo"]
#: What leads from an older behaviour to a step's beginning, see `assay.training.stale`.
StaleWeight = Literal["sequence", "token", "none"]

#: Log-ratios beyond this are far outside every bound; `exp` of more would overflow, and the
#: gradient of a clipped infinity is no number. Natural logarithm.
LOG_RATIO_MAX = 20.0
#: Added to a standard deviation before dividing by it, in whole rewards. As TRL does.
_DEVIATION_FLOOR = 1e-4

#: What each token gains, and whether a bound has changed that.
Gains = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class _Loss:
    """What losses have alike, but those that say something else."""

    #: whether completions count alike, and not tokens: then r is a completion's
    counts_completions: ClassVar[bool] = False
    #: the weights of what is stale that differ; none: it has one of its own, without a cap
    stale_weights: ClassVar[tuple[StaleWeight, ...]] = "sequence", "token", "none"

    def weigh_stale(self, gaps: Sequence[float], weight: StaleWeight, cap: float) -> list[float]:
        """The weight of each token of a completion that an older checkpoint drew.

        Args:
            gaps: of each token, how much its log-probability has risen from there to the step's
                beginning, nats.
        """
        if weight == "none":
            return [1.0] * len(gaps)
        if weight == "token":
            return [min(exp_bounded(gap), cap) for gap in gaps]
        return [min(exp_bounded(add_in_order(gaps)), cap)] * len(gaps)


@dataclass(frozen=True, slots=True)
class Grpo(_Loss):
    """Two bounds on the ratio, at 1 − `low` and 1 + `high`; where the advantage is negative, it is
    at most `cap`. Raises ValueError: the bounds are out of order."""

    low: float = 0.2
    high: float = 0.28
    cap: float = 4.0

    name: ClassVar[LossName] = "grpo"

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0):
            raise ValueError("clip bounds need 0 < low < 1 and 0 < high")
        if 1 + self.high > self.cap:
            raise ValueError("clip bounds need 1 + high <= cap")

    def compute_gains(
        self, ratio: Tensor, logprobs: Tensor, behaviour: Tensor, advantage: Tensor
    ) -> Gains:
        """min(r·A, bounded r·A)."""
        capped = ratio.clamp(max=self.cap) * advantage
        inside = ratio.clamp(1 - self.low, 1 + self.high) * advantage
        return torch.minimum(capped, inside), inside < capped


@dataclass(frozen=True, slots=True)
class Gspo(Grpo):
    """The same of whole completions."""

    name: ClassVar[LossName] = "gspo"
    counts_completions: ClassVar[bool] = True
    stale_weights: ClassVar[tuple[StaleWeight, ...]] = "sequence", "none"

    def weigh_stale(self, gaps: Sequence[float], weight: StaleWeight, cap: float) -> list[float]:
        """Its ratio is a geometric mean, and so is its weight."""
        if weight == "none":
            return [1.0] * len(gaps)
        return [min(exp_bounded(add_in_order(gaps) / len(gaps)), cap)] * len(gaps)


@dataclass(frozen=True, slots=True)
class Cispo(_Loss):
    """The weight of a token's log-probability is at most 1 + `high`."""

    high: float = 0.28

    name: ClassVar[LossName] = "cispo"

    def __post_init__(self) -> None:
        if self.high <= 0:
            raise ValueError("cispo's bound needs 0 < high")

    def compute_gains(
        self, ratio: Tensor, logprobs: Tensor, behaviour: Tensor, advantage: Tensor
    ) -> Gains:
        """log π weighted by A and the bounded r, without a gradient through r."""
        high = 1 + self.high
        return ratio.detach().clamp(max=high) * advantage * logprobs, ratio > high


@dataclass(frozen=True, slots=True)
class Icepop(_Loss):
    """Tokens whose ratio is below 1 − `low` or above 1 + `high` teach nothing."""

    low: float = 0.2
    high: float = 0.28

    name: ClassVar[LossName] = "icepop"
    stale_weights: ClassVar[tuple[StaleWeight, ...]] = ()

    def __post_init__(self) -> None:
        if not (0 < self.low < 1 and self.high > 0):
            raise ValueError("icepop's bounds need 0 < low < 1 and 0 < high")

    def compute_gains(
        self, ratio: Tensor, logprobs: Tensor, behaviour: Tensor, advantage: Tensor
    ) -> Gains:
        """r·A inside the bounds."""
        out = (ratio < 1 - self.low) | (ratio > 1 + self.high)
        return torch.where(out, 0.0, ratio * advantage), out

    def weigh_stale(self, gaps: Sequence[float], weight: StaleWeight, cap: float) -> list[float]:
        """Its paper's masks, of the two policies before the step, whatever is set."""
        ratios = map(exp_bounded, gaps)
        return [r if 1 - self.low <= r <= 1 + self.high else 0.0 for r in ratios]


@dataclass(frozen=True, slots=True)
class Dppo(_Loss):
    """Tokens whose probability has fallen by more than `fall`, or risen by more than `rise`, teach
    nothing; the ratio is at most `cap`."""

    fall: float = 0.2
    rise: float = 0.28
    cap: float = 4.0

    name: ClassVar[LossName] = "dppo"

    def __post_init__(self) -> None:
        if not (0 < self.fall < 1 and self.rise > 0):
            raise ValueError("dppo's bounds need 0 < fall < 1 and 0 < rise")

    def compute_gains(
        self, ratio: Tensor, logprobs: Tensor, behaviour: Tensor, advantage: Tensor
    ) -> Gains:
        """r·A while the probability is near the behaviour's."""
        moved = (logprobs.exp() - behaviour.exp()).detach()
        out = torch.where(advantage > 0, moved > self.rise, moved < -self.fall)
        return torch.where(out, 0.0, ratio.clamp(max=self.cap) * advantage), out


def add_in_order(values: Sequence[float]) -> float:
    """The sum of float64s, each added to those before it. `sum` compensates from Python 3.12 on, so
    its last bits are another version's."""
    return reduce(add, values, 0.0)


def exp_bounded(gap: float) -> float:
    """exp of a log-ratio, or of the greatest one if it is beyond that."""
    return math.exp(min(gap, LOG_RATIO_MAX))


LossConfig = Grpo | Gspo | Cispo | Icepop | Dppo
#: Name → what has its bounds and its formula. `assay.settings.losses` has the table of each.
LOSSES: dict[LossName, type[LossConfig]] = {
    kind.name: kind for kind in (Grpo, Gspo, Cispo, Icepop, Dppo)
}


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
    loss: LossConfig,
    kl_weight: float = 0.0,
    reference: Tensor | None = None,
    anchors: tuple[Tensor, Tensor] | None = None,
) -> Loss:
    """Policy loss of a minibatch, summed and divided by `scale`: its components rl and ref_kl.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        behaviour: fp32 [rows, tokens], the same under the checkpoint that sampled; no gradient.
        advantages: fp32 [rows], one for each completion.
        mask: bool [rows, tokens], true at completion tokens.
        scale: a constant count of tokens, or of completions if they count alike, see
            `sum_components`.
        loss: formula and bounds.
        kl_weight: of the divergence from the reference; 0: it is only measured.
        reference: fp32 [rows, tokens], the policy from which the divergence is measured; None: the
            behaviour.
        anchors: fp32 [rows, tokens] each: the policy that ratios and bounds are of, and the weight
            of each token's gain, see `assay.training.stale`; None: the behaviour, and 1.
    """
    anchor, stale = (behaviour, None) if anchors is None else anchors
    # Outside the mask the two are equal, so that no padding can produce inf * 0.
    difference = torch.where(mask, logprobs - anchor, torch.zeros_like(logprobs))
    weight = mask.to(logprobs.dtype)
    if loss.counts_completions:
        weight = weight / mask.sum(-1, keepdim=True).clamp(min=1)
        ratio = (difference * weight).sum(-1, keepdim=True).expand_as(difference)
    else:
        ratio = difference
    ratio = ratio.clamp(max=LOG_RATIO_MAX).exp()
    # a ratio that is no number makes a gain that is none, so that somebody notices
    gain, bounded = loss.compute_gains(ratio, logprobs, anchor, advantages[:, None])
    if stale is not None:
        gain = gain * stale
    # Unbiased, never negative estimate of KL(new‖reference) (Schulman, "k3").
    whence = behaviour if reference is None else reference
    gap = torch.where(mask, whence - logprobs, 0.0)
    gap = gap.clamp(max=LOG_RATIO_MAX)
    divergence = gap.exp() - gap - 1
    components = [Component("rl", gain)]
    if kl_weight:
        components.append(Component("ref_kl", -divergence, kl_weight))
    with torch.no_grad():
        clipped = int((bounded & mask).sum())
        ratio_sum = float(ratio[mask].sum())
        kl_sum = float(divergence[mask].sum())
    value = sum_components(components, mask, weight, scale)
    return Loss(value, int(mask.sum()), clipped, ratio_sum, kl_sum)
