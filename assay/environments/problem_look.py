"""How a file of problems is read, for its owner: the columns, the levels, which rows are asked and
why each other is not. The environment of the file reads it by the same code."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from assay.environments import gsm, letters_file, math_file
from assay.environments.instructions import instruction_file
from assay.environments.instructions.instruction_file import EMPTY_REPLIES, InstructionRows
from assay.environments.letters_file import LettersRow, LettersRows
from assay.environments.math_file import LEVELS, MathRow, MathRows
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    ROW_MAX,
    ContradictionError,
    OtherFormatError,
    ProblemFileError,
    cut_levels,
    read_object,
    read_objects,
    read_problem_file,
    read_row,
    read_shaped,
    read_table,
)
from assay.environments.problem_overlap import read_asked
from assay.environments.problem_table import (
    CHOICE_LETTERS,
    CHOICE_LISTS,
    CHOICE_QUESTIONS,
    CHOICE_RIGHT,
    CHOICE_RIGHTS,
    LOOKED_AT,
    TableError,
    find_shape,
    get_cell,
)
from assay.environments.programs import code_file
from assay.environments.programs.case_runs import require_sandbox
from assay.environments.programs.code_file import DIFFICULTIES, CodeRow, CodeRows, find_own_fault
from assay.environments.programs.shapes import ShapeError, convert_row
from assay.sandbox import count_cores

#: Rows that are shown; rows whose form is looked at; rows of a finding that are named.
SAMPLES, FORMS, NAMED = 3, 5_000, 20
#: Seconds between lines about what takes long.
_TOLD_S = 2.0


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
        empty: rows that a reply without content, or a copy of the prompt, would meet.
        odds: a guess of a row's answer is right once in so many, in the mean. 0: it is no choice.
        odds_max: the largest `odds` for which each level has rows enough. 0: it is no choice.
        suites: suite → rows whose problem it has.
        uncompared: suite → why it may have further ones.
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
    empty: list[int] = field(default_factory=list)
    odds: float = 0.0
    odds_max: int = 0
    suites: dict[str, list[int]] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)
    samples: list[SampleRow] = field(default_factory=list)
    is_renamed: bool = False
    is_joined: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the environment reads the file as it is."""
        as_it_is = not self.damaged and not self.is_renamed and not self.is_joined
        return bool(self.asked) and as_it_is


@dataclass(frozen=True, slots=True)
class _Read:
    """A usable row: its number, problem, answer as text, length and level, if it has one; what its
    environment's reader made of it, or its line; and the code that it gives."""

    number: int
    problem: str
    answer: str
    length: int
    level: int | None
    source: Any
    starter: str = ""

    def make_sample(self, level: int) -> SampleRow:
        problem = f"{self.problem}\n{self.starter}" if self.starter else self.problem
        return SampleRow(self.number, level, problem, self.answer)


def look_at_file(
    file: Path,
    chosen: Mapping[str, str] | None = None,
    suites: Sequence[Path] = (),
    joined: bytes | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[Look, Iterator[bytes]]:
    """Look at a file. Beside what it found: the rows that are asked, as lines that their
    environment reads without any columns being named.

    Args:
        chosen: part of a row → its column, where the names of columns do not show it.
        suites: files whose problems should not be trained on.
        joined: the rows of several files, which are looked at in the place of one.
        report: called with lines about what takes long: then programs of authors are run, and rows
            are left out whose own program fails.

    Raises:
        ProblemFileError: a file cannot be read at all, or has another shape. The message says what
            to do.
    """
    data = read_problem_file(file) if joined is None else joined
    name, lines = read_table(data, file)
    first = read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX)
    if not first:
        raise ProblemFileError(f"{file}, row 1: {_find_fault(lines[0])}")
    family = math_file.NAME if chosen else _find_family(lines[0], first)
    digest = sha256(data).hexdigest()
    look = Look(str(file), name, f"{family}:{digest}", rows=len(lines), is_renamed=bool(chosen))
    look.is_joined = joined is not None
    if family == math_file.NAME:
        rows = _read_math(lines, file, chosen, look)
    elif family == code_file.NAME:
        rows = _read_code(lines, look, report)
    else:
        rows = _READERS[family](lines, look)
    look.asked = len(rows)
    levels = _divide(rows, look)
    for row in rows[:SAMPLES]:
        look.samples.append(row.make_sample(levels[row.number]))
    if family == math_file.NAME:
        look.shown = [row.number for row in rows[:FORMS] if row.source.make_task().form is not None]
    for suite in suites:
        asked = read_asked(suite, (chosen or {}).get("problem"))
        look.suites[str(suite)] = [row.number for row in rows if asked.holds(row.problem)]
        if asked.gap is not None:
            look.uncompared[str(suite)] = asked.gap
    return look, (_write(row, levels[row.number]) for row in rows)


