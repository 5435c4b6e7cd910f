"""A calculator: the exact value of an expression of numbers, + - * / ** and brackets.

    Calculator().call("(3+4)*12/5", None)   # ("16.8", None)
    Calculator().call("22/7", None)         # ("22/7, about 3.142857", None)

Values are fractions of whole numbers, so no float is involved, and each has one way to be written.
"""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from operator import add, mul, neg, pos, sub

from assay.environments.base import BLANKS

#: Most characters of an expression, most decimal digits of a numerator or denominator, largest
#: exponent.
TEXT_MAX, DIGITS_MAX, POWER_MAX = 256, 40, 256
#: A value is written as a decimal if it has at most these places; others are rounded to so many.
PLACES_MAX, PLACES = 12, 6
_END = 10**DIGITS_MAX
_TOKEN = re.compile(rf"[{BLANKS}]*([0-9]+(?:\.[0-9]+)?|\.[0-9]+|\*\*|[-+*/^()])")
#: How strongly operations bind. A sign binds less than a power, so -2**2 is -4.
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2, "sign +": 3, "sign -": 3, "**": 4}
_POWER, _DIGITS = "**", "0123456789"
_SPELT = {"^": _POWER}


class _Fault(Exception):
    """What the reply says of an expression."""


class Calculator:
    """See `Tool`."""

    name, version, argument = "calculator", 1, "expression"
    about = "Computes the exact value of an arithmetic expression."
    argument_about = "an expression of numbers, + - * / ** and brackets, such as (3+4)*12/5"
    is_one_line = True
    proof_arguments = (
        *("6*7", "(3+4)*12/5", "22/7", "-1/3", "2**-3", "-2**2", "2**3**2", "2*-3+1", "1/8192"),
        *("1/8191", "007", "2^10", "--1", "0**0", "1/1024/1024/1024", "10**39*10", "1/10**39/10"),
        *("1/0", "0**-1", "2**257", "2**0.5", "2**140", "1+", "*1", "(1", "1)", "()", "1.", "1e5"),
        *("1,000", "5%", "x", "2\u00d73", "\uff11", "(((1)))", ".5 + 1.50", "", " \t", "1 2"),
        *("1/0 1", "9" * 40, "9" * 40 + "+1", "1+" * 127 + "1", "1" * 256, "1" * 257, "(" * 256),
    )

    identity: tuple[bytes, ...] = ()
    scorers = 1

    def require(self) -> None:
        """See `Tool.require`. It needs nothing."""

    def call(self, argument: str, memory: object) -> tuple[str, object]:
        """See `Tool.call`. No call depends on those before."""
        try:
            return write_value(evaluate(argument)), memory
        except _Fault as fault:
            return f"error: {fault}", memory


def evaluate(text: str) -> Fraction:
    """The value of an expression. Raises a _Fault that says what is wrong with it."""
    values: list[Fraction] = []
    for word in _order(_split(text)):
        if word in _SIGNS:
            values.append(_SIGNS[word](values.pop()))
        elif word in _OPERATIONS:
            right = values.pop()
            values.append(_bound(_OPERATIONS[word](values.pop(), right)))
        else:
            values.append(_bound(Fraction(word)))
    (value,) = values
    return value


def write_value(value: Fraction) -> str:
    """A value in its one spelling: whole, as a decimal, or as a fraction and what it is about."""
    sign, size = "-" if value < 0 else "", abs(value)
    places = next((n for n in range(PLACES_MAX + 1) if 10**n % size.denominator == 0), None)
    if places is not None:
        return sign + _write_decimal(size, places)
    return f"{value}, about {sign}{_write_decimal(size, PLACES)}"


def _write_decimal(size: Fraction, places: int) -> str:
    """A value of 0 or more, rounded; a half goes up."""
    scaled = (size.numerator * 10**places * 2 + size.denominator) // (size.denominator * 2)
    digits = f"{scaled:0{places + 1}}"
    return digits if not places else f"{digits[:-places]}.{digits[-places:]}"


def _split(text: str) -> list[str]:
    if len(text) > TEXT_MAX:
        raise _Fault("the expression is too long")
    text = text.rstrip(BLANKS)
    tokens: list[str] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _unreadable()
        tokens.append(_SPELT.get(found[1], found[1]))
        at = found.end()
    return tokens


def _unreadable() -> _Fault:
    return _Fault("the expression cannot be read: use numbers, + - * / ** and brackets")


def _order(tokens: Sequence[str]) -> list[str]:
    """Numbers and operations in the order in which they are computed, each operation behind its
    values (Dijkstra's shunting yard). So what cannot be read is found before anything is
    computed."""
    ordered: list[str] = []
    waiting: list[str] = []
    wants_value = True

    def release(least: int) -> None:
        """Take what binds at least so strongly, up to a bracket."""
        while waiting and waiting[-1] != "(" and _BINDS[waiting[-1]] >= least:
            ordered.append(waiting.pop())

    for token in tokens:
        if wants_value:
            if token in "+-":
                waiting.append(f"sign {token}")
            elif token == "(":
                waiting.append(token)
            elif token[-1] in _DIGITS:
                ordered.append(token)
                wants_value = False
            else:
                raise _unreadable()
        elif token == ")":
            release(0)
            if not waiting:
                raise _unreadable()
            waiting.pop()
        elif token in _BINDS:
            release(_BINDS[token] + (token == _POWER))  # of powers the last is computed first
            waiting.append(token)
            wants_value = True
        else:
            raise _unreadable()
    release(0)
    if wants_value or waiting:
        raise _unreadable()
    return ordered


def _divide(left: Fraction, right: Fraction) -> Fraction:
    if not right:
        raise _Fault("a division by zero")
    return left / right


def _raise(base: Fraction, power: Fraction) -> Fraction:
    if power.denominator != 1 or abs(power) > POWER_MAX:
        raise _Fault(f"a power is a whole number from -{POWER_MAX} to {POWER_MAX}")
    if not base and power < 0:
        raise _Fault("a division by zero")
    return Fraction(base ** int(power))


_SIGNS: dict[str, Callable[[Fraction], Fraction]] = {"sign +": pos, "sign -": neg}
_OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    **{"+": add, "-": sub, "*": mul},
    **{"/": _divide, _POWER: _raise},
}


def _bound(value: Fraction) -> Fraction:
    if abs(value.numerator) >= _END or value.denominator >= _END:
        raise _Fault(f"a number has more than {DIGITS_MAX} digits")
    return value
