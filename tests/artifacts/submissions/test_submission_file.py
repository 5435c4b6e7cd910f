"""What a miner writes is what a judge reads, from no more bytes than it asks for."""

import struct
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_layout import SubmissionLimits
from assay.cage import Budget
from assay.protocol import Footer, Reason, Refusal, Rollout
from assay.protocol.encoding import encode
from assay.protocol.submission import compute_group_leaf, encode_rollout, split_rows
from tests.artifacts.conftest import (
    LIMITS,
    MemorySource,
    expect,
    make_groups,
    make_header,
    make_rollout,
    split_file,
)

U32 = st.integers(0, 2**32 - 1)
TOKEN = st.tuples(U32, U32, st.integers(-128, 127), st.integers(-128, 127))


def _make_rollout(tokens: list[tuple[int, int, int, int]]) -> Rollout:
    table = np.array(tokens, np.int64)
    return Rollout(
        table[:, 0].astype(np.uint32), table[:, 1].astype(np.uint32), table[:, 2:].astype(np.int8)
    )


ROLLOUT = st.lists(TOKEN, min_size=1, max_size=LIMITS.max_tokens).map(_make_rollout)
GROUP = st.lists(ROLLOUT, min_size=LIMITS.group_size, max_size=LIMITS.group_size)


def read(
    source: MemorySource, worker: ParquetWorker, limits: SubmissionLimits = LIMITS
) -> SubmissionFile:
    return SubmissionFile(source, worker, limits)


@settings(max_examples=40, deadline=None)
@given(groups=st.lists(GROUP, min_size=1, max_size=3))
def test_round_trip(worker: ParquetWorker, groups: list[list[Rollout]]) -> None:
    header = make_header(len(groups))
    file = read(MemorySource(write_submission(header, groups)), worker)
    footer = file.read_footer()
    assert isinstance(footer, Footer)
    assert footer.header == encode(header)
    for index, group in enumerate(groups):
        rows = [encode_rollout(rollout) for rollout in group]
        data = file.read_group(index)
        assert data == b"".join(rows)
        assert split_rows(data, LIMITS.group_size) == rows
        assert compute_group_leaf(index, rows) == footer.leaves[index]


def test_largest_file_of_the_main_network(worker: ParquetWorker) -> None:
    limits = SubmissionLimits(group_size=16, group_cap=1_024, max_tokens=4_096)
    random = np.random.default_rng(0)
    one = make_rollout(random, 1)
    groups = [[one] * 16] * 1_023 + [[make_rollout(random, 4_096) for _ in range(16)]]
    source = MemorySource(write_submission(make_header(1_024), groups))
    file = read(source, worker, limits)
    footer = file.read_footer()
    assert isinstance(footer, Footer)
    assert len(footer.leaves) == 1_024
    data = file.read_group(1_023)
    assert isinstance(data, bytes)
    assert len(data) == limits.group_bytes


def test_only_the_tail_and_the_wanted_row_group_are_read(
    worker: ParquetWorker, honest: bytes, groups: list[list[Rollout]]
) -> None:
    body, _ = split_file(honest)
    source = MemorySource(honest)
    file = read(source, worker)
    file.read_footer()
    end = len(honest)
    assert source.reads == [(end - 8, end), (len(body), end - 8)]
    for index in (2, 0, 1):
        file.read_group(index)
    ranges = sorted(source.reads[2:])
    assert len(ranges) == len(groups)
    assert ranges[0][0] >= 4
    assert ranges[-1][1] <= len(body)
    assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(ranges, 2))
    for index, (start, stop) in enumerate(ranges):
        alone = bytes(start) + honest[start:stop] + bytes(len(body) - stop) + honest[len(body) :]
        found = read(MemorySource(alone), worker).read_group(index)
        assert found == b"".join(map(encode_rollout, groups[index]))


