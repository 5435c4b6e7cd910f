"""Facts that only the heads of pages tell: the number of pages, and the size of their content."""

import io
from typing import Any

import pytest

from assay.artifacts.steps.parquet_pages import check_pages
from assay.artifacts.steps.parquet_worker import FileFault
from tests.artifacts.steps.parquet_files import read_thrift, write_thrift

I32, BINARY, LIST, STRUCT = 5, 8, 9, 12
DATA, INDEX, DICTIONARY, DATA_V2 = 0, 1, 2, 3
OWN_HEAD = {DATA: 5, INDEX: 6, DICTIONARY: 7, DATA_V2: 8}


def make_page(kind: int, values: int, unpacked: int = 10, size: int = 10, **more: Any) -> bytes:
    own = {1: [I32, values]} | more.pop("own", {})
    head = {1: [I32, kind], 2: [I32, unpacked], 3: [I32, size], OWN_HEAD[kind]: [STRUCT, own]}
    return write_thrift(head | more.get("head", {})) + bytes(max(0, size))


def check(data: bytes, values: int = 4, unpacked: int = 100, most: int = 4) -> None:
    check_pages(data, "the column", values, unpacked, most)


DICT = make_page(DICTIONARY, 4)
PAGE = make_page(DATA, 1)


def test_sound_pages() -> None:
    statistics = {5: [STRUCT, {1: [BINARY, b"max"], 3: [I32, 0], 7: [1, True]}]}
    for data in (
        PAGE * 4,
        DICT + make_page(DATA, 4),
        DICT + PAGE + make_page(DATA_V2, 3),
        make_page(DATA, 4, unpacked=100),
        make_page(DATA, 4, size=0),
        make_page(DATA, 4, own=statistics),
        b"\x15\0\x15\2\x15\2\x2c\x15\x08\0\0\0",  # field numbers as steps, not at length
    ):
        check(data)


TOO_MANY = {"a fifth page", "ten thousand empty pages"}
BAD = {
    "a fifth page": PAGE * 5,
    "ten thousand empty pages": make_page(DATA, 0) * 10_000 + PAGE * 4,
    "no page": b"",
    "a dictionary alone": DICT,
    "fewer values than claimed": PAGE * 3,
    "more values than claimed": make_page(DATA, 5),
    "values below zero": make_page(DATA, 5) + make_page(DATA, -1),
    "unpacked to more than claimed": make_page(DATA, 4, unpacked=101),
    "a dictionary that unpacks to more": make_page(DICTIONARY, 4, unpacked=91) + make_page(DATA, 4),
    "unpacked to a negative size": make_page(DATA, 4, unpacked=-1),
    "a page that ends where it starts": make_page(DATA, 0, size=-len(make_page(DATA, 0, size=-1)))
    + make_page(DATA, 4),
    "a page beyond the column": make_page(DATA, 4)[:-1],
    "bytes after the last page": make_page(DATA, 4) + b"\0",
    "two dictionaries": DICT * 2 + make_page(DATA, 4),
    "a dictionary at the end": make_page(DATA, 4) + DICT,
    "a dictionary of too many": make_page(DICTIONARY, 5) + make_page(DATA, 4),
    "a dictionary of a negative number": make_page(DICTIONARY, -1) + make_page(DATA, 4),
    "an index page": make_page(INDEX, 4) + make_page(DATA, 4),
    "an unknown page": make_page(DATA, 4, head={1: [I32, 9]}) + make_page(DATA, 4),
    "the head of another type": make_page(DATA, 4, head={1: [I32, 3]}),
    "a list in the head": make_page(DATA, 4, head={9: [LIST, [I32, [1]]]}),
    "a field twice": b"\x15\0\5\2\0" + make_page(DATA, 4)[3:],
    "a size that is text": make_page(DATA, 4, head={2: [BINARY, b"4"]}),
    "text past the end": b"\x18\xff\xff\xff\xff\x0f",
    "an endless number": b"\x15" + b"\x80" * 20_000,
    "a zero of eleven bytes": b"\5\2" + b"\x80" * 10 + b"\0" + make_page(DATA, 4)[3:],
    "structs a thousand deep": b"\x1c" * 20_000,
    "a head cut off": make_page(DATA, 4)[:4],
}


@pytest.mark.parametrize("name", BAD)
def test_pages_that_lie(name: str) -> None:
    with pytest.raises(FileFault) as found:
        check(BAD[name])
    assert ("more than 4 data pages" in str(found.value)) == (name in TOO_MANY)


def test_heads_are_read_as_the_general_reader_does() -> None:
    own = {5: [STRUCT, {1: [BINARY, b"x"], 2: [I32, -7], 7: [2, False]}]}
    page = make_page(DATA_V2, 4, own=own, head={4: [6, -(1 << 40)]})
    head = read_thrift(io.BytesIO(page))
    assert head[8][1][5][1][2][1] == -7
    check(page)
