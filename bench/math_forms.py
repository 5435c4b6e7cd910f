"""Answers of the MATH format that are one number, and texts that mean the same or something else.

The value of a text is known from its construction, by sympy, and not from reading it. It is None if
the text means nothing or more than one thing.
"""

import random
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

#: A number of sympy's, or a tuple: the kind of collection, and its values.
Truth = Any


@dataclass(frozen=True)
class Case:
    """A right answer as a book prints it, and texts as models write them.

    Attributes:
        form: its form, named as in `SHARES`.
        value: None if the grammar is not meant to know it.
        texts: each with its value; None: no value, or several.
        conventions: texts that some people take for right and others do not.
    """

    form: str
    gold: str
    value: Truth = None
    texts: tuple[tuple[str, Truth], ...] = ()
    conventions: tuple[str, ...] = ()


def is_same(one: Truth, other: Truth) -> bool:
    """Whether two values are equal, exactly."""
    if one is None or other is None:
        return False
    if isinstance(one, tuple) != isinstance(other, tuple):
        return False
    if not isinstance(one, tuple):
        if one == other:
            return True
        if sp.oo in (abs(one), abs(other)) or abs(sp.N(one - other, 40)) > sp.Float("1e-25"):
            return False
        return bool(sp.simplify(one - other) == 0)
    kind, *values = one
    if kind != other[0] or len(one) != len(other):
        return False
    if kind in ("list", "set", "union"):  # without order
        rest = list(other[1:])
        for value in values:
            place = next((i for i, there in enumerate(rest) if is_same(value, there)), None)
            if place is None:
                return False
            rest.pop(place)
        return True
    return all(map(is_same, values, other[1:]))


# --- numbers


def spell(q: Fraction, command: str = "frac") -> str:
    """A rational in LaTeX."""
    sign, a, b = "-" if q < 0 else "", abs(q.numerator), q.denominator
    return f"{sign}{a}" if b == 1 else rf"{sign}\{command}{{{a}}}{{{b}}}"


def exact(q: Fraction | int) -> Truth:
    return sp.Rational(q.numerator, q.denominator)


def respell(q: Fraction) -> list[str]:
    """Other spellings of the number."""
    sign, a, b = "-" if q < 0 else "", abs(q.numerator), q.denominator
    if b == 1:
        found = [f"{sign}{a}.0", rf"\frac{{{sign}{2 * a}}}{{2}}", f"{sign}{a}.00", f"{sign} {a}"]
        if a >= 1_000:
            grouped = f"{a:,}"
            found += [sign + grouped.replace(",", by) for by in (",", "{,}", r",\!", r"\,")]
        return found
    found = [spell(q, "dfrac"), spell(q, "tfrac"), f"{sign}{a}/{b}", rf"\frac{{{sign}{a}}}{{{b}}}"]
    found += [rf"{sign}\frac{{{3 * a}}}{{{3 * b}}}", f"{sign}({a}/{b})"]
    if a < 10 and b < 10:
        found += [rf"{sign}\frac{a}{b}", rf"{sign}\dfrac {a}{b}"]
    elif a > 9 and b < 10:
        found.append(rf"{sign}\frac{{{a}}}{b}")
    if a > b:
        found.append(rf"{sign}{a // b}\frac{{{a % b}}}{{{b}}}")
    if 10**6 % b == 0:
        found.append(sign + f"{a / b:.6f}".rstrip("0"))
    return found


def number_texts(q: Fraction) -> tuple[tuple[str, Truth], ...]:
    """Right spellings, and wrong neighbours."""
    others = {
        *(q + Fraction(1, q.denominator), q - 1, -q, q * 10, q / 10, q / 100),
        1 / q if q else q + 2,
        *(q + Fraction(1, 100), q * 1_000, Fraction(q.numerator, q.denominator + 1)),
    }
    found = [(text, exact(q)) for text in respell(q)]
    for other in sorted(others):
        found.append((spell(other), exact(other)))
        found.append((f"{other.numerator}/{other.denominator}", exact(other)))
    for places in (0, 1, 2, 3):
        rounded = f"{float(q):.{places}f}"
        found.append((rounded, exact(Fraction(rounded))))
    return tuple(found)


def draw_fraction(drawn: random.Random) -> Fraction:
    while True:
        largest = drawn.choice((12, 60, 250))
        found = Fraction(drawn.randint(1, largest), drawn.randint(2, largest))
        if found.denominator > 1:
            return found if drawn.random() < 0.8 else -found


