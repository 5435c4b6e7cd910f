"""Validators who lie about their earlier publications: `assay audit` names the lie."""

from dataclasses import replace

from assay.audit.auditor import audit
from assay.audit.bundle_seal import open_records
from assay.network.evm import make_ledger_entry
from assay.protocol.encoding import encode
from assay.protocol.reason import Reason
from assay.protocol.record import NOTHING, make_settlement_record_name, make_window_record_name
from tests.audit.audited import EPOCHS, LIAR, Liar, Shelf, accuse, audit_liar, list_differences
from tests.audit.lies import ADDRESS, raise_a_score


def test_an_old_record_is_rewritten(public, liar, bundle, models):
    """A value is off by one: a reader that kept the old record names it, and so does the audit
    itself."""
    raise_a_score(liar)
    copies = {"a friend's bundle": open_records(bundle)}
    check, sentence = accuse(public, liar, copies=copies)
    assert check == "copies"
    assert sentence.startswith(f"a friend's bundle has got another {ADDRESS}/window-1.record")


def test_an_old_record_is_rewritten_in_what_nobody_can_check(public, liar, bundle):
    """Only the copy shows it: without a model this refusal is the validator's word."""
    liar.change_row(1, "alice", reason=Reason.SAMPLING_MISMATCH, values=(), score=0)
    liar.agree()
    assert list_differences(audit_liar(public, liar)) == []
    check, _ = accuse(public, liar, copies={"a friend": open_records(bundle)})
    assert check == "copies"


def test_a_record_is_rewritten_behind_what_the_chain_binds(public, liar):
    """The announcement is unchanged: it names other bytes."""
    announced = liar.settlements[EPOCHS[-1]].digest
    liar.change_row(1, "alice", reason=Reason.SAMPLING_MISMATCH, values=(), score=0)
    liar.announced = announced
    check, sentence = accuse(public, liar)
    assert check == "announced"
    assert "another record of epoch 98" in sentence


def test_different_readers_are_shown_different_records(public, liar):
    """Both sets agree with themselves; on chain there is room for one."""
    one = Liar(liar.history, liar.chain, dict(liar.windows), dict(liar.settlements))
    one.change_row(0, "alice", reason=Reason.SAMPLING_MISMATCH, values=(), score=0)
    one.agree()
    liar.agree()
    one.announced = liar.settlements[EPOCHS[-1]].digest
    check, _ = accuse(public, one)
    assert check == "announced"
    check, sentence = accuse(public, liar, copies={"another reader": Shelf(one.list_objects())})
    assert check == "copies"
    assert "different records to different readers" in sentence


def test_an_old_settlement_is_not_the_one_that_the_newest_follows(public, liar):
    """Audited alone: the links from the announced one lead to it."""
    liar.agree()
    objects = liar.list_objects()
    forged = replace(liar.settlements[48], software="another")
    objects[make_settlement_record_name(ADDRESS, 48)] = encode(forged)
    report = audit(replace(public, chain=liar.make_chain(), records=Shelf(objects)), LIAR, range(2))
    found = list_differences(report)
    assert [check for check, _ in found] == ["announced"]
    assert "another record of epoch 48" in found[0][1]


def test_a_window_is_taken_out_of_the_chain(public, liar):
    liar.change(3, previous=liar.windows[1].digest)
    liar.frozen.add((3, "previous"))
    check, sentence = accuse(public, liar)
    assert (check, "than the one published of window 2" in sentence) == ("link", True)


def test_a_new_chain_is_begun_in_the_middle(public, liar):
    liar.change(3, previous=NOTHING)
    liar.frozen.add((3, "previous"))
    check, sentence = accuse(public, liar)
    assert (check, "starts a chain of its own" in sentence) == ("link", True)


def test_bytes_that_are_no_record(public, liar):
    name = make_window_record_name(ADDRESS, 2)
    for data in (b"", encode(liar.windows[2])[:-1], encode(liar.windows[2]) + b"\0", b"\xff" * 90):
        liar.raw = {name: data}
        check, sentence = accuse(public, liar)
        assert (check, "is not a record" in sentence) == ("record", True)


def test_another_windows_record_under_a_name(public, liar):
    liar.raw = {make_window_record_name(ADDRESS, 2): encode(liar.windows[3])}
    check, sentence = accuse(public, liar)
    assert (check, "under its name lies window 3's" in sentence) == ("record", True)


class Ledger(dict):
    """The contract's entries, by epoch."""

    def get_digest(self, hotkey, epoch):
        assert hotkey == LIAR
        return self.get(epoch, bytes(32))


def test_another_digest_in_the_ledger(public, liar):
    from assay.cli.audit_view import describe_report

    liar.agree()
    right = {epoch: make_ledger_entry(r).digest for epoch, r in liar.settlements.items()}
    report = audit_liar(public, liar, ledger=Ledger(right))
    assert describe_report(report)["ledger_match"] is True
    check, sentence = accuse(public, liar, ledger=Ledger({**right, 73: b"\1" * 32}))
    assert (check, "another entry of epoch 73" in sentence) == ("ledger", True)
    report = audit_liar(public, liar, ledger=Ledger({48: right[48]}))
    assert describe_report(report)["ledger_match"] is None
    assert not report.matched
    assert not report.differs
