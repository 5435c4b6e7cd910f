"""`letters:SHA256`: questions with choices, of which a letter names the right one, from a file.

The shapes are those of GPQA, MMLU-Pro, MMLU, ARC and others. A question that yes or no answers has
these as choices, and one that names two of its documents, of which one is the answer, has those.
The choices of a row are dealt anew for each problem, so a letter's place says nothing. One question
of four choices is right in a quarter of all guesses, and a model that guesses would look like one
that learns. So a problem has as many questions as a guess needs to earn once in `odds`, and all of
them must be right.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import BLANKS, UNREAD, Answer, Param, Problem, RewardParts, rate_answer
from assay.environments.documents import (
    find_lacking,
    find_passage_fault,
    join_line,
    list_documents,
    read_passage,
)
from assay.environments.instructions.texts import fold, split_pieces
from assay.environments.kind import FromFile, Kind
from assay.environments.math_answer import read_math
from assay.environments.math_tokens import unwrap
from assay.environments.plain_form import (
    read_answers,
    read_named_level,
    read_yes_or_no,
    write_plainly,
)
from assay.environments.problem_file import (
    KeptRows,
    OtherFormatError,
    ProblemFileError,
    cut_levels,
    name_formats,
    read_object,
    require_question,
    require_text,
)
from assay.environments.problem_formats import (
    CHOICE_LETTERS,
    CHOICE_LISTS,
    CHOICE_QUESTIONS,
    CHOICE_RIGHT,
    CHOICE_RIGHTS,
    CHOICE_WRONG,
    FORMATS,
    PASSAGES,
    WORD_ANSWERS,
)
from assay.environments.problem_table import parse_cell, read_problem_cell
from assay.protocol.encoding import EncodingError
from assay.protocol.prf import Stream

NAME = "letters"
#: Increases whenever any problem or score would change.
VERSION = 2

PARAMS: Mapping[str, Param] = MappingProxyType(
    {"odds": Param(10, 2, 1_000, "a guess of a whole problem is right at most once in so many")}
)
#: Levels that a file may have.
LEVELS = range(1, 6)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Fewest and most choices of a question.
CHOICES_MIN, CHOICES_MAX = 2, len(LETTERS)
#: The form of answers, and what they are: of one question, and of several.
FORM = AnswerForm.HASH
#: Choices of questions that list none, and why a row is not asked that has no other.
_PAIRS = (("yes", "no"), ("true", "false"))
NO_CHOICES = "without choices"
_ANSWER = "the letter of the right choice"
_ANSWERS = "the letters of the right choices, in the order of the questions"
#: Letters and digits that may mean a choice, as they stand in patterns.
_MARK, _SMALL = r"(?<![A-Za-z0-9])\(?[A-J]\)?(?![A-Za-z0-9])", r"\(?[a-j]\)?(?![A-Za-z0-9])"
_ANY = r"\(?[A-Ja-j1-9]\)?(?![A-Za-z0-9])"
_AND = r"(?:(?i:and|or|nor|as well as|und|oder|et|ou)(?![A-Za-z])|[,&]) *(?:(?:and|or) +)?"
#: A choice that means others by their place, and one that may: it stays last if it is. Small
#: letters and digits are also articles, variables and numbers: of them, fewer forms count.
_PLACED = re.compile(
    r"(?i:\b(?:above|below|preceding|previous|following)\b)"
    r"|(?i:\b(?:first|last|former|latter) (?:two|three)\b)"
    rf"|{_MARK} *(?:{_AND}|[+/] *){_MARK}"
    rf"|(?<![A-Za-z0-9]){_SMALL} *(?!,){_AND}(?!a [a-z]){_SMALL}"
    rf"|\A(?i:both |either |neither )?{_ANY} *{_AND}{_ANY}(?: (?i:only))?\.?\Z"
    rf"|\A{_SMALL} *[+/] *{_SMALL}\Z"
    rf"|(?i:\b(?:options?|choices?|answers?|both|either|neither|only|except(?: for)?|but|not)) "
    rf"(?:\([A-Ja-j1-9]\)|{_MARK}(?! *[a-z'])|{_MARK}(?= (?:and|or|nor|is|are)\b)"
    rf"|{_SMALL}(?=\W*\Z| *{_AND}))"
    rf"|(?i:\b(?:options?|choices?|answers?|both|either|neither|except(?: for)?|but)) "
    rf"[1-9](?![A-Za-z0-9.])(?=\W*\Z| *{_AND})"
    rf"|(?i:\b(?:same as|see|as in)) (?:\([A-Ja-j1-9]\)|[A-Ja-j](?=\W*\Z))"
    rf"|\A{_MARK} (?i:only|alone|(?:is|are) (?:correct|true|right|false|wrong|incorrect))\.?\Z"
    r"|(?i:\b(?:first|second|third|fourth|fifth|last|former|latter|other|previous) "
    r"(?:two |three )?(?:options?|choices?|answers?|alternatives?)\b)"
    r"|\A(?i:(?:the )?(?:first|second|third)(?:,| and| or) (?:the )?"
    r"(?:second|third|fourth|last))\Z",
    re.ASCII,  # what is a letter elsewhere differs between Pythons
)
#: A choice that is about the others, wherever they are: all of them, several, or none. At its end
#: it may say that they are right.
_OTHERS = (
    r"(?:(?:the )?(?:other |given |listed |remaining |following )*(?:above|these|those|them"
    r"|options?|choices?|answers?|alternatives?|possibilities)(?: (?:above|listed|given|here))?)"
)
_NUMBERS = "two|three|four|five|six|seven|eight|nine"
_RIGHT = r"(?:,? (?:is|are) (?:correct|true|right|possible|false|wrong|incorrect))?"
_ALL_OTHERS = re.compile(rf"(?i)(?:all|none|any|some|each|most) of {_OTHERS}{_RIGHT}\.?", re.ASCII)
_SEVERAL_OTHERS = re.compile(
    r"(?i)(?:"
    rf"(?:all|none|any|some|each|most|every one|(?:more than|at least|only|exactly|not)? ?one"
    rf"|(?:all|any|only|exactly|at least|the (?:other|first|last))? ?(?:{_NUMBERS})"
    rf"|both|either|neither|the others?)(?: of)?(?: {_OTHERS})?{_RIGHT}"
    rf"|(?:all|none|both|neither) (?:correct|true|right|apply|applies)"
    rf"|no (?:correct|right) (?:answer|choice|option)"
    r")\.?",
    re.ASCII,
)
#: Numbers in words, which may be what a question asks for.
_COUNT = re.compile(
    rf"(?i)(?:(?:only|exactly|at least|more than) )?(?:one|{_NUMBERS})\.?", re.ASCII
)
#: Letters of choices, one after the other or as a range.
_LETTERS_ALONE = re.compile(r"[A-J](?:[ ,/&+]*[A-J])+|[a-j](?:[ ,/&+]+[a-j])+", re.ASCII)
_RANGE = re.compile(r"\(?([A-J])\)? *(?:-|\u2013|to|through) *\(?([A-J])\)?", re.ASCII)
#: Signs around a letter that do not change what it names.
_QUOTES = dict.fromkeys(map(ord, "[]'\"*`\u2018\u2019\u201c\u201d"))
#: A line that would look like a further choice, and the letter that a choice brings.
_MARKED = re.compile(r"(?m)^[A-Z]\. ")
_LABEL = re.compile(r"\(?([A-Za-z])[.):](?=\s)|\(([A-Za-z])\)|([A-Za-z])\)", re.ASCII)
_LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")
_SEPARATORS = dict.fromkeys(map(ord, f"{BLANKS},"), " ")
_DIGITS = re.compile("[0-9]{1,3}")
#: What a choice has that may be a number, a word that it has not, and a letter in a question with
#: what stands behind it.
_NUMERIC, _WORD = re.compile(r"[0-9\\]"), re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}", re.ASCII)
_SHOWN = re.compile(rf"(?<![A-Za-z0-9])([A-Z])[.):][{BLANKS}$}}\\~]*", re.ASCII)
#: Most characters of an answer whose delimiters and fonts are looked at.
_DRESSED_MAX = 512


@dataclass(frozen=True, slots=True)
class LettersRow:
    """A question, its choices, the index of the right one, and whether the last stays last.

    Attributes:
        question: behind the passage that it is about. passage: empty: there is none.
        level: 1 to 5, or None.
        by_place: whether a bare number alone named the right choice.
        fault: a reason to skip the row, which its fields show.
    """

    question: str
    choices: tuple[str, ...] = ()
    right: int = 0
    last_stays: bool = False
    level: int | None = None
    by_place: bool = False
    fault: str | None = None
    passage: str = ""

    @property
    def alone(self) -> str:
        """The question without its passage."""
        return self.question.removeprefix(f"{self.passage}\n\n") if self.passage else self.question

    @property
    def length(self) -> int:
        return len(self.question) + sum(map(len, self.choices))

    def deal(self, stream: Stream) -> "Dealt":
        """The choices in an order that is drawn."""
        free = len(self.choices) - self.last_stays
        order = [*stream.sample(free, free), *range(free, len(self.choices))]
        choices = tuple(self.choices[index] for index in order)
        return Dealt(self.question, choices, LETTERS[order.index(self.right)])


@dataclass(frozen=True, slots=True)
class Dealt:
    """A question with its choices as they are asked, and the letter of the right one."""

    question: str
    choices: tuple[str, ...]
    letter: str

    def write(self) -> str:
        marked = zip(LETTERS, self.choices, strict=False)
        return "\n".join([self.question, *(f"{letter}. {choice}" for letter, choice in marked)])


@dataclass(frozen=True, slots=True)
class LettersTask(Answer):
    """The questions of a problem, in their order."""

    asked: tuple[Dealt, ...]

    @property
    def letters(self) -> str:
        return "".join(one.letter for one in self.asked)

    def count_right(self, answer: str) -> int | None:
        """The number of letters that are right. None if the answer is no letters, one a
        question."""
        bare = unwrap(answer) if len(answer) <= _DRESSED_MAX else answer
        letters = self._read(bare)
        if letters is None or len(letters) != len(self.asked):
            return None
        return sum(given == one.letter for given, one in zip(letters, self.asked, strict=True))

    def _read(self, answer: str) -> list[str] | None:
        """The letters of an answer; of one letter, perhaps with the text of its own choice."""
        mark, _, text = answer.partition(" ")
        found = _LETTER.fullmatch(mark) if text and len(self.asked) == 1 else None
        index = LETTERS.index(found[1]) if found is not None else CHOICES_MAX
        choices = self.asked[0].choices
        if index < len(choices) and text.strip(BLANKS) == choices[index]:
            return [LETTERS[index]]
        return _read_letters(answer, len(self.asked))


def _read_letters(answer: str, count: int) -> list[str] | None:
    """So many letters, together or one by one with blanks or commas between."""
    if answer.isascii() and answer.isalpha() and answer.isupper():
        return list(answer)
    parts = [part for part in answer.translate(_SEPARATORS).split(" ") if part]
    if len(parts) != count:
        return None
    found = [_LETTER.fullmatch(part) for part in parts]
    return None if None in found else [one[1] for one in found if one is not None]


class LettersFile(FormedEnvironment):
    """The questions of a file, at the levels that the file names.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
    """

    rated = frozenset({"satisfaction"})

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row is damaged, all
                rows are skipped, a level has too few rows for `odds`, or a setting is out of range.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, PARAMS, params, FORM)
        rows = LettersRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)
        for level, asked in self._by_level.items():
            if compute_odds(asked, self.params["odds"]) < self.params["odds"]:
                raise ProblemFileError(
                    f"{self.name}: level {level} has {len(asked)} rows, and a guess of them all is "
                    f"right more than once in {self.params['odds']}: lower `odds`, or add rows"
                )

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw rows of the level until a guess of them all is right at most once in `odds`, each
        row once; deal the choices of each when it is drawn."""
        rows, indices, guesses, asked = self._by_level[level], set[int](), 1, list[Dealt]()
        while guesses < self.params["odds"]:
            index = stream.draw_below(len(rows))
            if index in indices:
                continue
            indices.add(index)
            asked.append(rows[index].deal(stream))
            guesses *= len(rows[index].choices)
        if len(asked) == 1:
            request = self.write_request(_ANSWER)
            return Problem(asked[0].write(), level, LettersTask(tuple(asked)), request)
        texts = [f"Question {number}\n{one.write()}\n" for number, one in enumerate(asked, 1)]
        request = self.write_request(_ANSWERS)
        return Problem("\n".join(texts), level, LettersTask(tuple(asked)), request)

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """The parts of an answer are its letters."""
        if not isinstance(problem.answer, LettersTask):
            raise TypeError(f"not a problem of {self.name}: {type(problem.answer).__name__}")
        answer = self.read_answer(completion)
        right = None if answer is None else problem.answer.count_right(answer)
        return UNREAD if right is None else rate_answer(right, len(problem.answer.asked))

    def list_thoughtless(self, problem: Problem) -> Sequence[str]:
        assert isinstance(problem.answer, LettersTask), "only such problems are made"
        count = len(problem.answer.asked)
        return tuple(self.write_answer(letter * count) for letter in LETTERS[:5])


