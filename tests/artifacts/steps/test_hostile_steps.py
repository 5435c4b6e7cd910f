"""A stranger's `step.parquet`: files with false claims about their content, and small ones that
decode to gigabytes, are refused by the child's counts, or within its sandbox."""

import random
import resource
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.artifacts.steps import file as step_file
from assay.artifacts.steps.file import WAITING, Delay, open_step_parser, write_groups
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.steps.parser import MEMORY_BYTES
from assay.protocol.episode import Reply
from assay.protocol.step import DelayedRollout
from tests.artifacts.steps.parquet_files import (
    join_file,
    lie,
    make_columns,
    make_taken,
    read,
    split_file,
    write_parquet,
    write_step,
    write_thrift,
    write_varint,
)

I32, INT64, BINARY, LIST, STRUCT = 5, 6, 8, 9, 12  # Thrift types
# Field numbers of the footer, and the column of tokens.
ROW_GROUPS, NUM_VALUES, UNPACKED, PACKED, DATA_PAGE, DICTIONARY_PAGE = 4, 5, 6, 7, 9, 11
TOKENS = 9
CHUNK = (ROW_GROUPS, 0, 1, TOKENS, 3)
GOOD = make_columns()


@pytest.fixture(scope="module")
def worker() -> Iterator[ParquetWorker]:
    with open_step_parser() as running:
        yield running


@pytest.fixture
def honest(tmp_path: Path) -> bytes:
    return write_step(tmp_path)


@pytest.fixture
def refuse(worker: ParquetWorker, tmp_path: Path) -> Any:
    """A file is refused by one printable sentence, and the next honest one is read."""

    def refuse(data: bytes, words: str = ".") -> None:
        with pytest.raises(ValueError, match=words) as found:
            read(data, tmp_path, worker)
        assert str(found.value).isprintable()
        assert read(write_step(tmp_path), tmp_path, worker) == make_taken()

    return refuse


def test_written_groups_are_read_back(worker: ParquetWorker, tmp_path: Path) -> None:
    for taken in (make_taken(), make_taken() * 3):
        path = tmp_path / "step.parquet"
        write_groups(path, taken)
        assert step_file.read_groups(path, worker) == taken
    (group,) = read(write_parquet(GOOD), tmp_path, worker)
    assert len(group.group.completions) == 4
    assert group.group.replies == [[Reply(1, (5, 6)), Reply(2, ())]] * 4


def test_waiting_and_delayed_groups_are_read_back(worker: ParquetWorker, tmp_path: Path) -> None:
    plain, other = make_taken()
    rollouts = DelayedRollout(7, 3, 1), DelayedRollout(2, 0, 0)
    taken = [replace(plain, delay=WAITING), other, replace(other, delay=Delay(b"s" * 32, rollouts))]
    write_groups(tmp_path / "step.parquet", taken)
    read_back = step_file.read_groups(tmp_path / "step.parquet", worker)
    assert read_back == taken
    assert [one.lesson and one.lesson.rewards for one in read_back] == [None, [10**6, 0], [10**6]]


def test_files_older_than_the_columns_of_delays_are_read(
    worker: ParquetWorker, tmp_path: Path
) -> None:
    """Whatever they have was learned from at once."""
    added = {"source", "tries", "solves", "counts"}
    path = tmp_path / "step.parquet"
    write_groups(path, make_taken())
    pq.write_table(pq.read_table(path).drop_columns(sorted(added)), path)
    assert step_file.read_groups(path, worker) == make_taken()
    assert {one.delay for one in make_taken()} == {None}


def listed(element: pa.DataType) -> pa.DataType:
    return pa.list_(element)


