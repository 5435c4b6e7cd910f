"""Files that a hostile miner would like a validator to choke on; each test names the attack."""

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from assay.artifacts.submissions.submission_file import SubmissionFile, write_submission
from assay.artifacts.submissions.submission_parser import encode_rows
from assay.protocol import EncodingError, Reason
from assay.protocol.submission import decode_rollout, split_rows
from tests.artifacts.conftest import (
    expect,
    join_file,
    lie,
    make_columns,
    make_groups,
    make_header,
    split_file,
    write_parquet,
)

GOOD = make_columns([3, 1, 64, 2])
INT64 = 6  # Thrift types of fields that a lie adds
BINARY, LIST, STRUCT = 8, 9, 12
ROW_GROUPS = 4  # field numbers of the footer
CHUNK = (ROW_GROUPS, 1, 1, 0, 3)  # the second row group's first column
NUM_VALUES, UNPACKED, PACKED, DATA_PAGE, DICTIONARY_PAGE = 5, 6, 7, 9, 11

Judge = Callable[..., Any]


def retyped(name: str, kind: pa.DataType) -> dict[str, Any]:
    """The good columns, one of them as another type."""
    return {n: c.cast(kind) if n == name else c for n, c in GOOD.items()}


def replaced(name: str, values: list[Any], kind: pa.DataType | None = None) -> dict[str, Any]:
    return GOOD | {name: pa.array(values, kind or GOOD[name].type)}


def listed(element: pa.DataType) -> pa.DataType:
    return pa.list_(pa.field("element", element, nullable=False))


def test_the_file_the_attacks_start_from_is_read(judge_bytes: Judge) -> None:
    assert [len(split_rows(g, 4)) for g in judge_bytes(write_parquet(GOOD, 2, 2))] == [4, 4]


NESTED = pa.array([[[1], [2]]] * 4, listed(listed(pa.uint32())))
WRONG_SCHEMAS = {
    "missing column": {n: c for n, c in GOOD.items() if n != "sketch"},
    "extra column": GOOD | {"reward": pa.array([1.0] * 4)},
    "renamed column": {n.replace("sketch", "reward"): c for n, c in GOOD.items()},
    "columns in another order": dict(reversed(GOOD.items())),
    "the same column twice": {"tokens": GOOD["tokens"], "tokens ": GOOD["tokens"]},
    "float logprobs": retyped("logprobs", listed(pa.float32())),
    "NaN logprobs": replaced("logprobs", [[float("nan")]] * 4, listed(pa.float64())),
    "int32 tokens": retyped("tokens", listed(pa.int32())),
    "uint64 tokens": retyped("tokens", listed(pa.uint64())),
    "uint16 tokens": retyped("tokens", listed(pa.uint16())),
    "flat tokens": replaced("tokens", [1, 2, 3, 4], pa.uint32()),
    "text for sketch": replaced("sketch", ["ab"] * 4, pa.string()),
    "list for sketch": replaced("sketch", [[1, 2]] * 4, listed(pa.uint8())),
    "fixed-size sketch": replaced("sketch", [b"ab"] * 4, pa.binary(2)),
    "nested lists": GOOD | {"tokens": NESTED},
    "struct": replaced("tokens", [{"a": 1}] * 4, pa.struct({"a": pa.uint32()})),
    "map": replaced("tokens", [[(1, 2)]] * 4, pa.map_(pa.uint32(), pa.uint32())),
    "nullable elements": retyped("tokens", pa.list_(pa.uint32())),
    "nulls in elements": replaced("tokens", [[1, None]] * 4, pa.list_(pa.uint32())),
}


@pytest.mark.parametrize("name", WRONG_SCHEMAS)
def test_wrong_schema(judge_bytes: Judge, name: str) -> None:
    words = "deeply nested" if name == "nested lists" else "column"
    expect(judge_bytes(write_parquet(WRONG_SCHEMAS[name])), Reason.MALFORMED, words)


