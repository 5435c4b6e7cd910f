"""Problems of the MATH format: right answers in many spellings, and no wrong ones."""

import json
import random
from fractions import Fraction
from hashlib import sha256

import pytest

from assay.environments import math_answer, math_terms, problem_file
from assay.environments.base import rate_answer
from assay.environments.listing import list_environments
from assay.environments.math_answer import (
    TEXT_MAX,
    Bracketed,
    Collection,
    Infinity,
    Number,
    read_math,
)
from assay.environments.math_file import find_boxed, read_math_row
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import make_seed

ALIKE = [
    (r"\frac{1}{2}", "0.5"),
    (r"\dfrac12", "1/2"),
    (r"-\frac{3}{4}", r"\frac{-3}{4}"),
    (r"3\frac{1}{2}", "3.5"),
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}"),
    (r"\frac{3+\sqrt{5}}{2}", r"\frac12(3+\sqrt5)"),
    (r"\frac{1}{1+\sqrt{2}}", r"\sqrt{2}-1"),
    (r"\frac{4\pi}{3}", r"\frac{4}{3}\pi"),
    (r"2^{10}", "1024"),
    (r"10^{-2}", "0.01"),
    ("12345", "12,345"),
    ("12345", r"12{,}345"),
    ("12345", r"12\,345"),
    ("(1,2)", r"\left( 1, 2 \right)"),
    (r"[0,\infty)", r"\left[0, \infty\right)"),
    (r"(-\infty,-1)\cup(1,\infty)", r"(1,\infty) \cup (-\infty,-1)"),
    (r"\{1,2,3\}", r"\left\{3, 2, 1\right\}"),
    ("1,2,3", "3, 2, 1"),
    ("5", "x = 5"),
    ("x=5", "5"),
    (r"x \in [0,1]", "[0,1]"),
    (r"50\%", "50"),
    (r"90^\circ", "90"),
    (r"\$18.90", "18.9"),
    ("7", "$7$"),
    ("7", r"\boxed{7}"),
    ("7", "7."),
    (r"\frac{\sqrt{3}}{4}", "\u221a3 / 4"),
    ("3/4", r"0.75"),
    ("6/2", "12/4"),
    ("12/18", "2/3"),
    (r"\sqrt{50}", r"5\sqrt2"),
    (r"5\sqrt2", r"\sqrt{50}"),
    (r"2+2\sqrt3", r"2(1+\sqrt3)"),
    (r"2^3 \cdot 5", "2^3*5"),
    ("10080", r"10,\!080"),
    ("(1000, 2)", r"(1,\!000, 2)"),
    (r"\$1,\!000", "1,000"),
    (r"\frac{270}7\text{ degrees}", r"\frac{270}{7}^\circ"),
    (r"15\mbox{ cm}^2", r"15 \text{ square cm}"),
    (r"1,234\text{ square feet}", "1234"),
    (r"5\text{ inches}", "5 inches"),
    (r"12\text{ cents}", "12"),
    (r"0.\overline{27}", r"\frac{3}{11}"),
    (r"2.1\overline{6}", r"\frac{13}{6}"),
    (r"1 \pm \sqrt{19}", r"1-\sqrt{19}, 1+\sqrt{19}"),
    (r"\{1\pm\sqrt{5},-2\}", r"\{-2, 1+\sqrt5, 1-\sqrt5\}"),
    (r"\frac{3\pm\sqrt5}2", r"\frac{3+\sqrt5}{2} \text{ or } \frac{3-\sqrt5}{2}"),
    ("1,2", "x = 1, x = 2"),
    ("1,2", "1 or 2"),
    (r"\frac\pi6", "pi/6"),
    (r"2\cdot 3\frac{1}{2}", "7"),
    ("2\\sqrt{3}", "2sqrt(3)"),
    ("7", r"\(7\)"),
    ("7", "= {7}"),
    ("7", r"\displaystyle 7"),
    ("7", r"\[\boxed{7}.\]"),
    ("5", "$$5$$"),
    (r"\frac12", r"$$ \boxed{\frac{1}{2}}. $$"),
    ("5", r"\fbox{5}"),
    (r"(1,\infty)", r"$\fbox{(1, \infty)}$"),
    ("1,2,3", "1, 2, and 3"),
    ("1,2,3", r"3, 2, \text{ or } 1"),
    ("1234,5", "1,234, and 5"),
    (r"\{1,2,3\}", r"\{1, 2, and 3\}"),
    ("(1,2,3)", "(1, 2, and 3)"),
    ("-5", "\u22125"),
    (r"\{3, 4\}", r"\{3, 3, 4\}"),
    (r"60^\circ, 120^\circ", "120, 60"),
    (r"\frac{\sqrt6}{2}", r"\frac{\sqrt3}{\sqrt2}"),
    (r"\sqrt6", r"\sqrt2\sqrt3"),
    (r"\frac{\sqrt6}{\sqrt2}", r"\sqrt6/\sqrt2"),
    (r"2\pi\sqrt3", r"2\sqrt3\pi"),
    (r"\frac{5+\sqrt5}{5}", r"\frac{1+\sqrt5}{\sqrt5}"),
    ("7", "007"),
    (r"\{1,2\}", "2, 1"),
    ("1,2", r"\{2,1\}"),
    (r"\{5\}", "5"),
    ("(1,2)", "(1,2)"),
    ("(x, y) = (1, 2)", "(1,2)"),
    ("x=5", "x_1 = 5"),
    ("5", "AB = 5"),
    ("60", r"m\angle ABC = 60"),
    ("60", r"\theta = 60"),
    ("1,2", "x_1 = 1, x_2 = 2"),
    ("13", r"\text{13}"),
    (r"\text{13}", "13"),
    ("42", r"\boxed{\mathbf{42}}"),
    (r"\frac12", r"\textbf{1/2}"),
    ("1,2", r"\text{1 or 2}"),
    ("5", "**5**"),
    (r"\frac13", r"0.\bar{3}"),
    (r"\frac{3}{11}", r"0.\bar{27}"),
    (r"\frac16", r"0.1\dot 6"),
    (r"\frac12", "\u00bd"),
    ("3.5", "3\u00bd"),
    (r"\frac72", "3 1/2"),
    ("-5", "\u20135"),
    ("12345", "12\u202f345"),
    (r"25\text{ cm}^2", "25 cm\u00b2"),
    ("5 cm", "5"),
    ("1.5", "3\u00f72"),
    (r"-\$5", r"-5"),
]
DIFFERENT = [
    ("50", r"50\%"),
    ("0.5", "0.50001"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "(2,1)"),
    ("1/3", "0.333"),
    ("x=5", "y=5"),
    ("1,234", "1, 234"),
    (r"\sqrt{2}", "1.414"),
    (r"\pi", "3.14"),
    ("90", r"90\%"),
    ("3", "3, 3, 4"),
    ("3, 4", "3, 3, 4"),
    ("3, 3, 4", "3, 4"),
    ("5", "5 or 6"),
    *(("12", r"\{12, 13\}"), ("3, 3", r"\{3\}"), (r"\{3\}", "3, 3"), ("3, 4", "(3, 4)")),
    *((r"\{1,2\}", "(1,2)"), (r"\{5\}", "(5, 5)"), ("5", r"\{5\}"), ("(3,4)", "(x,y)=(3,4)")),
    *(("(x,y)=(3,4)", "(y,x)=(3,4)"), ("x=5", "y_1=5"), ("AB=5", "BC=5")),
    *(("18", "$18"), ("18", r"18\text{ cm}"), ("90", r"90^\circ"), ("0.5", r"50\%")),
    *(("25", r"25^{2}"), ("12", "1\u00b2")),
    ("5", "5, or 6"),
    ("1, 2", "1, 2, and 3"),
    ("(1,2,3)", "1, 2, and 3"),
    (r"2,\!500", "2, 500"),
    (r"5\text{ cm}", r"5\text{ m}"),
    (r"5\text{ cm}^2", r"5\text{ cm}"),
    ("5", r"5\text{ cm}"),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}"),
    (r"0.\overline{3}", "0.333"),
    ("x=1,x=2", "y=1,y=2"),
    # the question's arithmetic, left undone
    *(("10", "2+8"), ("10", "20-10"), ("10", r"5\cdot 2"), ("10", "5(2)"), ("10", "10+0")),
    *(
        ("1024", "2^{10}"),
        ("7", r"\sqrt{49}"),
        ("1", r"\frac{1}{2}+\frac12"),
        ("6", r"\frac{3}{0.5}"),
    ),
    *(("3", "6/2"), ("12", "144\u00f712"), ("90", r"\frac{630}{7}"), (r"\frac23", "12/18")),
    *(("5", "5/1"), ("3.5", "3 2/4"), ("-3", r"\frac{-6}{2}"), ("0", "0/5"), ("1, 2", "1, 4/2")),
    *((r"3\sqrt2", r"\sqrt2+2\sqrt2"), ("-1", r"(1+\sqrt2)(1-\sqrt2)"), (r"25\pi", r"5^2\pi")),
    *(
        ("84", r"\sqrt{56}\cdot\sqrt{126}"),
        ("6", r"\sqrt3\sqrt{12}"),
        ("2", r"\frac{\sqrt8}{\sqrt2}"),
    ),
    *(("4", r"\frac{8\pi}{2\pi}"), (r"\sqrt3", r"\sqrt6/\sqrt2"), (r"6\pi^2", r"2\pi\cdot 3\pi")),
    # and so is a symbol's or a root's factor
    *((r"90\pi", other) for other in (r"\frac{630\pi}{7}", r"630\pi/7", r"630\cdot\frac{\pi}{7}")),
    *((r"90\pi", other) for other in (r"45\pi\cdot2", r"\frac43\pi\cdot\frac{135}{2}")),
    *((r"3\sqrt3", r"\frac{6\sqrt3}{2}"), (r"\frac{\pi}{2}", r"\frac{5\pi}{10}")),
    *((r"\frac{\pi}{2}", r"\frac12\pi\cdot\frac33"), (r"\frac{1}{\pi}", r"\frac{2}{2\pi}")),
    *((r"3+2\sqrt2", r"(1+\sqrt2)^2"), ("(3, 4)", "(1+2, 4)"), ("24", r"2^3\cdot 3")),
]
UNKNOWN = [
    *(
        "",
        " ",
        ",",
        "(1,)",
        "-",
        "--1",
        "1+",
        "5 or",
        "5 5",
        "1 2",
        "0007",
        "00.5",
        "(1,000,",
        "1/0",
    ),
    *(r"\frac{1}{0}", r"\sqrt{-1}", r"\text{yes}", "x", "2x", "x+1", "9**9", "1e9", "nan", "3^2^1"),
    *("\u0663", "\u00b2", r"\sin 1", r"\int", "f(2)", "{1,2}", "5;6", "1 = 1", "x = y = 1", "2!"),
    *(r"\sqrt[3]{8}", "2^{100}", "9" * 41, r"\sqrt{1000001}", "\\", "$", "$$", r"\boxed{", "0x10"),
    *(
        r"5\text{ million}",
        r"5\text{ dozen}",
        r"5\text{ or more}",
        r"\text{ cm}",
        "5 apples",
        "5 in",
    ),
    *(r"5\text{ cm}\text{ cm}", r"3\text{ cm}, 4\text{ m}", r"\$5\text{ cents}", r"5\%^\circ"),
    *(r"\pm1\pm\sqrt2", "\\pm1," * 5 + "9", r"1,\!00", r"1,234{,}567", "2xy"),
    *(
        r"0.\overline{}",
        r"\overline{3}",
        "x = 1, y = 2",
        *("(x, 2) = (1, 2)", "(x) = 1", "x_ = 1", "x_12y = 1", "2x = 4", "x+1 = 5", "ABCD = 5"),
        *(r"\in [0,1]", r"\text{5} or \text{6}", r"\text{5", r"\text{not }5", "1 5/2", "1 0/2"),
        *("3 2/4 1/2", "1/2 1/2"),
        *(r"\textbf{}", r"\bar{3}", r"0.\dot{27}", "\u00bd\u00bd\u00bd=", "3\u00a0345\u2009678"),
        *("5 pears", r"\text{pears}", r"(1,2)\text{ pears}", r"5\text{ pears}^2"),
        r"1\text{ and }",
        "5..",
        *("(1 or 2)", r"[1 \text{ and } 2]", "(1, 2 and 3)", r"(-\infty or 3)", r"((1,2) or 3)"),
        *(r"x \in 5", r"x \in \infty", "0^0", "0^{0}"),
        *("$$$", "$$$$", "$$5$", "$$5$$$", "$$5$$ $$6$$", "$5$6$", "$$$5$$$"),
        *("1,, and 2", "1, and, 2", "1, and and 2", "1, and", ", and 2", "1 and, 2"),
        *(r"\fbox{5", r"\fbox{}", r"\fbox{5}, \fbox{6}", r"\fbox{5} or 6"),
    ),
]


