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

from assay.environments.base import Answer, DrawnEnvironment, Problem, RewardParts, read_answer
from assay.environments.math_answer import MathAnswer, read_math
from assay.environments.problem_file import KnownAnswers, ProblemFileError, find_rows, read_texts
from assay.protocol.parameters import MILLION
from assay.protocol.prf import Stream

NAME = "math"
#: Increases whenever any problem or score would change.
VERSION = 6

_REQUEST = "End with a line of ####, a space and the answer alone, in LaTeX."
#: Levels that a file may have.
LEVELS = range(1, 6)
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
    """The right answer: its text and its value."""

    text: str
    right: MathAnswer


@dataclass(frozen=True, slots=True)
class MathRow:
    """A row of the file. `level` and `right` are None if they cannot be read."""

    problem: str
    text: str | None
    level: int | None
    right: MathAnswer | None

    def name_reason(self) -> str | None:
        """The reason to skip the row, or None."""
        if self.text is None:
            return "no \\boxed{…}"
        if self.right is None:
            reasons = (name for name, pattern in _FORMS if pattern.search(self.text))
            return next(reasons, "other forms")
        return "no level of 1 to 5" if self.level is None else None


class MathFile(DrawnEnvironment):
    """The problems of a file, at the levels that the file names.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
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
        self._by_level: dict[int, list[MathRow]] = {}
        for row in read.rows:
            assert row.level is not None, "only such rows are kept"
            self._by_level.setdefault(row.level, []).append(row)
        self.skipped = read.skipped
        self.levels = sorted(self._by_level)
        if not self.levels:
            raise ProblemFileError(
                f"{self.name}: none of its {len(rows)} problems can be asked: "
                f"{describe_skipped(self.skipped)}"
            )

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely; they are in the file's order."""
        row = stream.choose(self._by_level[level])
        assert row.text is not None, "only such rows are kept"
        assert row.right is not None, "only such rows are kept"
        return Problem(f"{row.problem}\n{_REQUEST}\n", level, MathTask(row.text, row.right))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the text after the only `####` is the same answer as the right one."""
        if not isinstance(problem.answer, MathTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = read_answer(completion)
        value = None if answer is None else read_math(answer)
        right = value is not None and problem.answer.right.agrees_with(value)
        return RewardParts(MILLION if right else 0, 0, 0)


class _RowReader:
    """Takes a file's rows one by one. Keeps the usable ones, and the reason for skipping others."""

    def __init__(self) -> None:
        self.rows: list[MathRow] = []
        self.skipped: dict[str, list[int]] = {}
        self._known = KnownAnswers()
        self._number = 0

    def __call__(self, line: bytes) -> None:
        """Take one row. Raises ValueError if it is damaged or contradicts another row."""
        self._number += 1
        row = read_math_row(line)
        reason = row.name_reason()
        if reason is None:
            if self._known.is_new(row.problem, row.right, self._number):
                self.rows.append(row)
                return
            reason = "asked already"
        self.skipped.setdefault(reason, []).append(self._number)


def read_math_row(line: bytes) -> MathRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    fields = read_texts(line, NAME)
    text = fields.get("answer")
    if type(text) is int:
        text = str(text)
    if not isinstance(text, str):
        text = find_boxed(fields["solution"])
    elif find_closing(text + "}") != len(text):
        raise ValueError("the braces of its answer are not balanced")
    level = _LEVEL.fullmatch(str(fields.get("level")))
    return MathRow(
        fields["problem"],
        text,
        None if level is None else int(level[1]),
        None if text is None else read_math(text),
    )


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
