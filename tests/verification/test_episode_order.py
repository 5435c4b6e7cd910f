"""When the judge plays worlds, and what it does with what they say."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol.reason import Reason
from assay.protocol.submission import Rollout
from assay.verification import Ledger, Measurement, compute_value, trial

END = 96  # of the small world (conftest.py)

World = Any  # conftest.EchoWorld: tests cannot import a conftest


class Recorded:
    """The true forward pass, with a larger margin where `disturb` says so."""

    def __init__(self, world: World, disturb: Any = lambda place, length: 0) -> None:
        self.world, self.disturb = world, disturb
        #: of each call: the lengths and the numbers of replies of its rollouts, and the turns that
        #: had been decoded before
        self.asked: list[tuple[list[int], list[int], int]] = []

    def measure(
        self, prompts: Any, completions: Any, seeds: Any, projection: Any, replies: Any = None
    ) -> list[Measurement]:
        said = [()] * len(seeds) if replies is None else replies
        decoded = len(self.world.tokenizer.decoded)
        self.asked.append((list(map(len, completions)), list(map(len, said)), decoded))
        measured = self.world.forward.measure(prompts, completions, seeds, projection, replies)
        for place, one in enumerate(measured):
            one.margins[-1] += self.disturb(place, len(one.margins))
        return list(measured)


def judge(world: World, draft: Any, forward: Recorded, **options: Any) -> Any:
    world.tokenizer.decoded.clear()
    return world.judge_by(forward, *world.seal(draft), **options)


def end_wrong(world: World, draft: Any, index: int, r: int) -> None:
    """An end token too many, whose proofs are genuine."""
    one = world.played[index][r]
    tokens = [*one.tokens, END]
    draft.groups[index][r] = world.forgers[index][r].prove(tokens, one.heard)


def find_unaudited(world: World, draft: Any) -> tuple[int, int]:
    """A rollout of a valued group that its world ended, and that stays unaudited with an end token
    too many."""
    for index in world.valued:
        for r, one in enumerate(world.played[index]):
            longer = replace(draft, groups=list(map(list, draft.groups)))
            end_wrong(world, longer, index, r)
            ended = one.tokens[-1] == END and len(one.heard) < 3
            if ended and r not in world.find_audited(longer, index):
                return index, r
    raise AssertionError("every such rollout is audited")


def count_turns(world: World, places: Any) -> int:
    return sum(len(world.played[index][r].heard) + 1 for index, r in places)


def list_audited(world: World, draft: Any) -> list[tuple[int, int]]:
    return [
        (group.index, r) for group in world.chosen for r in world.find_audited(draft, group.index)
    ]


def test_audited_worlds_come_before_the_pass_and_all_others_after_it(echoing: World) -> None:
    draft, forward = echoing.mine(), Recorded(echoing)
    judged = judge(echoing, draft, forward)
    audited = list_audited(echoing, draft)
    ((lengths, said, decoded),) = forward.asked
    assert judged.verdict.accepted, judged.verdict.detail
    assert lengths == [len(echoing.played[g][r].tokens) for g, r in audited]
    assert said == [len(echoing.played[g][r].heard) for g, r in audited]
    assert decoded == count_turns(echoing, audited)
    valued = [(index, r) for index in echoing.valued for r in range(len(echoing.played[index]))]
    # each episode is played once
    assert len(echoing.tokenizer.decoded) == count_turns(echoing, {*audited, *valued})
    found = judged.verdict
    assert (found.rollouts, found.turns) == (len(audited), count_turns(echoing, audited))
    heard = [reply for g, r in audited for reply in echoing.played[g][r].heard]
    assert found.replies == sum(len(reply.ids) for reply in heard) > 0
    assert found.broken == 0


def test_an_audited_rollout_that_ends_wrong_costs_no_pass(echoing: World) -> None:
    draft, forward = echoing.mine(), Recorded(echoing)
    index, r = echoing.target
    end_wrong(echoing, draft, index, r)
    judged = judge(echoing, draft, forward, groups=[index])
    assert (judged.verdict.reason, judged.verdict.fault.rollout) == (Reason.WRONG_TERMINATION, r)
    assert judged.verdict.fault.token == len(echoing.played[index][r].tokens) - 1
    assert forward.asked == []
    assert (
        0
        < len(echoing.tokenizer.decoded)
        <= count_turns(echoing, [(index, number) for number in range(len(echoing.played[index]))])
    )


def test_another_rollout_that_ends_wrong_is_found_after_the_pass(echoing: World) -> None:
    """And the ledger has nothing of a file that is refused."""
    draft, forward, before = echoing.mine(), Recorded(echoing), Ledger(3, (0.5,) * 44)
    index, r = find_unaudited(echoing, draft)
    end_wrong(echoing, draft, index, r)
    judged = judge(echoing, draft, forward, ledger=before)
    verdict = judged.verdict
    assert (verdict.reason, verdict.fault.group, verdict.fault.rollout) == (
        Reason.WRONG_TERMINATION,
        index,
        r,
    )
    assert not verdict.provisional
    assert len(forward.asked) == 1
    assert judged.ledger == before


def judge_heads_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "HEAD_SHARE", 0)


def test_a_head_ends_with_the_first_turn_and_meets_no_world(
    echoing: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_heads_first(monkeypatch)
    draft = echoing.mine()
    forward = Recorded(echoing)
    assert judge(echoing, draft, forward).verdict.accepted
    (heads, said, decoded), whole = forward.asked
    firsts = [
        min([one.heard[0].at if one.heard else len(one.tokens), trial.HEAD_TOKENS])
        for one in (echoing.played[g][r] for g, r in list_audited(echoing, draft))
    ]
    assert (heads, said, decoded) == (firsts, [0] * len(firsts), 0)
    assert max(whole[1]) > 0
    cheating = Recorded(echoing, lambda place, length: 1 << 30)
    verdict = judge(echoing, draft, cheating).verdict
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert echoing.tokenizer.decoded == []


@pytest.mark.parametrize("ends_wrong", [False, True])
def test_an_appeal_of_a_head_replays_its_rollout_alone(
    echoing: World, monkeypatch: pytest.MonkeyPatch, ends_wrong: bool
) -> None:
    """If that does not end where its world says, the refusal stands unheard."""
    judge_heads_first(monkeypatch)
    draft, (index, r) = echoing.mine(), echoing.target
    one, cap = echoing.played[index][r], echoing.parameters.tests.margin_cap
    if ends_wrong:
        end_wrong(echoing, draft, index, r)
    near = Recorded(echoing)
    near.disturb = lambda place, _: cap + 1 if place == r and len(near.asked) == 1 else 0
    appeal = Recorded(echoing)
    judged = judge(echoing, draft, near, groups=[index], appeal=appeal)
    if ends_wrong:
        assert judged.verdict.reason is Reason.SAMPLING_MISMATCH
        assert (appeal.asked, len(near.asked)) == ([], 1)
    else:
        assert judged.verdict.accepted, judged.verdict.detail
        assert appeal.asked == [([len(one.tokens)], [len(one.heard)], len(one.heard) + 1)]


def test_one_group_that_ends_wrong_is_left_out_alone(echoing: World) -> None:
    draft, (index, r) = echoing.mine(), echoing.target
    end_wrong(echoing, draft, index, r)
    every = range(len(draft.groups))
    judged = judge(echoing, draft, Recorded(echoing), groups=every, leave_out=1, hand_out=True)
    assert judged.verdict.accepted
    assert [(f.group, f.rollout, f.reason) for f in judged.left_out] == [
        (index, r, Reason.WRONG_TERMINATION)
    ]
    others = [group for group in every if group != index]
    assert [group.index for group in judged.measured] == others
    assert judged.ledger.rollouts == len(others) * len(draft.groups[0])


def test_groups_are_handed_out_with_their_replies(echoing: World) -> None:
    judged = judge(echoing, echoing.mine(), Recorded(echoing), groups=[0, 5], hand_out=True)
    for group in judged.measured:
        assert [list(replies) for replies in group.replies] == [
            one.heard for one in echoing.played[group.index]
        ]


def test_replies_are_paid_as_the_prompt_is_up_to_their_bound(echoing: World) -> None:
    verdict = judge(echoing, echoing.mine(), Recorded(echoing)).verdict
    assert verdict.accepted
    for group in verdict.groups:
        played = echoing.played[group.index]
        mean = sum(group.rewards) // len(played)
        given = {
            "prompt_tokens": len(echoing.get_prompt(group.index)),
            "mean_reward": mean,
            "mean_correctness": sum(group.correctness) // len(played),
            "lengths": [len(one.tokens) for one in played],
        }
        said = [sum(len(reply.ids) for reply in one.heard) for one in played]
        work = echoing.parameters.work
        assert group.value == compute_value(work, replies=said, **given)
        assert group.value > compute_value(work, **given)


def test_a_model_of_one_turn_is_asked_no_world(world: World) -> None:
    forward = Recorded(world)
    judged = judge(world, world.mine(), forward)
    assert judged.verdict.accepted
    assert [(said, decoded) for _, said, decoded in forward.asked] == [([0] * 4, 0)]
    found = judged.verdict
    assert (found.rollouts, found.turns, found.replies) == (4, 4, 0)


def test_every_way_to_end_is_accepted(echoing: World) -> None:
    """All groups, rollout by rollout: no margin, no difference."""
    judged = judge(echoing, echoing.mine(), Recorded(echoing), groups=range(8))
    assert judged.verdict.accepted, judged.verdict.detail
    assert judged.verdict.statistics.margin_max == 0
    assert len({one.episode.end for group in echoing.played for one in group}) >= 4


def test_tokens_behind_a_wrong_end_are_no_part_of_a_trial(echoing: World) -> None:
    """Zeros for proofs change no reason where an audited rollout ends wrong."""
    draft, (index, r) = echoing.mine(), echoing.target
    end_wrong(echoing, draft, index, r)
    rollout = draft.groups[index][r]
    zeros = np.zeros_like(rollout.logprobs), np.zeros_like(rollout.sketch)
    draft.groups[index][r] = Rollout(rollout.tokens, *zeros)
    assert echoing.judge(draft, groups=[index]).reason is Reason.WRONG_TERMINATION