def write_value(value):
    if isinstance(value, Infinity):
        return "∞" if value.sign > 0 else "-∞"
    if isinstance(value, Number):
        terms = []
        for (power, radicand), factor in value.terms:
            parts = ["√" + str(radicand)] * (radicand > 1) + ["π"] * power
            terms.append("·".join([str(factor)] * (factor != 1 or not parts) + parts))
        return " + ".join(terms) or "0"
    if isinstance(value, Bracketed):
        return f"{value.opening}{', '.join(map(write_value, value.values))}{value.closing}"
    assert isinstance(value, Collection)
    texts = sorted(write_value(one) for one, count in value.values for _ in range(count))
    joined = (" or " if value.kind == "union" else ", ").join(texts)
    return f"{{{joined}}}" if value.kind == "set" else joined


def write_answer(answer):
    if answer is None:
        return "nothing"
    name = f"{answer.variable} = " if answer.variable else ""
    return f"{name}{write_value(answer.value)} {answer.unit}".strip()


def test_the_modules_examples_are_read_as_it_says():
    table = math_answer.__doc__.partition("is read as\n")[2].partition("\n\n")[0]
    rows = [line.strip().rpartition("  ") for line in table.splitlines()]
    assert len(rows) == 19
    for text, _, reading in rows:
        assert write_answer(read_math(text.strip())) == reading, text


