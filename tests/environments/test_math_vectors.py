"""The vectors of `math`'s scorer, derived a second time: every value by sympy from a person's
reading of the text, written here."""

import json
from hashlib import sha256

import sympy as sp
from sympy import Rational, oo, pi, sqrt

from assay.environments.math_answer import read_math
from assay.environments.math_file import read_math_row
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.prf import Stream
from tests.protocol.test_vectors import load

VECTOR = load("math")


def brackets(pair, *values):
    return (pair, *values)


def gather(kind, *values):
    """kind: of those whose order does not matter; a list alone has a value more than once."""
    return (kind, frozenset((value, values.count(value)) for value in values))


READ = {
    **{"0": 0, "-17": -17, "+3": 3, "7.5": Rational(15, 2), ".5": Rational(1, 2), "12,345": 12_345},
    **{r"12{,}345": 12_345, r"12,\!345": 12_345, r"12\,345": 12_345, "6/4/3": Rational(1, 2)},
    **{
        r"\frac{1}{2}": Rational(1, 2),
        r"\dfrac12": Rational(1, 2),
        r"\tfrac{-3}{4}": -Rational(3, 4),
    },
    **{r"3\frac{1}{2}": Rational(7, 2), r"3\frac{3}{2}": Rational(9, 2)},
    **{r"0.\overline{27}": Rational(3, 11), r"2.1\overline{6}": Rational(13, 6)},
    **{r"\sqrt{12}": 2 * sqrt(3), r"2\sqrt3": 2 * sqrt(3), r"\frac{1}{1+\sqrt{2}}": sqrt(2) - 1},
    **{"sqrt(2)/2": sqrt(2) / 2, "\u221a{8}": 2 * sqrt(2), r"\sqrt{\frac{2}{3}}": sqrt(6) / 3},
    **{r"(1+\sqrt2)^{3}": 7 + 5 * sqrt(2), "2^{-3}": Rational(1, 8), "2^9": 512},
    **{r"\frac{4\pi}{3}": 4 * pi / 3, r"\pi^2/6": pi**2 / 6, r"\frac\pi6": pi / 6, "2pi": 2 * pi},
    **{"\u22125": -5, r"2\cdot 3 \times 4 \div 8": 3, "= 7": 7, "x = 5": 5},
    **{r"50\%": 50, r"\$18.90": Rational(189, 10), r"90^\circ": 90, r"90^{\circ}": 90},
    **{"60\u00b0": 60, r"5\text{ square inches}": 5, r"15\mbox{ cm}^2": 15, "5 inches": 5},
    **{
        r"3 \mathrm{ft}^{3}": 3,
        r"x \in [0,1]": brackets("[]", 0, 1),
        "(1,2)": brackets("()", 1, 2),
    },
    r"\left[0, \infty\right)": brackets("[)", 0, oo),
    r"(-\infty,-1)\cup(1,+\infty)": gather("union", ("()", -oo, -1), ("()", 1, oo)),
    "((1,2),[3,4])": brackets("()", ("()", 1, 2), ("[]", 3, 4)),
    r"\{3, 1, 2, 1\}": gather("set", 1, 2, 3),
    r"\lbrace\pm\sqrt5,-2\rbrace": gather("set", sqrt(5), -sqrt(5), -2),
    **{"1, 2, 2": gather("list", 1, 2, 2), "x = 1, x = 2": gather("list", 1, 2)},
    **{"1 or 2": gather("list", 1, 2), "1, 2, and 3": gather("list", 1, 2, 3)},
    r"1,\text{ or }2": gather("list", 1, 2),
    r"1 \pm \sqrt{19}": gather("list", 1 + sqrt(19), 1 - sqrt(19)),
    r"\{1\}\cup\{2\}": gather("union", gather("set", 1), gather("set", 2)),
    r"3\%, 4\%": gather("list", 3, 4),
    **{"$7$": 7, "$$7$$": 7, r"\(7\)": 7, r"\[\boxed{7}.\]": 7, r"\fbox{7}": 7, " 7. ": 7},
    **{"\t\r\n7\r\n": 7, "1\r/\n2": Rational(1, 2), "90^\t{\r\\circ\n}": 90, "$ \r7\r $": 7},
    r"$$\boxed{(1,2)}$$": brackets("()", 1, 2),
}
BESIDE = {
    **{"x = 5": "x", r"x \in [0,1]": "x", "x = 1, x = 2": "x", "5 inches": "in", r"50\%": "%"},
    **{r"\$18.90": "$", r"90^\circ": "\u00b0", r"90^{\circ}": "\u00b0", "60\u00b0": "\u00b0"},
    "90^\t{\r\\circ\n}": "\u00b0",
    **{r"5\text{ square inches}": "in^2", r"15\mbox{ cm}^2": "cm^2", r"3 \mathrm{ft}^{3}": "ft^3"},
    r"3\%, 4\%": "%",
}


