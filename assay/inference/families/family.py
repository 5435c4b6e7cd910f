"""What is known of a family of models: the fields of its config.json, its tensors with their
shapes, what a token sees, and what follows the output matrix.

A shape is written in words: `q h` has q rows and h columns. A word is a letter that a field or an
arithmetic of fields gives (`WORDS`), a number, one times the other (`2i`), or a sum (`q+2k`).
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any, Literal

from assay.gate.rules import FLAG, Rule
from assay.inference.families.fields import SIZES
from assay.inference.families.rotary import Rotation

Config = Mapping[str, Any]
#: The trait of a layer that has a router.
SPARSE = "experts"
#: The field that says how many experts a router chooses for a token.
CHOSEN = "num_experts_per_tok"
#: What each word of a shape means. A family may have more.
WORDS = MappingProxyType(
    {
        "v": "vocab_size",
        "h": "hidden_size",
        "i": "intermediate_size",
        "n": "num_attention_heads",
        "g": "num_key_value_heads",
        "d": "head_dim",
        "q": "n · d",
        "k": "g · d",
    }
)
_TERM = re.compile(r"([0-9]*)([a-z]*)")
_LISTED = re.compile(r"\{([a-z]+)\}")


class Mask(Enum):
    """Which tokens before it a token sees."""

    FULL = "all"
    BY_LAYER = "all, or those of the window, by `layer_types`"
    WINDOW = "those of `sliding_window`, in every layer; all if it is null"


@dataclass(frozen=True, slots=True)
class Finish:
    """What follows the output matrix: logits / x, logits · x, or x · tanh(logits / x), where x is
    the value of a field. A null value does nothing."""

    rule: Literal["divide", "multiply", "cap"]
    field: str


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors that occur together.

    Attributes:
        about: a name for people.
        shapes: name → shape in words. A word in braces in a name, `experts.{e}.up.weight`: one
            tensor for each number below it.
        when: the trait of a layer that has them; empty: every layer. `Family.traits` lists traits.
        unless: the trait of a layer that lacks them.
    """

    about: str
    shapes: Mapping[str, str]
    when: str = ""
    unless: str = ""

    def under(self, when: str = "", unless: str = "") -> "Tensors":
        """The same where layers have a trait, or lack one."""
        return Tensors(self.about, self.shapes, when, unless)

    def occur(self, traits: Collection[str]) -> bool:
        """Whether a layer with these traits has them."""
        return (not self.when or self.when in traits) and self.unless not in traits


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture's experts, and what its routers make of logits.

    Attributes:
        counts: the fields that say how many a layer has, of which config.json has one.
        sigmoid: the logits' sigmoids weigh experts, and with biases choose them; else softmax over
            all experts weighs, and the logits choose.
        normalised: the field by which weights are divided by their sum; empty: they always are.
        scaling: the field that weights are multiplied by in the end; empty: none.
    """

    counts: tuple[str, ...]
    sigmoid: bool = False
    normalised: str = ""
    scaling: str = ""

    def count(self, config: Config) -> int:
        """The number of a layer's experts; 0 if no field says it, or several do."""
        given = [config[name] for name in self.counts if name in config]
        return given[0] if len(given) == 1 else 0

    def find_fault(self, config: Config) -> str | None:
        """The reason why a router could not be ramped, or None."""
        count, chosen = self.count(config), config.get(CHOSEN)
        if not count:
            return f"config.json does not have exactly one of {', '.join(self.counts)}"
        if chosen is None:
            return f"config.json has no {CHOSEN}"
        if chosen >= count:
            return (
                f"{CHOSEN} in config.json is {chosen} of {count} experts: a router chooses "
                "fewer than there are"
            )
        return None


