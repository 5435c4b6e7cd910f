"""Three validators of one subnet, one of which copies: it is noticed, and the others are not."""

import itertools
import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from assay.audit import acts, comparison
from assay.audit.auditor import audit
from assay.audit.comparison import compare, compute_distance
from assay.audit.opening import AuditedNetwork, AuditRequest, find_readable
from assay.cli.compare_view import show_comparison
from assay.network.chain.errors import ForgottenError
from assay.network.store.base import StoreError
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.reason import Reason
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError
from assay.settings.sections import Settings
from tests.audit.audited import HOTKEYS, LIAR, RIVAL, WINDOWS, Shelf, read_records

COPIER = HOTKEYS["nora"]


class CopiedChain:
    """A chain on which somebody always shows what another had settled one epoch before."""

    def __init__(self, chain, settled, late=1, who=COPIER, noise=0.0):
        self._chain, self._settled, self._late = chain, settled, late
        self._who, self._noise = who, noise

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_weights(self, number):
        epochs = [epoch for epoch in sorted(self._settled) if epoch < number]
        rows = dict(self._chain.get_weights(number))
        if len(epochs) <= self._late:
            return rows
        weights = self._settled[epochs[-1 - self._late]].weights
        factors = itertools.cycle((1 + self._noise, 1 - self._noise))
        return {**rows, self._who: {w.uid: round(w.weight * next(factors)) for w in weights}}


@pytest.fixture
def settled(public):
    return read_records(public.records)[1]


def by_hotkey(compared):
    return {validator.hotkey: validator for validator in compared.validators}


def test_whoever_shows_anothers_last_weights_stands_out(network, public, settled):
    chain = CopiedChain(network.chain, settled)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))
    for honest in (LIAR, RIVAL):
        assert found[honest].suspicion is None
        assert found[honest].report.matched
        assert all(s.own_distance == 0 and s.behind == 0 for s in found[honest].observed)
    copier = found[COPIER]
    assert "of an earlier settlement than others show" in copier.suspicion
    assert len(copier.stale) == len(copier.observed) > 0
    assert all(s.other.distance == 0 and s.behind == 1 for s in copier.observed)


@pytest.mark.parametrize("share", [0.1, 0.2])
def test_noise_on_copied_weights_does_not_hide_them(network, settled, share):
    """They equal no settlement's weights to the last digit, but are far nearer to the old ones: the
    noise is a share of how far weights move from one settlement to the next."""
    rows = [{w.uid: w.weight for w in settled[epoch].weights} for epoch in sorted(settled)]
    noise = share * min(map(compute_distance, rows, rows[1:]))
    assert noise > 0
    chain = CopiedChain(network.chain, settled, noise=noise)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))
    assert "than others show" in found[COPIER].suspicion
    assert found[RIVAL].suspicion is None


def test_a_record_copied_afterwards_does_not_hide_copied_weights(network, settled, monkeypatch):
    """Its own record then has these weights, too, one settlement ago; its witnesses are spoilt."""

    def audit_copy(public, hotkey, windows):
        report = audit(public, RIVAL if hotkey == COPIER else hotkey, windows)
        return replace(report, window_records={}) if hotkey == COPIER else report

    monkeypatch.setattr(comparison, "audit", audit_copy)
    chain = CopiedChain(network.chain, settled)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: shown}, WINDOWS))
    assert "than others show" in found[COPIER].suspicion
    assert all(s.own_distance == 0 for s in found[COPIER].observed)
    assert found[LIAR].suspicion is found[RIVAL].suspicion is None


def test_one_honest_validator_is_enough_to_tell_a_copier(network, settled):
    chain = CopiedChain(network.chain, settled, who=LIAR)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown}, WINDOWS))
    assert "than others show" in found[LIAR].suspicion
    assert found[RIVAL].suspicion is None


def test_a_validator_that_stopped_is_no_copier(network, settled, monkeypatch):
    """Its server is away as well, so that its own old record cannot speak for it."""
    first = settled[min(settled)].weights

    class StoppedChain(CopiedChain):
        def get_weights(self, number):
            rows = dict(self._chain.get_weights(number))
            return {**rows, RIVAL: {w.uid: w.weight for w in first}} if RIVAL in rows else rows

    def fail(public, hotkey, windows):
        if hotkey == RIVAL:
            raise StoreError("the server is away")
        return audit(public, hotkey, windows)

    monkeypatch.setattr(comparison, "audit", fail)
    shown = replace(network.make_public(), chain=StoppedChain(network.chain, settled))
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown}, WINDOWS))
    assert found[RIVAL].suspicion is None
    assert found[RIVAL].has_stopped
    assert found[RIVAL].stale