class LettersRows(KeptRows[LettersRow, LettersRow]):
    """A file's rows."""

    def __init__(self) -> None:
        super().__init__()
        self._other: ValueError | None = None

    def _read(self, line: bytes) -> tuple[LettersRow, str | None]:
        row = read_letters_row(line)
        if row.fault == NO_CHOICES and self._other is None:
            self._other = name_formats(read_object(line, NAME), NAME)
        return row, row.fault

    def _identify(self, row: LettersRow) -> Hashable:
        return "\n".join([row.question, *sorted(row.choices)])

    def _get_right(self, row: LettersRow) -> object:
        return row.choices[row.right]

    def finish(self) -> None:
        """Skip rows whose right choice only a number names, if no such number is 0: nobody knows
        whether it counts from 0 or from 1; and rows without the passage that others have.

        Raises:
            OtherFormatError: no row has choices.
        """
        if self._other is not None and self.skipped.keys() == {NO_CHOICES} and not self.kept:
            raise OtherFormatError(f"none of its rows has choices: {self._other}")
        lacking = find_lacking((number, row.passage) for number, row in self.kept)
        if lacking:
            self.skipped["without the passage that others have"] = lacking
            self.kept = [(number, row) for number, row in self.kept if row.passage]
        by_place = [(number, row) for number, row in self.kept if row.by_place]
        if by_place and all(row.right > 0 for _, row in by_place):
            self.skipped["a place from 0 or from 1"] = [number for number, _ in by_place]
            self.kept = [(number, row) for number, row in self.kept if not row.by_place]

    @property
    def has_levels(self) -> bool:
        return bool(self.kept) and all(row.level is not None for _, row in self.kept)

    def divide(self) -> Mapping[int, Sequence[LettersRow]]:
        """The rows of each level: those that all of them name, or else bands by length."""
        if not self.has_levels:
            ordered = sorted((row for _, row in self.kept), key=lambda row: row.length)
            return dict(enumerate(cut_levels(ordered, len(LEVELS)), 1))
        found: dict[int, list[LettersRow]] = {}
        for _, row in self.kept:
            found.setdefault(row.level or 0, []).append(row)
        return found


