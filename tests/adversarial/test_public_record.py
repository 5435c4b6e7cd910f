"""The public record: published after the weights are open, bound by the chain, never rewritten."""

import json
from dataclasses import replace

import numpy as np
import pytest

from assay.artifacts.database import Database
from assay.artifacts.submissions.judge import judge_with_checkpoint
from assay.artifacts.submissions.reader import open_submission
from assay.network.chain.errors import ChainError
from assay.network.store.base import StoreError
from assay.network.store.folder import open_folder
from assay.neurons.program.software import get_software
from assay.neurons.validator.make_records import Author
from assay.neurons.validator.record_book import RecordBook
from assay.neurons.validator.validator import Validator
from assay.neurons.validator.weights_outbox import list_rows
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Tag, parse_commitment
from assay.protocol.context import find_context_fault
from assay.protocol.encoding import encode
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    Outcome,
    decode_settlement_record,
    decode_window_record,
    make_latest_name,
    make_record_context,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import compute_settled_windows
from assay.session.chain_delivery import DeliveryState
from assay.verification import compute_score
from tests.adversarial.mortal import HOTKEYS, LOCATOR, Mortal

pytestmark = pytest.mark.usefixtures("short_doubt")

VALIDATOR = HOTKEYS["validator"]
ADDRESS = encode_ss58(VALIDATOR)


def list_published(mortal):
    return [name for name in mortal.store.list() if name.endswith(".record")]


def read_windows(mortal):
    """The published records: window → record."""
    found = {}
    for path in sorted((mortal.folder / "record" / ADDRESS).glob("window-*.record")):
        data = path.read_bytes()
        record = decode_window_record(data)
        assert encode(record) == data
        assert path.name == f"window-{record.window}.record"
        found[record.window] = record
    return dict(sorted(found.items()))


def read_settlements(mortal):
    paths = (mortal.folder / "record" / ADDRESS).glob("settlement-*.record")
    records = [decode_settlement_record(path.read_bytes()) for path in paths]
    return sorted(records, key=lambda record: record.epoch)


# --- the record's content


