"""`code:SHA256`: programs, run on the test cases of a file.

The format is that of APPS (Hendrycks et al., "Measuring coding challenge competence with APPS",
2021) and TACO (Li et al., 2023); `shapes` makes it of others. The expected output never enters the
sandbox: a program gets one input, and its output is compared here, so it can reach no checker.
Asserts run away from the program, too (`checks`). A program earns only if it passes all cases.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from assay.environments.base import (
    UNREAD,
    Answer,
    DrawnEnvironment,
    Param,
    Problem,
    RewardParts,
    compute_digest,
    rate_answer,
)
from assay.environments.kind import FromFile, Kind
from assay.environments.problem_file import KeptRows, cut_levels, read_texts, require_text
from assay.environments.problem_formats import FORMATS
from assay.environments.problem_table import get_cell, parse_cell
from assay.environments.programs import NAME as NAME
from assay.environments.programs.blocks import read_program
from assay.environments.programs.case_runs import (
    GIVEN_MAX,
    compile_program,
    require_sandbox,
    run_case,
)
from assay.environments.programs.checks import Check, run_check
from assay.environments.programs.outputs import (
    agree_as_text,
    agree_as_value,
    agree_exactly,
    read_value,
)
from assay.protocol.encoding import EncodingError
from assay.protocol.parameters import MILLION, UNITS
from assay.protocol.prf import Stream
from assay.sandbox import count_cores
from assay.sandbox.guest import INTERPRETER

#: Increases whenever any problem or score would change.
VERSION = 7

PARAMS: Mapping[str, Param] = MappingProxyType(
    {
        "cases": Param(8, 1, 256, "test cases of a problem that count, the first of its row"),
        "exact": Param(0, 0, 1, "1: output is compared byte by byte"),
        "partial": Param(0, 0, 1, "1: all test cases are run, so that each passed one can pay"),
        "millions": Param(200, 10, 2_000, "millions of instructions that a test case may take"),
        UNITS: Param(230, 10, 5_000, "millions that a program may take, with all test cases"),
    }
)
#: The name of a difficulty in APPS, LiveCodeBench and TACO → level.
DIFFICULTIES = {
    **{"introductory": 1, "interview": 2, "competition": 3},
    **{"easy": 1, "medium": 2, "hard": 3},
    **{"EASY": 1, "MEDIUM": 2, "MEDIUM_HARD": 3, "HARD": 4, "VERY_HARD": 5},
}
#: Why a row with asserts is not asked: a program could say what the check runs, or nobody knows
#: which function is meant.
EVALUATED, NAMELESS = "asserts that evaluate text", "asserts that name no function"
#: Why a row is left out whose author's program was run.
FAILED = "test cases that their author's program does not pass"
DEAR = f"an author's program that takes more than the default `millions` or `{UNITS}`"
#: Words by ASCII: which other characters are letters depends on the Python that asks.
_EVALUATES = re.compile(r"\b(?:eval|exec|pickle|marshal|importlib|__import__)\b", re.ASCII)
#: Why a row is left out that any program of one output solves.
CONSTANT = "test cases that one output passes"
#: Most programs of a row's author.
_SOLUTIONS = 8
#: Most levels of a file that names no difficulty.
LEVELS_MAX = 5
#: Expected outputs, the most frequent ones, that answers without thought write.
_THOUGHTLESS = 6
#: What functions give that take no thought, where no test case names a value.
_CONSTANTS = "None", "True", "False", "0", "1", "[]", "''", "a[0]"
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_READS = "Write a Python program that reads standard input and writes standard output."
_CALLED = "Write a Python function {name}, or a class Solution with that method."
_REQUEST = (
    f"Python {INTERPRETER.python} runs it. End with it, between a line of ```python and a line of "
    "```."
)
#: Put before a program whose function is called: starter code names types, and imports none.
_TYPES = "from typing import *\n"
#: Code that is appended if the program's function is called: arguments come in as a line of JSON,
#: and the last line of output is JSON of the result.
_CALL = """
import json as _json, sys as _sys
_call = {name} if "{name}" in globals() else Solution().{name}
_result = _call(*_json.loads(_sys.stdin.readline()))
print()
print(_json.dumps(_result))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A program's input and the expected output: text, or JSON of a value."""

    given: bytes
    expected: str


