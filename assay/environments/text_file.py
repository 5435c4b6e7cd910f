"""`text:SHA256`: questions with short answers in words, from a file.

The shapes are those of NQ-open, TriviaQA, SQuAD, HotpotQA and of most people's tables of questions
and answers. An answer is right if its plain form is that of one of the row's answers, all of it:
a sentence that holds one, two answers, or a near one earn nothing. What a question is about stands
before it.
"""

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from sys import intern
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import BLANKS, UNREAD, Answer, Problem, RewardParts, rate_answer
from assay.environments.documents import find_lacking, find_passage_fault, read_passage
from assay.environments.kind import FromFile, Kind
from assay.environments.math_answer import read_math
from assay.environments.plain_form import (
    NO_JSON,
    find_fault,
    read_answers,
    read_named_level,
    write_plainly,
)
from assay.environments.problem_file import (
    ROW_MAX,
    KeptRows,
    OtherFormatError,
    cut_levels,
    list_fields,
    read_object,
    read_objects,
    read_shaped,
    require_question,
    require_text,
)
from assay.environments.problem_formats import (
    FORMATS,
    INPUT,
    INSTRUCTION,
    PASSAGES,
    WORD_ANSWERS,
    WORD_QUESTIONS,
)
from assay.environments.problem_table import (
    LOOKED_AT,
    TableError,
    get_cell,
    list_names,
    read_problem_cell,
)
from assay.protocol.prf import Stream

NAME = "text"
#: Increases whenever any problem or score would change.
VERSION = 1

