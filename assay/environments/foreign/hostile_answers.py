"""Hostile texts: a right answer with more around it, a part of it, a number close to it, or texts
that are costly to score. None of them is an answer."""

import re
from collections.abc import Iterator, Sequence

#: Separators between two answers. The empty text is none of them: some moves continue where others
#: end.
SEPARATORS = (
    *(" ", "  ", ", ", ",", "; ", ";", "\n", "\n\n", "\t", "/", " / ", "|", " | ", " or ", " and "),
    *(" = ", ": ", " -> ", " \u2192 ", " & ", " (", " not ", ". ", "\r\n", "\u00a0", "\u200b"),
)
#: Texts around an answer. Brackets alone are not among them: an expression in brackets is an
#: expression.
WRAPS = (
    *(("((", "))x"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("`", "`"), ("$", "$")),
    *(("**", "**"), ("\\boxed{", "}"), ("<answer>", "</answer>"), ("[[", "]]"), ('["', '"]')),
    *(("The answer is ", ""), ("The answer is ", "."), ("= ", ""), ("", " (final)"), ("", ".")),
    *(("", " ????"), ("eval('", "')"), ("print(", ")"), ("not (", ")"), ("lambda: ", "")),
    *(("x" * 3_000 + " ", ""), ("", " " + "x" * 3_000), ("", " " * 3_000 + "x"), ("~", "~")),
)
#: Fillings of a long text. For some scorer each of them was costly, or counted as an answer to
#: everything.
FILLINGS = (
    *("(1)", "9**", "1 ", "1,", "1, ", "(", "[", "{", "-", "- ", "+1", "\u00ac", "1e9", "[[1],"),
    *("0x", '"a",', '{"a":', "A=1,", "R ", "R\n", "Rw2' ", "Q ", "_ ", "nan ", "inf, ", "1/", "!1"),
    *("1!", " is a knight", " is a knave and", "Move disk 1 from Peg 1 to Peg 2\n", '"fill A", '),
    *("up ", "UD", "A \u2192 ", "\u00d7 1 ", "#", "%s", "\\", "\x00", "\ud7ff", "\U0001f600"),
    *("\u0661", "i"),
)
CODE = (
    *("__import__('os').system('true')", "().__class__.__base__.__subclasses__()"),
    *("[x for x in (1,)]", "9**9**9", "factorial(9**9)", "Integral(x, x)", "exit()", "1e400"),
    *("NaN", "-inf", "None", "True or False", "{}", "[]", "()", '""'),
)


def write_hostile(right: str, other: str, sizes: Sequence[int] = (64, 256, 3_000)) -> Iterator[str]:
    """Texts that do not answer the question whose right answer is `right`. `other` is an answer to
    another question of the dataset. `sizes` are characters of a filling."""
    for separator in SEPARATORS:
        for first, second in ((right, other), (other, right), (right, right)):
            yield f"{first}{separator}{second}"
            yield f"{first}{separator}{second}{separator}{first}"
    for before, after in WRAPS:
        yield f"{before}{right}{after}"
        middle = len(right) // 2
        yield f"{before}{right[:middle]} {right[middle:]}{after}"
    for filling in FILLINGS:
        for size in sizes:
            long = filling * (size // len(filling))
            yield long
            yield f"({long})"
            yield f"[{long}]"
            yield f"{right}{separator_of(right)}{long}"
            yield f"{long}{separator_of(right)}{right}"
    yield from CODE


def write_long(right: str, most: int) -> Iterator[str]:
    """Texts that are costly if a scorer's work grows faster than the text. They repeat a part of
    the right answer or a filling, up to `most` bytes, and have an invalid end."""
    for filling in dict.fromkeys((right, right[:1], right[-1:], *FILLINGS)):
        size = len(filling.encode("utf-8", "surrogatepass"))
        for bytes_ in (64, 1_024, most - 1):
            if 0 < size <= bytes_:
                yield filling * (bytes_ // size) + "~"


def separator_of(text: str) -> str:
    """The separator between two parts of an answer."""
    return next((c for c in ("\n", ", ", ",", " ") if c in text), " ")


_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3}){1,21}|[0-9]{1,64})(?:\.[0-9]{0,64})?")
#: A tolerance may ignore the last digit of a number with a point from this many units of it on.
_EXACT = 1_000


def list_near_numbers(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a change and the text in which the one number of the last line is so changed. None
    if the last line has no number, or several."""
    matches = list(_NUMBER.finditer(text, text.rfind("\n") + 1))
    if len(matches) != 1:
        return
    whole, _, fraction = matches[0][0].replace(",", "").partition(".")
    number, places = int(whole + fraction), len(fraction)
    near = {"1 % more": (101 * number, places + 2), "1 % less": (99 * number, places + 2)}
    near |= {"doubled": (2 * number, places), "negated": (-number, places)}
    if places == 0:
        near |= {"a tenth more": (10 * number + 1, 1), "a tenth less": (10 * number - 1, 1)}
    if places == 0 or abs(number) < _EXACT:
        near |= {"one more": (number + 1, places), "one less": (number - 1, places)}
    for name, (digits, behind) in near.items():
        if digits * 10**places != number * 10**behind:
            padded = f"{abs(digits):0{behind + 1}}"
            point = len(padded) - behind
            new = "-" * (digits < 0) + padded[:point] + "." * (behind > 0) + padded[point:]
            yield name, text[: matches[0].start()] + new + text[matches[0].end() :]


def list_parts(text: str) -> Iterator[tuple[str, str]]:
    """Pairs of a part's name and that part of an answer."""
    yield "its first half", text[: len(text) // 2]
    yield "its second half", text[len(text) // 2 :]
    (first, _, rest), (most, _, last) = (
        part(separator_of(text)) for part in (text.partition, text.rpartition)
    )
    if most:
        parts = {"its first part": first, "its last part": last}
        yield from (parts | {"all but its first part": rest, "all but its last part": most}).items()
