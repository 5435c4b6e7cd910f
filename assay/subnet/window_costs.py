"""A window's cost to miner, validator and trainer: tokens, seconds and bytes moved, by arithmetic.

Rates are from vendors' data sheets. A GPU is assumed to sustain the share SUSTAINED of them. HASHED
and DISK are exceptions. The time of kernel launches, fetching and waiting is not counted, nor that
of scoring, except for programs: there it is the most that counted units allow. Drafts are assumed
to be kept whole, and lengths are the averages that a recipe states.
`neurons.preflight.memory` computes memory.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import ceil
from typing import Protocol

from assay.inference.placing.model_sizes import BF16_WEIGHTS, compute_weight_bytes
from assay.protocol.parameters import MILLION, SCORING_RATE, SCORING_SHARE, Parameters
from assay.session.window_time import compute_window_seconds
from assay.settings.loading import ConfigError
from assay.settings.sections import MinerSettings, TrainerSettings
from assay.subnet.gating import count_completions
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.recipe import Implementation, Lengths, Recipe

#: Share of a data sheet's figures that is assumed to be sustained. Reading by split3 on an H100 was
#: measured at 0.26 with 1.5 billion weights, 0.31 with 3.2 and 0.29 with 3.9 (`bench/cards.py`).
SUSTAINED = 0.3
#: Bytes a second: of SHA-256, measured on one core of an AMD EPYC; of a disk, an assumption.
HASHED, DISK = 1.4e9, 3e9
#: Fewer weights make the arithmetic meaningless: launches and Python take the time.
LEAST_WEIGHTS = 50_000_000
#: Bytes a weight of the learner's state: masters and two moments; with LoRA masters, and factors,
#: which are small.
_STATE, _STATE_LORA = 12, 4
#: Checkpoints on disk: 8 that are kept (`artifacts.checkpoints`, which loads torch), genesis and a
#: new one.
_CHECKPOINTS = 8 + 1 + 1
#: Tries at a held-out problem.
_TRIES = 2
#: Bytes of a stored weight; of a cached float; of a token in a miner's file, digests included, at V
#: = 151,936 (bench/submissions.py).
_STORED, _CACHED, _FILED = 2, 4, 5.6
#: Floating-point operations for each weight and token: one product and one sum; `split3` has three
#: products; a backward pass two; recomputed layers one more.
_PRODUCT, _SPLIT, BACK, AGAIN = 2, 3, 2, 1
#: Bytes of the draw for each id: it reads logits three times.
_DRAW_BYTES = 12
#: Rows that a drafter decodes together.
DRAFTED = 256


@dataclass(frozen=True, slots=True)
class Card:
    """A device by its data sheet.

    Attributes:
        bf16, fp32: floating-point operations a second, dense; bf16 with sums in fp32.
        memory: bytes. bandwidth: of it, bytes a second.
        source: the data sheet.
    """

    name: str
    bf16: float
    fp32: float
    memory: float
    bandwidth: float
    source: str


CARDS: Mapping[str, Card] = {
    card.name: card
    for card in (
        Card("H100", 989e12, 67e12, 80e9, 3.35e12, "NVIDIA H100 SXM"),
        Card("H200", 989e12, 67e12, 141e9, 4.8e12, "NVIDIA H200 SXM"),
        Card("B200", 2_250e12, 80e12, 180e9, 8e12, "NVIDIA HGX B200"),
        Card("A100-80GB", 312e12, 19.5e12, 80e9, 2.039e12, "NVIDIA A100 80GB SXM"),
        Card("RTX 4090", 165.2e12, 82.6e12, 24e9, 1.008e12, "NVIDIA Ada architecture whitepaper"),
        # 32 cores of 3.25 GHz, two fused operations of eight floats a cycle; 12 channels of DDR5
        Card("cpu", 3.3e12, 3.3e12, 384e9, 460.8e9, "AMD EPYC 9354"),
    )
}


def get_card(name: str) -> Card:
    """A card by its name, in any case. Raises ConfigError: there is no data sheet for it."""
    by_name = {known.lower(): card for known, card in CARDS.items()}
    if name.lower() in by_name:
        return by_name[name.lower()]
    near = get_close_matches(name.lower(), by_name, 1)
    hint = f"did you mean {by_name[near[0]].name!r}? " if near else ""
    raise ConfigError(f"{name!r} is not a GPU that assay knows: {hint}it knows {', '.join(CARDS)}")


@dataclass(frozen=True, slots=True)
class ScoringCost:
    """The most that a window's scoring may take, where completions bring code to run.

    Attributes:
        units: millions of counted units, of all miners.
        allowed_seconds: a validator's share of the window's time.
        reference_seconds: seconds of the specification's reference machine.
        rate: millions of units a second that this machine was measured to count, by all its cores;
            None: it was not measured, because it lacks the interpreter.
    """

    units: int
    allowed_seconds: float
    reference_seconds: float
    rate: float | None

    @property
    def seconds(self) -> float | None:
        """Seconds of this machine."""
        return None if self.rate is None else self.units / self.rate


@dataclass(frozen=True, slots=True)
class WindowCost:
    """The cost of a window to one role."""

    tokens: int  # drawn by a miner, read by a validator, read and learned from by a trainer
    seconds: float
    moved: int  # bytes of files, and of a whole checkpoint; its deltas are smaller
    stored: int  # most bytes on disk: checkpoints, and the states of a trainer
    groups: int  # made by a miner, judged by a trainer; 0 for a validator
    learned: int = 0  # tokens that a trainer learns from, once for each epoch


def compute_scoring_cost(
    units: int, rules: Parameters, miners: int, rate: float | None
) -> ScoringCost:
    """The scoring of a window with this many miners. `units`: millions for one completion."""
    rollouts = miners * rules.work.valued_groups * rules.work.group_size
    window = rules.timing.window_blocks * rules.timing.slot_ms / 1_000
    load = rollouts * units
    return ScoringCost(load, window / SCORING_SHARE, load / SCORING_RATE, rate)


def compute_read_seconds(
    model: ModelNumbers, card: Card, implementation: Implementation, lengths: Lengths, tokens: float
) -> float:
    """Seconds for the reference to read this many tokens, prompts included.

    Products of bf16 three times with `split3`, or of fp32 once; attention's in fp32, with half of
    what is behind its prompt before each token; logits that are read for a draw.
    """
    split = implementation in BF16_WEIGHTS
    rate, times = (card.bf16, _SPLIT) if split else (card.fp32, 1)
    products = _PRODUCT * times * model.products / rate
    logits = _DRAW_BYTES * model.vocab_size / card.bandwidth
    return tokens * (products + _compute_scores(model, card, lengths) + logits) / SUSTAINED


def _compute_scores(model: ModelNumbers, card: Card, lengths: Lengths) -> float:
    """A data sheet's seconds for a token's attention."""
    width = model.num_attention_heads * model.head
    return 2 * _PRODUCT * model.count_seen(lengths.context) * width / card.fp32


def compute_draft_seconds(
    model: ModelNumbers,
    card: Card,
    implementation: Implementation,
    lengths: Lengths,
    completions: float,
    rows: int = DRAFTED,
) -> float:
    """Seconds for decoding this many completions, `rows` at a time: each step reads all weights,
    and of every row the keys and values, and the states, which it also writes. Replies are read
    between the steps, at the speed of products."""
    weights = compute_weight_bytes(_STORED, implementation)
    cached = 2 * model.num_key_value_heads * model.head
    seen = model.count_seen(lengths.context)
    steps = ceil(completions / min(rows, DRAFTED)) * lengths.completion
    read = steps * weights * model.read + completions * lengths.completion * _CACHED * (
        cached * seen + 2 * model.shape.state
    )
    rate = card.bf16 if implementation in BF16_WEIGHTS else card.fp32
    token = _PRODUCT * model.products / rate
    drawn = max(read / card.bandwidth, token * completions * lengths.completion)
    return (drawn + token * completions * lengths.replies) / SUSTAINED


def compute_late_share(model: ModelNumbers, card: Card, implementation: Implementation) -> int:
    """What each own token before it adds to the cost of a miner's token, in millionths of the first
    token's cost: what `position_share` pays for.

    It is the largest share that an engine can have: a draft of as many rows as are decoded together
    reads their keys and values from memory, with nothing at the same time, and the reference
    attends to them.
    """
    split = implementation in BF16_WEIGHTS
    rate, times = (card.bf16, _SPLIT) if split else (card.fp32, 1)
    weights = compute_weight_bytes(_STORED, implementation) * model.read / DRAFTED
    products = _PRODUCT * model.products / rate
    first = max(weights / card.bandwidth, products) + times * products
    first += (_DRAW_BYTES * model.vocab_size + 2 * _CACHED * model.shape.state) / card.bandwidth
    layers = model.count_seen(1)
    cached = 2 * layers * model.num_key_value_heads * model.head
    width = model.num_attention_heads * model.head
    attention = 2 * _PRODUCT * layers * width / card.fp32
    return ceil(MILLION * (_CACHED * cached / card.bandwidth + attention) / first)


def compute_learn_seconds(
    model: ModelNumbers, card: Card, lengths: Lengths, tokens: float, settings: TrainerSettings
) -> float:
    """Seconds of one pass over this many tokens, forward and backward."""
    rate = card.bf16 if settings.precision == "bfloat16" else card.fp32
    passes = 1 + BACK + AGAIN * settings.recompute
    products = _PRODUCT * model.products / rate + _compute_scores(model, card, lengths)
    return tokens * passes * products / SUSTAINED


class Pace(Protocol):
    """How fast a device works with one model."""

    def read(self, lengths: Lengths, tokens: float, own: float, calls: float) -> float:
        """Seconds for the reference to read.

        Args:
            tokens: all that are read. own: of these, completions'. calls: of the reference.
        """

    def draft(self, lengths: Lengths, completions: float, rows: int, prompts: float) -> float:
        """Seconds for decoding completions, `rows` at a time, of this many prompts."""

    def learn(
        self, lengths: Lengths, tokens: float, own: float, settings: TrainerSettings
    ) -> float:
        """Seconds of one pass over this many tokens, forward and backward. `own`: see `read`."""

    def write(self, groups: float) -> float:
        """Seconds for a miner's file with this many groups, in one process; 0: not counted."""

    def examine(self, files: float, groups: float) -> float:
        """Seconds for all of an audit but the model, in one process; 0: not counted.

        Args:
            groups: that are read, of all files together.
        """

    def keep(self, kept: float) -> float:
        """Seconds for hashing and writing this many bytes, all of it in one process."""


