"""The scorer of `math`: the share of problems in the MATH format that it asks, the answers that it
accepts in models' spelling, and its speed.

Problems of all seven subjects are written to a file and opened by the loader itself, which counts
refused ones by subject and reason. Then the scorer gets gold answers of every form that it reads,
each with right spellings, wrong neighbours and hedges, whose values sympy knows (`math_problems`).
math-verify reads the same texts if it is installed (pip install 'math-verify[antlr4_13_2]').
"""

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from figures import FAST, Figure, report
from math_forms import Case, is_same
from math_problems import COVERED, SHARES, draw_problems, write_problems

from assay.environments.math_answer import MathAnswer, read_math
from assay.environments.math_file import MathFile, read_math_row
from assay.environments.problem_file import add_problem_files
from assay.environments.registry import make_environment

#: Problems per subject in the file; cases per form.
PROBLEMS, CASES = (30, 3) if FAST else (150, 30)
#: Texts that are costly to parse.
DEAR = ("\\frac" * 100, "(" * 500, "9^{64}" + "*9^{64}" * 60, "1+" * 250, "9" * 510, "9**9**9")
DEAR += ("(1+\\sqrt2)" * 50, r"\pm1," * 100, "1," * 250, r"\text{cm}" * 60, r"\sqrt{" * 80)
HOSTILE = ("{}, {}1", "{} or 7654", "7654 or {}", "{} {}", "{}=7654", "[{}", "{}; 7654", "{}\\\\{}")
HOSTILE += (
    "{}\\ldots",
    "\\text{{not }}{}",
    "{}+0x1",
    "{}!7",
    "eval({})",
    "{}\x00",
    "{}}}",
    "-7-{}-",
    "7+{}-7",
    "{}+0",
)
#: Text that models write around a number without changing it.
WRAPS = ("${}$", r"\({}\)", r"\[{}\]", r"\boxed{{{}}}", r"$\boxed{{{}}}$", " {} ", "{}.", "${}$.")
WRAPS += ("$${}$$", r"$$\boxed{{{}}}$$", r"\fbox{{{}}}", r"$\fbox{{{}}}$")
WRAPS += (
    r"\displaystyle {}",
    "= {}",
    "y = {}",
    r"{}\,",
    r"\mathbf{{{}}}",
    r"\text{{{}}}",
    "{{{}}}",
)
#: A quotient of integers, with or without a root or π in its numerator.
_FRONT = r"([0-9]+)(?:\\?sqrt\{[0-9]+\}|sqrt\([0-9]+\)|√[({]?[0-9]+[)}]?|\\pi|pi|π)?"
_QUOTIENT = re.compile(
    rf"frac\{{-?{_FRONT}\}}\{{([0-9]+)\}}|(?<![0-9.,]){_FRONT}/([0-9]+)(?![0-9.\\(s√π])"
)
PROSE = ("The answer is {}", "{} is the answer.", r"\text{{Answer: }} {}", "**{}**")


@dataclass(frozen=True)
class Judged:
    """A text with the gold answer. `right` is None for a matter of convention."""

    gold: str
    text: str
    right: bool | None


def list_judged(cases: list[Case]) -> Iterator[Judged]:
    """Each text of each case, with whether it is right, and hostile texts."""
    for case in cases:
        texts = dict(case.texts) | {case.gold: case.value}
        for wrap in WRAPS:
            text = wrap.format(case.gold)
            if wrap == "{{{}}}" and "," in text:  # a list or a set
                continue
            if r"\$" not in text and text.count("=") + text.count(r"\in ") < 2:
                texts.setdefault(text, case.value)
        for hostile in HOSTILE:
            texts[hostile.format(case.gold, case.gold)] = None
        for text, value in texts.items():
            right = is_same(value, case.value)
            is_open = right and is_unreduced(text) and not is_unreduced(case.gold)
            yield Judged(case.gold, text, None if is_open else right)
        apart = (*case.conventions, *(prose.format(case.gold) for prose in PROSE))
        yield from (Judged(case.gold, text, None) for text in apart if text not in texts)


def is_unreduced(text: str) -> bool:
    """Whether a text has a quotient that is not in lowest terms: `math` lets nobody repeat a
    question's numbers so (630/7 for 90)."""
    for top, bottom, other_top, other_bottom in _QUOTIENT.findall(text):
        divisor = int(bottom or other_bottom)
        if divisor == 1 or gcd(int(top or other_top), divisor) > 1:
            return True
    return False


def accept(right: MathAnswer | None, text: str) -> bool:
    found = read_math(text)
    return right is not None and found is not None and right.agrees_with(found)


