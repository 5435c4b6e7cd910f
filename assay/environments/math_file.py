"""Problems in the MATH format (Hendrycks et al., "Measuring mathematical problem solving", 2021).

A row has a `problem`, a `solution` whose last `\\boxed{…}` holds the answer, and a `level`, 1 to 5
or `Level 1` to `Level 5`. If it also has an `answer`, that is the answer, or what its last box
holds. Rows without such a
level, or whose answer `math_answer` cannot read, are skipped and counted by reason: they could only
be scored by guessing. Each other row has one right value, which is compared exactly. A row with an
unclosed brace, or one that contradicts another row, is damaged.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from assay.environments.answer_form import AnswerForm, FormedEnvironment, find_closing
from assay.environments.base import (
    BLANKS,
    UNREAD,
    Answer,
    Problem,
    RewardParts,
    make_messages,
    rate_answer,
)
from assay.environments.kind import FromFile, Kind
from assay.environments.math_answer import TEXT_MAX, MathAnswer, is_listed, read_math
from assay.environments.math_form import RequiredForm, find_required_form
from assay.environments.math_question import Question
from assay.environments.math_tokens import has_open_commas
from assay.environments.problem_file import (
    KeptRows,
    OtherFormatError,
    cut_levels,
    find_object_fault,
    name_formats,
    read_object,
    read_objects,
    require_chat,
    require_text,
)
from assay.environments.problem_formats import FORMATS, INPUT, INSTRUCTION
from assay.environments.problem_table import (
    LOOKED_AT,
    Columns,
    OtherShapeError,
    TableError,
    find_columns,
    get_cell,
    read_chat,
    read_level,
)
from assay.protocol.prf import Stream

NAME = "math"
#: Increases whenever any problem or score would change.
VERSION = 9

#: The form of answers that the field trains, and what they are.
FORM, _ANSWER = AnswerForm.BOXED, "the answer alone, in LaTeX,"
#: Levels that a file may have.
LEVELS = range(1, 6)
#: Columns of the MATH format.
MATH_COLUMNS = Columns("problem", "answer", "solution", "level")
#: A float that says what it means: 0.0625, and not 0.333333 for a third.
_DECIMAL = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,4})?")
_NO_CHAT = "chats that do not alternate and end with a question"
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
    """The question, the right answer's text, and messages before the question."""

    question: Question
    text: str
    context: tuple[tuple[str, str], ...] = ()

    @property
    def right(self) -> MathAnswer:
        """The right answer's value. A file's rows are many, and few are asked."""
        right = _find_right(self.text, self.question)
        assert right is not None, "only such rows are asked"
        return right

    @property
    def form(self) -> RequiredForm | None:
        """The form that an answer needs; None: any."""
        return find_required_form(self.question, self.text, self.right)

    def accepts(self, text: str) -> bool:
        """Whether a text is a right answer."""
        return any(self._takes(answer, text) for answer in self._read(text))

    def rate(self, text: str) -> RewardParts:
        """What a text achieves. The parts of a set or a list are its values, if their form is
        free."""
        answers = self._read(text)
        if not answers:
            return UNREAD
        if any(self._takes(answer, text) for answer in answers):
            return rate_answer(1)
        if self.right.size == 1 or self.form is not None:
            return rate_answer(0)
        return rate_answer(max(map(self.right.count_met, answers)), self.right.size)

    def _read(self, text: str) -> list[MathAnswer]:
        """The answers that a text may be."""
        read = (read_math(text, self.question, ls) for ls in {False, is_listed(self.right)})
        return [answer for answer in read if answer is not None]

    def _takes(self, answer: MathAnswer, text: str) -> bool:
        if not self.right.agrees_with(answer):
            return False
        form = self.form
        return form is None or form.allows(answer, text)


class MathRow(NamedTuple):
    """A row of the file: a tuple of plain values, which other processes may read.

    Attributes:
        text: of the right answer; None if it has none. `level`: None if it cannot be read.
        length: of its solution, or else of its problem.
        size: number of the right answer's values that count one by one; 0 if it cannot be read.
        fault: a reason to skip it that its fields show.
        context: messages before the question, with their roles.
        solution: empty unless it is to be kept.
    """

    problem: str
    text: str | None
    level: int | None
    length: int = 0
    size: int = 0
    fault: str | None = None
    context: tuple[tuple[str, str], ...] = ()
    solution: str = ""

    @property
    def right(self) -> MathAnswer | None:
        """The right answer's value; None if it cannot be read."""
        return None if self.text is None else _find_right(self.text, Question(self.problem))

    def make_task(self) -> MathTask:
        """The task of a row that nothing is a reason to skip."""
        assert self.text is not None, "only such rows are asked"
        return MathTask(Question(self.problem), self.text, self.context)

    def name_reason(self, needs_level: bool = True) -> str | None:
        """The reason to skip the row, or None."""
        if self.fault is None and needs_level and self.level is None:
            return "no level of 1 to 5"
        return self.fault