@dataclass(frozen=True, slots=True)
class SheetPace:
    """See `Pace`: by a card's data sheet."""

    model: ModelNumbers
    card: Card
    implementation: Implementation

    @classmethod
    def of(cls, recipe: Recipe, card: Card) -> "SheetPace":
        """With a recipe's model and implementation."""
        return cls(recipe.model, card, recipe.course.implementation)

    def read(self, lengths: Lengths, tokens: float, own: float, calls: float) -> float:
        return compute_read_seconds(self.model, self.card, self.implementation, lengths, tokens)

    def draft(self, lengths: Lengths, completions: float, rows: int, prompts: float) -> float:
        given = self.model, self.card, self.implementation, lengths, completions, rows
        return compute_draft_seconds(*given)

    def learn(
        self, lengths: Lengths, tokens: float, own: float, settings: TrainerSettings
    ) -> float:
        return compute_learn_seconds(self.model, self.card, lengths, tokens, settings)

    def write(self, groups: float) -> float:
        return 0.0

    def examine(self, files: float, groups: float) -> float:
        return 0.0

    def keep(self, kept: float) -> float:
        return kept / HASHED + kept / DISK


def compute_miner_cost(recipe: Recipe, rules: Parameters, pace: Pace) -> WindowCost:
    """The groups that a miner with one device can draw and read in time, up to the cap."""
    model, work, lengths = recipe.model, rules.work, recipe.course.lengths
    allowed = compute_window_seconds(rules.timing, MinerSettings().commit_margin)
    of_group = lengths.count_group(work.group_size, packs=model.packs)
    rows = recipe.course.groups_per_step * work.group_size

    def take(groups: int) -> float:
        completions = groups * work.group_size
        drawn = pace.draft(lengths, completions, rows, groups)
        own = completions * lengths.behind
        read = pace.read(lengths, groups * of_group, own, groups)
        return drawn + read + pace.write(groups)

    fits = bisect_right(range(1, work.group_cap + 1), allowed, key=take)
    moved = fits * work.group_size * lengths.completion * _FILED + _STORED * model.parameters
    tokens = fits * work.group_size * lengths.completion
    stored = compute_checkpoint_bytes(model)
    return WindowCost(round(tokens), take(fits), round(moved), stored, fits)


