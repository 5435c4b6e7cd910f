"""Records are canonical: one record, one sequence of bytes; garbage raises EncodingError alone."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.beacon import Beacon
from assay.protocol.encoding import EncodingError, encode, from_json, to_json
from assay.protocol.reason import Reason
from assay.protocol.record import (
    RECORD_VERSION,
    CoveredWindow,
    MemberRow,
    Moment,
    Outcome,
    SeatScore,
    Seen,
    SettlementRecord,
    Weight,
    WindowRecord,
    decode_settlement_record,
    decode_window_record,
)

MOMENT = Moment(b"\1" * 32, 1_700_000_000_000, Beacon(7, b"s" * 48, b""))
ROWS = (
    MemberRow(
        b"\1" * 32,
        3,
        17,
        Seen(b"r" * 32, 12, "https://a.example"),
        Reason.ACCEPTED,
        (1_000, 2**64),
        2**70,
        b"\x01\xff" * 32,
    ),
    MemberRow(b"\2" * 32, 4, 17, None, Reason.NO_COMMITMENT, (), 0, b""),
    MemberRow(b"\3" * 32, 5, 17, Seen(b"r" * 32, 1, ""), None, (), 0, b""),
)
WINDOW = WindowRecord(
    RECORD_VERSION,
    "assay 0.1",
    b"p" * 32,
    b"v" * 32,
    1_000,
    bytes(32),
    Outcome.COUNTED,
    MOMENT,
    MOMENT,
    MOMENT,
    b"c" * 32,
    ROWS,
)
ABSTAINED = replace(WINDOW, outcome=Outcome.ABSTAINED, sample=None)
UNKNOWN = replace(ABSTAINED, challenge=None, audit=None, members=())
SETTLEMENT = SettlementRecord(
    RECORD_VERSION,
    "assay 0.1",
    b"p" * 32,
    b"v" * 32,
    720,
    360,
    b"q" * 32,
    (CoveredWindow(1, b"a" * 32, Outcome.COUNTED), CoveredWindow(2, b"b" * 32, Outcome.VOID)),
    b"c" * 32,
    99,
    (SeatScore(b"\1" * 32, 3, 17, 5), SeatScore(b"\2" * 32, 4, 17, 0)),
    b"t" * 32,
    0,
    (Weight(0, 9), Weight(3, 65_535)),
    b"w" * 32,
)
NONE_COUNTS = replace(
    SETTLEMENT, checkpoint=bytes(32), audit_round=0, scores=(), score_root=bytes(32), weights=()
)


def read(data: bytes, like: object) -> Any:
    decode = decode_window_record if isinstance(like, WindowRecord) else decode_settlement_record
    return decode(data)


@pytest.mark.parametrize("record", [WINDOW, ABSTAINED, UNKNOWN, SETTLEMENT, NONE_COUNTS])
def test_bytes_and_json_say_the_same(record: Any) -> None:
    assert read(encode(record), record) == record
    assert from_json(type(record), to_json(record)) == record


VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "record.json").read_bytes())


@pytest.mark.parametrize(
    ("of", "label", "entry"),
    [
        *((WindowRecord, "window-record", entry) for entry in VECTOR["windows"]),
        (SettlementRecord, "settlement-record", VECTOR["settlement"]),
    ],
)
def test_vectors_of_records(of: type[Any], label: str, entry: Any) -> None:
    record = from_json(of, entry["record"])
    data = bytes.fromhex(entry["encoding"])
    assert encode(record) == data
    assert read(data, record) == record
    name = f"assay/v4/{label}".encode()
    framed = bytes([len(name)]) + name + len(data).to_bytes(4, "big") + data
    assert entry["digest"] == record.digest.hex() == sha256(framed).hexdigest()


@pytest.mark.parametrize("kind", ["windows", "settlements"])
def test_bad_vectors_of_records(kind: str) -> None:
    decode = decode_window_record if kind == "windows" else decode_settlement_record
    for entry in VECTOR[f"bad_{kind}"]:
        with pytest.raises(EncodingError, match=entry["because"]):
            decode(bytes.fromhex(entry["bytes"]))


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        (replace(WINDOW, version=1), "version"),
        (replace(WINDOW, members=ROWS[::-1]), "members"),
        (replace(WINDOW, members=ROWS[:1] * 2), "members"),
        (replace(SETTLEMENT, version=0), "version"),
        (replace(SETTLEMENT, windows=SETTLEMENT.windows[::-1]), "windows"),
        (replace(SETTLEMENT, scores=SETTLEMENT.scores[::-1]), "scores"),
        (replace(SETTLEMENT, weights=SETTLEMENT.weights[::-1]), "weights"),
        (replace(SETTLEMENT, weights=(Weight(0, 0), Weight(3, 1))), "weights: one is 0"),
    ],
)
def test_a_second_way_to_write_one_record_is_refused(record: Any, fault: str) -> None:
    with pytest.raises(EncodingError, match=fault):
        read(encode(record), record)


@given(st.sampled_from([WINDOW, UNKNOWN, SETTLEMENT, NONE_COUNTS]), st.data())
def test_a_mutant_is_refused_or_is_another_record(record: Any, data: st.DataObject) -> None:
    whole = bytearray(encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(whole), data.draw(st.integers(0, len(whole)))]))
    mutant = bytes(whole[:cut]) + data.draw(st.binary(max_size=2))
    try:
        found = read(mutant, record)
    except EncodingError:
        return
    assert encode(found) == mutant
    assert (found.digest == record.digest) == (mutant == encode(record))


@given(st.binary(max_size=200))
def test_garbage_is_no_record(data: bytes) -> None:
    for decode in (decode_window_record, decode_settlement_record):
        with pytest.raises(EncodingError):
            decode(data)


def test_lists_longer_than_any_subnet_are_refused_before_they_are_read() -> None:
    head = encode(replace(WINDOW, members=()))[:-4]
    with pytest.raises(EncodingError, match="members: says 4294967295 items"):
        decode_window_record(head + b"\xff" * 4)


def test_the_two_kinds_never_share_a_digest() -> None:
    assert len({r.digest for r in (WINDOW, ABSTAINED, UNKNOWN, SETTLEMENT, NONE_COUNTS)}) == 5


@pytest.mark.parametrize("flag", [2, 255])
def test_there_or_not_has_two_spellings_only(flag: int) -> None:
    whole = bytearray(encode(WINDOW))
    place = whole.index(b"s" * 48) - 4 - 8 - 8 - 32 - 1
    assert whole[place] == 1
    whole[place] = flag
    with pytest.raises(EncodingError, match="challenge: is neither"):
        decode_window_record(bytes(whole))
