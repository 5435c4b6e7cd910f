"""Word problems in GSM8K's format: a question, and an answer whose last line is `#### N`.

`gsm` makes them from templates. `gsm:SHA256` asks the problems of a file (Cobbe et al., "Training
verifiers to solve math word problems", 2021). Its digest names the file, so everybody asks the same
problems. In both, only the number on the last line counts, as digits or, like the data set writes
it, with commas between thousands. Nothing else earns anything: the steps before it are prose, and
any rule that rates prose would pay for padding.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from assay.environments.answer_form import AnswerForm, FormedEnvironment
from assay.environments.base import (
    BLANKS,
    INTEGER,
    UNREAD,
    Answer,
    Param,
    Problem,
    RewardParts,
    rate_answer,
)
from assay.environments.kind import Drawn, FromFile, Kind
from assay.environments.problem_file import KeptRows, OtherFormatError, Row, cut_levels, read_row
from assay.environments.problem_formats import FORMATS
from assay.protocol.prf import Stream

NAME = "gsm"
#: Increases whenever any problem or score would change.
VERSION = 3

PARAMS: Mapping[str, Param] = MappingProxyType(
    {"largest": Param(20, 5, 1_000, "largest number that a question adds or takes away")}
)

#: Level n takes n steps of arithmetic.
LEVELS = range(1, 9)
#: A file's rows are divided into at most this many levels.
FILE_LEVELS = 8
#: Largest total.
_TOTAL_MAX = 100_000
#: The data set's own form of answers, and what they are.
FORM, _ANSWER = AnswerForm.HASH, "the answer as a whole number"

_NAMES = "Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana"
#: Per theme: the things that are counted, then the sentences: the start, +n, −n, ×n, ÷n, +m×n, the
#: question. {a} and {b} are two names, {t} the things.
THEMES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("marbles", "stamps", "shells", "cards"),
        (
            "{a} has {n} {t}.",
            "{b} gives {a} {n} more.",
            "Then {a} loses {n} of them.",
            "{a} goes on until there are {n} times as many.",
            "{a} divides them into {n} equal heaps and keeps one heap.",
            "{a} buys {m} packs of {n} {t} each.",
            "How many {t} does {a} have now?",
        ),
    ),
    (
        ("rolls", "pies", "cakes", "loaves"),
        (
            "A bakery has {n} {t} in its window.",
            "{a} bakes {n} more.",
            "{b} buys {n} of them.",
            "For a feast {a} bakes until there are {n} times as many.",
            "They go to {n} shops in equal shares, and the bakery is one of the shops.",
            "{a} fetches {m} trays with {n} {t} on each.",
            "How many {t} has the bakery at last?",
        ),
    ),
    (
        ("dollars", "euros", "crowns", "pesos"),
        (
            "{a} begins the week with {n} {t}.",
            "{b} pays back {n} {t}.",
            "A ticket costs {a} {n} {t}.",
            "A prize makes what {a} has {n} times as much.",
            "{a} shares all of it among {n} people, {a} being one of them.",
            "{a} works for {m} hours at {n} {t} an hour.",
            "How many {t} does {a} have at the end?",
        ),
    ),
    (
        ("apples", "pears", "plums", "lemons"),
        (
            "There are {n} {t} in a basket.",
            "{a} picks {n} more and puts them in.",
            "{b} takes {n} of them out.",
            "By evening the basket holds {n} times as many.",
            "{a} spreads them over {n} bowls evenly and leaves only one bowl on the table.",
            "{a} empties {m} bags with {n} {t} each into it.",
            "How many {t} are left?",
        ),
    ),
)
#: A whole number, also with commas between thousands.
_NUMBER = re.compile(rf"(?:{INTEGER.pattern})|-?[1-9][0-9]{{0,2}}(?:,[0-9]{{3}}){{1,5}}")
#: What the data set writes around each sum, for a calculator.
_CALCULATED = re.compile(r"<<[^<>\n]*>>")
_START, _ADD, _TAKE, _TIMES, _SHARE, _PACKS, _QUESTION = range(7)


@dataclass(frozen=True, slots=True)
class Task(Answer):
    """The row that the problem comes from."""

    row: Row


class _WordProblems(FormedEnvironment):
    def make_row_problem(self, row: Row, level: int) -> Problem:
        return Problem(row.question, level, Task(row), self.write_request(_ANSWER))

    def solve(self, problem: Problem) -> Sequence[str]:
        """The row's own lines, without the marks of a calculator that it may have."""
        row = _get_row(problem)
        steps = _CALCULATED.sub("", row.solution).rpartition("#### ")[0]
        return [steps + self.write_answer(str(row.value))]

    def score(self, problem: Problem, completion: str) -> RewardParts:
        """Correctness: the answer is the number, exact, and blanks."""
        right = _get_row(problem).value
        answer = self.read_answer(completion)
        number = None if answer is None else answer.rstrip(BLANKS)
        if number is None or not _NUMBER.fullmatch(number):
            return UNREAD
        return rate_answer(number in (str(right), f"{right:,}"))


def _get_row(problem: Problem) -> Row:
    if not isinstance(problem.answer, Task):
        raise TypeError(f"not a word problem: {type(problem.answer).__name__}")
    return problem.answer.row


