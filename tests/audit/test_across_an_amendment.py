"""A record across amendments of its network: audited clean, and named where it goes by one too late
or too early.
"""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from assay.artifacts.announced_parameters import list_announced
from assay.artifacts.store_objects import UnavailableError, make_parameters_name
from assay.audit.auditor import audit
from assay.audit.bundle_export import export_bundle
from assay.audit.bundle_seal import seal_folder
from assay.audit.explain.explanation import explain
from assay.audit.explain.from_network import WindowQuery, gather_from_network
from assay.audit.sources import ModelShelf
from assay.lab.demo.run import ModelFolders
from assay.network.store.folder import open_folder
from assay.protocol.amendment import ParameterHistory, UnknownParametersError, make_history
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.reason import Reason
from assay.session.parameter_follower import ParameterFollower
from tests.amended_parameters import amend
from tests.audit.amended import EPOCHS, FIRST, SECOND, announce, play_amended
from tests.audit.audited import (
    HOTKEYS,
    LIAR,
    LOCATOR,
    RECORDS,
    WINDOWS,
    ForgetfulChain,
    Liar,
    Shelf,
    accuse,
    list_differences,
    open_audit,
    read_records,
)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return play_amended(tmp_path_factory.mktemp("amended"))


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    report = export(network, folder)
    assert report.matched, (list_differences(report), [f.unknown for f in report.windows])
    return folder


@pytest.fixture(scope="module")
def public(bundle):
    with open_audit(bundle) as public:
        yield public


@pytest.fixture
def liar(network, public):
    windows, settlements = read_records(public.records, epochs=EPOCHS)
    return Liar(public.history, network.chain, windows, settlements)


def export(network, folder, **changes):
    return network.export(folder, public=network.make_public(**changes))


def list_notes(report):
    return " ".join(note for found in report.windows for note in found.notes)


def test_both_sides_are_derived_again(network, bundle):
    """With every forward pass, from the network and from a bundle."""
    first, one, two = network.history.all
    assert [p.start.window for p in network.history.all] == [0, FIRST, SECOND]
    for window in WINDOWS:
        right = first if window < FIRST else one if window < SECOND else two
        assert network.history.get(window) == right
    models = ModelShelf([network.models])
    live = audit(network.make_public(models=models), LIAR, WINDOWS)
    assert live.matched, (list_differences(live), [f.unknown for f in live.windows])
    assert [found.number for found in live.settlements] == list(EPOCHS)
    with open_audit(bundle, models=models) as public:
        assert public.history.all == network.history.all
        offline = audit(public, LIAR, WINDOWS)
    assert offline == live


def test_a_part_of_it_is_audited_alone(network):
    for windows in (range(3), range(3, 5), range(5, 6), range(2, 4)):
        report = audit(network.make_public(), LIAR, windows)
        assert report.matched, (windows, list_differences(report))


def test_a_new_look_at_the_chain_finds_the_same(network, tmp_path):
    stores = {LOCATOR: open_folder(network.folder / "store")}
    followed = ParameterFollower(network.chain, stores.__getitem__, tmp_path)
    assert followed.history.all == network.history.all
    assert audit(network.make_public(history=followed.history), LIAR, WINDOWS).matched


@pytest.mark.parametrize(
    ("window", "used", "words"),
    [
        (4, 0, "which held up to window 2"),
        (2, 1, "which hold from window 3 on"),
        (5, 1, "which held up to window 4"),
        (4, 2, "which hold from window 5 on"),
    ],
)
def test_a_window_of_other_parameters_is_named(window, used, words, public, liar):
    liar.change(window, parameters=public.history.all[used].digest)
    check, sentence = accuse(public, liar)
    assert check == "parameters"
    assert sentence.startswith("parameters ")
    assert words in sentence


def test_a_settlement_of_other_parameters_is_named(public, liar):
    """It is of those of the last window that it covers."""
    first, one, _ = public.history.all
    assert liar.settlements[73].parameters == one.digest
    liar.settle(73, parameters=first.digest)
    check, sentence = accuse(public, liar)
    assert (check, "which held up to window 2" in sentence) == ("parameters", True)


def test_the_burn_share_is_that_of_the_last_window_that_counts(public, liar):
    """By the old parameters in the weights alone: everything else is as it should be."""
    first, one, _ = public.history.all
    liar.history = make_history([first, replace(one, identity=first.identity)])
    check, sentence = accuse(public, liar)
    assert (check, "uid 0 should weigh" in sentence) == ("weights", True)


