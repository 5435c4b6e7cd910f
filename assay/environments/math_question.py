"""What a question says about its answers: the units that it asks for, whether it asks for one
number, and expressions in its text.

Everything is found by fixed patterns over ASCII, in time linear in the text's length. A unit that a
question does not ask for stays a part of the answer, so that `5 km` never answers `5 m`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from assay.environments.base import BLANKS
from assay.environments.math_tokens import COUNTED, UNIT_NAMES, UNITS

#: The unit of an answer in percent where the question asks for a percentage.
PERCENTAGE = "percentage"
_FLAGS = re.ASCII | re.IGNORECASE
_BLANKS = re.compile(
    rf"(?:[{BLANKS}~\u00a0]|\\[ ,;:!]|\\(?:text|mbox|textrm|mathrm)\s*\{{|[{{}}])+", re.ASCII
)
_POWER = r"(?:\s*\^\s*(?P<power>[23])(?![0-9]))?"
_UNIT = rf"(?P<unit>{UNIT_NAMES})(?![a-zA-Z]){_POWER}"
_ASKED = re.compile(rf"(?<![a-zA-Z])(?:how many|number of|in)\s+{_UNIT}", _FLAGS)
_NAMED = re.compile(rf"(?<![a-zA-Z\\]){_UNIT}", _FLAGS)
_DEGREES = re.compile(r"\u00b0|\\circ|\\degree", re.ASCII)
#: Money as plain text writes it: in LaTeX a bare `$` opens a formula, which ends in another.
_MONEY = re.compile(r"\\\$|\$[0-9][0-9,]*(?:\.[0-9]+)?(?=[\s.,;:?!)]|$)", re.ASCII)
_PERCENTAGE = re.compile(
    r"(?:what|which|how many|as an?|in|(?:what|find|compute|calculate|determine)\s+(?:is|was|are)?"
    r"\s*the)\s+percent(?:age)?s?(?![a-z])",
    _FLAGS,
)
#: Words by which a question asks for something else than an amount of the one unit that it names:
#: of any unit, and of any but money.
_OTHERWISE = re.compile(
    r"(?<![a-z])(?:how many|number of|percent|percentage|fraction|ratio|probability|coordinates?)"
    r"(?![a-z])",
    _FLAGS,
)
_NO_MEASURE = re.compile(
    r"(?<![a-z])(?:number|times|areas?|volumes?|square|cubic|radians?|per)(?![a-z])", _FLAGS
)
_NOT_MONEY = re.compile(r"(?<![a-z])how (?:long|far|fast|old|tall|heavy|often|wide|deep)", _FLAGS)
#: Words by which a question asks for one number, words by which it may ask for several, and those
#: that join what is counted.
_AMOUNT = re.compile(r"(?<![a-z])how\s+(?:many|much)(?![a-z])", _FLAGS)
_SEVERAL = re.compile(
    r"(?<![a-z])(?:all|values|solutions|roots|integers|numbers|commas?|list|pairs?|each|both|sides|"
    r"respectively)(?![a-z])",
    _FLAGS,
)
_JOINED = re.compile(r"(?<![a-z])(?:and|or)(?![a-z])|[,;](?![0-9])", _FLAGS)
#: Words by which a question asks for the simplest form.
_SIMPLEST = re.compile(
    r"simplif|simplest|rationali[sz]|lowest terms|(?<![a-z])(?:evaluate|expand|reduce)(?![a-z])",
    _FLAGS,
)

#: What a text with any of these has; most have none, and are not searched.
_SIMPLEST_MARKS = ("simpl", "rationali", "lowest terms", "evaluate", "expand", "reduce")

#: Expressions of numbers in a text, and in them the signs at which parts of it may begin and end.
_EXPRESSION = re.compile(
    r"(?:[0-9.(\u221a\u00bc-\u00be]|\\(?:[dtc]?frac|sqrt|pi|left)(?![a-zA-Z])|sqrt(?=\())"
    rf"(?:[0-9.+\-*/^(){{}}\[\]{BLANKS}\u221a\u03c0\u00d7\u00b7\u00f7\u2212\u00bc-\u00be]"
    r"|\\(?:[dtc]?frac|sqrt|cdot|times|div|pi|left|right|overline|displaystyle)(?![a-zA-Z])"
    r"|\\[,;:! ]|(?<=[0-9]),(?=[0-9])|sqrt(?=\())*"
)
_OPERATION = re.compile(r"[/.^(\u221a\u00f7\u00bc-\u00be]|\\[dtc]?frac|sqrt|\\div")
_DIGIT = re.compile("[0-9\u00bc-\u00be]")
_DIVIDED = re.compile(r"(?<=[0-9]) divided by (?=[0-9])")
_ENDS = re.compile(r"[.,;](?=[\s]|$)|[\s]{2,}", re.ASCII)
_SUMMANDS = re.compile(r"[+\-\u2212]")
_BESIDE = re.compile(rf"[{BLANKS}]|\\(?:left|right)(?![a-zA-Z])")
_FORMULAS = re.compile(r"\\[()\[\]]")
#: Most expressions of a question that are looked at.
EXPRESSIONS_MAX = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A question's text. Without any, no unit is asked for."""

    text: str = ""

    @property
    def asks_amount(self) -> bool:
        """Whether it plainly asks for one number, so that `3,100` is not two: once how many or how
        much, of one thing."""
        _, *after = _AMOUNT.split(self.text, 2)
        if len(after) != 1 or _SEVERAL.search(self.text):
            return False
        return _JOINED.search(after[0].partition("?")[0]) is None

    @property
    def asks_percentage(self) -> bool:
        is_named = "percent" in self.text.lower()  # most texts do not, and are not searched
        return is_named and _PERCENTAGE.search(self._plain) is not None

    @property
    def asks_simplest(self) -> bool:
        """Whether it asks by a word for the simplest form, or for an expression's value."""
        small = self.text.lower()
        is_marked = any(mark in small for mark in _SIMPLEST_MARKS)
        return is_marked and _SIMPLEST.search(self.text) is not None

    def names_point(self, letters: str) -> bool:
        """Whether the text has these letters in brackets, `(x,y)`."""
        return letters in _BESIDE.sub("", self.text)

    def settle_unit(self, unit: str) -> str | None:
        """What is left of an answer's unit: nothing if the question asks for it, `PERCENTAGE` for
        a percentage that it asks for, else the unit. None for a thing that it does not count."""
        if not unit:
            return unit
        plain = self._plain
        if unit.startswith(COUNTED):
            words = re.escape(unit.removeprefix(COUNTED)).replace(r"\ ", r"\s+")
            counted = re.search(rf"how many\s+{words}(?![a-z])", plain, _FLAGS)
            return None if counted is None else ""
        if unit == "%":
            return PERCENTAGE if self.asks_percentage else unit
        return "" if self._find_asked(plain) == unit else unit

    @property
    def _plain(self) -> str:
        """The text with its powers and blanks written alike."""
        return _BLANKS.sub(" ", self.text.replace("\u00b2", "^2").replace("\u00b3", "^3"))

    def _find_asked(self, plain: str) -> str | None:
        """The unit that the question asks for: the only one after `how many`, `number of` or `in`;
        without any the only one that it names, if nothing says that it asks for something else."""
        asked = set(map(_read_unit, _ASKED.finditer(plain)))
        if asked:
            return asked.pop() if len(asked) == 1 else None
        if _OTHERWISE.search(plain):
            return None
        named = set(map(_read_unit, _NAMED.finditer(plain)))
        if _DEGREES.search(plain):
            named.add("\u00b0")
        if _MONEY.search(plain) or "$" in named:
            money = not _NOT_MONEY.search(plain) and "cent" not in named
            return "$" if money else None
        return named.pop() if len(named) == 1 and not _NO_MEASURE.search(plain) else None

    def iterate_expressions(self, with_numbers: bool) -> Iterator[str]:
        """Expressions of numbers in the text with something to do or to write otherwise: each
        longest one, then the parts of its sum; at most `EXPRESSIONS_MAX`.

        Args:
            with_numbers: also whole numbers alone.
        """
        needed = _DIGIT if with_numbers else _OPERATION
        yield from islice(dict.fromkeys(self._iterate_parts(needed)), EXPRESSIONS_MAX)

    def _iterate_parts(self, needed: re.Pattern[str]) -> Iterator[str]:
        text = _FORMULAS.sub("$", self.text) if "\\" in self.text else self.text
        text = _DIVIDED.sub("/", text) if " divided by " in text else text
        for match in _EXPRESSION.finditer(text):
            if not needed.search(match[0]) or not _DIGIT.search(match[0]):
                continue
            for run in _ENDS.split(match[0]):
                for part in (run, *_SUMMANDS.split(run)):
                    expression = _balance(part.strip(BLANKS + ".,"))
                    if needed.search(expression) and _DIGIT.search(expression):
                        yield expression


def _read_unit(match: re.Match[str]) -> str:
    unit = UNITS[" ".join(match["unit"].lower().split())]
    return f"{unit}^{match['power']}" if match["power"] else unit


def _balance(text: str) -> str:
    """The text without brackets at its ends whose other halves are elsewhere."""
    for opening, closing in ("()", "[]", "{}"):
        missing = text.count(opening) - text.count(closing)
        while missing > 0 and text.startswith(opening):
            text, missing = text[1:].lstrip(BLANKS), missing - 1
        while missing < 0 and text.endswith(closing):
            text, missing = text[:-1].rstrip(BLANKS), missing + 1
    return text
