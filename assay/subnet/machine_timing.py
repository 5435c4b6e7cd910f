"""Times this machine with models of a recipe's shapes: the programs' own reader and drafter, with a
few layers of made-up weights.

What a layer takes is the difference between two such models, so the whole model is never made.
Seconds are a processor's, so that other work of the machine does not count; on a GPU the clock's.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from torch import nn

from assay.inference.draft import OwnDrafter, Request, Rules
from assay.inference.implementations import make_model
from assay.inference.model_loading import outline_config
from assay.inference.placing.devices import CPU, examine_device, explain_lack, require_lack
from assay.inference.placing.memory_plan import MemoryBudget, plan_memory
from assay.inference.placing.model_sizes import BF16_WEIGHTS, measure_shape
from assay.inference.reference import Reference
from assay.protocol.errors import OperatorError
from assay.protocol.hashing import Domain, hash_fields
from assay.subnet.file_timing import time_files
from assay.subnet.machine_speed import DraftingSpeed, Line, MachineSpeed, ReadingSpeed, extrapolate
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.recipe import Recipe
from assay.subnet.waiting import Report, telling
from assay.subnet.window_costs import DRAFTED
from assay.verification import Projection

#: Seconds after which nothing new is timed, and within which each measurement is repeated.
LIMIT_S, REPEATED_S = 60.0, 45.0
#: Most times that one measurement is made.
_REPEATS = 25
#: Weights up to which a model is made as it is, and the layers that a larger one has beside one.
_SMALL, _ADDED = 400_000_000, 1
#: Most tokens of a text and rows of a call. A longer context is computed.
_CONTEXT, _ROWS = 2_048, 16
#: Floating-point operations of a call on a CPU and on a GPU, and least and most of its tokens.
_OPERATIONS, _OPERATIONS_CARD, _LEAST, _MOST = 4e11, 4e13, 128, 4_096
#: Steps of a draft, and the part of its rows, and of a group's, that are timed besides.
_STEPS, _PART = 5, 8
#: Bytes that are hashed and written at a time, and how often.
_BYTES, _TIMES = 32 << 20, 4
#: Weights of a pattern that fills a model, and their size.
_PATTERN, _STD = 1 << 20, 0.02
#: Fields of a config that say of some layers, by their number, that they are of another kind.
_NUMBERED: Mapping[str, Any] = {
    "first_k_dense_replace": 0,
    "mlp_only_layers": [],
    "decoder_sparse_step": 1,
    "num_kv_shared_layers": 0,
}
#: Fields that would contradict the layers that are left.
_LEFT_OUT = ("full_attention_interval", "sliding_window_pattern", "no_rope_layer_interval")
_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")


class MeasuringError(OperatorError):
    """This machine could not be measured; says why."""


def measure_machine(
    recipe: Recipe, device: str, report: Report, limit_s: float = LIMIT_S
) -> MachineSpeed:
    """How fast this machine is with a recipe's model, at the lengths under `[course]`.

    Args:
        device: torch's name, as `find_device` returns it.
        limit_s: seconds of the clock.

    Raises:
        MeasuringError: the model cannot be made from the recipe, memory does not suffice for a few
            of its layers, or time does not.
    """
    if not recipe.model.packs:
        raise MeasuringError(
            f"--measure: no family describes {recipe.model.model_type}, so its layers cannot be "
            "made from a recipe: `assay adopt` says how fast its class reads"
        )
    facts = examine_device(device)
    clock = _Clock(device, time.monotonic() + limit_s)
    try:
        with torch.inference_mode():
            reading, drafting = _measure_model(recipe, device, clock, report)
    except (RuntimeError, MemoryError) as error:
        message = require_lack(error, device)
        raise MeasuringError(explain_lack("a few layers of this model", device, message)) from None
    with telling(report, "timing files, tests and scoring"):
        files = time_files(recipe)
    with telling(report, "timing hashing and the disk"):
        hashed, stored = _time_hash(), _time_disk()
    return MachineSpeed(
        kind=CPU if device == CPU else facts.name,
        device=facts.name,
        threads=torch.get_num_threads() if device == CPU else 1,
        memory=facts.total or 0,
        reading=reading,
        drafting=drafting,
        files=files,
        hashed=hashed,
        stored=stored,
        took=clock.used,
        took_wall=clock.wall,
    )


class _Clock:
    """Times calls, until the time is up."""

    def __init__(self, device: str, until: float) -> None:
        self._device, self._until = device, until
        self._began, self._began_used = time.monotonic(), time.process_time()

    @property
    def left_s(self) -> float:
        return self._until - time.monotonic()

    @property
    def wall(self) -> float:
        return time.monotonic() - self._began

    @property
    def used(self) -> float:
        return time.process_time() - self._began_used

    def time(self, run: Callable[[], object]) -> float:
        """Seconds of one call. Raises MeasuringError: there is no time left for it."""
        if self.left_s <= 0:
            raise MeasuringError(
                f"--measure: this machine is too slow or too busy: after {self.wall:,.0f} s not "
                "all was timed once. End other programs, or plan without it"
            )
        now = time.process_time if self._device == CPU else time.perf_counter
        before = now()
        run()
        if self._device != CPU:
            torch.cuda.synchronize(self._device)
        return now() - before


@dataclass(frozen=True, slots=True)
class _Sizes:
    """What is timed: texts, rows, and contexts of a draft."""

    prompt: int
    own: int
    rows: int
    context: int
    long: int  # tokens of one text that is read alone
    drafted: int

    @classmethod
    def of(cls, recipe: Recipe, tokens: int) -> "_Sizes":
        """By a recipe's lengths, cut to what is timed: a longer context is computed, but not in a
        draft.

        Args:
            tokens: most of a call.
        """
        prompt, own, replies = map(round, recipe.course.lengths)
        told, whole = own + replies, min(_CONTEXT, tokens // 2, prompt + own + replies)
        behind = min(whole - 1, max(2, round(whole * told / (prompt + told))))
        prompt = max(1, round(whole - behind))
        size = recipe.make_rules().work.group_size
        rows = max(2, min(size, _ROWS, tokens // (prompt + behind)))
        drafted = max(2, min(DRAFTED, tokens // _STEPS, recipe.course.groups_per_step * size))
        room = recipe.model.whole.get("max_position_embeddings") or _CONTEXT
        long = max(prompt + behind, min(_CONTEXT, room, 2 * (prompt + behind)))
        return cls(prompt, behind, rows, prompt + behind // 2, long, drafted)


def _measure_model(
    recipe: Recipe, device: str, clock: _Clock, report: Report
) -> tuple[ReadingSpeed, DraftingSpeed]:
    numbers = recipe.model
    kinds = _list_kinds(numbers)
    counts, last = Counter(kinds), kinds[-1]
    each = measure_shape(_Namespace(numbers.whole), numbers.parameters).block
    most = len(kinds) if numbers.parameters <= _SMALL else _ADDED
    added = {k: max(1, min(most, n - (k == last))) for k, n in counts.items()}
    stacks = [(last,), *((*[kind] * n, last) for kind, n in added.items())]
    _require_room(recipe, device, each, sum(map(len, stacks)))
    allowed = _OPERATIONS if device == CPU else _OPERATIONS_CARD
    multiplied = 2 * (numbers.vocab_size * numbers.hidden_size + each * max(map(len, stacks)))
    sizes = _Sizes.of(recipe, max(_LEAST, min(_MOST, int(allowed / multiplied))))
    tables: dict[tuple[int, ...], torch.Tensor] = {}
    with telling(report, "making a few layers of made-up weights"):
        timed = {s: _Timed(recipe, _make(recipe, kinds, s, device, tables), sizes) for s in stacks}
    took: dict[tuple[tuple[str, ...], str], list[float]] = {}
    with telling(report, "timing products, attention and draws"):
        for name in ("read few", "draft few, one"):  # what compiles does so now
            clock.time(timed[last,].works[name])
        for number in range(_REPEATS):
            for stack, one in timed.items():
                for name, work in one.works.items():
                    if number and clock.wall > REPEATED_S:
                        break
                    took.setdefault((stack, name), []).append(clock.time(work))
    found = {key: median(seconds) for key, seconds in took.items()}

    def fit(name: str) -> tuple[float, float]:
        beside = {kind: (n, found[(*[kind] * n, last), name]) for kind, n in added.items()}
        return extrapolate(counts, last, found[(last,), name], beside)

    return _fit_reading(numbers, sizes, fit), _fit_drafting(sizes, fit)


def _fit_reading(
    numbers: ModelNumbers, sizes: _Sizes, fit: Callable[[str], tuple[float, float]]
) -> ReadingSpeed:
    (less, few_drawn), (more, many_drawn) = fit("read few"), fit("read many")
    few, many = (rows * sizes.own for rows in (_take_part(sizes.rows), sizes.rows))
    layers = Line.through((sizes.prompt + few, less), (sizes.prompt + many, more))
    drawn = Line.through((few, few_drawn), (many, many_drawn))
    context = sizes.prompt + sizes.own / 2
    # a long text beside a group: the same products, and more attention
    alone = (fit("read long")[0] - layers.fixed) / sizes.long
    near, far = numbers.count_seen(context), numbers.count_seen(sizes.long / 2)
    each = Line.through((near, layers.each), (far, alone)) if far > near else Line(layers.each, 0)
    # what was measured at the course's lengths stays
    token = max(0.0, layers.each - each.each * near)
    return ReadingSpeed(layers.fixed + drawn.fixed, token, each.each, drawn.each)


def _fit_drafting(sizes: _Sizes, fit: Callable[[str], tuple[float, float]]) -> DraftingSpeed:
    def step(name: str) -> float:
        return max(0.0, sum(fit(f"{name}, steps")) - sum(fit(f"{name}, one"))) / _STEPS

    few, many = _take_part(sizes.drafted), sizes.drafted
    rows = Line.through((few, step("draft few")), (many, step("draft many")))
    return DraftingSpeed(rows.fixed, rows.each)


def _take_part(rows: int) -> int:
    return max(1, rows // _PART)


class _Timed:
    """A model of a few layers, and what is timed with it.

    Attributes:
        works: by name.
    """

    def __init__(self, recipe: Recipe, model: Any, sizes: _Sizes) -> None:
        self._random = np.random.default_rng(0)
        self._vocabulary = recipe.model.vocab_size
        drawable = np.ones(self._vocabulary, bool)
        temperature = recipe.make_rules().work.temperature
        made = make_model(model, recipe.course.implementation)
        device = str(model.device)
        weights = sum(weight.numel() for weight in model.parameters())
        plan = plan_memory(measure_shape(model.config, weights), device, 1.0)
        budget = MemoryBudget(plan, device, self._vocabulary)
        reference = Reference(made, drawable, temperature, budget)
        hidden = recipe.model.hidden_size
        signs = self._random.choice([-1.0, 1.0], (hidden, 2)).astype(np.float32)
        projection = Projection(signs, np.zeros(hidden, np.float32), hidden**0.5)

        def read(prompt: int, own: int, rows: int) -> Callable[[], object]:
            prompts = [self._draw(prompt)] * rows
            texts = [np.array(self._draw(own), np.uint32) for _ in range(rows)]
            seeds = _make_seeds(rows)
            return lambda: reference.measure_with_leads(prompts, texts, seeds, projection)

        def draft(rows: int, context: int, steps: int) -> Callable[[], object]:
            # of two lengths, so that there is padding
            prompts = [self._draw(context), self._draw(max(1, context - 1))]
            requests = [Request(prompts[i % 2], s) for i, s in enumerate(_make_seeds(rows))]
            drafter = OwnDrafter(model, drawable, Rules(temperature, (), steps))
            return lambda: drafter.draft(requests)

        most = sizes.drafted
        self.works: dict[str, Callable[[], object]] = {
            "read few": read(sizes.prompt, sizes.own, _take_part(sizes.rows)),
            "read many": read(sizes.prompt, sizes.own, sizes.rows),
            "read long": read(sizes.long - 1, 1, 1),  # nothing is drawn of a prompt
        }
        for name, rows in (("draft few", _take_part(most)), ("draft many", most)):
            self.works[f"{name}, one"] = draft(rows, sizes.context, 1)
            self.works[f"{name}, steps"] = draft(rows, sizes.context, 1 + _STEPS)

    def _draw(self, count: int) -> tuple[int, ...]:
        return tuple(self._random.integers(0, self._vocabulary, count).tolist())


def _make_seeds(count: int) -> list[bytes]:
    return [hash_fields(Domain.ROLLOUT, row.to_bytes(2, "big")) for row in range(count)]


class _Namespace:
    """A config's fields as attributes."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.__dict__.update(fields)


