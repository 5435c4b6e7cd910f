"""A validator whose database is gone: its records continue where the chain shows their end."""

import json
import logging
from itertools import pairwise

import pytest

from assay.artifacts.database import Database
from assay.neurons.validator import weights_outbox
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.record import (
    NOTHING,
    compute_record_bytes_max,
    decode_settlement_record,
    decode_window_record,
    make_latest_name,
)
from assay.protocol.ss58 import encode_ss58
from tests.adversarial.mortal import HOTKEYS, LOCATOR, TIMING, Mortal

VALIDATOR = HOTKEYS["validator"]
ADDRESS = encode_ss58(VALIDATOR)


@pytest.fixture
def mortal(tmp_path, monkeypatch):
    monkeypatch.setattr(weights_outbox, "DOUBT_BLOCKS", 2)
    mortal = Mortal(tmp_path / "validator", monkeypatch)
    mortal.play(40)
    return mortal


def get_slot(mortal):
    chain = mortal.real
    return parse_commitment(chain.get_commitments(chain.get_head()).get(VALIDATOR, b""))


def lose_database(mortal):
    mortal.database.close()
    for file in mortal.folder.glob("validator.sqlite*"):
        file.unlink()
    mortal.options["start"] = mortal.real.get_head()  # as at a first start


def recover(mortal):
    """Begin as `assay validate` does."""
    author = Author("assay test", ParameterHistory(mortal.parameters), VALIDATOR)
    database = Database(mortal.folder / "validator.sqlite")
    book = RecordBook(database, mortal.real, author, TIMING.tempo, mortal.store, LOCATOR)
    book.recover(compute_record_bytes_max(mortal.parameters))
    ends = database.execute("SELECT * FROM record_ends")
    database.close()
    return ends


def read_records(mortal):
    """Windows' and settlements' records, in order."""
    folder = mortal.folder / "record" / ADDRESS
    windows = [decode_window_record(p.read_bytes()) for p in folder.glob("window-*.record")]
    settled = [decode_settlement_record(p.read_bytes()) for p in folder.glob("settle*.record")]
    return sorted(windows, key=lambda r: r.window), sorted(settled, key=lambda r: r.epoch)


def count_beginnings(records):
    """The number of records that follow none; every other one follows the one before it."""
    for before, record in pairwise(records):
        assert record.previous in (before.digest, NOTHING)
    return sum(record.previous == NOTHING for record in records)


@pytest.mark.parametrize("recovers", [True, False])
def test_the_records_go_on_where_they_ended(mortal, recovers):
    windows, settlements = read_records(mortal)
    lose_database(mortal)
    if recovers:
        assert recover(mortal) == [
            (windows[-1].digest, settlements[-1].digest, settlements[-1].epoch)
        ]
    mortal.restart()
    mortal.play(30)
    found = read_records(mortal)
    for records, before in zip(found, (windows, settlements), strict=True):
        assert len(records) > len(before)
        assert records[: len(before)] == before
        assert count_beginnings(records) == (1 if recovers else 2)
    assert get_slot(mortal).digest in {record.digest for record in found[1][len(settlements) :]}


def test_published_records_without_announcement_are_continued_too(mortal):
    _, (first, *_, newest) = read_records(mortal)
    slot = Commitment(Tag.RECORD, first.epoch, 0, first.digest, LOCATOR)
    mortal.real.set_commitment(VALIDATOR, encode_commitment(slot))
    mortal.real.mint()
    lose_database(mortal)
    ((_, digest, epoch),) = recover(mortal)
    assert (digest, epoch) == (newest.digest, newest.epoch)


@pytest.mark.parametrize("how", ["replaced", "gone", "another newest", "not announced"])
def test_records_that_the_chain_does_not_bind_are_not_continued(mortal, how, caplog):
    _, (first, *_, newest) = read_records(mortal)
    folder = mortal.folder / "record" / ADDRESS
    announced = folder / f"settlement-{newest.epoch}.record"
    lose_database(mortal)
    if how == "replaced":
        announced.write_bytes((folder / f"settlement-{first.epoch}.record").read_bytes())
    elif how == "gone":
        announced.unlink()
    elif how == "another newest":
        (folder / f"settlement-{newest.epoch + 1}.record").write_bytes(b"no record")
        hint = json.dumps({"epoch": newest.epoch + 1}).encode()
        (mortal.folder / "record" / make_latest_name(ADDRESS)).write_bytes(hint)
    else:
        mortal.real.set_commitment(VALIDATOR, b"something else")
        mortal.real.mint()
    with caplog.at_level(logging.WARNING):
        assert recover(mortal) == []
    assert "begins a second chain" in caplog.text


def test_a_first_start_has_nothing_to_say(tmp_path, monkeypatch, caplog):
    mortal = Mortal(tmp_path / "validator", monkeypatch)
    lose_database(mortal)
    assert recover(mortal) == []
    assert caplog.text == ""
