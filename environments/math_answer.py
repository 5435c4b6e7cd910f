"""What an answer in mathematics says: its LaTeX read by a grammar of our own, exactly.

Numbers are sums of rational multiples of √n and of powers of π, with n an integer: what answers of
competition problems mostly are. Around them stand pairs, points and intervals, sets, unions of
intervals, and lists. Two spellings are the same answer where they read to equal values; nothing is
rounded, and nothing is guessed: what the grammar does not know has no value.

Every text is read in time linear in its length, with bounded numbers. There is no eval, no library
of symbols, and no step that depends on a machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NoReturn

#: Characters of an answer; digits of a number; bits of a numerator or denominator; largest radicand
#: and exponent; brackets within one another; terms of a sum.
TEXT_MAX = 512
_DIGITS_MAX, _BITS_MAX, _RADICAND_MAX, _EXPONENT_MAX, _DEPTH_MAX, _TERMS_MAX = (
    40,
    1_024,
    10**6,
    64,
    16,
    16,
)

#: (power of π, squarefree n) → coefficient of π^power · √n; without zeros. 0 is empty.
Terms = dict[tuple[int, int], Fraction]


@dataclass(frozen=True, slots=True)
class Number:
    """A sum of such terms, in order of their keys."""

    terms: tuple[tuple[tuple[int, int], Fraction], ...]


@dataclass(frozen=True, slots=True)
class Infinity:
    """±∞, as an interval ends in it."""

    sign: int


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Values in order between brackets: a point, a pair, an interval; `(1, 2)` may be any."""

    opening: str
    values: "tuple[Value, ...]"
    closing: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Values in no order: of a set in braces, of a list, of a union of intervals. kind: which."""

    kind: str
    values: "frozenset[Value]"


Value = Number | Infinity | Bracketed | Collection


@dataclass(frozen=True, slots=True)
class MathAnswer:
    """A value, and what stood beside it.

    Attributes:
        variable: the letter of `x = …` or `x ∈ …`; empty without one.
        unit: `%`, `$` or `°`; empty without one.
    """

    value: Value
    variable: str = ""
    unit: str = ""

    def agrees_with(self, other: "MathAnswer") -> bool:
        """Whether `other` says the same as this, the right one: the letter and the unit may be left
        out, and a letter may be named where this has none."""
        same_letter = not self.variable or other.variable in ("", self.variable)
        return self.value == other.value and same_letter and other.unit in ("", self.unit)


def read_math(text: str) -> MathAnswer | None:
    """The answer that a text spells, None where the grammar does not know it. Never raises."""
    if len(text) > TEXT_MAX:
        return None
    try:
        return _Reader(text).read_answer()
    except _UnknownError:
        return None


class _UnknownError(Exception):
    """The grammar does not know it."""


_TOKEN = re.compile(
    r"(?P<space>[ \t\n]+|\\[ ,;:!]|\\q?quad(?![a-zA-Z])|\\(?:left|right)(?![a-zA-Z])|~)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<command>\\(?:[a-zA-Z]+|[{}%$]))"
    r"|(?P<sign>[-+*/^(){}\[\],=%$\u2212\u221e\u03c0\u221a\u222a\u2208\u00b0])"
    r"|(?P<letter>[a-zA-Z])"
)
_ALIKE = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cdot": "*",
    "\\times": "*",
    "\\div": "/",
    "\u2212": "-",
    "\u221e": "\\infty",
    "\u03c0": "\\pi",
    "\u221a": "\\sqrt",
    "\u222a": "\\cup",
    "\u2208": "\\in",
    "\\%": "%",
    "\\$": "$",
    "\\lbrace": "\\{",
    "\\rbrace": "\\}",
    "\\degree": "\u00b0",
}
#: A comma that groups digits in threes, outside of brackets: `12,345`, `12{,}345`, `12\,345`.
_GROUPED = re.compile(r"(?<![0-9.,}])[0-9]{1,3}(?:(?:,|\{,\}|\\,)[0-9]{3})+(?![0-9]|,[0-9]|\{,\})")
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))")
_CLOSING = {"(": (")", "]"), "[": (")", "]")}


class _Reader:
    """Recursive descent over tokens."""

    def __init__(self, text: str) -> None:
        text = _unwrap(text.strip())
        text = _DEGREES.sub("\u00b0", text.removesuffix("."))
        if not any(bracket in text for bracket in "([{") or "{,}" in text:
            text = _GROUPED.sub(lambda found: re.sub(r"[^0-9]", "", found[0]), text)
        self._tokens = list(_split(text))
        self._place = self._depth = 0

    # --- tokens

    def _peek(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _take(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._place += 1
        return True

    def _need(self, *tokens: str) -> str:
        found = self._peek()
        if found not in tokens:
            _refuse()
        self._place += 1
        return found

    # --- an answer

    def read_answer(self) -> MathAnswer:
        variable = unit = ""
        if len(self._peek()) == 1 and self._peek().isalpha() and self._peek(1) in ("=", "\\in"):
            variable = self._peek()
            self._place += 2
        if self._take("$"):
            unit = "$"
        values = [self._read_item()]
        while self._take(","):
            values.append(self._read_item())
        if not unit and self._peek() in ("%", "\u00b0"):
            unit = self._need("%", "\u00b0")
        if self._peek():
            _refuse()
        value = values[0] if len(values) == 1 else Collection("list", frozenset(values))
        return MathAnswer(value, variable, unit)

    def _read_item(self) -> Value:
        """A value, or a union of intervals."""
        parts = [self._read_value()]
        while self._take("\\cup"):
            parts.append(self._read_value())
        if len(parts) == 1:
            return parts[0]
        if not all(isinstance(part, Bracketed | Collection) for part in parts):
            _refuse()
        return Collection("union", frozenset(parts))

    def _read_value(self) -> Value:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            _refuse()
        try:
            if self._take("\\{"):
                values = self._read_values()
                self._need("\\}")
                return Collection("set", frozenset(values))
            if self._peek() in _CLOSING and self._is_several():
                opening = self._need(*_CLOSING)
                values = self._read_values()
                return Bracketed(opening, tuple(values), self._need(*_CLOSING[opening]))
            sign = -1 if self._peek() == "-" else 1
            if self._peek(self._peek() in ("-", "+")) == "\\infty":
                self._place += 1 + (self._peek() in ("-", "+"))
                return Infinity(sign)
            return _pack(self._read_sum())
        finally:
            self._depth -= 1

    def _read_values(self) -> list[Value]:
        values = [self._read_value()]
        while self._take(","):
            values.append(self._read_value())
        return values

    def _is_several(self) -> bool:
        """Whether a comma stands within the bracket that opens here, and in no other in it."""
        depth = 0
        for token in self._tokens[self._place :]:
            if token in ("(", "[", "{", "\\{"):
                depth += 1
            elif token in (")", "]", "}", "\\}"):
                depth -= 1
                if not depth:
                    return False
            elif token == "," and depth == 1:
                return True
        return False

    # --- a number

    def _read_sum(self) -> Terms:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            _refuse()
        sign = -1 if self._take("-") else 1
        if sign == 1:
            self._take("+")
        total = _scale(self._read_product(), Fraction(sign))
        while self._peek() in ("+", "-"):
            sign = 1 if self._need("+", "-") == "+" else -1
            total = _add(total, _scale(self._read_product(), Fraction(sign)))
        self._depth -= 1
        return total

    def _read_product(self) -> Terms:
        whole = self._peek().isdecimal()
        value = self._read_power()
        if whole and self._peek() == "\\frac":  # a mixed number
            part = self._read_power()
            fraction = part.get((0, 1), Fraction(0))
            if part.keys() <= {(0, 1)} and 0 < fraction < 1:
                value = _add(value, part)
            else:
                value = _multiply(value, part)
        while True:
            if self._take("*"):
                value = _multiply(value, self._read_power())
            elif self._take("/"):
                value = _divide(value, self._read_power())
            elif self._peek() in ("\\sqrt", "\\pi", "(", "\\frac"):
                value = _multiply(value, self._read_power())
            else:
                return value

    def _read_power(self) -> Terms:
        base = self._read_base()
        if not self._take("^"):
            return base
        braced = self._take("{")
        sign = -1 if self._take("-") else 1
        digits = self._peek()
        if not digits.isdecimal() or (not braced and (len(digits) > 1 or sign < 0)):
            _refuse()
        self._place += 1
        if braced:
            self._need("}")
        exponent = int(digits) if len(digits) <= 2 else _refuse()
        if exponent > _EXPONENT_MAX:
            _refuse()
        value = {(0, 1): Fraction(1)}
        for _ in range(exponent):
            value = _multiply(value, base)
        return value if sign > 0 else _divide({(0, 1): Fraction(1)}, value)

    def _read_base(self) -> Terms:
        token = self._peek()
        if token[:1].isdecimal() or token[:1] == ".":
            self._place += 1
            if len(token) > _DIGITS_MAX or (token[0] == "0" and token[1:2].isdecimal()):
                _refuse()
            return _trim({(0, 1): Fraction(token)})
        self._place += 1
        if token == "\\pi":
            return {(1, 1): Fraction(1)}
        if token == "\\frac":
            above, below = self._read_argument(), self._read_argument()
            return _divide(above, below)
        if token == "\\sqrt":
            return _root(self._read_argument())
        if token == "(":
            value = self._read_sum()
            self._need(")")
            return value
        _refuse()

    def _read_argument(self) -> Terms:
        """Of a command: in braces, or one digit, as in `\\frac12`."""
        if self._take("{"):
            value = self._read_sum()
            self._need("}")
            return value
        token = self._peek()
        if not token.isdecimal():
            _refuse()
        if len(token) == 1:
            self._place += 1
        else:  # the first digit alone
            self._tokens[self._place] = token[1:]
        return _trim({(0, 1): Fraction(int(token[0]))})


def _unwrap(text: str) -> str:
    """Without the `$…$` or `\\boxed{…}` around all of it."""
    if len(text) > 2 and text[0] == text[-1] == "$" and text.count("$") == 2:
        text = text[1:-1].strip()
    if text.startswith("\\boxed{") and text.endswith("}"):
        text = text.removeprefix("\\boxed{")[:-1].strip()
    return text


def _split(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            _refuse()
        place = found.end()
        if found.lastgroup != "space":
            yield _ALIKE.get(found[0], found[0])


def _refuse() -> NoReturn:
    raise _UnknownError


# --- sums of terms. Each result is bounded, so that no text makes a number that takes long


def _trim(terms: Terms) -> Terms:
    kept = {key: value for key, value in terms.items() if value}
    if len(kept) > _TERMS_MAX:
        _refuse()
    for (power, _), value in kept.items():
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _BITS_MAX:
            _refuse()
        if abs(power) > _EXPONENT_MAX:
            _refuse()
    return kept


def _pack(terms: Terms) -> Number:
    return Number(tuple(sorted(terms.items())))


def _scale(terms: Terms, factor: Fraction) -> Terms:
    return _trim({key: value * factor for key, value in terms.items()})


def _add(one: Terms, other: Terms) -> Terms:
    return _trim({key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}})  # type: ignore[misc]


def _multiply(one: Terms, other: Terms) -> Terms:
    product: Terms = {}
    for (power, n), value in one.items():
        for (other_power, m), other_value in other.items():
            square, rest = _split_square(n * m)
            key = power + other_power, rest
            product[key] = product.get(key, Fraction(0)) + value * other_value * square
    return _trim(product)


def _divide(one: Terms, other: Terms) -> Terms:
    """By a single term, or by a sum of two without π: by its conjugate over its norm."""
    if len(other) == 2 and all(power == 0 for power, _ in other):
        (first, a), (second, b) = sorted(other.items())
        conjugate = {first: a, second: -b}
        return _divide(_multiply(one, conjugate), _multiply(other, conjugate))
    if len(other) != 1:
        _refuse()
    (((power, n), value),) = other.items()
    # 1 / (v · √n) = √n / (v · n)
    return _multiply(one, {(-power, n): 1 / (value * n)})


def _root(terms: Terms) -> Terms:
    """Of a rational that is not negative: √(a / b) = √(a · b) / b."""
    if not terms:
        return {}
    if terms.keys() != {(0, 1)} or terms[0, 1] < 0:
        _refuse()
    value = terms[0, 1]
    square, rest = _split_square(value.numerator * value.denominator)
    return _trim({(0, rest): Fraction(square, value.denominator)})


def _split_square(n: int) -> tuple[int, int]:
    """s, r with n = s² · r and r free of squares."""
    if n > _RADICAND_MAX:
        _refuse()
    square, divisor = 1, 2
    while divisor * divisor <= n:
        while n % (divisor * divisor) == 0:
            n //= divisor * divisor
            square *= divisor
        divisor += 1
    return square, n
