"""How a file of problems is read, for its owner: the columns, the levels, which rows are asked and
why each other is not. The environment of the file reads it by the same code."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from assay.environments import gsm, letters_file, math_file
from assay.environments.gsm import GsmRows
from assay.environments.instructions import instruction_file
from assay.environments.instructions.instruction_file import (
    EMPTY_REPLIES,
    InstructionRow,
    InstructionRows,
)
from assay.environments.letters_file import LettersRow, LettersRows
from assay.environments.math_file import LEVELS, MathRow, MathRows
from assay.environments.problem_family import find_family, read_rows
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    ROW_MAX,
    ProblemFileError,
    Row,
    cut_levels,
    find_object_fault,
    read_object,
    read_objects,
    read_problem_file,
)
from assay.environments.problem_overlap import read_asked
from assay.environments.problem_shards import JoinedFiles
from assay.environments.problem_table import (
    CHOICE_LETTERS,
    CHOICE_LISTS,
    CHOICE_QUESTIONS,
    CHOICE_RIGHT,
    CHOICE_RIGHTS,
    DOCUMENT_ANSWERS,
    DOCUMENT_LISTS,
    DOCUMENT_TEXTS,
    LOOKED_AT,
    TableError,
)
from assay.environments.programs import code_file
from assay.environments.programs.case_runs import require_sandbox
from assay.environments.programs.code_file import (
    CONSTANT,
    DIFFICULTIES,
    CodeRow,
    CodeRows,
    find_own_fault,
    has_constant,
)
from assay.environments.programs.shapes import ShapeError, convert_row, name_columns
from assay.environments.search import search_rows
from assay.environments.search.search_rows import SearchRow, SearchRows
from assay.sandbox import count_cores

#: Rows that are shown; rows whose form is looked at; rows of a finding that are named.
SAMPLES, FORMS, NAMED = 3, 5_000, 20
#: Most rows whose author's program is run, in the file's order: some minutes of two cores.
TRIED_MAX = 10_000
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
        documents: that are searched; `corpus`: the rows that are not asked and may have some.
        suites: suite → rows whose problem it has.
        uncompared: suite → why it may have further ones.
        is_renamed: the environment reads no such columns. is_joined: the file is several.
        is_thinned: a row is left out that the environment would ask.
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
    documents: int = 0
    corpus: list[bytes] = field(default_factory=list)
    suites: dict[str, list[int]] = field(default_factory=dict)
    uncompared: dict[str, str] = field(default_factory=dict)
    samples: list[SampleRow] = field(default_factory=list)
    is_renamed: bool = False
    is_joined: bool = False
    is_thinned: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether the environment reads the file as it is."""
        is_other = self.is_renamed or self.is_joined or self.is_thinned
        return bool(self.asked) and not self.damaged and not is_other


@dataclass(slots=True)
class AskedRow:
    """A row that is asked.

    Attributes:
        answer: the right one, as text. length: by which rows are divided that have no level.
        level: None: its file names none. A look gives it one.
        source: what its environment's reader makes of it.
        line: as its environment reads it without any columns being named; empty: it is written.
    """

    number: int
    problem: str
    answer: str
    length: int
    level: int | None
    source: Row | MathRow | LettersRow | InstructionRow | CodeRow | SearchRow
    line: bytes = b""

    def make_sample(self) -> SampleRow:
        problem = self.source.text if isinstance(self.source, CodeRow) else self.problem
        return SampleRow(self.number, self.level or 0, problem, self.answer)

    def write(self) -> bytes:
        """The row as its environment reads it without any columns being named."""
        source, fields = self.source, dict[str, Any]()
        if isinstance(source, MathRow):
            said = (*source.context, ("user", self.problem))
            chat = [{"role": role, "content": text} for role, text in said]
            fields = {"problem": chat if source.context else self.problem, "solution": ""}
            fields |= {"answer": self.answer, "level": self.level}
        elif isinstance(source, LettersRow):
            letter = letters_file.LETTERS[source.right]
            fields = {"question": self.problem, "options": source.choices, "level": self.level}
            fields |= {"answer": letter}
        else:
            return self.line.rstrip() + b"\n"
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def look_at_file(
    file: Path,
    chosen: Mapping[str, str] | None = None,
    suites: Sequence[Path] = (),
    joined: JoinedFiles | None = None,
    report: Callable[[str], None] | None = None,
    *,
    is_suite: bool = False,
    processes: int = 1,
) -> tuple[Look, Sequence[AskedRow]]:
    """Look at a file. Beside what it found: the rows that are asked.

    Args:
        chosen: part of a row → its column, where the names of columns do not show it.
        suites: files whose problems should not be trained on.
        joined: the rows of several files, which are looked at in the place of one.
        report: called with lines about what takes long: then programs of authors are run, and rows
            are left out whose own program fails.
        is_suite: whether the file measures, and is not trained on: rows that a constant answers
            stay, because others count them as well.
        processes: most that read many rows at a time, see `share_work`.

    Raises:
        ProblemFileError: a file cannot be read at all, or has another shape. The message says what
            to do.
    """
    data = read_problem_file(file) if joined is None else joined.data
    name, lines = read_rows(data, file)
    first = read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX)
    if not first:
        raise ProblemFileError(
            f"{file}, row 1: {find_object_fault(lines[0], math_file.NAME, LONG_ROW_MAX)}"
        )
    family = math_file.NAME if chosen else find_family(lines)
    digest = sha256(data).hexdigest()
    look = Look(str(file), name, f"{family}:{digest}", rows=len(lines), is_renamed=bool(chosen))
    if joined is not None:
        look.is_joined, look.format = True, joined.format
    if family == math_file.NAME:
        rows = _read_math(lines, file, chosen, look, processes)
    elif family == gsm.NAME:
        rows = _read_gsm(lines, look, processes)
    elif family == code_file.NAME:
        rows = _read_code(lines, look, report, is_suite)
    else:
        rows = _READERS[family](lines, look)
    look.asked = len(rows)
    _divide(rows, look)
    look.samples = [row.make_sample() for row in rows[:SAMPLES]]
    look.shown = [row.number for row in rows[:FORMS] if _has_form(row)]
    for suite in suites:
        asked = read_asked(suite, (chosen or {}).get("problem"))
        look.suites[str(suite)] = [row.number for row in rows if asked.holds(row.problem)]
        if asked.gap is not None:
            look.uncompared[str(suite)] = asked.gap
    return look, rows


