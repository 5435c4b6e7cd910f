r"""The exact value of a mathematical answer in LaTeX, read by a grammar of our own.

    text                    is read as
    0.5                     1/2
    \dfrac12                1/2
    3\frac{1}{2}            7/2
    12,345                  12345
    \frac{2}{\sqrt{3}}      2/3·√3
    \frac{1}{1+\sqrt{2}}    -1 + √2
    1 + \frac{4\pi}{3}      1 + 4/3·π
    (1, \frac{2}{4})        (1, 1/2)
    [0, \infty)             [0, ∞)
    [2,3) \cup (-\infty,1)  (-∞, 1) or [2, 3)
    \{3, 1, 1\}             {1, 3}
    3, 1, 1                 1, 1, 3
    5 \text{ or } 7         5, 7
    \pm 2                   -2, 2
    x = 5                   x = 5
    5\text{ cm}^2           5 cm^2
    50\%                    50 %
    x + 1                   nothing
    0.333...                nothing

A number is a sum of rational multiples of √n and of powers of π, with n an integer: most answers
of competition problems are such numbers. The grammar also reads points, intervals, sets, unions of
intervals, and lists. Two spellings are the same answer if their values are equal. Nothing is
rounded or guessed: a text that the grammar does not know has no value.

Reading takes time linear in the text's length, and all numbers are bounded. The module uses no
eval, no symbolic library and nothing that depends on the machine.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from math import gcd

from assay.environments.math_question import PERCENTAGE, Question
from assay.environments.math_terms import (
    EXPONENT_MAX,
    PRODUCTS_MAX,
    Terms,
    UnknownError,
    add,
    divide,
    multiply,
    refuse,
    root,
    scale,
    trim,
)
from assay.environments.math_tokens import COUNTED, UNIT, WORD_COMMA, split_answer

#: Limits: characters of an answer, digits of a number, nested brackets, signs ± in an answer.
TEXT_MAX = 512
_DIGITS_MAX, _DEPTH_MAX, _CHOICES_MAX = 40, 16, 4
#: Characters of an answer whose value is kept.
_SHORT = 16
#: A whole number or a fraction of two, as most answers are: it needs no grammar.
_WHOLE = re.compile(r"-?[1-9][0-9]{0,39}")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([1-9][0-9]{0,17})\}\{([1-9][0-9]{0,17})\}")
#: Most tokens that are looked at beyond the next one, and those that a text without an end takes.
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Number:
    """The terms of a sum (see `math_terms.Terms`), in order of their keys."""

    terms: tuple[tuple[tuple[int, int], Fraction], ...]


@dataclass(frozen=True, slots=True)
class Infinity:
    """±∞, an end of an interval."""

    sign: int


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Values in order between brackets: a point or an interval. `(1, 2)` may be either."""

    opening: str
    values: "tuple[Value, ...]"
    closing: str


@dataclass(frozen=True, slots=True)
class Collection:
    """Values without order.

    Attributes:
        kind: `set`, `list` or `union`, the last of intervals.
        values: each value with the number of times that it occurs; always 1 but in a list.
    """

    kind: str
    values: "frozenset[tuple[Value, int]]"


Value = Number | Infinity | Bracketed | Collection