def compute_odds(rows: Sequence[LettersRow], most: int) -> int:
    """A guess of all these rows is right once in so many; `most`, if it is once in more."""
    guesses = 1
    for row in rows:
        guesses *= len(row.choices)
        if guesses >= most:
            return most
    return guesses


def read_letters_row(line: bytes) -> LettersRow:
    """Read one line of JSON. Raises ValueError, with the fault, if it is damaged."""
    row = open_question(read_object(line, NAME))
    column = next((name for name in (*CHOICE_QUESTIONS, "input") if _has(row, name)), None)
    if column is None:
        raise name_formats(row, NAME)
    asked = read_problem_cell(row[column])
    question = require_text(row[column] if asked is None else asked, column, NAME)
    question = question.strip(BLANKS)
    require_question(question, column)
    try:
        passage = read_passage(row)
    except ValueError:
        return LettersRow(question, fault="with a passage of another shape")
    text = f"{passage}\n\n{question}" if passage else question
    if (fault := find_passage_fault(question, passage)) is not None:
        return LettersRow(question, fault=fault)
    is_listed = any(_has(row, name) for name in (*CHOICE_LISTS, CHOICE_RIGHT, CHOICE_LETTERS[0]))
    read = _read_listed(row, text) if is_listed else _read_implied(row, question, text)
    return replace(read, passage=passage)


