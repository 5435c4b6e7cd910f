"""How a file of problems is read, for its owner: the columns, the levels, which rows are asked and
why each other is not. The environment of the file reads it by the same code."""

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from assay.environments import gsm, letters_file, math_file, text_file
from assay.environments.gsm import GsmRows
from assay.environments.instructions import instruction_file
from assay.environments.instructions.instruction_file import EMPTY_REPLIES, InstructionRows
from assay.environments.letters_file import LettersRows
from assay.environments.math_file import LEVELS, MathRow, MathRows
from assay.environments.plain_form import read_answers
from assay.environments.problem_family import find_family, read_rows
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    ROW_MAX,
    KeptRows,
    ProblemFileError,
    cut_levels,
    find_object_fault,
    read_objects,
    read_problem_file,
)
from assay.environments.problem_formats import (
    CHOICE_LETTERS,
    CHOICE_LISTS,
    CHOICE_QUESTIONS,
    CHOICE_RIGHT,
    CHOICE_RIGHTS,
    DOCUMENT_ANSWERS,
    DOCUMENT_LISTS,
    DOCUMENT_TEXTS,
    PASSAGES,
)
from assay.environments.problem_overlap import read_asked
from assay.environments.problem_report import AskedRow, Look
from assay.environments.problem_shards import JoinedFiles
from assay.environments.problem_table import LOOKED_AT, TableError
from assay.environments.programs import NAME as PROGRAMS
from assay.environments.search import search_rows
from assay.environments.search.search_rows import SearchRow, SearchRows
from assay.environments.text_file import TextRow, TextRows

#: Rows that are shown; rows whose form is looked at; rows of a finding that are named.
SAMPLES, FORMS, NAMED = 3, 5_000, 20
#: Families whose columns a person may choose.
CHOOSING = math_file.NAME, text_file.NAME


class _Given(NamedTuple):
    """What a file's rows are read from, see `look_at_file`; `look` is filled in."""

    lines: Sequence[bytes]
    file: Path
    look: Look
    chosen: Mapping[str, str] | None
    report: Callable[[str], None] | None
    is_suite: bool
    processes: int