def compute_validator_cost(
    recipe: Recipe, rules: Parameters, pace: Pace, miners: int, groups: int
) -> WindowCost:
    """The cost of auditing all miners with one device. `groups`: of each miner. With fewer than
    audited rollouts, several of these have one prompt."""
    model, work, lengths = recipe.model, rules.work, recipe.course.lengths
    rollouts = miners * work.audited_rollouts
    shown = miners * min(work.audited_rollouts, groups)
    prompts = shown if model.packs else rollouts
    tokens = prompts * lengths.prompt + rollouts * lengths.behind
    fetched = work.valued_groups * (work.group_size - 1) + work.audited_rollouts
    fetched += work.sampled_rollouts
    moved = miners * fetched * lengths.completion * _FILED + _STORED * model.parameters
    seconds = pace.read(lengths, tokens, rollouts * lengths.behind, miners)
    seconds += pace.examine(miners, shown)
    return WindowCost(round(tokens), seconds, round(moved), compute_checkpoint_bytes(model), 0)


def compute_trainer_cost(recipe: Recipe, rules: Parameters, pace: Pace, groups: int) -> WindowCost:
    """The cost of one lesson: one device judges all of the miners' groups and tries the checkpoint,
    all devices learn, and the first process hashes and writes the result. `groups` is the number of
    all miners'."""
    model, work, lengths = recipe.model, rules.work, recipe.course.lengths
    settings = recipe.trainer
    of_group = lengths.count_group(work.group_size, packs=model.packs)
    own_of_group = work.group_size * lengths.behind
    external = groups if settings.external_groups is None else min(groups, settings.external_groups)
    own_groups = settings.local_groups
    judged, taught = groups + own_groups, (external + own_groups) * settings.epochs
    learned = taught * of_group
    seconds = pace.read(lengths, judged * of_group, judged * own_of_group, judged)
    gate = count_completions(rules.gate)
    drawn = _TRIES * settings.problems + own_groups * work.group_size + gate
    prompts = settings.problems + own_groups + gate
    seconds += pace.draft(lengths, drawn, DRAFTED, prompts)
    learning = pace.learn(lengths, learned, taught * own_of_group, settings)
    seconds += learning / recipe.course.trainer_cards + compute_keep_seconds(recipe, pace)
    moved = groups * work.group_size * lengths.completion * _FILED + _STORED * model.parameters
    if settings.publish_states:
        moved += _count_state_bytes(recipe)
    tokens = round(judged * of_group + learned)
    stored = compute_trainer_bytes(recipe)
    return WindowCost(tokens, seconds, round(moved), stored, groups, round(learned))


