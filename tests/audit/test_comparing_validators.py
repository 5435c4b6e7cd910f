"""Three validators of one subnet, one of which copies: it stands out, and the others do not."""

import json
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from assay.audit.comparison import compare, compute_distance
from assay.cli import audit_compare
from assay.cli.audit import AuditedNetwork, AuditRequest
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import Settings
from assay.protocol import encode_ss58
from tests.audit.audited import HOTKEYS, LIAR, RIVAL, WINDOWS, Shelf, read_records

COPIER = HOTKEYS["nora"]


class CopiedChain:
    """A chain on which somebody always shows what another had settled one epoch before."""

    def __init__(self, chain, settled, late=1):
        self._chain, self._settled, self._late = chain, settled, late

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_weights(self, number):
        epochs = [epoch for epoch in sorted(self._settled) if epoch < number]
        rows = dict(self._chain.get_weights(number))
        if len(epochs) <= self._late:
            return rows
        weights = self._settled[epochs[-1 - self._late]].weights
        return {**rows, COPIER: {weight.uid: weight.weight for weight in weights}}


@pytest.fixture
def settled(public):
    return read_records(public.records)[1]


def by_hotkey(comparison):
    return {validator.hotkey: validator for validator in comparison.validators}


def test_whoever_shows_anothers_last_weights_stands_out(network, public, settled):
    chain = CopiedChain(network.chain, settled)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))
    for honest in (LIAR, RIVAL):
        assert found[honest].suspicion is None
        assert found[honest].report.matched
        assert all(s.own == 0 and s.behind == 0 for s in found[honest].shown)
    copier = found[COPIER]
    assert "another's of an earlier settlement" in copier.suspicion
    assert len(copier.copied) == len(copier.shown) > 0
    assert all(s.other.distance == 0 and s.behind == 1 for s in copier.shown)


def test_whoever_has_no_record_and_shows_what_others_show_is_not_accused(network, settled):
    chain = CopiedChain(network.chain, settled, late=0)
    shown = replace(network.make_public(), chain=chain)
    found = by_hotkey(compare({LIAR: shown, RIVAL: shown, COPIER: None}, WINDOWS))[COPIER]
    assert found.suspicion is None
    assert found.shown
    assert all(s.own is None and s.other.distance == 0 and s.behind == 0 for s in found.shown)


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
    """What the command prints of a chain; its exit code."""

    def run(chain, *named, as_json=False):
        @contextmanager
        def open_network(settings, request, *, anyones):
            public = replace(network.make_public(), chain=chain)
            stores = SimpleNamespace(open=lambda locator: network.records)
            yield AuditedNetwork(public, LIAR, WINDOWS, network.folder, None, chain, stores)

        monkeypatch.setattr(audit_compare, "open_network", open_network)
        code = audit_compare.run_compare(Settings(), AuditRequest(), named, as_json)
        return code, capsys.readouterr().out

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
    assert "Nothing says that any of them copies" in " ".join(text.split())


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
    assert all(s.other.distance > 0.1 for s in found.shown)
