"""How a file of problems is read, for its owner: the columns, the levels, which rows are asked and
why each other is not. The environments `math:SHA256` and `gsm:SHA256` read it by the same code."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from assay.environments import gsm, math_file
from assay.environments.base import BLANKS
from assay.environments.math_file import LEVELS, MathRow, MathRows
from assay.environments.problem_file import (
    OtherFormatError,
    ProblemFileError,
    cut_levels,
    read_problem_file,
    read_row,
    read_table,
)
from assay.environments.problem_table import TableError

#: Rows that are shown; rows whose form is looked at; rows of a finding that are named.
SAMPLES, FORMS, NAMED = 3, 20_000, 20


@dataclass(frozen=True, slots=True)
class SampleRow:
    """A row as it is asked: its number, level, problem and right answer."""

    row: int
    level: int
    problem: str
    answer: str


@dataclass(slots=True)
class Look:
    """What a look at a file found. Rows are numbered from 1, without the names of columns.

    Attributes:
        environment: the name of the environment that reads the file.
        columns: part of a row → its column.
        levels: how levels are made, and the number of rows of each.
        asked: number of rows that are asked.
        left_out: reason → rows that are not asked for it.
        damaged: fault → rows for which the file is refused.
        shown: rows whose problem shows another spelling of its answer: they need its form.
        suites: suite → rows whose problem it has.
    """

    file: str
    format: str
    environment: str
    columns: dict[str, str] = field(default_factory=dict)
    levels: str = ""
    per_level: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    asked: int = 0
    left_out: dict[str, list[int]] = field(default_factory=dict)
    damaged: dict[str, list[int]] = field(default_factory=dict)
    shown: list[int] = field(default_factory=list)
    suites: dict[str, list[int]] = field(default_factory=dict)
    samples: list[SampleRow] = field(default_factory=list)
    is_renamed: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the environment reads the file as it is."""
        return bool(self.asked) and not self.damaged and not self.is_renamed


@dataclass(frozen=True, slots=True)
class _Read:
    """A usable row: its number, problem, answer as text, length and level, if it has one."""

    number: int
    problem: str
    answer: str
    length: int
    level: int | None
    shows: Callable[[], bool]


def look_at_file(
    file: Path, chosen: Mapping[str, str] | None = None, suites: Sequence[Path] = ()
) -> tuple[Look, Iterator[bytes]]:
    """Look at a file. Beside what it found: the rows that are asked, as lines that `math:SHA256`
    reads without any columns being named.

    Args:
        chosen: part of a row → its column, where the names of columns do not show it.
        suites: files whose problems should not be trained on.

    Raises:
        ProblemFileError: a file cannot be read at all, or has another shape. The message says what
            to do.
    """
    data = read_problem_file(file)
    name, lines = read_table(data, file)
    look = Look(str(file), name, "", rows=len(lines), is_renamed=bool(chosen))
    digest = sha256(data).hexdigest()
    if not chosen and _is_gsm(lines[0]):
        look.environment = f"{gsm.NAME}:{digest}"
        look.columns = {"problem": "question", "answer": "answer", "solution": "answer"}
        rows = _read_gsm(lines, look)
    else:
        look.environment = f"{math_file.NAME}:{digest}"
        rows = _read_math(lines, file, chosen, look)
    look.asked = len(rows)
    levels = _divide(rows, look)
    for row in rows[:SAMPLES]:
        look.samples.append(SampleRow(row.number, levels[row.number], row.problem, row.answer))
    look.shown = [row.number for row in rows[:FORMS] if row.shows()]
    for suite in suites:
        held = {_normalize(problem) for problem in _read_problems(suite)}
        look.suites[str(suite)] = [r.number for r in rows if _normalize(r.problem) in held]
    return look, (_write_row(row, levels[row.number]) for row in rows)


def _is_gsm(line: bytes) -> bool:
    try:
        read_row(line, is_first=True)
    except OtherFormatError:
        return False
    except ValueError as error:
        return "####" in str(error)
    return True


def _read_gsm(lines: Sequence[bytes], look: Look) -> list[_Read]:
    reader, rows = gsm.RowReader(), []
    for number, line in enumerate(lines, 1):
        try:
            row = reader(line)
        except ValueError as error:
            look.damaged.setdefault(str(error), []).append(number)
            continue
        length = row.solution.count("\n")
        rows.append(_Read(number, row.question, str(row.value), length, None, lambda: False))
    look.levels = f"{gsm.FILE_LEVELS} by the number of lines of the answer"
    return rows


def _read_math(
    lines: Sequence[bytes], file: Path, chosen: Mapping[str, str] | None, look: Look
) -> list[_Read]:
    try:
        reader = MathRows(lines, chosen)
        if reader.fault is not None:
            raise reader.fault
    except TableError as error:
        raise ProblemFileError(f"{file}: {error}") from None
    for line in lines:
        try:
            reader.add(line)
        except ValueError as error:
            look.damaged.setdefault(str(error), []).append(reader.number)
    columns = reader.columns
    parts = ("problem", "answer", "solution", "level")
    look.columns = {part: name for part in parts if (name := getattr(columns, part)) is not None}
    if not reader.has_levels:
        look.columns.pop("level", None)
    by = "the solution" if columns.solution else "the problem"
    look.levels = (
        f"the column {columns.level}"
        if reader.has_levels
        else f"{len(LEVELS)} by the length of {by}"
    )
    look.left_out = reader.skipped
    return [_make_read(number, row, reader.has_levels) for number, row in reader.kept]


def _make_read(number: int, row: MathRow, has_levels: bool) -> _Read:
    level = row.level if has_levels else None
    shows = lambda: row.make_task().form is not None  # noqa: E731
    return _Read(number, row.problem, row.text or "", row.length, level, shows)


def _divide(rows: Sequence[_Read], look: Look) -> dict[int, int]:
    """The level of each row, by its number."""
    if rows and rows[0].level is not None:
        found = {row.number: row.level or 0 for row in rows}
    else:
        most = gsm.FILE_LEVELS if look.environment.startswith(gsm.NAME) else len(LEVELS)
        bands = cut_levels(sorted(rows, key=lambda row: row.length), most)
        found = {row.number: level for level, band in enumerate(bands, 1) for row in band}
    for level in found.values():
        look.per_level[level] = look.per_level.get(level, 0) + 1
    return found


def _read_problems(suite: Path) -> list[str]:
    """The problems of a suite, whatever its answers are."""
    _, lines = read_table(read_problem_file(suite), suite)
    try:
        return MathRows(lines).list_problems(lines)
    except TableError as error:
        raise ProblemFileError(f"{suite}: {error}") from None


def _normalize(problem: str) -> str:
    """A problem without blanks and without the case of its letters."""
    return "".join(problem.translate(dict.fromkeys(map(ord, BLANKS))).lower())


def _write_row(row: _Read, level: int) -> bytes:
    fields = {"problem": row.problem, "solution": "", "answer": row.answer, "level": level}
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
