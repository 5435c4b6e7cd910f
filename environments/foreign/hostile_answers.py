"""Hostile texts: a right answer with more around it, or texts that are costly to score. None of
them is an answer."""

from collections.abc import Iterator

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
    *(
        "(1)",
        "9**",
        "1 ",
        "1,",
        "1, ",
        "(",
        "[",
        "{",
        "-",
        "- ",
        "+1",
        "\u00ac",
        "1e9",
        "[[1],",
        "0x",
    ),
    *('"a",', '{"a":', "A=1,", "R ", "R\n", "Rw2' ", "Q ", "_ ", "nan ", "inf, ", "1/", "!1", "1!"),
    *(" is a knight", " is a knave and", "Move disk 1 from Peg 1 to Peg 2\n", '"fill A", ', "up "),
    *(
        "UD",
        "A \u2192 ",
        "\u00d7 1 ",
        "#",
        "%s",
        "\\",
        "\x00",
        "\ud7ff",
        "\U0001f600",
        "\u0661",
        "i",
    ),
)
CODE = (
    "__import__('os').system('true')",
    "().__class__.__base__.__subclasses__()",
    "[x for x in (1,)]",
    "9**9**9",
    "factorial(9**9)",
    "Integral(x, x)",
    "exit()",
    "1e400",
    "NaN",
    "-inf",
    "None",
    "True or False",
    "{}",
    "[]",
    "()",
    '""',
)


def write_hostile(right: str, other: str) -> Iterator[str]:
    """Texts that do not answer the question whose right answer is `right`. `other` is an answer to
    another question of the dataset."""
    for separator in SEPARATORS:
        for first, second in ((right, other), (other, right), (right, right)):
            yield f"{first}{separator}{second}"
            yield f"{first}{separator}{second}{separator}{first}"
    for before, after in WRAPS:
        yield f"{before}{right}{after}"
        middle = len(right) // 2
        yield f"{before}{right[:middle]} {right[middle:]}{after}"
    for filling in FILLINGS:
        for size in (64, 256, 3_000):
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