def write_rows(rows: Iterable[AskedRow], corpus: Iterable[bytes] = ()) -> bytes:
    """A file of these rows, behind those of a corpus."""
    documents = (line.rstrip() + b"\n" for line in corpus)
    return b"".join((*documents, *(row.write() for row in rows)))


def _has_form(row: AskedRow) -> bool:
    """Whether an answer needs a form, because the problem shows another."""
    source = row.source
    return isinstance(source, MathRow) and source.make_task().form is not None


def _read_gsm(lines: Sequence[bytes], look: Look, processes: int) -> list[AskedRow]:
    look.columns = {"problem": "question", "answer": "answer", "solution": "answer"}
    look.levels = f"{gsm.FILE_LEVELS} by the number of lines of the answer"
    rows = GsmRows()
    look.damaged, look.left_out = rows.add_all(lines, processes), rows.skipped
    return [
        AskedRow(number, row.question, str(row.value), row.steps, None, row, lines[number - 1])
        for number, row in rows.kept
    ]


def _read_letters(lines: Sequence[bytes], look: Look) -> list[AskedRow]:
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
        AskedRow(number, row.question, row.choices[row.right], row.length, level, row)
        for number, row in rows.kept
        for level in [row.level if has_levels else None]
    ]


def _read_instructions(lines: Sequence[bytes], look: Look) -> list[AskedRow]:
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
        asked = number, row.prompt, names, len(row.prompt), row.level
        read.append(AskedRow(*asked, row, lines[number - 1]))
    return read


def _read_search(lines: Sequence[bytes], look: Look) -> list[AskedRow]:
    rows = SearchRows()
    look.damaged, look.left_out = rows.add_all(lines), rows.skipped
    looked = read_objects([*lines[:LOOKED_AT], *lines[-LOOKED_AT:]], search_rows.NAME)
    held = {name for row in looked for name in row}
    parts = (
        *(("problem", ("question",)), ("answer", DOCUMENT_ANSWERS)),
        ("documents", (*DOCUMENT_TEXTS, *DOCUMENT_LISTS)),
    )
    found = ((part, ", ".join(name for name in names if name in held)) for part, names in parts)
    look.columns = {part: names for part, names in found if names}
    has_levels = rows.has_levels
    look.levels = "the column level" if has_levels else f"{len(search_rows.LEVELS)} by length"
    look.documents = len(rows.documents)
    unwritten = {number for number, _ in rows.kept}.union(*look.damaged.values())
    look.corpus = [line for number, line in enumerate(lines, 1) if number not in unwritten]
    return [
        AskedRow(
            *(number, row.question, row.answers[0], len(row.question)),
            *(row.level if has_levels else None, row, lines[number - 1]),
        )
        for number, row in rows.kept
    ]