def draw_whole(drawn: random.Random) -> int:
    size = drawn.choice((10, 10, 50, 100, 100, 1_000, 10_000))
    return drawn.randint(0, size) if drawn.random() < 0.9 else -drawn.randint(1, size)


def integer(drawn: random.Random) -> Case:
    n = draw_whole(drawn)
    return Case("integer", f"{n}", exact(n), number_texts(Fraction(n)), (rf"{n}\text{{ cm}}",))


def grouped(drawn: random.Random) -> Case:
    n = drawn.randint(1_000, drawn.choice((9_999, 99_999, 10**7)))
    by = drawn.choice((r",\!", r",\!", ",", "{,}"))
    return Case(
        "integer in threes",
        f"{n:,}".replace(",", by),
        exact(n),
        (*number_texts(Fraction(n)), (f"{n}", exact(n)), (f"{n:,}".replace(",", ", "), None)),
    )


def fraction(drawn: random.Random) -> Case:
    q = draw_fraction(drawn)
    gold = spell(q, drawn.choice(("frac", "frac", "frac", "frac", "dfrac", "tfrac")))
    if abs(q.numerator) < 10 and q.denominator < 10 and drawn.random() < 0.3:
        gold = gold.replace("{", "", 1).replace("}{", "", 1).replace("}", "")
        if drawn.random() < 0.3:
            gold = gold.replace("frac", "frac ")
    return Case("fraction", gold, exact(q), number_texts(q))


def mixed(drawn: random.Random) -> Case:
    whole, b = drawn.randint(1, 30), drawn.randint(2, 12)
    a = next(a for a in range(drawn.randint(1, b - 1), 0, -1) if Fraction(a, b).denominator == b)
    q = whole + Fraction(a, b)
    gold = drawn.choice((rf"{whole}\frac{{{a}}}{{{b}}}", rf"{whole}\ \frac{{{a}}}{{{b}}}"))
    product = rf"{whole}\cdot\frac{{{a}}}{{{b}}}", exact(whole * (q - whole))
    texts = ((spell(q), exact(q)), product)
    return Case("mixed number", gold, exact(q), (*number_texts(q), *texts))


def decimal(drawn: random.Random) -> Case:
    places = drawn.choice((1, 1, 2, 2, 3, 4))
    digits = drawn.randint(1, 10 ** (places + 2)) * 10 + drawn.randint(1, 9)
    q = Fraction(digits, 10 ** (places + 1))
    gold = f"{float(q):.{places + 1}f}"
    if q < 1 and drawn.random() < 0.4:
        gold = gold.removeprefix("0")
    return Case("decimal", gold, exact(q), (*number_texts(q), (gold + "0", exact(q))))


def repeating(drawn: random.Random) -> Case:
    period = drawn.choice(("3", "6", "27", "142857", "81", "18", "054"))
    whole = drawn.choice((0, 0, 0, 1, 2))
    q = whole + Fraction(int(period), 10 ** len(period) - 1)
    texts = ((f"{whole}.{period * 2}", None), (rf"{whole}.\overline{{{period * 2}}}", exact(q)))
    gold = rf"{whole}.\overline{{{period}}}"
    return Case("repeating decimal", gold, exact(q), (*number_texts(q), *texts))


# --- roots and π


def draw_free(drawn: random.Random) -> int:
    return drawn.choice((2, 2, 2, 3, 3, 3, 5, 5, 6, 7, 10, 11, 13, 14, 15, 17, 21, 30, 35))


def radical(drawn: random.Random) -> Case:
    n, q = draw_free(drawn), abs(draw_fraction(drawn))
    if drawn.random() < 0.6:
        q = Fraction(drawn.randint(1, 25))
    a, b, sign = q.numerator, q.denominator, drawn.choice(("", "", "", "-"))
    value = exact(q if not sign else -q) * sp.sqrt(n)
    front = "" if a == 1 else f"{a}"
    top = rf"{front}\sqrt{{{n}}}"
    gold = sign + (top if b == 1 else rf"\frac{{{top}}}{{{b}}}")
    if n < 10 and drawn.random() < 0.2:
        gold = gold.replace(f"{{{n}}}", f"{n}", 1)
    right = [
        rf"{sign}\sqrt{{{a * a * n}}}" + ("" if b == 1 else f"/{b}"),
        rf"{sign}{spell(q)}\sqrt{{{n}}}",
        rf"{sign}{spell(q)} \cdot \sqrt{{{n}}}",
        rf"{sign}\frac{{{a * n}}}{{{b}\sqrt{{{n}}}}}",
        rf"{sign}\dfrac{{{front}\sqrt{{{n}}}}}{{{b}}}",
        rf"{sign}{a}\sqrt{{{n}}}/{b}",
        f"{sign}{a}sqrt({n})/{b}",
        f"{sign}{a}\u221a{{{n}}}/{b}",
    ]
    wrong = [
        (rf"{sign}\frac{{{a + 1}\sqrt{{{n}}}}}{{{b}}}", value * (a + 1) / a),
        (rf"{sign}\frac{{{a}\sqrt{{{n + 1}}}}}{{{b}}}", value / sp.sqrt(n) * sp.sqrt(n + 1)),
        (rf"{sign}\frac{{{a * n}}}{{{b}}}", value * sp.sqrt(n)),
        (rf"{'' if sign else '-'}\frac{{{a}\sqrt{{{n}}}}}{{{b}}}", -value),
        (rf"{sign}\frac{{{a}}}{{{b}}}", value / sp.sqrt(n)),
        (rf"{sign}\sqrt{{{a * n}}}/{b}", value / a * sp.sqrt(a)),
        *((f"{float(value):.{d}f}", sp.Rational(f"{float(value):.{d}f}")) for d in (1, 2, 3, 6)),
    ]
    return Case("radical", gold, value, (*((text, value) for text in right), *wrong))