def test_records_say_what_the_validator_came_to(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(40)
    settlements, windows = read_settlements(mortal), read_windows(mortal)
    assert len(settlements) == 3
    rows = {row.epoch: row.weights for row in list_rows(mortal.database, 9)}
    for record in settlements:
        weights = [(weight.uid, weight.weight) for weight in record.weights]
        assert dict(weights) == rows[record.epoch]
        assert record.weights_digest == compute_weights_digest(weights)
        pairs = [(score.hotkey, score.score) for score in record.scores]
        assert record.score_root == make_score_tree(pairs).root
        held = mortal.real.get_members(record.epoch)
        assert {s.hotkey: (s.uid, s.registered_at) for s in record.scores} == {
            hotkey: (held[hotkey].uid, held[hotkey].registered_at) for hotkey, _ in pairs
        }
        last = windows[max(c.window for c in record.windows if c.outcome is Outcome.COUNTED)]
        assert (record.checkpoint, record.audit_round) == (last.checkpoint, last.audit.beacon.round)
    for window, record in windows.items():
        audit = mortal.validator.judged_windows[window]
        context = make_record_context(record, mortal.parameters)
        assert context == replace(audit.context, commitments={})
        assert {row.hotkey: row.reason for row in record.members} == {
            hotkey: verdict.reason for hotkey, verdict in audit.verdicts.items()
        }
        assert {row.hotkey: row.witness for row in record.members if row.witness} == {
            hotkey: verdict.witness for hotkey, verdict in audit.provisional.items()
        }
    reasons = {row.reason for record in windows.values() for row in record.members}
    assert reasons > {Reason.ACCEPTED, Reason.SKETCH_MISMATCH}


def test_both_kinds_are_chains_without_a_gap(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(40)
    previous, epoch, before = NOTHING, 0, NOTHING
    windows = read_windows(mortal)
    assert list(windows) == list(range(len(windows)))
    for record in read_settlements(mortal):
        assert (record.previous, record.previous_epoch) == (previous, epoch)
        covered = compute_settled_windows(mortal.parameters.timing, epoch, record.epoch)
        assert [c.window for c in record.windows] == list(covered)
        for entry in record.windows:
            found = windows.pop(entry.window)
            assert (found.digest, found.previous) == (entry.record, before)
            before = found.digest
        previous, epoch = record.digest, record.epoch
    assert not windows


def test_statistics_lie_beside_and_outside(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(30)
    for window in read_windows(mortal):
        path = tmp_path / "record" / ADDRESS / f"window-{window}.statistics.json"
        assert json.loads(path.read_bytes())["verdicts"][0]["detail"]


def test_an_abstained_window_has_a_record_too(tmp_path, monkeypatch):
    """Away over two settlements: windows judged in part, and ones that were never opened."""
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(8)
    mortal.database.close()
    for _ in range(22):
        mortal.real.mint()
    mortal.restart()
    mortal.play(30)
    settlements, windows = read_settlements(mortal), read_windows(mortal)
    outcomes = {c.window: c.outcome for record in settlements for c in record.windows}
    assert {Outcome.ABSTAINED, Outcome.COUNTED} <= set(outcomes.values())
    assert {w: record.outcome for w, record in windows.items()} == outcomes
    empty = [record for record in settlements if not record.weights]
    assert empty
    for record in empty:
        assert (record.score_root, record.checkpoint, record.audit_round) == (NOTHING, NOTHING, 0)
        assert {c.outcome for c in record.windows} == {Outcome.ABSTAINED}
        assert record.epoch not in {row.epoch for row in list_rows(mortal.database, 9)}


# --- when it is published


def test_nothing_is_published_before_the_weights_stand_on_chain(tmp_path, monkeypatch):
    """The node refuses the weights for a while, and the store shows nothing."""
    mortal = Mortal(tmp_path, monkeypatch)

    def refuse(name):
        if name == "before set_weights":
            raise ChainError("no permit yet")

    mortal.fate.hook = refuse
    mortal.play(24)
    assert [row.state for row in list_rows(mortal.database, 9)][:1] == [DeliveryState.DUE]
    assert mortal.store.list() == ()
    mortal.fate.hook = lambda name: None
    mortal.play(40)
    assert len(read_settlements(mortal)) >= 4
    assert mortal.validator.trouble is None


def test_timelocked_weights_are_awaited_until_the_chain_has_opened_them(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    real, stored, taken = mortal.real, {}, {}
    settings = real.get_hyperparameters()
    monkeypatch.setattr(
        real, "get_hyperparameters", lambda *_: replace(settings, commit_reveal=True)
    )

    def take(hotkey, weights):
        taken[real.get_head() + 1] = dict(weights)
        return real.get_head() + 1

    monkeypatch.setattr(real, "set_weights", take)
    monkeypatch.setattr(real, "get_weights", lambda number: dict(stored))
    monkeypatch.setattr(
        real, "get_weights_block", lambda _, number: max([b for b in taken if b <= number] or [0])
    )
    while len(taken) < 2:
        mortal.play(1)
        assert mortal.store.list() == ()
    mortal.play(13)
    assert mortal.store.list() == ()
    stored[VALIDATOR] = taken[min(taken)]
    mortal.play(1)
    assert len(read_settlements(mortal)) == 1
    stored[VALIDATOR] = sorted(taken.items())[1][1]  # opened, the first may not have been seen
    mortal.play(13)
    assert len(read_settlements(mortal)) >= 2


# --- that it stays


def test_a_record_is_never_rewritten(tmp_path, monkeypatch):
    """A folder restored from a copy, or a second validator of the same hotkey."""
    mortal = Mortal(tmp_path, monkeypatch)
    place = tmp_path / "record" / ADDRESS / "window-0.record"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"what stood there before")
    mortal.play(30)
    assert place.read_bytes() == b"what stood there before"
    assert "never rewritten" in mortal.validator.trouble.text
    assert read_settlements(mortal) == []
    assert all(row.state is DeliveryState.CONFIRMED for row in list_rows(mortal.database, 9))
    place.unlink()
    mortal.play(1)
    assert mortal.validator.trouble is None
    assert read_settlements(mortal)


def test_a_store_that_fails_delays_no_weights(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)

    def fail(name):
        if name == "before put":
            raise StoreError("the disk is full")

    mortal.fate.hook = fail
    mortal.play(30)
    assert mortal.validator.trouble.text == "the record is not published: the disk is full"
    assert [row.state for row in list_rows(mortal.database, 9)] == [DeliveryState.CONFIRMED] * 2
    mortal.fate.hook = lambda name: None
    mortal.play(1)
    assert mortal.validator.trouble is None
    assert len(read_settlements(mortal)) == 2


def test_published_records_are_deleted_here(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(60)
    for table, most in (("record_objects", 0), ("record_settlements", 0), ("record_ends", 1)):
        ((count,),) = mortal.database.execute(f"SELECT count(*) FROM {table}")
        assert count <= most, table


# --- where it is


def get_slot(mortal):
    return mortal.real.get_commitments(mortal.real.get_head()).get(VALIDATOR)


def test_the_newest_settlement_is_bound_by_the_hotkeys_slot(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.play(40)
    (*_, newest) = read_settlements(mortal)
    slot = parse_commitment(get_slot(mortal))
    assert (slot.tag, slot.number, slot.digest) == (Tag.RECORD, newest.epoch, newest.digest)
    assert slot.locator == LOCATOR
    latest = json.loads((tmp_path / "record" / ADDRESS / "latest.json").read_bytes())
    assert latest == {"epoch": newest.epoch, "digest": newest.digest.hex()}


def test_a_slot_that_is_used_for_something_else_is_left_alone(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)
    mortal.real.set_commitment(VALIDATOR, b"the parameters, say")
    mortal.play(30)
    assert get_slot(mortal) == b"the parameters, say"
    assert LOCATOR in mortal.validator.trouble.text
    assert len(read_settlements(mortal)) == 2


def test_an_announcement_that_is_refused_delays_nothing(tmp_path, monkeypatch):
    mortal = Mortal(tmp_path, monkeypatch)

    def refuse(name):
        if name == "before set_commitment":
            raise ChainError("too much space used")

    mortal.fate.hook = refuse
    mortal.play(30)
    assert mortal.validator.trouble.text == "the record is not announced: too much space used"
    assert [row.state for row in list_rows(mortal.database, 9)] == [DeliveryState.CONFIRMED] * 2
    assert len(read_settlements(mortal)) == 2
    sent = mortal.fate.points.count("before set_commitment")
    assert 1 <= sent <= 4
    mortal.fate.hook = lambda name: None
    mortal.play(20)
    assert parse_commitment(get_slot(mortal)).tag is Tag.RECORD


# --- a stranger's view of it


def test_a_stranger_comes_to_the_same_verdicts_and_witnesses(fresh_world, tmp_path):
    """From published bytes alone, with another implementation of the reference."""
    world, database = fresh_world, Database()
    validator, records = world.hotkeys["validator"], open_folder(tmp_path / "record")
    author = Author(get_software(), ParameterHistory(world.parameters), validator)
    tempo = world.parameters.timing.tempo
    neuron = Validator(
        validator,
        ParameterHistory(world.parameters),
        world.sources,
        database,
        *[lambda _: None] * 3,
        book=RecordBook(database, world.chain, author, tempo, records, None),
    )
    while not any("settlement" in name for name in records.list()):
        world.mint()
        while neuron.step():
            pass
    address, accepted = encode_ss58(validator), 0
    latest = json.loads((records.root / make_latest_name(address)).read_bytes())
    name = make_settlement_record_name(address, latest["epoch"])
    settlement = decode_settlement_record((records.root / name).read_bytes())
    assert settlement.digest.hex() == latest["digest"]
    another = world.checkpoint.get_reference(world.parameters.work.temperature, "split3")
    for covered in settlement.windows:
        name = make_window_record_name(address, covered.window)
        record = decode_window_record((records.root / name).read_bytes())
        assert record.digest == covered.record
        context = make_record_context(record, world.parameters)
        assert find_context_fault(context) is None
        for row in record.members:
            reader = open_submission(context, row.hotkey, world.sources)
            verdict = judge_with_checkpoint(
                reader, row.hotkey, context, world.checkpoint, forward=another, validator=validator
            )
            assert (verdict.reason, compute_score(verdict)) == (row.reason, row.score)
            assert tuple(group.value for group in verdict.to_record().groups) == row.values
            ours, theirs = (np.frombuffer(w, np.int8) for w in (verdict.witness, row.witness))
            bytes_ = 2 * world.parameters.work.audited_rollouts
            assert len(ours) == len(theirs) == (bytes_ if verdict.accepted else 0)
            assert abs(ours.astype(int) - theirs).max(initial=0) <= 1
            accepted += verdict.accepted
    assert accepted
    database.close()