def guess_family(file: Path) -> str:
    """The family of the environment that a look at a file names. Raises ProblemFileError: the file
    cannot be read at all."""
    _, lines = read_table(read_problem_file(file), file)
    return _find_family(lines[0], read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX))


def _find_fault(line: bytes) -> str:
    """Why a row is no object of JSON."""
    try:
        read_object(line, math_file.NAME, LONG_ROW_MAX)
    except ValueError as error:
        return str(error)
    return "it is an object"


def _find_family(line: bytes, rows: Sequence[dict[str, Any]]) -> str:
    """The family of the environment that reads rows of this shape.

    Args:
        line, rows: the file's first row, and its first objects.
    """
    shape = find_shape(name for row in rows for name in row)
    if shape is not None:
        return shape.family
    if _is_gsm(line):
        return gsm.NAME
    return code_file.NAME if any(map(_has_cases, rows)) else math_file.NAME


def _has_cases(row: dict[str, Any]) -> bool:
    """Whether a row of verl or prime-rl has test cases where others have an answer."""
    truth = get_cell(row, "reward_model.ground_truth.inputs")
    return truth is not None or get_cell(row, "verification_info.test_cases") is not None


def _is_gsm(line: bytes) -> bool:
    try:
        read_row(line, is_first=True)
    except OtherFormatError:
        return False
    except ValueError as error:
        return "####" in str(error)
    return True


def _read_gsm(lines: Sequence[bytes], look: Look) -> list[_Read]:
    look.columns = {"problem": "question", "answer": "answer", "solution": "answer"}
    look.levels = f"{gsm.FILE_LEVELS} by the number of lines of the answer"
    reader, rows, contested = gsm.RowReader(), list[_Read](), dict[int, None]()
    for number, line in enumerate(lines, 1):
        try:
            row = read_shaped(reader, line)
        except ValueError as error:
            look.damaged.setdefault(str(error), []).append(number)
            if isinstance(error, ContradictionError):
                contested[error.first] = None
            continue
        length = row.solution.count("\n")
        rows.append(_Read(number, row.question, str(row.value), length, None, line))
    asked = {row.problem for row in rows if row.number in contested}
    both = [row.number for row in rows if row.problem in asked]
    if both:
        look.damaged[ContradictionError.ABOUT_FIRST] = both
    return [row for row in rows if row.problem not in asked]


def _read_letters(lines: Sequence[bytes], look: Look) -> list[_Read]:
    held = {name for row in read_objects(lines[:LOOKED_AT], letters_file.NAME) for name in row}
    parts = (
        ("problem", CHOICE_QUESTIONS),
        ("choices", (CHOICE_RIGHT, *CHOICE_LISTS, *CHOICE_LETTERS)),
    )
    found = ((part, next((n for n in names if n in held), None)) for part, names in parts)
    rights = [name for name in (CHOICE_RIGHT, *CHOICE_RIGHTS) if name in held]
    look.columns = {part: name for part, name in (*found, ("answer", ", ".join(rights))) if name}
    rows = LettersRows()
    look.damaged, look.left_out = rows.add_all(lines), rows.skipped
    has_levels = rows.has_levels
    look.levels = "the column level" if has_levels else f"{len(LEVELS)} by length"
    bands = rows.divide().values()
    if bands:
        look.odds = len(rows.kept) / sum(1 / len(row.choices) for _, row in rows.kept)
        most = letters_file.PARAMS["odds"].high
        look.odds_max = min(letters_file.compute_odds(band, most) for band in bands)
    return [
        _Read(number, row.question, row.choices[row.right], row.length, level, row)
        for number, row in rows.kept
        for level in [row.level if has_levels else None]
    ]


def _read_instructions(lines: Sequence[bytes], look: Look) -> list[_Read]:
    rows = InstructionRows()
    look.damaged, look.left_out = rows.add_all(lines), rows.skipped
    look.columns = {"problem": "prompt", "answer": "instruction_id_list, kwargs"}
    look.levels = "the number of instructions"
    read = []
    for number, row in rows.kept:
        names = ", ".join(instruction.name for instruction in row.instructions)
        replies = (*EMPTY_REPLIES, row.prompt)
        if any(row.count_met(reply) == len(row.instructions) for reply in replies):
            look.empty.append(number)
        line = lines[number - 1]
        read.append(_Read(number, row.prompt, names, len(row.prompt), row.level, line))
    return read


