"""Problems in the MATH format (Hendrycks et al., "Measuring mathematical problem solving", 2021).

A row has a `problem`, a `solution` whose last `\\boxed{…}` holds the answer, and a `level`, 1 to 5
or `Level 1` to `Level 5`. If it also has an `answer`, that is the answer. Rows without such a
level, or whose answer `math_answer` cannot read, are skipped and counted by reason: they could only
be scored by guessing. Each other row has one right value, which is compared exactly. A row with an
unclosed brace, or one that contradicts another row, is damaged.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.environments.base import Answer, DrawnEnvironment, Problem, RewardParts, read_answer
from assay.environments.math_answer import MathAnswer, is_listed, read_math
from assay.environments.math_form import RequiredForm, find_required_form
from assay.environments.math_question import Question
from assay.environments.math_tokens import has_comma_groups
from assay.environments.problem_file import KnownAnswers, ProblemFileError, find_rows, read_texts
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream

NAME = "math"
#: Increases whenever any problem or score would change.
VERSION = 7

_REQUEST = "End with a line of ####, a space and the answer alone, in LaTeX."
#: Levels that a file may have.
LEVELS = range(1, 6)
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?")
_LEVEL = re.compile(r"(?:Level )?([1-5])")
#: Name of the form of an answer that cannot be read: the first whose pattern occurs in it.
_FORMS = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("matrices", r"\\begin\{"),
        ("words", r"\\(?:text|mbox|textrm|mathrm|textbf)(?![a-zA-Z])|(?<![\\a-zA-Z])[a-zA-Z]{3,}"),
        ("functions", r"\\(?:sin|cos|tan|cot|sec|csc|log|ln|arc|binom|lfloor|lceil)|!|\\sqrt\s*\["),
        ("numbers in a base", r"[0-9]\s*_"),
        ("inequalities", r"[<>\u2264\u2265]|\\(?:lt|gt|le|ge|leq|geq|ne|neq)(?![a-zA-Z])"),
        ("complex numbers", r"(?<![\\a-zA-Z])i(?![a-zA-Z])"),
        ("expressions in letters", r"(?<![\\a-zA-Z])[a-zA-Z]|\\(?:theta|alpha|lambda)(?![a-zA-Z])"),
        ("ratios and times", ":"),
    )
)


@dataclass(frozen=True, slots=True)
class MathTask(Answer):
    """The question, and the right answer: its text, its value and the form that it needs."""

    question: Question
    text: str
    right: MathAnswer
    form: RequiredForm | None

    def accepts(self, text: str) -> bool:
        """Whether a text is a right answer."""
        answer = read_math(text, self.question, is_listed(self.right))
        if answer is None or not self.right.agrees_with(answer):
            return False
        return self.form is None or self.form.allows(answer, text)


@dataclass(frozen=True, slots=True)
class MathRow:
    """A row of the file. `level` and `right` are None if they cannot be read; `fault` is a reason
    to skip it that its fields show."""

    question: Question
    text: str | None
    level: int | None
    right: MathAnswer | None
    fault: str | None = None

    @property
    def problem(self) -> str:
        return self.question.text

    def make_task(self) -> MathTask:
        """The task of a row that nothing is a reason to skip."""
        assert self.text is not None, "only such rows are asked"
        assert self.right is not None, "only such rows are asked"
        form = find_required_form(self.question, self.text, self.right)
        return MathTask(self.question, self.text, self.right, form)

    def name_reason(self) -> str | None:
        """The reason to skip the row, or None."""
        if self.fault is not None or self.text is None:
            return self.fault
        if has_comma_groups(self.text) and self.question.asks_several:
            return "thousands or a list"
        if self.right is None:
            reasons = (name for name, pattern in _FORMS if pattern.search(self.text))
            return next(reasons, "other forms")
        return "no level of 1 to 5" if self.level is None else None


class MathFile(DrawnEnvironment):
    """The problems of a file, at the levels that the file names.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
        posed: numbers of the rows whose answers need the right answer's form.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, all
                rows are skipped, or a setting is given: there are none.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, {}, params)
        read = _RowReader()
        rows = find_rows(digest, NAME, read)
        self._by_level = read.by_level
        self.skipped, self.posed = read.skipped, read.posed
        self.levels = sorted(self._by_level)
        if not self.levels:
            raise ProblemFileError(
                f"{self.name}: none of its {len(rows)} problems can be asked: "
                f"{describe_skipped(self.skipped)}"
            )

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely; they are in the file's order."""
        task = stream.choose(self._by_level[level])
        return Problem(f"{task.question.text}\n{_REQUEST}\n", level, task)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the text after the only `####` is the same answer as the right one."""
        if not isinstance(problem.answer, MathTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = read_answer(completion)
        right = answer is not None and problem.answer.accepts(answer)
        return RewardParts(MILLION if right else 0, 0, 0)


class _RowReader:
    """Takes a file's rows one by one. Keeps the usable ones, and the reason for skipping others."""

    def __init__(self) -> None:
        self.by_level: dict[int, list[MathTask]] = {}
        self.skipped: dict[str, list[int]] = {}
        self.posed: list[int] = []
        self._known = KnownAnswers()
        self._number = 0

    def __call__(self, line: bytes) -> None:
        """Take one row. Raises ValueError if it is damaged or contradicts another row."""
        self._number += 1
        row = read_math_row(line)
        reason = row.name_reason()
        if reason is None and not self._known.is_new(row.problem, row.right, self._number):
            reason = "asked already"
        if reason is not None:
            self.skipped.setdefault(reason, []).append(self._number)
            return
        task = row.make_task()
        self.by_level.setdefault(row.level or 0, []).append(task)
        if task.form is not None:
            self.posed.append(self._number)


