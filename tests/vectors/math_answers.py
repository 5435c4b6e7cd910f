"""Vectors of `math`: the values of answers, their agreement, and the result for a file's rows."""

import json
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from subjects import digest

from assay.environments.math_answer import (
    Bracketed,
    Collection,
    Infinity,
    MathAnswer,
    Number,
    Value,
    read_math,
)
from assay.environments.math_file import MathFile, read_math_row
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment

Json = Any

#: One text for each rule of the grammar, and for each delimiter around an answer.
READ = (
    *("0", "-17", "+3", "7.5", ".5", "12,345", r"12{,}345", r"12,\!345", r"12\,345"),
    *(r"\frac{1}{2}", r"\dfrac12", r"\tfrac{-3}{4}", r"3\frac{1}{2}", r"3\frac{3}{2}", "6/4/3"),
    *(r"0.\overline{27}", r"2.1\overline{6}", r"\sqrt{12}", r"2\sqrt3", r"\frac{1}{1+\sqrt{2}}"),
    *("sqrt(2)/2", "\u221a{8}", r"\sqrt{\frac{2}{3}}", r"(1+\sqrt2)^{3}", "2^{-3}", "2^9"),
    *(r"\frac{4\pi}{3}", r"\pi^2/6", r"\frac\pi6", "2pi", "\u22125", r"2\cdot 3 \times 4 \div 8"),
    *(r"50\%", r"\$18.90", r"90^\circ", r"90^{\circ}", "60\u00b0", r"5\text{ square inches}"),
    *(r"15\mbox{ cm}^2", "5 inches", r"3 \mathrm{ft}^{3}", "x = 5", "= 7", r"x \in [0,1]"),
    *("(1,2)", r"\left[0, \infty\right)", r"(-\infty,-1)\cup(1,+\infty)", "((1,2),[3,4])"),
    *(r"\{3, 1, 2, 1\}", r"\lbrace\pm\sqrt5,-2\rbrace", "1, 2, 2", "x = 1, x = 2", "1 or 2"),
    *("1, 2, and 3", r"1,\text{ or }2", r"1 \pm \sqrt{19}", r"\{1\}\cup\{2\}", r"3\%, 4\%"),
    *("$7$", "$$7$$", r"\(7\)", r"\[\boxed{7}.\]", r"\fbox{7}", r"$$\boxed{(1,2)}$$", " 7. "),
    *("\t\r\n7\r\n", "1\r/\n2", "90^\t{\r\\circ\n}", "$ \r7\r $"),
)
UNREAD = (
    *("", "x", "2x", "1 2", "0007", "1e9", "--1", "1+", "(1,)", "1/0", r"\frac{1}{0}", "9" * 41),
    *(r"\sqrt{-1}", r"\sqrt{1000001}", r"\sqrt[3]{8}", "2^{100}", "3^2^1", "1 = 1", "x = 1, y = 2"),
    *(r"5\text{ million}", "5 apples", "5 cents dollars", r"\pm1\pm\sqrt2", r"\pm1," * 5 + "9"),
    *(
        "$$7$",
        "$$$7$$$",
        r"\boxed{7",
        r"\fbox{5}, \fbox{6}",
        "1,, and 2",
        *("(1 or 2)", r"[1 \text{ and } 2]", r"x \in 5", "0^0"),
        "1 and, 2",
        "1,234{,}567",
    ),
    *("\u200b7", "7\u1680", "7\x0b", "$7\u2028$", "1\x1c/2", "5\\text\x85{cm}"),
    *("\u0663", "7" + " " * 512, "(" * 17 + "1" + ")" * 17, r"1 \cup 2"),
    "((1+\\sqrt2)(1+\\sqrt3)(1+\\sqrt5)(1+\\sqrt7))^{64}",
)
#: (right, answer, whether they agree)
PAIRS = (
    *((r"\frac{1}{2}", "0.5", True), (r"\frac{1}{2}", "0.50001", False), ("1/3", "0.333", False)),
    *((r"\sqrt{2}-1", r"\frac{1}{1+\sqrt2}", True), (r"\sqrt{2}", "1.414", False)),
    *((r"\pi", "3.14", False), ("x=5", "5", True), ("5", "x = 5", True), ("x=5", "y=5", False)),
    *((r"50\%", "50", True), ("50", r"50\%", False), (r"\$5", r"5\text{ dollars}", True)),
    *((r"5\text{ cm}", r"5\text{ m}", False), (r"5\text{ cm}^2", r"5\text{ square cm}", True)),
    *(("(1,2)", "[1,2]", False), ("(1,2)", "(2,1)", False), (r"\{1,2\}", r"\{2,1,1\}", True)),
    *((r"\{1,2\}", "1,2", True), ("3, 4", "4, 3", True), ("3, 4", "3, 3, 4", False)),
    *((r"1\pm\sqrt3", r"1-\sqrt3, 1+\sqrt3", True), ("5", "5 or 6", False), ("5", "", False)),
    *(("1,2,3", "3, 2, and 1", True), ("5", "$$5$$", True), ("5", r"\fbox{5}", True)),
    *((r"[0,\infty)", r"[0,+\infty)", True), ("1,234", "1, 234", False), ("1234", "1,234", True)),
    *(("10", "2+8", False), ("10", r"5\cdot 2", False), ("1024", "2^{10}", False)),
    *((r"2^{10}", "1024", True), (r"2^{10}", "4^{5}", True), ("7", r"\sqrt{49}", False)),
    *(
        (r"2\sqrt2", r"\sqrt8", True),
        ("3", "6/2", False),
        ("3.5", "7/2", True),
        (r"3\sqrt2", r"\sqrt2+2\sqrt2", False),
    ),
    *(("84", r"\sqrt{56}\cdot\sqrt{126}", False), (r"\sqrt6", r"\sqrt2\sqrt3", True)),
    *(
        ("2", r"\frac{\sqrt8}{\sqrt2}", False),
        (r"\frac{\sqrt6}{2}", r"\frac{\sqrt3}{\sqrt2}", True),
    ),
    *(("2", r"\frac{6\pi}{3\pi}", False), (r"\sqrt2", r"\frac{2}{\sqrt2}", True)),
    *((r"90\pi", r"\frac{630\pi}{7}", False), (r"90\pi", r"45\pi\cdot2", False)),
    *((r"3\sqrt3", r"6\sqrt3/2", False), (r"\frac{\pi}{3}", r"2\cdot\frac{\pi}{6}", False)),
    *((r"\frac{5\pi}{6}", r"5\cdot\frac{\pi}{6}", True), (r"4\sqrt3", r"2\sqrt{12}", True)),
    *((r"\sqrt3", r"\frac{\sqrt{12}}{2}", True), (r"2+\sqrt3", r"\frac{4+2\sqrt3}{2}", True)),
)
#: (question, right, answer, whether the answer earns)
ASKED = (
    *(("Two hats cost $5 per head, 3 times. How much?", "18", "$18", True),),
    *(("A hat costs $5. What fraction is that?", "18", "$18", False),),
    *(("It is 24/2, or $12.00.", "12", "12.00", True),),
    *(("A coat costs $30.", "18", "$18", True), ("How many cents?", "18", "$18", False)),
    *(
        ("Angle $B$ is $40^\\circ$.", "90", r"90^\circ", True),
        ("In radians?", "2", "2\u00b0", False),
    ),
    *(("What percent?", "50", r"50\%", True), ("What percent?", "1.5", r"1.5\%", True)),
    *(("What percent?", "0.5", r"0.5\%", False), ("What percent?", "0.5", r"50\%", False)),
    *(("What percent?", "20, 30", r"20\%, 30\%", True), ("What is it?", "0.5", r"50\%", False)),
    *(("A side is 3 cm. Its length?", "12", "12 cm", True), ("Its area? 3 cm", "9", "9 cm", False)),
    *(("In cm?", "5", "5 km", False), ("The area in square cm?", "9", "9 cm\u00b2", True)),
    *(("How many red pens?", "5", r"5\text{ red pens}", True), ("A pen?", "5", "5 pens", False)),
    *(
        ("Find (x, y).", "(1,2)", "(x,y)=(1,2)", True),
        ("Find (x, y).", "(1,2)", "(y,x)=(1,2)", False),
    ),
    *(("Find all x.", "3, 100", "3,100", True), ("Find x.", "3100", "3,100", True)),
    *(("What is 144/12?", "12", "144/12", False), ("What is 144/12?", "12", "12.0", True)),
    *(("$630 \\div 7$", "90", "1260/14", False), ("How often?", "90", "630/7", False)),
    *(("12 to 18?", r"\frac23", "12/18", False), ("12 to 18?", "12/18", "4/6", True)),
    *(("In decimals: 6/8.", "0.75", "3/4", False), ("How long?", "3.5", "3 2/4", False)),
    *((r"Simplify $\sqrt{50}$.", r"5\sqrt2", r"\sqrt{50}", False),),
    *((r"Simplify $\sqrt{50}$.", r"5\sqrt2", r"\sqrt2\cdot 5", True),),
    *((r"Evaluate it.", r"2+\sqrt3", r"\frac{4+2\sqrt3}{2}", False),),
    *((r"Reduced by 2.", r"2+\sqrt3", r"\frac{4+2\sqrt3}{2}", True),),
    *((r"$\frac{2}{\sqrt3}$", r"\frac{2\sqrt3}{3}", r"\frac2{\sqrt3}", False),),
    *((r"Expand $2(3+\sqrt5)$.", r"6+2\sqrt5", r"2(3+\sqrt5)", False),),
    *((r"Expand $2(3+\sqrt5)$.", r"6+2\sqrt5", r"2\sqrt5+6", True),),
    *(
        ("Write 0.5 as a fraction.", r"\frac12", "0.50", False),
        ("1024 as a power?", "2^{10}", "1024", False),
    ),
)
ROWS: tuple[Json, ...] = (
    {"problem": "What is 1+1?", "solution": r"It is $\boxed{2}$.", "level": "Level 1"},
    {"problem": "Half?", "solution": r"\boxed{0.5}, or $\boxed{\frac{1}{2}}$", "level": "Level 1"},
    {"problem": "Where?", "solution": "see", "answer": r"(1, \infty)", "level": 5},
    {"problem": "Who?", "solution": r"\boxed{\text{Ada}}", "level": "Level 2"},
    {"problem": "Which?", "solution": r"\boxed{3}", "level": "Level ?"},
    {"problem": "Framed?", "solution": r"\fbox{\{1,2\}}", "level": "Level 3"},
    {"problem": "Counted?", "solution": "as told", "answer": 12, "level": "Level 3"},
    {"problem": "What is 1+1?", "solution": r"\boxed{2.0}", "level": "Level 4"},
    {"problem": "Nothing?", "solution": "nothing", "level": "Level 4"},
    {"problem": "Either?", "solution": r"\boxed{9}", "answer": 12, "level": "Level 3"},
    {"problem": "What is 7/2?", "solution": "as told", "answer": 3.5, "level": "Level 3"},
    {"problem": "Find all.", "solution": "as told", "answer": "3,100", "level": "Level 3"},
    {"problem": "x = ?", "solution": r"$x=\boxed{2}$ or $x=\boxed{3}$", "level": "Level 3"},
    {"problem": "What percent?", "solution": "as told", "answer": 0.5, "level": "Level 3"},
    {"problem": "A third?", "solution": "as told", "answer": 0.33333, "level": "Level 3"},
    {"problem": "The factors?", "solution": "as told", "answer": "3,101", "level": "Level 3"},
    {"problem": "How many pens?", "solution": "as told", "answer": "3,101", "level": "Level 1"},
    {"problem": "The sum?", "solution": "as told", "answer": "3,010", "level": "Level 1"},
)


