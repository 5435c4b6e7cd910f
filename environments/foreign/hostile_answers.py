"""Answers that hold a right one and more, or cost a scorer much: none of them is an answer."""

from collections.abc import Iterator

#: What stands between two answers. Not nothing: some moves go on where others end.
SEPARATORS = (
    *(" ", "  ", ", ", ",", "; ", ";", "\n", "\n\n", "\t", "/", " / ", "|", " | ", " or ", " and "),
    *(" = ", ": ", " -> ", " \u2192 ", " & ", " (", " not ", ". ", "\r\n", "\u00a0", "\u200b"),
)
#: What stands around an answer. Not brackets alone: an expression in brackets is one.
WRAPS = (
    *(("((", "))x"), ("[", "]"), ("{", "}"), ('"', '"'), ("'", "'"), ("`", "`"), ("$", "$")),
    *(("**", "**"), ("\\boxed{", "}"), ("<answer>", "</answer>"), ("[[", "]]"), ('["', '"]')),
    *(("The answer is ", ""), ("The answer is ", "."), ("= ", ""), ("", " (final)"), ("", ".")),
    *(("", " ????"), ("eval('", "')"), ("print(", ")"), ("not (", ")"), ("lambda: ", "")),
    *(("x" * 3_000 + " ", ""), ("", " " + "x" * 3_000), ("", " " * 3_000 + "x"), ("~", "~")),
)
#: What fills a long text: for some scorer each of them was dear, or an answer to everything.
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
    """Texts none of which is an answer to a question of which `right` is one; `other` is one to
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
    """Texts that cost much where work grows faster than an answer: of its own parts, with an end
    that is none, and of what fills, up to `most` bytes."""
    for filling in dict.fromkeys((right, right[:1], right[-1:], *FILLINGS)):
        size = len(filling.encode("utf-8", "surrogatepass"))
        for bytes_ in (64, 1_024, most - 1):
            if 0 < size <= bytes_:
                yield filling * (bytes_ // size) + "~"


def separator_of(text: str) -> str:
    """What stands between two parts of an answer."""
    return next((c for c in ("\n", ", ", ",", " ") if c in text), " ")
