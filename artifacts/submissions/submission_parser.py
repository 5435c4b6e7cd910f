"""What the child of a ParquetWorker makes of a submission: canonical bytes, or whose fault it is.

Everything is refused by counts (row groups, values, bytes, pages) before a decoder sees it, so
that what a decoder can cost is bounded, and bounded alike on every machine.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from assay.artifacts.parquet.parquet_pages import check_pages
from assay.artifacts.parquet.parquet_worker import FileFault, FileRange, open_parquet
from assay.artifacts.submissions import submission_layout as layout
from assay.artifacts.submissions.submission_layout import SubmissionLimits
from assay.protocol import EncodingError, Reason
from assay.protocol.encoding import read_hex
from assay.protocol.submission import SKETCH_COLUMNS

_TYPES = ("INT32", "INT32", "BYTE_ARRAY")


def answer(request: bytes) -> bytes:
    """The child's work: answers what SubmissionFile asks. Raises FileFault: the file breaks a rule
    of section 4. Besides, whatever pyarrow raises."""
    operation, *sizes, size, length = layout.REQUEST.unpack_from(request)
    limits = SubmissionLimits(*sizes)
    end = layout.REQUEST.size + length
    # A footer alone, its trailer put back, parses like a file.
    tail = request[layout.REQUEST.size : end] + length.to_bytes(4, "little") + layout.MAGIC
    # More items than allowed, so that row groups too many are told as such.
    items = 16 * limits.group_cap
    parquet = open_parquet(FileRange(len(tail), 0, tail), items)
    if operation == layout.FOOTER:
        return _answer_footer(parquet, limits)
    metadata = parquet.metadata

    def answer_group(index: int, start: int, data: bytes) -> bytes:
        for chunk in _find_chunks(metadata, index, limits):
            pages = data[max(0, chunk.start - start) : chunk.end - start]
            check_pages(pages, chunk.where, chunk.values, chunk.unpacked, limits.group_size)
        parquet = open_parquet(FileRange(size, start, data), items, metadata)
        table = parquet.read_row_group(index, use_threads=False)
        return encode_rows(table, index, metadata.row_group(index).column(0).num_values)

    replies = []
    while end < len(request):
        head = end + layout.GROUP_REQUEST.size + layout.PART.size
        (count,) = layout.PART.unpack_from(request, end + layout.GROUP_REQUEST.size)
        index, start = layout.GROUP_REQUEST.unpack_from(request, end)
        rows = answer_group(index, start, request[head : head + count])
        replies += [layout.PART.pack(len(rows)), rows]
        end = head + count
    return b"".join(replies)


def _answer_footer(parquet: Any, limits: SubmissionLimits) -> bytes:
    _check_schema(parquet)
    metadata = parquet.metadata
    count = metadata.num_row_groups
    if count > limits.group_cap:
        raise FileFault(f"{count} row groups, more than {limits.group_cap}", Reason.TOO_LARGE)
    header, leaves = _read_claims(metadata.metadata or {})
    if len(leaves) != layout.LEAF * count or not count:
        raise FileFault(
            f"{layout.LEAVES_KEY} has {len(leaves)} bytes for {count} row groups: write 32 for "
            "each, and one row group for each problem"
        )
    chunks = [_find_chunks(metadata, index, limits) for index in range(count)]
    if metadata.num_rows != count * limits.group_size:
        raise FileFault(f"the footer says {metadata.num_rows} rows; its row groups say otherwise")
    packed = b"".join(layout.RANGE.pack(found[0].start, found[-1].end) for found in chunks)
    return layout.FOOTER_REPLY.pack(len(header), count) + header + leaves + packed


def _read_claims(values: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Header and joined leaves. Other keys are refused: `ARROW:schema` would change the types."""
    wanted = (layout.HEADER_KEY, layout.LEAVES_KEY)
    if extra := {key.decode(errors="replace") for key in values} - set(wanted):
        raise FileFault(f"the footer carries {min(extra)!r}: write only {' and '.join(wanted)}")
    found = []
    for key in wanted:
        if key.encode() not in values:
            raise FileFault(f"the footer has no {key}")
        try:
            found.append(read_hex(values[key.encode()].decode(errors="replace")))
        except EncodingError as error:
            raise FileFault(f"{key} {error}") from error
    if len(found[0]) > layout.HEADER_MAX:
        raise FileFault(
            f"{layout.HEADER_KEY} has {len(found[0])} bytes, more than {layout.HEADER_MAX}"
        )
    return found[0], found[1]