def make_math() -> Json:
    data = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    name = f"math:{sha256(data).hexdigest()}"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "math.jsonl"
        file.write_bytes(data)
        add_problem_files([file])
        environment = make_environment(name, {})
    assert isinstance(environment, MathFile)
    left_out = {number for numbers in environment.skipped.values() for number in numbers}
    problems = []
    for levels in ([1], [3], [1, 3, 5]):
        for i in range(4):
            seed = digest(f"problem {i}")
            problem = environment.make_problem(seed, levels)
            described = {"level": problem.level, "prompt": problem.prompt}
            problems.append({"levels": levels, "seed": seed.hex()} | described)
    problem = environment.make_problem(digest("scored"), [5])
    read = {text: read_math(text) for text in READ}
    assert not [text for text in UNREAD if read_math(text) is not None]
    assert [agree(right, answer) for right, answer, _ in PAIRS] == [wanted for *_, wanted in PAIRS]
    assert [earns(*asked) for *asked, _ in ASKED] == [wanted for *_, wanted in ASKED]
    return {
        "read": [{"text": text} | describe_answer(answer) for text, answer in read.items()],
        "unread": list(UNREAD),
        "pairs": [{"right": r, "answer": a, "agrees": agrees} for r, a, agrees in PAIRS],
        "asked": [
            {"question": question, "right": right, "answer": answer, "earns": earned}
            for question, right, answer, earned in ASKED
        ],
        "file": {
            "lines": data.decode().splitlines(),
            "name": name,
            "digest": environment.digest.hex(),
            "levels": environment.levels,
            "asked": [n for n in range(1, len(ROWS) + 1) if n not in left_out],
            "answers": [read_math_row(line).text for line in data.splitlines()],
        },
        "problems": problems,
        "scored": {
            "prompt": problem.prompt,
            "completions": [
                {"about": about, "completion": text} | asdict(environment.score(problem, text))
                for about, text in iterate_completions()
            ],
        },
    }


