"""Claims that nobody can prove to be lies, and state that the nodes have forgotten."""

from dataclasses import replace

import pytest

from assay.audit.auditor import audit
from assay.network.chain.errors import ForgottenError
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    Outcome,
    make_settlement_record_name,
    make_window_record_name,
)
from assay.verification.settlement import scale_values
from tests.audit.audited import (
    HOTKEYS,
    LIAR,
    WINDOWS,
    ForgetfulChain,
    Shelf,
    audit_liar,
    list_differences,
)
from tests.audit.lies import ADDRESS, find_earlier, raise_a_value, refuse_for


@pytest.mark.parametrize(
    "reason", [Reason.NOT_REVEALED, Reason.MALFORMED, Reason.ROOT_MISMATCH, Reason.WRONG_HEADER]
)
def test_a_file_that_is_there_may_not_have_been(reason, public, liar):
    """Skipping an audit by saying that there was nothing to audit: said, and nobody accused."""
    refuse_for(reason)(liar)
    liar.agree()
    report = audit_liar(public, liar)
    assert list_differences(report) == []
    assert report.matched
    notes = " ".join(report.windows[1].notes)
    assert f"says {reason}; the file that is served now is whole" in notes


def test_a_sample_that_is_there_may_not_have_been(public, liar):
    """With the witness of an audit that has found nothing."""
    liar.change_row(1, "alice", reason=Reason.MALFORMED, values=(), score=0)
    liar.agree()
    report = audit_liar(public, liar)
    assert list_differences(report) == []
    assert report.windows[1].words == 1


def test_a_file_that_is_gone_is_not_a_lie_and_not_a_match(public, liar):
    """Nora showed nothing and is paid: what she committed to is not there to say otherwise."""
    row = liar.get_row(1, "alice")
    liar.change_row(
        1,
        "nora",
        reason=Reason.ACCEPTED,
        values=row.values[:3],
        score=scale_values(3, row.values[:3]),
        witness=row.witness,
    )
    liar.agree()
    report = audit_liar(public, liar)
    assert not report.differs
    assert not report.matched
    assert "the committed file is not served" in report.windows[1].unknown[0][1]


def test_abstaining_is_not_accused(public, liar):
    """A window that it judged in part, and one that it never saw: they count for nobody."""
    rows = [
        replace(row, reason=None, values=(), score=0, witness=b"")
        if row.hotkey == HOTKEYS["bob"]
        else row
        for row in liar.windows[2].members
    ]
    liar.change(2, outcome=Outcome.ABSTAINED, members=tuple(rows))
    liar.change(
        3, outcome=Outcome.ABSTAINED, challenge=None, audit=None, checkpoint=NOTHING, members=()
    )
    liar.settle(73, weights=())
    liar.shown[73] = {w.uid: w.weight for w in liar.settlements[48].weights}
    liar.agree()
    report = audit_liar(public, liar)
    assert list_differences(report) == []
    assert report.matched
    assert any("abstained" in note for note in report.windows[2].notes)
    assert any("abstained" in note for note in report.windows[3].notes)


def test_nothing_is_published_is_not_checked(public, liar):
    liar.agree()
    objects = liar.list_objects()
    del (
        objects[make_window_record_name(ADDRESS, 4)],
        objects[make_settlement_record_name(ADDRESS, 98)],
    )
    report = audit(replace(public, chain=liar.make_chain(), records=Shelf(objects)), LIAR, WINDOWS)
    assert not report.differs
    assert "has published no" in report.windows[4].unknown[0][1]
    assert "has published no" in report.settlements[2].unknown[0][1]
    assert report.windows[3].matched


# --- state that the nodes have forgotten


def test_old_windows_are_proven_by_what_blocks_still_hold(network):
    """Members by the seats they hold now, commitments by what their hotkeys signed."""
    public = network.make_public(chain=ForgetfulChain(network.chain, 100))
    report = audit(public, LIAR, range(1, 3))
    assert not report.differs
    assert not report.matched
    for found in report.windows:
        missed = {check.value for check, _ in found.unknown}
        assert missed == {"checkpoint"}, found.unknown
        assert all("it needs an archive endpoint" in why for _, why in found.unknown)
        assert {*("blocks", "beacons", "members", "commitments", "values", "scores")} <= {
            check.value for check in found.checked
        }
        assert "members are proven by the seats that they still hold" in found.notes
    for found in report.settlements:
        assert {check.value for check, _ in found.unknown} == {
            *("windows", "settled scores", "weights on chain")
        }
        assert {"score root", "weights"} <= {check.value for check in found.checked}
    assert [found.number for found in report.settlements] == [48, 73]


def test_a_commitment_that_nobody_signed_in_time(network, liar):
    """Her first word of the window, not her last: told as not proven, not as a lie, for what she
    signed last may have been refused."""
    liar.change_row(1, "nora", committed=find_earlier(network, None, 1))
    liar.agree()
    public = network.make_public(
        chain=ForgetfulChain(network.chain, 100), records=Shelf(liar.list_objects())
    )
    report = audit(public, LIAR, range(1, 2))
    (said,) = [why for check, why in report.windows[0].unknown if check.value == "commitments"]
    assert said.startswith("7 of 8 commitments are proven by what blocks 12 to 25 hold")
    assert not report.differs


def test_a_seat_that_was_taken_over_since(network):
    """The present holder registered later, so the earlier holder is neither accused nor
    believed."""
    members = dict(network.chain.get_members(100))
    members[b"\x99" * 32] = replace(members.pop(HOTKEYS["alice"]), registered_at=90)

    class Later(ForgetfulChain):
        def get_members(self, number):
            if number < self._kept:
                raise ForgottenError(f"state at block {number} is discarded")
            return members

    public = network.make_public(chain=Later(network.chain, 100))
    report = audit(public, LIAR, range(1, 2))
    (said,) = [why for check, why in report.windows[0].unknown if check.value == "members"]
    assert said.startswith("7 of 8 members are proven by later state, 1 are not")
    assert not report.differs


def test_a_score_is_wrong_however_old_it_is(network, liar):
    raise_a_value(liar)
    liar.agree()
    chain = ForgetfulChain(network.chain, 100)
    public = network.make_public(chain=chain, records=Shelf(liar.list_objects()))
    found = list_differences(audit(public, LIAR, WINDOWS))
    assert [check for check, _ in found] == ["values"]
