"""The tokens of a mathematical answer in LaTeX. Different spellings of the same thing give the same
tokens.

Units are a closed list: words that change a number, such as `million` or `dozen`, must not pass for
a unit.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from assay.environments.base import BLANKS
from assay.environments.math_terms import refuse

#: How the token of a unit of measure starts.
UNIT = "unit "
#: The token of `or` and `and`: a comma of lists and sets, but none of points and intervals.
WORD_COMMA = "and"

_TOKEN = re.compile(
    rf"(?P<space>[{BLANKS}]+|~|\\[ ,;:!]"
    r"|\\(?:q?quad|left|right|displaystyle|[bB]igg?[lr]?)(?![a-zA-Z]))"
    rf"|(?P<words>\\(?:text|mbox|textrm|mathrm)(?![a-zA-Z])[{BLANKS}]*"
    r"\{(?P<said>[a-zA-Z .~]*)\})"
    r"|(?P<number>[0-9]*\.[0-9]*\\overline\{[0-9]+\}|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<command>\\(?:[a-zA-Z]+|[{}%$]))"
    r"|(?P<sign>[-+*/^(){}\[\],=%$\u2212\u221e\u03c0\u221a\u222a\u2208\u00b0\u00b1\u00d7\u00b7])"
    r"|(?P<plain>(?:sqrt(?=\()|pi|or|and|[a-z]{4,}|[ckm]m)(?![a-zA-Z]))"
    r"|(?P<letter>[a-zA-Z])"
)
_ALIKE = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\cdot": "*",
    "\\times": "*",
    "\u00d7": "*",
    "\u00b7": "*",
    "\\div": "/",
    "\u2212": "-",
    "\u221e": "\\infty",
    "\u03c0": "\\pi",
    "pi": "\\pi",
    "\u221a": "\\sqrt",
    "sqrt": "\\sqrt",
    "\u222a": "\\cup",
    "\u2208": "\\in",
    "\u00b1": "\\pm",
    "\\%": "%",
    "\\$": "$",
    "\\lbrace": "\\{",
    "\\rbrace": "\\}",
    "\\degree": "\u00b0",
}
#: Digits in groups of three with an explicit mark: `12{,}345`, `12,\!345`, `12\,345`. And with
#: commas alone, `12,345`, which are such a mark unless a bracket makes them separate a list.
_GROUPED = re.compile(r"(?<![0-9.,}!])[0-9]{1,3}(\{,\}|,\\!|\\,)[0-9]{3}(?:\1[0-9]{3})*(?![0-9])")
_BY_COMMAS = re.compile(r"(?<![0-9.,}!])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_LISTED = re.compile(r"[(\[]|\\\{|\\lbrace")
_DEGREES = re.compile(rf"\^[{BLANKS}]*(?:\{{[{BLANKS}]*\\circ[{BLANKS}]*\}}|\\circ(?![a-zA-Z]))")
#: Delimiters around an answer, outermost first, and the text that may not occur within.
_AROUND = (
    ("$$", "$$", ("$",)),
    ("$", "$", ("$",)),
    ("\\(", "\\)", ("\\(", "\\)")),
    ("\\[", "\\]", ("\\[", "\\]")),
    ("\\boxed{", "}", ()),
    ("\\fbox{", "}", ()),
)

#: Symbol → its names. A name of several letters may also end with an s.
_NAMES = {
    "%": ("percent",),
    "$": ("dollar",),
    "\u00b0": ("degree", "deg"),
    "cent": ("cent",),
    "unit": ("unit",),
    "mm": ("mm", "millimeter"),
    "cm": ("cm", "centimeter"),
    "m": ("m", "meter"),
    "km": ("km", "kilometer"),
    "in": ("in", "inch", "inches"),
    "ft": ("ft", "foot", "feet"),
    "yd": ("yd", "yard"),
    "mi": ("mi", "mile"),
    "mph": ("mph", "miles per hour"),
    "s": ("s", "sec", "second"),
    "min": ("min", "minute"),
    "h": ("h", "hr", "hour"),
    "day": ("day",),
    "week": ("week",),
    "month": ("month",),
    "year": ("year",),
    "g": ("g", "gram"),
    "kg": ("kg", "kilogram"),
    "lb": ("lb", "pound"),
    "oz": ("oz", "ounce"),
    "l": ("l", "liter"),
    "ml": ("ml", "milliliter"),
    "gal": ("gal", "gallon"),
}
_LENGTHS = ("unit", "mm", "cm", "m", "km", "in", "ft", "yd", "mi")
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}


def _list_units() -> dict[str, str]:
    units = {}
    for symbol, names in _NAMES.items():
        for name in names:
            units[name] = symbol
            if len(name) > 1 and not name.endswith("s"):
                units[f"{name}s"] = symbol
    for name, symbol in list(units.items()):
        if symbol in _LENGTHS:
            units.update({f"{word} {name}": symbol + power for word, power in _POWERS.items()})
    return units


#: Words → the unit: `square inches` is `in^2`.
UNITS: Mapping[str, str] = MappingProxyType(_list_units())


def split_answer(text: str) -> list[str]:
    """The tokens of an answer, without delimiters around all of it.

    Raises:
        UnknownError: a part of the text is no token.
    """
    text = _DEGREES.sub("\u00b0", _unwrap(text.strip(BLANKS).removesuffix(".")))
    text = _GROUPED.sub(_join_digits, text)
    if not _LISTED.search(text):
        text = _BY_COMMAS.sub(_join_digits, text)
    return list(_split(text))


def _unwrap(text: str) -> str:
    """The text without the `$$…$$`, `$…$`, `\\(…\\)` or `\\[…\\]`, then without the `\\boxed{…}` or
    `\\fbox{…}`, around all of it."""
    for opening, closing, others in _AROUND:
        if len(text) <= len(opening + closing):
            continue
        inner = text[len(opening) : -len(closing)]
        whole = not any(other in inner for other in others)
        if text.startswith(opening) and text.endswith(closing) and whole:
            text = inner.strip(BLANKS).removesuffix(".")
    return text


def _join_digits(match: re.Match[str]) -> str:
    return re.sub(r"[^0-9]", "", match[0])


def _split(text: str) -> Iterator[str]:
    place, before = 0, ""
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            refuse()
        place, kind = match.end(), match.lastgroup
        if kind == "space":
            continue
        token = _ALIKE.get(match[0], match[0])
        if kind in ("said", "words") or (kind == "plain" and match[0] not in _ALIKE):
            token = _read_words(match["said"] if kind != "plain" else match[0])
        if token != WORD_COMMA or before != ",":  # `, and` is one comma
            yield token
        before = match[0]


def _read_words(text: str) -> str:
    """The token of some words: a comma, or a unit."""
    words = " ".join(text.replace("~", " ").replace(".", " ").lower().split())
    if words in ("and", "or"):
        return WORD_COMMA
    unit = UNITS.get(words)
    if unit is None:
        refuse()
    return unit if unit in ("%", "$", "\u00b0") else UNIT + unit