@pytest.mark.parametrize(("right", "answer"), ALIKE)
def test_spellings_of_one_value(right, answer):
    one, other = read_math(right), read_math(answer)
    assert one is not None
    assert other is not None
    assert one.agrees_with(other)


@pytest.mark.parametrize(("right", "answer"), DIFFERENT)
def test_a_nearly_right_answer_is_wrong(right, answer):
    one, other = read_math(right), read_math(answer)
    assert one is not None
    assert other is not None
    assert not one.agrees_with(other)


@pytest.mark.parametrize("text", UNKNOWN)
def test_texts_outside_the_grammar_have_no_value(text):
    assert read_math(text) is None


HOSTILE = [
    *("(" * 500, "\\frac" * 100, r"\sqrt{" * 80, "-" * 500, "1+" * 250, "{" * 500, "1," * 250),
    *("9^{64}" + "*9^{64}" * 60, r"\sqrt{999983}" + r"+\sqrt{999979}" * 30, "1/" * 250 + "1"),
    *(r"\frac{1}{" * 50 + "7" + "}" * 50, "((1,2),3)" * 50, r"\cup" * 100, "1" * 10**6),
    r"(1+\sqrt2)" * 50,
    r"\sqrt2\sqrt3\sqrt5\sqrt7" * 20,
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_read_or_not_and_never_raises(text):
    found = read_math(text)
    if found is not None and isinstance(found.value, Number):
        for _, value in found.value.terms:
            assert max(value.numerator.bit_length(), value.denominator.bit_length()) <= 1_024


def test_any_text_is_read_or_not():
    drawn = random.Random(5)
    parts = [
        *("1", "23", "0.5", "+", "-", "*", "/", "^", "(", ")", "[", "]", "{", "}", ",", "=", "x"),
        *(r"\frac", r"\sqrt", r"\pi", r"\{", r"\}", r"\cup", r"\infty", r"\in", "%", "$", " ", "."),
    ]
    read = 0
    for _ in range(20_000):
        text = "".join(drawn.choices(parts, k=drawn.randint(1, 12)))
        read += read_math(text) is not None
    assert read > 200


@pytest.mark.parametrize("sign", ["\u00a0", "\u2000", "\u2009", "\u202f", "\u205f", "\u3000"])
def test_blanks_of_unicode_are_blanks(sign):
    texts = f"{sign}7", f"7{sign}", f"${sign}7$", f"14{sign}/2", f"7{sign}\\%"
    assert [answer.value for answer in map(read_math, texts)] == [read_math("7").value] * len(texts)


@pytest.mark.parametrize("sign", ["\u200b", "\u1680", "\u2028", "\x0b", "\x0c", "\x1c", "\x85"])
def test_no_other_character_of_unicode_is_a_blank(sign):
    """Python's `strip` and `\\s` take them, and other languages take others."""
    texts = f"{sign}7", f"7{sign}", f"${sign}7$", f"1{sign}/2", f"90^{sign}\\circ"
    assert [read_math(text) for text in texts] == [None] * len(texts)


def test_sums_products_and_quotients_are_exact():
    """Against the same computed in fractions."""
    drawn = random.Random(7)
    for _ in range(300):
        a, b, c, d = (drawn.randint(1, 99) for _ in range(4))
        found = read_math(rf"\frac{{{a}}}{{{b}}} - {c}/{d} + {a}*({b}-{c})")
        expected = Fraction(a, b) - Fraction(c, d) + a * (b - c)
        assert found is not None
        assert found.value == read_math(str(expected)).value


def test_a_text_that_is_too_long_is_not_read():
    assert read_math("1" + " " * (TEXT_MAX - 1)) is not None
    assert read_math("1" + " " * TEXT_MAX) is None


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        (r"so it is \boxed{5}.", "5"),
        (r"\boxed{3} or rather \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\boxed{\left\{1\right\}}", r"\left\{1\right\}"),
        (r"\fbox{3}, then \fbox{\frac12}", r"\frac12"),
        (r"\boxed{3} and not \fbox{4}", "3"),
        (r"\boxed 5", None),
        ("5", None),
    ],
)
def test_the_last_box_holds_the_answer(solution, expected):
    assert find_boxed(solution) == expected