def open_question(row: dict[str, Any]) -> dict[str, Any]:
    """A row with the stem and the choices of its question as columns, where the question is an
    object of these, as in ARC's own files."""
    asked = row.get("question")
    if isinstance(asked, dict) and "stem" in asked and "choices" in asked:
        return {**row, "question": asked["stem"], "choices": asked["choices"]}
    return row


def _read_implied(row: Mapping[str, Any], question: str, text: str) -> LettersRow:
    """A row without a list of choices, whose answers are the two that there are.

    Args:
        text: the question behind its passage.
    """
    said = read_yes_or_no(row, WORD_ANSWERS)
    pair: tuple[str, ...] = next((pair for pair in _PAIRS if said in pair), ())
    rights = {said} if pair else set(map(write_plainly, read_answers(row, WORD_ANSWERS)[0]))
    pair = pair or _find_named(row, question)
    places = [place for place, name in enumerate(pair) if write_plainly(name) in rights]
    if len(pair) != 2 or len(places) != 1:
        return LettersRow(text, fault=NO_CHOICES)
    return LettersRow(text, pair, places[0], level=read_named_level(row))


def _find_named(row: Mapping[str, Any], question: str) -> tuple[str, ...]:
    """The titles of a row's documents that its question names, each once."""
    asked = f" {write_plainly(question)} "
    titles = (join_line(title) for title, _ in list_documents({**row, "title": None}, PASSAGES))
    named = {plain: title for title in titles if (plain := write_plainly(title))}
    return tuple(title for plain, title in named.items() if f" {plain} " in asked)


