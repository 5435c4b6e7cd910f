"""What the tests of Parquet files share: small submissions, and tools to make files that lie."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_layout import SubmissionLimits
from assay.protocol import Header, Reason, Refusal, Rollout

LIMITS = SubmissionLimits(group_size=4, group_cap=8, max_tokens=64)


class MemorySource:
    """An object in memory that remembers which ranges were read."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def size(self) -> int | None:
        return None if self.data is None else len(self.data)

    def read(self, start: int, end: int) -> bytes | None:
        self.reads.append((start, end))
        return None if self.data is None else self.data[start:end]


def make_rollout(random: np.random.Generator, length: int) -> Rollout:
    return Rollout(
        tokens=random.integers(0, 2**32, length, dtype=np.uint32),
        logprobs=random.integers(0, 2**24, length, dtype=np.uint32),
        sketch=random.integers(-128, 128, (length, 2), dtype=np.int8),
    )


def make_groups(count: int, group_size: int = LIMITS.group_size) -> list[list[Rollout]]:
    random = np.random.default_rng(count)
    lengths = random.integers(1, LIMITS.max_tokens + 1, (count, group_size))
    return [[make_rollout(random, int(length)) for length in row] for row in lengths]


def make_header(count: int) -> Header:
    return Header(1, b"p" * 32, 7, b"h" * 32, b"c" * 32, count)


def expect(found: Any, reason: Reason, words: str = "") -> None:
    """A refusal for that reason, in one printable sentence that has those words."""
    assert isinstance(found, Refusal), found
    assert found.reason is reason
    assert words in found.detail
    assert found.detail.isprintable()
    assert len(found.detail) <= 320


@pytest.fixture(scope="session")
def worker() -> Iterator[ParquetWorker]:
    with ParquetWorker() as running:
        yield running


@pytest.fixture(scope="session")
def groups() -> list[list[Rollout]]:
    return make_groups(3)


@pytest.fixture(scope="session")
def honest(groups: list[list[Rollout]]) -> bytes:
    return write_submission(make_header(len(groups)), groups)


@pytest.fixture(scope="session")
def open_bytes(worker: ParquetWorker) -> Callable[..., SubmissionFile]:
    def open_bytes(data: bytes | None, limits: SubmissionLimits = LIMITS) -> SubmissionFile:
        return SubmissionFile(MemorySource(data), worker, limits)

    return open_bytes


@pytest.fixture(scope="session")
def judge_bytes(open_bytes: Callable[..., SubmissionFile]) -> Callable[..., Any]:
    """Reads the footer, then every group: the first Refusal, or the groups' bytes."""

    def judge_bytes(data: bytes | None, limits: SubmissionLimits = LIMITS) -> Any:
        file = open_bytes(data, limits)
        footer = file.read_footer()
        if not hasattr(footer, "leaves"):
            return footer
        found = [file.read_group(index) for index in range(len(footer.leaves))]
        return next((group for group in found if not isinstance(group, bytes)), found)

    return judge_bytes


def make_columns(lengths: list[int]) -> dict[str, Any]:
    """Columns as they should be, one row for each length."""
    element = pa.list_(pa.field("element", pa.uint32(), nullable=False))
    numbers = pa.array([list(range(length)) for length in lengths], element)
    sketches = pa.array([bytes(2 * length) for length in lengths], pa.binary())
    return {"tokens": numbers, "logprobs": numbers, "sketch": sketches}


def write_parquet(
    columns: dict[str, Any],
    row_groups: int = 1,
    leaves: int = 1,
    nullable: bool = False,
    keys: dict[str, str] | None = None,
    **options: Any,
) -> bytes:
    """A Parquet file of `columns`, `row_groups` times over, with header and leaves of zeros."""
    schema = pa.schema([pa.field(n, c.type, nullable=nullable) for n, c in columns.items()])
    options = {"compression": "zstd", "store_schema": False, "write_statistics": False} | options
    out = io.BytesIO()
    with pq.ParquetWriter(out, schema, **options) as writer:
        for _ in range(row_groups):
            writer.write_table(pa.Table.from_arrays(list(columns.values()), schema=schema))
        default = {"assay.header": "00" * 110, "assay.leaves": "00" * 32 * leaves}
        writer.add_key_value_metadata(default if keys is None else keys)
    return out.getvalue()