def _list_kinds(numbers: ModelNumbers) -> list[str]:
    """Each layer's kind: what lists of the config say of it."""
    layers = numbers.num_hidden_layers
    lists = {k: v for k, v in numbers.whole.items() if isinstance(v, list) and len(v) == layers}
    return [json.dumps([each[layer] for each in lists.values()]) for layer in range(layers)]


def _make(
    recipe: Recipe,
    kinds: Sequence[str],
    stack: Sequence[str],
    device: str,
    tables: dict[tuple[int, ...], torch.Tensor],
) -> Any:
    """A model with layers of these kinds. Models share `tables`, the embeddings and heads."""
    numbers = recipe.model
    config = dict(numbers.whole)
    places = [kinds.index(kind) for kind in stack]
    for name, value in config.items():
        if isinstance(value, list) and len(value) == len(kinds):
            config[name] = [value[place] for place in places]
    config |= {name: value for name, value in _NUMBERED.items() if name in config}
    config = {name: value for name, value in config.items() if name not in _LEFT_OUT}
    config["num_hidden_layers"] = len(stack)
    config |= dict.fromkeys(_IDS)  # a class's own may lie beyond a smaller vocabulary
    ramp = recipe.make_rules().tests.router_ramp
    model: Any = outline_config(json.dumps(config).encode(), ramp)
    is_split = recipe.course.implementation in BF16_WEIGHTS
    dtype = torch.bfloat16 if is_split else torch.float32
    pattern = torch.randn(_PATTERN, generator=torch.Generator().manual_seed(0)).mul_(_STD)
    pattern = pattern.to(device, dtype)
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) not in made:
                shape = tuple(weight.shape)
                values = tables.get(shape)
                if values is None:
                    values = _fill(shape, pattern)
                if shape[0] == numbers.vocab_size:
                    tables[shape] = values
                made[id(weight)] = nn.Parameter(values, requires_grad=False)
            setattr(module, name, made[id(weight)])
    return model.to(device)


