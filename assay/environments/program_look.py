"""How a file of programs is read, for its owner: rows of other shapes are written anew, and the
programs of their authors are tried. Only a look at such a file loads it."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from assay.environments.problem_file import (
    LONG_ROW_MAX,
    ROW_MAX,
    ProblemFileError,
    read_object,
    read_objects,
)
from assay.environments.problem_report import AskedRow, Look
from assay.environments.problem_table import LOOKED_AT
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
from assay.sandbox import count_cores

#: Most rows whose author's program is run, in the file's order: some minutes of two cores.
TRIED_MAX = 10_000
#: Seconds between lines about what takes long.
_TOLD_S = 2.0


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


def read_programs(
    lines: Sequence[bytes], look: Look, report: Callable[[str], None] | None, is_suite: bool
) -> list[AskedRow]:
    """The rows that are asked, and in `look` what was found. Args: see `look_at_file`."""
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
    return AskedRow(number, row.question, answer, len(row.text), row.level, row, line, row.text)


def _convert_program(line: bytes) -> bytes:
    """The line itself if `code:SHA256` reads it, or the row in its form."""
    row = read_object(line, code_file.NAME, LONG_ROW_MAX)
    is_short = len(line) <= ROW_MAX
    if is_short and all(isinstance(row.get(name), str) for name in ("question", "input_output")):
        return line
    difficulty = str(row.get("difficulty") or row.get("gpt_difficulty"))
    return convert_row(row, difficulty if difficulty in DIFFICULTIES else None)