def surd(drawn: random.Random) -> Case:
    n, a, b = draw_free(drawn), drawn.randint(1, 20), drawn.randint(1, 9)
    c, sign = drawn.choice((1, 1, 2, 3, 4)), drawn.choice("+-")
    signed = b if sign == "+" else -b
    value = (a + signed * sp.sqrt(n)) / sp.Integer(c)
    root = rf"{'' if b == 1 else b}\sqrt{{{n}}}"
    top = rf"{a} {sign} {root}"
    right = [
        rf"\frac{{{a}{sign}{root}}}{{{c}}}",
        rf"\frac{{{a}}}{{{c}}}{sign}\frac{{{root}}}{{{c}}}",
        rf"\frac{{1}}{{{c}}}({a}{sign}{root})",
        rf"({a}{sign}{root})/{c}",
        rf"({a}{sign}{b}sqrt({n}))/{c}",
        rf"\frac{{{2 * a}{sign}{2 * b}\sqrt{{{n}}}}}{{{2 * c}}}",
    ]
    if (norm := a * a - signed * signed * n) != 0:
        swapped = "-" if sign == "+" else "+"
        right.append(rf"\frac{{{norm}}}{{{c}({a}{swapped}{root})}}")
    wrong = [
        (rf"\frac{{{a}{'-' if sign == '+' else '+'}{root}}}{{{c}}}", (a - signed * sp.sqrt(n)) / c),
        (rf"{a}{sign}\frac{{{root}}}{{{c}}}", a + signed * sp.sqrt(n) / c),
        (rf"\frac{{{a}{sign}{root}}}{{{c + 1}}}", value * c / (c + 1)),
        (rf"\sqrt{{{n}}}", sp.sqrt(n)),
        (rf"\frac{{{a} \pm {root}}}{{{c}}}", None),
        (f"{float(value):.4f}", sp.Rational(f"{float(value):.4f}")),
    ]
    gold = top if c == 1 else rf"\frac{{{top}}}{{{c}}}"
    return Case("sum with radicals", gold, value, (*((t, value) for t in right), *wrong))


def choices(drawn: random.Random) -> Case:
    n, a, c = draw_free(drawn), drawn.randint(1, 20), drawn.choice((1, 1, 2, 3))
    ends = [(a + s * sp.sqrt(n)) / sp.Integer(c) for s in (1, -1)]
    spelled = [rf"\frac{{{a}{s}\sqrt{{{n}}}}}{{{c}}}" for s in "+-"]
    value = ("list", *ends)
    gold = rf"{a} \pm \sqrt{{{n}}}" if c == 1 else rf"\frac{{{a} \pm \sqrt{{{n}}}}}{{{c}}}"
    texts = (
        (", ".join(spelled), value),
        (",".join(reversed(spelled)), value),
        (f"x = {spelled[0]}, x = {spelled[1]}", value),
        (rf"{spelled[0]} \text{{ and }} {spelled[1]}", value),
        (f"x = {spelled[0]} or x = {spelled[1]}", value),
        *((text, end) for text, end in zip(spelled, ends, strict=True)),
        (rf"{a + 1} \pm \sqrt{{{n}}}", ("list", a + 1 + sp.sqrt(n), a + 1 - sp.sqrt(n))),
    )
    return Case("list with \u00b1", gold, value, texts)