def compute_gate_cost(recipe: Recipe, rules: Parameters, pace: Pace) -> tuple[int, float]:
    """The tokens that the answers to a checkpoint's gate have, prompts included, and the seconds
    for drawing them: a part of the trainer's cost of a window."""
    drawn, lengths = count_completions(rules.gate), recipe.course.lengths
    seconds = pace.draft(lengths, drawn, DRAFTED, drawn)
    return round(drawn * (lengths.prompt + lengths.behind)), seconds


def compute_keep_seconds(recipe: Recipe, pace: Pace) -> float:
    """Seconds for hashing and writing a lesson's state and checkpoint."""
    return pace.keep(_count_state_bytes(recipe) + _STORED * recipe.model.parameters)


def compute_checkpoint_bytes(model: ModelNumbers) -> int:
    """Bytes on disk of the checkpoints that a program keeps."""
    return _CHECKPOINTS * _STORED * model.parameters


def compute_trainer_bytes(recipe: Recipe) -> int:
    """A trainer's largest disk use, while a state is being written: checkpoints, the states that
    are kept (the last one counts once, however many names it has), and the new one. Consumed groups
    add to that."""
    states = max(1, recipe.trainer.steps_kept) + 1
    return compute_checkpoint_bytes(recipe.model) + states * _count_state_bytes(recipe)


def _count_state_bytes(recipe: Recipe) -> int:
    each = _STATE_LORA if recipe.trainer.lora_rank else _STATE
    return each * recipe.model.parameters