#: Levels that a file may have.
LEVELS = range(1, 6)
#: Most characters of an answer in plain form.
ANSWER_MAX = 128
#: The form of answers, and what they are.
FORM, _ANSWER = AnswerForm.HASH, "the answer in a few words"
#: Answers of the file that `list_thoughtless` has.
_FREQUENT = 3
#: Parts of a row whose columns a person may choose.
_PARTS = "problem", "answer", "level"
#: Choices within the question are guessed as letters are.
_LETTER = re.compile("[a-j]")
_CHOICES = [re.compile(rf"(?<![A-Za-z0-9]){letter}[).:](?![A-Za-z0-9])") for letter in "AB"]
#: What is in words: of numbers and formulas others know better.
_WORDS = re.compile(r"[a-z]{3}|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class TextRow:
    """A question with its answers.

    Attributes:
        question: alone. passage: what it is about; empty: it has none.
        answers: that are accepted, in plain form; the first is the file's own.
        level: 1 to 5, or None.
        fault: a reason to skip the row, which its fields show.
    """

    question: str
    passage: str = ""
    answers: tuple[str, ...] = ()
    level: int | None = None
    fault: str | None = None

    @property
    def text(self) -> str:
        """What is asked."""
        return f"{self.passage}\n\n{self.question}" if self.passage else self.question


@dataclass(frozen=True, slots=True)
class TextTask(Answer):
    """The row that the problem comes from."""

    row: TextRow


class TextFile(FormedEnvironment):
    """The questions of a file, at the levels that it names.

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
        rows = TextRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)
        answers = Counter(row.answers[0] for held in self._by_level.values() for row in held)
        self._frequent = [answer for answer, _ in answers.most_common(_FREQUENT)]

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely."""
        row = stream.choose(self._by_level[level])
        return Problem(row.text, level, TextTask(row), self.write_request(_ANSWER))

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is one of the row's, in plain form."""
        if not isinstance(problem.answer, TextTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = self.read_answer(completion)
        plain = "" if answer is None else write_plainly(answer)
        return rate_answer(plain in problem.answer.row.answers) if plain else UNREAD

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        """The commonest answers of the file, and a copy of the question."""
        return tuple(map(self.write_answer, (*self._frequent, problem.question)))


class TextRows(KeptRows[TextRow, TextRow]):
    """A file's rows.

    Attributes:
        questions, answers: columns in which they are looked for.
    """

    def __init__(self, chosen: Mapping[str, str] | None = None, most: int = ROW_MAX) -> None:
        """Args: part of a row → column that a person chose; most bytes of a row."""
        super().__init__()
        self._chosen = chosen = chosen or {}
        self._most = most
        self.questions = (chosen["problem"],) if "problem" in chosen else WORD_QUESTIONS
        self.answers = (chosen["answer"],) if "answer" in chosen else WORD_ANSWERS

    def look_at(self, lines: Sequence[bytes]) -> None:
        """Raises TableError if a column that was chosen is not there."""
        rows = read_objects(lines[:LOOKED_AT], NAME, self._most)
        for part, column in self._chosen.items():
            if part not in _PARTS:
                raise TableError(f"text:SHA256 has no part {part!r}: {', '.join(_PARTS)} are")
            if not any(column in row or get_cell(row, column) is not None for row in rows):
                names = dict.fromkeys(name for row in rows for name in row)
                raise TableError(f"no column {column!r} for the {part}: it has {list_names(names)}")

    def _read(self, line: bytes) -> tuple[TextRow, str | None]:
        read = read_text_row(self.open(line), self.questions, self.answers)
        return read, read.fault

    def open(self, line: bytes) -> dict[str, Any]:
        """A row's columns, with those that were chosen by a point. Raises ValueError."""
        row = read_object(line, NAME, self._most)
        chosen = {column: get_cell(row, column) for column in self._chosen.values()}
        row |= chosen
        if "level" in self._chosen:
            row["level"] = chosen[self._chosen["level"]]
        return row

    def _identify(self, row: TextRow) -> Hashable:
        return sha256(row.text.encode()).digest()  # passages are long, and come many times

    def _get_right(self, row: TextRow) -> object:
        return frozenset(row.answers)

    def finish(self) -> None:
        lacking = find_lacking((number, row.passage) for number, row in self.kept)
        if lacking:
            self.skipped["without the passage that others have"] = lacking
            self.kept = [(number, row) for number, row in self.kept if row.passage]

    @property
    def has_levels(self) -> bool:
        return bool(self.kept) and all(row.level is not None for _, row in self.kept)

    def divide(self) -> Mapping[int, Sequence[TextRow]]:
        """The rows of each level: those that all of them name, or else bands by length."""
        if not self.has_levels:
            ordered = sorted((row for _, row in self.kept), key=lambda row: len(row.text))
            return dict(enumerate(cut_levels(ordered, len(LEVELS)), 1))
        found: dict[int, list[TextRow]] = {}
        for _, row in self.kept:
            found.setdefault(row.level or 0, []).append(row)
        return found


def read_text_row(
    row: Mapping[str, Any],
    questions: Sequence[str] = WORD_QUESTIONS,
    names: Sequence[str] = WORD_ANSWERS,
) -> TextRow:
    """Read a row.

    Args:
        questions: columns of a question, of which the first that has one counts.
        names: columns of its answers, all of which count.

    Raises:
        ValueError: the row is damaged. The message names the fault.
    """
    column = next((name for name in questions if row.get(name) not in (None, "")), None)
    if column is None:
        if any(name in row for name in (*questions, *PASSAGES)):
            return TextRow("", fault="without a question")
        raise OtherFormatError(
            f"it has {list_fields(dict(row))}: text:SHA256 takes questions, and answers in words"
        )
    asked = read_problem_cell(row[column])
    if asked is None and not isinstance(row[column], str):
        return TextRow("", fault="with a question that is no text")
    question = require_text(asked, column, NAME).strip(BLANKS)
    require_question(question, column)
    try:
        passage = intern(read_passage(row))  # many questions are about one
    except ValueError:
        return TextRow(question, fault="with a passage of another shape")
    given, fault = read_answers(row, names)
    plain = list(dict.fromkeys(text for text in map(write_plainly, given) if text))
    answers = [text for text in plain if len(text) <= ANSWER_MAX and _is_short(text)]
    fault = fault or find_fault(question, plain) or _find_fault(question, passage, plain, answers)
    if fault is None and column == INSTRUCTION and row.get(INPUT) not in (None, ""):
        fault = "an instruction with an input"
    return TextRow(question, passage, tuple(answers), read_named_level(row), fault)


def _is_short(text: str) -> bool:
    """Whether an answer is no formula, and has no mark of a form of answers."""
    return "\\" not in text and "####" not in text


def _find_fault(
    question: str, passage: str, plain: Sequence[str], answers: Sequence[str]
) -> str | None:
    """Args: `plain` are all answers, and `answers` those that are short."""
    if not answers:
        is_short = any(len(text) <= ANSWER_MAX for text in plain)
        what = "a formula" if is_short else f"more than {ANSWER_MAX} characters"
        return f"with {what} for an answer"
    if any(map(_LETTER.fullmatch, answers)):
        return "with a letter for an answer"
    if all(mark.search(question) for mark in _CHOICES):
        return "with choices in the question"
    return find_passage_fault(question, passage)


def _is_told(rows: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> bool:
    """Whether most of the first rows have a passage, or an answer in words that has no value as a
    mathematical one."""
    del lines
    return 2 * sum(map(_is_in_words, rows)) > len(rows)


def _is_in_words(row: dict[str, Any]) -> bool:
    if row.get("solution"):
        return False
    try:
        read = read_shaped(read_text_row, row)
    except ValueError:
        return False
    if read.fault is not None or read.passage:
        return bool(read.passage) or read.fault == NO_JSON
    return any(_WORDS.search(text) and read_math(text) is None for text in read.answers)


_FILE = FromFile(TextFile, levels=LEVELS, rows=FORMATS[NAME], tells=_is_told)
KIND = Kind(NAME, VERSION, FORM, file=_FILE)
