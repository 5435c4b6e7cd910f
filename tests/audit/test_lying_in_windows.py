"""Validators who lie in their public record, each consistently: `assay audit` names the lie.

Lies in a window's record that show to a stranger without a model.
"""

from dataclasses import dataclass, replace

import pytest

from assay.audit.sources import FetchedOutlines
from assay.protocol.hashing import ZERO_DIGEST
from assay.protocol.reason import Reason
from assay.protocol.record import Outcome, Seen
from tests.audit.audited import HOTKEYS, RIVAL, accuse, audit_liar, list_differences, read_records
from tests.audit.lies import find_earlier, raise_a_score, raise_a_value, refuse_for


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


def add_score(liar):
    liar.change_row(1, "mallory", score=500)


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
    liar.change_row(1, "alice", values=values, score=5 * sum(values) // 3)


def count_a_group_twice(liar):
    row = liar.get_row(1, "alice")
    values = (*row.values, max(row.values))
    liar.change_row(1, "alice", values=values, score=sum(values))


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
    """Read the slot at a block where it still had a commitment that was overwritten in time."""
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
    liar.change_row(1, "owner", witness=bytes(16))


def witness_of_another_length(liar):
    """Nora has shown nothing: it might be of samples, which nobody can say."""
    liar.change_row(1, "nora", witness=bytes(2))


def refuse_for_samples(reason):
    """With the genuine witness."""

    def lie(liar):
        liar.change_row(1, "alice", reason=reason, values=(), score=0)

    lie.__name__ = f"refuse_for_samples_{reason}"
    return lie


def accept_without_samples(liar):
    liar.change(1, sample=None)


def use_another_sample_round(liar):
    record = liar.windows[1]
    liar.change(1, sample=replace(record.sample, beacon=liar.windows[2].sample.beacon))


def use_another_sample_block(liar):
    liar.change(1, sample=replace(liar.windows[1].sample, block_hash=bytes(32)))


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
    (look_at_fewer_groups, "values", "are valued, and the record has 3 values"),
    (count_a_group_twice, "values", "are valued, and the record has 5 values"),
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
    (refuse_for(Reason.TOO_LARGE), "verdicts", "has no such fault"),
    (refuse_for(Reason.WRONG_CHECKPOINT), "verdicts", "has no such fault"),
    (refuse_for(Reason.TOKEN_OUT_OF_RANGE), "verdicts", "has no such fault"),
    (refuse_for(Reason.WRONG_TERMINATION), "verdicts", "has no such fault"),
    (pay_in_spite_of_a_refusal, "scores", "in spite of SKETCH_MISMATCH"),
    (accept_without_looking, "witness", "not all were looked at"),
    (refuse_without_looking, "witness", "not all were looked at"),
    (cut_a_witness, "witness", "not all were looked at"),
    (witness_what_needs_none, "witness", "needs no forward pass"),
    (witness_of_another_length, "witness", "not all were looked at"),
    (refuse_for_samples(Reason.TOO_LARGE), "verdicts", "has no such fault"),
    (accept_without_samples, "verdicts", "no beacon said what was sampled"),
    (use_another_sample_round, "beacons", "for the sample, and the record used round"),
    (use_another_sample_block, "blocks", "the sample block 31 has hash"),
    (abstain_though_all_was_judged, "verdicts", "the validator abstained, though"),
    (count_what_was_not_judged, "verdicts", "not every member has a verdict"),
    (count_what_the_judge_broke_on, "verdicts", "the judge failed for every file"),
    (publish_under_anothers_name, "record", "who did not publish it here"),
    (copy_anothers_record_whole, "record", "who did not publish it here"),
]


@pytest.mark.parametrize(
    ("lie", "check", "words"), WINDOW_LIES, ids=lambda v: getattr(v, "__name__", None)
)
def test_a_windows_record_lies(lie, check, words, public, liar, network):
    liar.other_commitments = {(1, "nora"): find_earlier(network, public, 1)}
    liar.rivals = read_records(network.records, "rival")[0]
    lie(liar)
    found, sentence = accuse(public, liar)
    assert (found, words in sentence) == (check, True), sentence


@dataclass
class Told:
    """Checkpoints without tensors; the first one's levels are heavier."""

    outlines: FetchedOutlines

    def get(self, digest, _=None):
        outline = self.outlines.get(digest)
        if outline.manifest.step != ZERO_DIGEST:
            return outline
        heavier = tuple(replace(pair, weight=1_200) for pair in outline.manifest.levels)
        return replace(outline, manifest=replace(outline.manifest, levels=heavier))


def test_a_trainer_that_lies_about_its_checkpoints_parent_is_named(public, liar):
    """It is no difference: the validator does not lie."""
    for outlines, count in ((public.outlines, 0), (Told(public.outlines), 3)):
        report = audit_liar(replace(public, outlines=outlines), liar, windows=range(3, 6))
        assert list_differences(report) == []
        notes = [note for found in report.windows for note in found.notes]
        assert sum("lies about the checkpoint in force" in note for note in notes) == count
