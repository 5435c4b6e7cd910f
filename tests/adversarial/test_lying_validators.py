"""Validators who lie in their public record, each consistently: `assay audit` names the lie.

What needs the model is marked so; all else shows to a stranger who has none.
"""

from dataclasses import replace

import pytest

from assay.network.chain import ForgottenError
from assay.network.chain.evm import make_ledger_entry
from assay.neurons.auditing.auditor import audit
from assay.neurons.auditing.bundle import open_records
from assay.neurons.auditing.sources import ModelShelf
from assay.protocol import Outcome, Reason, encode_ss58
from assay.protocol.encoding import encode
from assay.protocol.record import (
    NOTHING,
    CoveredWindow,
    Seen,
    Weight,
    make_settlement_record_name,
    make_window_record_name,
)
from tests.adversarial.audited import (
    EPOCHS,
    HOTKEYS,
    LIAR,
    RIVAL,
    WINDOWS,
    ForgetfulChain,
    Liar,
    Shelf,
    audit_liar,
    list_differences,
    open_audit,
    play_network,
    read_records,
)

ADDRESS = encode_ss58(LIAR)


@pytest.fixture(scope="session")
def network(tmp_path_factory, worker):
    return play_network(tmp_path_factory.mktemp("audited"), worker)


@pytest.fixture(scope="session")
def bundle(network, worker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    report = network.export(worker, folder)
    assert report.matched, list_differences(report)
    return folder


@pytest.fixture(scope="session")
def public(bundle):
    with open_audit(bundle) as public:
        yield public


@pytest.fixture(scope="session")
def models(network):
    return ModelShelf([network.models])


@pytest.fixture
def liar(network, public):
    windows, settlements = read_records(public.records)
    return Liar(public.parameters, network.chain, windows, settlements)


def accuse(public, liar, **options):
    """The first difference that the audit of an agreed liar finds."""
    liar.agree()
    report = audit_liar(public, liar, **options)
    found = list_differences(report)
    assert found, "the lie stands"
    assert not report.matched
    return found[0]


def test_the_truth_matches(public, liar, models):
    """Also agreed with once more: the liar's own arithmetic changes nothing."""
    liar.agree()
    windows, settlements = read_records(public.records)
    assert (liar.windows, liar.settlements) == (windows, settlements)
    for shelf in (None, models):
        report = audit_liar(public, liar, models=shelf)
        assert list_differences(report) == []
        assert report.matched
        assert report.get_state() is True


# --- lies in a window's record that show without a model


def add_score(liar):
    liar.change_row(1, "mallory", score=500)


def raise_a_score(liar):
    liar.change_row(1, "alice", score=liar.get_row(1, "alice").score + 1)


def raise_a_value(liar):
    row = liar.get_row(1, "alice")
    values = (row.values[0] + 7, *row.values[1:])
    liar.change_row(1, "alice", values=values, score=5 * sum(values) // 4)


def swap_two_values(liar):
    row = liar.get_row(1, "alice")
    assert row.values[0] != row.values[1]
    values = (row.values[1], row.values[0], *row.values[2:])
    liar.change_row(1, "alice", values=values)


def swap_two_miners(liar):
    alice, bob = liar.get_row(2, "alice"), liar.get_row(2, "bob")
    liar.change_row(2, "alice", values=bob.values, score=bob.score)
    liar.change_row(2, "bob", values=alice.values, score=alice.score)


def look_at_fewer_groups(liar):
    row = liar.get_row(1, "alice")
    values = row.values[:3]
    liar.change_row(1, "alice", values=values, score=5 * sum(values) // 3, witness=row.witness[:48])


def count_a_group_twice(liar):
    row = liar.get_row(1, "alice")
    values = (*row.values, max(row.values))
    liar.change_row(1, "alice", values=values, score=sum(values), witness=row.witness + bytes(16))


def drop_a_miner(liar):
    record = liar.windows[1]
    rows = tuple(row for row in record.members if row.hotkey != HOTKEYS["alice"])
    liar.change(1, members=rows)


def invent_a_member(liar):
    record = liar.windows[1]
    row = replace(liar.get_row(1, "alice"), hotkey=b"\xff" * 32, uid=77)
    liar.change(1, members=(*record.members, row))


def give_another_uid(liar):
    liar.change_row(1, "alice", uid=HOTKEYS_UID_FREE)


def forget_when_a_seat_was_taken(liar):
    liar.change_row(1, "mallory", registered_at=3)


def swap_two_seats(liar):
    alice, bob = liar.get_row(1, "alice"), liar.get_row(1, "bob")
    liar.change_row(1, "alice", uid=bob.uid)
    liar.change_row(1, "bob", uid=alice.uid)


def use_another_block(liar):
    moment = liar.windows[1].challenge
    liar.change(1, challenge=replace(moment, block_hash=b"\5" * 32))


def use_another_audit_block(liar):
    moment = liar.windows[1].audit
    liar.change(1, audit=replace(moment, block_hash=b"\5" * 32))


def use_another_time(liar):
    """So that another round is due by the record itself."""
    moment = liar.windows[1].audit
    beacon = liar.windows[2].audit.beacon
    late = moment.timestamp_ms + 1_000 * (beacon.round - moment.beacon.round)
    liar.change(1, audit=replace(moment, timestamp_ms=late, beacon=beacon))


def use_another_round(liar):
    """A genuine one, of another window."""
    moment = liar.windows[1].audit
    liar.change(1, audit=replace(moment, beacon=liar.windows[2].audit.beacon))


def use_another_challenge_round(liar):
    moment = liar.windows[1].challenge
    liar.change(1, challenge=replace(moment, beacon=liar.windows[2].challenge.beacon))


def forge_a_signature(liar):
    moment = liar.windows[1].audit
    forged = replace(moment.beacon, signature=liar.windows[2].audit.beacon.signature)
    liar.change(1, audit=replace(moment, beacon=forged))


def use_another_checkpoint(liar):
    assert liar.windows[1].checkpoint != liar.windows[4].checkpoint
    liar.change(1, checkpoint=liar.windows[4].checkpoint)


def stay_with_the_old_checkpoint(liar):
    liar.change(4, checkpoint=liar.windows[1].checkpoint)


def use_an_invented_checkpoint(liar):
    liar.change(1, checkpoint=b"\7" * 32)


def read_commitments_at_another_block(liar):
    """Where the slot still held what was overwritten in time."""
    seen = liar.get_row(1, "nora").committed
    earlier = liar.other_commitments[1, "nora"]
    assert earlier != seen
    liar.change_row(1, "nora", committed=earlier)


def overlook_a_commitment(liar):
    liar.change_row(
        1, "alice", committed=None, reason=Reason.NO_COMMITMENT, values=(), score=0, witness=b""
    )


def claim_more_groups(liar):
    row = liar.get_row(1, "alice")
    seen = replace(row.committed, groups=9)
    liar.change_row(1, "alice", committed=seen, score=9 * sum(row.values) // 4)


def name_another_root(liar):
    seen = liar.get_row(1, "alice").committed
    liar.change_row(1, "alice", committed=replace(seen, root=b"\1" * 32))


def name_another_locator(liar):
    seen = liar.get_row(1, "alice").committed
    liar.change_row(1, "alice", committed=replace(seen, locator="file:///nowhere"))


def invent_a_commitment(liar):
    seen = Seen(b"\1" * 32, 5, "test:store")
    liar.change_row(1, "trainer", committed=seen, reason=Reason.NOT_REVEALED)


def use_other_parameters(liar):
    liar.change(1, parameters=b"\2" * 32)


def refuse_for(reason):
    def lie(liar):
        liar.change_row(1, "alice", reason=reason, values=(), score=0, witness=b"")

    lie.__name__ = f"refuse_for_{reason}"
    return lie


def pay_in_spite_of_a_refusal(liar):
    row = liar.get_row(1, "alice")
    liar.change_row(1, "mallory", values=row.values, score=row.score)


def accept_without_looking(liar):
    """The witness of a miner that was never measured is empty."""
    liar.change_row(1, "alice", witness=b"")


def refuse_without_looking(liar):
    """For what only a pass can show, and there was none."""
    refuse_for(Reason.SAMPLING_MISMATCH)(liar)


def cut_a_witness(liar):
    liar.change_row(1, "mallory", witness=liar.get_row(1, "mallory").witness[:-2])


def witness_what_needs_none(liar):
    liar.change_row(1, "nora", witness=bytes(16))


def abstain_though_all_was_judged(liar):
    liar.change(1, outcome=Outcome.ABSTAINED)


def count_what_was_not_judged(liar):
    liar.change_row(1, "alice", reason=None, values=(), score=0, witness=b"")


def count_what_the_judge_broke_on(liar):
    for name in ("alice", "bob"):
        liar.change_row(1, name, reason=Reason.INTERNAL, values=(), score=0, witness=b"")


def publish_under_anothers_name(liar):
    liar.change(1, validator=RIVAL)


def copy_anothers_record_whole(liar):
    liar.windows[1] = liar.rivals[1]


HOTKEYS_UID_FREE = 50

WINDOW_LIES = [
    (add_score, "scores", "scored 500 in spite of"),
    (raise_a_score, "scores", "its values make a score of"),
    (raise_a_value, "values", "and the record says"),
    (swap_two_values, "values", "is worth"),
    (swap_two_miners, "values", "is worth"),
    (look_at_fewer_groups, "values", "are audited, and the record values 3"),
    (count_a_group_twice, "values", "are audited, and the record values 5"),
    (drop_a_miner, "members", "the record leaves it out"),
    (invent_a_member, "members", "did not hold one uid"),
    (give_another_uid, "members", "the record says uid 50"),
    (forget_when_a_seat_was_taken, "members", "since block 0, and the record says"),
    (swap_two_seats, "members", "the record says uid"),
    (use_another_block, "blocks", "the challenge block 12 has hash"),
    (use_another_audit_block, "blocks", "the audit block 29 has hash"),
    (use_another_time, "blocks", "was made at"),
    (use_another_round, "beacons", "for the audit, and the record used round"),
    (use_another_challenge_round, "beacons", "for the challenge, and the record used round"),
    (forge_a_signature, "beacons", "is not the pinned beacon chain's"),
    (use_another_checkpoint, "checkpoint", "was in force, and the record used"),
    (stay_with_the_old_checkpoint, "checkpoint", "was in force, and the record used"),
    (use_an_invented_checkpoint, "checkpoint", "was in force, and the record used"),
    (read_commitments_at_another_block, "commitments", "at block 25"),
    (overlook_a_commitment, "commitments", "and the record says nothing"),
    (claim_more_groups, "commitments", "had committed to 5 groups"),
    (name_another_root, "commitments", "had committed to 5 groups"),
    (name_another_locator, "commitments", "had committed to 5 groups"),
    (invent_a_commitment, "commitments", "had committed to nothing"),
    (use_other_parameters, "parameters", "the record used 0202"),
    (refuse_for(Reason.NOT_REGISTERED), "verdicts", "says NOT_REGISTERED"),
    (refuse_for(Reason.NO_COMMITMENT), "verdicts", "says NO_COMMITMENT"),
    (refuse_for(Reason.WRONG_CHECKPOINT), "verdicts", "has no such fault"),
    (refuse_for(Reason.TOKEN_OUT_OF_RANGE), "verdicts", "has no such fault"),
    (refuse_for(Reason.WRONG_TERMINATION), "verdicts", "has no such fault"),
    (pay_in_spite_of_a_refusal, "scores", "in spite of SKETCH_MISMATCH"),
    (accept_without_looking, "witness", "not all were looked at"),
    (refuse_without_looking, "witness", "not all were looked at"),
    (cut_a_witness, "witness", "not all were looked at"),
    (witness_what_needs_none, "witness", "needs no forward pass"),
    (abstain_though_all_was_judged, "verdicts", "the validator abstained, though"),
    (count_what_was_not_judged, "verdicts", "not every member has a verdict"),
    (count_what_the_judge_broke_on, "verdicts", "the judge worked for nobody"),
    (publish_under_anothers_name, "record", "who did not publish it here"),
    (copy_anothers_record_whole, "record", "who did not publish it here"),
]


@pytest.mark.parametrize(("lie", "check", "words"), WINDOW_LIES, ids=lambda v: getattr(
    v, "__name__", None))  # fmt: skip
def test_a_windows_record_lies(lie, check, words, public, liar, network):
    liar.other_commitments = {(1, "nora"): find_earlier(network, public, 1)}
    liar.rivals = read_records(network.records, "rival")[0]
    lie(liar)
    found, sentence = accuse(public, liar)
    assert (found, words in sentence) == (check, True), sentence


def find_earlier(network, public, window):
    """What nora's slot held some blocks before the commitment block."""
    from assay.neurons.windows import get_window_commitments

    committed = get_window_commitments(network.chain, window, 12 * window + 8)[HOTKEYS["nora"]]
    return Seen(committed.root, committed.groups, committed.locator)


# --- lies that need the model


def accept_a_cheat(liar):
    row = liar.get_row(1, "mallory")
    liar.change_row(
        1, "mallory", reason=Reason.ACCEPTED, values=liar.true_values, witness=row.witness
        + bytes(64 - len(row.witness)), score=5 * sum(liar.true_values) // 4,
    )  # fmt: skip


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
    liar.change_row(1, "alice", witness=bytes(64))


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


MODEL_LIES = [
    (accept_a_cheat, "verdicts", "says ACCEPTED, and it is SKETCH_MISMATCH"),
    (refuse_the_honest(Reason.SAMPLING_MISMATCH), "verdicts", "and it is ACCEPTED"),
    (refuse_the_honest(Reason.SKETCH_MISMATCH), "verdicts", "and it is ACCEPTED"),
    (refuse_the_honest(Reason.LOGPROB_MISMATCH), "verdicts", "and it is ACCEPTED"),
    (give_another_reason, "verdicts", "says LOGPROB_MISMATCH, and it is SKETCH_MISMATCH"),
    (copy_anothers_verdicts, "witness", "it did not run one, or copied another's"),
    (invent_a_witness, "witness", "it did not run one, or copied another's"),
    (shift_a_witness_by_two, "witness", "1 of 64 bytes"),
    (declare_a_good_checkpoint_void, "checkpoint", "it can be used"),
]


@pytest.mark.parametrize(("lie", "check", "words"), MODEL_LIES, ids=lambda v: getattr(
    v, "__name__", None))  # fmt: skip
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
    """What mallory's groups would be worth were they genuine: a liar can compute that much."""
    from assay.neurons.auditing.facts import derive_context
    from assay.neurons.auditing.findings import Findings
    from assay.verification import examine

    record = liar.windows[1]
    context = derive_context(public, record, Findings(1))
    outline, hotkey = public.outlines.get(record.checkpoint), HOTKEYS["mallory"]
    reader = public.submissions.open(context, hotkey)
    examined = examine(reader, hotkey, context, outline.tokenizer, manifest=outline.manifest)
    return tuple(group.value for group in examined.accept().groups)


def test_a_ledger_that_crossed_for_nobody(public, liar, models):
    liar.change_row(2, "alice", reason=Reason.LEDGER_MISMATCH, values=(), score=0)
    found, sentence = accuse(public, liar, models=models)
    assert (found, "says LEDGER_MISMATCH, and it is ACCEPTED" in sentence) == ("verdicts", True)


def test_a_ledger_that_began_outside_of_the_range(public, liar, models):
    """Window 2 begins the settlement that window 3 goes on with: nobody is accused unseen."""
    liar.change_row(3, "alice", reason=Reason.LEDGER_MISMATCH, values=(), score=0)
    liar.agree()
    report = audit_liar(public, liar, models=models, windows=range(3, 6))
    assert list_differences(report) == []
    assert "the ledger of its seat runs from" in report.windows[0].unknown[0][1]
    found, _ = accuse(public, liar, models=models)
    assert found == "verdicts"


# --- lies in a settlement


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


@pytest.mark.parametrize(("lie", "check", "words"), SETTLEMENT_LIES, ids=lambda v: getattr(
    v, "__name__", None))  # fmt: skip
def test_a_settlement_lies(lie, check, words, public, liar):
    lie(liar)
    found, sentence = accuse(public, liar)
    assert (found, words in sentence) == (check, True), sentence


def test_weights_match_is_false_for_any_lie_about_weights(public, liar):
    from assay.neurons.commands.audit import describe_report

    liar.agree()
    assert describe_report(audit_liar(public, liar))["weights_match"] is True
    set_other_weights_on_chain(liar)
    assert describe_report(audit_liar(public, liar))["weights_match"] is False


# --- lies about what was published


def test_an_old_record_is_rewritten(public, liar, bundle, models):
    """With a value that is off by one: whoever kept the old record names it, and so does the
    audit itself."""
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
    """The announcement stands as it did: it names other bytes."""
    announced = liar.settlements[EPOCHS[-1]].digest
    liar.change_row(1, "alice", reason=Reason.SAMPLING_MISMATCH, values=(), score=0)
    liar.announced = announced
    check, sentence = accuse(public, liar)
    assert check == "announced"
    assert "another record of epoch 98" in sentence


def test_different_readers_are_shown_different_records(public, liar):
    """Both sets agree with themselves; on chain there is room for one."""
    one = Liar(liar.parameters, liar.chain, dict(liar.windows), dict(liar.settlements))
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
    """What the contract holds, by epoch."""

    def get_digest(self, hotkey, epoch):
        assert hotkey == LIAR
        return self.get(epoch, bytes(32))


def test_another_digest_in_the_ledger(public, liar):
    from assay.neurons.commands.audit import describe_report

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


# --- what is no lie that anybody could prove


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


def test_a_file_that_is_gone_is_not_a_lie_and_not_a_match(public, liar):
    """Nora showed nothing and is paid: what she committed to is not there to say otherwise."""
    row = liar.get_row(1, "alice")
    liar.change_row(
        1, "nora", reason=Reason.ACCEPTED, values=row.values[:3],
        score=sum(row.values[:3]), witness=row.witness[:48],
    )  # fmt: skip
    liar.agree()
    report = audit_liar(public, liar)
    assert not report.differs
    assert not report.matched
    assert "what it committed to is not served" in report.windows[1].unknown[0][1]


def test_who_abstains_is_not_accused(public, liar):
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


def test_old_windows_are_proven_by_what_blocks_still_hold(network, worker):
    """Members by the seats they hold now, commitments by what their hotkeys signed."""
    public = network.make_public(worker, chain=ForgetfulChain(network.chain, 100))
    report = audit(public, LIAR, range(1, 3))
    assert not report.differs
    assert not report.matched
    for found in report.windows:
        missed = {check.value for check, _ in found.unknown}
        assert missed == {"checkpoint"}, found.unknown
        assert all("it needs an archive endpoint" in why for _, why in found.unknown)
        assert {
            *("blocks", "beacons", "members", "commitments", "values", "scores"),
        } <= {check.value for check in found.checked}
        assert "members are proven by the seats that they still hold" in found.notes
    for found in report.settlements:
        assert {check.value for check, _ in found.unknown} == {
            *("windows", "settled scores", "weights on chain"),
        }
        assert {"score root", "weights"} <= {check.value for check in found.checked}
    assert [found.number for found in report.settlements] == [48, 73]


def test_a_commitment_that_nobody_signed_in_time(network, worker, liar):
    """Her first word of the window, not her last: told as not proven, not as a lie, for what she
    signed last may have been refused."""
    liar.change_row(1, "nora", committed=find_earlier(network, None, 1))
    liar.agree()
    public = network.make_public(
        worker, chain=ForgetfulChain(network.chain, 100), records=Shelf(liar.list_objects())
    )
    report = audit(public, LIAR, range(1, 2))
    (said,) = [why for check, why in report.windows[0].unknown if check.value == "commitments"]
    assert said.startswith("7 of 8 commitments are proven by what blocks 12 to 25 hold")
    assert not report.differs


def test_a_seat_that_was_taken_over_since(network, worker):
    """Whoever holds it now registered later: who held it then is not accused, nor believed."""
    members = dict(network.chain.get_members(100))
    members[b"\x99" * 32] = replace(members.pop(HOTKEYS["alice"]), registered_at=90)

    class Later(ForgetfulChain):
        def get_members(self, number):
            if number < self._kept:
                raise ForgottenError(f"state at block {number} is discarded")
            return members

    public = network.make_public(worker, chain=Later(network.chain, 100))
    report = audit(public, LIAR, range(1, 2))
    (said,) = [why for check, why in report.windows[0].unknown if check.value == "members"]
    assert said.startswith("7 of 8 members are proven by later state, 1 are not")
    assert not report.differs


def test_a_score_is_wrong_however_old_it_is(network, worker, liar):
    raise_a_value(liar)
    liar.agree()
    chain = ForgetfulChain(network.chain, 100)
    public = network.make_public(worker, chain=chain, records=Shelf(liar.list_objects()))
    found = list_differences(audit(public, LIAR, WINDOWS))
    assert [check for check, _ in found] == ["values"]