class _ProgramRows(CodeRows):
    """Rows of programs in any shape that is read.

    Attributes:
        written: number of a row → the row as `code:SHA256` reads it.
        converted: numbers of the rows that the file has otherwise.
    """

    def __init__(self, report: Callable[[str], None] | None, is_suite: bool) -> None:
        """See `look_at_file`."""
        super().__init__()
        self._report, self._is_suite = report, is_suite
        self.written: dict[int, bytes] = {}
        self.converted: set[int] = set()

    def _read(self, line: bytes) -> tuple[CodeRow, str | None]:
        try:
            written = _convert_program(line)
        except ShapeError as error:
            return CodeRow("", (), None, None), str(error)
        self.written[self.number] = written
        if written is not line:
            self.converted.add(self.number)
        return super()._read(written)

    def finish(self) -> None:
        if not self._is_suite:
            self.leave_out({number: CONSTANT for number, row in self.kept if has_constant(row)})
        if self._report is not None:
            self.leave_out(_try_solutions(self, self._report))
        super().finish()

    def leave_out(self, reasons: Mapping[int, str]) -> None:
        """Skip rows, by their numbers."""
        for number, reason in reasons.items():
            self.skipped.setdefault(reason, []).append(number)
        self.kept = [(number, row) for number, row in self.kept if number not in reasons]


def _read_code(
    lines: Sequence[bytes], look: Look, report: Callable[[str], None] | None, is_suite: bool
) -> list[AskedRow]:
    rows = _ProgramRows(report, is_suite)
    look.damaged, look.left_out = rows.add_all(lines), rows.skipped
    look.columns = name_columns(read_objects(lines[:LOOKED_AT], code_file.NAME, LONG_ROW_MAX))
    look.is_renamed |= bool(rows.converted)
    look.is_thinned = CONSTANT in rows.skipped
    bands = len(rows.divide())
    look.levels = "the column difficulty" if rows.has_levels else f"{bands} by length"
    return [_make_program(number, row, rows.written[number]) for number, row in rows.kept]


def _try_solutions(rows: _ProgramRows, report: Callable[[str], None]) -> dict[int, str]:
    """The numbers of the rows whose author's program fails, of the first `TRIED_MAX` that are
    written anew."""
    solved = [(n, row) for n, row in rows.kept if row.solutions and n in rows.converted]
    if not solved:
        return {}
    try:
        require_sandbox()
    except ProblemFileError as error:
        report(f"the authors' programs are not tried: {error}")
        return {}
    tried = solved[:TRIED_MAX]
    if len(tried) < len(solved):
        first = f"the first {len(tried):,} rows of {len(solved):,} that have one"
        report(f"authors' programs are tried of {first}: the others are asked untried")
    faults: dict[int, str] = {}
    began = told = monotonic()
    with ThreadPoolExecutor(count_cores()) as executor:
        found = executor.map(find_own_fault, [row for _, row in tried])
        for done, ((number, _), fault) in enumerate(zip(tried, found, strict=True), 1):
            if fault is not None:
                faults[number] = fault
            if (now := monotonic()) - told >= _TOLD_S:
                told = now
                left = (now - began) / done * (len(tried) - done)
                report(f"ran {done:,} of {len(tried):,} authors' programs, {left:.0f} s left")
    return faults


def _make_program(number: int, row: CodeRow, line: bytes) -> AskedRow:
    what = "of a program" if row.function is None else f"of the function {row.function}"
    answer = f"{len(row.cases)} test cases {what}"
    return AskedRow(number, row.question, answer, len(row.text), row.level, row, line)


def _convert_program(line: bytes) -> bytes:
    """The line itself if `code:SHA256` reads it, or the row in its form."""
    row = read_object(line, code_file.NAME, LONG_ROW_MAX)
    is_short = len(line) <= ROW_MAX
    if is_short and all(isinstance(row.get(name), str) for name in ("question", "input_output")):
        return line
    difficulty = str(row.get("difficulty") or row.get("gpt_difficulty"))
    return convert_row(row, difficulty if difficulty in DIFFICULTIES else None)


_READERS: Mapping[str, Callable[[Sequence[bytes], Look], list[AskedRow]]] = {
    instruction_file.NAME: _read_instructions,
    letters_file.NAME: _read_letters,
    search_rows.NAME: _read_search,
}


def _read_math(
    lines: Sequence[bytes], file: Path, chosen: Mapping[str, str] | None, look: Look, processes: int
) -> list[AskedRow]:
    reader = MathRows(chosen)
    try:
        look.damaged = reader.add_all(lines, processes)
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
        AskedRow(number, row.problem, row.text or "", row.length, level, row)
        for number, row in reader.kept
        for level in [row.level if reader.has_levels else None]
    ]


def _divide(rows: Sequence[AskedRow], look: Look) -> None:
    """Give each row its level, if the file names none."""
    if rows and rows[0].level is None:
        most = gsm.FILE_LEVELS if look.environment.startswith(gsm.NAME) else len(LEVELS)
        bands = cut_levels(sorted(rows, key=lambda row: row.length), most)
        for level, band in enumerate(bands, 1):
            for row in band:
                row.level = level
    for row in rows:
        look.per_level[row.level or 0] = look.per_level.get(row.level or 0, 0) + 1
