"""Validators who lie about a verdict: `assay audit --model` names the lie."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from assay.protocol.reason import Reason, Refusal
from assay.protocol.record import Outcome
from assay.verification.settlement import scale_values
from tests.audit.audited import HOTKEYS, accuse, audit_liar, list_differences, read_records


def accept_a_cheat(liar):
    liar.change_row(
        1,
        "mallory",
        reason=Reason.ACCEPTED,
        values=liar.true_values,
        score=scale_values(5, liar.true_values),
    )


def refuse_the_honest(reason):
    def lie(liar):
        liar.change_row(1, "alice", reason=reason, values=(), score=0)

    lie.__name__ = f"refuse_the_honest_for_{reason}"
    return lie


def give_another_reason(liar):
    liar.change_row(1, "mallory", reason=Reason.LOGPROB_MISMATCH)


def copy_anothers_verdicts(liar):
    """Every verdict is right; whose forward passes they were shows."""
    for name in ("alice", "bob", "mallory"):
        theirs = next(r for r in liar.rivals[1].members if r.hotkey == HOTKEYS[name])
        liar.change_row(1, name, witness=theirs.witness)


def invent_a_witness(liar):
    liar.change_row(1, "alice", witness=bytes(len(liar.get_row(1, "alice").witness)))


def shift_a_witness_by_two(liar):
    row = liar.get_row(1, "alice")
    first = (row.witness[0] + 2) % 256
    liar.change_row(1, "alice", witness=bytes([first]) + row.witness[1:])


def declare_a_good_checkpoint_void(liar):
    rows = [
        replace(row, reason=None, values=(), score=0, witness=b"")
        for row in liar.windows[1].members
    ]
    liar.change(1, outcome=Outcome.VOID, members=tuple(rows))


@dataclass(frozen=True)
class Worded:
    """Files as the validator shows them: in place of alice's, its own word that it has a fault."""

    submissions: Any
    reason: Reason

    def open(self, context, hotkey):
        if (context.window, hotkey) != (1, HOTKEYS["alice"]):
            return self.submissions.open(context, hotkey)
        word = Refusal(self.reason, "so says whoever shows it", unbound=True)
        return SimpleNamespace(offer=lambda plan: word)


@pytest.mark.parametrize("reason", [Reason.TOO_LARGE, Reason.SKETCH_MISMATCH])
def test_a_fault_in_bytes_that_nobody_shows_is_not_confirmed(reason, public, liar):
    """The same word twice, from whoever would gain by it."""
    refuse_the_honest(reason)(liar)
    liar.agree()
    worded = replace(public, submissions=Worded(public.submissions, reason))
    found = audit_liar(worded, liar).windows[1]
    assert "the committed file is not served: so says whoever shows it" in str(found.unknown)


MODEL_LIES = [
    (accept_a_cheat, "verdicts", "says ACCEPTED, and it is SKETCH_MISMATCH"),
    (refuse_the_honest(Reason.SAMPLING_MISMATCH), "verdicts", "and it is ACCEPTED"),
    (give_another_reason, "verdicts", "says LOGPROB_MISMATCH, and it is SKETCH_MISMATCH"),
    (copy_anothers_verdicts, "witness", "it did not run one, or copied another's"),
    (invent_a_witness, "witness", "it did not run one, or copied another's"),
    (shift_a_witness_by_two, "witness", "1 of 16 bytes"),
    (declare_a_good_checkpoint_void, "checkpoint", "it can be used"),
    (refuse_the_honest(Reason.SKETCH_MISMATCH), "verdicts", "and it is ACCEPTED"),
    (refuse_the_honest(Reason.LOGPROB_MISMATCH), "verdicts", "and it is ACCEPTED"),
]


@pytest.mark.parametrize(
    ("lie", "check", "words"), MODEL_LIES, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_verdict_that_only_the_model_refutes(lie, check, words, public, liar, network, models):
    """Without a model it is counted as a claim, and nobody is accused."""
    liar.rivals = read_records(network.records, "rival")[0]
    liar.true_values = find_true_values(public, liar)
    before = audit_liar(public, liar).windows[1].claims
    lie(liar)
    liar.agree()
    report = audit_liar(public, liar)
    assert list_differences(report) == []
    assert report.windows[1].claims > 0
    assert before == 3  # alice, bob and mallory
    found, sentence = accuse(public, liar, models=models)
    assert (found, words in sentence) == (check, True), sentence


def find_true_values(public, liar):
    """The values that mallory's groups would have if they were genuine: a liar can compute that
    much."""
    from assay.artifacts.submissions.judge import examine_file
    from assay.audit.derived_context import derive_context
    from assay.audit.findings import Findings

    record = liar.windows[1]
    context = derive_context(public, record, Findings(1))
    outline, hotkey = public.outlines.get(record.checkpoint), HOTKEYS["mallory"]
    reader = public.submissions.open(context, hotkey)
    examined = examine_file(reader, hotkey, context, outline)
    return tuple(group.value for group in examined.presume().groups)


def test_a_ledger_that_crossed_for_nobody(public, liar, models):
    liar.change_row(2, "alice", reason=Reason.LEDGER_MISMATCH, values=(), score=0)
    found, sentence = accuse(public, liar, models=models)
    assert (found, "says LEDGER_MISMATCH, and it is ACCEPTED" in sentence) == ("verdicts", True)


def test_a_ledger_that_began_outside_of_the_range(public, liar, models):
    """Window 2 begins the settlement that window 3 continues: nobody is accused unseen."""
    liar.change_row(3, "alice", reason=Reason.LEDGER_MISMATCH, values=(), score=0)
    liar.agree()
    report = audit_liar(public, liar, models=models, windows=range(3, 6))
    assert list_differences(report) == []
    assert "the ledger of its seat begins with" in report.windows[0].unknown[0][1]
    found, _ = accuse(public, liar, models=models)
    assert found == "verdicts"
