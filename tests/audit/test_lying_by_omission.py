"""Validators who lie by omissions and by their records' links; and honest ones who must not be
mistaken for them."""

import json
from dataclasses import replace

import pytest

from assay.artifacts.store_objects import make_parameters_name
from assay.audit.auditor import audit
from assay.audit.bundle_export import export_bundle
from assay.audit.opening import find_newest, open_published
from assay.lab.demo.run import ModelFolders
from assay.network.chain.errors import ForgottenError
from assay.network.store.base import StoreError
from assay.network.store.opening import ReadableStores
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment, Tag, encode_commitment
from assay.protocol.reason import Reason
from assay.protocol.record import NOTHING, Outcome, make_latest_name
from assay.protocol.ss58 import encode_ss58
from assay.settings.loading import ConfigError
from tests.audit.audited import (
    EPOCHS,
    HOTKEYS,
    LIAR,
    LOCATOR,
    RECORDS,
    WINDOWS,
    ForgetfulChain,
    Shelf,
    accuse,
    audit_liar,
    list_differences,
    open_audit,
)


def refuse(liar, window, name, reason):
    liar.change_row(window, name, reason=reason, values=(), score=0, witness=b"")


def abstain(liar, epoch):
    """From all windows of an epoch, which then sets no weights."""
    for covered in liar.settlements[epoch].windows:
        liar.change(covered.window, outcome=Outcome.ABSTAINED, audit=None, members=())


class Showing:
    """A chain whose slots are others."""

    def __init__(self, chain, slots, since=0):
        self._chain, self._slots, self._since = chain, slots, since

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_commitments(self, number):
        slots = self._chain.get_commitments(number)
        return {**slots, **self._slots} if number >= self._since else slots


# --- leaving out a competitor's earnings


def test_a_window_is_settled_between_two_epochs(public, liar):
    """Nobody is paid for it there: the block ends no epoch, and the settlement is linked, agrees
    with itself, and is never looked at."""
    newest = liar.settlements[98]
    liar.settlements[85] = replace(newest, epoch=85, windows=newest.windows[:1])
    liar.settlements[98] = replace(newest, windows=newest.windows[1:])
    liar.agree()
    liar.shown[85] = {w.uid: w.weight for w in liar.settlements[73].weights}
    check, sentence = accuse(public, liar)
    assert (check, "follows a settlement at block 85" in sentence) == ("windows", True)


def test_a_settlement_is_left_out_so_that_the_next_may_begin_late(public, liar):
    """Also if only the settled windows by its own account are audited."""
    newest = liar.settlements[98]
    liar.settlements[98] = replace(newest, windows=newest.windows[1:])
    del liar.settlements[73]
    for windows in (WINDOWS, range(5, 6)):
        check, sentence = accuse(public, liar, windows=windows)
        assert check == "windows"
        assert sentence == "window 4 of its epoch has a record, and is not settled"


def test_a_late_beginning_is_not_accused(public, liar):
    """A first settlement that begins within its epoch: said, and no more."""
    newest = liar.settlements[98]
    for epoch in EPOCHS[:2]:
        del liar.settlements[epoch]
    liar.settlements[98] = replace(
        newest, windows=newest.windows[1:], previous=NOTHING, previous_epoch=0
    )
    liar.windows = {5: replace(liar.windows[5], previous=NOTHING)}
    liar.agree()
    report = audit_liar(public, liar, windows=range(5, 6))
    assert report.matched, list_differences(report)
    assert "windows 4 to 4 of its epoch have no record" in " ".join(report.settlements[0].notes)


def test_void_where_there_was_nothing_to_judge_yet(public, liar):
    """Else --model would never look at it: an abstention in the words of a void window."""
    liar.change(2, outcome=Outcome.VOID, audit=None, members=())
    check, sentence = accuse(public, liar)
    assert (check, "the window is void, though" in sentence) == ("verdicts", True)


def test_abstaining_hides_no_ledger(public, liar, models):
    """A window that nobody was judged in leaves the settlement's ledgers as they were."""
    liar.change(2, outcome=Outcome.ABSTAINED, audit=None, members=())
    liar.change_row(3, "alice", reason=Reason.LEDGER_MISMATCH, values=(), score=0)
    check, sentence = accuse(public, liar, models=models, windows=range(2, 4))
    assert (check, "says LEDGER_MISMATCH, and it is ACCEPTED" in sentence) == ("verdicts", True)


@pytest.mark.parametrize("reason", [Reason.NOT_REVEALED, Reason.INTERNAL])
def test_a_refusal_that_nobody_can_refute_is_counted(reason, public, liar, models):
    """Twice it costs a competitor its settlement: it is no match to be silent about."""
    for window in (2, 3):
        refuse(liar, window, "alice", reason)
    liar.agree()
    for shelf in (None, models):
        report = audit_liar(public, liar, models=shelf)
        assert not report.differs
        assert [found.words for found in report.windows] == [0, 0, 1, 1, 0, 0]


# --- weights that no record has