def agree(right: str, answer: str) -> bool:
    one, other = read_math(right), read_math(answer)
    return one is not None and other is not None and one.agrees_with(other)


def earns(question: str, right: str, answer: str) -> bool:
    row = {"problem": question, "solution": "", "answer": right, "level": 1}
    return read_math_row(json.dumps(row).encode()).make_task().accepts(answer)


def iterate_completions() -> list[tuple[str, str]]:
    """Completions for the problem whose right answer is (1, ∞)."""
    return [
        ("as it stands there", r"\boxed{(1, \infty)}"),
        ("another spelling, after work", "so x > 1\n$\\boxed{\\left(1,+\\infty\\right)}$."),
        ("with a letter", r"\boxed{x \in (1, \infty)}"),
        ("another bracket", r"\boxed{[1, \infty)}"),
        ("another value", r"\boxed{(2, \infty)}"),
        ("a hedge", r"\boxed{(1, \infty) or (2, \infty)}"),
        ("the last of two", r"\boxed{(2, \infty)} no, \boxed{(1, \infty)}"),
        ("words behind it", "\\boxed{(1, \\infty)}\nas I said"),
        ("not closed", r"\boxed{(1, \infty)"),
        ("another form", r"#### (1, \infty)"),
        ("a box alone", r"\boxed{(1, \infty)}"),
        ("no text", ""),
    ]


def describe_answer(answer: MathAnswer | None) -> Json:
    """The answer as JSON; see `describe_value`."""
    assert answer is not None, "the grammar knows it"
    return {"value": describe_value(answer.value)} | {
        name: text for name, text in (("variable", answer.variable), ("unit", answer.unit)) if text
    }


def describe_value(value: Value) -> Json:
    """A number as its terms in order, [k, n, p, q] for p/q · π^k · √n; ±∞ by its sign; values in
    brackets in order; those of a set, list or union in the order of their JSON, with how often."""
    match value:
        case Number(terms):
            return [[k, n, q.numerator, q.denominator] for (k, n), q in terms]
        case Infinity(sign):
            return "+∞" if sign > 0 else "-∞"
        case Bracketed(opening, values, closing):
            return {"brackets": opening + closing, "values": [describe_value(v) for v in values]}
        case Collection(kind, values):
            found = [[describe_value(each), count] for each, count in values]
            return {kind: sorted(found, key=json.dumps)}