@pytest.mark.parametrize("column", GOOD)
def test_nulls_in_columns(judge_bytes: Judge, column: str) -> None:
    nulls = replaced(column, [None, *GOOD[column].to_pylist()[1:]])
    expect(judge_bytes(write_parquet(nulls, nullable=True)), Reason.MALFORMED, "not null")


def test_nullable_columns_without_nulls(judge_bytes: Judge) -> None:
    expect(judge_bytes(write_parquet(GOOD, nullable=True)), Reason.MALFORMED, "not null")


def test_lists_of_another_dialect(judge_bytes: Judge) -> None:
    data = write_parquet(GOOD, use_compliant_nested_type=False)
    data = data if b"item" in data else data.replace(b"element", b"elephnt")
    expect(judge_bytes(data), Reason.MALFORMED, "the columns must be")


def test_types_changed_by_an_embedded_arrow_schema(judge_bytes: Judge) -> None:
    large = retyped("tokens", pa.large_list(pa.field("element", pa.uint32(), nullable=False)))
    data = write_parquet(large, store_schema=True)
    expect(judge_bytes(data), Reason.MALFORMED)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4"])
def test_other_compression(judge_bytes: Judge, codec: str) -> None:
    expect(judge_bytes(write_parquet(GOOD, compression=codec)), Reason.MALFORMED, "zstd")


ROWS = {
    "logprobs shorter": (replaced("logprobs", [[1]] * 4), "differ in length"),
    "one value moved to the next row": (
        replaced("logprobs", [[1] * n for n in (2, 2, 64, 2)]),
        "differ in length",
    ),
    "sketch shorter": (replaced("sketch", [b"ab"] * 4), "bytes of sketch"),
    "sketch longer": (replaced("sketch", [bytes(200)] * 4), "bytes of sketch"),
    "odd sketch": (replaced("sketch", [b"abc", b"ab", bytes(128), b"abcd"]), "bytes of sketch"),
    "empty rollout": (make_columns([3, 0, 64, 2]), "at least one token"),
    "G − 1 rows": (make_columns([3, 1, 2]), "has 3 rows"),
    "G + 1 rows": (make_columns([3, 1, 2, 2, 2]), "has 5 rows"),
    "no rows": (make_columns([]), ""),
}


@pytest.mark.parametrize("name", ROWS)
def test_wrong_rows(judge_bytes: Judge, name: str) -> None:
    columns, words = ROWS[name]
    expect(judge_bytes(write_parquet(columns)), Reason.MALFORMED, words)


@pytest.mark.parametrize(("row_groups", "leaves"), [(1, 2), (2, 1), (1, 0), (3, 2)])
def test_row_groups_that_are_not_the_leaves(
    judge_bytes: Judge, row_groups: int, leaves: int
) -> None:
    expect(judge_bytes(write_parquet(GOOD, row_groups, leaves)), Reason.MALFORMED, "row groups")


def test_no_row_group_at_all(judge_bytes: Judge) -> None:
    expect(judge_bytes(write_parquet(GOOD, 0, 0)), Reason.MALFORMED, "row groups")


@pytest.mark.parametrize("count", [9, 100, 400])
def test_more_row_groups_than_the_cap(judge_bytes: Judge, count: int) -> None:
    found = judge_bytes(write_parquet(make_columns([1] * 4), count, count))
    expect(found, Reason.TOO_LARGE if count < 128 else Reason.MALFORMED)


HEADER, LEAF = "00" * 110, "00" * 32
KEYS = {
    "no header": {"assay.leaves": LEAF},
    "no leaves": {"assay.header": HEADER},
    "no key at all": {},
    "a key of one's own": {"assay.header": HEADER, "assay.leaves": LEAF, "assay.reward": "1"},
    "pandas metadata": {"assay.header": HEADER, "assay.leaves": LEAF, "pandas": "{}"},
    "header not hex": {"assay.header": "xy" * 110, "assay.leaves": LEAF},
    "header in upper case": {"assay.header": "AB" * 110, "assay.leaves": LEAF},
    "header of odd length": {"assay.header": "0" * 111, "assay.leaves": LEAF},
    "huge header": {"assay.header": "00" * 2_000, "assay.leaves": LEAF},
    "header of half a megabyte": {"assay.header": "00" * 250_000, "assay.leaves": LEAF},
    "leaves not hex": {"assay.header": HEADER, "assay.leaves": "é" * 32},
    "leaves cut short": {"assay.header": HEADER, "assay.leaves": LEAF[:-2]},
    "huge leaves": {"assay.header": HEADER, "assay.leaves": "00" * 300_000},
}