@dataclass(frozen=True, slots=True)
class MathAnswer:
    """A value with its letter and unit.

    Attributes:
        variable: the name of `x = …` or `x ∈ …`; empty without one.
        unit: `%`, `$`, `°` or one of `UNITS`, which `^2` or `^3` may follow; empty without one, or
            if it is the question's. `PERCENTAGE` is `%` where the question asks for a percentage.
        undone: number of operations that the text leaves to do; see `_Reader`.
        undivided: number of quotients of single terms that are whole or not in lowest terms.
        unreduced: number of fractions, roots and products that are not in lowest terms.
        notations: those of the text, of `decimal`, `fraction` and `mixed`.
    """

    value: Value
    variable: str = ""
    unit: str = ""
    undone: int = 0
    undivided: int = field(default=0, compare=False)
    unreduced: int = field(default=0, compare=False)
    notations: frozenset[str] = field(default=frozenset(), compare=False)

    def agrees_with(self, other: "MathAnswer") -> bool:
        """Whether `other` is the same answer as this one, the right one.

        `other` may omit the letter and the unit, and may name a letter if this one has none. It
        must not leave more operations undone: repeating the question's expression is no answer.
        A percentage that the question asks for answers a right one without a unit only where that
        is in percent for certain; see `may_be_share`."""
        same_letter = not self.variable or other.variable in ("", self.variable)
        if other.variable.startswith("(") and other.variable != self.variable:
            return False  # nothing says in which order
        same_unit = other.unit in ("", self.unit)
        if other.unit == PERCENTAGE and not self.unit:
            same_unit = not self.may_be_share
        same = same_letter and same_unit and _is_same(self.value, other.value)
        return same and not other.leaves_more(self)

    @property
    def may_be_share(self) -> bool:
        """Whether nobody knows if this answer to a question for a percentage is in percent: it has
        no unit, and a number below 1, or an irrational one. `0.5` is 50 % or half a percent."""
        return not self.unit and not all(map(_is_percent, _iterate_numbers(self.value)))

    def leaves_more(self, right: "MathAnswer") -> bool:
        """Whether this leaves more to do than the right answer does."""
        return self.undone > right.undone or self.undivided > right.undivided

    @property
    def size(self) -> int:
        """The number of values that count one by one: those of a set or a list, else 1."""
        value = self.value
        if isinstance(value, Collection) and value.kind != "union":
            return sum(count for _, count in value.values)
        return 1

    def count_met(self, other: "MathAnswer") -> int:
        """How many of these values `other`, which is not the same answer, has, less those that it
        has beside them: a longer list of guesses gains nothing."""
        if other.unit not in ("", self.unit) or other.variable not in ("", self.variable):
            return 0
        own, given = _count_values(self.value), _count_values(other.value)
        met = (own & given).total()
        beside = given.total() - met
        return 0 if other.leaves_more(self) else max(0, min(met, own.total() - 1) - beside)


def _iterate_numbers(value: Value) -> Iterator[Number]:
    if isinstance(value, Number):
        yield value
    elif isinstance(value, Bracketed):
        for part in value.values:
            yield from _iterate_numbers(part)
    elif isinstance(value, Collection):
        for part, _ in value.values:
            yield from _iterate_numbers(part)


def _is_percent(number: Number) -> bool:
    """Whether a number, if it is a percentage, is in percent: files write shares below 1."""
    return all(key in _RATIONAL and abs(share) >= 1 for key, share in number.terms)


def _is_same(right: Value, value: Value) -> bool:
    """Whether two values are equal. A set may be written without its braces, and a list, in which
    each value occurs once, with braces."""
    if right == value:
        return True
    if not isinstance(right, Collection) or right.kind == "union":
        return False
    given = value.values if isinstance(value, Collection) else frozenset({(value, 1)})
    kind = value.kind if isinstance(value, Collection) else "list"
    return kind in ("set", "list") and kind != right.kind and given == right.values


def _count_values(value: Value) -> "Counter[Value]":
    if isinstance(value, Collection) and value.kind != "union":
        return Counter(dict(value.values))
    return Counter((value,))


def read_math(
    text: str, question: Question | None = None, listed: bool = False
) -> MathAnswer | None:
    """The answer that a text spells. None if the grammar does not know the text. Never raises.

    Args:
        question: that it answers, which may name units.
        listed: commas between digits separate values: the right answer has several.
    """
    if len(text) > TEXT_MAX:
        return None
    answer = (_read_short if len(text) <= _SHORT else _read_alone)(text, listed)
    if answer is None or not (answer.unit or answer.variable):
        return answer
    question = question or Question()
    unit, variable = question.settle_unit(answer.unit), answer.variable
    if variable.startswith("(") and question.names_point(variable):
        variable = ""
    return None if unit is None else replace(answer, unit=unit, variable=variable)


def _read_alone(text: str, listed: bool) -> MathAnswer | None:
    """The answer that a text spells, with whatever unit it has."""
    if _WHOLE.fullmatch(text):
        return MathAnswer(Number((((0, 1), Fraction(int(text))),)))
    if (plain := _FRACTION.fullmatch(text)) is not None:
        above, below = int(plain[2]), int(plain[3])
        number = Number((((0, 1), Fraction(-above if plain[1] else above, below)),))
        undivided = int(below == 1 or gcd(above, below) > 1)
        return MathAnswer(number, "", "", 0, undivided, undivided, frozenset({"fraction"}))
    try:
        return _Reader(text, listed).read_answer()
    except UnknownError:
        return None