def measure_coverage() -> list[Figure]:
    """Figures of the real loader on both kinds of file, by subject, with reasons."""
    problems = list(draw_problems(PROBLEMS))
    with TemporaryDirectory() as name:
        files = write_problems(problems, Path(name))
        add_problem_files(files)
        opened = [make_environment(f"math:{compute_digest(file)}", {}) for file in files]
        rows = [read_math_row(line) for line in files[0].read_bytes().splitlines()]
    assert all(isinstance(each, MathFile) for each in opened)
    lines, table = opened
    assert (lines.skipped, lines.levels) == (table.skipped, table.levels), "the two files differ"
    reasons: dict[str, Counter[str]] = {subject: Counter() for subject in SHARES}
    for problem, row in zip(problems, rows, strict=True):
        if reason := row.name_reason():
            reasons[problem.subject][reason] += 1
    figures = []
    for subject, refused in reasons.items():
        asked = PROBLEMS - refused.total()
        figures.append(Figure(f"asked: {subject}", asked, "", "of", PROBLEMS))
        figures += [
            Figure(f"{subject}, not asked: {why}", n, "") for why, n in refused.most_common()
        ]
    wanted = sum(problem.case.value is not None for problem in problems)
    whole = len(problems) - sum(refused.total() for refused in reasons.values())
    assert sum(map(len, lines.skipped.values())) == len(problems) - whole, (
        "the loader counts otherwise"
    )
    return [
        *(Figure("asked of all subjects", whole, "", "of", len(problems)), *figures),
        Figure("not asked, though of a form that `math` reads", wanted - whole, "", bound=0),
    ]


def compute_digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def main() -> None:
    coverage = measure_coverage()
    drawn = random.Random(0)
    cases = [form(drawn) for _ in range(CASES) for form in COVERED]
    judged = list(dict.fromkeys(list_judged(cases)))  # forms may draw the same gold answer twice
    rights = {case.gold: read_math(case.gold) for case in cases}
    own = {each for each in judged if accept(rights[each.gold], each.text)}
    right = {each for each in judged if each.right}
    wrong = {each for each in judged if each.right is False}
    apart = {each for each in judged if each.right is None}
    quotients = {each for each in apart if is_unreduced(each.text) and not is_unreduced(each.gold)}
    began = process_time()
    for each in judged:
        accept(rights[each.gold], each.text)
    rate = len(judged) / (process_time() - began)
    for each in sorted(own & wrong, key=str)[:20]:
        print(f"  wrong, and accepted: {each}")
    unread = sum(found is None for found in rights.values())
    figures = [
        *coverage,
        Figure("distinct answers judged", len(judged), ""),
        Figure("right answers to compare with", len(rights), ""),
        Figure("right answers without a value", unread, "", bound=0),
        Figure("wrong answers accepted", len(own & wrong), "", "of", len(wrong), bound=0),
        Figure("right answers accepted", len(own & right), "", "of", len(right)),
        Figure("prose and other conventions accepted", len(own & apart), "", "of", len(apart)),
        Figure(
            "of these, quotients not in lowest terms",
            len(own & quotients),
            "",
            "of",
            len(quotients),
        ),
        Figure("time to score an answer", 1e6 / rate, "\u00b5s", bound=200),
        Figure("answers scored a second", rate, ""),
        Figure(
            "time to score the most expensive hostile answer", max(map(time_one, DEAR)) * 1e3, "ms"
        ),
    ]
    if find_spec("math_verify"):
        figures += compare_with_math_verify(judged, own, quotients)
    else:
        print("math-verify is not there, its rows are left out: pip install math-verify")
    report("the scorer of math, one core", figures, 1)


def time_one(text: str) -> float:
    """Seconds: the least of several runs, because other work of the machine only adds."""
    taken = []
    for _ in range(20):
        began = process_time()
        read_math(text)
        taken.append(process_time() - began)
    return min(taken)


def compare_with_math_verify(
    judged: list[Judged], own: set[Judged], quotients: set[Judged]
) -> list[Figure]:
    """Figures of the same texts, read by math-verify.

    Args:
        quotients: right answers that are refused on purpose: they are not in lowest terms.
    """
    import logging

    from math_verify import parse, verify

    logging.disable(logging.ERROR)
    golds = {each.gold: parse(f"${each.gold}$") for each in judged}
    accepted = set()
    began = process_time()
    for each in judged:
        text = each.text if each.text[:1] in "$" or each.text[:2] == r"\(" else f"${each.text}$"
        if verify(golds[each.gold], parse(text)):
            accepted.add(each)
    rate = len(judged) / (process_time() - began)
    rightly = {each for each in accepted if each.right}
    for each in sorted(rightly - own, key=str)[:20]:
        print(f"  math-verify alone: {each}")
    wrongly = sum(each.right is False for each in accepted)
    return [
        Figure("answers math-verify scores a second", rate, ""),
        Figure("right answers that math-verify accepts", len(rightly), ""),
        Figure(
            "right answers that math-verify accepts and `math` does not", len(rightly - own), ""
        ),
        Figure(
            "share of right answers of math-verify that `math` accepts, in lowest terms",
            len(rightly & own) / len(rightly),
            "share",
            least=0.97,
        ),
        Figure(
            "the same share, with quotients not in lowest terms",
            len(rightly & own) / len(rightly | accepted & quotients),
            "share",
        ),
        Figure("wrong answers that math-verify accepts", wrongly, ""),
    ]


if __name__ == "__main__":
    main()
