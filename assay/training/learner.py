"""The learner: accepted groups in, a better model out.

It does not know who judged the groups, where checkpoints are published, or which window it is. It
is deterministic: the same model, groups, configuration and number of threads give the same weights
bit for bit on the same machine. It is made of

- weights (`weights`): fp32 masters, moments, factors; import and export;
- passes (`passes`): rows in packs through the policy, log-probabilities out;
- objectives (`objectives`): what rows teach, as weighted components of a loss;
- updates (`updates`): the loop of passes, gradients and the optimiser's step;
- turns on a device (`device_turns`).

With a LoRA rank the masters stay unchanged and small
factors beside them learn (Hu et al., 2021). The sum of rounded masters and rounded factors is
published (`assay.inference.low_rank`).

In a team of processes (`sharding`) all make the same calls with the same groups, and each learns
from its share of the rows. None of them holds all weights: their models are outlines on torch's
`meta` device, filled from files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from assay.inference.families import FAMILIES
from assay.inference.implementations import make_learning_twin
from assay.inference.low_rank import Factors
from assay.inference.plain_config import find_learning_conflict
from assay.protocol.hashing import ZERO_DIGEST
from assay.training.balance import Balance
from assay.training.components import Loss
from assay.training.config import LearnConfig
from assay.training.device_turns import DeviceTurns
from assay.training.heap import return_pages
from assay.training.imitation import Example
from assay.training.lesson import (
    Group,
    LearnStats,
    Rollout,
    Row,
    count_tokens,
    make_rollouts,
    summarise,
)
from assay.training.lora import add_factors, draw_factors, list_linear
from assay.training.objectives import Imitation, Objective, Reinforcement, make_rows
from assay.training.optimizers import OptimizerError, find_conflict, make_optimizer
from assay.training.passes import Passes
from assay.training.policy import Policy
from assay.training.preferences import Preferred
from assay.training.sharding import is_in_team, load_tensors, shard
from assay.training.stale import Staleness, anchor_rollouts
from assay.training.updates import Part, Updates, sum_values
from assay.training.weights import Weights, get_weights

_M = TypeVar("_M")
#: Added to seeds for drawing examples, so that they are others than those of groups.
_SFT = 1 << 62


@dataclass(frozen=True, slots=True)
class UpdateStats:
    """The results of one update by itself.

    Attributes:
        tokens: own ones of all rows.
        loss: mean before the update, in nats, of a token, or of a pair that is preferred.
        gradient_norm: before it was cut.
        preferred: of pairs, how the policy stood to them before; else None.
    """

    tokens: int
    loss: float
    gradient_norm: float
    preferred: Preferred | None = None


class Learner:
    """Weights, passes over rows, and two methods that matter: `learn` and `update`.

    Attributes:
        model: the one that learns, with factors if any do. config: its settings.
        base: digest of the checkpoint to whose weights LoRA's factors are added.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        config: LearnConfig,
        reference: PreTrainedModel | None = None,
        device: str = "cpu",
        examples: Sequence[Example] = (),
        base: bytes = ZERO_DIGEST,
    ) -> None:
        """Take over `model`'s weights, on the CPU: they are upcast to fp32 in place. Dropout is
        never switched on.

        Args:
            model: the whole model, or in a team an outline of it, whose weights `load_weights`
                reads.
            reference: the model from which the divergence is measured, if the settings want one.
                Its weights never change. Whole or an outline, like `model`.
            device: torch's name of the device that learns. Between calls of `learn` a single
                learner keeps nothing there: a judge may use the GPU meanwhile.
            examples: to imitate beside groups, all that there are.
            base: for whoever publishes factors.

        Raises:
            ValueError: the settings want a reference and there is none.
            MissingExtraError: a package is not installed that a LoRA rank or the optimiser needs.
            OptimizerError: the optimiser does not fit the other settings, or they do not fit a
                model that no family describes.
        """
        conflict = find_conflict(config.optimizer, is_in_team(), bool(config.lora_rank))
        if model.config.model_type not in FAMILIES:
            conflict = conflict or find_learning_conflict(
                is_shared=is_in_team(), has_factors=bool(config.lora_rank)
            )
        if conflict is not None:
            raise OptimizerError(conflict)
        if config.wants_reference and reference is None:
            raise ValueError("the divergence is from the first checkpoint, which is not given")
        parts = _build(model, config, reference, torch.device(device))
        self._weights, self._passes, self._turns = parts
        if reference is not None:
            self._reference_family: str = reference.config.model_type
        self._updates = Updates(*parts, Balance.of(model.config), config.max_gradient)
        self.model, self.config, self.base = self._weights.model, config, base
        self._examples = examples

    @property
    def device(self) -> torch.device:
        """Where it learns."""
        return self._turns.device

    @property
    def step(self) -> int:
        """Steps behind it, in its course. They are in its state, and survive its moments."""
        return self._weights.step

    @property
    def rate(self) -> float:
        """The learning rate of the next lesson."""
        return self.config.compute_rate(self.step)

    def learn(
        self, groups: Sequence[Group], examples: Sequence[Example] | None = None, earlier: int = 0
    ) -> LearnStats:
        """Make several passes over `groups` in minibatches. The model is unchanged if none can
        teach.

        Args:
            examples: to imitate beside, `sft_batch` for each update; None: see `draw_examples`.
            earlier: the last so many groups are of earlier windows: figures tell them apart.

        Raises:
            ValueError: there are no examples where the settings want some.
            LessonError: a loss or a gradient is not a number.
            MemoryLackError: the device is full; nothing is left there.
            DeviceError: it has failed. After each of these the learner's state is unusable.
        """
        drawn = self.draw_examples(groups) if examples is None else examples
        return self._turns.take(lambda: self._learn(groups, drawn, earlier))

    def draw_examples(self, groups: Sequence[Group]) -> list[Example]:
        """The examples that the next lesson imitates, in the order of its updates: the first of a
        permutation of all by the seed and the step, again from its beginning where it ends. Raises
        ValueError: there are none, and the settings want some."""
        config = self.config
        if not config.sft_weight:
            return []
        if not self._examples:
            raise ValueError("the settings want examples to imitate, and there are none")
        teaching = sum(group.teaches for group in groups)
        count = config.epochs * -(-teaching // config.groups_per_batch) * config.sft_batch
        generator = torch.Generator().manual_seed(_SFT + config.seed * 1_000_003 + self.step)
        order = torch.randperm(len(self._examples), generator=generator)[:count].tolist()
        return [self._examples[number] for number in islice(cycle(order), count)]

    def update(self, material: Sequence[_M], objective: Objective[_M], rate: float) -> UpdateStats:
        """Make one update with what an objective is of, at a learning rate. Raises as `learn`
        does."""
        if not material:
            raise ValueError("there is nothing to learn from")
        self._require_reference(objective)
        return self._turns.take(lambda: self._update_alone(material, objective, rate))

    def measure(
        self, material: Sequence[_M], objective: Objective[_M]
    ) -> tuple[float, Preferred | None]:
        """`loss` and `preferred` of the update that could be made with it (`UpdateStats`). Nothing
        is learned. Raises as `learn` does."""
        self._require_reference(objective)
        return self._turns.take(lambda: self._measure_alone(material, objective))

    def sum_logprobs(self, examples: Sequence[Example]) -> list[float]:
        """The natural logarithm of each example's probability: the sum over its own tokens. Nothing
        is learned. Raises as `learn` does."""
        return self._turns.take(lambda: self._passes.sum_logprobs(make_rows(examples)))

    def compute_logprobs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See `Passes.compute_logprobs`. Nothing is learned."""
        return self._turns.take(lambda: self._passes.compute_logprobs(rows))

    def _require_reference(self, objective: Objective[Any]) -> None:
        if objective.wants_reference and self._passes.reference is None:
            raise ValueError("the objective needs a teacher, and the learner has no reference")

    def _learn(
        self, groups: Sequence[Group], examples: Sequence[Example], earlier: int
    ) -> LearnStats:
        config, first = self.config, len(groups) - earlier
        made = [
            make_rollouts(group, config.scaled, place >= first)
            for place, group in enumerate(groups)
        ]
        teaching, staleness = self._anchor([rows for rows in made if rows])
        objective = Reinforcement(config.loss, config.kl_weight, self._passes.reference is not None)
        whole = objective.counts_rows
        counted = sum(1 if whole else len(row.completion) for rows in teaching for row in rows)
        scale = counted * min(1.0, config.groups_per_batch / max(1, len(teaching)))
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + self.step)
        rate = self.rate
        self._weights.optimizer.set_rate(rate)
        losses: list[Loss] = []
        norms: list[float] = []
        imitated: list[float] = []
        beside = iter(make_rows(examples))
        for _ in range(config.epochs):
            order = torch.randperm(len(teaching), generator=generator).tolist()
            for chosen in _make_batches(order, config.groups_per_batch, config.refill):
                rows = [row for i in chosen for row in teaching[i]]
                parts: list[Part[Any]] = [Part(rows, objective, scale)]
                if drawn := list(islice(beside, config.sft_batch)):
                    share = count_tokens(drawn) / config.sft_weight
                    parts.append(Part(drawn, Imitation(), share))
                (of_rows, *of_drawn), norm = self._updates.make(parts)
                losses += of_rows
                norms.append(norm)
                imitated += [sum_values(part) / config.sft_weight for part in of_drawn]
        self._weights.step += 1
        return replace(
            summarise(groups, len(groups) - len(teaching), losses, norms),
            learning_rate=rate,
            sft_loss=sum(imitated) / len(imitated) if imitated else None,
            stale_share=staleness.share,
            stale_ess=staleness.ess,
            stale_kl=staleness.kl,
            stale_ages=list(staleness.ages),
            **objective.counter.finish(),
        )

    def _anchor(self, teaching: Sequence[list[Rollout]]) -> tuple[list[list[Rollout]], Staleness]:
        """The groups that teach, those of older checkpoints with their anchors."""
        config = self.config
        if config.anchor == "behaviour":
            return list(teaching), Staleness()
        rows, found = anchor_rollouts(
            list(chain.from_iterable(teaching)),
            self._passes,
            config.loss,
            config.stale_weight,
            config.stale_cap,
        )
        left = iter(rows)
        return [list(islice(left, len(group))) for group in teaching], found

    def _update_alone(
        self, material: Sequence[_M], objective: Objective[_M], rate: float
    ) -> UpdateStats:
        self._weights.optimizer.set_rate(rate)
        rows, preferred = objective.prepare(material, self._passes)
        tokens = count_tokens(rows)
        (losses,), norm = self._updates.make([Part(rows, objective, tokens)])
        self._weights.step += 1
        mean = sum_values(losses) if preferred is None else preferred.loss
        return UpdateStats(tokens, mean, norm, preferred)

    def _measure_alone(
        self, material: Sequence[_M], objective: Objective[_M]
    ) -> tuple[float, Preferred | None]:
        rows, preferred = objective.prepare(material, self._passes)
        if preferred is not None:
            return preferred.loss, preferred
        losses = self._updates.measure(Part(rows, objective, count_tokens(rows)))
        return sum_values(losses), None

    def load_weights(self, model: Path, reference: Path | None) -> None:
        """Fill outlines with the weights of model folders, in a team. Only the first process reads
        them.

        Raises:
            OSError: in every process: a folder cannot be read at present.
            RuntimeError: the same: it is another model's.
        """
        self._weights.load(model)
        first = self._passes.reference
        if first is not None and reference is not None:
            load_tensors(get_weights(first.inner), reference, self._reference_family)

    def bf16_state(self) -> dict[str, Tensor]:
        """The weights as published: contiguous bf16 copies, rounded to nearest even, by the names
        that files have, with LoRA's factors added as every reader adds them. In a team only the
        first process has them. Raises a LessonError: see `export_factors`."""
        return self._weights.bf16_state()

    def export_factors(self) -> dict[str, Factors]:
        """LoRA's factors as published, by the names that files give the weights beside them; none
        without LoRA. Raises a LessonError: a value is not a number, or far too large."""
        return self._weights.export_factors()

    def take_factors(self, factors: Mapping[str, Factors]) -> None:
        """Continue from published factors. Raises a ValueError where they are of other weights or
        of another rank."""
        self._weights.take_factors(factors)

    def export_state(self) -> Iterator[tuple[str, Tensor]]:
        """Masters by the names of files, moments and counters, one whole tensor at a time, as a
        digest needs them. A single learner yields its own tensors, which the next lesson
        changes."""
        return self._weights.export_state()

    def save_state(self, path: Path) -> None:
        """Write the state for a restart, a safetensors file. In a team the first process writes
        it.

        Raises:
            OSError, SafetensorError: it cannot be written.
        """
        self._weights.save_state(path)

    def load_state(self, path: Path) -> None:
        """Restore the state of `save_state` exactly, also in a team of another size.

        Raises:
            OSError, SafetensorError: the file cannot be read. In a team it is an OSError if it
                cannot be read at present, and else a RuntimeError, in every process.
            LookupError, RuntimeError, ValueError: see `import_state`.
        """
        self._weights.load_state(path)

    def import_state(self, state: Mapping[str, Tensor]) -> None:
        """The same from a whole state, for a single learner.

        Raises:
            KeyError: the step is missing.
            IndexError: there are moments of a weight that does not exist.
            RuntimeError: the masters are another model's.
            ValueError: the moments are another optimiser's, or another model's.
        """
        self._weights.import_state(state)


def _build(
    model: PreTrainedModel,
    config: LearnConfig,
    reference: PreTrainedModel | None,
    device: torch.device,
) -> tuple[Weights, Passes, DeviceTurns]:
    """The parts of a learner, in the order in which each needs the ones before."""
    whole: nn.Module = model.eval()
    whole.to(torch.float32)
    inner: nn.Module = make_learning_twin(model)
    matrices = list_linear(inner)
    if config.lora_rank:
        inner = add_factors(inner, config.lora_rank)
    if config.recompute and device.type == "cpu":  # memory is what is short
        return_pages()
    policy = Policy(inner, config.excluded, config.precision, config.recompute)
    first: Policy | None = None
    if config.wants_reference and reference is not None:
        sizes = model.config.vocab_size, reference.config.vocab_size
        excluded = _fit_excluded(config.excluded, *sizes)
        first = Policy(make_learning_twin(reference), excluded, config.precision)
    policies = [policy] if first is None else [policy, first]
    if is_in_team():
        for one in policies:
            shard(one, device, config.offload)
    has_factors = bool(config.lora_rank)
    if has_factors:
        draw_factors(inner, config.seed)
    rates = config.learning_rate, config.betas, config.weight_decay
    optimizer = make_optimizer(config.optimizer, inner, matrices, *rates)
    family = model.config.model_type
    weights = Weights(inner, family, optimizer, has_factors=has_factors, step=config.step)
    what = f"a lesson with tokens_per_pass = {config.tokens_per_pass:,}"
    turns = DeviceTurns(device, policies, optimizer, what)
    return weights, Passes(policy, first, device, config.tokens_per_pass), turns


def _make_batches(order: Sequence[int], size: int, refill: bool) -> Iterator[list[int]]:
    """Minibatches of an epoch's groups, in their order. With `refill` the epoch's first groups fill
    up the last minibatch. Fewer groups than `size` are one minibatch."""
    lacking = -len(order) % size if refill and len(order) >= size else 0
    filled = [*order, *order[:lacking]]
    for start in range(0, len(filled), size):
        yield filled[start : start + size]


def _fit_excluded(excluded: Sequence[int], own: int, other: int) -> list[int]:
    """The ids to leave out of a model with `other` ids, so that it draws from the same ids as one
    with `own` ids that leaves out `excluded`."""
    return [*(number for number in excluded if number < other), *range(own, other)]