class MathFile(FormedEnvironment):
    """The problems of a file, at the levels that the file names.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, all
                rows are skipped, or a setting is unknown or out of range.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, {}, params, FORM)
        rows = MathRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)
        if any(row.size > 1 for _, row in rows.kept):
            self.rated = frozenset({"satisfaction"})

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely; they are in the file's order."""
        task = stream.choose(self._by_level[level])
        request, context = self.write_request(_ANSWER), make_messages(task.context)
        return Problem(task.question.text, level, task, request, context)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is the same as the right one."""
        task, answer = self._get_task(problem), self.read_answer(completion)
        return UNREAD if answer is None else task.rate(answer)

    def solve(self, problem: Problem) -> Sequence[str]:
        """The row's solution, with the answer in the setting's form behind it where it is in
        another."""
        task = self._get_task(problem)
        written = self._solutions.get((task.question.text, task.context), "")
        if not written.strip(BLANKS):
            return ()
        if self.score(problem, written).correctness:
            return [written]
        return [f"{written.rstrip(BLANKS)}\n{self.write_answer(task.text)}"]

    @cached_property
    def _solutions(self) -> Mapping[tuple[str, tuple[tuple[str, str], ...]], str]:
        """By question and messages before it. They are read when they are first wanted: whoever
        only asks problems needs no memory for them."""
        rows = MathRows(keeps_solutions=True)
        rows.find_levels(self.name.partition(":")[2], NAME)
        return {(row.problem, row.context): row.solution for _, row in rows.kept}

    def _get_task(self, problem: Problem) -> MathTask:
        if not isinstance(problem.answer, MathTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        return problem.answer


class MathRows(KeptRows[MathRow, MathTask]):
    """A file's rows.

    Attributes:
        columns: of the file.
        has_levels: whether its column of levels holds levels. If not, `divide` makes them.
        fault: what a person can do about columns that are not known.
    """

    are_plain = True

    def __init__(
        self, chosen: Mapping[str, str] | None = None, *, keeps_solutions: bool = False
    ) -> None:
        """`chosen`: part of a row → column that a person chose."""
        super().__init__()
        self._keeps_solutions = keeps_solutions
        self._chosen = chosen
        self.columns, self.has_levels = MATH_COLUMNS, False
        self.fault: TableError | None = None

    def look_at(self, lines: Sequence[bytes]) -> None:
        """Find the columns in a file's first rows.

        Raises:
            TableError: the columns that were chosen are not there, or nothing was chosen and the
                file has another shape.
        """
        rows = read_objects(lines[:LOOKED_AT], NAME)
        try:
            self.columns = find_columns(rows, self._chosen)
        except OtherShapeError:
            raise
        except TableError as error:
            message = f"row 1: {find_object_fault(lines[0], NAME)}"
            fault = error if rows else TableError(message)
            if self._chosen:
                raise fault from None
            self.fault = fault  # each row says what it lacks
        column = self.columns.level
        levels = [get_cell(row, column) for row in rows if column]
        known = sum(read_level(level) is not None for level in levels)
        self.has_levels = known > 0 and 2 * known >= len(rows)

    def _read(self, line: bytes) -> tuple[MathRow, str | None]:
        is_guess, keeps = self.fault is not None, self._keeps_solutions
        row = read_math_row(line, self.columns, needs_solution=is_guess, keeps_solution=keeps)
        return row, row.name_reason(self.has_levels)

    def _pack(self, row: MathRow) -> tuple[object, ...]:
        return tuple(row)

    def _unpack(self, packed: tuple[Any, ...]) -> MathRow:
        return MathRow._make(packed)

    def _identify(self, row: MathRow) -> Hashable:
        return (row.problem, row.context) if row.context else row.problem

    def _get_right(self, row: MathRow) -> object:
        return row.right

    def divide(self) -> Mapping[int, Sequence[MathTask]]:
        """The tasks of each level, in the file's order. Without levels of its own a file has k =
        min(5, rows): level l has the rows ⌊(l−1)·rows/k⌋ to ⌊l·rows/k⌋ − 1 by length."""
        found: dict[int, list[MathTask]] = {}
        if self.has_levels:
            for _, row in self.kept:
                found.setdefault(row.level or 0, []).append(row.make_task())
            return found
        ordered = sorted((row for _, row in self.kept), key=lambda row: row.length)
        bands = enumerate(cut_levels(ordered, len(LEVELS)), 1)
        return {level: [row.make_task() for row in rows] for level, rows in bands}


def read_math_row(
    line: bytes,
    columns: Columns = MATH_COLUMNS,
    needs_solution: bool = False,
    keeps_solution: bool = False,
) -> MathRow:
    """Read one line of JSON.

    Args:
        needs_solution: whether a row without a solution is damaged: the columns are a guess.
        keeps_solution: whether the row has its solution.

    Raises:
        ValueError: the row is damaged. The message names the fault.
    """
    row = read_object(line, NAME)
    asked = get_cell(row, columns.problem)
    if asked is None and columns.problem not in row:
        raise name_formats(row, NAME)
    if isinstance(asked, list) and read_chat(asked) is None:
        return MathRow("", None, None, fault=_NO_CHAT)
    chat = require_chat(asked, columns.problem, NAME)
    problem = chat.question
    if columns.problem == INSTRUCTION and row.get(INPUT) not in (None, ""):
        return MathRow(problem, None, None, fault="an instruction with an input")
    solution = get_cell(row, columns.solution) if columns.solution else None
    if solution is None and needs_solution:
        raise name_formats(row, NAME)
    solution = "" if solution is None else require_text(solution, str(columns.solution), NAME)
    question, boxed = Question(problem), find_boxed(solution)
    text, fault = boxed, None if boxed is not None else "no \\boxed{…}"
    answer = get_cell(row, columns.answer) if columns.answer else None
    if answer is not None:
        text, fault = read_answer_field(answer)
        if text is not None and "#### " in text:
            raise OtherFormatError("its answer has a line of ####: gsm:SHA256 takes such files")
    written = text if text is not None and answer is not None and text != boxed else ""
    if find_closing(f"{written}}}") != len(written):
        raise ValueError("the braces of its answer are not balanced")
    if (own := find_boxed(written)) is not None:
        text = own
    right = None if text is None else read_right(text, question)
    if (
        right is not None
        and boxed is not None
        and text != boxed
        and _differ(right, boxed, question)
    ):
        fault = "answer and \\boxed{…} differ"
    if right is not None and any(
        _has_rival_boxes(held, right, question) for held in (solution, written)
    ):
        fault = fault or "several boxes"
    for rival in columns.rivals:
        other = get_cell(row, rival)
        if other in (None, ""):
            continue
        other = _open_answer(other)
        if answer is None or (right and other and _differ(right, other, question)):
            fault = f"answer and {rival} differ"
    level = read_level(get_cell(row, columns.level)) if columns.level else None
    length = len(solution or problem)
    kept = solution if keeps_solution else ""
    if fault is None and text is not None:
        fault = _find_fault(text, right, question)
    size = 0 if right is None else right.size
    return MathRow(problem, text, level, length, size, fault, chat.context, kept)


def _find_fault(text: str, right: MathAnswer | None, question: Question) -> str | None:
    """Why an answer cannot be compared with others, or None."""
    if has_open_commas(text) and not question.asks_amount:
        return "thousands or a list"
    if len(text) > TEXT_MAX:
        return f"longer than {TEXT_MAX} characters"
    if right is None:
        return next((name for name, pattern in _FORMS if pattern.search(text)), "other forms")
    if question.asks_percentage and right.may_be_share:
        return "a share or a percentage"
    return None


def _differ(right: MathAnswer, text: str, question: Question) -> bool:
    """Whether a text has another value than the right answer, however its commas are read."""
    read = (read_math(text, question, listed) for listed in {False, has_open_commas(text)})
    others = [other for other in read if other is not None]
    same = (right.agrees_with(other) or other.agrees_with(right) for other in others)
    return bool(others) and not any(same)


def _has_rival_boxes(solution: str, right: MathAnswer, question: Question) -> bool:
    """Whether a box before the last one has not the right answer's value. Of `x = \\boxed{2}` or
    `x = \\boxed{3}` nobody knows whether both are the answer. A box around another is a rival."""
    box = _name_box(solution)
    if solution.count(box) < 2:
        return False
    boxes = solution.split(box)[1:-1]
    ends = ((box, find_closing(box)) for box in boxes)
    texts = dict.fromkeys(None if end is None else box[:end] for box, end in ends)
    return any(
        text is None or read_right(text, question) is None or _differ(right, text, question)
        for text in texts
    )


def read_right(text: str, question: Question) -> MathAnswer | None:
    """The right answer that a file spells."""
    return read_math(text, question, has_open_commas(text) and not question.asks_amount)


#: Of the tasks that are asked: each is answered several times.
_find_right = lru_cache(1 << 10)(read_right)


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


def _open_answer(value: Any) -> str | None:
    """The text of an answer, or what its last box holds; None if nothing is read."""
    text, _ = read_answer_field(value)
    if text is not None:
        with suppress(ValueError):
            return text if (boxed := find_boxed(text)) is None else boxed
    return text


def find_boxed(solution: str) -> str | None:
    """The content of the last `\\boxed{…}`, or without one of the last `\\fbox{…}`, up to the
    closing brace. None without either. The data set's own program does the same.

    Raises:
        ValueError: the brace is never closed.
    """
    box = _name_box(solution)
    if box not in solution:
        return None
    rest = solution.rpartition(box)[2]
    end = find_closing(rest)
    if end is None:
        raise ValueError(f"the last {box} of its solution is never closed: a brace is missing")
    return rest[:end]


def _name_box(solution: str) -> str:
    """How the boxes of a solution begin that may hold its answer."""
    return "\\boxed{" if "\\boxed{" in solution else "\\fbox{"


KIND = Kind(NAME, VERSION, FORM, file=FromFile(MathFile, levels=LEVELS, rows=FORMATS[NAME]))
