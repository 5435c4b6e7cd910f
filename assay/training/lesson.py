"""What a lesson takes and gives: groups of rollouts, the rows that objectives make of them, and
figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypedDict

from torch import Tensor

from assay.protocol.episode import Reply
from assay.protocol.errors import OperatorError
from assay.training.components import Loss
from assay.training.grpo import compute_advantages


class LessonError(OperatorError):
    """Nothing can be learned from these groups by these settings. The message says why. The
    learner's state is no longer usable."""


@dataclass(frozen=True, slots=True)
class Group:
    """One problem's rollouts, as the trainer judged and scored them itself.

    `prompt` and each completion are token ids (end tokens included), rewards are millionths,
    `behaviour_logprobs` natural logarithms, one a completion token, under the checkpoint that
    sampled. A completion has the model's own tokens alone: what its world replied between turns is
    in `replies`, ascending, and is read but not learned. Without any, `replies` may be left out.
    `is_older`: another checkpoint sampled than the step's parent. `age`: by how many checkpoints,
    where somebody knows it, for figures alone.

    Raises:
        ValueError: the parts do not belong together.
    """

    prompt: list[int]
    completions: list[list[int]]
    rewards: list[int]
    behaviour_logprobs: list[list[float]]
    replies: list[list[Reply]] = field(default_factory=list)
    is_older: bool = False
    age: int | None = None

    def __post_init__(self) -> None:
        if not self.replies:
            object.__setattr__(self, "replies", [[] for _ in self.completions])
        sizes = {len(self.completions), len(self.rewards), len(self.behaviour_logprobs)}
        sizes.add(len(self.replies))
        if len(sizes) != 1 or not self.completions or not self.prompt:
            raise ValueError("a group needs a prompt and as many rewards as completions")
        pairs = zip(self.completions, self.behaviour_logprobs, strict=True)
        if any(not tokens or len(tokens) != len(logprobs) for tokens, logprobs in pairs):
            raise ValueError("a completion needs at least one token and a logprob for each")
        for tokens, replies in zip(self.completions, self.replies, strict=True):
            places = [0, *(reply.at for reply in replies), len(tokens)]
            if any(before >= after for before, after in pairwise(places)):
                raise ValueError("each reply needs a turn before it and one behind it")

    @property
    def teaches(self) -> bool:
        """Return whether its rewards differ. If not, the loss leaves it out."""
        return compute_advantages(self.rewards) is not None


@dataclass(frozen=True, slots=True)
class Row:
    """A completion to learn from, with the weight of its tokens: for a policy's loss the advantage.
    `replies`: see `Group`."""

    prompt: list[int]
    completion: list[int]
    replies: list[Reply]
    weight: float


@dataclass(frozen=True, slots=True)
class Rollout(Row):
    """A completion that a policy drew.

    Attributes:
        behaviour: a natural logarithm for each of its tokens, under the checkpoint that sampled.
        is_earlier: it is of an earlier window.
        is_older, age: see `Group`.
        proximal, stale: fp32 [tokens], of what is older than the step's beginning: see
            `assay.training.stale`.
    """

    behaviour: list[float]
    is_earlier: bool
    is_older: bool = False
    age: int | None = None
    proximal: Tensor | None = None
    stale: Tensor | None = None


def make_rollouts(group: Group, scaled: bool, is_earlier: bool) -> list[Rollout]:
    """A group's rollouts with their advantages; none if it teaches nothing."""
    advantages = compute_advantages(group.rewards, scaled=scaled)
    if advantages is None:
        return []
    parts = zip(group.completions, group.replies, advantages, group.behaviour_logprobs, strict=True)
    origin = is_earlier, group.is_older, group.age
    return [Rollout(group.prompt, *part, *origin) for part in parts]


def count_tokens(rows: Sequence[Row]) -> int:
    """The rows' own tokens."""
    return sum(len(row.completion) for row in rows)


class StaleAge(TypedDict):
    """The older rollouts of one age, as `Staleness` has all."""

    age: int
    share: float
    ess: float
    kl: float


@dataclass(frozen=True, slots=True)
class LearnStats:
    """The results of one call of `learn`; means run over tokens of all minibatches unless said."""

    groups: int
    dropped: int
    updates: int
    tokens: int
    mean_reward: float
    loss: float
    mean_ratio: float
    clipped_share: float
    mean_kl: float
    gradient_norm: float
    learning_rate: float = 0.0  # of all updates
    #: mean cross-entropy of the examples beside, in nats a token, before each update; not in `loss`
    sft_loss: float | None = None
    #: see `TokenFigures`
    entropy: float | None = None
    ratio_p01: float | None = None
    ratio_p50: float | None = None
    ratio_p99: float | None = None
    ratio_max: float | None = None
    #: the same of groups of earlier windows alone, replayed and delayed ones; None: there were none
    earlier_ratio_p50: float | None = None
    earlier_ratio_p99: float | None = None
    earlier_ratio_max: float | None = None
    #: see `Staleness`; None: there were no older rollouts, or the loss is anchored at the behaviour
    stale_share: float | None = None
    stale_ess: float | None = None
    stale_kl: float | None = None
    stale_ages: list[StaleAge] = field(default_factory=list)


def summarise(
    groups: Sequence[Group], dropped: int, losses: Sequence[Loss], norms: Sequence[float]
) -> LearnStats:
    """The figures of a lesson from the losses of its passes and the norms of its updates."""
    rewards = [reward for group in groups for reward in group.rewards]
    tokens = sum(loss.tokens for loss in losses)
    return LearnStats(
        groups=len(groups),
        dropped=dropped,
        updates=len(norms),
        tokens=tokens,
        mean_reward=sum(rewards) / max(1, len(rewards)) / 1_000_000,
        loss=sum(loss.value.item() for loss in losses) / max(1, len(norms)),
        mean_ratio=sum(loss.ratio_sum for loss in losses) / max(1, tokens),
        clipped_share=sum(loss.clipped for loss in losses) / max(1, tokens),
        mean_kl=sum(loss.kl_sum for loss in losses) / max(1, tokens),
        gradient_norm=sum(norms) / max(1, len(norms)),
    )
