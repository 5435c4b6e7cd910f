"""The update loop: gradients of all passes of a minibatch, summed, and one step of the optimiser.

It knows no objective: a part of an update is rows, what says their loss, and a scale.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Generic

import torch

from assay.training.balance import Balance
from assay.training.components import Loss
from assay.training.device_turns import DeviceTurns
from assay.training.lesson import LessonError
from assay.training.objectives import RowObjective
from assay.training.passes import Passes, R
from assay.training.sharding import add_up, get_team
from assay.training.weights import Weights


@dataclass(frozen=True, slots=True)
class Part(Generic[R]):
    """Rows of an update, and what they teach. `scale`: see `sum_components`."""

    rows: Sequence[R]
    objective: RowObjective[R]
    scale: float


class Updates:
    """Makes updates.

    Args:
        most: gradients are scaled down to this norm.
    """

    def __init__(
        self, weights: Weights, passes: Passes, turns: DeviceTurns, balance: Balance, most: float
    ) -> None:
        self._weights = weights
        self._passes = passes
        self._turns = turns
        self._balance = balance
        self._most = most

    def make(self, parts: Sequence[Part[Any]]) -> tuple[list[list[Loss]], float]:
        """Make one update. Returns the losses of each part's passes, and the gradient's norm before
        it was cut."""
        self._weights.optimizer.zero_grad()
        found = []
        for part in parts:
            losses = []
            for loss in self._iterate_losses(part):
                loss.value.backward()
                losses.append(_add_up(loss))
            found.append(losses)
        norm = self._weights.clip_gradients(self._most)
        # where a ratio is no number, its bounds make the gradient zero, and only the loss shows it
        total = sum_values(list(chain.from_iterable(found)))
        for what, value in ("gradient", norm), ("loss", total):
            if not math.isfinite(value):
                raise LessonError(
                    f"the {what} is not a number (its value is {value}): lower learning_rate "
                    'under [trainer], or take precision = "float32"'
                )
        self._turns.note_change()
        self._weights.optimizer.step()
        return found, norm

    @torch.no_grad()
    def measure(self, part: Part[R]) -> list[Loss]:
        """The losses of the passes of an update that could be made."""
        return [_add_up(loss) for loss in self._iterate_losses(part)]

    def _iterate_losses(self, part: Part[R]) -> Iterator[Loss]:
        """The losses of this process's passes over rows, one after the other."""
        objective, scale = part.objective, part.scale / get_team()[1]
        for read in self._passes.read(part.rows, with_reference=objective.wants_reference):
            loss = objective.compute_loss(read, scale)
            if read.routed and self._balance.weight:
                alike = len(read.rows) * read.counts if objective.counts_rows else loss.tokens
                added = self._balance.compute(read.routed, alike / scale)
                loss = replace(loss, value=loss.value + added)
            yield loss


def sum_values(losses: Sequence[Loss]) -> float:
    """The sum of losses, in their order."""
    return sum(loss.value.item() for loss in losses)


def _add_up(loss: Loss) -> Loss:
    """The team's loss, without its graph."""
    _, team = get_team()
    value, *sums = add_up(
        [loss.value.item() / team, loss.tokens, loss.clipped, loss.ratio_sum, loss.kl_sum]
    )
    return Loss(torch.tensor(value), int(sums[0]), int(sums[1]), sums[2], sums[3])