# --- a file

ROWS = [
    {"problem": "What is 1+1?", "solution": r"It is $\boxed{2}$.", "level": "Level 1"},
    {"problem": "Half?", "solution": r"$\boxed{\frac{1}{2}}$", "level": "Level 1", "type": "x"},
    {"problem": "Where?", "solution": "see", "answer": r"(1, \infty)", "level": 5},
    {"problem": "Who?", "solution": r"\boxed{\text{Ada}}", "level": "Level 2"},
    {"problem": "Which?", "solution": r"\boxed{3}", "level": "Level ?"},
]


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(problem_file, "_known", {})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([path])
    return make_environment(f"math:{sha256(path.read_bytes()).hexdigest()}", {})


def test_a_file_s_problems_are_asked_and_scored(tmp_path, known):
    environment = write(tmp_path / "math.jsonl", ROWS)
    assert list(environment.levels) == [1, 5]
    assert environment.skipped == {"words": [4], "no level of 1 to 5": [5]}
    problem = environment.make_problem(make_seed(1), [5])
    assert problem.prompt.startswith("Where?\nPlease reason step by step, and put the answer")
    right = rate_answer(1)
    assert environment.score(problem, "so $\\boxed{\\left(1, \\infty\\right)}$.") == right
    for wrong in ("(1, 2)", r"[1, \infty)", "", "(1, \\infty) or 2", r"(1, \infty)" * 2):
        assert environment.score(problem, f"so \\boxed{{{wrong}}}").correctness == 0
    assert environment.score(problem, r"#### (1, \infty)").correctness == 0
    asked = {environment.make_problem(make_seed(i), [1]).prompt[:5] for i in range(20)}
    assert asked == {"What ", "Half?"}