def decode(value):
    """A vector's value as those above."""
    if isinstance(value, str):
        return {"+∞": oo, "-∞": -oo}[value]
    if isinstance(value, list):
        return sp.Add(*(Rational(p, q) * pi**k * sqrt(n) for k, n, p, q in value))
    if "brackets" in value:
        return (value["brackets"], *map(decode, value["values"]))
    ((kind, values),) = value.items()
    return (kind, frozenset((decode(each), count) for each, count in values))


def test_values_are_those_that_a_person_reads():
    assert {entry["text"] for entry in VECTOR["read"]} == READ.keys()
    for entry in VECTOR["read"]:
        found, expected = decode(entry["value"]), READ[entry["text"]]
        assert found == expected, entry["text"]
        beside = entry.get("variable", "") + entry.get("unit", "")
        assert beside == BESIDE.get(entry["text"], ""), entry["text"]


def test_terms_are_canonical():
    """A number has one form: by powers of π and squarefree roots, fractions in lowest terms."""
    for entry in VECTOR["read"]:
        if isinstance(entry["value"], list):
            assert entry["value"] == sorted(entry["value"])
            for _, n, p, q in entry["value"]:
                assert all(power == 1 for power in sp.factorint(n).values())
                assert p
                assert (sp.gcd(p, q), q > 0) == (1, True)


def test_unread_texts_have_no_value():
    assert len(VECTOR["unread"]) > 30
    assert [read_math(text) for text in VECTOR["unread"]] == [None] * len(VECTOR["unread"])


def test_pairs_agree_or_not():
    for pair in VECTOR["pairs"]:
        right, answer = read_math(pair["right"]), read_math(pair["answer"])
        assert right is not None
        agrees = answer is not None and right.agrees_with(answer)
        assert agrees == pair["agrees"], pair


def test_answers_to_questions():
    assert {asked["earns"] for asked in VECTOR["asked"]} == {True, False}
    for asked in VECTOR["asked"]:
        row = {"problem": asked["question"], "solution": "", "answer": asked["right"], "level": 1}
        task = read_math_row(json.dumps(row).encode()).make_task()
        assert task.accepts(asked["answer"]) == asked["earns"], asked


def test_a_file_s_rows_and_problems():
    """The rows that are asked are chosen by hand, and drawn by the specification's words."""
    file = VECTOR["file"]
    data = "".join(line + "\n" for line in file["lines"]).encode()
    assert file["name"] == f"math:{sha256(data).hexdigest()}"
    setting = b"\0\x0banswer_form" + (1).to_bytes(8, "big")
    encoded = hash_fields(Domain.ENVIRONMENT, file["name"].encode(), b"\0\x09", setting)
    assert file["digest"] == encoded.hex()
    rows = [json.loads(line) for line in file["lines"]]
    assert file["asked"] == [1, 2, 3, 6, 7, 11, 17, 18]
    levels = {1: 1, 2: 1, 3: 5, 6: 3, 7: 3, 11: 3, 17: 1, 18: 1}
    assert file["levels"] == [1, 3, 5]
    ending = (
        "\nPlease reason step by step, and put the answer alone, in LaTeX, within \\boxed{} at the "
        "end.\n"
    )
    for problem in VECTOR["problems"]:
        seed = hash_fields(
            Domain.ENVIRONMENT_STREAM, file["name"].encode(), bytes.fromhex(problem["seed"])
        )
        stream = Stream(seed)
        level = problem["levels"][stream.draw_below(len(problem["levels"]))]
        of_level = [rows[number - 1] for number in file["asked"] if levels[number] == level]
        row = of_level[stream.draw_below(len(of_level))]
        assert (problem["level"], problem["prompt"]) == (level, row["problem"] + ending)


def test_scores_of_completions():
    scored = VECTOR["scored"]
    assert scored["prompt"].startswith("Where?\n")
    right = {"as it stands there", "another spelling, after work", "with a letter", "a box alone"}
    right |= {"the last of two", "words behind it"}
    for completion in scored["completions"]:
        expected = 1_000_000 if completion["about"] in right else 0
        parts = [completion[part] for part in ("correctness", "quality", "satisfaction")]
        assert parts == [expected, 0, expected], completion["about"]
        assert completion["format"] >= expected
