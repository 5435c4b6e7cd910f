"""What `assay plan` computes for a card beside what the card takes, for models of the recipes'
shapes with random weights: reading, drafting and learning, seconds and memory.

The plan assumes a share of the data sheet's rates. A mixture has some of its layers only, so that a
card has room for them. Without a GPU it prints one line; `--fast` runs tiny models there, to show
that the script works.
"""

import copy
import gc
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np
import torch
from figures import FAST, Figure, measure, report
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from work import make_random_projection

from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.implementations import make_model
from assay.inference.placing.devices import find_device
from assay.inference.placing.memory_plan import MemoryBudget, plan_memory
from assay.inference.placing.model_sizes import measure_shape
from assay.inference.reference import Reference
from assay.inference.routing import has_routers
from assay.protocol.hashing import Domain, hash_fields
from assay.session.memory import estimate_height
from assay.settings.loading import ConfigError
from assay.subnet.recipe import Lengths, ModelNumbers, Recipe, read_recipe
from assay.subnet.window_costs import (
    Card,
    compute_draft_seconds,
    compute_learn_seconds,
    compute_read_seconds,
    get_card,
)
from assay.training import Group, LearnConfig, Learner

DEVICE = find_device("auto")
ROLLOUTS, PROMPT, TOKENS, DRAFTED, AHEAD = (2, 13, 24, 4, 8) if FAST else (16, 130, 512, 256, 32)
#: A long context: tokens of a prompt and of each of two completions behind it.
LONG_PROMPT, LONG = 16_384, 16_384
#: Recipes, and the layers that a model has here.
RECIPES = {
    "qwen2.5-1.5b-math": None,
    "llama-3.2-3b-math": None,
    "gemma-3-4b-gsm": None,
    "qwen3.5-4b-math": None,
    "qwen3-30b-a3b-math": 12,
}
#: Also learns, and reads a long context.
WHOLE = "qwen2.5-1.5b-math"
LOGIT_STD = 3.0
#: split3 relative to fp32, in seconds.
SPLIT_MAX = 1 / 3
#: Sizes of `--fast`.
TINY = {
    "num_hidden_layers": 4,
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
GIB = 1 << 30


class Peak:
    """The most memory of the card that something takes beside what is there already; 0 bytes on a
    CPU."""

    def __init__(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self._held = torch.cuda.memory_allocated()

    def measure(self) -> int:
        if not torch.cuda.is_available():
            return 0
        torch.cuda.synchronize()
        taken: int = torch.cuda.max_memory_allocated() - self._held
        return taken


@dataclass(frozen=True)
class Subject:
    """A recipe's model of random weights, in bf16 on the card."""

    recipe: Recipe
    numbers: ModelNumbers
    model: Any

    @staticmethod
    def make(
        name: str, layers: int | None = None, sizes: Mapping[str, Any] | None = None
    ) -> "Subject":
        """A recipe's model, or one of its kind with other sizes."""
        recipe = read_recipe(name)
        numbers = recipe.model.model_copy(update=sizes or {})
        recipe = recipe.model_copy(update={"model": numbers})
        if layers is not None:
            numbers = numbers.model_copy(update={"num_hidden_layers": layers})
        if FAST:
            config = dict(numbers.config)
            if "layer_types" in config:
                config["layer_types"] = config["layer_types"][: TINY["num_hidden_layers"]]
            numbers = numbers.model_copy(update=TINY | {"config": config})
        return Subject(recipe, numbers, build(numbers, recipe))

    @property
    def title(self) -> str:
        whole = self.recipe.model.num_hidden_layers
        layers = self.numbers.num_hidden_layers
        shortened = "" if layers == whole else f", {layers} of {whole} layers"
        return f"{self.numbers.model_type}, {self.numbers.parameters / 1e9:.2f}B{shortened}"


def build(numbers: ModelNumbers, recipe: Recipe) -> Any:
    """The model with logits of a standard deviation of 3, and weights in bf16. Its other numbers
    are in fp32, as no file stores them."""
    config = CONFIG_MAPPING[numbers.model_type](**numbers.whole)
    torch.manual_seed(0)
    with torch.device(DEVICE):
        kind: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        model = kind(config)
        ids = torch.randint(0, numbers.vocab_size, (1, 64))
    model.eval().requires_grad_(False)
    if has_routers(model):
        model.router_ramp = recipe.make_rules().tests.router_ramp
        model.set_experts_implementation("eager")
    with torch.inference_mode():
        spread = float(model(ids, use_cache=False).logits.std())
        model.get_output_embeddings().weight.mul_(LOGIT_STD / spread)
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    return model


def make_reference(subject: Subject, implementation: str) -> Reference:
    """The reference as a program opens it on the card, before it has read anything."""
    model = subject.model
    if implementation != "split3":
        model = copy.deepcopy(model).float()
    made = make_model(model, implementation)
    shape = measure_shape(model.config, subject.numbers.parameters)
    vocabulary = subject.numbers.vocab_size
    budget = MemoryBudget(plan_memory(shape, DEVICE, 1.0), DEVICE, vocabulary)
    return Reference(made, np.ones(vocabulary, bool), 1_024, budget)


def make_group(subject: Subject, prompt: int, tokens: int, rollouts: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    vocabulary = subject.numbers.vocab_size
    shared = tuple(random.integers(0, vocabulary, prompt).tolist())
    return {
        "prompts": [shared] * rollouts,
        "completions": [
            random.integers(0, vocabulary, tokens).astype(np.uint32) for _ in range(rollouts)
        ],
        "seeds": [hash_fields(Domain.ROLLOUT, bytes([r])) for r in range(rollouts)],
        "projection": make_random_projection(subject.numbers.hidden_size),
    }


def compare_reading(subject: Subject, card: Card | None) -> Iterator[Figure]:
    """Reading of a group by split products beside the plan's arithmetic, and beside fp32."""
    rules = subject.recipe.make_rules()
    group = make_group(subject, PROMPT, TOKENS, ROLLOUTS)
    tokens = PROMPT + ROLLOUTS * TOKENS
    work = replace(rules.work, group_size=ROLLOUTS, max_tokens=TOKENS)
    seconds, peaks = {}, {}
    for implementation in ("split3", "fp32-sdpa"):
        reference = make_reference(subject, implementation)
        peak = Peak()
        seconds[implementation] = measure(partial(reference.measure, **group), 3)
        peaks[implementation] = peak.measure()
        del reference
    split, plain = seconds["split3"], seconds["fp32-sdpa"]
    name = f"{subject.title}: read by split3"
    planned = None
    if card is not None:
        lengths = Lengths(PROMPT, TOKENS)
        planned = compute_read_seconds(subject.numbers, card, "split3", lengths, tokens)
    yield Figure(
        name,
        split / tokens * 1e6,
        "µs/token",
        "the plan's arithmetic",
        None if planned is None else planned / tokens * 1e6,
    )
    dense = not has_routers(subject.model) and subject.numbers.model_type != "qwen3_5_text"
    yield Figure(
        name,
        split / tokens * 1e6,
        "µs/token",
        "by fp32-sdpa",
        plain / tokens * 1e6,
        ratio_bound=SPLIT_MAX if dense else None,
    )
    shape = measure_shape(subject.model.config, subject.numbers.parameters)
    most = estimate_height("validator", shape, work, prompt=PROMPT)
    yield Figure(
        f"{name}: memory beside the weights", peaks["split3"] / GIB, "GiB", "the plan's", most / GIB
    )


def compare_drafting(subject: Subject, card: Card | None) -> Iterator[Figure]:
    """Decoding of many rows in bf16."""
    vocabulary = subject.numbers.vocab_size
    drawable = np.ones(vocabulary, bool)
    narrow = copy.deepcopy(subject.model).bfloat16()
    drafter = OwnDrafter(narrow, drawable, Rules(1_024, (), AHEAD))
    random = np.random.default_rng(1)
    requests = [
        Request(
            tuple(random.integers(0, vocabulary, PROMPT).tolist()),
            hash_fields(Domain.ROLLOUT, row.to_bytes(2, "big")),
        )
        for row in range(DRAFTED)
    ]
    drafter.draft(requests[:2], 2)
    seconds = measure(lambda: drafter.draft(requests), 1)
    drawn = DRAFTED * AHEAD
    planned = None
    if card is not None:
        lengths = Lengths(PROMPT, AHEAD)
        planned = compute_draft_seconds(subject.numbers, card, "split3", lengths, DRAFTED)
    yield Figure(
        f"{subject.title}: drafted by bf16, {DRAFTED} rows of {AHEAD} tokens, with their prompts",
        seconds / drawn * 1e6,
        "µs/token",
        "the plan's arithmetic",
        None if planned is None else planned / drawn * 1e6,
    )


def compare_long(subject: Subject) -> Iterator[Figure]:
    """Memory of a long context."""
    prompt, tokens = (64, 64) if FAST else (LONG_PROMPT, LONG)
    group = make_group(subject, prompt, tokens, 2)
    reference = make_reference(subject, "split3")
    peak = Peak()
    seconds = measure(lambda: reference.measure(**group), 1, 0)
    taken = peak.measure()
    work = replace(subject.recipe.make_rules().work, group_size=2, max_tokens=tokens)
    shape = measure_shape(subject.model.config, subject.numbers.parameters)
    most = estimate_height("validator", shape, work, prompt=prompt)
    name = f"{subject.title}: two completions of {tokens:,} tokens behind {prompt:,} read by split3"
    yield Figure(f"{name}: memory", taken / GIB, "GiB", "the plan's", most / GIB)
    yield Figure(name, seconds / (prompt + 2 * tokens) * 1e6, "µs/token")


def compare_learning(subject: Subject, card: Card | None) -> Iterator[Figure]:
    """A step of all weights: a lesson of many tokens beside one of few, which shows what moving
    weights and moments takes."""
    rules, settings = subject.recipe.make_rules(), subject.recipe.trainer
    few, many = (make_lesson(subject, groups) for groups in ((1, 2) if FAST else (1, 4)))
    config = LearnConfig(
        learning_rate=settings.learning_rate,
        epochs=1,
        groups_per_batch=settings.groups_per_batch,
        tokens_per_pass=settings.tokens_per_pass,
        precision=settings.precision,
        recompute=settings.recompute,
    )
    shape = measure_shape(subject.model.config, subject.numbers.parameters)
    learner = Learner(
        copy.deepcopy(subject.model).cpu().requires_grad_(True), config, device=DEVICE
    )
    learner.learn(few)
    seconds = []
    peak = Peak()
    for lesson in (few, many):
        started = perf_counter()
        learner.learn(lesson)
        seconds.append(perf_counter() - started)
    taken = peak.measure()
    more = sum(count_tokens(group) for group in many) - sum(count_tokens(group) for group in few)
    planned = None
    if card is not None:
        lengths = Lengths(PROMPT, TOKENS)
        planned = compute_learn_seconds(subject.numbers, card, lengths, more, settings) / more * 1e6
    name = f"{subject.title}: a step"
    yield Figure(
        f"{name}, each token",
        (seconds[1] - seconds[0]) / more * 1e6,
        "µs/token",
        "the plan's arithmetic",
        planned,
    )
    yield Figure(
        f"{name} of one group, its weights and moments moved to the card and back", seconds[0], "s"
    )
    work = replace(rules.work, group_size=ROLLOUTS, max_tokens=TOKENS)
    most = estimate_height("trainer", shape, work, 0, settings, prompt=PROMPT)
    yield Figure(f"{name}: memory", taken / GIB, "GiB", "the plan's", most / GIB)


def make_lesson(subject: Subject, groups: int) -> list[Group]:
    random = np.random.default_rng(2)
    vocabulary = subject.numbers.vocab_size
    return [
        Group(
            random.integers(0, vocabulary, PROMPT).tolist(),
            [random.integers(0, vocabulary, TOKENS).tolist() for _ in range(ROLLOUTS)],
            [(r % 2) * 1_000_000 for r in range(ROLLOUTS)],
            [[-10.0] * TOKENS] * ROLLOUTS,
        )
        for _ in range(groups)
    ]


def count_tokens(group: Group) -> int:
    return len(group.prompt) + sum(map(len, group.completions))


def find_card() -> Card | None:
    """The data sheet of this card, if the plan knows it."""
    if DEVICE == "cpu":
        return None
    for word in torch.cuda.get_device_name().split():
        try:
            return get_card(word)
        except ConfigError:
            continue
    return None


def tell(parts: Sequence[Iterable[Figure]]) -> Iterator[Figure]:
    """The figures of all parts, each printed as it comes."""
    for figure in chain.from_iterable(parts):
        print(f"{figure.name}: {figure.value:.4g} {figure.unit}", file=sys.stderr, flush=True)
        yield figure


def main() -> None:
    if DEVICE == "cpu" and not FAST:
        print("no GPU here: what a card takes beside the plan's arithmetic is not measured")
        sys.exit()
    card, figures = find_card(), list[Figure]()
    for name, layers in RECIPES.items():
        subject = Subject.make(name, layers)
        parts: list[Iterable[Figure]] = [
            compare_reading(subject, card),
            compare_drafting(subject, card),
        ]
        if name == WHOLE:
            parts += [compare_long(subject), compare_learning(subject, card)]
        figures += tell(parts)
        del subject, parts
    where = "a CPU" if DEVICE == "cpu" else torch.cuda.get_device_name()
    title = f"reading, drafting and learning on {where}, beside the plan"
    report(title, figures, torch.get_num_threads())


if __name__ == "__main__":
    main()