@pytest.mark.parametrize("name", KEYS)
def test_wrong_keys(judge_bytes: Judge, name: str) -> None:
    expect(judge_bytes(write_parquet(GOOD, keys=KEYS[name])), Reason.MALFORMED)


@pytest.mark.parametrize("name", ["huge header", "no header", "header not hex"])
def test_wrong_header_is_told_as_such(judge_bytes: Judge, name: str) -> None:
    expect(judge_bytes(write_parquet(GOOD, keys=KEYS[name])), Reason.MALFORMED, "assay.header")


def test_footer_above_a_mebibyte(judge_bytes: Judge) -> None:
    keys = {"assay.header": HEADER, "assay.leaves": LEAF * 17_000}
    expect(judge_bytes(write_parquet(GOOD, keys=keys)), Reason.TOO_LARGE, "footer")


@pytest.mark.parametrize(
    ("length", "reason", "words"),
    [
        (0, Reason.MALFORMED, "does not fit"),
        (1, Reason.MALFORMED, ""),
        (100_000, Reason.MALFORMED, "does not fit"),
        (1 << 20, Reason.MALFORMED, "does not fit"),
        (1 << 31, Reason.TOO_LARGE, ""),  # negative, if read as signed
        ((1 << 32) - 1, Reason.TOO_LARGE, ""),
    ],
)
def test_absurd_footer_length(
    judge_bytes: Judge, honest: bytes, length: int, reason: Reason, words: str
) -> None:
    expect(judge_bytes(honest[:-8] + length.to_bytes(4, "little") + b"PAR1"), reason, words)


def test_file_too_short_for_a_trailer(judge_bytes: Judge, honest: bytes) -> None:
    for length in range(12):
        expect(judge_bytes(honest[-length:] if length else b""), Reason.MALFORMED, "is not Parquet")


def test_encrypted_footer(judge_bytes: Judge, honest: bytes) -> None:
    expect(judge_bytes(honest[:-4] + b"PARE"), Reason.MALFORMED, "encrypted")


def test_missing_file(judge_bytes: Judge) -> None:
    expect(judge_bytes(None), Reason.NOT_REVEALED)


def test_truncated_file(judge_bytes: Judge, honest: bytes) -> None:
    for length in [*range(40), *range(40, len(honest), 61), *range(len(honest) - 40, len(honest))]:
        expect(judge_bytes(honest[:length]), Reason.MALFORMED)


def test_bytes_taken_out_before_the_footer(judge_bytes: Judge, honest: bytes) -> None:
    for start in range(0, len(honest) - 100, 173):
        found = judge_bytes(honest[:start] + honest[start + 97 :])
        expect(found, Reason.MALFORMED)


def test_random_bytes(judge_bytes: Judge) -> None:
    source = random.Random(1)
    for length in (0, 1, 7, 8, 11, 12, 13, 100, 5_000):
        body = source.randbytes(length)
        expect(judge_bytes(body), Reason.MALFORMED)
        expect(judge_bytes(join_file(b"PAR1", body)), Reason.MALFORMED)


def test_logprobs_beyond_24_bits_are_left_to_the_protocol(judge_bytes: Judge) -> None:
    groups = make_groups(1)
    groups[0][2].logprobs[0] = 2**24
    (data,) = judge_bytes(write_submission(make_header(1), groups))
    with pytest.raises(EncodingError, match="log-probability"):
        decode_rollout(split_rows(data, 4)[2])


