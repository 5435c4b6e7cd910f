"""Comparison of a program's output with the expected output, without the machine's floats.

Text agrees line by line, and values agree as in JSON. An expected decimal fraction may be missed by
a millionth. The output is never evaluated, and is read in time linear in its length.
"""

import json
import re
from functools import cache
from typing import Any, NoReturn

from assay.environments.base import BLANKS

#: Most levels of lists and objects in a value.
DEPTH_MAX = 32
#: A decimal fraction may miss the expected value by 1/`_NEAR` of it, or by 1/`_NEAR` below 1.
_NEAR = 10**6
_NUMBER = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]{0,40})(?:\.([0-9]{0,40}))?(?:[eE]([+-]?[0-9]{1,3}))?"
)
_WHOLE = re.compile("[+-]?[0-9]+")
_WORD = re.compile(f"[^{BLANKS}]+")
#: A string, or the unterminated start of one. Every search consumes all that it looks at.
_STRING = re.compile(r'"(?:[^"\\]|\\.?)*+"?')


class _Whole(str):
    """A whole number as JSON spells it."""

    __slots__ = ()


class _Decimal(str):
    """A number with a point or an exponent, as JSON spells it."""

    __slots__ = ()


def agree_exactly(expected: str, output: bytes) -> bool:
    """Whether the bytes are the same, apart from one line end at the end of either."""
    return output.removesuffix(b"\n") == expected.encode().removesuffix(b"\n")


def agree_as_text(expected: str, output: bytes) -> bool:
    """Whether the lines are the same, apart from blanks at the end of a line, empty lines at the
    end, and the tolerance for decimal fractions."""
    try:
        lines = _split(output.decode())
    except UnicodeDecodeError:
        return False
    wanted = _split(expected)
    return len(lines) == len(wanted) and all(map(_agree_lines, wanted, lines))


def _split(text: str) -> list[str]:
    return [line.rstrip(BLANKS) for line in text.rstrip(BLANKS).split("\n")]


def _agree_lines(expected: str, output: str) -> bool:
    if expected == output:
        return True
    wanted, words = _WORD.findall(expected), _WORD.findall(output)
    return len(wanted) == len(words) and all(map(_agree_words, wanted, words))


def _agree_words(expected: str, output: str) -> bool:
    return expected == output or (not _WHOLE.fullmatch(expected) and _is_near(expected, output))


def _is_near(expected: str, output: str) -> bool:
    first, second = _NUMBER.fullmatch(expected), _NUMBER.fullmatch(output)
    if first is None or second is None:
        return False
    (wanted, shift), (value, other) = _read_decimal(first), _read_decimal(second)
    least = min(shift, other, 0)
    wanted, value = wanted * _raise_ten(shift - least), value * _raise_ten(other - least)
    return abs(wanted - value) * _NEAR <= max(_raise_ten(-least), abs(wanted))


def _read_decimal(number: re.Match[str]) -> tuple[int, int]:
    """n and e of the number n · 10^e."""
    sign, whole, fraction, exponent = number.groups(default="")
    return int(f"{sign}{whole}{fraction}"), int(exponent or 0) - len(fraction)


@cache
def _raise_ten(exponent: int) -> int:
    return int(10**exponent)


def agree_as_value(expected: str, output: bytes) -> bool:
    """Whether the last line found is JSON of the same value; or of x if [x] is expected, because
    some sets of problems wrap it."""
    try:
        line = output.decode().rstrip("\n").rpartition("\n")[2]
        value = read_value(line)
    except (UnicodeDecodeError, ValueError):
        return False
    wanted = read_value(expected)
    if _agree_values(wanted, value):
        return True
    return isinstance(wanted, list) and len(wanted) == 1 and _agree_values(wanted[0], value)


def read_value(text: str) -> Any:
    """The value of a JSON text, its numbers as they are spelled.

    Raises:
        ValueError: the text is no JSON, or is nested deeper than `DEPTH_MAX`.
    """
    depth = 0
    for character in _STRING.sub("", text):
        depth += (character in "[{") - (character in "]}")
        if depth > DEPTH_MAX:
            raise ValueError(f"it is nested deeper than {DEPTH_MAX}")
    return json.loads(text, parse_int=_Whole, parse_float=_Decimal, parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _agree_values(expected: Any, output: Any) -> bool:
    if isinstance(expected, list) and isinstance(output, list):
        return len(expected) == len(output) and all(map(_agree_values, expected, output))
    if isinstance(expected, dict) and isinstance(output, dict):
        return expected.keys() == output.keys() and all(
            _agree_values(value, output[name]) for name, value in expected.items()
        )
    if isinstance(expected, _Decimal) and isinstance(output, _Decimal | _Whole):
        return _is_near(expected, output)
    return type(expected) is type(output) and expected == output
