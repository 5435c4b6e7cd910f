"""Validators who lie in a settlement's record, each consistently: `assay audit` names the lie."""

from dataclasses import replace

import pytest

from assay.protocol.reason import Reason
from assay.protocol.record import NOTHING, CoveredWindow, Outcome, Weight
from tests.audit.audited import HOTKEYS, RIVAL, accuse, audit_liar, list_differences


def change_weights(liar):
    weights = list(liar.settlements[73].weights)
    weights[-1] = replace(weights[-1], weight=weights[-1].weight // 2 + 1)
    liar.settle(73, weights=tuple(weights))


def keep_the_burn(liar):
    """The owner's share goes to a friend."""
    weights = {w.uid: w.weight for w in liar.settlements[73].weights}
    weights[6] = weights.pop(0)
    liar.settle(73, weights=tuple(Weight(*pair) for pair in sorted(weights.items())))


def weigh_nobody(liar):
    liar.settle(73, weights=())


def change_a_settled_score(liar):
    scores = [
        replace(s, score=s.score + 1) if s.hotkey == HOTKEYS["alice"] else s
        for s in liar.settlements[73].scores
    ]
    liar.settle(73, scores=tuple(scores))


def pay_a_cheat_in_the_end(liar):
    scores = [
        replace(s, score=900) if s.hotkey == HOTKEYS["mallory"] else s
        for s in liar.settlements[73].scores
    ]
    liar.settle(73, scores=tuple(scores))


def leave_a_miner_out_in_the_end(liar):
    scores = [s for s in liar.settlements[73].scores if s.hotkey != HOTKEYS["alice"]]
    liar.settle(73, scores=tuple(scores))


def credit_anothers_hotkey(liar):
    scores = {s.hotkey: s for s in liar.settlements[73].scores}
    alice, bob = scores[HOTKEYS["alice"]], scores[HOTKEYS["bob"]]
    scores[alice.hotkey] = replace(alice, score=bob.score)
    scores[bob.hotkey] = replace(bob, score=alice.score)
    liar.settle(73, scores=tuple(scores[h] for h in sorted(scores)))


def forge_the_score_root(liar):
    liar.settle(73, score_root=b"\4" * 32)


def forge_the_weights_digest(liar):
    liar.settle(73, weights_digest=b"\4" * 32)


def leave_a_window_out(liar):
    liar.settle(73, windows=liar.settlements[73].windows[:1])


def settle_a_window_twice(liar):
    again = CoveredWindow(1, liar.windows[1].digest, liar.windows[1].outcome)
    liar.settle(73, windows=(again, *liar.settlements[73].windows))


def settle_from_another_record(liar):
    windows = liar.settlements[73].windows
    liar.settle(73, windows=(replace(windows[0], record=b"\4" * 32), *windows[1:]))


def settle_with_another_outcome(liar):
    windows = liar.settlements[73].windows
    liar.settle(73, windows=(replace(windows[0], outcome=Outcome.ABSTAINED), *windows[1:]))


def tell_the_contract_another_checkpoint(liar):
    liar.settle(73, checkpoint=b"\4" * 32)


def tell_the_contract_another_round(liar):
    liar.settle(73, audit_round=1)


def settle_under_other_parameters(liar):
    liar.settle(73, parameters=b"\2" * 32)


def settle_for_another(liar):
    liar.settle(73, validator=RIVAL)


def break_the_chain_of_settlements(liar):
    liar.settle(73, previous=b"\4" * 32)


def begin_a_new_chain_of_settlements(liar):
    liar.settle(73, previous=NOTHING, previous_epoch=0)


def set_other_weights_on_chain(liar):
    liar.shown[73] = {7: 65_535}


def set_no_weights(liar):
    liar.shown[73] = liar.shown[98] = {}


SETTLEMENT_LIES = [
    (change_weights, "weights", "should weigh"),
    (keep_the_burn, "weights", "uid 0 should weigh"),
    (weigh_nobody, "weights", "and weighs 0"),
    (change_a_settled_score, "settled scores", "and the record says"),
    (pay_a_cheat_in_the_end, "settled scores", "comes to 0 on uid 6"),
    (leave_a_miner_out_in_the_end, "settled scores", "the record says nothing"),
    (credit_anothers_hotkey, "settled scores", "and the record says"),
    (forge_the_score_root, "score root", "it says 0404"),
    (forge_the_weights_digest, "weights", "another digest"),
    (leave_a_window_out, "windows", "windows 2, 3 end between epochs 48 and 73"),
    (settle_a_window_twice, "windows", "and it settles 1, 2, 3"),
    (settle_from_another_record, "windows", "another record of window 2"),
    (settle_with_another_outcome, "windows", "is counted in its record and abstained"),
    (tell_the_contract_another_checkpoint, "windows", "had checkpoint"),
    (tell_the_contract_another_round, "windows", "was audited by round"),
    (settle_under_other_parameters, "parameters", "the record used 0202"),
    (settle_for_another, "record", "who did not publish it here"),
    (break_the_chain_of_settlements, "link", "follows another record"),
    (begin_a_new_chain_of_settlements, "link", "starts a chain of its own"),
    (set_other_weights_on_chain, "weights on chain", "uid 0 should weigh"),
    (set_no_weights, "weights on chain", "never shows the record's weights"),
]


@pytest.mark.parametrize(
    ("lie", "check", "words"), SETTLEMENT_LIES, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_settlement_lies(lie, check, words, public, liar):
    lie(liar)
    found, sentence = accuse(public, liar)
    assert (found, words in sentence) == (check, True), sentence


def test_weights_match_is_false_for_any_lie_about_weights(public, liar):
    from assay.cli.audit_view import describe_report

    liar.agree()
    assert describe_report(audit_liar(public, liar))["weights_match"] is True
    set_other_weights_on_chain(liar)
    assert describe_report(audit_liar(public, liar))["weights_match"] is False


# --- settlements in which nobody earned


def pay_nobody(liar, *epochs):
    """Refusals that nobody can refute take all windows from everybody."""
    for epoch in epochs:
        for covered in liar.settlements[epoch].windows:
            for row in liar.windows[covered.window].members:
                name = next(name for name, hotkey in HOTKEYS.items() if hotkey == row.hotkey)
                if row.score:
                    liar.change_row(
                        covered.window,
                        name,
                        reason=Reason.NOT_REVEALED,
                        values=(),
                        score=0,
                        witness=b"",
                    )


def keep_the_weights(liar, *epochs):
    """The chain still has those of the settlement that paid somebody."""
    for epoch in epochs:
        liar.shown[epoch] = {w.uid: w.weight for w in liar.settlements[48].weights}


def test_settlements_without_weights_because_nobody_earned_are_not_accused(public, liar):
    pay_nobody(liar, 73, 98)
    keep_the_weights(liar, 73, 98)
    liar.agree()
    counts = [(r.idle, bool(r.weights)) for r in liar.settlements.values()]
    assert counts == [(0, True), (1, False), (2, False)]
    report = audit_liar(public, liar)
    assert not report.differs, list_differences(report)


EVERYTHING = (Weight(0, 65_535),)


@pytest.mark.parametrize(
    ("lies", "words"),
    [
        ({73: {"weights": EVERYTHING}}, "uid 0 should weigh 0 and weighs 65535"),
        ({73: {"idle": 13}}, "nobody earned in 1 settlements in a row, and it says 13"),
        ({73: {"idle": 0}}, "nobody earned in 1 settlements in a row, and it says 0"),
        ({98: {"idle": 1}}, "nobody earned in 2 settlements in a row, and it says 1"),
        ({48: {"idle": 1}}, "nobody earned in 0 settlements in a row, and it says 1"),
    ],
    ids=["the owner's at once", "too many", "none", "begun again", "somebody earned"],
)
def test_a_count_of_settlements_without_pay_lies(public, liar, lies, words):
    """It decides how long the miner that was paid last keeps its weight."""
    pay_nobody(liar, 73, 98)
    keep_the_weights(liar, 73, 98)
    for epoch, changes in lies.items():
        liar.settle(epoch, **changes)
    found, sentence = accuse(public, liar)
    assert (found, words in sentence) == ("weights", True), sentence


def test_abstaining_does_not_begin_the_count_again(public, liar):
    pay_nobody(liar, 73)
    keep_the_weights(liar, 73, 98)
    for covered in liar.settlements[98].windows:
        liar.change(covered.window, outcome=Outcome.ABSTAINED, audit=None, members=())
    liar.agree()
    assert [record.idle for record in liar.settlements.values()] == [0, 1, 1]
    assert not audit_liar(public, liar).differs
    liar.settle(98, idle=0)
    _, sentence = accuse(public, liar)
    assert "nobody earned in 1 settlements in a row, and it says 0" in sentence


def test_a_count_that_nothing_leads_to_is_told(public, liar):
    pay_nobody(liar, 98)
    keep_the_weights(liar, 98)
    liar.agree()
    del liar.settlements[73]
    report = audit_liar(public, liar, windows=range(4, 6))
    told = " ".join(text for found in report.settlements for _, text in found.unknown)
    assert "from which it counts how often nobody earned" in told
