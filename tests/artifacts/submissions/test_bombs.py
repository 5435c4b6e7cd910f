"""Small files that decode to gigabytes: refused by what the footer admits, or within the cage."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import write_submission
from assay.artifacts.submissions.submission_layout import SubmissionLimits
from assay.protocol import Reason
from tests.artifacts.conftest import (
    expect,
    join_file,
    lie,
    make_columns,
    make_groups,
    make_header,
    split_file,
    write_parquet,
    write_thrift,
    write_varint,
)

GIB = 1 << 30
GOOD = make_columns([3, 1, 64, 2])
STRUCT, INT64 = 12, 6
# Field numbers of the footer.
ROW_GROUPS, NUM_VALUES, UNPACKED, PACKED, DATA_PAGE, DICTIONARY_PAGE = 4, 5, 6, 7, 9, 11

Judge = Callable[..., Any]


def make_bomb(
    values: int, claimed: int, unpacked: int | None = None, packed_page: bytes | None = None
) -> bytes:
    """One row group whose tokens are `values` equal numbers in a few runs, all but three in its
    first row; the footer claims `claimed` of them, the page's head to unpack to `unpacked`."""
    body, footer = split_file(write_parquet(make_columns([1] * 4), use_dictionary=False))
    runs = [(1, 0), (values - 4, 1), (3, 0)]  # repetition: 0 starts a row
    levels = [runs, [(values, 1)]]
    packed = [b"".join(write_varint(n << 1) + bytes([v]) for n, v in level) for level in levels]
    data = b"".join(len(level).to_bytes(4, "little") + level for level in packed)
    data += b"\1" + write_varint(values << 1) + b"\0"  # index 0 of the dictionary, for ever
    dictionary = make_page(2, 7, {1: [5, 1], 2: [5, 0]}, bytes(4))
    head = {1: [5, values], 2: [5, 8], 3: [5, 3], 4: [5, 3]}
    chunk = dictionary + make_page(0, 5, head, data, unpacked, packed_page)
    columns = footer[ROW_GROUPS][1][1][0][1][1][1]
    offset = 4
    parts = [body[:4]]
    for position, column in enumerate(columns):
        meta = column[3][1]
        old = meta[DATA_PAGE][1]
        part = chunk if position < 2 else body[old : old + meta[PACKED][1]]
        if position < 2:
            meta[DICTIONARY_PAGE] = [INT64, offset]
            meta[NUM_VALUES][1] = claimed
            meta[2][1] = [5, [0, 3, 8]]
        meta[DATA_PAGE][1] = offset + (len(dictionary) if position < 2 else 0)
        meta[PACKED][1] = len(part)
        parts.append(part)
        offset += len(part)
    return join_file(b"".join(parts), footer)


def make_page(
    kind: int,
    field: int,
    head: dict[int, Any],
    data: bytes,
    unpacked: int | None = None,
    packed: bytes | None = None,
) -> bytes:
    packed = packed or pa.Codec("zstd").compress(data, asbytes=True)
    sizes = {1: [5, kind], 2: [5, unpacked or len(data)], 3: [5, len(packed)]}
    return write_thrift(sizes | {field: [STRUCT, head]}) + packed


def assert_caged(worker: ParquetWorker) -> None:
    """The limits under which the child runs. Resident memory is part of its address space."""
    if worker.pid is None:
        return  # the last one died of it; the next is checked after its first request
    assert resource.prlimit(worker.pid, resource.RLIMIT_AS)[1] <= GIB
    assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(worker.pid, resource.RLIMIT_FSIZE) == (0, 0)
    soft = resource.prlimit(worker.pid, resource.RLIMIT_CPU)[0]
    assert soft != resource.RLIM_INFINITY
    status = Path(f"/proc/{worker.pid}/status").read_text().split()
    assert int(status[status.index("VmPeak:") + 1]) << 10 <= GIB


def test_a_row_group_in_runs_is_read(judge_bytes: Judge) -> None:
    """The bomb without its charge is sound: it is refused for its sketch alone."""
    expect(judge_bytes(make_bomb(60, 60)), Reason.MALFORMED, "57 tokens and 2 bytes of sketch")


def test_300_million_values_admitted(judge_bytes: Judge, worker: ParquetWorker) -> None:
    data = make_bomb(300_000_000, 300_000_000)
    assert len(data) < 2_000
    expect(judge_bytes(data), Reason.TOO_LARGE, "300000000 values")
    assert_caged(worker)


@pytest.mark.parametrize("values", [30_000_000, 300_000_000, (1 << 31) - 1])
def test_300_million_values_denied(
    judge_bytes: Judge, worker: ParquetWorker, honest: bytes, values: int
) -> None:
    expect(judge_bytes(make_bomb(values, 60)), Reason.MALFORMED)
    assert_caged(worker)
    assert len(judge_bytes(honest)) == 3


@pytest.mark.parametrize("unpacked", [1 << 20, 1 << 30, (1 << 31) - 1, -1])
def test_page_that_says_it_unpacks_to_gigabytes(
    judge_bytes: Judge, worker: ParquetWorker, unpacked: int
) -> None:
    expect(judge_bytes(make_bomb(60, 60, unpacked)), Reason.MALFORMED)
    assert_caged(worker)


def test_page_that_does_unpack_to_a_gigabyte(
    judge_bytes: Judge, worker: ParquetWorker, honest: bytes
) -> None:
    frame = pa.Codec("zstd").compress(bytes(1 << 24), asbytes=True)
    data = make_bomb(60, 60, GIB, frame * 64)
    assert len(data) < 1 << 17
    expect(judge_bytes(data, SubmissionLimits(4, 8, 4_096)), Reason.MALFORMED)
    assert len(judge_bytes(honest)) == 3
    assert_caged(worker)


def test_sketch_of_64_megabytes(judge_bytes: Judge, worker: ParquetWorker) -> None:
    data = write_parquet(GOOD | {"sketch": pa.array([bytes(1 << 24)] * 4)}, use_dictionary=False)
    expect(judge_bytes(data), Reason.TOO_LARGE)
    denied = lie(data, (ROW_GROUPS, 0, 1, 2, 3, UNPACKED), 200)
    expect(judge_bytes(denied), Reason.MALFORMED, "what the footer claims")
    assert_caged(worker)


def test_row_group_larger_than_an_honest_one(open_bytes: Callable[..., Any]) -> None:
    data = write_submission(make_header(1), make_groups(1))
    found = open_bytes(
        data, SubmissionLimits(group_size=4, group_cap=8, max_tokens=1)
    ).read_footer()
    expect(found, Reason.TOO_LARGE)
