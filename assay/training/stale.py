"""Rollouts that older checkpoints drew: the decoupled objective.

A step makes many updates, so the weights that it begins with are far from those that drew a rollout
some checkpoints ago. A bound around the behaviour would let the step undo what the steps between
have learned, and move a token several times as far as the bound says. So the bound is around the
weights at the step's beginning, the proximal policy, and a truncated weight leads from the
behaviour there (Hilton et al., "Batch size-invariance for policy optimization", 2110.00641; AReaL,
2505.24298). For the own tokens t of completion i, with the natural logarithms of

    b[i,t]   what the checkpoint that drew it gave the token: the behaviour
    p[i,t]   what the masters at the step's beginning give it, fp32, read once, no gradient
    π[i,t]   what the policy gives it, during the step

the loss is −Σ w[i,t] · gain(exp(π − p), A[i]) / scale, with the gain of `assay.training.grpo` and

    "sequence"   w[i,t] = min(exp(min(Σ_t (p − b), 20)), cap)       of gspo the mean in place of Σ
    "token"      w[i,t] = min(exp(min(p[i,t] − b[i,t], 20)), cap)
    "none"       w[i,t] = 1
    of icepop    w[i,t] = exp(p − b) within its bounds, else 0, whatever is set: its paper's masks

A rollout of the step's parent has b as p and the weight 1 by definition, however the parent's bf16
tensors are rounded: beside older ones, too, its loss is the bits of the one without this module.

Differences and sums over t are float64, in the order of t; a weight is rounded to float32.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from assay.training.grpo import LossConfig, StaleWeight, add_in_order, exp_bounded
from assay.training.lesson import LessonError, Rollout, StaleAge
from assay.training.passes import Passes

Anchor = Literal["behaviour", "step"]


#: By how many checkpoints rollouts are older: figures have these and still older ones together.
AGES = 4


@dataclass(frozen=True, slots=True)
class Staleness:
    """How a step's older rollouts stand to its beginning. None: there were none.

    Attributes:
        share: of the learned completions, those that older checkpoints drew.
        ess: effective sample size of these, (Σw)² / (n·Σw²) with their weights of whole completions
            before any bound, 1/n to 1.
        kl: mean estimate of KL(behaviour‖beginning) over their tokens, k3, nats.
        ages: the same of those of each known age, ascending, the last from `AGES` on.
    """

    share: float | None = None
    ess: float | None = None
    kl: float | None = None
    ages: tuple[StaleAge, ...] = ()


@dataclass(frozen=True, slots=True)
class _Gaps:
    """How far an older completion is from the step's beginning: Σ(p − b), its tokens, and the sum
    of their divergence."""

    age: int | None
    total: float
    tokens: int
    divergence: float


def anchor_rollouts(
    rows: Sequence[Rollout], passes: Passes, loss: LossConfig, weight: StaleWeight, cap: float
) -> tuple[list[Rollout], Staleness]:
    """Read the step's older rollouts once, before its first update.

    Args:
        rows: all that the step learns from, in the order consumed.
        passes: read by the masters at the step's beginning.
        cap: of the weights.

    Returns: the rows, those of older checkpoints with their anchor; and how they stand.

    Raises:
        LessonError: a log-probability is not a number.
    """
    old = [place for place, row in enumerate(rows) if row.is_older]
    if not old:
        return list(rows), Staleness()
    read = passes.compute_logprobs([rows[place] for place in old])
    anchored, found = list(rows), list[_Gaps]()
    for place, proximal in zip(old, read, strict=True):
        row = rows[place]
        gaps = [p - b for p, b in zip(proximal.tolist(), row.behaviour, strict=True)]
        total = add_in_order(gaps)
        if not math.isfinite(total):
            raise LessonError(
                "at the step's beginning, the logarithm of a token's probability is not a number: "
                'it can never be drawn now, or precision = "float32" under [trainer] is needed'
            )
        weights = torch.tensor(loss.weigh_stale(gaps, weight, cap), dtype=torch.float32)
        anchored[place] = replace(row, proximal=proximal, stale=weights)
        divergence = sum(exp_bounded(gap) - 1 - gap for gap in gaps)
        found.append(_Gaps(row.age, total, len(gaps), divergence))
    return anchored, Staleness(*_summarise(found, len(rows)), tuple(_list_ages(found, len(rows))))


def _summarise(found: Sequence[_Gaps], rows: int) -> tuple[float, float, float]:
    """Share, effective sample size and divergence of some of `rows` completions."""
    most = max(one.total for one in found)  # the size has no unit, and no weight is beyond floats
    weights = [math.exp(one.total - most) for one in found]
    ess = sum(weights) ** 2 / sum(weight * weight for weight in weights) / len(found)
    tokens = sum(one.tokens for one in found)
    return len(found) / rows, ess, sum(one.divergence for one in found) / tokens


def _list_ages(found: Sequence[_Gaps], rows: int) -> Iterator[StaleAge]:
    by_age: dict[int, list[_Gaps]] = {}
    for one in found:
        if one.age is not None:
            by_age.setdefault(min(one.age, AGES), []).append(one)
    for age, those in sorted(by_age.items()):
        share, ess, kl = _summarise(those, rows)
        yield StaleAge(age=age, share=share, ess=ess, kl=kl)


def stack_anchors(rows: Sequence[Rollout], behaviour: Tensor) -> tuple[Tensor, Tensor] | None:
    """The anchors and weights of a pass's rows, fp32 [rows, T] each; None: no row is older.

    Args:
        behaviour: fp32 [rows, T].
    """
    if all(row.proximal is None for row in rows):
        return None
    anchor, weights = behaviour.clone(), torch.ones_like(behaviour)
    for place, row in enumerate(rows):
        if row.proximal is not None and row.stale is not None:
            anchor[place, : len(row.proximal)] = row.proximal.to(anchor)
            weights[place, : len(row.stale)] = row.stale.to(weights)
    return anchor, weights
