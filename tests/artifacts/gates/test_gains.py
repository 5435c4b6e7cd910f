"""What a line of manifests has shown, for people."""

import pytest

from assay.artifacts.gates.gains import ERROR, TOGETHER, describe_course, describe_gain, follow_line
from assay.protocol.betting import bound_gain
from assay.protocol.gate import Outcome, find_course_fault, find_milestone
from assay.protocol.hashing import ZERO_DIGEST
from tests.artifacts.gates.lines import GATE, KnownManifests, make_line

#: It rises until it is a milestone, falls, is returned, and rises again.
STEPS = [0.012] * 16 + [-0.06] * 3 + [0.012] * 30


@pytest.fixture(scope="module")
def line():
    return make_line(STEPS)


def follow(line, lost=()):
    return follow_line(line[-1].digest, KnownManifests(line, lost), GATE)


def list_outcomes(line, outcome):
    return [one for one in line if one.course.outcome is outcome]


def test_every_measured_checkpoint_is_found_once_and_in_order(line):
    found = follow(line)
    assert all(find_course_fault(one.course, GATE) is None for one in line[1:])
    counts = {one.checkpoint: one for manifest in line for one in manifest.course.counts}
    assert [one.counts for one in found.measured] == list(counts.values())
    numbers = [one.number for one in found.measured]
    assert numbers == sorted(numbers)
    assert found.is_whole


def test_milestones_and_returns_are_named(line):
    found = follow(line)
    (back,) = list_outcomes(line, Outcome.RETURN)
    milestones = [
        find_milestone(one.course, GATE) for one in list_outcomes(line, Outcome.MILESTONE)
    ]
    numbers = {one.digest: one.number for one in line}
    told = [(turn.outcome, turn.number, turn.digest) for turn in found.turns]
    assert [one for one in told if one[0] is Outcome.MILESTONE] == [
        (Outcome.MILESTONE, numbers[digest], digest) for digest in milestones
    ]
    assert [one for one in told if one[0] is Outcome.RETURN] == [
        (Outcome.RETURN, back.number, back.digest)
    ]
    turn = next(one for one in found.turns if one.outcome is Outcome.RETURN)
    assert turn.milestone == numbers[back.course.milestone]
    given_up = {one.number for one in found.measured if one.is_given_up}
    assert given_up == {numbers[one.checkpoint] for one in back.course.counts}


def test_a_gain_is_of_the_newest_checkpoints_of_its_line_alone(line):
    found = follow(line)
    (back,) = list_outcomes(line, Outcome.RETURN)
    for place, one in enumerate(found.measured):
        since = [
            other.counts.first_pairs
            for other in found.measured[: place + 1]
            if one.number < back.number or other.number > back.number
        ][-TOGETHER:]
        assert (one.gain.low, one.gain.high) == bound_gain(since, ERROR)
        assert one.gain.checkpoints == len(since)
        assert one.gain.asked == sum(pairs.asked for pairs in since)
        assert one.gain.low <= one.gain.mean <= one.gain.high


def test_what_is_not_at_hand_is_left_out(line):
    whole = follow(line)
    turn = whole.turns[0].number
    part = follow(line, lost=range(turn))
    assert not part.is_whole
    assert part.measured
    assert part.measured[-1].counts == whole.measured[-1].counts
    assert {one.number for one in part.measured} <= set(range(turn, len(line)))
    assert follow(line, lost=[line[-1].number]) is None
    few = follow_line(line[-1].digest, KnownManifests(line), GATE, most=1)
    assert 0 < len(few.measured) < len(whole.measured)
    assert not few.is_whole


def test_a_line_without_a_gate_has_shown_nothing():
    first = make_line([])[0]
    found = follow([first])
    assert (found.course.milestone, found.milestone) == (first.digest, 0)
    assert found.is_whole
    assert not found.measured
    assert describe_gain(found) == "no checkpoint was measured yet"
    assert first.course.milestone == ZERO_DIGEST


def test_a_stranger_is_told_the_gain_and_what_it_is_worth():
    line = make_line([0.02] * 16)
    few = next(follow(line[:end]) for end in range(1, 16) if follow(line[:end]).measured)
    assert describe_gain(few).startswith("checkpoint 1 solves ")
    assert describe_gain(few).endswith(", which may be chance")
    whole = follow(line)
    said, number = describe_gain(whole), whole.measured[-1].number
    assert said.startswith(f"checkpoint {number} and the 7 measured before it solve ")
    assert " points more of 512 new problems than the first checkpoint (95 %: " in said
    assert "chance" not in said


def test_a_return_is_told_until_its_first_child_is_measured(line):
    (back,) = list_outcomes(line, Outcome.RETURN)
    milestone = next(one for one in line if one.digest == back.course.milestone).number
    said = describe_gain(follow(line[: back.number + 1]))
    assert said.endswith(
        f"these are given up: checkpoint {back.number} is checkpoint {milestone} again"
    )
    assert "given up" not in describe_gain(follow(line))


def test_a_course_is_told_with_what_it_needs():
    line = make_line([0.0, 0.0, 0.0, 0.0])
    said = describe_course(follow(line), GATE)
    wins, losses = (
        sum(getattr(one, name) for one in line[-1].course.counts) for name in ("wins", "losses")
    )
    assert said.startswith(
        f"course 1 from milestone 0: 2 checkpoints measured, {wins} problems won and {losses} "
        "lost; evidence that it is better "
    )
    assert "of 32.9 needed" in said
    assert said.endswith("of 20.0")