def test_a_file_is_listed_with_what_is_left_out(tmp_path, known):
    environment = write(tmp_path / "math.jsonl", ROWS)
    (entry,) = (e for e in list_environments() if e.name == environment.name)
    assert entry.usable
    assert entry.about.endswith(
        "2 rows filtered out: 1 no level of 1 to 5 (row 5), 1 words (row 4)"
    )


def test_a_parquet_file_is_the_same(tmp_path, known):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "math.parquet"
    rows = [
        {k: str(v) for k, v in row.items() if k in ("problem", "solution", "level")}
        for row in ROWS[:2]
    ]
    parquet.write_table(pa.Table.from_pylist(rows), path)
    add_problem_files([path])
    environment = make_environment(f"math:{sha256(path.read_bytes()).hexdigest()}", {})
    assert (list(environment.levels), environment.skipped) == ([1], {})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"problem": "1", "solution": ', "row 2: it "),
        (
            '{"answer": 5}',
            "row 2: it has answer: gsm:SHA256 takes question and answer, "
            "math:SHA256 takes problem and solution, code:SHA256 takes question and input_output, "
            "letters:SHA256 takes question and options, instructions:SHA256 takes prompt and "
            "instruction_id_list and kwargs$",
        ),
        (
            '{"question": "1", "answer": "#### 5"}',
            "row 2: it has question and answer, not problem and solution: gsm:SHA256 takes such "
            "files$",
        ),
        (
            '{"problem": "1", "solution": 5}',
            "row 2: its solution is 5, and math:SHA256 takes text: a problem, and a solution with "
            r"its answer in .boxed",
        ),
        ("{}", "row 2: it has no field: gsm:SHA256 takes question and answer, "),
        ('{"a\\nb": 1}', r"row 2: it has a: gsm:SHA256 takes"),
        ('{"problem": "1", "solution": "\\\\boxed{5"}', "row 2: the last .boxed. .* never closed"),
        ('{"problem": "1", "solution": "\\\\fbox{5"}', "row 2: the last .fbox. .* never closed"),
        (
            '{"problem": "1", "solution": "x", "answer": "\\\\frac{1}{2"}',
            "row 2: the braces of its answer are not balanced",
        ),
        ('{"problem": "", "solution": "x"}', "row 2: its problem has 0 characters"),
        (
            '{"problem": "\\u0000", "solution": "x"}',
            r"row 2: its problem holds the character U\+0000",
        ),
        ("[]", "row 2: it is not an object with problem and solution"),
        ('{"problem": "1", "solution": "' + "x" * 10**6 + '"}', "row 2: it has 1000"),
    ],
)
def test_a_damaged_row_is_named(tmp_path, known, line, said):
    path = tmp_path / "math.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    add_problem_files([path])
    with pytest.raises(ProblemFileError, match=said):
        make_environment(f"math:{sha256(path.read_bytes()).hexdigest()}", {})


