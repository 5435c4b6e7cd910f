"""Answers as models write them, made for tests: for a question and its right answer, spellings that
are right and texts that are not.

A text's value is known from its construction. Wrong texts are near misses: another value in a right
spelling, several answers at once, another unit, the question's own expression, a text cut off.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

#: Text around an answer that does not change it. The last ones are prose.
_DRESSINGS = (
    *("{}", "${}$", r"\({}\)", r"\[{}\]", "$${}$$", r"\boxed{{{}}}", r"$\boxed{{{}}}$", "{}."),
    *(" {} ", "\u00a0{}\u202f", "= {}", "x = {}", "$x = {}$", r"\boxed{{x = {}}}", "**{}**"),
    *(r"\text{{{}}}", r"\mathbf{{{}}}", r"\mathrm{{{}}}", r"\textbf{{{}}}", r"\displaystyle {}"),
    *(r"\boxed{{\text{{{}}}}}", r"\fbox{{{}}}", r"\boldsymbol{{{}}}", r"{}\,", "x_1 = {}"),
    *(r"\theta = {}", "AB = {}", "${}$.", r"\boxed{{{}}}.", "**${}$**", "n={}", r"\textbf{{${}$}}"),
    *("The answer is {}", "{} (exactly)"),
)
#: Texts with a right answer `{0}` and a wrong one `{1}` that are no single answer, or another.
_HEDGES = (
    *("{0} or {1}", "{1} or {0}", "{0}, {1}", "{0} and {1}", "{0} ({1})", "{0}; {1}", "{0} {1}"),
    *(r"{0} \text{{ or }} {1}", "{0}/{1}", "{0}={1}", "{0} \u2248 {1}", r"\boxed{{{0}}}{1}"),
    *(r"\boxed{{{0}}} \boxed{{{1}}}", r"\text{{{0}}}{1}", "x = {0}, y = {1}", "[{0}, {1}]"),
    *("({0}, {1})", r"\{{{0}, {1}\}}", "{0}|{1}", "{0}\n{1}", "{0} + {1}", "{1} - {0}", "{0}^{1}"),
    *(r"{0} \pm {1}", r"\pm {1}", "not {0}", r"\text{{not }} {0}", "{0}...", r"{0}\ldots", "{0}?"),
    *("~{0}!", "{0} \\times 10^{{1}}", "{0} million", r"{0}\text{{ dozen}}", "{0}e1", "{0}x"),
    *("2x = {0}", "-x = {0}", "x \\ne {0}", "x > {0}", r"x \ge {0}", "{0}_{{2}}", "{0}:{1}"),
    *(r"\frac{{{0}}}{{2}}", r"\sqrt{{{0}}}{1}", "9{0}", "{{{0}", "{0}}}", "${0}", r"\boxed{{{0}"),
    *("{0}\\%", "{0}\\text{{ kg}}", "{0} parsecs", "{0}i", "|{0}", "1/({0})+0", "{0}\\cdot 2"),
)


@dataclass(frozen=True, slots=True)
class Spelled:
    """A question, its right answer, and answers to it."""

    question: str
    gold: str
    right: tuple[str, ...]
    wrong: tuple[str, ...]


def draw_spelled(seed: int, rounds: int) -> Iterator[Spelled]:
    """Cases of every form, `rounds` of each; equal for equal arguments."""
    drawn = random.Random(seed)
    for _ in range(rounds):
        for form in _FORMS:
            yield form(drawn)


def _dress(drawn: random.Random, texts: list[str], count: int) -> list[str]:
    """Each text, and as many more in dressings."""
    dressed = [dressing.format(drawn.choice(texts)) for dressing in drawn.sample(_DRESSINGS, count)]
    return [*texts, *(text for text in dressed if r"\text{\frac" not in text)]


def _miss(drawn: random.Random, gold: str, others: list[str]) -> list[str]:
    """Near misses of an answer: other values, in dressings too, and hedges with them."""
    dressed = [d.format(other) for other in others for d in drawn.sample(_DRESSINGS, 6)]
    hedged = [hedge.format(gold, drawn.choice(others)) for hedge in _HEDGES]
    return [*others, *dressed, *hedged]


def _case(
    drawn: random.Random,
    question: str,
    gold: str,
    right: list[str],
    others: list[str],
    more: tuple[str, ...] = (),
) -> Spelled:
    spelled = dict.fromkeys(_dress(drawn, [gold, *right], 5))
    wrong = dict.fromkeys([*_miss(drawn, gold, others), *more])
    return Spelled(
        question, gold, tuple(spelled), tuple(one for one in wrong if one not in spelled)
    )


def _near(n: int) -> list[str]:
    found = (n + 1, n - 1, -n, n * 10, n + 10, 2 * n, n * 100, n + 100)
    return [str(other) for other in dict.fromkeys(found) if other != n]


def _draw_whole(drawn: random.Random) -> int:
    return drawn.choice(
        (drawn.randint(2, 99), drawn.randint(100, 999), drawn.randint(1_000, 10**7))
    )


def _whole(drawn: random.Random) -> Spelled:
    n = _draw_whole(drawn)
    right = [f"{n}.0", f"{n:,}", f"+{n}"]
    right += [f"{n:,}".replace(",", by) for by in ("{,}", r",\!", r"\,", "\u202f")]
    return _case(drawn, "What is the least such value?", f"{n}", right, _near(n))


def _negative(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 500)
    right = [f"{sign}{n}" for sign in "\u2212\u2013\u2010\u2011\uff0d"] + [f"- {n}", f"(-{n})"]
    return _case(drawn, "What is its minimum?", f"-{n}", right, _near(-n))


def _aime(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 99)
    return _case(drawn, "Find the remainder.", f"{n:03}", [f"{n}"], _near(n), (f"{n:05}", f"0.{n}"))


def _money(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 9_999)
    question = "A coat costs $30 and two hats cost $12. What does she pay?"
    right = [f"${n}", rf"\${n}", f"${n}.00", f"{n} dollars", rf"{n}\text{{ dollars}}", f"{n:,}"]
    others = [f"${other}" for other in _near(n)]
    return _case(drawn, question, f"{n}", right, others, (f"{n} cents", f"{n}\u20ac", f"{n} $ 1"))


def _cents(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 999)
    others = [*_near(n), f"${n}", rf"\${n}", f"{n} dollars"]
    right = [f"{n} cents", rf"{n}\text{{ cents}}"]
    return _case(drawn, "An egg costs $2. How many cents does he get?", f"{n}", right, others)


def _percentage(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 99)
    question = drawn.choice(("What percent of them are red?", "Give it as a percentage."))
    right = [rf"{n}\%", f"{n}%", f"{n} percent", rf"{n}\text{{ percent}}", rf"{n}.0\%"]
    others = [rf"{n + 1}\%", f"0.{n:02}", rf"0.{n:02}\%", rf"{n}00\%"]
    return _case(drawn, question, f"{n}", right, others)


def _share(drawn: random.Random) -> Spelled:
    """A probability: no percentage is asked for."""
    n = drawn.choice((5, 20, 25, 40, 50, 75))
    q = Fraction(n, 100)
    others = [rf"{n}\%", f"{n}", f"{n}%", rf"0.{n:02}\%", f"0.{n:02}1", f"{q.denominator}"]
    right = [f"{float(q)}", f"{q}", rf"\dfrac{{{q.numerator}}}{{{q.denominator}}}"]
    gold = rf"\frac{{{q.numerator}}}{{{q.denominator}}}"
    return _case(drawn, "What is the probability that it rains?", gold, right, others)


def _angle(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 359)
    question = drawn.choice(
        ("How many degrees is angle ABC?", r"Angle $A$ is $40^\circ$. Find $B$.")
    )
    right = [rf"{n}^\circ", rf"{n}^{{\circ}}", f"{n}\u00b0", f"{n} degrees", rf"{n}\degree"]
    right += [rf"\angle ABC = {n}^\circ", rf"m\angle B = {n}"]
    others = [*_near(n), rf"{n + 1}^\circ", rf"{360 - n + 360}^\circ"]
    return _case(
        drawn, question, f"{n}", right, others, (f"{n} radians", rf"{n}^\circ C", f"{n}^0")
    )


def _radians(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 12)
    gold = rf"\frac{{\pi}}{{{n}}}"
    right = [
        rf"\pi/{n}",
        f"\u03c0/{n}",
        rf"\dfrac{{\pi}}{{{n}}}",
        rf"\frac{{1}}{{{n}}}\pi",
        f"pi/{n}",
    ]
    others = [rf"\frac{{\pi}}{{{n + 1}}}", rf"\frac{{\pi^2}}{{{n}}}", f"{3.14159265 / n:.4f}"]
    others += [rf"\frac{{\pi}}{{{n}}}^\circ", rf"\left(\frac{{\pi}}{{{n}}}\right)^\circ"]
    return _case(drawn, "Give the angle in radians.", gold, right, others)


def _measure(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 999)
    name, short, other = drawn.choice(
        (
            *(("centimeters", "cm", "meters"), ("inches", "inches", "feet")),
            *(("minutes", "min", "hours"), ("kilograms", "kg", "pounds"), ("miles", "miles", "km")),
        )
    )
    question = drawn.choice(
        (
            f"How many {name} is it?",
            f"What is the size in {name}?",
            f"One part is 3 {name}. And it?",
        )
    )
    right = [f"{n} {short}", rf"{n}\text{{ {short}}}", rf"{n}\,\mathrm{{{short}}}", f"{n} {name}"]
    others = [
        f"{n} {other}",
        rf"{n}\text{{ {other}}}",
        f"{n + 1} {short}",
        rf"{n}\text{{ {short}}}^2",
    ]
    return _case(drawn, question, f"{n}", right, others, (rf"{n}\text{{ square {name}}}",))


def _area(drawn: random.Random) -> Spelled:
    n = drawn.randint(2, 999)
    question = "A side is 5 cm. What is the area in square centimeters?"
    right = [
        f"{n} cm\u00b2",
        rf"{n}\text{{ cm}}^2",
        f"{n} cm^2",
        rf"{n}\text{{ square centimeters}}",
    ]
    others = [f"{n} cm", rf"{n}\text{{ cm}}", rf"{n}\text{{ cm}}^3", f"{n + 1} cm^2", f"{n}^2"]
    return _case(drawn, question, f"{n}", right, others)


def _counted(drawn: random.Random) -> Spelled:
    n, thing = drawn.randint(2, 99), drawn.choice(("apples", "students", "ways", "red balls"))
    right = [rf"{n}\text{{ {thing}}}", rf"{n} \mathrm{{{thing}}}"]
    right += [f"{n} {thing}"] if " " not in thing else []
    others = [*_near(n), f"{n} pears", rf"{n}\text{{ million}}", rf"{n}\text{{ more {thing}}}"]
    return _case(
        drawn, f"How many {thing} are there?", f"{n}", right, others, (f"{n} {thing} {n + 1}",)
    )


def _fraction(drawn: random.Random) -> Spelled:
    b = drawn.randint(3, 99)
    a = next(a for a in range(drawn.randint(2, 60), 1_000) if gcd(a, b) == 1)
    gold = rf"\frac{{{a}}}{{{b}}}"
    right = [rf"\dfrac{{{a}}}{{{b}}}", f"{a}/{b}", rf"\tfrac{{{a}}}{{{b}}}"]
    right += [rf"{a // b}\frac{{{a % b}}}{{{b}}}", f"{a // b} {a % b}/{b}"] if a > b else []
    others = [f"{b}/{a}", rf"\frac{{{a + 1}}}{{{b}}}", f"-{a}/{b}", rf"\frac{{{a}}}{{{b + 1}}}"]
    others += [rf"\frac{{{2 * a}}}{{{2 * b}}}", f"{3 * a}/{3 * b}"]  # the question's own
    others += [f"{a / b:.3f}"] if Fraction(f"{a / b:.3f}") != Fraction(a, b) else []
    return _case(drawn, "What is the ratio of the two?", gold, right, others)


def _glyph(drawn: random.Random) -> Spelled:
    sign, q = drawn.choice(
        (("\u00bd", "1/2"), ("\u00be", "3/4"), ("\u2154", "2/3"), ("\u215b", "1/8"))
    )
    whole = drawn.randint(1, 40)
    gold = rf"{whole}\frac{{{q[0]}}}{{{q[2]}}}"
    value = whole + Fraction(q)
    right = [f"{whole}{sign}", f"{whole} {q}", f"{value}", f"{whole} {sign}"]
    others = [f"{whole + 1}{sign}", f"{whole}{q}", f"{whole}", f"{sign}{whole}", f"{whole}-{q}"]
    return _case(drawn, "How long is it?", gold, right, others)


def _repeating(drawn: random.Random) -> Spelled:
    digits = drawn.choice(("3", "6", "27", "81", "142857", "054"))
    q = Fraction(int(digits), 10 ** len(digits) - 1)
    gold = rf"\frac{{{q.numerator}}}{{{q.denominator}}}"
    right = [rf"0.\overline{{{digits}}}", rf"0.\bar{{{digits}}}", f"{q}"]
    right += [rf"0.\dot{{{digits}}}", rf"0.\bar {digits}"] if len(digits) == 1 else []
    others = [
        f"0.{digits * 2}",
        f"0.{digits}",
        rf"0.0\bar{{{digits}}}",
        rf"1.\overline{{{digits}}}",
    ]
    return _case(drawn, "What is the fraction?", gold, right, others)


def _root(drawn: random.Random) -> Spelled:
    n, k = drawn.choice((2, 3, 5, 7, 11)), drawn.randint(2, 9)
    right = [rf"{k}\sqrt {n}", f"{k}\u221a{n}", rf"{k} \cdot \sqrt{{{n}}}", f"{k}sqrt({n})"]
    right += [rf"\sqrt{{{k * k * n}}}", rf"\sqrt{{{n}}}\cdot{k}"]
    others = [
        rf"{k + 1}\sqrt{{{n}}}",
        rf"\sqrt{{{k * n}}}",
        rf"{k}\sqrt{{{n + 1}}}",
        f"{k * n**0.5:.4f}",
    ]
    return _case(drawn, "How long is the diagonal?", rf"{k}\sqrt{{{n}}}", right, others)


def _several(drawn: random.Random) -> Spelled:
    values = sorted(drawn.sample(range(-60, 300), drawn.choice((2, 3))))
    texts = [str(value) for value in values]
    turned = texts[::-1]
    right = [",".join(turned), " or ".join(texts), rf"\{{{', '.join(turned)}\}}"]
    right += [r" \text{ and } ".join(texts), ", ".join(f"x = {text}" for text in texts)]
    right += [
        ", ".join(f"x_{i} = {text}" for i, text in enumerate(texts, 1)),
        "x=" + ", ".join(texts),
    ]
    others = [", ".join([*texts[:-1], "777"]), ", ".join([*texts, "777"]), f"({', '.join(texts)})"]
    gold = drawn.choice((", ".join(texts), rf"\{{{','.join(texts)}\}}"))
    again = (texts[0],) if gold[0] == "\\" else (texts[0], ", ".join([*texts, texts[0]]))
    others += [f"[{', '.join(texts)}]", "".join(texts)]
    return _case(drawn, "Find all values of $x$.", gold, [*right, ", ".join(texts)], others, again)


def _point(drawn: random.Random) -> Spelled:
    a, b = drawn.sample(range(-40, 40), 2)
    gold = f"({a},{b})"
    right = [f"({a}, {b})", rf"\left({a}, {b}\right)", f"(x,y) = ({a},{b})", f"(x, y)=({a}, {b})"]
    others = [f"({b},{a})", f"({a},{b + 1})", f"[{a},{b}]", rf"\{{{a},{b}\}}", f"{a}, {b}"]
    others += [f"({a},{b},0)", f"(y,x) = ({a},{b})", f"(a,b) = ({a},{b})", f"({a};{b})"]
    plain = _case(drawn, "Find $(x,y)$.", gold, [], others)
    right = [gold, *right, f"${right[2]}$", rf"\boxed{{{right[1]}}}", rf"\({gold}\)", f"**{gold}**"]
    return Spelled(
        plain.question, gold, tuple(right), tuple(w for w in plain.wrong if w not in right)
    )


def _interval(drawn: random.Random) -> Spelled:
    a, b = sorted(drawn.sample(range(-40, 40), 2))
    gold = rf"[{a}, {b})"
    right = [rf"\left[{a},{b}\right)", rf"x \in [{a},{b})", rf"$x\in\left[{a}, {b}\right)$", gold]
    right += [rf"\boxed{{{gold}}}", rf"[ {a} , {b} )"]
    others = [
        f"({a}, {b})",
        f"[{a}, {b}]",
        f"({a}, {b}]",
        f"[{a}, {b + 1})",
        f"{a}, {b}",
        f"[{b}, {a})",
    ]
    plain = _case(drawn, "For which x does it hold?", gold, [], others)
    return Spelled(
        plain.question, gold, tuple(right), tuple(w for w in plain.wrong if w not in right)
    )


def _copied(drawn: random.Random) -> Spelled:
    """A question that shows a spelling of its answer, which is none."""
    n, k, r = drawn.randint(2, 60), drawn.randint(2, 9), drawn.choice((2, 3, 5, 7))
    questions: tuple[tuple[str, str, list[str], list[str]], ...] = (
        (
            f"What is ${n * k}/{k}$?",
            f"{n}",
            [],
            [f"{n * k}/{k}", rf"\frac{{{2 * n * k}}}{{{2 * k}}}"],
        ),
        (f"Evaluate {n * k} divided by {k}.", f"{n}", [], [f"{n * k}/{k}", rf"{n * k} \div {k}"]),
        (
            rf"Simplify $\sqrt{{{k * k * r}}}$.",
            rf"{k}\sqrt{{{r}}}",
            [f"{k}\u221a{r}"],
            [rf"\sqrt{{{k * k * r}}}", f"\u221a{k * k * r}"],
        ),
        (
            rf"Rationalize $\frac{{{k * r + 1}}}{{\sqrt{{{r}}}}}$.",
            rf"\frac{{{k * r + 1}\sqrt{{{r}}}}}{{{r}}}",
            [rf"\frac{{{k * r + 1}}}{{{r}}}\sqrt{{{r}}}"],
            [rf"\frac{{{k * r + 1}}}{{\sqrt{{{r}}}}}", rf"({k * r + 1})/\sqrt{{{r}}}"],
        ),
        (
            rf"Expand $ {k}({n}+\sqrt{{{r}}}) $.",
            rf"{k * n}+{k}\sqrt{{{r}}}",
            [rf"{k}\sqrt{{{r}}}+{k * n}"],
            [rf"{k}({n}+\sqrt{{{r}}})", rf"({n}+\sqrt{r})\cdot {k}"],
        ),
        (
            rf"Reduce $\frac{{{n * k}}}{{{(n + 1) * k}}}$.",
            rf"\frac{{{n}}}{{{n + 1}}}",
            [f"{n}/{n + 1}"],
            [rf"\frac{{{n * k}}}{{{(n + 1) * k}}}", f"{n * k}/{(n + 1) * k}"],
        ),
        (
            rf"Evaluate half of $ {2 * n}+{2 * k}\sqrt{{{r}}} $.",
            rf"{n}+{k}\sqrt{{{r}}}",
            [rf"{k}\sqrt{{{r}}}+{n}"],
            [rf"\frac{{{2 * n}+{2 * k}\sqrt{{{r}}}}}{{2}}", rf"({2 * n}+{2 * k}\sqrt{r})/2"],
        ),
    )
    question, gold, right, others = drawn.choice(questions)
    return _case(drawn, question, gold, right, others)


def _undivided(drawn: random.Random) -> Spelled:
    """A multiple of a symbol or a root, which a product or a quotient only describes."""
    n, k = drawn.randint(2, 60), drawn.randint(2, 9)
    sign = drawn.choice((r"\pi", *(rf"\sqrt{{{r}}}" for r in (2, 3, 5, 7))))
    gold = f"{n}{sign}"
    right = [rf"{n} \cdot {sign}", rf"{sign} \cdot {n}", rf"{n}\times{sign}"]
    others = [rf"\frac{{{n * k}{sign}}}{{{k}}}", f"{n * k}{sign}/{k}", rf"{n * k}\cdot{sign}/{k}"]
    others += [rf"{n}{sign}\cdot 1{k}/1{k}", rf"{n * k}\frac{{{sign}}}{{{k}}}", f"{n + 1}{sign}"]
    others += [rf"\frac{{{n}{sign}}}{{1}}", rf"\frac{{1}}{{{k}}}{sign}\cdot{n * k}", f"{n}"]
    return _case(drawn, "How much is one part of it?", gold, right, others)


_FORMS: tuple[Callable[[random.Random], Spelled], ...] = (
    *(_whole, _negative, _aime, _money, _cents, _percentage, _share, _angle, _radians, _measure),
    *(_area, _counted, _fraction, _glyph, _repeating, _root, _several, _point, _interval, _copied),
    _undivided,
)