@dataclass(frozen=True, slots=True)
class CodeRow(Answer):
    """A problem and its test cases; `function` is the one to call, or None for a whole program.
    `starter` is the code that it gives; `fault` is a reason to skip the row, which its fields
    show; `solutions` are programs of its author's, one of which should pass."""

    question: str
    cases: tuple[Case, ...] | tuple[Check, ...]
    level: int | None
    function: str | None
    fault: str | None = None
    starter: str = ""
    solutions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is asked, with the code that it gives."""
        return f"{self.question}\n{self.starter}" if self.starter else self.question


class CodeFile(DrawnEnvironment):
    """The problems of a file, at the levels that the file names.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, no
                row can be asked, a setting is out of its range, or there is no sandbox.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, PARAMS, params)
        interpreter = INTERPRETER.image_digest.encode()
        self.digest = compute_digest(self.name, VERSION, self.params, interpreter)
        rows = CodeRows()
        self._by_level = rows.find_levels(digest, NAME)
        require_sandbox()
        self.scorers = count_cores()
        self.rated = frozenset({"satisfaction"} if self.params["partial"] else ())
        self.skipped = rows.skipped
        self.levels = list(self._by_level)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely; they are in the file's order."""
        row = stream.choose(self._by_level[level])
        return Problem(f"{row.text}\n{write_request(row)}\n", level, row)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the completion's program passes all test cases, and takes at most `units`
        for all of them. With `partial` the test cases are its parts.

        Raises:
            WorkerError: the sandbox cannot run. This is not the answer's fault.
        """
        row = problem.answer
        if not isinstance(row, CodeRow):
            raise TypeError(f"not a problem of {self.name}: {type(row).__name__}")
        program = read_program(completion)
        if program is None:
            return UNREAD
        results = run_cases(program, row, self.params)
        if not self.params["partial"]:
            return rate_answer(all(results))
        passed = list(results)
        return rate_answer(sum(passed), len(passed))

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """Programs that write what most of the problem's first cases expect, or nothing."""
        row = problem.answer
        assert isinstance(row, CodeRow), "only such problems are made"
        texts = self._frequent
        if row.function is None:
            programs = ["pass", *(f"print({text!r})" for text in texts)]
        else:
            constants = _CONSTANTS if isinstance(row.cases[0], Check) else _CONSTANTS[:1]
            values = [*constants, *(f"__import__('json').loads({text!r})" for text in texts)]
            head = f"def {row.function}(*a, **k):\n    return "
            programs = [head + value for value in values]
        return [self.write_answer(program) for program in programs]

    def solve(self, problem: Problem) -> Sequence[str]:
        """The first program of the row's author, if it has one."""
        row = problem.answer
        assert isinstance(row, CodeRow), "only such problems are made"
        return [self.write_answer(program) for program in row.solutions[:1]]

    def write_answer(self, answer: str) -> str:
        """A completion of a program alone."""
        return f"```python\n{answer}\n```"

    @cached_property
    def _frequent(self) -> list[str]:
        """The outputs that most test cases of the file expect."""
        rows = (row for level in self._by_level.values() for row in level)
        cases = (case for row in rows for case in row.cases[: self.params["cases"]])
        counted = Counter(case.expected for case in cases if isinstance(case, Case))
        return [text for text, _ in counted.most_common(_THOUGHTLESS)]


def find_own_fault(row: CodeRow) -> str | None:
    """Why a row's test cases pass none of its author's programs, with the default settings."""
    defaults = {name: param.default for name, param in PARAMS.items()}
    if any(all(run_cases(program, row, defaults)) for program in row.solutions):
        return None
    most = defaults | {name: PARAMS[name].high for name in ("millions", UNITS)}
    dear = any(all(run_cases(program, row, most)) for program in row.solutions)
    return DEAR if dear else FAILED


def has_constant(row: CodeRow) -> bool:
    """Whether one output passes all test cases that count by default, whatever their input is."""
    cases = [case for case in row.cases if isinstance(case, Case)][: PARAMS["cases"].default]
    outputs = dict.fromkeys(case.expected for case in cases)
    return any(
        all(_agrees(case, output.encode(), row, exact=False) for case in cases)
        for output in outputs
    )


class CodeRows(KeptRows[CodeRow, CodeRow]):
    """A file's rows. Several may ask the same."""

    def _read(self, line: bytes) -> tuple[CodeRow, str | None]:
        row = read_code_row(line)
        return row, row.fault

    @property
    def has_levels(self) -> bool:
        return any(row.level is not None for _, row in self.kept)

    def finish(self) -> None:
        """If some rows name their difficulty, skip the others."""
        if self.has_levels:
            other = [number for number, row in self.kept if row.level is None]
            self.kept = [(number, row) for number, row in self.kept if row.level is not None]
            if other:
                self.skipped["difficulties of another name"] = other

    def divide(self) -> Mapping[int, Sequence[CodeRow]]:
        """The rows of each level: those that they name, or else bands by the question's length."""
        if not self.has_levels:
            ordered = sorted((row for _, row in self.kept), key=lambda row: len(row.text))
            return dict(enumerate(cut_levels(ordered, LEVELS_MAX), 1))
        found: dict[int, list[CodeRow]] = {}
        for _, row in self.kept:
            found.setdefault(row.level or 0, []).append(row)
        return found


def write_request(row: CodeRow) -> str:
    """What is said behind a row's question."""
    asked = _READS if row.function is None else _CALLED.format(name=row.function)
    return f"{asked} {_REQUEST}"


