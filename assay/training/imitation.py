"""Learning from what somebody else wrote: a cold start, before there is anything to reward.

The loss is the mean negative log-likelihood of each token that the model should have written, as in
any supervised fine-tuning. Prompts and what a world replies are read and not learned.

Or a teacher says of what the model wrote itself how likely it is (on-policy distillation: Agarwal
et al., "GKD", 2024; Thinking Machines, "On-policy distillation", 2025). The loss is then the
reverse divergence KL(model‖teacher) of a token, estimated at the token that was drawn. Its
expectation over draws has the gradient of the divergence of whole distributions, which is TRL's
`generalized_jsd_loss` with beta = 1; a test compares the two. Later tokens of a completion are not
credited to earlier ones.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from assay.protocol.episode import Reply
from assay.training.components import Component, Loss, sum_components


@dataclass(frozen=True, slots=True)
class Example:
    """What a model should write to a prompt: token ids, end tokens included. What its world replied
    between turns is in `replies`, ascending, and is not part of `completion`.

    Raises:
        ValueError: the prompt or the completion is empty, or a reply stands at an end of it.
    """

    prompt: list[int]
    completion: list[int]
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.prompt or not self.completion:
            raise ValueError("an example needs a prompt and a completion")
        places = [0, *(reply.at for reply in self.replies), len(self.completion)]
        if any(before >= after for before, after in pairwise(places)):
            raise ValueError("each reply needs a turn before it and one behind it")


def compute_imitation_loss(
    logprobs: Tensor, mask: Tensor, scale: float, weights: Tensor | None = None
) -> Loss:
    """Negative log-likelihood of a minibatch, summed and divided by `scale`.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        mask: bool [rows, tokens], true at completion tokens.
        scale: the count of tokens of all minibatches of an update.
        weights: fp32 [rows], of each row's tokens; None: all are 1.
    """
    count = int(mask.sum())
    each = 1.0 if weights is None else weights[:, None]
    value = sum_components([Component("ce", logprobs)], mask, each, scale)
    return Loss(value, count, 0, float(count), 0.0)


def compute_distillation_loss(
    logprobs: Tensor, teacher: Tensor, mask: Tensor, scale: float
) -> Loss:
    """Reverse divergence from a teacher of a minibatch that the policy drew, summed and divided by
    `scale`. Its value is the estimate log π − log π_teacher, its gradient that times ∇ log π.

    Args:
        logprobs: fp32 [rows, tokens], natural logarithms under the policy being trained.
        teacher: fp32 [rows, tokens], the same under the teacher; no gradient.
        mask: bool [rows, tokens], true at completion tokens.
        scale: the count of tokens of all minibatches of an update.
    """
    count = int(mask.sum())
    zeros = torch.zeros_like(logprobs)
    gap = torch.where(mask, (logprobs - teacher).detach(), zeros)
    moving = torch.where(mask, logprobs - logprobs.detach(), zeros)  # 0, with a gradient
    value = sum_components([Component("ref_kl", -(gap + gap * moving))], mask, 1.0, scale)
    return Loss(value, count, 0, float(count), float(gap.sum()))