#: Most answers of a file are short and occur again. What strangers write is mostly longer.
_read_short = lru_cache(1 << 14)(_read_alone)


def is_listed(answer: MathAnswer) -> bool:
    """Whether commas separate the values of such an answer."""
    return isinstance(answer.value, Collection) and answer.value.kind != "union"


_CLOSING = {"(": (")", "]"), "[": (")", "]")}
#: Tokens of which one goes on with a sum, and with a product; those that end a sum.
_SIGNS = frozenset(("+", "-", "\\pm"))
_FACTORS = frozenset(("*", "/", "\\sqrt", "\\pi", "(", "\\frac"))
_ENDS = frozenset((",", ")", "]", "}", "\\}", ""))


#: Keys of the terms of a rational number.
_RATIONAL = {(0, 1)}
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_GREEK = frozenset(
    f"\\{name}"
    for name in (
        *("alpha", "beta", "gamma", "delta", "theta", "lambda", "mu"),
        *("rho", "sigma", "tau", "phi", "varphi", "omega"),
    )
)


def _is_letter(token: str) -> bool:
    return token in _GREEK or (len(token) == 1 and token.isascii() and token.isalpha())


class _Reader:
    r"""A recursive-descent parser over tokens.

    It counts the operations that the text leaves undone: a sum with like terms or with 0; a product
    of two rationals or of two sums, or of two terms whose rational factors can be multiplied or
    cancelled; a division of or by a rational that is not an integer; a product or a division of two
    terms that share a root or π; a power of anything but π; a root whose value is rational.

    Quotients of single terms that it leaves undivided are counted apart: the question's own numbers
    are such a one. So is what it leaves unreduced: a fraction that is not in lowest terms, or has a
    root or 1 below; a root of anything but a squarefree integer; a product of a number and a sum.
    What a square under a root adds to a factor, `2\sqrt{12}`, is unreduced and no more.
    """

    def __init__(self, text: str, listed: bool) -> None:
        # no look ahead ends beyond the empty ones
        self._tokens = [*split_answer(text, listed), *[""] * _AHEAD]
        self._undivided, self._unreduced, self._notations = 0, 0, set[str]()
        if self._tokens.count("\\pm") > _CHOICES_MAX:
            refuse()
        self._place = self._depth = self._products = self._undone = 0
        self._squares = 0  # roots read so far of which a square can be taken out
        #: Signs ± read so far, and the value, 1 or -1, of the one being read.
        self._choices, self._chosen = 0, 1

    # --- tokens

    def _peek(self, ahead: int = 0) -> str:
        return self._tokens[self._place + ahead]

    def _take(self, token: str) -> bool:
        if self._tokens[self._place] != token:
            return False
        self._place += 1
        return True

    def _need(self, *tokens: str) -> str:
        token = self._peek()
        if token not in tokens:
            refuse()
        self._place += 1
        return token

    # --- an answer

    def read_answer(self) -> MathAnswer:
        variable, unit = self._read_variable(), ""
        is_member = bool(variable) and self._take("\\in")
        if not is_member:
            self._take("=")
        if self._peek() in ("-", "+") and self._peek(1) == "$":  # -$5
            self._tokens[self._place : self._place + 2] = "$", self._peek()
        if self._take("$"):
            unit = "$"
        values = self._read_choices(self._read_item)
        unit = self._read_unit(unit)
        if is_member and not all(isinstance(one, Bracketed | Collection) for one in values):
            refuse()
        while self._take(",") or self._take(WORD_COMMA):
            if variable and (again := self._read_variable()):  # x = 1, x = 2
                if again != variable:
                    refuse()
                self._need("=")
            values += self._read_choices(self._read_item)
            unit = self._read_unit(unit)
        if self._peek():
            refuse()
        value = values[0] if len(values) == 1 else _collect("list", values)
        if unit.startswith(COUNTED) and not isinstance(value, Number):
            refuse()
        left = self._undone, self._undivided, self._unreduced
        return MathAnswer(value, variable, unit, *left, frozenset(self._notations))

    def _read_variable(self) -> str:
        """Read what stands before `=` or `\\in`, if anything does: a letter, which an index may
        follow; two or three capitals, an angle's or a segment's name; letters in brackets. The
        index is no part of the name: x_1 = 1, x_2 = 2."""
        place = self._place
        if self._peek() in ("m", "\\angle") and "\\angle" in (self._peek(), self._peek(1)):
            self._place += 1 + (self._peek() == "m")
        start = self._place
        if self._take("("):
            while _is_letter(self._peek()) and self._peek(1) in (",", ")"):
                self._place += 2
            name = "".join(self._tokens[start : self._place])
            complete = name.endswith(")") and name.count(",") > 0
        else:
            while self._place < start + 3 and self._peek() in _CAPITALS:
                self._place += 1
            if self._place == start and _is_letter(self._peek()):
                self._place += 1
            name = "".join(self._tokens[start : self._place])
            complete = bool(name)
            if len(name) == 1 and self._take("_"):
                braced = self._take("{")
                complete = self._peek().isdecimal() or _is_letter(self._peek())
                self._place += 1
                complete = complete and (not braced or self._take("}"))
        if complete and self._peek() in ("=", "\\in"):
            return name
        self._place = place
        return ""

    def _read_unit(self, known: str) -> str:
        """Read a unit if one comes next. All values of an answer must have the same unit."""
        unit = self._peek()
        if unit in ("%", "$", "\u00b0"):
            self._place += 1
        elif unit.startswith(UNIT):
            self._place += 1
            unit = unit.removeprefix(UNIT)
            if unit.startswith(COUNTED):
                pass
            elif self._take("^"):
                braced = self._take("{")
                unit += "^" + self._need("2", "3")
                if braced:
                    self._need("}")
        else:
            return known
        return unit if known in ("", unit) else refuse()

    def _read_choices(self, read: "Callable[[], Value]") -> "list[Value]":
        """Read one value, or two if it contains a ±. It may contain at most one."""
        place, before, chosen = self._place, self._choices, self._chosen
        tokens = list(self._tokens) if "\\pm" in self._tokens else self._tokens
        self._chosen = 1
        values = [read()]
        if self._choices > before + 1:
            refuse()
        if self._choices > before:
            self._tokens, self._place, self._chosen = tokens, place, -1
            values.append(read())
            self._choices = before
        self._chosen = chosen
        return values

    def _read_item(self) -> Value:
        """Read a value or a union of intervals."""
        parts = [self._read_value()]
        while self._take("\\cup"):
            parts.append(self._read_value())
        if len(parts) == 1:
            return parts[0]
        if not all(isinstance(part, Bracketed | Collection) for part in parts):
            refuse()
        return _collect("union", parts)

    def _read_value(self) -> Value:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            refuse()
        try:
            if self._take("\\{"):
                values = self._read_choices(self._read_value)
                while self._take(",") or self._take(WORD_COMMA):
                    values += self._read_choices(self._read_value)
                self._need("\\}")
                return _collect("set", values)
            if self._peek() in _CLOSING and self._is_several():
                opening = self._need(*_CLOSING)
                values = [self._read_value()]
                while self._take(","):
                    values.append(self._read_value())
                return Bracketed(opening, tuple(values), self._need(*_CLOSING[opening]))
            if (whole := self._read_whole()) is not None:
                return Number(tuple(whole.items()))
            sign = -1 if self._peek() == "-" else 1
            if self._peek(self._peek() in ("-", "+")) == "\\infty":
                self._place += 1 + (self._peek() in ("-", "+"))
                return Infinity(sign)
            return Number(tuple(sorted(self._read_sum().items())))
        finally:
            self._depth -= 1

    def _read_whole(self) -> Terms | None:
        """Read a sum that is a whole number and nothing else, as most are, if it comes next."""
        token = self._tokens[self._place]
        if not token.isdecimal() or self._tokens[self._place + 1] not in _ENDS:
            return None
        if self._depth == _DEPTH_MAX:
            refuse()
        self._place += 1
        return _read_number(token)

    def _is_several(self) -> bool:
        """Whether the bracket that opens here contains a comma outside of inner brackets."""
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
            refuse()
        first = self._read_sign() or 1
        total = scale(self._read_product(leads=True), first)
        while (sign := self._read_sign()) is not None:
            term = self._read_product()
            self._undone += not total or not term or bool(total.keys() & term.keys())
            total = add(total, scale(term, sign))
        self._depth -= 1
        return total

    def _read_sign(self) -> int | None:
        sign = self._tokens[self._place]
        if sign not in _SIGNS:
            return None
        self._place += 1
        if sign == "\\pm":
            self._choices += 1
            return self._chosen
        return 1 if sign == "+" else -1

    def _read_product(self, leads: bool = False) -> Terms:
        squares = self._squares
        value = self._read_spaced_mixed() if leads else None
        value = self._read_power() if value is None else value
        while True:
            token = self._tokens[self._place]
            if token not in _FACTORS:
                return value
            self._place += token in ("*", "/")
            if token == "/":
                value = self._count_quotient(value, self._read_power(), squares)
            else:
                value = self._count_product(value, self._read_power(), squares)

    def _read_spaced_mixed(self) -> Terms | None:
        """Read `3 1/2`, a whole number, a blank and a proper fraction, if it comes next."""
        whole, above, slash, below = self._tokens[self._place : self._place + 4]
        if slash != "/":
            return None
        digits = whole.isdecimal() and above.isdecimal() and below.isdecimal()
        if not digits or self._peek(4) == "^":
            return None
        numbers = [_read_number(token) for token in (whole, above, below)]
        first, second, third = (terms.get((0, 1), Fraction(0)) for terms in numbers)
        if not 0 < second < third:
            refuse()
        self._place += 4
        self._notations.add("mixed")
        reducible = gcd(int(second), int(third)) > 1
        self._undivided += reducible
        self._unreduced += reducible
        return trim({(0, 1): first + second / third})

    def _count_product(self, one: Terms, other: Terms, squares: int) -> Terms:
        """`squares`: of `_squares`, before the first of the two was read."""
        both_rational = one.keys() | other.keys() <= _RATIONAL
        both_sums = min(len(one), len(other)) > 1
        as_written = self._squares == squares
        can_be_done = both_rational or (as_written and _have_like_factors(one, other))
        self._undone += can_be_done or both_sums or _share_root(one, other)
        self._unreduced += max(len(one), len(other)) > 1
        return self._multiply(one, other)

    def _count_quotient(self, above: Terms, below: Terms, squares: int) -> Terms:
        """`squares`: as of `_count_product`."""
        for terms in (above, below):
            self._undone += terms.keys() <= _RATIONAL and terms.get((0, 1), 0) % 1 != 0
        self._undone += _share_root(above, below)
        self._undivided += self._squares == squares and _is_undivided(above, below)
        self._unreduced += _is_reducible(above, below)
        self._notations.add("fraction")
        return self._divide(above, below)

    def _read_power(self) -> Terms:
        if self._peek().isdecimal() and self._peek(1) == "\\frac":
            return self._read_mixed()
        base = self._read_base()
        if not self._take("^"):
            return base
        braced = self._take("{")
        sign = -1 if self._take("-") else 1
        digits = self._peek()
        if not digits.isdecimal() or (not braced and (len(digits) > 1 or sign < 0)):
            refuse()
        self._place += 1
        if braced:
            self._need("}")
        exponent = int(digits) if len(digits) <= 2 else refuse()
        if exponent > EXPONENT_MAX:
            refuse()
        if not exponent and not base:
            refuse()
        self._undone += base != {(1, 1): Fraction(1)}
        value = {(0, 1): Fraction(1)}
        for _ in range(exponent):
            value = self._multiply(value, base)
        return value if sign > 0 else self._divide({(0, 1): Fraction(1)}, value)

    def _read_mixed(self) -> Terms:
        """Read `3\\frac{1}{2}` as a mixed number. Before any other fraction it is a product."""
        had, squares = "fraction" in self._notations, self._squares
        whole, part = self._read_base(), self._read_base()
        fraction = part.get((0, 1), Fraction(0))
        if part.keys() <= {(0, 1)} and 0 < fraction < 1:
            self._notations.add("mixed")
            if not had:
                self._notations.discard("fraction")
            return add(whole, part)
        return self._count_product(whole, part, squares)

    def _read_base(self) -> Terms:
        token = self._peek()
        self._place += 1
        if token[:1].isdecimal() or token[:1] == ".":
            number = _read_number(token)
            if number and number[0, 1].denominator > 1:
                self._notations.add("decimal")
            return number
        if token == "\\pi":
            return {(1, 1): Fraction(1)}
        if token == "\\frac":
            squares = self._squares
            above, below = self._read_argument(), self._read_argument()
            return self._count_quotient(above, below, squares)
        if token == "\\sqrt":
            square = self._read_base() if self._peek() == "(" else self._read_argument()
            terms = root(square)
            self._undone += terms.keys() <= _RATIONAL
            self._unreduced += list(terms.values()) != [1]
            self._squares += list(terms.values()) != [1]
            return terms
        if token in ("(", "{"):
            value = self._read_sum()
            self._need(")" if token == "(" else "}")
            return value
        refuse()

    def _read_argument(self) -> Terms:
        """Read a command's argument: in braces, or one digit or π, as in `\\frac12`."""
        if self._take("{"):
            whole = self._read_whole()
            value = self._read_sum() if whole is None else whole
            self._need("}")
            return value
        if self._take("\\pi"):
            return {(1, 1): Fraction(1)}
        token = self._peek()
        if not token.isdecimal():
            refuse()
        if len(token) == 1:
            self._place += 1
        else:  # only the first digit
            self._tokens[self._place] = token[1:]
        return trim({(0, 1): Fraction(int(token[0]))})

    def _multiply(self, one: Terms, other: Terms) -> Terms:
        self._spend(len(one) * len(other))
        return multiply(one, other)

    def _divide(self, one: Terms, other: Terms) -> Terms:
        self._spend(2 * len(one) + 4)  # dividing by two terms multiplies by their conjugate
        return divide(one, other)

    def _spend(self, products: int) -> None:
        self._products += products
        if self._products > PRODUCTS_MAX:
            refuse()


