"""Order, appeal and ledger as the judge applies them to files."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from assay.protocol.reason import Reason
from assay.protocol.submission import Rollout
from assay.verification import Ledger, Measurement, Projection, UnheardError, trial
from assay.verification.appeal import APPEALS_MAX, is_beyond_rounding

SIZE = 8  # rollouts of a group in the small world

World = Any  # conftest.World: tests cannot import a conftest
Tokens = np.ndarray


class Disturbed:
    """A second implementation of the small world's forward pass: `disturb` is its difference.

    Args:
        disturb: (number of the completion, the true pass's measurement) → this one's measurement.
    """

    def __init__(self, world: World, disturb: Callable[[int, Measurement], Measurement]) -> None:
        self._world = world
        self._disturb = disturb
        self.asked: list[list[int]] = []  # lengths of the completions of each call

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[Tokens],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Any = None,
    ) -> list[Measurement]:
        self.asked.append([len(tokens) for tokens in completions])
        measured = self._world.forward.measure(prompts, completions, seeds, projection, replies)
        return [self._disturb(r, m) for r, m in enumerate(measured)]


def say_nothing_else(number: int, measured: Measurement) -> Measurement:
    return measured


def raise_margins(by: int, of: Callable[[int], bool]) -> Callable[[int, Measurement], Measurement]:
    """The last token of some rollouts of each call has a margin of `by`."""

    def disturb(number: int, measured: Measurement) -> Measurement:
        margins = measured.margins.copy()
        if of(number):
            margins[-1] = by
        return replace(measured, margins=margins)

    return disturb


def judge_by(
    world: World, forward: Disturbed, appeal: Disturbed | None = None, ledger: Ledger | None = None
) -> tuple[Any, Ledger]:
    options = {"appeal": appeal, "groups": world.valued, "ledger": ledger or Ledger()}
    judged = world.judge_by(forward, *world.seal(world.mine()), **options)
    return judged.verdict, judged.ledger


def judge_heads_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads of one token, however long the prompts before them are."""
    monkeypatch.setattr(trial, "HEAD_TOKENS", 1)
    monkeypatch.setattr(trial, "HEAD_SHARE", 1)


@pytest.fixture
def cap(world: World) -> int:
    return world.parameters.tests.margin_cap


def test_every_rollout_enters_the_ledger_in_order(world: World) -> None:
    verdict, ledger = judge_by(world, Disturbed(world, say_nothing_else), ledger=None)
    assert verdict.accepted
    assert ledger.rollouts == 2 * SIZE
    _, again = judge_by(world, Disturbed(world, say_nothing_else), ledger=ledger)
    assert again.rollouts == 4 * SIZE


def test_small_steerings_add_up_over_the_windows_of_a_settlement(world: World, cap: int) -> None:
    """One tie a window, far below the cap: each file alone is accepted, soon one is not."""
    steered = Disturbed(world, raise_margins(cap // 8, lambda r: r == 3))
    honest = Disturbed(world, say_nothing_else)
    calls = iter([steered, honest] * 9)

    class OneGroup:
        def measure(self, *arguments: Any) -> list[Measurement]:
            return next(calls).measure(*arguments)

    ledger, verdicts = Ledger(), []
    while not verdicts or verdicts[-1].accepted:
        verdict, after = judge_by(world, OneGroup(), ledger=ledger)
        alone, _ = judge_by(world, OneGroup())
        assert alone.accepted
        verdicts.append(verdict)
        assert verdict.accepted or after == ledger
        ledger = after
    assert verdicts[-1].reason is Reason.LEDGER_MISMATCH
    assert (verdicts[-1].fault.group, verdicts[-1].fault.rollout) == (world.valued[0], 3)
    assert "add up" in verdicts[-1].detail
    assert 1 < len(verdicts) <= 4
    assert verdicts[0].statistics.ledger_capital < verdicts[-1].statistics.ledger_capital


def test_a_failed_trial_leaves_the_ledger_unchanged(world: World, cap: int) -> None:
    before = Ledger(3, (0.5,) * 44)
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 0))
    verdict, ledger = judge_by(world, forward, ledger=before)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert ledger == before


def test_a_rejection_that_the_second_prefill_does_not_confirm_is_dropped(
    world: World, cap: int
) -> None:
    """One token at the cap, crafted to split validators, is such a case."""
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 5))
    second = Disturbed(world, say_nothing_else)
    verdict, ledger = judge_by(world, forward, second)
    assert verdict.accepted
    assert len(second.asked) == 2  # one rollout of each of two groups, whole
    honest = judge_by(world, Disturbed(world, say_nothing_else))[1]
    assert ledger.rollouts == honest.rollouts
    assert ledger.compute_log_capital(world.parameters.tests) < 0