COLUMNS: dict[str, dict[str, Any]] = {
    "a part of a delay": {n: c for n, c in GOOD.items() if n != "counts"},
    "a column missing": {n: c for n, c in GOOD.items() if n != "reward"},
    "a column more": GOOD | {"note": GOOD["reward"]},
    "another order": dict(reversed(GOOD.items())),
    "wider tokens": GOOD | {"tokens": GOOD["tokens"].cast(listed(pa.uint64()))},
    "flat tokens": GOOD | {"tokens": GOOD["reward"]},
    "a hotkey of 31 bytes": GOOD | {"hotkey": pa.array([bytes(31)] * 4, pa.binary(31))},
    "nested lists": GOOD | {"tokens": pa.array([[[1]]] * 4, listed(listed(pa.uint32())))},
    "an empty row": GOOD | {"tokens": pa.array([[1], None, [2], [3]], GOOD["tokens"].type)},
    "an empty element": GOOD | {"tokens": pa.array([[1, None]] * 4, GOOD["tokens"].type)},
    "a reply without a place": GOOD | {"replies_at": pa.array([[1]] * 4, GOOD["tokens"].type)},
    "replies without a turn between": GOOD
    | {"replies_at": pa.array([[1, 1]] * 4, GOOD["tokens"].type)},
    "a reply behind the last turn": GOOD
    | {"replies_at": pa.array([[1, 3]] * 4, GOOD["tokens"].type)},
    "a reply that is nothing": GOOD
    | {"replies": pa.array([[[5], None]] * 4, GOOD["replies"].type)},
    "no reward": GOOD | {"reward": pa.array([1, 2, 3, None], pa.uint32())},
    "rows that are no group": GOOD | {"rollout": pa.array([1, 2, 3, 4], pa.uint32())},
    "a rollout twice": GOOD | {"rollout": pa.array([0, 1, 1, 2], pa.uint32())},
    "tries without a wait": GOOD | {"tries": pa.array([0, 0, 1, 0], pa.uint32())},
    "solves without a wait": GOOD | {"solves": pa.array([0, 0, 0, 1], pa.uint32())},
    "a part that waits": GOOD | {"counts": pa.array([1, 0, 1, 1], pa.uint32())},
    "counts of two": GOOD | {"counts": pa.array([1, 1, 2, 1], pa.uint32())},
    "two sources": GOOD
    | {"source": pa.array([b"s" * 32, bytes(32), b"s" * 32, b"s" * 32], pa.binary(32))},
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_that_are_no_steps(refuse: Any, name: str) -> None:
    refuse(write_parquet(COLUMNS[name]), "columns|empty|whole groups|nested|repl|count|tries")


LIES = {
    # name: (field of the footer, its false value, Thrift type if added)
    "300 million values": ((*CHUNK, NUM_VALUES), 300_000_000, None),
    "2^62 values": ((*CHUNK, NUM_VALUES), 1 << 62, None),
    "negative values": ((*CHUNK, NUM_VALUES), -1, None),
    "fewer values than there are": ((*CHUNK, NUM_VALUES), 5, None),
    "more values than there are": ((*CHUNK, NUM_VALUES), 256, None),
    "unpacks to a terabyte": ((*CHUNK, UNPACKED), 1 << 40, None),
    "unpacks to a negative size": ((*CHUNK, UNPACKED), -1, None),
    "chunk of a negative size": ((*CHUNK, PACKED), -5, None),
    "chunk of no bytes": ((*CHUNK, PACKED), 0, None),
    "chunk into the next one": ((*CHUNK, PACKED), 700, None),
    "chunk at a negative offset": ((*CHUNK, DATA_PAGE), -4, None),
    "chunk past all integers": ((*CHUNK, DATA_PAGE), (1 << 63) - 1, None),
    "data in another file": ((ROW_GROUPS, 0, 1, TOKENS, 1), b"/etc/passwd", BINARY),
    "huge num_rows": ((3,), 1 << 62, None),
    "negative num_rows": ((3,), -1, None),
    "row group of 2^40 rows": ((ROW_GROUPS, 0, 3), 1 << 40, None),
    "row group without columns": ((ROW_GROUPS, 0, 1), [STRUCT, []], LIST),
    "column of another type": ((*CHUNK, 1), 6, None),
    "unknown compression": ((*CHUNK, 4), 99, None),
    "schema with a billion children": ((2, 0, 5), 1 << 30, None),
    "schema with negative children": ((2, 0, 5), -1, None),
}


@pytest.mark.parametrize("name", LIES)
def test_lying_footer(worker: ParquetWorker, honest: bytes, tmp_path: Path, name: str) -> None:
    """The file is refused, or the false value is ignored and all else is there."""
    data = lie(honest, *LIES[name])
    if name in ("data in another file", "chunk past all integers"):
        assert read(data, tmp_path, worker) == make_taken()
    else:
        with pytest.raises(ValueError, match=r"."):
            read(data, tmp_path, worker)


def test_forty_thousand_schema_elements(refuse: Any, honest: bytes) -> None:
    body, footer = split_file(honest)
    footer[2][1][1] += [footer[2][1][1][-1]] * 40_000
    refuse(join_file(body, footer))


def test_junk(refuse: Any, honest: bytes) -> None:
    source = random.Random(1)
    for length in (0, 1, 7, 8, 11, 12, 13, 100, 5_000):
        refuse(source.randbytes(length))
        refuse(join_file(b"PAR1", source.randbytes(length)))
    for length in range(0, len(honest), 411):
        refuse(honest[:length])


# --- small files that decode to gigabytes


def make_page(kind: int, field: int, head: dict[int, Any], data: bytes, **lies: Any) -> bytes:
    packed = lies.get("packed") or pa.Codec("zstd").compress(data, asbytes=True)
    sizes = {1: [I32, kind], 2: [I32, lies.get("unpacked", len(data))], 3: [I32, len(packed)]}
    return write_thrift(sizes | {field: [STRUCT, head]}) + packed


def make_bomb(values: int, claimed: int, **lies: Any) -> bytes:
    """One row group whose tokens are `values` equal numbers in a few runs, all but three in its
    first row. The footer claims `claimed` of them; `lies` change the page's head."""
    body, footer = split_file(write_parquet(GOOD, use_dictionary=False, write_statistics=False))
    runs = [(1, 0), (values - 4, 1), (3, 0)]  # repetition: 0 starts a row
    levels = [runs, [(values, 3)]]  # three levels of definition: the list and its elements
    packed = [b"".join(write_varint(n << 1) + bytes([v]) for n, v in level) for level in levels]
    data = b"".join(len(level).to_bytes(4, "little") + level for level in packed)
    data += b"\1" + write_varint(values << 1) + b"\0"  # index 0 of the dictionary, for ever
    dictionary = make_page(2, 7, {1: [I32, 1], 2: [I32, 0]}, bytes(4))
    head = {1: [I32, values], 2: [I32, 8], 3: [I32, 3], 4: [I32, 3]}
    chunk = dictionary + make_page(0, 5, head, data, **lies)
    meta = footer[ROW_GROUPS][1][1][0][1][1][1][TOKENS][3][1]
    meta[DICTIONARY_PAGE] = [INT64, len(body)]
    meta[DATA_PAGE][1] = len(body) + len(dictionary)
    meta[NUM_VALUES][1] = claimed
    meta[PACKED][1] = len(chunk)
    meta[2][1] = [I32, [0, 3, 8]]
    return join_file(body + chunk, footer)


def assert_sandboxed(worker: ParquetWorker) -> None:
    """The limits under which the child runs. Resident memory is part of its address space."""
    if worker.pid is None:
        return  # the last one died of it; the next is checked after its first request
    limit = resource.prlimit(worker.pid, resource.RLIMIT_AS)[1]
    assert limit <= MEMORY_BYTES + (1 << 30)
    assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(worker.pid, resource.RLIMIT_FSIZE) == (0, 0)
    assert resource.prlimit(worker.pid, resource.RLIMIT_CPU)[0] != resource.RLIM_INFINITY
    status = Path(f"/proc/{worker.pid}/status").read_text().split()
    assert int(status[status.index("VmPeak:") + 1]) << 10 <= limit


def test_empty_replies_cost_no_object_each(refuse: Any) -> None:
    """2^27 of them fit a file of 5 kB."""
    count = 200_000
    row, kind = [[[]] * count], GOOD["replies"].type
    columns = {name: column[:1] for name, column in GOOD.items()} | {"replies": pa.array(row, kind)}
    data = write_parquet(columns)
    assert len(data) < 8_000
    tracemalloc.start()
    try:
        refuse(data, "between two turns")
        assert tracemalloc.get_traced_memory()[1] < 40 * count
    finally:
        tracemalloc.stop()


def test_runs_are_read(refuse: Any) -> None:
    """Without its excess the bomb is sound: its rows are refused for their content."""
    refuse(make_bomb(60, 60), "for each|each reply")


@pytest.mark.parametrize("claimed", [60, (1 << 31) - 1])
@pytest.mark.parametrize("values", [300_000_000, (1 << 31) - 1])
def test_300_million_values(refuse: Any, worker: ParquetWorker, values: int, claimed: int) -> None:
    data = make_bomb(values, claimed)
    assert len(data) < 8_000
    refuse(data, "values|footer claims")
    assert_sandboxed(worker)


@pytest.mark.parametrize("unpacked", [1 << 30, (1 << 31) - 1, -1])
def test_page_that_says_it_unpacks_to_gigabytes(
    refuse: Any, worker: ParquetWorker, unpacked: int
) -> None:
    refuse(make_bomb(60, 60, unpacked=unpacked), "footer claims|neither data")
    assert_sandboxed(worker)


def test_page_that_does_unpack_to_a_gigabyte(refuse: Any, worker: ParquetWorker) -> None:
    frame = pa.Codec("zstd").compress(bytes(1 << 24), asbytes=True)
    data = make_bomb(60, 60, packed=frame * 64)
    assert len(data) < 1 << 17
    refuse(data)
    assert_sandboxed(worker)


def test_ten_thousand_pages(refuse: Any, honest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost a decoder seconds."""
    monkeypatch.setattr(step_file, "PAGES_MAX", 9_999)
    body, footer = split_file(write_parquet(GOOD))
    last = footer[ROW_GROUPS][1][1][0][1][1][1][-1][3][1]
    head = {1: [I32, 0], 2: [I32, 0], 3: [I32, 3], 4: [I32, 3]}
    more = make_page(0, 5, head, b"") * 10_000
    last[PACKED][1] += len(more)
    refuse(join_file(body + more, footer), "more than 9999 data pages")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DATA_BYTES_MAX", "bytes"),
        ("ROWS_MAX", "rows"),
        ("VALUES_MAX", "values"),
        ("UNPACKED_MAX", "unpacks"),
    ],
)
def test_more_than_any_step_has(
    worker: ParquetWorker, honest: bytes, tmp_path: Path, name: str, words: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(step_file, name, 3)
    with pytest.raises(ValueError, match=words):
        read(honest, tmp_path, worker)


@pytest.mark.parametrize("reply", [b"", bytes(7), bytes(8), b"\xff" * 8, b"\1" + bytes(99)])
def test_child_whose_answer_has_no_form(tmp_path: Path, honest: bytes, reply: bytes) -> None:
    class Possessed(ParquetWorker):
        def parse(self, *_: Any) -> bytes:
            return reply

    with pytest.raises(ValueError, match=r"."):
        read(honest, tmp_path, Possessed("parser", ""))