LIES = {
    # name: (field of the footer, what it says instead, Thrift type if added, reason)
    "300 million values": ((*CHUNK, NUM_VALUES), 300_000_000, None, Reason.TOO_LARGE),
    "more sketches than rows": ((ROW_GROUPS, 1, 1, 2, 3, NUM_VALUES), 5, None, Reason.TOO_LARGE),
    "2^62 values": ((*CHUNK, NUM_VALUES), 1 << 62, None, Reason.TOO_LARGE),
    "negative values": ((*CHUNK, NUM_VALUES), -1, None, Reason.MALFORMED),
    "fewer values than rows": ((*CHUNK, NUM_VALUES), 3, None, Reason.MALFORMED),
    "fewer values than there are": ((*CHUNK, NUM_VALUES), 5, None, Reason.MALFORMED),
    "more values than there are": ((*CHUNK, NUM_VALUES), 256, None, Reason.MALFORMED),
    "unpacks to a terabyte": ((*CHUNK, UNPACKED), 1 << 40, None, Reason.TOO_LARGE),
    "unpacks to a negative size": ((*CHUNK, UNPACKED), -1, None, Reason.MALFORMED),
    "chunk of a terabyte": ((*CHUNK, PACKED), 1 << 40, None, Reason.TOO_LARGE),
    "chunk of a negative size": ((*CHUNK, PACKED), -5, None, Reason.MALFORMED),
    "chunk of no bytes": ((*CHUNK, PACKED), 0, None, Reason.MALFORMED),
    "chunk into the next one": ((*CHUNK, PACKED), 700, None, Reason.MALFORMED),
    "chunk into the footer": ((ROW_GROUPS, 2, 1, 2, 3, PACKED), 300, None, Reason.MALFORMED),
    "chunk past the end": ((ROW_GROUPS, 2, 1, 2, 3, PACKED), 5_000, None, Reason.MALFORMED),
    "chunk at a negative offset": ((*CHUNK, DATA_PAGE), -4, None, Reason.MALFORMED),
    "chunk in the magic": ((ROW_GROUPS, 0, 1, 0, 3, DATA_PAGE), 0, None, Reason.MALFORMED),
    "chunk past all integers": ((*CHUNK, DATA_PAGE), (1 << 63) - 1, None, Reason.MALFORMED),
    "chunk of an earlier row group": ((*CHUNK, DATA_PAGE), 4, None, Reason.MALFORMED),
    "dictionary in another row group": ((*CHUNK, DICTIONARY_PAGE), 4, INT64, Reason.MALFORMED),
    "data in another file": ((ROW_GROUPS, 1, 1, 0, 1), b"/etc/passwd", BINARY, Reason.MALFORMED),
    "huge num_rows": ((3,), 1 << 62, None, Reason.MALFORMED),
    "negative num_rows": ((3,), -1, None, Reason.MALFORMED),
    "row group of 2^40 rows": ((ROW_GROUPS, 1, 3), 1 << 40, None, Reason.MALFORMED),
    "row group without columns": ((ROW_GROUPS, 1, 1), [STRUCT, []], LIST, Reason.MALFORMED),
    "column of another type": ((*CHUNK, 1), 6, None, Reason.MALFORMED),
    "column under another path": ((*CHUNK, 3), [BINARY, [b"sketch"]], None, Reason.MALFORMED),
    "unknown compression": ((*CHUNK, 4), 99, None, Reason.MALFORMED),
    "schema with a billion children": ((2, 0, 5), 1 << 30, None, Reason.MALFORMED),
    "schema with negative children": ((2, 0, 5), -1, None, Reason.MALFORMED),
}


@pytest.mark.parametrize("name", LIES)
def test_lying_footer(judge_bytes: Judge, honest: bytes, name: str) -> None:
    path, value, kind, reason = LIES[name]
    expect(judge_bytes(lie(honest, path, value, kind)), reason)


@pytest.mark.parametrize("values", [-1, 0, 3])
def test_fewer_values_than_rows_are_refused_by_the_footer(
    open_bytes: Callable[..., SubmissionFile], honest: bytes, values: int
) -> None:
    found = open_bytes(lie(honest, (*CHUNK, NUM_VALUES), values)).read_footer()
    expect(found, Reason.MALFORMED, f"{values} values")


