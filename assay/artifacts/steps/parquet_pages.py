"""Walks the pages of a Parquet column, head by head, before a decoder sees them.

The cost of decoding depends on the pages, which the footer does not list. Ten thousand pages of one
value each, or one that unpacks to a gigabyte, fit into a row group that looks honest. Reading the
heads alone is cheap, and gives the same result everywhere, unlike a limit on CPU time.

Sources: Parquet's `parquet.thrift` (PageHeader), Thrift's compact protocol. For the child of a
ParquetWorker.
"""

from dataclasses import dataclass
from typing import Any

from assay.artifacts.steps.parquet_worker import FileFault

_DATA, _DICTIONARY, _DATA_V2 = 0, 2, 3  # types of pages
_TYPE, _UNPACKED, _PACKED = 1, 2, 3  # fields of every page's head
_HEADS = {_DATA: 5, _DICTIONARY: 7, _DATA_V2: 8}  # field that holds the head of each type
_VALUES = 1  # field of all three
_TRUE, _FALSE, _BINARY, _STRUCT = 1, 2, 8, 12  # types of the compact protocol
_INTEGERS = (4, 5, 6)
#: Most nested structs: the head, a data page's, its statistics.
_DEPTH_MAX = 3
#: Bytes of a varint of 64 bits.
_VARINT_MAX = 10


def check_pages(data: bytes, where: str, values: int, unpacked: int, most: int) -> None:
    """Check the pages that fill `data`, a column of a row group.

    Args:
        where: the column's name for messages.
        values, unpacked: numbers of values and of unpacked bytes that the footer claims.
        most: data pages allowed; a dictionary may precede them.

    Raises:
        FileFault: there are more pages than `most`, malformed heads, or pages that leave the
            column, are of another kind or in another order, or do not hold the claimed values
            within the claimed bytes.
    """
    offset = pages = counted = size = 0
    while offset < len(data):
        page = _read_page(data, offset, where)
        if page.kind == _DICTIONARY:
            if offset or page.values > values:
                raise FileFault(f"{where} has a dictionary out of place or of too many values")
        else:
            pages += 1
            counted += page.values
        if pages > most:
            raise FileFault(f"{where} has more than {most} data pages")
        size += page.unpacked
        offset = page.end
    if offset != len(data) or counted != values or size > unpacked:
        raise FileFault(f"the pages of {where} do not hold what the footer claims")


@dataclass(frozen=True, slots=True)
class _Page:
    kind: int
    values: int
    unpacked: int  # bytes
    end: int


def _read_page(data: bytes, offset: int, where: str) -> _Page:
    try:
        head, body = _read_struct(data, offset, _DEPTH_MAX)
        kind, unpacked, packed = (head[number] for number in (_TYPE, _UNPACKED, _PACKED))
        values = head[_HEADS[kind]][_VALUES]
        if min(values, unpacked, packed) < 0:
            raise ValueError
    except (LookupError, TypeError, ValueError):
        raise FileFault(f"{where} has a page that is neither data nor dictionary") from None
    return _Page(kind, values, unpacked, body + packed)


def _read_struct(data: bytes, offset: int, depth: int) -> tuple[dict[int, Any], int]:
    """Fields by number, of the kinds that page heads have: ascending fields, no lists. Raises
    IndexError: it is cut off. ValueError: it contains anything else."""
    if not depth:
        raise ValueError
    fields: dict[int, Any] = {}
    number = 0
    while head := data[offset]:
        offset += 1
        before, kind = number, head & 15
        number += head >> 4
        if number == before:  # the long form
            number, offset = _read_integer(data, offset)
        if number <= before:
            raise ValueError
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        elif kind in _INTEGERS:
            fields[number], offset = _read_integer(data, offset)
        elif kind == _BINARY:
            length, offset = _read_varint(data, offset)
            offset += length
        elif kind == _STRUCT:
            fields[number], offset = _read_struct(data, offset, depth - 1)
        else:
            raise ValueError
    return fields, offset + 1


def _read_integer(data: bytes, offset: int) -> tuple[int, int]:
    raw, offset = _read_varint(data, offset)
    return raw >> 1 ^ -(raw & 1), offset


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 7 * _VARINT_MAX, 7):
        byte = data[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
    raise ValueError
