"""How a config.json may place rotary angles."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from assay.gate.rules import is_integer, is_text
from assay.protocol.encoding import Json

#: Methods to place rotary angles, and the numbers that each must have. The library's `dynamic` and
#: `longrope` depend on the longest sequence of a batch, so that a measurement would depend on the
#: other sequences. Here `dynamic` needs an alpha, which places all positions up to the longest
#: context alike, and of `longrope` the short factors count at all positions, as they do there in
#: sequences of the original length.
ROPE_TYPES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "default": (),
        "linear": ("factor",),
        "yarn": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
        "dynamic": ("factor", "alpha"),
        "longrope": ("original_max_position_embeddings",),
        "proportional": ("rope_theta",),
    }
)
#: The lists of numbers that a method has besides, a number for each angle.
ROPE_LISTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"longrope": ("long_factor", "short_factor")}
)
#: The types of every family but those that say otherwise.
COMMON_TYPES = ("default", "linear", "llama3", "yarn")
#: The field that names the type (the second in older files), and the numbers beside it.
ROPE_NAMES = ("rope_type", "type")
ROPE_NUMBERS = (
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "high_freq_factor",
    "low_freq_factor",
    "original_max_position_embeddings",
    "rope_theta",
)
#: The part of a head that is turned, in the families that turn a part.
FRACTION = "partial_rotary_factor"
#: The angles of each of a picture's three positions.
SECTIONS = "mrope_section"
PLACES = ("rope_parameters", "rope_scaling")
_NUMBER_MAX = 1 << 40


def is_number(value: Json) -> bool:
    """Whether a value is a finite number of a moderate size, and not a truth value."""
    return type(value) in (int, float) and abs(value) <= _NUMBER_MAX


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a family's rotary angles may be.

    Attributes:
        types: of `ROPE_TYPES`.
        numbers: further numbers of `rope_parameters`.
        switches: its truth values.
        needs: numbers that it must have, where it is there.
        fraction: the part of a head that is turned where no field says so; 0: all of it, and there
            is no such field.
        sections: whether angles may have sections, for pictures: a text's positions are alike in
            all of them.
        by_layer: the layer types, each with an object of its own; none: one for all layers.
        older: whether the older fields rope_scaling and rope_theta are read.
    """

    types: tuple[str, ...] = COMMON_TYPES
    numbers: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    fraction: float = 0
    sections: bool = False
    by_layer: tuple[str, ...] = ()
    older: bool = True

    def find_faults(self, config: Mapping[str, Any], head: int) -> Iterator[str]:
        """Reasons against the fields of rotary angles, for heads of a size."""
        if all(config.get(name) is not None for name in PLACES):
            yield f"config.json has both {' and '.join(PLACES)}"
        for name in PLACES:
            rope = config.get(name)
            if rope is None:
                continue
            for about, part in self._list_parts(name, rope):
                fault = (
                    self._find_fault(part)
                    or _find_base_fault(part, head)
                    or self._find_partial_fault(config, part, head)
                    or self._find_list_fault(config, part, head)
                )
                if fault is not None:
                    yield f"{about} in config.json {fault}"
        yield from self.find_contradictions(config)
        fault = self._find_partial_fault(config, {}, head)
        if fault is not None:
            yield f"config.json {fault}"

    def find_contradictions(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Numbers that stand beside the object, too, with another value: which of the two counts
        depends on the program."""
        if self.by_layer:
            return
        for place in PLACES:
            rope = config.get(place) or {}
            for name in ("rope_theta", "original_max_position_embeddings", FRACTION):
                outer, inner = config.get(name), rope.get(name)
                if None not in (outer, inner) and outer != inner:
                    yield f"{name} in config.json is {outer}, and {inner} in {place}: remove one"

    def _list_parts(self, name: str, rope: dict[str, Json]) -> Iterator[tuple[str, Json]]:
        """The objects with a type each."""
        if name != "rope_parameters" or not self.by_layer:
            yield name, rope
        elif set(rope) != set(self.by_layer):
            yield name, None
        else:
            yield from ((f"{name} of {kind}", rope[kind]) for kind in self.by_layer)

    def _find_fault(self, rope: Json) -> str | None:
        if not isinstance(rope, dict):
            listed = ", ".join(self.by_layer)
            return f"is not an object with an object for each of {listed}" if listed else "is none"
        partial = (FRACTION,) if self.fraction else ()
        numeric = (*ROPE_NUMBERS, *self.numbers, *partial)
        sections = (SECTIONS,) if self.sections else ()
        kinds = [rope[name] for name in ROPE_NAMES if name in rope]
        strange = [one for one in kinds if not is_text(one) or one not in self.types]
        if not strange and len(set(kinds)) > 1:
            both = " and ".join(f"{name} {rope[name]}" for name in ROPE_NAMES)
            return f"has {both}: leave one of them out"
        if strange:
            kind = strange[0]
            return (
                f"has the type {str(kind)[:40]!r}, which is none of {', '.join(self.types)}: "
                "others place a token by its whole row"
            )
        lists = ROPE_LISTS.get(str(kinds[0]), ()) if kinds else ()
        known = {*ROPE_NAMES, *numeric, *self.switches, *sections, *lists}
        if unknown := sorted(set(rope) - known):
            return f"has a field {unknown[0][:60]!r} that is not known here"
        if any(type(rope[name]) is not bool for name in self.switches if name in rope):
            return f"gives something else than true or false as one of {', '.join(self.switches)}"
        numbers = {name: rope[name] for name in numeric if name in rope}
        if not all(is_number(number) and number > 0 for number in numbers.values()):
            return f"gives something else than a positive number as one of {', '.join(numeric)}"
        ordered = ROPE_TYPES[kinds[0]] if kinds else ()
        if lacking := [name for name in (*ordered, *self.needs, *lists) if name not in rope]:
            return f"has no {lacking[0]}" + (f", and type {kinds[0]}" if kinds else "")
        if numbers.get("rope_theta", 2) <= 1 or any(
            numbers[low] >= numbers[high] for low, high in pairwise(ordered[1:])
        ):
            return "has a rope_theta of 1 or less, or factors that are not in order"
        return None

    def _find_list_fault(
        self, config: Mapping[str, Any], rope: Mapping[str, Any], head: int
    ) -> str | None:
        """Whether a list has a positive number for each angle."""
        part = rope.get(FRACTION, config.get(FRACTION, self.fraction or 1))
        angles = int(head * part) // 2
        for name in ROPE_LISTS.get(rope.get("rope_type", rope.get("type")), ()):
            given = rope[name]
            if not (
                isinstance(given, list)
                and len(given) == angles
                and all(is_number(one) and one > 0 for one in given)
            ):
                return f"has a {name} that is not {angles} positive numbers"
        return None

    def _find_partial_fault(
        self, config: Mapping[str, Any], rope: Mapping[str, Any], head: int
    ) -> str | None:
        """Whether an even part of a head is turned. A proportional rotation turns pairs."""
        if not self.fraction or rope.get("rope_type") == "proportional":
            return None
        part = rope.get(FRACTION, config.get(FRACTION, self.fraction))
        if not 0 < part <= 1 or int(head * part) < 2 or int(head * part) % 2:
            return f"turns no even part of a head of {head}, by {FRACTION}"
        sections, turned = rope.get(SECTIONS), int(head * part) // 2
        if sections is not None and not (
            isinstance(sections, list)
            and len(sections) == 3
            and all(is_integer(section, 1, turned) for section in sections)
            and sum(sections) == turned
        ):
            return f"has an {SECTIONS} that is not three numbers whose sum is {turned}"
        return None


def _find_base_fault(rope: Mapping[str, Any], head: int) -> str | None:
    """Whether the base has no value: alpha to the power of d / (d − 2)."""
    kind = next((rope[name] for name in ROPE_NAMES if name in rope), None)
    if kind == "dynamic" and head <= 2:
        return f"has the type dynamic, which turns heads of more than 2, not of {head}"
    return None
