"""Several files of problems as one: a network names one file, by one digest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assay.environments.problem_family import read_rows
from assay.environments.problem_file import FILE_MAX, ProblemFileError, read_problem_file
from assay.environments.problem_table import ROWS_MAX


@dataclass(frozen=True, slots=True)
class JoinedFiles:
    """The rows of several files as JSON Lines; `format`: of what files, for people."""

    data: bytes
    format: str


def join_files(files: Sequence[Path], report: Callable[[str], None]) -> JoinedFiles:
    """The rows of all files, file after file: each row's line as its table has it.

    Args:
        report: called with a line before each file.

    Raises:
        ProblemFileError: a file cannot be read, or they have too much together.
    """
    joined, rows, formats = bytearray(), 0, dict[str, None]()
    for number, file in enumerate(files, 1):
        report(f"reading {file.name}, {number} of {len(files)} files")
        name, lines = read_rows(read_problem_file(file), file)
        formats[name] = None
        rows += len(lines)
        for line in lines:
            joined += line.strip() + b"\n"
        if len(joined) > FILE_MAX or rows > ROWS_MAX:
            raise ProblemFileError(
                f"{file.parent}: the first {number} of {len(files)} files have more than "
                f"{FILE_MAX >> 20} MiB or {ROWS_MAX:,} rows as JSON Lines, and a network names one "
                f"file: name one of them, such as {files[0]}"
            )
    return JoinedFiles(bytes(joined), f"{len(files)} files of {', '.join(formats)}")
