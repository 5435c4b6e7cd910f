"""Problems in the MATH format with answers as its seven subjects spell them: single numbers
(`math_forms`), several values, and answers that the grammar is not meant to know. `math_problems.py
FOLDER` writes them, as JSON Lines and as Parquet.

The shares of forms (`SHARES`) are an estimate from publications about the data set: no copy of it
is used here.
"""

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sympy as sp
from math_forms import (
    Case,
    Truth,
    choices,
    circle,
    decimal,
    degrees,
    exact,
    fraction,
    grouped,
    integer,
    is_same,
    mixed,
    money,
    percent,
    radical,
    repeating,
    surd,
    unit,
)


@dataclass(frozen=True)
class Asked:
    """A problem of the set."""

    subject: str
    level: int
    case: Case = field(repr=False)

    def to_row(self, number: int) -> dict[str, str]:
        return {
            "problem": f"Exercise {number} of {self.subject}: how much is it?",
            "level": f"Level {self.level}",
            "type": self.subject,
            "solution": rf"We compute {{step by step}} and find $\boxed{{{self.case.gold}}}$.",
        }


# --- several


def draw_part(drawn: random.Random) -> tuple[str, Truth]:
    if drawn.random() < 0.65:
        n = drawn.randint(-20, 20)
        return f"{n}", exact(n)
    made = drawn.choice((fraction, fraction, radical, circle))(drawn)
    return made.gold, made.value


def draw_parts(drawn: random.Random, count: int) -> list[tuple[str, Truth]]:
    """Draw parts that are all different."""
    found: list[tuple[str, Truth]] = []
    while len(found) < count:
        part = draw_part(drawn)
        if not any(is_same(part[1], there[1]) for there in found):
            found.append(part)
    return found


def point(drawn: random.Random) -> Case:
    parts = draw_parts(drawn, drawn.choice((2, 2, 2, 3)))
    texts, values = [p[0] for p in parts], [p[1] for p in parts]
    value = ("()", *values)
    gold = drawn.choice(("({})", r"\left({}\right)", r"\left( {} \right)")).format(
        drawn.choice((",", ", ")).join(texts)
    )
    found = [
        (f"({', '.join(texts)})", value),
        (rf"\left({','.join(texts)}\right)", value),
        (rf"\left( {', '.join(texts)} \right)", value),
        (rf"\bigl({', '.join(texts)}\bigr)", value),
        (f"({', '.join(reversed(texts))})", ("()", *reversed(values))),
        (f"({', '.join([*texts, '0'])})", ("()", *values, exact(0))),
        (f"({', '.join([*texts[:-1], '77'])})", ("()", *values[:-1], exact(77))),
        (f"[{', '.join(texts)}]", ("[]", *values)),
        (f"({'; '.join(texts)})", None),
    ]
    apart = (", ".join(texts), f"(x,y)=({','.join(texts)})")
    return Case("point", gold, value, tuple(found), apart)


def interval(drawn: random.Random) -> Case:
    low, high = sorted(draw_parts(drawn, 2), key=lambda part: float(part[1]))
    opening, closing = drawn.choice("[("), drawn.choice("])")
    if drawn.random() < 0.35:
        low, opening = (r"-\infty", -sp.oo), "("
    elif drawn.random() < 0.5:
        high, closing = (r"\infty", sp.oo), ")"
    value = (opening + closing, low[1], high[1])
    inner = f"{low[0]}, {high[0]}"
    other_o, other_c = "[" if opening == "(" else "(", "]" if closing == ")" else ")"
    found = [
        (opening + inner + closing, value),
        (rf"\left{opening}{low[0]},{high[0]}\right{closing}", value),
        (rf"x \in {opening}{inner}{closing}", value),
        (rf"x\in\left{opening} {inner} \right{closing}", value),
        ((opening + inner + closing).replace(r"\infty", "\u221e"), value),
        (other_o + inner + closing, (other_o + closing, low[1], high[1])),
        (opening + inner + other_c, (opening + other_c, low[1], high[1])),
        (f"{opening}{high[0]}, {low[0]}{closing}", (opening + closing, high[1], low[1])),
        (f"{opening}{low[0]}, 99{closing}", (opening + closing, low[1], exact(99))),
        (f"{inner}", None),
    ]
    start = drawn.choice(("", "", "", r"x \in "))
    shape = drawn.choice((rf"{opening}{inner}{closing}", rf"\left{opening}{inner}\right{closing}"))
    return Case("interval", start + shape, value, tuple(found))