@dataclass(frozen=True)
class Family:
    """A `model_type`.

    Attributes:
        layer: the tensors of a layer, by their names behind `model.layers.<number>.`.
        fields: rules of the fields that not every family has.
        outside: the tensors besides layers, embedding and output matrix, by their whole names.
        defaults: of fields that tensors or windows depend on, where config.json lacks the field;
            those of a library's class. Elsewhere a switch is off and a number is null.
        required: of `fields`, those that config.json must have.
        sizes: further words of shapes → the field that gives each, or two, which are multiplied:
            `one · other`.
        mask: which tokens a token sees.
        finish: what follows the output matrix.
        rotation: how positions turn queries and keys.
        kinds: the types that `layer_types` may have.
        lay_out: words that differ in a layer, by its number; with None, those outside of layers.
        mark: further traits of a layer, by its number; with None, those outside of layers.
        check: a reason against values that no single rule finds; None: no reason.
        experts: of a mixture. The word `e` is their number, and a layer that has a router has the
            trait `SPARSE`.
        without: of `SIZES`, those that no layer has.
    """

    layer: tuple[Tensors, ...]
    fields: Mapping[str, Rule]
    outside: tuple[Tensors, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    sizes: Mapping[str, str] = field(default_factory=dict)
    mask: Mask = Mask.FULL
    finish: Finish | None = None
    rotation: Rotation = field(default_factory=Rotation)
    kinds: tuple[str, ...] = ()
    lay_out: Callable[[Config, int | None], Mapping[str, int]] | None = None
    mark: Callable[[Config, int | None], Collection[str]] | None = None
    check: Callable[[Config], str | None] | None = None
    experts: Experts | None = None
    without: tuple[str, ...] = ()

    def is_sparse(self, config: Config) -> bool:
        """Whether a layer has a router."""
        layers = range(config["num_hidden_layers"])
        return any(SPARSE in self.list_traits(config, layer) for layer in layers)

    def get(self, config: Config, name: str) -> Any:
        """The value of a field, or what holds where config.json lacks it."""
        return config.get(name, self.defaults.get(name))

    def is_tied(self, config: Config) -> bool:
        """Whether the output matrix is the embedding."""
        return bool(self.get(config, "tie_word_embeddings"))

    def get_head_size(self, config: Config) -> int:
        """The size of an attention head."""
        size: int = self.get(config, "head_dim") or (
            config["hidden_size"] // config["num_attention_heads"]
        )
        return size

    def measure(self, config: Config, layer: int | None = None) -> dict[str, int]:
        """The value of each word, in one layer or outside of them."""
        values = {word: config.get(name, 0) for word, name in WORDS.items() if name in SIZES}
        for word, names in self.sizes.items():
            values[word] = prod(self.get(config, name) or 0 for name in names.split(" · "))
        values["d"] = self.get_head_size(config)
        if self.experts is not None:
            values["e"] = self.experts.count(config)
        if self.lay_out is not None:
            values |= self.lay_out(config, layer)
        return values | {"q": values["n"] * values["d"], "k": values["g"] * values["d"]}

    def list_traits(self, config: Config, layer: int | None = None) -> frozenset[str]:
        """The traits by which tensors occur: switches that are on, and a layer's type."""
        on = {name for name, rule in self.fields.items() if rule is FLAG}
        traits = {name for name in on if self.get(config, name)}
        kinds = self.get(config, "layer_types")
        traits |= {kinds[layer]} if kinds and layer is not None else set()
        traits |= {*self.mark(config, layer)} if self.mark is not None else set()
        return frozenset(traits)


def iterate_shapes(
    tensors: Collection[Tensors], values: Mapping[str, int], traits: Collection[str]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Each tensor's name and shape."""
    for part in tensors:
        if not part.occur(traits):
            continue
        for name, words in part.shapes.items():
            shape = _compute_shape(words, values)
            listed = _LISTED.search(name)
            if listed is None:
                yield name, shape
            else:
                for number in range(values[listed[1]]):
                    yield _LISTED.sub(str(number), name), shape


def count_elements(
    tensors: Collection[Tensors], values: Mapping[str, int], traits: Collection[str]
) -> tuple[int, int]:
    """The number of tensors, and of their elements, without listing them."""
    count = elements = 0
    for part in tensors:
        if part.occur(traits):
            for name, words in part.shapes.items():
                listed = _LISTED.search(name)
                times = 1 if listed is None else values[listed[1]]
                count += times
                elements += times * prod(_compute_shape(words, values))
    return count, elements


def count_matrices(
    tensors: Collection[Tensors],
    values: Mapping[str, int],
    traits: Collection[str],
    chosen: int | None,
) -> int:
    """The elements of the matrices. Of those that are listed by a number or stacked, as experts
    are, `chosen` count; None: all."""
    elements = 0
    for part in tensors:
        if not part.occur(traits):
            continue
        for name, words in part.shapes.items():
            *stacked, rows, columns = (0, *_compute_shape(words, values))
            if rows < 2 or name.endswith("bias"):  # a vector, or a convolution of each channel
                continue
            listed = _LISTED.search(name)
            count = prod(stacked[1:]) * (1 if listed is None else values[listed[1]])
            is_expert = listed is not None or len(stacked) > 1
            elements += rows * columns * (count if chosen is None or not is_expert else chosen)
    return elements


def _compute_shape(words: str, values: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(
        sum(times * (values[word] if word else 1) for times, word in terms)
        for terms in _parse(words)
    )


@cache
def _parse(words: str) -> tuple[tuple[tuple[int, str], ...], ...]:
    """Each dimension's terms: how often which word; a number alone has no word."""

    def parse_term(term: str) -> tuple[int, str]:
        times, word = _TERM.fullmatch(term).groups()  # type: ignore[union-attr] # our own table
        return int(times or 1), word

    return tuple(tuple(map(parse_term, part.split("+"))) for part in words.split())