def _fill(shape: tuple[int, ...], pattern: torch.Tensor) -> torch.Tensor:
    """A tensor that repeats a pattern: drawing billions of numbers would take the time."""
    values = torch.empty(prod(shape), dtype=pattern.dtype, device=pattern.device)
    for part in values.split(len(pattern)):
        part.copy_(pattern[: len(part)])
    return values.view(shape)


def _require_room(recipe: Recipe, device: str, each: int, layers: int) -> None:
    """Raise MeasuringError if memory has no room for so many layers and the tables."""
    numbers = recipe.model
    table = numbers.vocab_size * numbers.hidden_size * (1 if numbers.tie_word_embeddings else 2)
    size = 2 if recipe.course.implementation in BF16_WEIGHTS else 4
    needed = size * (table + layers * each)
    free = examine_device(device).free
    if free is not None and needed > free:
        raise MeasuringError(
            f"--measure: {layers} layers of {numbers.name} and its embeddings take "
            f"{needed / 2**30:,.1f} GiB, and {device} has {free / 2**30:,.1f} GiB free: plan "
            "without it, or end other programs"
        )


def _time_hash() -> float:
    """Bytes that SHA-256 takes a second."""
    data = bytes(_BYTES)
    seconds = []
    for _ in range(_TIMES):
        before = time.process_time()
        sha256(data)
        seconds.append(time.process_time() - before)
    return _BYTES / max(1e-9, min(seconds))


def _time_disk() -> float | None:
    """Bytes a second that the current folder's disk takes, waiting included; None: it takes
    none."""
    try:
        with TemporaryFile(dir=Path.cwd(), buffering=0) as file:
            data = os.urandom(_BYTES)
            began = time.perf_counter()
            for _ in range(_TIMES):
                file.write(data)
            os.fsync(file.fileno())
            return _TIMES * _BYTES / (time.perf_counter() - began)
    except OSError:
        return None