def circle(drawn: random.Random) -> Case:
    q = Fraction(drawn.randint(1, 60), drawn.choice((1, 1, 1, 2, 3, 4, 6)))
    a, b = q.numerator, q.denominator
    top = rf"{'' if a == 1 else a}\pi"
    gold = top if b == 1 else rf"\frac{{{top}}}{{{b}}}"
    value = exact(q) * sp.pi
    right = [
        rf"{spell(q)}\pi",
        rf"{spell(q)} \cdot \pi",
        rf"{a}\pi/{b}",
        f"{a}\u03c0/{b}",
        f"{a}pi/{b}",
        rf"\dfrac{{{a}\pi}}{{{b}}}",
        rf"\frac{{{2 * a}\pi}}{{{2 * b}}}",
    ]
    wrong = [
        (spell(q), exact(q)),
        (rf"\frac{{{a + 1}\pi}}{{{b}}}", exact(Fraction(a + 1, b)) * sp.pi),
        (rf"{a}\pi^2/{b}", value * sp.pi),
        *((f"{float(value):.{d}f}", sp.Rational(f"{float(value):.{d}f}")) for d in (0, 2, 4)),
    ]
    return Case("multiple of \u03c0", gold, value, (*((t, value) for t in right), *wrong))


# --- with a text around it


def percent(drawn: random.Random) -> Case:
    q = Fraction(*drawn.choice(((drawn.randint(1, 100), 1), (drawn.randint(1, 999), 10))))
    text = f"{float(q):g}"
    texts = [(rf"{text} \%", exact(q)), (f"{text}%", exact(q)), (text, exact(q))]
    texts += [(rf"{text}\text{{ percent}}", exact(q)), (rf"{text}\text{{ cm}}", None)]
    texts += [(rf"{float(q + 1):g}\%", exact(q + 1)), (rf"{float(q) / 10:g}\%", exact(q / 10))]
    apart = (f"{float(q) / 100:g}", spell(q / 100))
    return Case("percentage", rf"{text}\%", exact(q), tuple(texts), apart)


def money(drawn: random.Random) -> Case:
    cents = drawn.randint(1, 99_999)
    q, text = Fraction(cents, 100), f"{cents / 100:.2f}"
    if drawn.random() < 0.4:
        q, text = Fraction(cents), f"{cents:,}".replace(",", drawn.choice((r",\!", ",", "{,}")))
    plain = f"{float(q):.2f}" if q.denominator > 1 else f"{q}"
    right = [rf"\${plain}", f"${plain}", plain, rf"{plain}\text{{ dollars}}", rf"\$ {plain}"]
    wrong = [(rf"\${plain}0{plain}", None), (rf"{plain}\text{{ cents}}", None)]
    others = (f"{float(other):.2f}" for other in (q + 1, q / 2))
    wrong += [(rf"\${other}", exact(Fraction(other))) for other in others]
    return Case("money", rf"\${text}", exact(q), (*((t, exact(q)) for t in right), *wrong))


def degrees(drawn: random.Random) -> Case:
    n = drawn.randint(1, 360)
    right = [f"{n}", rf"{n}^{{\circ}}", f"{n}\u00b0", rf"{n}\text{{ degrees}}", f"{n} degrees"]
    wrong = [(rf"{n + 1}^\circ", exact(n + 1)), (rf"{360 - n}^\circ", exact(360 - n))]
    wrong += [(rf"{n}\%", None), (rf"{n}^0", exact(1))]
    return Case("degrees", rf"{n}^\circ", exact(n), (*((t, exact(n)) for t in right), *wrong))


def unit(drawn: random.Random) -> Case:
    q = Fraction(drawn.randint(2, 500), drawn.choice((1, 1, 1, 2, 10)))
    text = f"{float(q):g}"
    names = ("cm", "inches", "feet", "units", "square units", "meters", "miles", "hours", "pounds")
    name = drawn.choice(names)
    command, power = drawn.choice(("text", "text", "mbox")), ""
    if name in ("cm", "inches", "feet", "meters"):
        power = drawn.choice(("", "^2", "^3"))
    right = [text, rf"{text} \text{{ {name}}}{power}", rf"{text}\,\mathrm{{{name}}}{power}"]
    right += [rf"{text} {name}{power}"] if len(name) > 3 and " " not in name else []
    wrong = [(rf"{text}\text{{ grams}}", None), (rf"{text}\text{{ million {name}}}{power}", None)]
    wrong += [(rf"{float(q + 1):g}\text{{ {name}}}{power}", exact(q + 1))]
    gold = rf"{text}\{command}{{ {name}}}{power}"
    return Case("number with a unit", gold, exact(q), (*((t, exact(q)) for t in right), *wrong))