@pytest.mark.parametrize(("field", "size"), [(PACKED, 0), (UNPACKED, 0), (UNPACKED, -1)])
def test_columns_of_no_bytes_are_refused_by_the_footer(
    open_bytes: Callable[..., SubmissionFile], honest: bytes, field: int, size: int
) -> None:
    found = open_bytes(lie(honest, (*CHUNK, field), size)).read_footer()
    expect(found, Reason.MALFORMED, f"{size} bytes")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_row_group_of_another_number_of_columns(
    judge_bytes: Judge, honest: bytes, count: int
) -> None:
    body, footer = split_file(honest)
    chunks = footer[ROW_GROUPS][1][1][1][1][1][1]
    chunks[:] = (chunks * 2)[:count]
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED, f"{count} columns")


def test_a_row_that_nobody_reads(judge_bytes: Judge) -> None:
    """Lists of five rows in a row group of four: a reader takes four, and never sees the fifth."""
    four, five = ([3, 1, 64, 2], [3, 1, 64, 2, 5])
    small, small_footer = split_file(write_parquet(make_columns(four)))
    body, footer = split_file(write_parquet(make_columns(five)))
    ours = footer[ROW_GROUPS][1][1][0][1][1][1][2][3][1]
    theirs = small_footer[ROW_GROUPS][1][1][0][1][1][1][2][3][1]
    start = theirs[DATA_PAGE if DICTIONARY_PAGE not in theirs else DICTIONARY_PAGE][1]
    moved = len(body) - start
    for number, (kind, value) in theirs.items():
        place = number in (DATA_PAGE, DICTIONARY_PAGE)
        ours[number] = [kind, value + moved if place else value]
    footer[3][1] = footer[ROW_GROUPS][1][1][0][3][1] = 4
    expect(judge_bytes(join_file(body + small[start:], footer)), Reason.MALFORMED, "does not hold")


def test_lists_that_run_backwards() -> None:
    """Whatever a parser hands over is checked before it is cut into rows."""
    good, offsets = GOOD["tokens"], pa.array([0, 50, 4, 68, 70], pa.int32())
    buffers = [None, offsets.buffers()[1]]
    lists = pa.Array.from_buffers(good.type, 4, buffers, children=[good.values])
    table = pa.table({"tokens": lists, "logprobs": lists, "sketch": GOOD["sketch"]})
    with pytest.raises(pa.ArrowInvalid):
        encode_rows(table, 0, 117)


def test_two_columns_in_the_same_bytes(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    tokens, logprobs = (column[3][1] for column in footer[ROW_GROUPS][1][1][1][1][1][1][:2])
    for number in (NUM_VALUES, UNPACKED, PACKED, DATA_PAGE):
        logprobs[number] = tokens[number]
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED, "overlap")


def test_columns_in_another_order(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    tokens, logprobs = (column[3][1] for column in footer[ROW_GROUPS][1][1][1][1][1][1][:2])
    for number in (UNPACKED, PACKED, DATA_PAGE):
        tokens[number], logprobs[number] = logprobs[number], tokens[number]
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED, "out of order")


def test_two_row_groups_in_the_same_bytes(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    groups = footer[ROW_GROUPS][1][1]
    groups[1] = groups[0]
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED, "overlaps")


def test_row_groups_in_another_order(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    footer[ROW_GROUPS][1][1].reverse()
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED, "overlaps")


def test_a_million_schema_elements(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    footer[2][1][1] += [footer[2][1][1][-1]] * 40_000
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED)


def test_schema_nested_a_thousand_deep(judge_bytes: Judge, honest: bytes) -> None:
    body, footer = split_file(honest)
    footer[2][1][1][1:2] = [footer[2][1][1][1]] * 1_000
    expect(judge_bytes(join_file(body, footer)), Reason.MALFORMED)