def union(drawn: random.Random) -> Case:
    (a, x), (b, y) = sorted(draw_parts(drawn, 2), key=lambda part: float(part[1]))
    closing, opening = drawn.choice(((")", "("), ("]", "["), (")", "[")))
    left, right = rf"(-\infty,{a}{closing}", rf"{opening}{b},\infty)"
    value = ("union", ("(" + closing, -sp.oo, x), (opening + ")", y, sp.oo))
    other = opening + ")", exact(99), sp.oo
    found = [
        (rf"{left} \cup {right}", value),
        (rf"{right}\cup {left}", value),
        (f"{left} \u222a {right}", value),
        (rf"x \in \left(-\infty, {a}\right{closing} \cup \left{opening}{b}, +\infty\right)", value),
        (left, value[1]),
        (rf"{left}\cup {opening}99,\infty)", ("union", value[1], other)),
        (rf"{left}\cap {right}", None),
        (rf"{left}, {right}", ("list", *value[1:])),
    ]
    return Case("union of intervals", rf"{left}\cup{right}", value, tuple(found))


def several(drawn: random.Random) -> Case:
    parts = draw_parts(drawn, drawn.choice((2, 2, 3, 3, 4)))
    texts, values = [p[0] for p in parts], [p[1] for p in parts]
    value, backwards = ("list", *values), list(reversed(texts))
    found = [
        (", ".join(texts), value),
        (",".join(backwards), value),
        (", ".join(f"x = {text}" for text in texts), value),
        (" or ".join(f"x={text}" for text in backwards), value),
        (r" \text{ and } ".join(texts), value),
        (r"\text{ or }".join(backwards), value),
        (", ".join(texts[:-1]) + f", and {texts[-1]}", value),
        (rf"{', '.join(backwards[:-1])},\text{{ or }}{backwards[-1]}", value),
        (", ".join(texts) + ", and 77", ("list", *values, exact(77))),
        (", and ".join([", ".join(texts), texts[0]]), ("list", *values, values[0])),
        ("x = " + ", ".join(texts), value),
        (", ".join(texts[:-1]), ("list", *values[:-1]) if len(values) > 2 else values[0]),
        (", ".join([*texts, "77"]), ("list", *values, exact(77))),
        (", ".join([*texts[:-1], "77"]), ("list", *values[:-1], exact(77))),
        (", ".join([*texts, texts[0]]), ("list", *values, values[0])),
        (f"({', '.join(texts)})", ("()", *values)),
        (" ".join(texts), None),
        (", ".join(texts) + ", \\ldots", None),
    ]
    found.append((rf"\{{{','.join(texts)}\}}", value))
    apart = (f"{{{', '.join(texts)}}}",)
    return Case("list", ",".join(texts), value, tuple(found), apart)


def collection(drawn: random.Random) -> Case:
    parts = draw_parts(drawn, drawn.choice((1, 2, 3, 3, 4)))
    texts, values = [p[0] for p in parts], [p[1] for p in parts]
    value = ("set", *values)
    found = [
        (rf"\{{{', '.join(texts)}\}}", value),
        (rf"\left\{{{','.join(reversed(texts))}\right\}}", value),
        (
            rf"\{{{', '.join([*texts, '77'])}, \text{{ and }} 78\}}",
            ("set", *values, exact(77), exact(78)),
        ),
        (rf"x \in \{{{', '.join(texts)}\}}", value),
        (rf"\{{{', '.join([*texts, texts[0]])}\}}", value),
        (rf"\{{{', '.join([*texts, '77'])}\}}", ("set", *values, exact(77))),
        (rf"\{{{', '.join([*texts[:-1], '77'])}\}}", ("set", *values[:-1], exact(77))),
        (f"({', '.join(texts)})", ("()", *values) if len(values) > 1 else value),
        (rf"\{{{', '.join(texts)}", None),
    ]
    if len(values) == 1:
        found.pop(6)  # (5) for {5}: one of the conventions
    found.append((", ".join(texts), value))
    return Case("set", rf"\{{{','.join(texts)}\}}", value, tuple(found))


# --- answers that the grammar is not meant to know


def other(form: str, *texts: str) -> Callable[[random.Random], Case]:
    """Cases of a form whose gold answers are `texts`, with `{a}` and `{b}` filled in."""

    def draw(drawn: random.Random) -> Case:
        text = drawn.choice(texts)
        for name in "abc":
            text = text.replace(f"<{name}>", str(drawn.randint(2, 9)))
        return Case(form, text)

    return draw