def _is_reducible(above: Terms, below: Terms) -> bool:
    """Whether a quotient has a root below, or parts with a common factor, or 1 or less below."""
    if any(n > 1 for _, n in below):
        return True
    if below.keys() != _RATIONAL:
        return len(below) > 1
    divisor = below[0, 1]
    parts = [divisor, *above.values()]
    if any(part.denominator > 1 for part in parts):
        return False
    return divisor <= 1 or gcd(*(part.numerator for part in parts)) > 1


def _is_undivided(above: Terms, below: Terms) -> bool:
    """Whether a quotient of single terms with whole factors is whole or not in lowest terms."""
    if len(above) > 1 or len(below) != 1:
        return False
    dividend, divisor = (next(iter(terms.values()), Fraction(0)) for terms in (above, below))
    if dividend.denominator > 1 or divisor.denominator > 1:
        return False
    is_one = abs(divisor) == 1 and below.keys() == _RATIONAL
    return is_one or gcd(dividend.numerator, divisor.numerator) > 1


def _have_like_factors(one: Terms, other: Terms) -> bool:
    """Whether both are single terms, whose rational factors a product multiplies or cancels:
    `45\\pi\\cdot 2`, `630\\cdot\\frac{\\pi}{7}`, but not `5\\cdot\\frac{\\pi}{6}`."""
    if not len(one) == len(other) == 1:
        return False
    (p, q), (r, s) = (next(iter(terms.values())).as_integer_ratio() for terms in (one, other))
    both_above, both_below = min(abs(p), abs(r)) > 1, min(q, s) > 1
    return both_above or both_below or gcd(p, s) > 1 or gcd(r, q) > 1


def _share_root(one: Terms, other: Terms) -> bool:
    """Whether both are single terms, with π in both or a common factor under their roots."""
    if not len(one) == len(other) == 1:
        return False
    ((power, n),), ((other_power, m),) = one, other
    return gcd(n, m) > 1 or (power != 0 and other_power != 0)


def _read_number(token: str) -> Terms:
    """Read digits with an optional point and repeating decimals."""
    if len(token) > _DIGITS_MAX:
        refuse()
    if token.isdecimal() and token[0] != "0":
        return {(0, 1): Fraction(int(token))}
    if token[0] == "0" and token[1:2].isdecimal() and not (token.isdecimal() and len(token) == 3):
        refuse()  # but 025, as AIME writes 25
    head, again, period = token.removesuffix("}").partition("\\overline{")
    value = Fraction((head + "0") if again else int(head) if head.isdecimal() else head)
    if again:
        places = len(head) - head.index(".") - 1
        value += Fraction(int(period), (10 ** len(period) - 1) * 10**places)
    return trim({(0, 1): value})


def _collect(kind: str, values: "Iterable[Value]") -> Collection:
    counted = Counter(values)
    if kind != "list":
        counted = Counter(counted.keys())
    return Collection(kind, frozenset(counted.items()))