def test_one_missed_epoch_is_neither_a_copy_nor_a_stop(network, settled):
    first, *_, last = sorted(settled)

    class LateOnceChain(CopiedChain):
        def get_weights(self, number):
            rows = dict(self._chain.get_weights(number))
            late = number > last and RIVAL in rows
            return (
                {**rows, RIVAL: {w.uid: w.weight for w in settled[first].weights}} if late else rows
            )

    shown = replace(network.make_public(), chain=LateOnceChain(network.chain, settled))
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown}, WINDOWS))[RIVAL]
    assert len(found.stale) == 1 < len(found.observed)
    assert found.suspicion is None
    assert not found.has_stopped


def test_whoever_has_no_record_and_shows_what_others_show_is_not_accused(network, settled):
    chain = CopiedChain(network.chain, settled, late=0)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))[COPIER]
    assert found.suspicion is None
    assert found.observed
    assert all(
        s.own_distance is None and s.other.distance == 0 and s.behind == 0 for s in found.observed
    )


def test_a_witness_of_anothers_passes_stands_out(network, liar, models):
    """It copies all: verdicts, values, weights, and the bytes of the witness."""
    windows, _ = read_records(network.records, "rival")
    for window, record in windows.items():
        for row in record.members:
            own = next(r for r in liar.windows[window].members if r.hotkey == row.hotkey)
            rows = liar.windows[window].members
            changed = tuple(replace(own, witness=row.witness) if r is own else r for r in rows)
            liar.change(window, members=changed)
    liar.agree()
    honest = network.make_public(models=models)
    copied = replace(honest, chain=liar.make_chain(), records=Shelf(liar.list_objects()))
    found = by_hotkey(compare({LIAR: copied, RIVAL: honest}, WINDOWS))
    assert found[RIVAL].suspicion is None
    assert found[RIVAL].witnessed > found[RIVAL].unwitnessed == 0
    assert found[LIAR].witnessed == 0
    assert found[LIAR].unwitnessed == found[RIVAL].witnessed
    assert "did not judge them" in found[LIAR].suspicion
    without = compare(
        {LIAR: replace(copied, models=None), RIVAL: replace(honest, models=None)}, WINDOWS
    )
    assert not any(validator.suspicion for validator in without.validators)
    assert without.has_copier  # and which of the two it is, only a model tells
    assert sum(without.shared.values()) > 0
    assert set(without.shared) == {tuple(sorted((LIAR, RIVAL)))}


def test_verdicts_scores_and_weights_that_differ_are_named(network, liar):
    alike = compare({LIAR: network.make_public(), RIVAL: network.make_public()}, WINDOWS)
    assert [judged.window for judged in alike.judged] == list(WINDOWS)
    assert not any(each.differing for each in (*alike.judged, *alike.settled))
    own = liar.get_row(4, "alice")
    liar.change_row(4, "alice", reason=Reason.SKETCH_MISMATCH, values=(), score=0)
    liar.agree()
    shown = replace(network.make_public(), chain=liar.make_chain())
    lying = replace(shown, records=Shelf(liar.list_objects()))
    found = compare({LIAR: lying, RIVAL: shown}, WINDOWS)
    assert [judged.window for judged in found.judged if judged.differing] == [4]
    (verdict,) = found.judged[4].differing
    assert (verdict.hotkey, verdict.uid) == (HOTKEYS["alice"], own.uid)
    refused, accepted = (Reason.SKETCH_MISMATCH, 0), (own.reason, own.score)
    assert verdict.by_validator == {LIAR: refused, RIVAL: accepted}
    (settled,) = (each for each in found.settled if each.differing)
    seats = {seat.uid: seat for seat in settled.differing}
    (score, weight), (own_score, own_weight) = (
        seats[own.uid].by_validator[who] for who in (LIAR, RIVAL)
    )
    assert score < own_score
    assert weight < own_weight
    assert settled.totals[LIAR] < settled.totals[RIVAL]
    assert not found.has_copier, "who differs does not copy"


class BrokenShelf:
    def get(self, name, limit):
        raise StoreError(f"{name}: the server answers 500")


def test_a_record_that_cannot_be_read_does_not_stop_the_others(network, monkeypatch):
    shown = network.make_public()
    broken = replace(shown, records=BrokenShelf())
    found = compare({LIAR: broken, RIVAL: shown}, WINDOWS)
    assert not found.has_copier
    assert not by_hotkey(found)[LIAR].report.matched
    assert by_hotkey(found)[RIVAL].report.matched

    def fail(public, hotkey, windows):
        if hotkey == LIAR:
            raise StoreError("the server is away")
        return audit(public, hotkey, windows)

    monkeypatch.setattr(comparison, "audit", fail)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown}, WINDOWS))
    assert found[LIAR].fault == "the server is away"
    assert found[RIVAL].observed
    with pytest.raises(ValueError, match="can be read: the server is away"):
        compare({LIAR: shown}, WINDOWS)