def test_a_rejection_stands_where_nobody_is_asked_again(world: World, cap: int) -> None:
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 5))
    assert judge_by(world, forward)[0].reason is Reason.SAMPLING_MISMATCH


def test_a_rejection_that_is_confirmed_stands(world: World, cap: int) -> None:
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 5))
    second = Disturbed(world, raise_margins(cap + 1, lambda r: True))
    verdict, _ = judge_by(world, forward, second)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.fault.group, verdict.fault.rollout) == (world.valued[0], 5)
    assert len(second.asked) == 1


def test_a_third_rejection_stands_without_appeal(world: World, cap: int) -> None:
    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r in {0, 4, 6}))
    second = Disturbed(world, say_nothing_else)
    verdict, _ = judge_by(world, forward, second)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.fault.group, verdict.fault.rollout) == (world.valued[0], 6)
    assert len(second.asked) == APPEALS_MAX == 2


def test_an_appeal_looks_at_every_test(world: World, cap: int) -> None:
    """A rollout whose sketch is narrowly wrong is not cleared by margins that are fine."""
    draft = world.mine()
    rollout = draft.groups[world.audited][2]
    draft.groups[world.audited][2] = replace(rollout, sketch=rollout.sketch ^ 1)
    second = Disturbed(world, say_nothing_else)
    verdict = world.judge(draft, appeal=second, groups=world.valued)
    assert verdict.reason is Reason.SKETCH_MISMATCH
    assert second.asked == [[len(rollout.tokens)]]


def test_no_difference_below_eight_caps_is_beyond_rounding(world: World, cap: int) -> None:
    """The proof in docs/security.md, with logits that differ as far as it allows. In integers."""
    random = np.random.default_rng(0)
    keyed = random.integers(0, 1 << 22, (4_096, 50))  # scores by which the miner draws
    keyed[:, 1] = keyed.max(axis=1)  # a tie
    drawn = keyed.argmax(axis=1)[:, None]
    differences = random.choice([-8 * cap, 8 * cap], keyed.shape)
    np.put_along_axis(differences, drawn, -8 * cap, axis=1)
    scores = keyed + differences
    margins = scores.max(axis=1) - np.take_along_axis(scores, drawn, axis=1)[:, 0]
    assert margins.max() == 16 * cap  # the bound is reached
    column = np.zeros(len(margins), np.uint32)
    sketch = np.zeros((len(margins), 2), np.int8)
    rollout = Rollout(column, column, sketch)
    measured = Measurement(margins, column.astype(np.int64), column * 0.5, column, sketch)
    tests = world.parameters.tests
    assert not is_beyond_rounding(rollout, measured, [0], tests)
    assert is_beyond_rounding(rollout, replace(measured, margins=margins + 1), [0], tests)