def _read_listed(row: Mapping[str, Any], question: str) -> LettersRow:
    """A row with choices. Args: `question` stands behind its passage."""
    written, labels = _read_choices(row)
    given = _write_choices(written)
    for choice in given:
        require_text(choice, "choice", NAME)
    choices = _remove_labels(given)
    fault = _find_fault(question, choices)
    if fault is not None:
        return LettersRow(question, fault=fault)
    level = read_named_level(row)
    if row.get(CHOICE_RIGHT) is not None:  # the first, by construction
        if _name_others(choices):
            return LettersRow(question, fault="choices that name others")
        return LettersRow(question, choices, 0, level=level)
    last_stays = _ALL_OTHERS.fullmatch(choices[-1]) is not None
    if _name_others(choices[: len(choices) - last_stays]):
        return LettersRow(question, fault="choices that name others")
    held_rights = (row[name] for name in CHOICE_RIGHTS if _has(row, name))
    typed = any(type(choice) is int for choice in written)
    found = [_find_right(value, (given, choices), labels, typed) for value in held_rights]
    places = {place for named, _ in found for place in named}
    if len(places) != 1 or not all(named for named, _ in found):
        why = "no" if not found else "several" if len(places) > 1 else "unknown"
        return LettersRow(question, fault=f"{why} right choice{'s' * (why == 'several')}")
    (right,) = places
    by_place = all(is_number for _, is_number in found)
    return LettersRow(question, choices, right, last_stays, level, by_place)


def _name_others(choices: Sequence[str]) -> bool:
    """Whether one of some choices means others, which get other letters and places."""
    bare = [choice.translate(_QUOTES) for choice in choices]
    combined = [_combines(choice, len(choices)) for choice in bare]
    return (
        any(map(_PLACED.search, bare))
        or any(
            _SEVERAL_OTHERS.fullmatch(choice) and not _COUNT.fullmatch(choice) for choice in bare
        )
        or (any(combined) and not all(combined))
    )


def _combines(choice: str, count: int) -> bool:
    """Whether a choice is letters of so many choices in their order, `AB` or `A to C`. Where all
    choices are, they mean something in the question."""
    span = _RANGE.fullmatch(choice)
    if span is None and not _LETTERS_ALONE.fullmatch(choice):
        return False
    letters = choice if span is None else span[1] + span[2]
    named = [letter for letter in letters.upper() if letter in LETTERS]
    return named == sorted(set(named)) and named[-1] in LETTERS[:count]


def _has(row: Mapping[str, Any], name: str) -> bool:
    return row.get(name) not in (None, "")


def _read_choices(row: Mapping[str, Any]) -> tuple[Sequence[Any], tuple[str, ...]]:
    """The choices of a row as it writes them, and the label of each."""
    if row.get(CHOICE_RIGHT) is not None:
        given = [row[CHOICE_RIGHT], *(row[name] for name in CHOICE_WRONG if _has(row, name))]
        return given, ()
    value = next((row[name] for name in CHOICE_LISTS if _has(row, name)), None)
    if value is None:
        value = {letter: row[letter] for letter in CHOICE_LETTERS if _has(row, letter)}
    with suppress(EncodingError):
        value = parse_cell(value)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = {name: [one.get(name) for one in value] for name in ("text", "label")}
    if isinstance(value, dict):
        texts, labels = value.get("text"), value.get("label")
        if not isinstance(texts, list) or not isinstance(labels, list):
            texts, labels = list(value.values()), list(value)
        if len(texts) == len(labels) == len(set(map(str, labels))):
            return texts, tuple(map(str, labels))
        value = None
    return (value if isinstance(value, list) else []), tuple(LETTERS)