def test_a_file_of_which_nothing_can_be_asked_is_refused(tmp_path, known):
    with pytest.raises(ProblemFileError, match="none of its 1 problems can be asked: 1 words"):
        write(tmp_path / "math.jsonl", [ROWS[3]])


def test_a_problem_that_is_asked_twice_is_asked_once(tmp_path, known):
    again = ROWS[0] | {"level": 5, "solution": r"$\boxed{2.0}$"}
    environment = write(tmp_path / "math.jsonl", [*ROWS[:2], again])
    assert (list(environment.levels), environment.skipped) == ([1], {"asked already": [3]})


def test_two_answers_to_one_problem_are_told(tmp_path, known):
    again = ROWS[0] | {"solution": r"$\boxed{3}$"}
    with pytest.raises(ProblemFileError, match=r"math.jsonl, row 3: it asks what row 1 asks"):
        write(tmp_path / "math.jsonl", [*ROWS[:2], again])


def test_an_empty_file_and_one_of_another_format_say_so(tmp_path, known):
    with pytest.raises(ProblemFileError, match=r"math\.jsonl is empty"):
        write(tmp_path / "math.jsonl", [])
    other = tmp_path / "other.jsonl"
    other.write_text('{"prose": "1"}\n')
    add_problem_files([other])
    about = {e.about for e in list_environments() if str(other) in e.about}
    assert len(about) == 1
    assert about.pop() == (
        f"{other}: row 1: it has prose: gsm:SHA256 takes question and answer, "
        "math:SHA256 takes problem and solution, code:SHA256 takes question and input_output, "
        "letters:SHA256 takes question and options, instructions:SHA256 takes prompt and "
        "instruction_id_list and kwargs; row 1: it has prose: search:SHA256 takes documents, with "
        "a text, and questions, with an answer; row 1: it has prose: text:SHA256 takes "
        "questions, and answers in words; row 1: it has prose, not function and inputs and "
        "outputs"
    )


def test_a_file_of_the_other_environment_is_known_by_its_fields(tmp_path, known):
    """Also where it has an `answer` besides, as both formats may."""
    path = tmp_path / "math.jsonl"
    path.write_text(json.dumps(ROWS[2]) + "\n")
    add_problem_files([path])
    digest = sha256(path.read_bytes()).hexdigest()
    assert {e.name for e in list_environments() if str(path) in e.about} == {f"math:{digest}"}
    said = "row 1: it has problem and solution, not question and answer: math:SHA256 takes such"
    with pytest.raises(ProblemFileError, match=said):
        make_environment(f"gsm:{digest}", {})


def test_a_whole_number_beside_a_problem_is_its_answer(tmp_path, known):
    row = {"problem": "What is 2+3?", "solution": "see", "answer": 5, "level": 1}
    environment = write(tmp_path / "math.jsonl", [row, row | {"problem": "!", "answer": None}])
    problem = environment.make_problem(make_seed(1), [1])
    assert environment.score(problem, r"\boxed{5}").correctness == MILLION
    assert environment.skipped == {"no \\boxed{…}": [2]}


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        *(
            (3.5, "3.5"),
            (25.0, "25"),
            (-0.125, "-0.125"),
            ([4], "4"),
            (["2.5"], "2.5"),
            ("025", "25"),
        ),
        *((0.0625, "0.0625"), (0.33333, "rounded numbers")),
        *((1 / 3, "rounded numbers"), (1e-9, "rounded numbers"), (1e300, "rounded numbers")),
        *((True, "answers of another type"), ({"a": 1}, "answers of another type")),
        *(([], "several answers"), ([3, 4], "several answers"), ([[3]], "several answers")),
    ],
)
def test_no_answer_is_replaced_by_another_of_its_row(tmp_path, known, answer, read):
    """A number or a list is the answer or none: the last box of the solution is no substitute."""
    row = {"problem": "What is half?", "solution": "We halve it.", "answer": answer, "level": 1}
    environment = write(tmp_path / "math.jsonl", [ROWS[1], row])
    assert environment.skipped == ({} if read[-1].isdigit() else {read: [2]})
    if read[-1].isdigit():
        asked = [environment.make_problem(make_seed(i), [1]) for i in range(30)]
        problem = next(one for one in asked if one.prompt.startswith("What"))
        assert environment.score(problem, f"\\boxed{{{read}}}").correctness == MILLION


