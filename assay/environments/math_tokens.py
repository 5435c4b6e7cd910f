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

#: How the token of a unit of measure starts, and then that of a thing which is counted.
UNIT, COUNTED = "unit ", "?"
#: The token of `or` and `and`: a comma of lists and sets, but none of points and intervals.
WORD_COMMA = "and"

_ALIKE = {
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\cfrac": "\\frac",
    "\\nicefrac": "\\frac",
    "\\sfrac": "\\frac",
    "\\cdot": "*",
    "\\times": "*",
    "\u00d7": "*",
    "\u00b7": "*",
    "\\div": "/",
    "\u00f7": "/",
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
#: Characters that are written as others: blanks of Unicode, its signs for minus, its powers and its
#: fractions.
_WRITTEN = {
    **dict.fromkeys((0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2014), 0x2212, 0xFE63, 0xFF0D), "-"),
    **{0xB2: "^{2}", 0xB3: "^{3}"},
    **{
        ord(sign): f"\\frac{{{above}}}{{{below}}}"
        for sign, above, below in (
            *(("\u00bd", 1, 2), ("\u2153", 1, 3), ("\u2154", 2, 3), ("\u00bc", 1, 4)),
            *(("\u00be", 3, 4), ("\u2155", 1, 5), ("\u2156", 2, 5), ("\u2157", 3, 5)),
            *(("\u2158", 4, 5), ("\u2159", 1, 6), ("\u215a", 5, 6), ("\u215b", 1, 8)),
            *(("\u215c", 3, 8), ("\u215d", 5, 8), ("\u215e", 7, 8)),
        )
    },
}
#: Digits in groups of three with an explicit mark: `12{,}345`, `12,\!345`, `12\,345`. And with
#: commas alone, `12,345`, which are such a mark unless a bracket makes them separate a list.
_GROUPED = re.compile(
    r"(?<![0-9.,}!])[0-9]{1,3}(\{,\}|,\\!|\\,|[\u00a0\u2009\u202f])[0-9]{3}(?:\1[0-9]{3})*(?![0-9])"
)
_BY_COMMAS = re.compile(r"(?<![0-9.,}!])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_LISTED = re.compile(r"[(\[]|\\\{|\\lbrace")
_DEGREES = re.compile(rf"\^[{BLANKS}]*(?:\{{[{BLANKS}]*\\circ[{BLANKS}]*\}}|\\circ(?![a-zA-Z]))")
#: Other ways to write that digits repeat: `0.\bar{27}`, `0.\bar 3`, `0.\dot{3}`.
_REPEATED = re.compile(r"\\bar *\{([0-9]+)\}|\\(?:bar|dot) *(?:\{([0-9])\}|([0-9]))")
#: Fonts that an answer may be set in as a whole.
_FONTS = (
    *("text", "textbf", "textit", "textrm", "mbox"),
    *("mathrm", "mathbf", "mathit", "boldsymbol", "bm"),
)
#: Delimiters around an answer, and the text that may not occur within.
_AROUND = (
    ("**", "**", ("*",)),
    ("$$", "$$", ("$",)),
    ("$", "$", ("$",)),
    ("\\(", "\\)", ("\\(", "\\)")),
    ("\\[", "\\]", ("\\[", "\\]")),
    *((f"\\{name}{{", "}", ()) for name in ("boxed", "fbox", *_FONTS)),
)

_OPENINGS = {opening[0] for opening, _, _ in _AROUND}

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


#: A pattern of the names of units that need no `\\text`. `in` is also another word.
UNIT_NAMES = "|".join(
    sorted((n for n in UNITS if len(n) > 1 and n != "in"), key=lambda n: (-len(n), n))
)
_TOKEN = re.compile(
    rf"(?P<space>[{BLANKS}]+|~|\\[ ,;:!]"
    r"|\\(?:q?quad|left|right|displaystyle|[bB]igg?[lr]?)(?![a-zA-Z]))"
    rf"|(?P<words>\\(?:text|mbox|textrm|mathrm)(?![a-zA-Z])[{BLANKS}]*"
    r"\{(?P<text>[a-zA-Z .~]*)\})"
    r"|(?P<number>[0-9]*\.[0-9]*\\overline\{[0-9]+\}|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<command>\\(?:[a-zA-Z]+|[{}%$]))"
    r"|(?P<sign>[-+*/^_(){}\[\],=%$\u221e\u03c0\u221a\u222a\u2208\u00b0\u00b1\u00d7\u00b7\u00f7])"
    rf"|(?P<plain>(?:sqrt(?=\()|pi|or|and|{UNIT_NAMES}|[a-z]{{4,}})(?![a-zA-Z]))"
    r"|(?P<letter>[a-zA-Z])"
)


def split_answer(text: str, listed: bool = False) -> list[str]:
    """The tokens of an answer, without delimiters around all of it.

    Args:
        listed: commas between digits separate values.

    Raises:
        UnknownError: a part of the text is no token.
    """
    if "," in text or not text.isascii():  # else neither has anything to do, as for most answers
        text = _GROUPED.sub(_join_digits, text).translate(_WRITTEN)
    if "\\bar" in text or "\\dot" in text:
        text = _REPEATED.sub(lambda found: f"\\overline{{{''.join(found.groups(''))}}}", text)
    text = unwrap(text)
    if "\\circ" in text:
        text = _DEGREES.sub("\u00b0", text)
    if "," in text and not listed and not _LISTED.search(text):
        text = _BY_COMMAS.sub(_join_digits, text)
    return list(_split(text))


def has_open_commas(text: str) -> bool:
    """Whether digits of the text that commas alone join, `3,100`, may be two numbers too. Those of
    `3,010` are not: nobody writes 10 so."""
    if "," not in text or _LISTED.search(text):
        return False
    return any(",0" not in joined[0] for joined in _BY_COMMAS.finditer(text))


def unwrap(text: str) -> str:
    """The text without blanks, the point at its end, and all delimiters and fonts around it."""
    while True:
        text = text.strip(BLANKS).removesuffix(".").rstrip(BLANKS)
        if text[:1] not in _OPENINGS:
            return text
        for opening, closing, others in _AROUND:
            if not (text.startswith(opening) and text.endswith(closing)):
                continue
            inner = text[len(opening) : -len(closing)]
            if len(text) > len(opening + closing) and not any(one in inner for one in others):
                text = inner
                break
        else:
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
        if kind in ("text", "words") or (kind == "plain" and match[0] not in _ALIKE):
            token = _read_words(match["text"] if kind != "plain" else match[0])
        if token != WORD_COMMA or before != ",":  # `, and` is one comma
            yield token
        before = match[0]


def _read_words(text: str) -> str:
    """The token of some words: a comma, a unit, or a thing that is counted."""
    words = " ".join(text.replace("~", " ").replace(".", " ").lower().split())
    if words in ("and", "or"):
        return WORD_COMMA
    if not words:
        refuse()
    unit = UNITS.get(words, COUNTED + words)
    return unit if unit in ("%", "$", "\u00b0") else UNIT + unit