def test_weights_that_nodes_have_forgotten_are_counted(network):
    class ForgetfulChain(CopiedChain):
        def get_weights(self, number):
            raise ForgottenError(f"block {number}'s weights are forgotten")

    shown = replace(network.make_public(), chain=ForgetfulChain(network.chain, {}))
    found = compare({LIAR: shown, RIVAL: shown}, WINDOWS)
    assert found.forgotten > 0
    assert not any(validator.observed for validator in found.validators)


def test_nobody_can_be_compared_without_a_record():
    with pytest.raises(ValueError, match="none of these validators"):
        compare({LIAR: None, RIVAL: None}, WINDOWS)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({1: 65_535}, {1: 65_535}, 0.0),
        ({1: 10, 2: 30}, {1: 5, 2: 15}, 0.0),
        ({1: 1}, {2: 1}, 1.0),
        ({1: 1, 2: 1}, {2: 1}, 0.5),
        ({}, {1: 1}, 1.0),
        ({}, {}, 0.0),
    ],
)
def test_distance_is_the_weight_that_would_move(one, other, expected):
    assert compute_distance(one, other) == compute_distance(other, one) == expected


@pytest.fixture
def compare_by_command(network, monkeypatch, capsys):
    """The command's output for a chain, and its exit code."""

    def run(chain, *named, as_json=False):
        @contextmanager
        def open_network(settings, request, among):
            public = replace(network.make_public(), chain=chain)
            stores = SimpleNamespace(open=lambda locator: network.records)
            yield AuditedNetwork(public, LIAR, WINDOWS, network.folder, None, chain, stores)

        monkeypatch.setattr(acts, "open_network", open_network)
        comparison = acts.compare_validators(Settings(), AuditRequest(), named)
        show_comparison(comparison, as_json)
        return comparison.has_copier, capsys.readouterr().out

    return run


def test_the_command_names_the_copier(network, settled, compare_by_command):
    chain = CopiedChain(network.chain, settled)
    code, text = compare_by_command(chain)
    assert code == 1
    assert f"{encode_ss58(COPIER)}: at " in " ".join(text.split())
    code, text = compare_by_command(chain, as_json=True)
    document = json.loads(text)
    assert code == 1
    assert document["windows"] == [0, 5]
    found = {each["validator"]: each for each in document["validators"]}
    assert set(found) == {encode_ss58(h) for h in (LIAR, RIVAL, COPIER)}
    assert found[encode_ss58(LIAR)]["suspicion"] is None
    assert found[encode_ss58(COPIER)]["record"] is False
    assert all(e["settlements_behind"] == 1 for e in found[encode_ss58(COPIER)]["epochs"])


def test_the_command_acquits_those_that_judge(network, compare_by_command):
    code, text = compare_by_command(network.chain, encode_ss58(LIAR), encode_ss58(RIVAL))
    assert code == 0
    assert "There is no sign that any of them copies" in " ".join(text.split())


def test_the_command_says_that_nobody_publishes(network, compare_by_command):
    with pytest.raises(ConfigError, match="publishes a record"):
        compare_by_command(network.chain, encode_ss58(COPIER))


def test_weights_by_rules_of_its_own_are_no_copies(network, settled):
    class OddChain(CopiedChain):
        def get_weights(self, number):
            return {**self._chain.get_weights(number), COPIER: {1: 45, 5: 55}}

    shown = replace(network.make_public(), chain=OddChain(network.chain, settled))
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))[COPIER]
    assert found.suspicion is None
    assert all(s.other.distance > 0.1 for s in found.observed)


def test_windows_are_those_of_the_first_that_was_named_and_can_be_read(network):
    """Not those of the first to announce, nor of one whose store is away."""
    stores = {"https://liar": BrokenShelf(), "https://rival": network.records}
    settlements = read_records(network.records, "rival")[1]
    epoch = max(settlements)
    slots = {
        hotkey: encode_commitment(Commitment(Tag.RECORD, epoch, 0, settlements[epoch].digest, url))
        for hotkey, url in ((LIAR, "https://liar"), (RIVAL, "https://rival"))
    }
    session = SimpleNamespace(
        chain=SimpleNamespace(get_head=lambda: 1, get_commitments=lambda number: slots),
        stores=SimpleNamespace(open=stores.__getitem__),
        history=network.make_public().history,
    )
    for among in ([], [RIVAL], [LIAR, RIVAL]):
        hotkey, slot, _ = find_readable(session, among)
        assert (hotkey, slot.locator) == (RIVAL, "https://rival")
    with pytest.raises(ConfigError, match="the server answers 500"):
        find_readable(session, [LIAR])