polynomial = other(
    "polynomial",
    *("<a>x^2-<b>", "2k+<a>", "x^3+<a>x-<b>", "(x-<a>)(x+<b>)", "p - q", "-<a>r^2+<b>r-<c>"),
    *(r"\frac{x+<a>}{x-<b>}", "<a>R^2", "y = <a>x - <b>", "x^{<a>} - x + 1", r"\frac{3}{a}"),
    *(r"<a>a\sqrt{a}", "x^2 + y^2 - <a>x = <b>", "<a>x-<b>y+<c>z-1=0"),
)
word = other(
    "words",
    *(r"\text{Evelyn}", r"\text{(C)}", r"\text{even}", r"\text{Yes}", r"\text{hyperbola}"),
    *(r"\text{(A), (B)}", r"\text{Monday}", r"\text{A}", r"\text{No solution}", r"\text{square}"),
    *(r"<a>\text{ students}", r"\text{Navin}", r"\text{two and two thirds}", r"1\text{:}30"),
)
matrix = other(
    "matrix",
    r"\begin{pmatrix} <a> \\ -<b> \end{pmatrix}",
    r"\begin{pmatrix} <a> & <b> \\ 0 & <c> \end{pmatrix}",
    r"\begin{pmatrix} \frac{<a>}{7} \\ <b> \\ <c> \end{pmatrix}",
)
complex_number = other(
    "complex number", "<a>+<b>i", "<a> - <b>i", "-<a>i", r"\frac{<a>}{2} + \frac{<b>}{3} i", "i"
)
base = other("number in a base", "11<a>_2", "<a>0<b>_{8}", "1<a>2_9", "2<a>2_{16}")
function = other(
    "function",
    *(r"\tan <a>x", r"\cos \theta", r"\log_2 <a>", r"\cot <a>", r"e^{<a>}", r"\ln <a>", "<a>!"),
    *(r"\sin^2 x", r"\binom{9}{<a>}", r"\sqrt[3]{<a>}", r"<a>\sqrt[3]{2}", "F_<a>"),
)
inequality = other("inequality", "x > <a>", r"-<a> \le x \le <b>", "x < -<a>", r"k \ne <a>")
ratio = other("ratio or time", "<a>:<b>", "1<a>:30", r"<a>:30 \text{ p.m.}")

#: Subject → form → its number among 1,000 answers, an estimate.
SHARES: dict[str, dict[Callable[[random.Random], Case], int]] = {
    "Algebra": {
        **{integer: 600, fraction: 130, decimal: 30, grouped: 12, mixed: 5, radical: 25, surd: 15},
        **{several: 25, choices: 8, point: 35, interval: 22, union: 10, percent: 6, money: 10},
        **{unit: 5, polynomial: 45, word: 5, inequality: 7, function: 3, collection: 2},
    },
    "Counting & Probability": {
        **{integer: 640, fraction: 290, grouped: 25, decimal: 12, percent: 10, function: 8},
        **{word: 5, polynomial: 4, several: 3, money: 3},
    },
    "Geometry": {
        **{integer: 510, fraction: 85, radical: 120, surd: 40, circle: 105, degrees: 45},
        **{
            decimal: 35,
            unit: 20,
            point: 10,
            mixed: 3,
            polynomial: 8,
            word: 12,
            several: 4,
            function: 3,
        },
    },
    "Intermediate Algebra": {
        **{integer: 420, fraction: 130, radical: 45, surd: 40, several: 70, choices: 12, point: 45},
        **{interval: 35, union: 12, polynomial: 110, complex_number: 30, word: 25, collection: 6},
        **{function: 15, inequality: 5},
    },
    "Number Theory": {
        **{integer: 820, base: 70, grouped: 20, several: 35, fraction: 20, decimal: 8},
        **{repeating: 7, word: 12, ratio: 3, polynomial: 5},
    },
    "Prealgebra": {
        **{integer: 610, fraction: 140, decimal: 70, grouped: 20, money: 30, percent: 28},
        **{
            degrees: 25,
            unit: 18,
            mixed: 18,
            circle: 10,
            word: 15,
            ratio: 5,
            radical: 6,
            polynomial: 5,
        },
    },
    "Precalculus": {
        **{integer: 260, fraction: 135, radical: 95, matrix: 165, circle: 60, complex_number: 50},
        **{point: 60, interval: 20, union: 5, surd: 40, several: 30, degrees: 20, polynomial: 25},
        **{function: 30, word: 5},
    },
}
COVERED = (
    *(integer, grouped, fraction, mixed, decimal, repeating, radical, surd, choices, circle),
    *(percent, money, degrees, unit, point, interval, union, several, collection),
)


def draw_problems(count: int, seed: int = 0) -> Iterator[Asked]:
    """Draw `count` problems of each subject, with the forms in their shares."""
    drawn = random.Random(seed)
    for subject, shares in SHARES.items():
        forms = drawn.choices(list(shares), list(shares.values()), k=count)
        for form in forms:
            yield Asked(subject, drawn.randint(1, 5), form(drawn))


def write_problems(problems: list[Asked], folder: Path) -> tuple[Path, Path]:
    """Write problems as JSON Lines and as Parquet. Returns both paths."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = [asked.to_row(number) for number, asked in enumerate(problems, 1)]
    lines, table = folder / "math.jsonl", folder / "math.parquet"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parquet.write_table(pa.Table.from_pylist(rows), table)
    return lines, table


if __name__ == "__main__":
    for path in write_problems(list(draw_problems(150)), Path(sys.argv[1])):
        print(path)