def _write_choices(given: Sequence[Any]) -> tuple[str, ...]:
    """Choices as text; numbers are written as Python writes whole ones."""
    texts = (str(one) if type(one) is int else one for one in given)
    return tuple(one.strip(BLANKS) if isinstance(one, str) else "" for one in texts)


def _remove_labels(choices: tuple[str, ...]) -> tuple[str, ...]:
    """Choices without the letters that a file wrote before them, if all have them in order."""
    found = [_LABEL.match(choice) for choice in choices]
    marks = [one[1] or one[2] or one[3] for one in found if one is not None]
    if len(marks) < len(choices) or "".join(marks).upper() != LETTERS[: len(choices)]:
        return choices
    ends = [one.end() for one in found if one is not None]
    return tuple(choice[end:].strip(BLANKS) for choice, end in zip(choices, ends, strict=True))


def _find_fault(question: str, choices: Sequence[str]) -> str | None:
    if not CHOICES_MIN <= len(choices) <= CHOICES_MAX:
        return f"not {CHOICES_MIN} to {CHOICES_MAX} choices"
    if "" in choices:
        return "choices that are no text"
    if len(set(map(_write_bare, choices))) < len(choices):
        return "choices that are alike"
    values = [value for choice in choices if (value := _read_value(choice)) is not None]
    if len(set(values)) < len(values):
        return "choices of one value"
    if _count_shown(question, choices) > 1:
        return "choices that the question lists"
    if any(_MARKED.search(choice) for choice in choices):
        return "choices that hold several"
    if all(_LABEL.match(choice) for choice in choices):
        return "choices with letters in another order"
    return None


def _write_bare(choice: str) -> str:
    """A choice without case, blanks, and what stands around it."""
    return "".join(split_pieces(fold(unwrap(choice))))


def _read_value(choice: str) -> Hashable:
    """The value of a choice as a mathematical answer. None: it is none."""
    if len(choice) > _DRESSED_MAX or not _NUMERIC.search(choice) or _WORD.search(choice):
        return None
    read = read_math(choice)
    return None if read is None else (read.value, read.unit, read.variable)


def _count_shown(question: str, choices: Sequence[str]) -> int:
    """How many choices a question has behind their letters."""
    shown = set()
    for mark in _SHOWN.finditer(question):
        choice = choices[LETTERS.index(mark[1])] if mark[1] in LETTERS[: len(choices)] else None
        if choice is not None and question.startswith(choice, mark.end()):
            shown.add(mark[1])
    return len(shown)


def _find_right(
    value: Any, spellings: Sequence[Sequence[str]], labels: Sequence[str], typed: bool
) -> tuple[set[int], bool]:
    """The indices of the choices that a value may name, and whether a bare number alone names one.

    A number may be a place or, as in a file that was CSV, the text of another choice.

    Args:
        spellings: the choices as the row has them, and as they are asked.
        typed: whether choices are numbers in the row, so that a number may be one of them.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if type(value) is not int and not isinstance(value, str):
        return set(), False
    text = str(value).strip(BLANKS)
    count = len(spellings[0])
    letter = _LETTER.fullmatch(text)
    named = text if letter is None or text in labels else letter[1]
    found = {labels.index(named)} if named in labels[:count] else set[int]()
    is_label = bool(found)
    if typed or not isinstance(value, int):
        found |= {choices.index(text) for choices in spellings if text in choices}
    is_place = not is_label and _DIGITS.fullmatch(text) is not None
    is_number = is_place and not found
    if is_place and int(text) < count:
        found.add(int(text))
    return found, is_number


def _is_told(rows: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> bool:
    """Whether yes or no answers most of the first rows, or their questions have choices."""
    del lines
    return 2 * sum(map(_is_choice, rows)) > len(rows)


def _is_choice(row: dict[str, Any]) -> bool:
    asks = any(isinstance(row.get(name), str) for name in CHOICE_QUESTIONS)
    is_answered = asks and read_yes_or_no(row, WORD_ANSWERS) is not None
    return is_answered or open_question(row) is not row


_FILE = FromFile(LettersFile, PARAMS, LEVELS, FORMATS[NAME], _is_told)
KIND = Kind(NAME, VERSION, FORM, file=_FILE)
