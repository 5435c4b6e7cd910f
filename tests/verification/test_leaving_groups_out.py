"""Groups that a trainer leaves out of a file: each for its own fault, and none for another's."""

from dataclasses import replace
from typing import Any

import pytest

from assay.protocol.reason import Reason, Refusal
from assay.verification import JudgeResult, ReadPlan

World = Any  # conftest.World: tests cannot import a conftest
ROWS = 8  # rollouts of a group in the small world


class Lacking:
    """A reader that lacks one part of a file: the n-th that is wanted."""

    def __init__(self, reader: Any, number: int) -> None:
        self._reader, self._left = reader, number

    def offer(self, plan: ReadPlan) -> Refusal | None:
        self._left -= 1
        if self._left == 0:
            return Refusal(Reason.NOT_REVEALED, "it is not there", unbound=True)
        refusal: Refusal | None = self._reader.offer(plan)
        return refusal


def judge(world: World, draft: Any, lacking: int = 0, **options: Any) -> JudgeResult:
    reader, context = world.seal(draft)
    options = {"groups": range(len(draft.groups)), "hand_out": True} | options
    judged: JudgeResult = world.judge_by(
        world.forward, Lacking(reader, lacking), context, **options
    )
    return judged


def fake_token(world: World, draft: Any, index: int) -> None:
    """One token in one rollout of a group: the cheapest fake. The rollout's end stays as it is."""
    rollouts = [rollout.tokens for rollout in draft.groups[index]]
    longest = max(range(len(rollouts)), key=lambda place: len(rollouts[place]))
    tokens = rollouts[longest].copy()
    tokens[0] = (tokens[0] + 1) % 90
    world.rewrite(draft, index, longest, tokens)


def name_unknown_id(world: World, draft: Any, index: int) -> None:
    tokens = draft.groups[index][0].tokens.copy()
    tokens[0] = 127
    draft.groups[index][0] = replace(draft.groups[index][0], tokens=tokens)


def find_left_out(judged: JudgeResult) -> list[tuple[int | None, Reason]]:
    return [(fault.group, fault.reason) for fault in judged.left_out]


def test_one_fake_token_keeps_one_group_from_the_trainer(world: World) -> None:
    draft = world.mine()
    others = [index for index in range(len(draft.groups)) if index != 1]
    fake_token(world, draft, 1)
    judged = judge(world, draft, leave_out=5)
    assert judged.verdict.accepted
    assert find_left_out(judged) == [(1, Reason.SAMPLING_MISMATCH)]
    assert [group.index for group in judged.verdict.groups] == others
    assert [group.index for group in judged.measured] == others
    assert judged.ledger.rollouts == ROWS * len(others)
    refused = judge(world, draft)
    assert refused.verdict.reason is Reason.SAMPLING_MISMATCH
    assert refused.left_out == refused.measured == ()


@pytest.mark.parametrize("first", [0, 2])
def test_each_fault_leaves_its_own_group_out(world: World, first: int) -> None:
    """One of the model, one of the records, and one of a part that nobody has."""
    draft = world.mine()
    count = len(draft.groups)
    fake, unknown, lacking = ((first + i) % count for i in range(3))
    fake_token(world, draft, fake)
    name_unknown_id(world, draft, unknown)
    judged = judge(world, draft, lacking=2 + lacking, leave_out=3)  # the opening comes first
    assert judged.verdict.accepted
    assert find_left_out(judged) == sorted(
        [
            (fake, Reason.SAMPLING_MISMATCH),
            (unknown, Reason.TOKEN_OUT_OF_RANGE),
            (lacking, Reason.NOT_REVEALED),
        ]
    )
    kept = [group.index for group in judged.verdict.groups]
    assert sorted([*kept, fake, unknown, lacking]) == list(range(count))


@pytest.mark.parametrize("fault", [fake_token, name_unknown_id])
def test_a_file_with_one_group_too_many_is_refused(world: World, fault: Any) -> None:
    draft = world.mine()
    for index in (0, 2):
        fault(world, draft, index)
    assert judge(world, draft, leave_out=2).verdict.accepted
    refused = judge(world, draft, leave_out=1)
    assert not refused.verdict.accepted
    assert [fault.group for fault in refused.left_out] == [0, 2]
    assert refused.measured == ()


def test_a_file_of_faults_alone_is_named_no_oftener_than_that(world: World) -> None:
    """Step records have room for so many groups of each hotkey, and not for whole files."""
    draft = world.mine()
    for index in range(len(draft.groups)):
        name_unknown_id(world, draft, index)
    for lacking in (0, 2):
        refused = judge(world, draft, lacking=lacking, leave_out=2)
        assert not refused.verdict.accepted
        assert [fault.group for fault in refused.left_out] == [0, 1, 2]


def test_missing_parts_are_no_reason_to_read_on_for_ever(world: World) -> None:
    draft = world.mine()
    name_unknown_id(world, draft, 0)
    refused = judge(world, draft, lacking=3, leave_out=1)
    assert not refused.verdict.accepted
    opening = judge(world, draft, lacking=1, leave_out=9)
    assert opening.verdict.reason is Reason.NOT_REVEALED
    assert opening.left_out == ()


def test_a_file_of_which_no_group_is_left_is_refused(world: World) -> None:
    draft = world.mine()
    for index in range(len(draft.groups)):
        fake_token(world, draft, index)
    refused = judge(world, draft, leave_out=64)
    assert refused.verdict.reason is Reason.SAMPLING_MISMATCH
    assert len(refused.left_out) == len(draft.groups)
