"""The learner: accepted groups in, a better model out.

It does not know who judged the groups, where checkpoints are published, or which window it is. It
holds fp32 master weights and the optimiser's moments. It publishes their rounding to bf16, and
rounding never feeds back into the masters. It is deterministic: the same model, groups,
configuration and number of threads give the same weights bit for bit on the same machine.

With a LoRA rank the masters stay unchanged and small factors beside them learn (Hu et al., 2021).
The sum of rounded masters and rounded factors is published (`assay.inference.low_rank`).

In a team of processes (`sharding`) all make the same calls with the same groups, and each learns
from its share of the rows. None of them holds all weights: their models are outlines on torch's
`meta` device, filled from files.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from assay.inference import read_tensors
from assay.inference.expert_stacks import split_experts, stack_experts
from assay.inference.families import CHOSEN
from assay.inference.fixed_order import fix_order, lacks_order
from assay.inference.implementations import make_packing_twin
from assay.inference.low_rank import Factors, merge, round_factors
from assay.inference.placing.devices import MemoryLackError, explain_lack, require_lack
from assay.inference.reading import Pack, make_even_packs
from assay.inference.routing import record_logits
from assay.protocol.episode import Reply
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import ZERO_DIGEST
from assay.training.balance import compute_imbalance, get_balance_weight
from assay.training.figures import TokenCounter
from assay.training.grpo import Loss, LossConfig, compute_advantages, compute_loss
from assay.training.heap import return_pages
from assay.training.imitation import (
    Example,
    ImitationStats,
    compute_distillation_loss,
    compute_imitation_loss,
)
from assay.training.lora import (
    add_factors,
    draw_factors,
    find_tied,
    get_base_weights,
    get_factors,
    list_linear,
    set_factors,
)
from assay.training.optimizers import (
    OptimizerError,
    OptimizerName,
    find_conflict,
    is_moment,
    make_optimizer,
)
from assay.training.policy import Policy, Precision
from assay.training.preferences import Pair, PreferenceStats, compute_preference, list_answers
from assay.training.schedule import Schedule
from assay.training.sharding import (
    add_up,
    gather,
    get_team,
    is_in_team,
    load_tensors,
    read_names,
    save_tensors,
    shard,
)

logger = logging.getLogger("assay")

_T = TypeVar("_T")
#: Prefix of the weights' names in a learner's state.
_MASTER = "master."
#: Added to seeds for drawing examples, so that they are others than those of groups.
_SFT = 1 << 62
#: Most steps of a course that a state's float32 counts exactly.
STEPS_MAX = 1 << 24


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

    Raises:
        ValueError: the parts do not belong together.
    """

    prompt: list[int]
    completions: list[list[int]]
    rewards: list[int]
    behaviour_logprobs: list[list[float]]
    replies: list[list[Reply]] = field(default_factory=list)

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
class LearnConfig:
    """Settings of the learner; the defaults were chosen by experiment on the demo's model.

    Attributes:
        tokens_per_pass: tokens of a forward pass, replies included, more if one completion needs
            them. Gradients of
            the passes of a minibatch are summed, so this value costs memory and changes results
            only by rounding. The balance of a mixture's experts is each pass's own.
        precision: of products. Masters, gradients and moments are float32.
        recompute: keep only a layer's inputs and compute the rest again: a third more work, a
            fraction of the memory. The same bits.
        refill: give each update `groups_per_batch` groups with a signal, if there are as many.
        sft_weight: of the mean cross-entropy of examples that are imitated beside; 0: none are.
        sft_batch: examples of an update.
        offload: in a team, keep weights, gradients and moments on the CPU, where they are updated,
            and bring layers to the device in turn.
        scaled: divide advantages by their group's standard deviation.
        from_genesis: measure the divergence from the network's first checkpoint, which the caller
            passes to the learner; else from the checkpoint that sampled.
        lora_rank: of the factors that learn in place of all weights; 0: all weights.
        seed: of the order in which groups are taken, and of LoRA's first factors.
        step: steps of the course that are behind a learner without a state.
        excluded: ids without a tokenizer entry, which can never be drawn: log-probabilities leave
            them out.
    """

    learning_rate: float = 5e-5
    optimizer: OptimizerName = "adamw"
    schedule: Schedule = field(default_factory=Schedule)
    epochs: int = 4
    groups_per_batch: int = 8
    refill: bool = False
    sft_weight: float = 0.0
    sft_batch: int = 8
    tokens_per_pass: int = 8_192
    precision: Precision = "float32"
    recompute: bool = False
    loss: LossConfig = field(default_factory=LossConfig)
    scaled: bool = False
    max_gradient: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    from_genesis: bool = False
    offload: bool = False
    lora_rank: int = 0
    seed: int = 0
    step: int = 0
    excluded: tuple[int, ...] = ()


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