def _check_schema(parquet: Any) -> None:
    """The paths say that lists are written in the one way that we write them; Arrow, the types."""
    paths = tuple(parquet.schema.column(i).path for i in range(len(parquet.schema)))
    if paths != layout.PATHS:
        text = ", ".join(paths)[:200]
        raise FileFault(f"the columns must be {', '.join(layout.PATHS)}; the file has {text}")
    for wanted, found in zip(layout.make_schema(), parquet.schema_arrow, strict=True):
        if not wanted.equals(found):
            raise FileFault(f"column {wanted} is what is read; the file has {str(found)[:200]}")


@dataclass(frozen=True, slots=True)
class _Chunk:
    """One column of one row group as the footer describes it. where: what to call it."""

    start: int
    end: int
    values: int
    unpacked: int
    where: str


def _find_chunks(metadata: Any, index: int, limits: SubmissionLimits) -> list[_Chunk]:
    """The columns of a row group, after a check that reading them is bounded."""
    group = metadata.row_group(index)
    if group.num_rows != limits.group_size:
        rows = f"{group.num_rows} rows, not the {limits.group_size} rollouts of one problem"
        raise FileFault(f"row group {index} has {rows}")
    if group.num_columns != len(layout.PATHS):
        raise FileFault(f"row group {index} has {group.num_columns} columns")
    found = [_find_chunk(group.column(i), i, index, limits) for i in range(len(layout.PATHS))]
    if any(left.end > right.start for left, right in pairwise(found)):
        raise FileFault(f"the columns of row group {index} overlap or are out of order")
    return found


def _find_chunk(chunk: Any, position: int, index: int, limits: SubmissionLimits) -> _Chunk:
    where = f"column {layout.PATHS[position]} of row group {index}"
    kind = (chunk.path_in_schema, chunk.physical_type, chunk.compression, chunk.file_path)
    if kind != (layout.PATHS[position], _TYPES[position], "ZSTD", ""):
        raise FileFault(f"{where} is not zstd data in this file")
    values = chunk.num_values
    most = limits.group_tokens if position < len(layout.LISTS) else limits.group_size
    if values < limits.group_size:
        raise FileFault(f"{where} has {values} values for {limits.group_size} rows")
    if values > most:
        raise FileFault(f"{where} has {values} values, more than {most}", Reason.TOO_LARGE)
    for size in (chunk.total_compressed_size, chunk.total_uncompressed_size):
        if size <= 0:
            raise FileFault(f"{where} has {size} bytes")
        if size > limits.range_bytes:
            detail = f"{where} has {size} bytes, more than {limits.range_bytes}"
            raise FileFault(detail, Reason.TOO_LARGE)
    # Its first page, as the parser computes it, may be a dictionary.
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < start:
        start = chunk.dictionary_page_offset
    end = start + chunk.total_compressed_size
    return _Chunk(start, end, values, chunk.total_uncompressed_size, where)


def encode_rows(table: Any, index: int, claimed: int) -> bytes:
    """Canonical bytes of a decoded row group, a pyarrow.Table.

    Its lists may hold rows beyond those that are read: that they are as many values as the footer
    has `claimed` is checked first.

    Raises:
        FileFault: the rows break a rule of section 4. ArrowInvalid: the table is none.
    """
    table.validate(full=True)
    tokens, logprobs = (table.column(name).combine_chunks() for name in layout.LISTS)
    offsets = tokens.offsets.to_numpy()
    values = np.maximum(np.diff(offsets), 1).sum()  # an empty list counts as one
    if values != claimed:
        raise FileFault(f"row group {index} does not hold the values that the footer claims")
    if not np.array_equal(offsets, logprobs.offsets.to_numpy()):
        raise FileFault(f"row group {index}: tokens and logprobs differ in length")
    numbers = [column.values.to_numpy().astype(">u4") for column in (tokens, logprobs)]
    rows = []
    for row, sketch in enumerate(table.column("sketch").to_pylist()):
        start, end = offsets[row : row + 2]
        if start == end or len(sketch) != SKETCH_COLUMNS * (end - start):
            sizes = f"{end - start} tokens and {len(sketch)} bytes of sketch"
            rule = f"write at least one token, {SKETCH_COLUMNS} bytes for each"
            raise FileFault(f"row {row} of row group {index} has {sizes}; {rule}")
        rows.append(int(end - start).to_bytes(4, "big"))
        rows += [column[start:end].tobytes() for column in numbers]
        rows.append(sketch)
    return b"".join(rows)
