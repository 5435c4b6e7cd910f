"""Settlements in which nobody earned: the chain keeps its weights for a while, by a count that no
kill, restart or lost database changes, and that others derive from the records."""

from dataclasses import replace
from functools import partial

import pytest

from assay.artifacts.database import Database
from assay.judge.record_faults import find_idle_fault, find_weight_faults
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.protocol.amendment import ParameterHistory
from assay.protocol.reason import Reason, Refusal
from assay.protocol.record import Outcome, compute_record_bytes_max, decode_settlement_record
from assay.protocol.ss58 import encode_ss58
from assay.verification import Refused
from tests.adversarial.mortal import (
    HOTKEYS,
    LOCATOR,
    TIMING,
    Mortal,
    is_write,
    require_kills_change_nothing,
)

pytestmark = pytest.mark.usefixtures("short_doubt")

VALIDATOR = HOTKEYS["validator"]
ALLOWED = 2
#: The first window that pays nobody, and the first that pays again.
IDLE, PAID = 4, 20
EVERYTHING = {0: 65_535}


class Idle(Mortal):
    """A subnet whose miners show nothing for some windows."""

    allowed = ALLOWED

    def make_history(self):
        work = replace(self.parameters.work, idle_settlements=self.allowed)
        self.parameters = replace(self.parameters, work=work)
        return super().make_history()

    def _judge(self, context, hotkey, ledger, validator, late):
        if IDLE <= context.window < PAID:
            fault = Refusal(Reason.NOT_REVEALED, "nothing")
            self.judged.append((context.window, hotkey))
            return Refused(window=context.window, hotkey=hotkey, fault=fault), ledger
        return super()._judge(context, hotkey, ledger, validator, late)


def read_settlements(mortal):
    folder = mortal.folder / "record" / encode_ss58(VALIDATOR)
    found = [decode_settlement_record(p.read_bytes()) for p in folder.glob("settle*.record")]
    return sorted(found, key=lambda record: record.epoch)


def get_weights(record):
    return {weight.uid: weight.weight for weight in record.weights}


def require_sound(mortal, settlements):
    """By the records alone, as an auditor has them."""
    before = 0
    for record in settlements:
        assert find_idle_fault(record, before) is None
        assert list(find_weight_faults(record, mortal.history)) == []
        before = record.idle


def play(folder, monkeypatch, kills=(), blocks=75):
    mortal = Idle(folder, monkeypatch, kills)
    mortal.play(blocks)
    return mortal


def test_no_weights_are_set_for_a_while_and_then_the_owner_has_everything(tmp_path, monkeypatch):
    mortal = play(tmp_path, monkeypatch, blocks=100)
    settlements = read_settlements(mortal)
    assert [record.idle for record in settlements] == [0, 0, 1, 2, 3, 4, 0, 0]
    require_sound(mortal, settlements)
    weights = [get_weights(record) for record in settlements]
    last_paid = weights[1]
    assert last_paid not in ({}, EVERYTHING)
    assert weights[2:6] == [{}, {}, EVERYTHING, EVERYTHING]
    assert weights[6] not in ({}, EVERYTHING)
    assert mortal.chain.sent == [w for w in weights if w]
    for record in settlements[2:4]:  # they count, and the chain keeps what it has
        assert all(covered.outcome is Outcome.COUNTED for covered in record.windows)
        shown = mortal.real.get_weights(record.epoch + TIMING.tempo)
        assert shown[VALIDATOR] == last_paid


@pytest.mark.parametrize(("allowed", "kept"), [(0, 0), (1, 1)])
def test_as_many_as_the_parameters_allow(tmp_path, monkeypatch, allowed, kept):
    monkeypatch.setattr(Idle, "allowed", allowed)
    mortal = play(tmp_path, monkeypatch, blocks=60)
    _, _, *idle = [get_weights(record) for record in read_settlements(mortal)]
    assert idle[:kept] == [{}] * kept
    assert idle[kept:]
    assert all(weights == EVERYTHING for weights in idle[kept:])


@pytest.mark.slow
def test_killed_before_and_after_every_write(tmp_path, monkeypatch):
    require_kills_change_nothing(
        partial(play, monkeypatch=monkeypatch, blocks=60),
        tmp_path,
        lambda points: [n for n, name in enumerate(points) if is_write(name)][7::90],
    )


def test_killed_again_and_again(tmp_path, monkeypatch):
    expected = play(tmp_path / "whole", monkeypatch)
    mortal = play(tmp_path / "parts", monkeypatch, range(60, 140, 3))
    assert mortal.fate.killed > 10
    assert mortal.describe() == expected.describe()


@pytest.mark.parametrize("recovers", [True, False])
def test_a_lost_database_takes_the_count_of_the_records(tmp_path, monkeypatch, recovers):
    """Where they cannot be continued, a new chain of records begins, and with it the count."""
    mortal = play(tmp_path, monkeypatch, blocks=50)
    *_, newest = known = read_settlements(mortal)
    assert newest.idle == 1
    mortal.database.close()
    for file in mortal.folder.glob("validator.sqlite*"):
        file.unlink()
    mortal.options["start"] = mortal.real.get_head()
    if not recovers:
        mortal.real.set_commitment(VALIDATOR, b"something else")
        mortal.real.mint()
    author = Author("assay test", ParameterHistory(mortal.parameters), VALIDATOR)
    database = Database(mortal.folder / "validator.sqlite")
    book = RecordBook(database, mortal.real, author, TIMING.tempo, mortal.store, LOCATOR)
    book.recover(compute_record_bytes_max(mortal.parameters))
    database.close()
    mortal.restart()
    mortal.play(30)
    later = read_settlements(mortal)[len(known) :]
    counted = [r for r in later if any(c.outcome is Outcome.COUNTED for c in r.windows)]
    assert counted[0].idle == (2 if recovers else 1)
    require_sound(mortal, [*known, *later] if recovers else later)