def test_a_row_with_two_answers_is_not_asked(tmp_path, known):
    row = {"problem": "Half of 7?", "solution": r"\boxed{7}, then halve", "answer": 3.5, "level": 1}
    same = row | {"problem": "Of 14?", "solution": r"\boxed{x = \frac{14}{4}}"}
    environment = write(tmp_path / "math.jsonl", [row, same])
    assert environment.skipped == {"answer and \\boxed{…} differ": [1]}


@pytest.mark.parametrize(
    ("answer", "text", "reason"),
    [
        (r"\boxed{\frac{23}{2}}", r"\frac{23}{2}", None),
        (r"The answer is $\boxed{5}$.", "5", None),
        (r"It is \boxed{0.5}, or \boxed{\frac12}.", r"\frac12", None),
        (r"It is \boxed{2} or \boxed{3}.", "3", "several boxes"),
        (r"So \boxed{6}.", "6", "answer and \\boxed{…} differ"),
        (r"So \boxed{\text{Ada}}.", r"\text{Ada}", "words"),
        (r"So \fbox{5}", "5", None),
        ("5", "5", None),
    ],
)
def test_an_answer_with_a_box_is_what_the_box_holds(answer, text, reason):
    solution = r"\boxed{5}" if "6" in answer else "x"
    row = {"problem": "Which?", "solution": solution, "answer": answer, "level": 1}
    read = read_math_row(json.dumps(row).encode())
    assert (read.text, read.name_reason()) == (text, reason)


def test_a_box_in_another_column_of_answers_is_opened(tmp_path, known):
    row = {"problem": "Which?", "answer": "5", "gold": r"It is \boxed{5}.", "level": 1}
    assert write(tmp_path / "math.jsonl", [row]).skipped == {}
    wrong = row | {"problem": "Who?", "gold": r"\boxed{6}"}
    skipped = write(tmp_path / "math.jsonl", [row, wrong]).skipped
    assert skipped == {"answer and gold differ": [2]}


def test_thousands_in_a_list_are_numbers(tmp_path, known):
    row = {"problem": "Which?", "solution": "x", "answer": "1,034 or 5", "level": 1}
    environment = write(tmp_path / "math.jsonl", [row])
    problem = environment.make_problem(make_seed(1), [1])
    for text, earned in (("1,034 or 5", 1), ("5, 1034", 1), ("1, 034, 5", 0), ("1,034,5", 0)):
        assert environment.score(problem, f"\\boxed{{{text}}}").correctness == earned * MILLION


@pytest.mark.parametrize(
    ("problem", "answer", "is_asked"),
    [
        (r"Solve for $x$: $x^2-103x+300=0$.", "3,100", False),
        ("Find the two primes whose product is 707.", "7,101", False),
        ("Find the factors.", "2,100", False),
        ("Which?", "3,100 or 5", False),
        ("How many boys and girls are there?", "3,100", False),
        ("How many are red? How many are blue?", "3,100", False),
        ("How many pens are there in 9,000 boxes, and why?", "3,100", False),
        ("How many pens are there in 9,000 boxes?", "3,100", True),
        ("Ann and Bob go, and then buy pens. How much is it?", r"\$3,100", True),
        ("Find the sum.", "3,010", True),
        ("Find the sum.", r"3,\!100", True),
        ("Find the zeros.", "3, 100", True),
    ],
)
def test_a_comma_that_may_separate_two_numbers_is_not_asked(problem, answer, is_asked):
    row = read_math_row(json.dumps({"problem": problem, "answer": answer, "level": 1}).encode())
    assert row.name_reason() == (None if is_asked else "thousands or a list")