def test_parameters_that_were_announced_and_never_held(network, public, liar):
    """The slot named them at the very block of the commitments."""
    never = announce(network.parameters)[45]
    liar.change(3, parameters=never.digest)
    check, sentence = accuse(public, liar)
    assert (check, "hold for window 3" in sentence) == ("parameters", True)
    assert never.digest.hex()[:16] in sentence


def test_an_announcement_that_cannot_be_had_accuses_nobody(network):
    """Nobody could work by it: those that hold are known."""
    for rules in (None, lambda slot: Shelf()):
        report = audit(network.make_public(rules=rules), LIAR, WINDOWS)
        assert report.matched, list_differences(report)
        assert "is not looked at" in list_notes(report)


def test_using_parameters_decided_and_withdrawn_is_not_accused(network):
    """A later look at the chain does not find them: they are neither a match nor a lie."""
    slot = encode_commitment(Commitment(Tag.PARAMETERS, 0, 0, network.parameters.digest, LOCATOR))

    class TakenBack:
        def __init__(self, chain):
            self._chain = chain

        def __getattr__(self, name):
            return getattr(self._chain, name)

        def get_commitments(self, number):
            slots = self._chain.get_commitments(number)
            return {**slots, HOTKEYS["owner"]: slot} if number > 12 else slots

    history = make_history([network.parameters])
    public = network.make_public(chain=TakenBack(network.chain), history=history)
    report = audit(public, LIAR, range(2, 4))
    assert not report.differs, list_differences(report)
    assert [bool(found.unknown) for found in report.windows] == [False, True]
    assert "has led elsewhere since" in report.windows[1].unknown[0][1]
    report = audit(public, LIAR, range(5, 6))  # this one was not in the slot at block 36
    assert list_differences(report)[0][0] == "parameters"


def test_state_that_is_forgotten_makes_it_the_owners_word(network):
    public = network.make_public(chain=ForgetfulChain(network.chain, 30))
    report = audit(public, LIAR, range(3, 5))
    assert not report.differs
    assert "hold from window 3 on is their owner's word" in list_notes(report)


def test_a_history_that_the_slot_did_not_say_is_no_ground_to_accuse(network):
    """An auditor with parameters that were never decided derives nothing."""
    never = announce(network.parameters)[45]
    history = make_history([*network.history.all, never])
    first, one, _ = network.history.all
    other = amend(one, SECOND, work=replace(one.work, prompt_share=2))
    public = network.make_public(history=make_history([first, one, other]))
    report = audit(public, LIAR, range(5, 6))
    assert not report.differs
    assert "were not in the owner's slot at block 36" in report.windows[0].unknown[0][1]
    report = audit(network.make_public(history=history), LIAR, WINDOWS)
    assert report.matched  # it starts later than what is looked at


def test_parameters_that_cannot_be_read_here_leave_their_windows_open(network, tmp_path):
    first, one, _ = network.history.all
    history = make_history([first, one])
    history.stop_at(SECOND, "parameters of an environment that is not here")
    report = audit(network.make_public(history=history), LIAR, WINDOWS)
    assert not report.differs
    assert [bool(found.unknown) for found in report.windows] == [False] * 5 + [True]
    assert "that is not here" in report.windows[5].unknown[0][1]
    with pytest.raises(UnknownParametersError, match="that is not here"):
        export(network, tmp_path / "bundle", history=history)
    assert not (tmp_path / "bundle").exists()


def test_a_network_that_was_replaced_is_looked_back_at_by_window(network):
    """With its amendments, each by the slot's content at its decision."""
    identity = replace(network.parameters.identity, burn_share=1)
    after = replace(network.parameters, identity=identity, timing=network.history.latest.timing)
    slot = encode_commitment(Commitment(Tag.PARAMETERS, 0, 0, after.digest, LOCATOR))

    class Replaced:
        def __init__(self, chain):
            self._chain = chain

        def __getattr__(self, name):
            return getattr(self._chain, name)

        def get_commitments(self, number):
            slots = self._chain.get_commitments(number)
            return {**slots, HOTKEYS["owner"]: slot} if number > 140 else slots

    public = network.make_public(
        chain=Replaced(network.chain), parameters=after, history=ParameterHistory(after)
    )
    report = audit(public, LIAR, range(5, 6))
    assert report.matched, (list_differences(report), report.windows, report.settlements)
    report = audit(public, LIAR, range(2, 3))  # its windows were others
    assert not report.differs
    assert "have other windows" in report.windows[0].unknown[0][1]