def test_an_abstaining_validator_chooses_its_weights(public, liar):
    """A record without weights binds nothing, and the chain pays by the weights that it has."""
    abstain(liar, 73)
    liar.shown[73] = {6: 65_535}
    check, sentence = accuse(public, liar)
    assert check == "weights on chain"
    assert "weights that no settlement of the record has: uid 6 weighs 65535" in sentence


def test_abstaining_with_older_weights_is_not_accused(public, liar):
    abstain(liar, 73)
    liar.agree()
    liar.shown[73] = {w.uid: w.weight for w in liar.settlements[48].weights}
    report = audit_liar(public, liar)
    assert report.matched, list_differences(report)


def test_the_right_weights_an_epoch_late_and_others_before(public, liar):
    """One look in three epochs would do for weights that stay the same."""
    liar.agree()
    right = {w.uid: w.weight for w in liar.settlements[73].weights}
    liar.shown[73], liar.shown[98] = {6: 65_535}, right
    check, sentence = accuse(public, liar)
    assert (check, "at block 98 the chain shows weights" in sentence) == ("weights on chain", True)


def test_weights_that_came_too_late_are_no_lie(public, liar):
    """The chain had those of the settlements before and after: not shown, not accused."""
    liar.agree()
    liar.shown[73] = {w.uid: w.weight for w in liar.settlements[48].weights}
    report = audit_liar(public, liar)
    assert list_differences(report) == []
    assert "but other settlements' of it" in report.settlements[1].unknown[0][1]


class Young:
    """A chain that has come up to some block only."""

    def __init__(self, chain, head):
        self._chain, self._head = chain, head

    def __getattr__(self, name):
        return getattr(self._chain, name)

    def get_head(self):
        return self._head


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (95, "window 5 is still open until block 96, and the chain is at block 95"),
        (97, "window 5 is settled at epoch block 98, and the chain is at block 97"),
        (98, "the validator has published no"),
    ],
)
def test_a_record_that_is_not_due_is_told_from_one_that_is_missing(network, liar, head, words):
    del liar.windows[5], liar.settlements[98]
    public = network.make_public(
        chain=Young(network.chain, head), records=Shelf(liar.list_objects())
    )
    report = audit(public, LIAR, range(5, 6))
    assert not report.differs
    assert report.windows[0].unknown[0][1].startswith(words)


# --- bound by the chain


def test_an_old_settlement_is_passed_over_by_the_links(public, liar):
    """Two settlements follow the same one: nothing on chain says which reader is shown which."""
    liar.agree()
    old = liar.settlements[48]
    liar.settlements[98] = replace(
        liar.settlements[98], previous=old.digest, previous_epoch=old.epoch
    )
    report = audit_liar(public, liar, windows=range(2, 4))
    ((check, sentence),) = list_differences(report)
    assert (check, "lead from epoch 98 past it to epoch 48" in sentence) == ("announced", True)
    ((check, sentence),) = list_differences(audit_liar(public, liar))
    assert (check, "passes over the settlement" in sentence) == ("link", True)


def test_an_older_announcement_still_binds(public, liar):
    """The latest announcement is not the newest, and names another record than the published
    one."""
    announced = liar.settlements[48].digest
    liar.change_row(0, "alice", reason=Reason.SAMPLING_MISMATCH, values=(), score=0)
    liar.agree()
    for digest, lies in ((announced, True), (liar.settlements[48].digest, False)):
        slot = encode_commitment(Commitment(Tag.RECORD, 48, 0, digest, RECORDS))
        chain = Showing(liar.make_chain(), {LIAR: slot})
        records = Shelf(liar.list_objects())
        report = audit(replace(public, chain=chain, records=records), LIAR, WINDOWS)
        found = list_differences(report)
        assert [check for check, _ in found] == (["announced"] if lies else [])
        assert "up to epoch 48" in " ".join(report.settlements[-1].notes)


def test_nothing_is_announced(public, liar):
    liar.agree()
    chain = Showing(liar.make_chain(), {LIAR: b"something else"})
    report = audit(replace(public, chain=chain, records=Shelf(liar.list_objects())), LIAR, WINDOWS)
    assert not report.differs
    assert "announces no record" in " ".join(report.settlements[-1].notes)


# --- a network that changed, a node that forgot


class Change:
    """The network once its owner has published another burn share, in block 74."""

    def __init__(self, network):
        self.public = network.make_public()
        self.before = self.public.parameters
        identity = replace(self.before.identity, burn_share=200_000)
        self.after = replace(self.before, identity=identity)
        self.slot = encode_commitment(Commitment(Tag.PARAMETERS, 0, 0, self.after.digest, LOCATOR))

    def make_public(self, chain, kept, **changes):
        """The inputs of an audit, as an auditor finds them.

        Args:
            kept: the parameters in the owner's store as the earlier ones.
        """
        name = make_parameters_name(self.before.digest)
        shelf = Shelf({} if kept is None else {name: json.dumps(kept.to_json()).encode()})
        changes["chain"] = Showing(chain, {HOTKEYS["owner"]: self.slot}, since=74)
        history = ParameterHistory(self.after)
        return replace(
            self.public, parameters=self.after, history=history, rules=lambda slot: shelf, **changes
        )


