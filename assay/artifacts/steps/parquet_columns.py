"""Columns of a stranger's Parquet file as plain numbers: counted and read by a child in a sandbox,
and unpacked by its parent, who does not trust the answer.

Rows, values, bytes and pages are counted before a decoder sees them. What the numbers mean is the
caller's business.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assay.artifacts.steps.parquet_pages import check_pages
from assay.artifacts.steps.parquet_worker import FileFault

_HEAD, _LIMITS = struct.Struct("<Q"), struct.Struct("<QQQQQ")
#: Most elements of a list in the footer: columns of all row groups.
_ITEMS_MAX = 1 << 16
Column = list[Any]


@dataclass(frozen=True, slots=True)
class ColumnLimits:
    """Most bytes of a file, rows, values of all columns (an element of a list counts as one),
    unpacked bytes, and pages of a column of a row group."""

    data_bytes: int
    rows: int
    values: int
    unpacked: int
    pages: int

    def pack(self) -> bytes:
        """The beginning of a request."""
        return _LIMITS.pack(self.data_bytes, self.rows, self.values, self.unpacked, self.pages)

    def compute_reply_bytes(self, schema: pa.Schema) -> int:
        """Most bytes of the columns of a file within these limits."""
        row_bytes = sum(
            4 if pa.types.is_list(field.type) else field.type.byte_width for field in schema
        )
        # beside a value, the length of a list within a list may be its own
        return _HEAD.size + self.rows * row_bytes + 8 * self.values


def divide_request(request: bytes) -> tuple[ColumnLimits, bytes]:
    """The limits at a request's beginning, and the rest."""
    return ColumnLimits(*_LIMITS.unpack_from(request)), request[_LIMITS.size :]


def read_columns(
    data: bytes, limits: ColumnLimits, schemas: Sequence[pa.Schema], whose: str
) -> tuple[pa.Schema, int, bytes]:
    """The columns of a file, one after the other: little-endian numbers and raw bytes; for lists
    their lengths (u32 each), then their values, which may be lists again. For the child.

    Args:
        schemas: the file has one of them.
        whose: whose columns they are, for messages.

    Returns:
        The file's schema; its number of rows; the number and then the columns.

    Raises:
        FileFault: it has other columns, or reading it would take more than the limits. Also raises
            pyarrow's errors.
    """
    if len(data) > limits.data_bytes:
        raise FileFault(f"it has more than {limits.data_bytes:,} bytes")
    # everything off that would help an attacker
    parquet = pq.ParquetFile(
        pa.BufferReader(data),
        pre_buffer=False,
        thrift_container_size_limit=_ITEMS_MAX,
        schema_depth_limit=6,
        arrow_extensions_enabled=False,
    )
    schema = parquet.schema_arrow
    if not any(map(schema.equals, schemas)):
        raise FileFault(f"its columns are not {whose}")
    rows = parquet.metadata.num_rows
    if not 0 <= rows <= limits.rows:
        raise FileFault(f"it has {rows:,} rows; at most {limits.rows:,} are accepted")
    _check_size(parquet.metadata, data, limits.values, limits.unpacked, limits.pages)
    parts = [_HEAD.pack(rows)]
    for field in schema:
        column = parquet.read([field.name], use_threads=False).column(0)
        parts += _encode_column(column, field, rows)
    return schema, rows, b"".join(parts)


def unpack_columns(reply: bytes, schema: pa.Schema, rows_max: int) -> dict[str, Column]:
    """The child's answer by column. The answer is not trusted. Raises ValueError: it is none."""
    (rows,) = _HEAD.unpack_from(reply.ljust(_HEAD.size, b"\0"))
    if rows > rows_max:
        raise ValueError("the parser lost its way in this file")
    offset = _HEAD.size
    columns: dict[str, Column] = {}

    def take(count: int, kind: str) -> np.ndarray[Any, Any]:
        nonlocal offset
        size = count * np.dtype(kind).itemsize
        if offset + size > len(reply):
            raise ValueError("the parser lost its way in this file")
        values = np.frombuffer(reply, kind, count, offset)
        offset += size
        return values

    def take_bounds(count: int) -> np.ndarray[Any, Any]:
        bounds = np.zeros(count + 1, np.int64)
        np.cumsum(take(count, "<u4"), out=bounds[1:])
        return bounds

    def take_lists(count: int, element: pa.DataType) -> Column:
        """Lists of numbers. Of lists of them the bounds, and the values of all rows: a file can
        have 2^27 empty ones, and an object for each would fill the memory."""
        rows = list(pairwise(take_bounds(count).tolist()))
        whole = rows[-1][1] if rows else 0
        if not pa.types.is_list(element):
            values = take(whole, "<u4")
            return [values[start:end] for start, end in rows]
        bounds = take_bounds(whole)
        values = take(int(bounds[-1]), "<u4")
        return [(bounds[start : end + 1], values) for start, end in rows]

    for field in schema:
        if pa.types.is_list(field.type):
            columns[field.name] = take_lists(rows, field.type.value_type)
        elif pa.types.is_fixed_size_binary(field.type):
            width = field.type.byte_width
            data = take(rows * width, "u1").tobytes()
            columns[field.name] = [data[i : i + width] for i in range(0, len(data), width)]
        else:
            columns[field.name] = take(rows, f"<u{field.type.byte_width}").tolist()
    return columns


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
    kind = f"<u{array.type.byte_width}"
    numbers: bytes = array.to_numpy(zero_copy_only=False).astype(kind).tobytes()
    return numbers
