"""Learning from preferences: pairs of answers to a prompt, of which somebody prefers one.

Direct preference optimisation (Rafailov et al., 2023). With a margin m, the log-odds by which the
policy prefers the chosen answer to the rejected one more than the reference does,

    m = (log π(chosen) − log π(rejected)) − (log π_ref(chosen) − log π_ref(rejected)),

a pair's loss is −log σ(β·m). The formula is that of TRL's `DPOTrainer` (`loss_type="sigmoid"`); a
test compares the two.

A pair's slope is known from the sums of its log-probabilities alone. So the sums are read first,
without gradients, and each answer is then learned for itself, in any pack and any process.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from assay.environments.levels import Success
from assay.training.imitation import Example


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one prompt.

    Attributes:
        reference: log π_ref(chosen) − log π_ref(rejected), in nats.
    """

    chosen: Example
    rejected: Example
    reference: float = 0.0


@dataclass(frozen=True, slots=True)
class Preferred:
    """How a policy stands to some pairs: the mean loss, of those with a margin above 0 the number,
    and the mean margin in nats."""

    loss: float
    right: Success
    margin: float


def list_answers(pairs: Sequence[Pair]) -> list[Example]:
    """Each pair's chosen and rejected answer in turn."""
    return [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]


def compute_preference(
    pairs: Sequence[Pair], sums: Sequence[float], beta: float
) -> tuple[Preferred, list[float]]:
    """How a policy stands to pairs, and of each pair −∂loss/∂margin, where the loss is the mean
    over all pairs.

    Args:
        sums: log π of each pair's chosen and rejected answer in turn, in nats.
    """
    count, halves = len(pairs), zip(sums[::2], sums[1::2], strict=True)
    margins = [
        chosen - rejected - pair.reference
        for pair, (chosen, rejected) in zip(pairs, halves, strict=True)
    ]
    scaled = [beta * margin for margin in margins]
    # log(1 + exp(−x)) and the logistic function of −x, without an overflow
    losses = [max(0.0, -value) + math.log1p(math.exp(-abs(value))) for value in scaled]
    slopes = [beta * _compute_logistic(-value) / count for value in scaled]
    right = Success(sum(margin > 0 for margin in margins), count)
    return Preferred(sum(losses) / count, right, sum(margins) / count), slopes


def _compute_logistic(value: float) -> float:
    small = math.exp(-abs(value))
    return (1.0 if value >= 0 else small) / (1 + small)