# --- bundles


def test_a_bundle_that_was_begun_before_an_amendment_goes_on(network, bundle, tmp_path):
    """An amendment that was decided meanwhile does not concern its windows."""
    first, one, _ = network.history.all
    folder = tmp_path / "bundle"
    windows = range(2)

    def export_with(history, progress):
        return export_bundle(
            network.make_public(history=history),
            LIAR,
            windows,
            folder,
            tmp_path / "scratch",
            lambda: iter([ModelFolders(network.models)]),
            progress,
        )

    class CutOff(BaseException):
        pass

    def stop(done, due):
        if done:
            raise CutOff

    with pytest.raises(CutOff):
        export_with(make_history([first, one]), stop)
    assert export_with(network.history, lambda done, due: None).matched
    with open_audit(folder) as public:
        assert public.history.all == (first, one)
        assert audit(public, LIAR, windows).matched


def test_a_bundle_without_a_predecessor_is_none(network, bundle, tmp_path):
    folder = tmp_path / "bundle"
    store = folder / "store"
    (folder / "store" / "parameters").mkdir(parents=True)
    for path in bundle.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    for parameters in network.history.all[1:]:
        name = make_parameters_name(parameters.digest)
        (store / name).write_bytes((bundle / "store" / name).read_bytes())
    (folder / "SHA256SUMS").unlink()
    seal_folder(folder)
    with (
        pytest.raises(UnavailableError, match="publish the parameters there again"),
        open_audit(folder),
    ):
        pass


def test_announced_parameters_are_listed_with_their_changes(network):
    first, one, _ = network.history.all
    never = announce(network.parameters)[45]
    history = make_history([first, one])
    assert list_announced(history, None, 36) == []
    (coming,) = list_announced(history, None, 35)
    assert (coming.window, coming.block, coming.decided_at, coming.is_decided) == (3, 36, 12, True)
    assert set(coming.list_changes()) == {
        "identity.burn_share",
        "timing.audit_offset",
        "timing.sample_offset",
        "work.prompt_share",
        "work.valued_groups",
    }
    assert "work.prompt_share 150000 → 50000" in coming.describe()
    both = list_announced(network.history, never, 59)
    assert [(c.window, c.is_decided) for c in both] == [(5, True), (8, False)]
    assert "decided at block 72" in both[1].describe()
    document = json.loads(json.dumps(both[0].to_json()))
    assert document["changes"] == [{"field": "timing.verdict_end", "before": 36, "after": 40}]


# --- explained


def explain_window(network, tmp_path, window, name="alice", **options):
    places = {LOCATOR: network.folder / "store", RECORDS: network.folder / "records"}
    session = SimpleNamespace(
        chain=network.chain,
        beacons=network.beacons,
        history=network.history,
        stores=SimpleNamespace(open=lambda locator: open_folder(places[locator])),
    )
    asked = WindowQuery(HOTKEYS[name], window, tmp_path, network.models, None, None)
    facts, _ = gather_from_network(session, network.make_public().outlines, asked)
    return explain(facts)


def test_each_side_is_explained_by_its_own_parameters(network, tmp_path):
    for window in (2, 3, 5):
        explanation = explain_window(network, tmp_path, window)
        right = network.history.get(window)
        assert explanation.accepted, explanation
        assert explanation.facts.context.parameters == right
        assert len([g for g in explanation.groups if g.valued]) == right.work.valued_groups
        assert explanation.facts.statements[0].reason is Reason.ACCEPTED
        assert explanation.facts.settled.score > 0
    assert explain_window(network, tmp_path, 5).facts.settles_at == EPOCHS[3]


def test_a_window_whose_parameters_cannot_be_read_is_not_explained(network, tmp_path):
    first, one, _ = network.history.all
    history = make_history([first, one])
    history.stop_at(SECOND, "parameters of an environment that is not here")
    with pytest.raises(UnknownParametersError, match="that is not here"):
        explain_window(replace(network, history=history), tmp_path, 5)
