"""Whether what a program wrote is what was expected, without the machine's floats.

Text agrees line by line, values agree as JSON does; a decimal fraction that is expected may be
missed by a millionth. What a program wrote is never evaluated, and read in time linear in it.
"""

import json
import re
from fractions import Fraction
from typing import Any, NoReturn

#: Levels of lists and objects in a value.
DEPTH_MAX = 32
#: Of what is expected 1/`_NEAR`, and of numbers below 1 that much, a decimal fraction may miss.
_NEAR = 10**6
_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"
)
#: A string, or what begins as one and does not end: every search takes all that it looks at.
_STRING = re.compile(r'"(?:[^"\\]|\\.?)*+"?')


class _Whole(str):
    """A whole number as JSON spells it."""

    __slots__ = ()


class _Decimal(str):
    """A number with a point or an exponent, as JSON spells it."""

    __slots__ = ()


def agree_exactly(expected: str, found: bytes) -> bool:
    """The same bytes, but for one line end at the end of either."""
    return found.removesuffix(b"\n") == expected.encode().removesuffix(b"\n")


def agree_as_text(expected: str, found: bytes) -> bool:
    """The same lines, but for blanks that end a line, empty lines at the end, and by how much
    decimal fractions may miss."""
    try:
        lines = _split(found.decode())
    except UnicodeDecodeError:
        return False
    wanted = _split(expected)
    return len(lines) == len(wanted) and all(map(_agree_lines, wanted, lines))


def _split(text: str) -> list[str]:
    return [line.rstrip(" \t\r") for line in text.rstrip(" \t\r\n").split("\n")]


def _agree_lines(expected: str, found: str) -> bool:
    if expected == found:
        return True
    wanted, words = expected.split(), found.split()
    return len(wanted) == len(words) and all(map(_agree_words, wanted, words))


def _agree_words(expected: str, found: str) -> bool:
    return expected == found or (not expected.lstrip("+-").isdigit() and _is_near(expected, found))


def _is_near(expected: str, found: str) -> bool:
    if not _NUMBER.fullmatch(expected) or not _NUMBER.fullmatch(found):
        return False
    wanted, value = Fraction(expected), Fraction(found)
    return abs(wanted - value) * _NEAR <= max(Fraction(1), abs(wanted))


def agree_as_value(expected: str, found: bytes) -> bool:
    """The last line found is JSON of the same value; or of x, where [x] is expected, as some sets
    of problems wrap it."""
    try:
        line = found.decode().rstrip("\n").rpartition("\n")[2]
        value = read_value(line)
    except (UnicodeDecodeError, ValueError):
        return False
    wanted = read_value(expected)
    if _agree_values(wanted, value):
        return True
    return isinstance(wanted, list) and len(wanted) == 1 and _agree_values(wanted[0], value)


def read_value(text: str) -> Any:
    """JSON, its numbers as they are spelled.

    Raises:
        ValueError: it is none, or is nested deeper than `DEPTH_MAX`.
    """
    depth = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        if depth > DEPTH_MAX:
            raise ValueError(f"it is nested deeper than {DEPTH_MAX}")
    return json.loads(text, parse_int=_Whole, parse_float=_Decimal, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _agree_values(expected: Any, found: Any) -> bool:
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_agree_values, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            _agree_values(value, found[name]) for name, value in expected.items()
        )
    if isinstance(expected, _Decimal) and isinstance(found, _Decimal | _Whole):
        return _is_near(expected, found)
    return type(expected) is type(found) and expected == found
