"""Kinds of instructions: the arguments that a file gives each, and the check of a reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.environments.base import BLANKS

#: Limits of arguments: characters of a text that a reply repeats, of one that is searched for, of
#: all those of a list together; texts of a list; a count.
TEXT_MAX, SOUGHT_MAX, SOUGHTS_MAX, LIST_MAX, COUNT_MAX = 8_192, 256, 1_024, 32, 10**6
LESS, LEAST = "less than", "at least"

Check = Callable[[str], bool]
Reader = Callable[[Any], Any]


class ArgumentError(ValueError):
    """An instruction's arguments are not those that its kind takes."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of instruction: how each argument that a file names is read, and `check`, which takes
    a reply and the arguments in their order."""

    readers: Mapping[str, Reader]
    check: Callable[..., bool]

    def bind(self, given: Mapping[str, Any]) -> Check:
        """The check of a reply. Arguments that are null, and those of other kinds, do not count.

        Raises:
            ArgumentError: an argument is missing, or is not what it should be.
        """
        arguments = []
        for name, read in self.readers.items():
            try:
                arguments.append(read(given.get(name)))
            except ArgumentError as error:
                raise ArgumentError(f"{name} {error}") from None
            except (TypeError, AttributeError, LookupError):  # a list for text, …
                raise ArgumentError(f"{name} has a value of another type") from None
        return lambda text: self.check(text, *arguments)


def read_count(value: Any) -> int:
    """A whole number of 0 and more. Parquet makes numbers with a point of a column with gaps."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= COUNT_MAX:
        raise ArgumentError(f"is {str(value)[:40]}, not a number of 0 to {COUNT_MAX}")
    return value


def read_place(value: Any) -> int:
    """A whole number of 1 and more."""
    if read_count(value) == 0:
        raise ArgumentError("is 0: places begin with 1")
    return read_count(value)


def read_text(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip(BLANKS)) <= len(value) <= TEXT_MAX:
        raise ArgumentError(f"is {str(value)[:40]!r}, not a text of 1 to {TEXT_MAX} characters")
    return value.strip(BLANKS)


def read_sought(value: Any) -> str:
    text = read_text(value)
    if len(text) > SOUGHT_MAX:
        raise ArgumentError(f"has {len(text)} characters, more than {SOUGHT_MAX}")
    return text


def read_soughts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= LIST_MAX:
        raise ArgumentError(f"is {str(value)[:40]}, not a list of 1 to {LIST_MAX} texts")
    texts = tuple(map(read_sought, value))
    if sum(map(len, texts)) > SOUGHTS_MAX:
        raise ArgumentError(f"has more than {SOUGHTS_MAX} characters")
    return texts


def read_letter(value: Any) -> str:
    text = read_text(value)
    if len(text) != 1:
        raise ArgumentError(f"is {text[:40]!r}, not one letter")
    return text


def read_relation(value: Any) -> str:
    if value not in (LESS, LEAST):
        raise ArgumentError(f"is {str(value)[:40]!r}, not {LESS!r} or {LEAST!r}")
    return str(value)


COUNT, PLACE, TEXT = read_count, read_place, read_text
SOUGHT, SOUGHTS = read_sought, read_soughts
LETTER, RELATION = read_letter, read_relation


def compare(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == LESS else count >= bound