FORGED = {
    "another token": lambda rollout: replace(rollout, tokens=(rollout.tokens + 1) % 90),
    "a sketch of zeros": lambda rollout: replace(rollout, sketch=np.zeros_like(rollout.sketch)),
    "log-probabilities of zeros": lambda rollout: replace(
        rollout, logprobs=np.zeros_like(rollout.logprobs)
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_junk_forces_no_appeal(world: World, forge: Callable[[Rollout], Rollout]) -> None:
    draft = world.mine()
    if forge is FORGED["another token"]:
        world.rewrite(draft, world.audited, 2, forge(draft.groups[world.audited][2]).tokens)
    else:
        draft.groups[world.audited][2] = forge(draft.groups[world.audited][2])
    second = Disturbed(world, say_nothing_else)
    assert not world.judge(draft, appeal=second, groups=world.valued).accepted
    assert second.asked == []


def test_a_rejection_stands_where_the_second_prefill_cannot_be_had(world: World, cap: int) -> None:
    class Unheard:
        def measure(self, *arguments: Any) -> list[Measurement]:
            raise UnheardError("memory does not suffice")

    forward = Disturbed(world, raise_margins(cap + 1, lambda r: r == 5))
    verdict, _ = judge_by(world, forward, Unheard())
    assert verdict.reason is Reason.SAMPLING_MISMATCH


def test_the_first_tokens_of_all_rollouts_are_judged_before_the_rest_of_any(
    world: World, cap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last rollout of the last group fails at once: no whole completion is ever measured."""
    judge_heads_first(monkeypatch)
    last = world.valued[-1]
    forward = Disturbed(world, say_nothing_else)
    assert judge_by(world, forward)[0].accepted
    assert [max(call) for call in forward.asked[:2]] == [1, 1]
    assert min(max(call) for call in forward.asked[2:]) > 1

    draft = world.mine()
    tokens = draft.groups[last][SIZE - 1].tokens.copy()
    tokens[0] = (tokens[0] + 1) % 90
    world.rewrite(draft, last, SIZE - 1, tokens)
    forward = Disturbed(world, say_nothing_else)
    verdict = world.judge_by(forward, *world.seal(draft), groups=world.valued).verdict
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.fault.group, verdict.fault.rollout, verdict.fault.token) == (last, SIZE - 1, 0)
    assert forward.asked == [[1] * SIZE] * 2


def test_heads_are_not_measured_twice_where_completions_are_short(world: World) -> None:
    forward = Disturbed(world, say_nothing_else)
    assert judge_by(world, forward)[0].accepted
    assert len(forward.asked) == 2


def test_an_appeal_does_not_pass_over_forged_logprobs(world: World) -> None:
    draft = world.mine()
    rollout = draft.groups[world.audited][2]
    forged = replace(rollout, logprobs=rollout.logprobs + 65)
    draft.groups[world.audited][2] = forged
    verdict = world.judge(draft, appeal=Disturbed(world, say_nothing_else), groups=world.valued)
    assert verdict.reason is Reason.LOGPROB_MISMATCH


def judge_heads(
    world: World, draft: Any, heads_fail: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Heads of one token, some of which the first implementation alone finds wrong."""
    judge_heads_first(monkeypatch)
    cap = world.parameters.tests.margin_cap

    def disturb(number: int, measured: Measurement) -> Measurement:
        margins = measured.margins.copy()
        if heads_fail(number):
            margins[0] = cap + 1
        return replace(measured, margins=margins)

    forward, second = Disturbed(world, disturb), Disturbed(world, say_nothing_else)
    options = {"appeal": second, "groups": world.valued}
    return world.judge_by(forward, *world.seal(draft), **options).verdict


def test_cleared_rollouts_are_not_measured_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails as a head and would fail again as a whole: one appeal is enough for both."""
    verdict = judge_heads(world, world.mine(), lambda r: r == 5, monkeypatch)
    assert verdict.accepted


def test_a_head_that_fails_is_cleared_by_the_whole_rollout_only(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft, index = world.mine(), world.valued[0]
    row = max(range(SIZE), key=lambda r: len(draft.groups[index][r].tokens))
    tokens = draft.groups[index][row].tokens.copy()
    tokens[1] = (tokens[1] + 1) % 90  # the cheat lies behind the head
    world.rewrite(draft, index, row, tokens)
    verdict = judge_heads(world, draft, lambda r: r == row, monkeypatch)
    assert verdict.reason is Reason.SAMPLING_MISMATCH
    assert (verdict.fault.group, verdict.fault.rollout) == (index, row)


def test_heads_show_a_forged_sketch_before_anything_is_measured_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_heads_first(monkeypatch)
    draft, index = world.mine(), world.valued[-1]
    rollout = draft.groups[index][0]
    draft.groups[index][0] = replace(rollout, sketch=np.full_like(rollout.sketch, -127))
    forward = Disturbed(world, say_nothing_else)
    verdict = world.judge_by(forward, *world.seal(draft), groups=world.valued).verdict
    assert verdict.reason is Reason.SKETCH_MISMATCH
    assert max(map(max, forward.asked)) == 1


def test_an_audit_measures_all_its_rollouts_together(world: World) -> None:
    """Each of another group, with its own prompt."""
    forward = Disturbed(world, say_nothing_else)
    draft = world.mine()
    judged = world.judge_by(forward, *world.seal(draft))
    verdict, ledger = judged.verdict, judged.ledger
    assert verdict.accepted
    expected = [
        len(draft.groups[group.index][r].tokens)
        for group in world.chosen
        for r in world.find_audited(draft, group.index)
    ]
    assert forward.asked == [expected]
    assert ledger.rollouts == len(expected) == world.parameters.work.audited_rollouts
    audited = {group.index: group.audited for group in verdict.groups}
    assert audited == {index: world.find_audited(draft, index) for index in world.valued}


@pytest.mark.parametrize(("tokens", "first"), [(700, False), (701, True)])
def test_heads_go_first_where_prompts_and_heads_are_an_eighth_of_all(
    world: World, tokens: int, first: bool
) -> None:
    """With a prompt of 27 tokens: 8 · (27 + 64) = 27 + 701."""
    asked: list[list[int]] = []

    class Forward:
        def measure(self, prompts: Any, completions: Any, *_: Any) -> list[Measurement]:
            asked.append([len(tokens) for tokens in completions])
            raise StopIteration

    column = np.zeros(tokens, np.uint32)
    rollout = Rollout(column, column, np.zeros((tokens, 2), np.int8))
    hearing = trial.Trial(
        world.hotkey,
        world.context,
        world.calibration,
        world.projection,
        lambda index: [1] * 27,
        Forward(),
        None,
    )
    with pytest.raises(StopIteration):
        hearing.process([{(0, 0): rollout, (3, 1): rollout}], Ledger())
    assert asked == [[trial.HEAD_TOKENS if first else tokens] * 2]


@pytest.mark.parametrize("heads_first", [False, True])
def test_a_judge_hands_out_what_it_has_measured(
    world: World, monkeypatch: pytest.MonkeyPatch, heads_first: bool
) -> None:
    """The whole rollouts, in the file's order, whatever was measured before them; nothing of a
    refused file, and nothing where nobody asks."""
    if heads_first:
        judge_heads_first(monkeypatch)
    draft, forward = world.mine(), Disturbed(world, say_nothing_else)
    served = world.seal(draft)
    judged = world.judge_by(forward, *served, groups=world.valued, hand_out=True)
    assert [group.index for group in judged.measured] == world.valued
    for group in judged.measured:
        assert group.prompt == tuple(world.get_prompt(group.index))
        for claimed, tokens, logprobs in zip(
            draft.groups[group.index], group.tokens, group.logprobs, strict=True
        ):
            assert tokens.tolist() == claimed.tokens.tolist()
            assert logprobs.tolist() == claimed.logprobs.tolist()  # an honest miner's
    assert world.judge_by(forward, *served, groups=world.valued).measured == ()
    world.rewrite(draft, world.valued[0], 0, (draft.groups[world.valued[0]][0].tokens + 1) % 90)
    refused = world.judge_by(forward, *world.seal(draft), groups=world.valued, hand_out=True)
    assert not refused.verdict.accepted
    assert refused.measured == ()
