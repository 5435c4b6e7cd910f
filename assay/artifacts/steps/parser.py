"""The child of a step's parser: reads `step.parquet`'s columns as plain numbers.

The file may come from a stranger's store. So native code reads it only in a sandbox
(`parquet_worker`), and rows, values, bytes and pages are counted before a decoder sees them. The
parent interprets the numbers (`file`), and the step's root shows whether they are the ones
that the step consumed.
"""

import struct
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.steps.parquet_pages import check_pages
from assay.artifacts.steps.parquet_worker import FileFault, serve
from assay.protocol.hashing import ZERO_DIGEST

#: A request: most bytes, rows, values, unpacked bytes, pages of a column of a row group, then a
#: path. An answer: rows.
LIMITS, HEAD = struct.Struct("<QQQQQ"), struct.Struct("<Q")
#: Address space that the child may add: the largest file, one of its columns and the answer, twice.
MEMORY_BYTES = 6 << 30
#: Most elements of a list in the footer: columns of all row groups.
_ITEMS_MAX = 1 << 16
SCHEMA = pa.schema(
    [
        ("window", pa.uint64()),
        ("hotkey", pa.binary(32)),
        ("group", pa.uint32()),
        ("rollout", pa.uint32()),
        ("checkpoint", pa.binary(32)),
        ("proof", pa.binary(32)),
        ("problem_seed", pa.binary(32)),
        ("levels", pa.list_(pa.uint32())),
        ("prompt", pa.list_(pa.uint32())),
        ("tokens", pa.list_(pa.uint32())),
        ("replies_at", pa.list_(pa.uint32())),
        ("replies", pa.list_(pa.list_(pa.uint32()))),
        ("logprobs", pa.list_(pa.uint32())),
        ("reward", pa.uint32()),
        ("source", pa.binary(32)),
        ("tries", pa.uint32()),
        ("solves", pa.uint32()),
        ("counts", pa.uint32()),
    ]
)
#: The columns of files that are older than delayed proposals, which have no group that waits or has
#: waited: all are learned from at once.
_AT_ONCE = pa.schema(list(SCHEMA)[: SCHEMA.get_field_index("source")])


def serve_steps() -> None:
    serve(answer, MEMORY_BYTES)


def answer(request: bytes) -> bytes:
    """The columns of the file at a path, one after the other: little-endian numbers and raw bytes;
    for lists their lengths (u32 each), then their values, which may be lists again.

    Raises:
        FileFault: it is not a step's, or reading it would take more than for any honest step. Also
            raises pyarrow's errors.
    """
    most, rows_max, *limits = LIMITS.unpack_from(request)
    with open(request[LIMITS.size :], "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FileFault(f"it has more than {most:,} bytes")
    # everything off that would help an attacker
    parquet = pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        thrift_container_size_limit=_ITEMS_MAX,
        schema_depth_limit=6,
        arrow_extensions_enabled=False,
    )
    schema = parquet.schema_arrow
    if not any(map(schema.equals, (SCHEMA, _AT_ONCE))):
        raise FileFault("its columns are not a step's")
    rows = parquet.metadata.num_rows
    if not 0 <= rows <= rows_max:
        raise FileFault(f"it has {rows:,} rows; at most {rows_max:,} are accepted")
    _check_size(parquet.metadata, data, *limits)
    parts = [HEAD.pack(rows)]
    for field in schema:
        column = parquet.read([field.name], use_threads=False).column(0)
        parts += _encode_column(column, field, rows)
    for field in list(SCHEMA)[len(schema) :]:
        number = struct.pack("<I", field.name == "counts")
        parts.append((number if field.type == pa.uint32() else ZERO_DIGEST) * rows)
    return b"".join(parts)


def _check_size(
    metadata: Any, data: bytes, values_max: int, unpacked_max: int, pages_max: int
) -> None:
    """Check the footer against the limits, and every page's head against the footer."""
    values = unpacked = 0
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            start = chunk.data_page_offset
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
                start = chunk.dictionary_page_offset
            if min(chunk.num_values, chunk.total_uncompressed_size, start) < 0:
                raise FileFault("a column has fewer than no values")
            values += chunk.num_values
            unpacked += chunk.total_uncompressed_size
            if values > values_max or unpacked > unpacked_max:
                raise FileFault(
                    f"it unpacks to more than {values_max:,} values or {unpacked_max:,} bytes"
                )
            pages = data[start : start + chunk.total_compressed_size]
            where, size = chunk.path_in_schema, chunk.total_uncompressed_size
            check_pages(pages, where, chunk.num_values, size, pages_max)


def _encode_column(column: Any, field: pa.Field, rows: int) -> list[bytes]:
    column.validate(full=True)
    array = column.combine_chunks()
    if len(array) != rows or array.null_count:
        raise FileFault(f"column {field.name} has empty rows, or not {rows:,} of them")
    parts = []
    while pa.types.is_list(array.type):
        lengths, array = np.diff(array.offsets.to_numpy()), array.flatten()
        if array.null_count or lengths.sum() != len(array):
            raise FileFault(f"column {field.name} has empty elements")
        parts.append(lengths.astype("<u4").tobytes())
    return [*parts, _encode_values(array)]


def _encode_values(array: Any) -> bytes:
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        data = array.buffers()[1]
        start = width * array.offset
        return b"" if data is None else data[start : start + width * len(array)].to_pybytes()
    kind = "<u8" if pa.types.is_uint64(array.type) else "<u4"
    numbers: bytes = array.to_numpy(zero_copy_only=False).astype(kind).tobytes()
    return numbers
