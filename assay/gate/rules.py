"""Rules for values of JSON: what each says to people, and whether a value follows it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from assay.protocol.encoding import Json

#: Most characters of one token's text.
TOKEN_MAX = 512


class UnfitError(ValueError):
    """A value that the gate refuses. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for one field.

    Attributes:
        about: what a value must be, for people.
        holds: whether a value follows it.
        required: whether the field must be there.
    """

    about: str
    holds: Callable[[Json], bool]
    required: bool = True

    @property
    def optional(self) -> "Rule":
        """The same rule for a field that may be left out."""
        return Rule(self.about, self.holds, required=False)


def is_text(value: Json, least: int = 1, most: int = TOKEN_MAX) -> bool:
    """Whether a value is a text of so many characters that UTF-8 can write."""
    if type(value) is not str or not least <= len(value) <= most:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def is_integer(value: Json, least: int, most: int) -> bool:
    """Whether a value is an integer within bounds, and not a truth value."""
    return type(value) is int and least <= value <= most


def make_text(least: int, most: int) -> Rule:
    """A text of `least` to `most` characters."""
    return Rule(f"text of {least} to {most} characters", lambda v: is_text(v, least, most))


def make_choice(*choices: str | None) -> Rule:
    """One of these texts."""
    names = ", ".join("null" if choice is None else f'"{choice}"' for choice in choices)
    return Rule(names, lambda v: (v is None or type(v) is str) and v in choices)


def make_number(least: int, most: int) -> Rule:
    """An integer within bounds."""
    about = str(least) if least == most else f"{least} to {most}"
    return Rule(about, lambda v: is_integer(v, least, most))


FLAG = Rule("true or false", lambda v: type(v) is bool)
NOTHING = Rule("null", lambda v: v is None)
TOKEN = make_text(1, TOKEN_MAX)
CHARACTER = make_text(1, 1)


def require_fields(
    value: Json, rules: Mapping[str, Rule], where: str, others: Collection[str] = ()
) -> None:
    """Raise an UnfitError unless a value is an object with fields that follow the rules.

    Args:
        where: the object, in messages; empty for the whole file.
        others: names of further fields, which the caller checks.
    """
    if not isinstance(value, dict):
        raise UnfitError(f"{where or 'it'} is not an object")
    if unknown := sorted(value.keys() - rules.keys() - {*others}):
        name = unknown[0][:60]
        raise UnfitError(f"{where or 'it'} has a field {name!r} that is not known here")
    for name, rule in rules.items():
        if name not in value:
            if rule.required:
                raise UnfitError(f"{where or 'it'} lacks {name}")
        elif not rule.holds(value[name]):
            place = f"{name} of {where}" if where else name
            raise UnfitError(f"{place} is not {rule.about}")


def require_type(value: Json, kinds: Collection[str], where: str) -> str:
    """The `type` of an object. Raises an UnfitError unless it is one of `kinds`."""
    kind = value.get("type") if isinstance(value, dict) else None
    if type(kind) is not str or kind not in kinds:
        raise UnfitError(f"{where} has none of the types {', '.join(sorted(kinds))}")
    return kind