def look_at_file(
    file: Path,
    chosen: Mapping[str, str] | None = None,
    suites: Sequence[Path] = (),
    joined: JoinedFiles | None = None,
    report: Callable[[str], None] | None = None,
    *,
    family: str | None = None,
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
        family: of the environment, where it is not to be the one that the file shows.
        is_suite: whether the file measures, and is not trained on: rows that a constant answers
            stay, because others count them as well.
        processes: most that read many rows at a time, see `share_work`.

    Raises:
        ProblemFileError: a file cannot be read at all, or has another shape. The message says what
            to do.
    """
    data = read_problem_file(file) if joined is None else joined.data
    name, lines = read_rows(data, file, family)
    first = read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX)
    if not first:
        raise ProblemFileError(
            f"{file}, row 1: {find_object_fault(lines[0], math_file.NAME, LONG_ROW_MAX)}"
        )
    family = family or (math_file.NAME if chosen else find_family(lines))
    if chosen and family not in CHOOSING:
        raise ProblemFileError(f"{file}: columns are named for {' and '.join(CHOOSING)} alone")
    digest = sha256(data).hexdigest()
    look = Look(str(file), name, f"{family}:{digest}", rows=len(lines), is_renamed=bool(chosen))
    if joined is not None:
        look.is_joined, look.format = True, joined.format
    given = _Given(lines, file, look, chosen, report, is_suite, processes)
    rows = READERS[family](given)
    look.asked = len(rows)
    look.fits = _find_fits(given, rows, family)
    _divide(rows, look)
    look.samples = [row.make_sample() for row in rows[:SAMPLES]]
    look.shown = [row.number for row in rows[:FORMS] if _has_form(row)]
    for suite in suites:
        asked = read_asked(suite, (chosen or {}).get("problem"))
        look.suites[str(suite)] = [row.number for row in rows if asked.holds(row.problem)]
        if asked.gap is not None:
            look.uncompared[str(suite)] = asked.gap
    return look, rows


def _find_fits(given: _Given, rows: Sequence[AskedRow], family: str) -> dict[str, list[int]]:
    """Families of environments that ask rows of the file that this one leaves out, or rows with
    words or documents otherwise; each with the numbers of its rows."""
    look, makers = given.look, dict(_SHARING)
    numbers = sorted(set[int]().union(*look.left_out.values()))
    if is_free := family in (search_rows.NAME, text_file.NAME):
        numbers = list(range(1, len(given.lines) + 1))
    if makers.pop(family, None) is None or not numbers:
        return {}
    if is_free and any(_is_about(row) for row in rows):
        makers.pop(math_file.NAME, None)  # which shows no passage
    lines, fits = [given.lines[number - 1] for number in numbers], {}
    for name, make in makers.items():
        other = make(given.chosen)
        try:
            is_read = not other.add_all(lines, given.processes)
        except (ProblemFileError, TableError):
            continue
        if is_read and other.kept and _has_odds(other):
            fits[name] = [numbers[place - 1] for place, _ in other.kept]
    return fits


def _is_about(row: AskedRow) -> bool:
    """Whether a question is about a passage, or documents."""
    source = row.source
    return isinstance(source, SearchRow) or (isinstance(source, TextRow) and bool(source.passage))


def _has_odds(rows: KeptRows[Any, Any]) -> bool:
    """Whether no level of choices is too small for the default of `odds`."""
    if not isinstance(rows, LettersRows):
        return True
    least = letters_file.PARAMS["odds"].default
    return all(letters_file.compute_odds(band, least) == least for band in rows.divide().values())


def _has_form(row: AskedRow) -> bool:
    """Whether an answer needs a form, because the problem shows another."""
    source = row.source
    return isinstance(source, MathRow) and source.make_task().form is not None


def _read_programs(given: _Given) -> list[AskedRow]:
    from assay.environments.program_look import read_programs  # which loads the sandbox's parts

    return read_programs(given.lines, given.look, given.report, given.is_suite)


def _read_gsm(given: _Given) -> list[AskedRow]:
    lines, look = given.lines, given.look
    look.columns = {"problem": "question", "answer": "answer", "solution": "answer"}
    look.levels = f"{gsm.FILE_LEVELS} by the number of lines of the answer"
    rows = GsmRows()
    look.damaged, look.left_out = rows.add_all(lines, given.processes), rows.skipped
    return [
        AskedRow(number, row.question, str(row.value), row.steps, None, row, lines[number - 1])
        for number, row in rows.kept
    ]


def _read_letters(given: _Given) -> list[AskedRow]:
    lines, look = given.lines, given.look
    first = map(letters_file.open_question, read_objects(lines[:LOOKED_AT], letters_file.NAME))
    held = {name for row in first for name in row}
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
        AskedRow(*asked, level, row, shown=row.question)
        for number, row in rows.kept
        for asked in [(number, row.alone, row.choices[row.right], row.length)]
        for level in [row.level if has_levels else None]
    ]


def _read_instructions(given: _Given) -> list[AskedRow]:
    lines, look = given.lines, given.look
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


def _read_search(given: _Given) -> list[AskedRow]:
    lines, look = given.lines, given.look
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


def _read_texts(given: _Given) -> list[AskedRow]:
    lines, look = given.lines, given.look
    rows = TextRows(given.chosen, LONG_ROW_MAX)
    try:
        look.damaged, look.left_out = rows.add_all(lines), rows.skipped
    except TableError as error:
        raise ProblemFileError(f"{given.file}: {error}") from None
    looked = read_objects(lines[:LOOKED_AT], text_file.NAME, LONG_ROW_MAX)
    held = {name for row in looked for name, value in row.items() if value not in (None, "")}
    held.update((given.chosen or {}).values())
    parts = ("problem", rows.questions), ("answer", rows.answers), ("passage", PASSAGES)
    found = ((part, [name for name in names if name in held]) for part, names in parts)
    look.columns = {
        part: ", ".join(names[:1] if part == "problem" else names) for part, names in found if names
    }
    has_levels = rows.has_levels
    look.levels = "the column level" if has_levels else f"{len(text_file.LEVELS)} by length"
    read = []
    for number, row in rows.kept:
        line, level = lines[number - 1], row.level if has_levels else None
        if given.chosen or len(line) > ROW_MAX:
            look.is_renamed, line = True, _rewrite_text(rows.open(line), row, rows.answers)
        asked = number, row.question, row.answers[0], len(row.text), level
        read.append(AskedRow(*asked, row, line, shown=row.text))
    return read


def _rewrite_text(columns: dict[str, Any], row: TextRow, names: Sequence[str]) -> bytes:
    """A row as `text:SHA256` reads it without any columns being named, and no more."""
    answers, _ = read_answers(columns, names)
    fields = {"question": row.question, "answers": answers, "level": row.level}
    fields |= {"passage": row.passage} if row.passage else {}
    return json.dumps(fields, ensure_ascii=False).encode()


def _read_math(given: _Given) -> list[AskedRow]:
    look, reader = given.look, MathRows(given.chosen)
    try:
        look.damaged = reader.add_all(given.lines, given.processes)
        if reader.fault is not None:
            raise reader.fault
    except TableError as error:
        raise ProblemFileError(f"{given.file}: {error}") from None
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


#: Format → the rows that are asked of such a file.
READERS: Mapping[str, Callable[[_Given], list[AskedRow]]] = {
    PROGRAMS: _read_programs,
    gsm.NAME: _read_gsm,
    instruction_file.NAME: _read_instructions,
    letters_file.NAME: _read_letters,
    math_file.NAME: _read_math,
    search_rows.NAME: _read_search,
    text_file.NAME: _read_texts,
}
#: Families that may read the same file, each its own rows of it.
_SHARING: Mapping[str, Callable[[Mapping[str, str] | None], KeptRows[Any, Any]]] = {
    letters_file.NAME: lambda _: LettersRows(),
    math_file.NAME: MathRows,
    search_rows.NAME: lambda _: SearchRows(),
    text_file.NAME: lambda chosen: TextRows(chosen, LONG_ROW_MAX),
}


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