def _read_code(
    lines: Sequence[bytes], look: Look, report: Callable[[str], None] | None
) -> list[_Read]:
    rows, left_out, written = CodeRows(), dict[str, list[int]](), dict[int, bytes]()
    for number, line in enumerate(lines, 1):
        rows.number = number - 1
        try:
            written[number] = read_shaped(convert_program, line)
            look.is_renamed |= written[number] is not line
            read_shaped(rows.add, written[number])
        except ShapeError as error:
            left_out.setdefault(str(error), []).append(number)
        except ValueError as error:
            look.damaged.setdefault(str(error), []).append(number)
    if report is not None and look.is_renamed:
        _try_solutions(rows, report)
    rows.finish()
    look.left_out = {**left_out, **rows.skipped}
    bands = len(rows.divide())
    look.levels = "the column difficulty" if rows.has_levels else f"{bands} by length"
    return [_make_program(number, row, written[number]) for number, row in rows.kept]


def _try_solutions(rows: CodeRows, report: Callable[[str], None]) -> None:
    """Leave out the rows whose author's program fails."""
    tried = [(number, row) for number, row in rows.kept if row.solution]
    if not tried:
        return
    try:
        require_sandbox()
    except ProblemFileError as error:
        return report(f"the authors' programs are not tried: {error}")
    faults: dict[int, str] = {}
    began = told = monotonic()
    with ThreadPoolExecutor(count_cores()) as executor:
        found = executor.map(find_own_fault, [row for _, row in tried])
        for done, ((number, _), fault) in enumerate(zip(tried, found, strict=True), 1):
            if fault is not None:
                faults[number] = fault
                rows.skipped.setdefault(fault, []).append(number)
            if (now := monotonic()) - told >= _TOLD_S:
                told = now
                left = (now - began) / done * (len(tried) - done)
                report(f"ran {done:,} of {len(tried):,} authors' programs, {left:.0f} s left")
    rows.kept = [(number, row) for number, row in rows.kept if number not in faults]


def _make_program(number: int, row: CodeRow, line: bytes) -> _Read:
    what = "of a program" if row.function is None else f"of the function {row.function}"
    answer = f"{len(row.cases)} test cases {what}"
    return _Read(number, row.question, answer, len(row.text), row.level, line, row.starter)


def convert_program(line: bytes) -> bytes:
    """The line itself if `code:SHA256` reads it, or the row in its form."""
    row = read_object(line, code_file.NAME, LONG_ROW_MAX)
    is_short = len(line) <= ROW_MAX
    if is_short and all(isinstance(row.get(name), str) for name in ("question", "input_output")):
        return line
    difficulty = str(row.get("difficulty") or row.get("gpt_difficulty"))
    return convert_row(row, difficulty if difficulty in DIFFICULTIES else None)


_READERS: Mapping[str, Callable[[Sequence[bytes], Look], list[_Read]]] = {
    gsm.NAME: _read_gsm,
    instruction_file.NAME: _read_instructions,
    letters_file.NAME: _read_letters,
}


def _read_math(
    lines: Sequence[bytes], file: Path, chosen: Mapping[str, str] | None, look: Look
) -> list[_Read]:
    reader = MathRows(chosen)
    try:
        look.damaged = reader.add_all(lines)
        if reader.fault is not None:
            raise reader.fault
    except TableError as error:
        raise ProblemFileError(f"{file}: {error}") from None
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
    return [
        _Read(number, row.problem, row.text or "", row.length, level, row)
        for number, row in reader.kept
        for level in [row.level if reader.has_levels else None]
    ]


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


def _write(row: _Read, level: int) -> bytes:
    """A row as its environment reads it without any columns being named."""
    source, fields = row.source, dict[str, Any]()
    if isinstance(source, MathRow):
        said = (*source.context, ("user", row.problem))
        chat = [{"role": role, "content": text} for role, text in said]
        fields = {"problem": chat if source.context else row.problem, "solution": ""}
        fields |= {"answer": row.answer, "level": level}
    elif isinstance(source, LettersRow):
        letter = letters_file.LETTERS[source.right]
        fields = {"question": row.problem, "options": source.choices, "level": level}
        fields |= {"answer": letter}
    else:
        return bytes(source.rstrip()) + b"\n"
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