@pytest.mark.parametrize(
    ("problem", "answer", "is_asked"),
    [
        *(("What percent of 200 is 1?", text, False) for text in ("0.5", r"\frac12", "-0.5")),
        ("What percent is it?", "20, 0.3", False),
        ("What percent is red?", r"\frac{25\pi}{2}", False),
        *(("What percent is it?", text, True) for text in ("1", "0", "12.5", r"0.5\%", "20, 30")),
        ("What share is it?", "0.5", True),
    ],
)
def test_a_number_that_may_be_a_share_is_no_percentage(problem, answer, is_asked):
    row = read_math_row(json.dumps({"problem": problem, "answer": answer, "level": 1}).encode())
    assert row.name_reason() == (None if is_asked else "a share or a percentage")


@pytest.mark.parametrize(
    ("solution", "answer", "reason"),
    [
        (r"$x=\boxed{2}$ or $x=\boxed{3}$", None, "several boxes"),
        (r"$x=\boxed{2}$ or $x=\boxed{3}$", "3", "several boxes"),
        (r"\boxed{\text{none}}, or \boxed{3}", None, "several boxes"),
        (r"\fbox{2}, \fbox{3}", None, "several boxes"),
        (r"\boxed{\boxed{3}}", None, "several boxes"),
        (r"\boxed{0.5}, so \boxed{\frac12}", None, None),
        (r"\boxed{144/12}, so \boxed{12}", None, None),
        (r"\boxed{3100}, so \boxed{3,100}", "3100", None),
        (r"\boxed{3} and not \fbox{4}", None, None),
    ],
)
def test_boxes_with_other_values_leave_a_row_out(solution, answer, reason):
    row = {"problem": "Which?", "solution": solution, "answer": answer, "level": 1}
    assert read_math_row(json.dumps(row).encode()).name_reason() == reason


@pytest.mark.parametrize("answer", ["3,100", "1,200,300"])
def test_a_list_is_never_one_number(tmp_path, known, answer):
    """Where a question asks for several values, nobody knows what the comma is for."""
    asked = {"problem": "Find all roots.", "solution": "x", "answer": answer, "level": 1}
    one = asked | {"problem": "How much?"}
    spaced = asked | {"problem": "Find all.", "answer": answer.replace(",", ", ")}
    environment = write(tmp_path / "math.jsonl", [asked, one, spaced])
    assert environment.skipped == {"thousands or a list": [1]}
    scores = {}
    for seed in map(make_seed, range(20)):
        problem = environment.make_problem(seed, [1])
        for text in (answer, answer.replace(",", ", "), answer.replace(",", "")):
            scores[problem.prompt[:6], text] = environment.score(
                problem, f"\\boxed{{{text}}}"
            ).correctness
    digits, listed = answer.replace(",", ""), answer.replace(",", ", ")
    assert {key for key, score in scores.items() if score} == {
        *(("How mu", answer), ("How mu", digits), ("Find a", answer), ("Find a", listed))
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "matrices"),
        (r"\text{(C)}", "words"),
        (r"3+4i", "complex numbers"),
        (r"5x^2-7", "expressions in letters"),
        ("11_2", "numbers in a base"),
        (r"\log_2 3", "functions"),
        (r"x \ge 3", "inequalities"),
        ("3:2", "ratios and times"),
        (r"1 \cap 2", "other forms"),
    ],
)
def test_skipped_rows_have_a_reason(tmp_path, known, answer, reason):
    row = {"problem": "?", "solution": "x", "answer": answer, "level": 1}
    assert write(tmp_path / "math.jsonl", [ROWS[0], row]).skipped == {reason: [2]}


def test_work_is_bounded_however_much_a_text_asks_for():
    """Sums of 16 terms, multiplied again and again: the number of products is limited."""
    power = "((1+√2)(1+√3)(1+√5)(1+√7))^{%d}"
    assert read_math(power % 3) is not None  # 36 and 2 · 256 products
    assert read_math(power % 64) is None
    assert read_math("+".join([power % 3] * 2)) is None
    made = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(math_answer, "multiply", lambda a, b: made.append(len(a) * len(b)) or a)
        read_math("\\pm " + "+".join([power % 64] * 15))
    assert sum(made) <= math_terms.PRODUCTS_MAX


def test_a_choice_within_a_set_leaves_the_other_alone():
    assert read_math(r"\{\pm 1\}\cup(\pm 2,3)") == read_math(
        r"\{1,-1\}\cup(2,3),\{1,-1\}\cup(-2,3)"
    )