def test_nothing_is_read_before_it_is_asked_for(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    read(source, worker)
    assert source.reads == []


def test_no_row_group_of_a_refused_file_is_read(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    file = read(source, worker, SubmissionLimits(group_size=5, group_cap=8, max_tokens=64))
    refusals = [file.read_footer(), file.read_group(0), file.read_group(7)]
    assert {r.reason for r in refusals if isinstance(r, Refusal)} == {Reason.MALFORMED}
    assert len(source.reads) == 2


def test_a_group_that_is_not_there_is_the_callers_fault(
    open_bytes: Callable[..., SubmissionFile], honest: bytes
) -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError):
            open_bytes(honest).read_group(index)


def test_file_that_goes_away_while_it_is_read(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    file = read(source, worker)
    assert isinstance(file.read_footer(), Footer)
    source.data = None
    expect(file.read_group(0), Reason.NOT_REVEALED)


def test_file_that_shrinks_while_it_is_read(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    file = read(source, worker)
    assert isinstance(file.read_footer(), Footer)
    source.data = honest[:100]
    expect(file.read_group(0), Reason.MALFORMED, "cannot be read")


def test_store_that_sends_more_than_it_was_asked_for(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    file = read(source, worker)
    assert isinstance(file.read_footer(), Footer)
    source.read = lambda start, end: honest[start : end + 1]  # type: ignore[method-assign]
    expect(file.read_group(0), Reason.MALFORMED, "cannot be read")


def test_file_that_is_exchanged_while_it_is_read(worker: ParquetWorker, honest: bytes) -> None:
    source = MemorySource(honest)
    file = read(source, worker)
    assert isinstance(file.read_footer(), Footer)
    source.data = bytes(len(honest))
    expect(file.read_group(0), Reason.MALFORMED)


def test_file_beyond_every_limit(worker: ParquetWorker) -> None:
    class Huge(MemorySource):
        def size(self) -> int:
            return 1 << 80

    expect(read(Huge(b""), worker).read_footer(), Reason.TOO_LARGE)


@pytest.mark.parametrize("reply", [b"", bytes(8), b"\xff" * 8, b"\0\0\0\1\0\0\0\1a", bytes(56)])
def test_child_whose_answer_has_no_form(honest: bytes, reply: bytes) -> None:
    class Possessed(ParquetWorker):
        def parse(self, request: bytes, reply_max: int, budget: Budget) -> bytes:
            return reply

    expect(read(MemorySource(honest), Possessed()).read_footer(), Reason.MALFORMED)


@pytest.mark.parametrize("span", [(0, 9), (4, 4), (9, 4), (4, 1 << 62), (4, 100_000), (-99, -8)])
def test_child_that_sends_the_reader_elsewhere(honest: bytes, span: tuple[int, int]) -> None:
    source = MemorySource(data := honest + bytes(200_000) + honest)

    class Possessed(ParquetWorker):
        def parse(self, request: bytes, reply_max: int, budget: Budget) -> bytes:
            start, end = (place if place >= 0 else len(data) + place for place in span)
            return struct.pack(">II32xQQ", 0, 1, start, end)

    found = read(source, Possessed()).read_footer()
    assert isinstance(found, Refusal)
    assert len(source.reads) == 2


def test_same_input_same_bytes() -> None:
    first, second = make_groups(3), make_groups(3)
    strided = [
        [
            Rollout(
                r.tokens.repeat(2)[::2], r.logprobs.astype(np.uint64), r.sketch[:, ::-1][:, ::-1]
            )
            for r in group
        ]
        for group in second
    ]
    written = write_submission(make_header(3), first)
    assert written == write_submission(make_header(3), first)
    assert written == write_submission(make_header(3), strided)


def test_the_file_is_written_as_specified(honest: bytes) -> None:
    file = pq.ParquetFile(pa.BufferReader(honest))
    metadata = file.metadata
    assert set(metadata.metadata) == {b"assay.header", b"assay.leaves"}
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [4] * 3
    columns = [metadata.row_group(1).column(i) for i in range(3)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert not any(column.is_stats_set for column in columns)
    assert not any(field.nullable for field in file.schema_arrow)


WRONG: dict[str, Any] = {
    "no group": [],
    "fewer groups than the header says": make_groups(2),
    "groups of two sizes": [*make_groups(2), make_groups(1)[0][:2]],
    "groups of nobody": [[], [], []],
    "an empty rollout": [[make_rollout(np.random.default_rng(0), 0)]] * 3,
    "columns of two lengths": [
        [Rollout(np.ones(2, np.uint32), np.ones(1, np.uint32), np.ones((2, 2), np.int8))]
    ]
    * 3,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_miner_should_write(name: str) -> None:
    with pytest.raises(ValueError, match=r"group|token|column"):
        write_submission(make_header(3), WRONG[name])


@pytest.mark.parametrize(
    "sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1 << 12, 1, 1 << 12), (1, 16_385, 1)]
)
def test_limits_that_the_worker_cannot_hold(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="Parquet worker"):
        SubmissionLimits(*sizes)


class CountingWorker:
    """Passes requests on, and counts them."""

    def __init__(self, worker: ParquetWorker) -> None:
        self.worker = worker
        self.asked = 0

    def parse(self, *arguments: Any) -> Any:
        self.asked += 1
        return self.worker.parse(*arguments)


def test_groups_that_are_expected_come_together(worker: ParquetWorker, honest: bytes) -> None:
    alone = read(MemorySource(honest), worker)
    counting = CountingWorker(worker)
    together = SubmissionFile(MemorySource(honest), counting, LIMITS, (0, 2))  # type: ignore[arg-type]
    for index in (2, 0, 1, 2):
        assert together.read_group(index) == alone.read_group(index)
    # footer, both that were expected, one that was not, one for the second time
    assert counting.asked == 4


@pytest.mark.parametrize("place", ["broken", "missing"])
def test_a_bad_group_among_the_expected_spoils_itself_alone(
    worker: ParquetWorker, honest: bytes, place: str
) -> None:
    source = MemorySource(honest)
    opened = read(source, worker)
    opened.read_footer()
    source.reads.clear()
    opened.read_group(1)
    ((start, end),) = source.reads
    spoiled = honest[:start] + bytes(end - start) + honest[end:]
    expected = (0, 1, 2) if place == "broken" else (0, 2, 99)
    alone = read(MemorySource(spoiled), worker)
    together = SubmissionFile(MemorySource(spoiled), worker, LIMITS, expected)
    for index in range(3):
        assert together.read_group(index) == alone.read_group(index)
    assert isinstance(alone.read_group(1), Refusal)
