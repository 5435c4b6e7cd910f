"""Objectives: what is to be learned from, and the loss of a pass over it.

    learner.update(examples, Imitation(), rate)
    learner.update(pairs, Preference(beta=0.1), rate)

Each makes rows of its material, once before the first update, and then says the loss of any pass
over some of them, by pure functions of tensors that are beside its formula:

| objective | of | components |
|---|---|---|
| Reinforcement | a group's rollouts | rl, and with `kl_weight` ref_kl |
| Imitation | what somebody else wrote | ce |
| Distillation | what the model drew | ref_kl, from a teacher |
| Preference | pairs of answers | ce, weighted by the slope of the pair's loss |
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol, TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence

from assay.training.components import Loss
from assay.training.figures import RolloutCounter
from assay.training.grpo import LossConfig, compute_loss
from assay.training.imitation import Example, compute_distillation_loss, compute_imitation_loss
from assay.training.lesson import Rollout, Row, count_tokens
from assay.training.passes import Pass, Passes, R
from assay.training.preferences import Pair, Preferred, compute_preference, list_answers
from assay.training.stale import stack_anchors

M_contra = TypeVar("M_contra", contravariant=True)


class RowObjective(Protocol[R]):
    """The loss of passes over rows.

    Attributes:
        counts_rows: rows count alike, and not their tokens.
        wants_reference: it needs the reference's log-probabilities.
    """

    @property
    def counts_rows(self) -> bool: ...
    @property
    def wants_reference(self) -> bool: ...

    def compute_loss(self, read: Pass[R], scale: float) -> Loss:
        """The loss of a pass. `scale`: see `sum_components`."""


class Objective(RowObjective[Row], Protocol[M_contra]):
    """What can be learned from by itself, one update at a time."""

    def prepare(
        self, material: Sequence[M_contra], passes: Passes
    ) -> tuple[list[Row], Preferred | None]:
        """The rows of an update, and of pairs how the policy stands to them. Raises LessonError:
        see `Passes.sum_logprobs`."""


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """A policy's loss (`assay.training.grpo`), of rollouts.

    Attributes:
        has_reference: the divergence is from the learner's reference; else from the behaviour.
        counter: takes figures of all tokens.
    """

    loss: LossConfig
    kl_weight: float = 0.0
    has_reference: bool = False
    counter: RolloutCounter = field(default_factory=RolloutCounter, compare=False)

    @property
    def counts_rows(self) -> bool:
        """See `RowObjective`."""
        return self.loss.counts_completions

    @property
    def wants_reference(self) -> bool:
        """See `RowObjective`."""
        return self.has_reference

    def compute_loss(self, read: Pass[Rollout], scale: float) -> Loss:
        """See `RowObjective`."""
        parts = [torch.tensor(row.behaviour) for row in read.rows]
        behaviour = pad_sequence(parts, batch_first=True).to(read.logprobs)
        anchors = stack_anchors(read.rows, behaviour)
        if read.counts:
            self.counter.add(
                read.logprobs.detach() - (behaviour if anchors is None else anchors[0]),
                read.mask,
                read.entropy,
                [row.is_earlier for row in read.rows],
            )
        return compute_loss(
            read.logprobs,
            behaviour,
            read.weights,
            read.mask,
            scale,
            self.loss,
            self.kl_weight,
            read.reference,
            anchors,
        )


@dataclass(frozen=True, slots=True)
class Imitation:
    """Cross-entropy of what a model should write."""

    counts_rows: ClassVar[bool] = False
    wants_reference: ClassVar[bool] = False

    def prepare(self, material: Sequence[Example], passes: Passes) -> tuple[list[Row], None]:
        """See `Objective`."""
        return make_rows(material), None

    def compute_loss(self, read: Pass[Row], scale: float) -> Loss:
        """See `RowObjective`."""
        return compute_imitation_loss(read.logprobs, read.mask, scale, read.weights)


@dataclass(frozen=True, slots=True)
class Distillation:
    """Reverse divergence from the learner's reference, the teacher, of what the model drew."""

    counts_rows: ClassVar[bool] = False
    wants_reference: ClassVar[bool] = True

    def prepare(self, material: Sequence[Example], passes: Passes) -> tuple[list[Row], None]:
        """See `Objective`."""
        return make_rows(material), None

    def compute_loss(self, read: Pass[Row], scale: float) -> Loss:
        """See `RowObjective`."""
        assert read.reference is not None, "see `Learner.update`"
        return compute_distillation_loss(read.logprobs, read.reference, read.mask, scale)


@dataclass(frozen=True, slots=True)
class Preference:
    """Direct preference optimisation of pairs. `beta`: see `assay.training.preferences`."""

    beta: float

    counts_rows: ClassVar[bool] = False
    wants_reference: ClassVar[bool] = False

    def prepare(self, material: Sequence[Pair], passes: Passes) -> tuple[list[Row], Preferred]:
        """See `Objective`."""
        rows = make_rows(list_answers(material))
        before, slopes = compute_preference(material, passes.sum_logprobs(rows), self.beta)
        tokens = count_tokens(rows)
        # a sum over tokens is divided by their number
        weights = [sign * slope * tokens for slope in slopes for sign in (1, -1)]
        return [replace(row, weight=w) for row, w in zip(rows, weights, strict=True)], before

    def compute_loss(self, read: Pass[Row], scale: float) -> Loss:
        """See `RowObjective`."""
        return compute_imitation_loss(read.logprobs, read.mask, scale, read.weights)


def make_rows(examples: Sequence[Example]) -> list[Row]:
    """Rows that all count alike."""
    return [Row(one.prompt, one.completion, one.replies, 1.0) for one in examples]