def run_cases(program: str, row: CodeRow, params: Mapping[str, int]) -> Iterator[bool]:
    """Whether each test case passes, one after the other. A case for which no instructions are left
    does not, nor does any of a program that cannot be compiled.

    Args:
        params: those of `PARAMS`.
    """
    left, most = (params[name] * MILLION for name in (UNITS, "millions"))
    code = compile_program(_complete(program, row), min(most, left))
    left -= code.instructions
    for case in row.cases[: params["cases"]]:
        if left <= 0 or code.end != "exit 0":
            yield False
            continue
        if isinstance(case, Check):
            passes, spent = run_check(code.output, case, row.function or "", min(most, left))
            left -= spent
            yield passes
            continue
        run = run_case(code.output, case.given, min(most, left))
        left -= run.instructions
        yield run.end == "exit 0" and _agrees(case, run.output, row, exact=bool(params["exact"]))


def _complete(program: str, row: CodeRow) -> str:
    """A program with what calls its function, if that is asked."""
    if row.function is None:
        return program
    types = "" if "__future__" in program else _TYPES  # such an import must come first
    call = "" if isinstance(row.cases[0], Check) else _CALL.format(name=row.function)
    return types + program + call


def _agrees(case: Case, output: bytes, row: CodeRow, exact: bool) -> bool:
    if row.function is not None:
        return agree_as_value(case.expected, output)
    return (agree_exactly if exact else agree_as_text)(case.expected, output)


def read_code_row(line: bytes) -> CodeRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    fields = read_texts(line, NAME)
    question, level = fields["question"], DIFFICULTIES.get(str(fields.get("difficulty")))
    starter = require_text(fields.get("starter_code") or "", "starter_code", NAME)
    solutions = _read_solutions(fields)
    if not fields["input_output"]:
        return CodeRow(question, (), level, None, "no test cases")
    try:
        tests = parse_cell(fields["input_output"])
    except EncodingError as error:
        raise ValueError(f"its input_output {error}") from None
    function = tests.get("fn_name") if isinstance(tests, dict) else None
    if function is not None and not (isinstance(function, str) and _FUNCTION.fullmatch(function)):
        raise ValueError("its fn_name is not a name of a function")
    if isinstance(tests, dict) and "asserts" in tests:
        checks, fault = _read_checks(tests)
        return CodeRow(question, checks, level, function, fault, starter, solutions)
    given, expected = (
        tests.get(name) if isinstance(tests, dict) else None for name in ("inputs", "outputs")
    )
    if not isinstance(given, list) or not isinstance(expected, list):
        raise ValueError("its input_output has no lists inputs and outputs")
    if not len(given) == len(expected) >= 1:
        raise ValueError(f"it has {len(given)} inputs and {len(expected)} outputs")
    make = _make_text_case if function is None else _make_call_case
    cases = tuple(map(make, given, expected))
    if any(len(case.given) > GIVEN_MAX for case in cases):
        raise ValueError(f"an input has more than {GIVEN_MAX} bytes")
    return CodeRow(question, cases, level, function, None, starter, solutions)


def _read_solutions(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The programs of a row's author, as `env look` writes one, or as APPS and TACO have many."""
    several = fields.get("solutions")
    with suppress(EncodingError):
        several = parse_cell(several)
    texts = [fields.get("solution"), *(several if isinstance(several, list) else ())]
    return tuple(text for text in texts if isinstance(text, str) and text)[:_SOLUTIONS]


def _read_checks(tests: Mapping[str, Any]) -> tuple[tuple[Check, ...], str | None]:
    """The checks of a row, and why it is not asked, if so."""
    texts, setup = tests["asserts"], tests.get("setup", "")
    if not isinstance(texts, list) or not texts:
        raise ValueError("its asserts are no list of texts")
    for text in (setup, *texts):
        require_text(text, "asserts", NAME)
    if any(_EVALUATES.search(text) for text in (setup, *texts)):
        return (), EVALUATED
    if tests.get("fn_name") is None:
        return (), NAMELESS
    return tuple(Check(setup, text) for text in texts), None


def _make_text_case(given: Any, expected: Any) -> Case:
    texts = []
    for side in (given, expected):
        lines = side if isinstance(side, list) else [side]
        if not all(isinstance(text, str) for text in lines):
            raise ValueError("inputs and outputs of a program are text, or lists of lines")
        texts.append("\n".join(lines))
    try:
        return Case(texts[0].encode(), texts[1].encode().decode())
    except UnicodeEncodeError:
        raise ValueError("an input or output holds half a character") from None


def _make_call_case(given: Any, expected: Any) -> Case:
    if not isinstance(given, list):
        raise ValueError("the inputs of a function are lists of arguments")
    case = Case(json.dumps(given).encode() + b"\n", json.dumps(expected))
    read_value(case.expected)
    return case


def _is_told(rows: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> bool:
    """Whether rows of verl or prime-rl have test cases where others have an answer."""
    del lines
    cells = "reward_model.ground_truth.inputs", "verification_info.test_cases"
    return any(get_cell(row, cell) is not None for row in rows for cell in cells)


KIND = Kind(
    NAME,
    VERSION,
    file=FromFile(CodeFile, PARAMS, range(1, LEVELS_MAX + 1), FORMATS[NAME], _is_told),
    require=require_sandbox,
)
