"""Which environment reads a file of problems: told by its columns, for its owner."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from assay.environments import gsm, math_file
from assay.environments.problem_file import (
    LONG_ROW_MAX,
    PARQUET_MAGIC,
    OtherFormatError,
    ProblemFileError,
    read_objects,
    read_problem_file,
    read_row,
    read_table,
)
from assay.environments.problem_formats import COLUMN_NAMES, FORMATS, find_format
from assay.environments.problem_table import LOOKED_AT, get_cell
from assay.environments.programs import NAME as PROGRAMS
from assay.environments.search.search_rows import NAME as SEARCH
from assay.environments.search.search_rows import holds_search

#: Columns of Parquet of documents alone, and their names as they stand in its bytes.
_DOCUMENT_COLUMNS = FORMATS[SEARCH].own_columns
_WRITTEN = tuple(name.encode() for name in sorted({*_DOCUMENT_COLUMNS} - COLUMN_NAMES))


def guess_family(file: Path) -> str:
    """The family of the environment that a look at a file names. Raises ProblemFileError: the file
    cannot be read at all."""
    _, lines = read_rows(read_problem_file(file), file)
    return find_family(lines)


def read_rows(data: bytes, file: Path) -> tuple[str, list[bytes]]:
    """As `read_table`, by the family whose shape the file has."""
    if not data.startswith(PARQUET_MAGIC) or not any(map(data.count, _WRITTEN)):
        return read_table(data, file)
    with suppress(ProblemFileError):  # without a column of problems, or with one of documents
        found = read_table(data, file)
        if find_family(found[1]) not in (math_file.NAME, SEARCH):
            return found
    with suppress(ProblemFileError):
        found = read_table(data, file, _DOCUMENT_COLUMNS)
        if find_family(found[1]) == SEARCH:
            return found
    return read_table(data, file)


def find_family(lines: Sequence[bytes]) -> str:
    """The family of the environment that reads rows of this shape."""
    rows = read_objects(lines[:LOOKED_AT], math_file.NAME, LONG_ROW_MAX)
    told = find_format(name for row in rows for name in row)
    if told is not None:
        return told.family
    if _is_gsm(lines[0]):
        return gsm.NAME
    if any(map(holds_search, [*rows, *read_objects(lines[-LOOKED_AT:], SEARCH)])):
        return SEARCH
    return PROGRAMS if any(map(_has_cases, rows)) else math_file.NAME


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