# Thrift's compact protocol, as far as Parquet uses it: a struct is {field: [type, value]}, a list
# [element type, values]. So a real file's footer can be taken apart, given one lie, and put back.
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _STRUCT = 1, 2, 3, 7, 8, 9, 12


def read_thrift(stream: io.BytesIO, kind: int = _STRUCT) -> Any:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE
    if kind == _BINARY:
        return stream.read(_read_varint(stream))
    if kind == _LIST:
        head = stream.read(1)[0]
        count = head >> 4 if head >> 4 < 15 else _read_varint(stream)
        return [head & 15, [read_thrift(stream, head & 15) for _ in range(count)]]
    if kind != _STRUCT:
        value = stream.read(1)[0] if kind == _BYTE else _read_varint(stream)
        return value if kind == _BYTE else value >> 1 ^ -(value & 1)
    struct: dict[int, list[Any]] = {}
    field = 0
    while head := stream.read(1)[0]:
        field = field + (head >> 4) if head >> 4 else _unzigzag(_read_varint(stream))
        struct[field] = [head & 15, read_thrift(stream, head & 15)]
    return struct


def write_thrift(value: Any, kind: int = _STRUCT) -> bytes:
    if kind in (_TRUE, _FALSE):
        return b""
    if kind == _BYTE:
        return bytes([value & 255])
    if kind == _BINARY:
        return write_varint(len(value)) + value
    if kind == _LIST:
        element, items = value
        return (
            bytes([0xF0 | element])
            + write_varint(len(items))
            + b"".join(write_thrift(item, element) for item in items)
        )
    if kind != _STRUCT:
        return write_varint((value << 1 ^ value >> 63) & (1 << 64) - 1)
    parts = [
        bytes([inner]) + write_varint(field << 1) + write_thrift(item, inner)
        for field, (inner, item) in sorted(value.items())
    ]
    return b"".join(parts) + b"\0"


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


def _read_varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = stream.read(1)[0]
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def write_varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def split_file(data: bytes) -> tuple[bytes, Any]:
    """What precedes the footer, and the footer taken apart."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:start], read_thrift(io.BytesIO(data[start:-8]))


def join_file(body: bytes, footer: Any) -> bytes:
    packed = footer if isinstance(footer, bytes) else write_thrift(footer)
    return body + packed + len(packed).to_bytes(4, "little") + b"PAR1"


def set_field(struct: Any, path: tuple[int, ...], value: Any, kind: int | None = None) -> None:
    """Sets what lies at `path`: field numbers of structs, indices of lists. `kind` adds a field."""
    *way, last = path
    for step in way:
        struct = struct[1][step] if isinstance(struct, list) else struct[step][1]
    if isinstance(struct, list):
        struct[1][last] = value
    elif kind is not None:
        struct[last] = [kind, value]
    else:
        struct[last][1] = value


def lie(data: bytes, path: tuple[int, ...], value: Any, kind: int | None = None) -> bytes:
    """The same file with one field of its footer changed."""
    body, footer = split_file(data)
    set_field(footer, path, value, kind)
    return join_file(body, footer)


def list_fields(value: Any, at: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Any]]:
    """Path and value of every number and string of a footer, for `set_field`."""
    if isinstance(value, dict):
        items = [(number, inner) for number, (_, inner) in value.items()]
    elif isinstance(value, list):
        items = list(enumerate(value[1]))
    else:
        return [] if isinstance(value, bool) else [(at, value)]
    return [found for key, inner in items for found in list_fields(inner, (*at, key))]