def read_math_row(line: bytes) -> MathRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    fields = read_texts(line, NAME)
    question = Question(fields["problem"])
    boxed = find_boxed(fields["solution"])
    text, fault = boxed, None if boxed is not None else "no \\boxed{…}"
    if fields.get("answer") is not None:
        text, fault = read_answer_field(fields["answer"])
    if text is not None and find_closing(text + "}") != len(text):
        raise ValueError("the braces of its answer are not balanced")
    right = None if text is None else read_math(text, question, question.asks_several)
    if right is not None and boxed is not None and text != boxed:
        other = read_math(boxed, question, question.asks_several)
        if other is not None and not right.agrees_with(other) and not other.agrees_with(right):
            fault = "answer and \\boxed{…} differ"
    level = _LEVEL.fullmatch(str(fields.get("level")))
    return MathRow(question, text, None if level is None else int(level[1]), right, fault)


def read_answer_field(value: Any) -> tuple[str | None, str | None]:
    """The text of an answer that a file holds as a value of JSON, or None with the reason.

    A whole number, a decimal of few places and a list of one value are read. Nothing is rounded."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value, None
    if type(value) is int:
        return str(value), None
    if isinstance(value, float):
        text = repr(value).removesuffix(".0")
        return (text, None) if _DECIMAL.fullmatch(text) else (None, "rounded numbers")
    return None, "several answers" if isinstance(value, list) else "answers of another type"


def describe_skipped(skipped: Mapping[str, Sequence[int]]) -> str:
    """Text for people: reasons by frequency, each with its first row."""
    ranked = sorted(skipped.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return ", ".join(f"{len(rows)} {reason} (row {rows[0]})" for reason, rows in ranked)


def find_boxed(solution: str) -> str | None:
    """The content of the last `\\boxed{…}`, or without one of the last `\\fbox{…}`, up to the
    closing brace. None without either. The data set's own program does the same.

    Raises:
        ValueError: the brace is never closed.
    """
    box = next((box for box in ("\\boxed{", "\\fbox{") if box in solution), None)
    if box is None:
        return None
    rest = solution.rpartition(box)[2]
    end = find_closing(rest)
    if end is None:
        raise ValueError(f"the last {box} of its solution is never closed: a brace is missing")
    return rest[:end]


def find_closing(text: str) -> int | None:
    """Index of the brace that closes one opened before the text. None if there is none."""
    depth, place = 1, 0
    while place < len(text):
        if text[place] == "\\":  # skip the escaped character too
            place += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
        place += 1
    return None
