"""A step's file, small, and tools to make files that lie about themselves."""

import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.steps.file import ConsumedGroup, read_groups, write_groups
from assay.artifacts.steps.parquet_worker import ParquetWorker
from assay.artifacts.steps.parser import SCHEMA
from assay.protocol.episode import Reply
from assay.training import Group

ROWS = 4


def make_taken() -> list[ConsumedGroup]:
    """Two groups of two rollouts, one of them an episode of three turns."""
    return [
        ConsumedGroup(
            Group(
                [7, 8],
                [[1, 2, 3], [4]],
                [1_000_000, 0],
                [[-0.5, -1.0, 0.0], [-2.0]],
                [[Reply(1, (9, 9, 8)), Reply(2, ())], []],
            ),
            window=9,
            hotkey=b"h" * 32,
            index=index,
            checkpoint=b"c" * 32,
            proof=b"p" * 32,
            problem_seed=b"s" * 32,
            levels=(1, 2),
        )
        for index in (0, 5)
    ]


def read(data: bytes, folder: Path, worker: ParquetWorker) -> list[ConsumedGroup]:
    """See `read_groups`."""
    path = folder / "step.parquet"
    path.write_bytes(data)
    return read_groups(path, worker)


def write_step(folder: Path) -> bytes:
    path = folder / "honest.parquet"
    write_groups(path, make_taken())
    return path.read_bytes()


def make_columns(rows: int = ROWS) -> dict[str, Any]:
    """Columns as they should be, of one group."""
    values = {"rollout": list(range(rows)), "tries": [0] * rows, "solves": [0] * rows}
    for field in SCHEMA:
        kind = field.type
        one: Any = [1, 2, 3] if pa.types.is_list(kind) else 1
        one = {"replies_at": [1, 2], "replies": [[5, 6], []]}.get(field.name, one)
        one = bytes(32) if pa.types.is_fixed_size_binary(kind) else one
        values.setdefault(field.name, [one] * rows)
    return {field.name: pa.array(values[field.name], field.type) for field in SCHEMA}


def write_parquet(columns: dict[str, Any], **options: Any) -> bytes:
    schema = pa.schema([pa.field(name, column.type) for name, column in columns.items()])
    out = io.BytesIO()
    options = {"compression": "zstd"} | options
    pq.write_table(pa.Table.from_arrays(list(columns.values()), schema=schema), out, **options)
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
    """The bytes before the footer, and the decoded footer."""
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    return data[:start], read_thrift(io.BytesIO(data[start:-8]))


def join_file(body: bytes, footer: Any) -> bytes:
    packed = footer if isinstance(footer, bytes) else write_thrift(footer)
    return body + packed + len(packed).to_bytes(4, "little") + b"PAR1"


def set_field(struct: Any, path: tuple[int, ...], value: Any, kind: int | None = None) -> None:
    """Set the value at `path`: field numbers of structs, indices of lists. `kind` adds a field."""
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