@pytest.fixture
def change(network):
    return Change(network)


def test_verdicts_before_a_change_of_parameters_are_derived_again(network, change):
    report = audit(change.make_public(network.chain, change.before), LIAR, range(4))
    assert report.matched, list_differences(report)
    assert "parameters" in {check.value for check in report.windows[0].checked}


def test_earlier_parameters_that_are_not_to_be_had_leave_it_open_and_nobody_accused(
    network, change
):
    timing = replace(change.before.timing, tempo=change.before.timing.tempo + 1)
    late = replace(change.before, timing=timing)
    nowhere = change.make_public(network.chain, None)
    for public, words in (
        (replace(nowhere, rules=None), "no store is asked"),
        (nowhere, "publish the parameters there again"),
        (change.make_public(network.chain, change.after), "holds other parameters"),
        (
            replace(
                change.make_public(network.chain, change.before), history=ParameterHistory(late)
            ),
            "windows",
        ),
    ):
        report = audit(public, LIAR, range(1, 2))
        assert list_differences(report) == []
        for found in (*report.windows, *report.settlements):
            ((check, why),) = found.unknown
            assert (check.value, words in why) == ("parameters", True)


def test_judging_by_parameters_not_yet_in_force(change, liar):
    """By those to come, which everybody looks with now: in the weights, and in its own words."""
    liar.history = ParameterHistory(change.after)
    liar.agree()
    records = Shelf(liar.list_objects())
    public = change.make_public(liar.make_chain(), change.before, records=records)
    found = list_differences(audit(public, LIAR, range(4)))
    assert [check for check, _ in found] == ["weights", "weights"]
    liar.change(1, parameters=change.after.digest)
    liar.agree()
    records = Shelf(liar.list_objects())
    public = change.make_public(liar.make_chain(), change.before, records=records)
    check, sentence = list_differences(audit(public, LIAR, range(4)))[0]
    assert (check, "and the record used" in sentence) == ("parameters", True)


def test_a_bundle_holds_the_earlier_parameters(network, change, tmp_path):
    public = change.make_public(network.chain, change.before)
    report = export_bundle(
        public,
        LIAR,
        range(1, 2),
        tmp_path / "bundle",
        tmp_path / "scratch",
        lambda: iter([ModelFolders(network.models)]),
        lambda *_: None,
    )
    assert report.matched
    with open_audit(tmp_path / "bundle") as opened:
        assert opened.parameters == change.after
        assert audit(opened, LIAR, range(1, 2)).matched


def test_a_miner_is_left_out_whose_seat_was_taken_since(network, liar):
    """A miner that was not paid loses the seat, and later state does not show it."""
    members = dict(network.chain.get_members(100))
    members[b"\x99" * 32] = replace(members.pop(HOTKEYS["alice"]), registered_at=90)

    class Later(ForgetfulChain):
        def get_members(self, number):
            if number < self._kept:
                raise ForgottenError(f"state at block {number} is discarded")
            return members

    rows = [row for row in liar.windows[1].members if row.hotkey != HOTKEYS["alice"]]
    liar.change(1, members=tuple(rows))
    liar.agree()
    public = network.make_public(
        chain=Later(network.chain, 100), records=Shelf(liar.list_objects())
    )
    found = audit(public, LIAR, range(1, 2)).windows[0]
    (said,) = [why for check, why in found.unknown if check.value == "members"]
    assert said.startswith("7 of 7 members are proven by later state, 1 are not")


# --- where a record is said to lie


def test_an_announced_folder_is_no_locator(tmp_path):
    """A stranger's word opens nothing of ours that --readable does not name."""
    stores = ReadableStores([])
    for locator in (str(tmp_path), tmp_path.as_uri()):
        announced = Commitment(Tag.RECORD, 98, 0, bytes(32), locator)
        with pytest.raises(StoreError):
            open_published(stores, None, announced, LIAR)
    assert open_published(stores, str(tmp_path), None, LIAR).root == tmp_path.resolve()


def test_the_hint_is_rolled_back_to_what_was_honest(public, liar):
    """`latest.json` is the validator's own; its announcement names the newest settlement."""
    liar.agree()
    name = make_latest_name(encode_ss58(LIAR))
    announced = Commitment(Tag.RECORD, 98, 0, liar.settlements[98].digest, RECORDS)
    for hint in (b'{"epoch": 48}', b"[]", b'{"epoch": 1e999}', None):
        liar.raw = {} if hint is None else {name: hint}
        records = Shelf(liar.list_objects())
        if hint in (b'{"epoch": 48}', None):
            assert find_newest(records, LIAR, public.history, announced) == range(4, 6)
        else:
            with pytest.raises(ConfigError, match="has no newest settlement"):
                find_newest(records, LIAR, public.history, announced)