class Gsm(_WordProblems):
    levels = LEVELS

    def __init__(self, params: Mapping[str, int]) -> None:
        super().__init__(NAME, VERSION, PARAMS, params, FORM)

    def _draw(self, stream: Stream, level: int) -> Problem:
        return self.make_row_problem(_tell(stream, level, self.params["largest"]), level)


class GsmFile(_WordProblems):
    """Word problems from a file, sorted by the length of their solutions.

    Level l of k = min(8, rows) has the rows ⌊(l−1)·rows/k⌋ to ⌊l·rows/k⌋ − 1, after sorting by the
    number of lines of the solution and then by the place in the file.

    Attributes:
        skipped: reason → numbers of the rows skipped for it.
    """

    def __init__(self, digest: str, params: Mapping[str, int]) -> None:
        """Open the file whose SHA-256 is `digest`, 64 lower-case hex digits.

        Raises:
            ValueError: `digest` is no digest, this machine has no such file, a row cannot be asked,
                two rows ask the same and have different answers, or a setting is unknown
                or out of range.
        """
        super().__init__(f"{NAME}:{digest}", VERSION, {}, params, FORM)
        rows = GsmRows()
        self._by_level = rows.find_levels(digest, NAME)
        self.skipped = rows.skipped
        self.levels = list(self._by_level)

    def _draw(self, stream: Stream, level: int) -> Problem:
        """Draw one of the level's rows, each equally likely."""
        return self.make_row_problem(stream.choose(self._by_level[level]), level)


class GsmRows(KeptRows[Row, Row]):
    """A file's rows."""

    are_plain = True

    def _read(self, line: bytes) -> tuple[Row, str | None]:
        return read_row(line, self.number == 1), None

    def _pack(self, row: Row) -> tuple[object, ...]:
        return row.question, row.solution, row.value

    def _unpack(self, packed: tuple[Any, ...]) -> Row:
        return Row(*packed)

    def _identify(self, row: Row) -> Hashable:
        return row.question

    def _get_right(self, row: Row) -> object:
        return row.value

    def divide(self) -> Mapping[int, Sequence[Row]]:
        ordered = sorted((row for _, row in self.kept), key=lambda row: row.steps)
        return dict(enumerate(cut_levels(ordered, FILE_LEVELS), 1))


def _tell(stream: Stream, steps: int, largest: int) -> Row:
    """A story of `steps` steps, its solution written as GSM8K writes them."""
    things, sentences = stream.choose(THEMES)
    thing = stream.choose(things)
    a, b = (_NAMES[i] for i in stream.sample(len(_NAMES), 2))

    def say(kind: int, n: int = 0, m: int = 0) -> str:
        return sentences[kind].format(a=a, b=b, t=thing, n=n, m=m)

    total = stream.draw_between(2, largest)
    story, worked = [say(_START, total)], []
    left = steps
    while left:
        kind, n, m = _draw_step(stream, total, largest, left)
        story.append(say(kind, n, m))
        if kind == _PACKS:
            worked.append(_work(m, "*", n, m * n))
            n, left = m * n, left - 1
        sign, result = {
            _ADD: ("+", total + n),
            _PACKS: ("+", total + n),
            _TAKE: ("-", total - n),
            _TIMES: ("*", total * n),
            _SHARE: ("/", total // n),
        }[kind]
        worked.append(_work(total, sign, n, result))
        total, left = result, left - 1
    question = " ".join([*story, say(_QUESTION)])
    return Row(question, "\n".join([*worked, f"#### {total}"]), total)


def _draw_step(stream: Stream, total: int, largest: int, left: int) -> tuple[int, int, int]:
    """Draw a sentence and its numbers. If the total does not allow the sentence, it becomes +n."""
    kind = stream.draw_between(_ADD, _PACKS)
    if kind == _TAKE and total > 1:
        return _TAKE, stream.draw_between(1, min(total - 1, largest)), 0
    if kind == _TIMES and 5 * total <= _TOTAL_MAX:
        return _TIMES, stream.draw_between(2, 5), 0
    divisors = [d for d in range(2, 10) if total % d == 0]
    if kind == _SHARE and divisors:
        return _SHARE, stream.choose(divisors), 0
    if kind == _PACKS and left > 1:
        return _PACKS, stream.draw_between(2, 12), stream.draw_between(2, 9)
    return _ADD, stream.draw_between(1, largest), 0


def _work(left: int, sign: str, right: int, result: int) -> str:
    return f"{left}{sign}{right}=<<{left}{sign}{right}={result}>>{result}"


def _is_told(rows: Sequence[dict[str, Any]], lines: Sequence[bytes]) -> bool:
    """Whether a file's first row is in GSM8K's format, or seems to be."""
    del rows
    try:
        read_row(lines[0], is_first=True)
    except OtherFormatError:
        return False
    except ValueError as error:
        return "####" in str(error)
    return True


KIND = Kind(
    NAME,
    VERSION,
    FORM,
    drawn=Drawn(Gsm, "word problems from templates, in GSM8K's format", PARAMS),
    file=FromFile(GsmFile, levels=range(1, FILE_LEVELS + 1), rows=FORMATS[NAME], tells=_is_told),
)
