"""Which environment reads a file of problems: told by its columns, for its owner."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from assay.environments import math_file
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    PARQUET_MAGIC,
    ProblemFileError,
    read_objects,
    read_problem_file,
    read_table,
)
from assay.environments.problem_formats import COLUMN_NAMES, FORMATS, find_format
from assay.environments.problem_table import LOOKED_AT
from assay.environments.registry import list_files


def guess_family(file: Path) -> str:
    """The family of the environment that a look at a file names. Raises ProblemFileError: the file
    cannot be read at all."""
    _, lines = read_rows(read_problem_file(file), file)
    return find_family(lines)


def read_rows(data: bytes, file: Path, family: str | None = None) -> tuple[str, list[bytes]]:
    """As `read_table`, for a family, or by the one whose shape the file has."""
    if not data.startswith(PARQUET_MAGIC):
        return read_table(data, file)
    if family is not None:
        return read_table(data, file, FORMATS[family].own_columns if family in FORMATS else ())
    # columns that one environment alone unpacks, whose names stand in the file's bytes
    own = {
        name: one.rows.own_columns
        for name, one in list_files().items()
        if one.rows is not None
        and any(data.count(each.encode()) for each in {*one.rows.own_columns} - COLUMN_NAMES)
    }
    if not own:
        return read_table(data, file)
    with suppress(ProblemFileError):  # without a column of problems, or with one of documents
        found = read_table(data, file)
        if find_family(found[1]) not in (math_file.NAME, *own):
            return found
    for family, columns in own.items():
        with suppress(ProblemFileError):
            found = read_table(data, file, columns)
            if find_family(found[1]) == family:
                return found
    return read_table(data, file)


def find_family(lines: Sequence[bytes]) -> str:
    """The family of the environment that reads rows of this shape: `math`, if nothing tells."""
    rows = read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX)
    told = find_format(name for row in rows for name in row)
    if told is not None:
        return told.family
    tellers = {name: one.tells for name, one in list_files().items() if one.tells is not None}
    return next((name for name, tells in tellers.items() if tells(rows, lines)), math_file.NAME)