@dataclass(frozen=True, slots=True)
class _Row:
    """A completion to learn from. `behaviour` is None where it is imitated, with the weight
    `advantage`, or where the reference is its teacher."""

    prompt: list[int]
    completion: list[int]
    behaviour: list[float] | None
    advantage: float
    replies: list[Reply]
    is_taught: bool = False
    is_earlier: bool = False  # of an earlier window


class Learner:
    """fp32 master weights, an optimiser's moments, and one method that matters.

    Attributes:
        base: digest of the checkpoint to whose weights LoRA's factors are added, for whoever
            publishes them: set by whoever makes the learner, and not used here.
        examples: to imitate beside groups, all that there are: set by whoever makes the learner.
        step: steps behind it, in its course. They are in its state, and survive its moments.
    """

    base = ZERO_DIGEST
    examples: Sequence[Example] = ()

    def __init__(
        self,
        model: PreTrainedModel,
        config: LearnConfig,
        reference: PreTrainedModel | None = None,
        device: str = "cpu",
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

        Raises:
            ValueError: the settings want a reference and there is none.
            MissingPeftError: a LoRA rank is set and peft is not installed.
            OptimizerError: this optimiser cannot be had here, or not with the other settings.
        """
        conflict = find_conflict(config.optimizer, is_in_team(), bool(config.lora_rank))
        if conflict is not None:
            raise OptimizerError(conflict)
        if config.from_genesis and config.loss.kl_weight and reference is None:
            raise ValueError("the divergence is from the first checkpoint, which is not given")
        whole: nn.Module = model.eval()
        whole.to(torch.float32)
        inner: nn.Module = make_packing_twin(model)
        matrices = list_linear(inner)
        if config.lora_rank:
            inner = add_factors(inner, config.lora_rank)
        self._family: str = model.config.model_type
        self._balance_weight = get_balance_weight(model.config)
        self._chosen_experts = getattr(model.config, CHOSEN, 0)
        self.device = torch.device(device)
        if config.recompute and self.device.type == "cpu":  # memory is what is short
            return_pages()
        self._policy = Policy(inner, config.excluded, config.precision, config.recompute)
        self.model = inner
        self.config = config
        self.step = config.step
        self._counter, self._earlier = TokenCounter(), TokenCounter()
        self._is_strict, self._has_changed = True, False
        self._reference: Policy | None = None
        if config.from_genesis and config.loss.kl_weight and reference is not None:
            first = make_packing_twin(reference)
            sizes = model.config.vocab_size, reference.config.vocab_size
            excluded = _fit_excluded(config.excluded, *sizes)
            self._reference = Policy(first, excluded, config.precision)
            self._reference_family: str = reference.config.model_type
        if is_in_team():
            for policy in (self._policy, self._reference):
                if policy is not None:
                    shard(policy, self.device, config.offload)
        if config.lora_rank:
            draw_factors(inner, config.seed)
        self._optimizer = make_optimizer(
            config.optimizer,
            self.model,
            matrices,
            config.learning_rate,
            config.betas,
            config.weight_decay,
        )

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
        return self._act(lambda: self._learn(groups, drawn, earlier))

    def draw_examples(self, groups: Sequence[Group]) -> list[Example]:
        """The examples that the next lesson imitates, in the order of its updates: the first of a
        permutation of all by the seed and the step, again from its beginning where it ends. Raises
        ValueError: there are none, and the settings want some."""
        config = self.config
        if not config.sft_weight:
            return []
        if not self.examples:
            raise ValueError("the settings want examples to imitate, and there are none")
        teaching = sum(group.teaches for group in groups)
        count = config.epochs * -(-teaching // config.groups_per_batch) * config.sft_batch
        generator = torch.Generator().manual_seed(_SFT + config.seed * 1_000_003 + self.step)
        order = torch.randperm(len(self.examples), generator=generator)[:count].tolist()
        return [self.examples[number] for number in islice(cycle(order), count)]

    def imitate(self, examples: Sequence[Example], rate: float) -> ImitationStats:
        """Make one update with what somebody else wrote, at a learning rate. Raises as `learn`
        does."""
        if not examples:
            raise ValueError("there is nothing to imitate: no examples")
        return self._act(lambda: self._imitate(examples, rate))

    def distill(self, examples: Sequence[Example], rate: float) -> ImitationStats:
        """Make one update with what this model has drawn, at a learning rate: the reference is the
        teacher (`compute_distillation_loss`). Raises as `learn` does."""
        if not examples or self._reference is None:
            raise ValueError("there is nothing to distill: no examples, or no reference")
        return self._act(lambda: self._imitate(examples, rate, is_taught=True))

    def measure(self, examples: Sequence[Example], is_taught: bool = False) -> float:
        """The mean negative log-likelihood of the examples' own tokens, in nats, or if they are
        taught the mean reverse divergence from the reference. Nothing is learned. Raises as `learn`
        does."""
        return self._act(lambda: self._measure_examples(examples, is_taught))

    def sum_logprobs(self, examples: Sequence[Example]) -> list[float]:
        """The natural logarithm of each example's probability: the sum over its own tokens. Nothing
        is learned. Raises as `learn` does."""
        return self._act(lambda: self._sum_logprobs([_make_example_row(one) for one in examples]))

    def prefer(self, pairs: Sequence[Pair], rate: float, beta: float) -> PreferenceStats:
        """Make one update with preferences, at a learning rate. `beta`: see
        `assay.training.preferences`. Raises as `learn` does."""
        if not pairs:
            raise ValueError("there is nothing to prefer: no pairs")
        return self._act(lambda: self._prefer(pairs, rate, beta))

    def _act(self, act: Callable[[], _T]) -> _T:
        """Do something on the device, which is left empty."""
        homes: list[tuple[Tensor, Tensor]] = []
        try:
            if not is_in_team() and self.device.type != "cpu":
                self._move_there(homes)
            done = self._act_in_order(act)
            for tensor, home in homes:
                home.copy_(tensor.data)
            return done
        except (RuntimeError, MemoryError) as error:
            device = str(self.device)
            what = f"a lesson with tokens_per_pass = {self.config.tokens_per_pass:,}"
            raise MemoryLackError(explain_lack(what, device, require_lack(error, device))) from None
        finally:
            self._optimizer.zero_grad()
            if homes:
                self._move_back(homes)

    def _act_in_order(self, act: Callable[[], _T]) -> _T:
        """Get the same bits each time, or say once that this model cannot."""
        self._has_changed = False
        try:
            with fix_order(self.device, self._is_strict):
                return act()
        except RuntimeError as error:
            # a first pass has all that a model computes, and changes nothing
            if self._has_changed or not self._is_strict or not lacks_order(error):
                raise
            logger.warning(
                "steps on %s will not repeat to the bit: %s",
                self.device,
                str(error).splitlines()[0],
                extra={"event": "order_lacked"},
            )
            self._is_strict = False
            self._optimizer.zero_grad()
        return self._act_in_order(act)

    def _move_there(self, homes: list[tuple[Tensor, Tensor]]) -> None:
        """Move weights and moments to the device. `homes` gets each with its memory on the CPU,
        which stays: to have the system give it anew takes several times as long as the way back."""
        for tensor in self._list_moving():
            homes.append((tensor, tensor.data))
            tensor.data = tensor.data.to(self.device)

    def _move_back(self, homes: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Leave nothing on the device, nor the moments that a first lesson made there."""
        for tensor, home in homes:
            tensor.data = home
        for tensor in self._list_moving():
            tensor.data = tensor.data.cpu()

    def _list_moving(self) -> Iterator[Tensor]:
        """Weights, constants and moments, of the model and of the reference."""
        for policy in (self._policy, self._reference):
            if policy is not None:
                yield from policy.parameters()
                yield from policy.buffers()
        yield from self._optimizer.list_tensors()

    def _learn(
        self, groups: Sequence[Group], examples: Sequence[Example], earlier: int
    ) -> LearnStats:
        scaled, first = self.config.scaled, len(groups) - earlier
        made = (_make_rows(group, scaled, place >= first) for place, group in enumerate(groups))
        teaching = [rows for rows in made if rows is not None]
        whole = self.config.loss.counts_completions
        counted = sum(1 if whole else len(row.completion) for rows in teaching for row in rows)
        scale = counted * min(1.0, self.config.groups_per_batch / max(1, len(teaching)))
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        rate = self.rate
        self._optimizer.set_rate(rate)
        losses: list[Loss] = []
        norms: list[float] = []
        imitated: list[float] = []
        beside = iter(map(_make_example_row, examples))
        self._counter, self._earlier = TokenCounter(), TokenCounter()
        for _ in range(self.config.epochs):
            order = torch.randperm(len(teaching), generator=generator).tolist()
            for chosen in _make_batches(order, self.config.groups_per_batch, self.config.refill):
                rows = [row for i in chosen for row in teaching[i]]
                drawn = list(islice(beside, self.config.sft_batch))
                parts, cross_entropy, norm = self._update(rows, scale, drawn)
                losses += parts
                norms.append(norm)
                imitated += [cross_entropy] if drawn else []
        self.step += 1
        stats = _summarise(groups, len(groups) - len(teaching), losses, norms)
        before = self._earlier.finish()
        return replace(
            stats,
            learning_rate=rate,
            sft_loss=sum(imitated) / len(imitated) if imitated else None,
            **asdict(self._counter.finish()),
            earlier_ratio_p50=before.ratio_p50,
            earlier_ratio_p99=before.ratio_p99,
            earlier_ratio_max=before.ratio_max,
        )

    def _imitate(
        self, examples: Sequence[Example], rate: float, is_taught: bool = False
    ) -> ImitationStats:
        self._optimizer.set_rate(rate)
        rows = [_make_example_row(example, is_taught) for example in examples]
        losses, _, norm = self._update(rows, _count_tokens(rows))
        self.step += 1
        tokens = sum(loss.tokens for loss in losses)
        return ImitationStats(tokens, sum(loss.value.item() for loss in losses), norm)

    def _prefer(self, pairs: Sequence[Pair], rate: float, beta: float) -> PreferenceStats:
        self._optimizer.set_rate(rate)
        rows = [_make_example_row(one) for one in list_answers(pairs)]
        before, slopes = compute_preference(pairs, self._sum_logprobs(rows), beta)
        tokens = _count_tokens(rows)
        # a sum over tokens is divided by their number
        weights = [sign * slope * tokens for slope in slopes for sign in (1, -1)]
        weighed = [replace(row, advantage=w) for row, w in zip(rows, weights, strict=True)]
        _, _, norm = self._update(weighed, tokens)
        self.step += 1
        return PreferenceStats(tokens, before, norm)

    @torch.no_grad()
    def _sum_logprobs(self, rows: Sequence[_Row]) -> list[float]:
        sums = [0.0] * len(rows)
        for pack, chosen, counts in self._iterate_packs(rows):
            tokens = self._list_tokens(chosen)
            parts = self._policy(pack, tokens).split([len(row.completion) for row in chosen])
            for number, part in zip(pack.indices, parts, strict=True):
                sums[number] = part.double().sum().item() * counts
        sums = add_up(sums)
        if not all(map(math.isfinite, sums)):
            raise LessonError(
                "the logarithm of an answer's probability is not a number: it has tokens that can "
                'never be drawn, or precision = "float32" is needed'
            )
        return sums

    @property
    def rate(self) -> float:
        """The learning rate of the next lesson."""
        return self.config.learning_rate * self.config.schedule.compute_share(self.step)

    @torch.no_grad()
    def _measure_examples(self, examples: Sequence[Example], is_taught: bool) -> float:
        rows = [_make_example_row(example, is_taught) for example in examples]
        losses = self._iterate_losses(rows, _count_tokens(rows))
        return sum(_add_up(loss).value.item() for loss in losses)

    def load_weights(self, model: Path, reference: Path | None) -> None:
        """Fill outlines with the weights of model folders, in a team. Only the first process reads
        them.

        Raises:
            OSError: in every process: a folder cannot be read at present.
            RuntimeError: the same: it is another model's.
        """
        weights = get_base_weights(self.model) if self.config.lora_rank else self._get_weights()
        load_tensors(weights, model, self._family)
        if self._reference is not None and reference is not None:
            first = self._reference.inner.state_dict()
            tied = find_tied(self._reference.inner)
            known = {n: w for n, w in first.items() if n not in tied}
            load_tensors(known, reference, self._reference_family)

    def bf16_state(self) -> dict[str, Tensor]:
        """The weights as published: contiguous bf16 copies, rounded to nearest even, by the names
        that files have, with LoRA's factors added as every reader adds them. In a team only the
        first process has them. Raises a LessonError: see `export_factors`."""
        factors = self._round_factors()
        weights = get_base_weights(self.model) if self.config.lora_rank else self._get_weights()
        rounded = (
            (name, gather(weight.detach().bfloat16()).cpu()) for name, weight in weights.items()
        )
        return {
            name: merge(part, factors[name]) if name in factors else part.contiguous()
            for whole, weight in rounded
            if get_team()[0] == 0
            for name, part in split_experts(self._family, whole, weight)
        }

    def export_factors(self) -> dict[str, Factors]:
        """LoRA's factors as published, by the names that files give the weights beside them; none
        without LoRA. Raises a LessonError: a value is not a number, or far too large."""
        return self._round_factors()

    def _round_factors(self) -> dict[str, Factors]:
        pairs = get_factors(self.model) if self.config.lora_rank else {}
        factors: dict[str, Factors] = {}
        for whole, (left, right) in pairs.items():
            for name, *parts in self._split_factors(whole, left, right):
                try:
                    factors[name] = round_factors(*parts)
                except ValueError as error:
                    raise LessonError(f"{name}: {error}: lower learning_rate") from None
        return factors

    def take_factors(self, factors: Mapping[str, Factors]) -> None:
        """Continue from published factors. Raises a ValueError where they are of other weights or
        of another rank."""
        pairs = {}
        for whole, shapes in get_factors(self.model).items():
            left, right = (torch.empty_like(part) for part in shapes)
            for name, lefts, rights in self._split_factors(whole, left, right):
                taken = factors.get(name)
                if taken is None or taken.left.shape != lefts.shape:
                    raise ValueError(f"{name} has no factors of rank {lefts.shape[-1]}")
                lefts.copy_(taken.left)
                rights.copy_(taken.right)
            pairs[whole] = left, right
        set_factors(self.model, pairs)

    def _split_factors(
        self, whole: str, left: Tensor, right: Tensor
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Views of a weight's factors, by the names that files have. All matrices that an expert
        has in one stack share their right factors."""
        parts = list(split_experts(self._family, whole, left))
        each = len(parts) // len(left)
        for at, (name, part) in enumerate(parts):
            yield name, part, right if part.dim() == right.dim() else right[at // each]

    def _get_weights(self) -> dict[str, Tensor]:
        """The weights by name, each once."""
        tied = find_tied(self.model)
        return {n: w for n, w in self.model.state_dict().items() if n not in tied}

    def _get_state(self) -> dict[str, Tensor]:
        """Masters, moments and counters; in a team each process's own part of them."""
        state = name_masters({n: w.detach() for n, w in self._get_weights().items()})
        return state | self._optimizer.get_state() | {"step": torch.tensor([float(self.step)])}

    def export_state(self) -> Iterator[tuple[str, Tensor]]:
        """Masters by the names of files, moments and counters, one whole tensor at a time, as a
        digest needs them. A single learner yields its own tensors, which the next lesson
        changes."""
        for name, tensor in self._get_state().items():
            yield from split_experts(self._family, name, gather(tensor).cpu())

    def save_state(self, path: Path) -> None:
        """Write the state for a restart, a safetensors file. In a team the first process writes
        it.

        Raises:
            OSError, SafetensorError: it cannot be written.
        """
        save_tensors(self._get_state(), path)

    def load_state(self, path: Path) -> None:
        """Restore the state of `save_state` exactly, also in a team of another size.

        Raises:
            OSError, SafetensorError: the file cannot be read. In a team it is an OSError if it
                cannot be read at present, and else a RuntimeError, in every process.
            LookupError, RuntimeError, ValueError: see `import_state`.
        """
        if not is_in_team():
            self.import_state(read_tensors(path))
            return
        moments = [name for name in read_names(path) if is_moment(name)]
        state = {n: t for n, t in self._get_state().items() if not is_moment(n)}
        state |= self._optimizer.make_outline(moments)
        load_tensors(state, path)
        self._take_moments(state)
        self.step = int(state["step"])

    def import_state(self, state: dict[str, Tensor]) -> None:
        """The same from a whole state, for a single learner.

        Raises:
            KeyError: the step is missing.
            IndexError: there are moments of a weight that does not exist.
            RuntimeError: the masters are another model's.
            ValueError: the moments are another optimiser's, or another model's.
        """
        here = self.model.state_dict()
        masters = stack_experts(self._family, pick_masters(state))
        loading = self.model.load_state_dict(masters, strict=False)
        if (
            loading.unexpected_keys
            or set(loading.missing_keys) != here.keys() - self._get_weights()
        ):
            raise RuntimeError("the masters are another model's")
        self._take_moments({name: tensor.clone() for name, tensor in state.items()})
        self.step = int(state["step"])

    def _take_moments(self, state: dict[str, Tensor]) -> None:
        moments = {name: tensor for name, tensor in state.items() if is_moment(name)}
        self._optimizer.take_state(moments)

    def _update(
        self, rows: Sequence[_Row], scale: float, examples: Sequence[_Row] = ()
    ) -> tuple[list[Loss], float, float]:
        """Make one update. Returns the losses of its passes, the examples' mean cross-entropy, and
        the gradient's norm before it was cut."""
        self._optimizer.zero_grad()
        losses = []
        for loss in self._iterate_losses(rows, scale):
            loss.value.backward()
            losses.append(_add_up(loss))
        weighted = 0.0
        if examples:
            weight = self.config.sft_weight
            for loss in self._iterate_losses(examples, _count_tokens(examples) / weight):
                loss.value.backward()
                weighted += _add_up(loss).value.item()
            weighted /= weight
        norm = gather(
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_gradient)
        ).item()
        # where a ratio is no number, its bounds make the gradient zero, and only the loss shows it
        total = sum(loss.value.item() for loss in losses) + weighted
        for what, value in ("gradient", norm), ("loss", total):
            if not math.isfinite(value):
                raise LessonError(
                    f"the {what} is not a number (its value is {value}): lower learning_rate "
                    'under [trainer], or take precision = "float32"'
                )
        self._has_changed = True
        self._optimizer.step()
        return losses, weighted, norm

    def _iterate_losses(self, rows: Sequence[_Row], scale: float) -> Iterator[Loss]:
        """The losses of this process's passes over `rows`, one after the other."""
        _, team = get_team()
        for pack, chosen, counts in self._iterate_packs(rows):
            yield self._measure(pack, chosen, scale / team, counts)

    def _iterate_packs(self, rows: Sequence[_Row]) -> Iterator[tuple[Pack, list[_Row], bool]]:
        """This process's packs of `rows` with the rows in each, and whether it counts."""
        rank, team = get_team()
        packs = self._pack(rows)
        for start in range(0, len(packs), team):
            # every process takes part in every pass, even without a pack left; gradients are
            # averaged over the team, and losses are sums
            mine = start + rank
            pack = packs[min(mine, len(packs) - 1)]
            yield pack, [rows[i] for i in pack.indices], mine < len(packs)

    def _pack(self, rows: Sequence[_Row]) -> list[Pack]:
        _, team = get_team()
        return make_even_packs(
            [row.prompt for row in rows],
            [row.completion for row in rows],
            self.config.tokens_per_pass,
            team,
            [row.replies for row in rows],
        )

    def _measure(self, pack: Pack, rows: Sequence[_Row], scale: float, counts: bool) -> Loss:
        """The loss of a pack's completions, `rows`. `counts` is False for a pass that must not
        contribute."""
        tokens = self._list_tokens(rows)
        reference = None
        if self._reference is not None:
            with torch.no_grad():
                reference = _unpack(self._reference(pack, tokens), rows)
        with record_logits(self._policy) as routed:
            logprobs = _unpack(self._policy(pack, tokens), rows)
        lengths = torch.tensor([len(row.completion) * counts for row in rows])
        mask = (torch.arange(logprobs.shape[1]) < lengths[:, None]).to(logprobs.device)
        behaviours = [torch.tensor(row.behaviour) for row in rows if row.behaviour is not None]
        if behaviours:
            behaviour = pad_sequence(behaviours, batch_first=True).to(logprobs)
            if counts:
                moved = logprobs.detach() - behaviour
                self._counter.add(moved[mask], self._policy.entropy)
                chosen = [i for i, row in enumerate(rows) if row.is_earlier]
                if chosen:
                    self._earlier.add(moved[chosen][mask[chosen]], self._policy.entropy)
            advantages = torch.tensor([row.advantage for row in rows])
            loss = compute_loss(
                logprobs,
                behaviour,
                advantages.to(logprobs),
                mask,
                scale,
                self.config.loss,
                reference,
            )
        elif rows[0].is_taught:
            assert reference is not None, "see `distill`"
            loss = compute_distillation_loss(logprobs, reference, mask, scale)
        else:
            weights = torch.tensor([row.advantage for row in rows]).to(logprobs)
            loss = compute_imitation_loss(logprobs, mask, scale, weights)
        if not routed or not self._balance_weight:
            return loss
        alike = bool(behaviours) and self.config.loss.counts_completions
        share = (len(rows) * counts if alike else loss.tokens) / scale
        imbalance = compute_imbalance(routed, self._chosen_experts)
        return replace(loss, value=loss.value + self._balance_weight * share * imbalance)

    def _list_tokens(self, rows: Sequence[_Row]) -> Tensor:
        """int64 [N]: the rows' own tokens."""
        flat = [token for row in rows for token in row.completion]
        return torch.tensor(flat, device=self.device)


def name_masters(masters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masters by their names in a learner's state."""
    return {_MASTER + name: master for name, master in masters.items()}


def pick_masters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masters in a learner's state, by the weights' names."""
    return {n.removeprefix(_MASTER): t for n, t in state.items() if n.startswith(_MASTER)}


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


def _unpack(values: Tensor, rows: Sequence[_Row]) -> Tensor:
    """Reshape [N] of all rows' tokens to [rows, tokens], with zeros behind each row."""
    return pad_sequence(values.split([len(row.completion) for row in rows]), batch_first=True)


def _add_up(loss: Loss) -> Loss:
    """The team's loss, without its graph."""
    _, team = get_team()
    value, *sums = add_up(
        [loss.value.item() / team, loss.tokens, loss.clipped, loss.ratio_sum, loss.kl_sum]
    )
    return Loss(torch.tensor(value), int(sums[0]), int(sums[1]), sums[2], sums[3])


def _count_tokens(rows: Sequence[_Row]) -> int:
    return sum(len(row.completion) for row in rows)


def _make_example_row(example: Example, is_taught: bool = False) -> _Row:
    return _Row(example.prompt, example.completion, None, 1.0, example.replies, is_taught)


def _make_rows(group: Group, scaled: bool, is_earlier: bool) -> list[_Row] | None:
    advantages = compute_advantages(group.rewards, scaled=scaled)
    if advantages is None:
        return None
    parts = zip(group.completions, group.behaviour_logprobs, advantages, group.replies, strict=True)
    return [_Row(group.prompt, *part, is_earlier=is_earlier) for part in parts]


def _summarise(
    groups: Sequence[Group], dropped: int, losses: Sequence[Loss], norms: Sequence[float]
) -> LearnStats:
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
