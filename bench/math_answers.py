"""The scorer of `math`: what it accepts of answers as models write them, and how fast.

Gold answers of all forms that it reads are drawn, and of each right spellings, wrong neighbours and
hostile texts; which is which is known from how they were made. Beside it math-verify on the same
texts, where it is installed (pip install 'math-verify[antlr4_13_2]').
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from time import process_time

from figures import FAST, Figure, report

from assay.environments.math_answer import read_math

GOLDS = 60 if FAST else 900


@dataclass(frozen=True)
class Case:
    """A right answer, and texts that say the same or something else."""

    kind: str
    gold: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def spell_fraction(value: Fraction) -> list[str]:
    """LaTeX of a rational; the first as a book prints it."""
    sign, a, b = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if b == 1:
        return [f"{sign}{a}", f"{sign}{a}.0", rf"\frac{{{sign}{2 * a}}}{{2}}"]
    found = [
        *(rf"{sign}\{name}{{{a}}}{{{b}}}" for name in ("frac", "dfrac", "tfrac")),
        *(f"{sign}{a}/{b}", rf"\frac{{{sign}{a}}}{{{b}}}", rf"{sign}\frac{{{3 * a}}}{{{3 * b}}}"),
    ]
    if b in (2, 4, 5, 8, 10, 20, 25):
        found.append(f"{float(value)}")
    return found


def draw_cases(drawn: random.Random) -> Iterator[Case]:
    """One of each kind."""
    n = drawn.randint(-9_999, 9_999)
    grouped = [f"{n:,}", f"{n:,}".replace(",", "{,}")] if abs(n) >= 1_000 else []
    yield Case("integer", f"{n}", (f"{n}.", f"{n}.0", f"x = {n}", f"${n}$", *grouped), spread(n))
    q = Fraction(drawn.randint(-60, 60), drawn.randint(2, 40))
    other = q + Fraction(1, q.denominator)
    yield Case(
        "fraction", spell_fraction(q)[0], tuple(spell_fraction(q)), wrong_fractions(q, other)
    )
    cents = drawn.randint(1, 99_999)
    yield Case(
        "decimal",
        f"{cents / 100:.2f}",
        (f"{cents / 100:.3f}", rf"\frac{{{cents}}}{{100}}", f"{cents}/100"),
        (f"{cents / 100 + 0.01:.2f}", f"{cents / 1_000:.3f}", f"-{cents / 100:.2f}"),
    )
    a, s, r = drawn.randint(2, 12), drawn.randint(2, 9), drawn.choice((2, 3, 5, 6, 7, 10))
    yield Case(
        "radical",
        rf"{a * s}\sqrt{{{r}}}",
        (
            rf"{a}\sqrt{{{s * s * r}}}",
            rf"{a * s} \cdot \sqrt{{{r}}}",
            rf"\sqrt{{{(a * s) ** 2 * r}}}",
        ),
        (rf"{a * s + 1}\sqrt{{{r}}}", rf"{a * s}\sqrt{{{r + 1}}}", f"{a * s * r**0.5:.4f}"),
    )
    yield Case(
        "surd",
        rf"\frac{{{a}+\sqrt{{{r}}}}}{{{s}}}",
        (
            rf"\frac{{\sqrt{{{r}}}+{a}}}{{{s}}}",
            rf"\frac{{{a}}}{{{s}}}+\frac{{\sqrt{{{r}}}}}{{{s}}}",
        ),
        (rf"\frac{{{a}-\sqrt{{{r}}}}}{{{s}}}", rf"{a}+\frac{{\sqrt{{{r}}}}}{{{s}}}"),
    )
    yield Case(
        "multiple of pi",
        rf"\frac{{{a}\pi}}{{{s}}}",
        (rf"\frac{{{a}}}{{{s}}}\pi", rf"{a}\pi/{s}", rf"\frac{{{2 * a}\pi}}{{{2 * s}}}"),
        (rf"\frac{{{a + s}\pi}}{{{s}}}", f"{a * 3.14159 / s:.3f}", rf"\frac{{{a}}}{{{s}}}"),
    )
    x, y = drawn.randint(-20, 20), drawn.randint(21, 40)
    yield Case(
        "point",
        f"({x},{y})",
        (f"({x}, {y})", rf"\left({x},{y}\right)", rf"\left( {x}, {y}.0 \right)"),
        (f"({y},{x})", f"({x},{y + 1})", f"{x},{y}", f"({x},{y},0)", f"[{x},{y}]"),
    )
    yield Case(
        "interval",
        rf"[{x},\infty)",
        (rf"\left[{x}, \infty\right)", rf"x \in [{x}, \infty)", rf"[{x}, +\infty)"),
        (rf"({x},\infty)", rf"[{x + 1},\infty)", rf"(-\infty,{x}]"),
    )
    yield Case(
        "set",
        rf"\{{{x},{y}\}}",
        (rf"\{{{y}, {x}\}}", rf"\left\{{{x},{y}\right\}}"),
        (rf"\{{{x},{y + 1}\}}", rf"\{{{x}\}}", rf"\{{{x},{y},{y + 1}\}}"),
    )
    yield Case(
        "list",
        f"{x},{y}",
        (f"{y}, {x}", f"{x}, {y}"),
        (f"{x}, {y + 1}", f"{x}", f"{x}, {y}, {y + 2}"),
    )
    p = drawn.randint(1, 99)
    yield Case("percent", rf"{p}\%", (f"{p}", f"{p}%", rf"{p} \%"), (f"{p + 1}\\%", f"0.{p:02}"))


def spread(n: int) -> tuple[str, ...]:
    return f"{n + 1}", f"{n - 1}", f"{n}0", f"{n} or {n + 1}", f"{n}, {n + 1}", f"{n}.5", ""


def wrong_fractions(q: Fraction, other: Fraction) -> tuple[str, ...]:
    decimal = f"{float(q):.3f}"
    near = (decimal,) if Fraction(decimal) != q else ()
    return (*spell_fraction(other)[:2], *spell_fraction(-q if q else other)[:2], *near)


HOSTILE = ("\\frac" * 100, "(" * 500, "9^{64}" + "*9^{64}" * 60, "1+" * 250, "9" * 510, "9**9**9")


def main() -> None:
    drawn = random.Random(0)
    cases = [case for _ in range(-(-GOLDS // 11)) for case in draw_cases(drawn)]
    ours = judge(cases, accept)
    texts = sum(len(case.right) + len(case.wrong) for case in cases)
    golds = len(cases)
    unread = sum(read_math(case.gold) is None for case in cases)
    answers = [text for case in cases for text in (*case.right, *case.wrong)]
    began = process_time()
    for text in answers:
        read_math(text)
    rate = len(answers) / (process_time() - began)
    dearest = max(time_one(text) for text in HOSTILE)
    figures = [
        Figure("gold answers", golds, "", f"{texts:,} texts", bound=None),
        Figure("golds that are not read", unread, "", bound=0),
        Figure("wrong accepted", ours[1], "", bound=0),
        Figure("right accepted", ours[0], "", "of", sum(len(case.right) for case in cases)),
        Figure("an answer read", 1e6 / rate, "µs", f"{rate:,.0f} a second", bound=200),
        Figure("the dearest hostile one", dearest * 1e3, "ms"),
    ]
    if find_spec("math_verify"):
        figures += compare_with_math_verify(cases, ours[2])
    else:
        print("math-verify is not there, its rows are left out: pip install math-verify")
    report("the scorer of math, one core", figures, 1)


def time_one(text: str) -> float:
    began = process_time()
    for _ in range(20):
        read_math(text)
    return (process_time() - began) / 20


def accept(gold: str, text: str) -> bool:
    right, found = read_math(gold), read_math(text)
    return right is not None and found is not None and right.agrees_with(found)


def judge(
    cases: list[Case], judged: Callable[[str, str], bool]
) -> tuple[int, int, set[tuple[str, str]]]:
    """Right texts accepted, wrong ones accepted, and all that were."""
    right = wrong = 0
    accepted = set()
    for case in cases:
        for text in case.right:
            if judged(case.gold, text):
                right += 1
                accepted.add((case.gold, text))
        wrong += sum(judged(case.gold, text) for text in case.wrong)
    return right, wrong, accepted


def compare_with_math_verify(cases: list[Case], own: set[tuple[str, str]]) -> list[Figure]:
    import logging

    from math_verify import parse, verify

    logging.disable(logging.ERROR)

    def judged(gold: str, text: str) -> bool:
        return bool(verify(parse(f"${gold}$"), parse(f"${text.strip('$')}$")))

    right, wrong, accepted = judge(cases, judged)
    shared = len(own & accepted) / max(1, len(accepted))
    return [
        Figure(
            "right that math-verify accepts and ours does not", len(accepted - own), "", "of", right
        ),
        Figure("share of what math-verify accepts rightly", -shared, "", bound=-0.97),
        Figure("wrong that math-verify accepts", wrong, ""),
    ]


if __name__ == "__main__":
    main()
