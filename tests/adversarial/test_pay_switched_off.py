"""Each rule of the pay is removed once: then the attack that it stops must pay."""

from hashlib import sha256

import pytest

from assay.lab.gauntlet.measuring import SETTLEMENT_WINDOWS as WINDOWS
from assay.lab.gauntlet.measuring import compute_stopping_gain
from assay.protocol.parameters import MAIN_WORK
from assay.protocol.prf import Stream
from assay.protocol.reason import Reason
from assay.subnet.presets import DEMO_WORK
from assay.verification import (
    Accepted,
    GroupValue,
    Result,
    Seat,
    compute_score,
    compute_settlement,
    compute_value,
    settlement,
)
from tests.lab.gauntlet.incentives import compute_expected_gain

SEAT, OTHER = Seat(1, 1), Seat(2, 1)


def test_without_zeroing_the_settlement() -> None:
    """Losing the window alone: twelve faked windows at .6 of the cost, a fifth of them caught."""
    caught = [Result(w, SEAT, Reason.SAMPLING_MISMATCH, 0) for w in range(2)]
    passed = [Result(w, SEAT, Reason.ACCEPTED, 1_000) for w in range(2, WINDOWS)]
    assert compute_settlement(caught + passed)[SEAT] == 0
    assert sum(result.score for result in caught + passed) / 0.6 > WINDOWS * 1_000


def test_with_hotkeys_in_the_place_of_seats() -> None:
    """Caught, renamed: the rest of the settlement would be another's."""
    caught, honest = Reason.SKETCH_MISMATCH, Reason.ACCEPTED
    assert (
        sum(compute_settlement([Result(0, SEAT, caught, 0), Result(1, SEAT, honest, 9)]).values())
        == 0
    )
    assert (
        sum(compute_settlement([Result(0, SEAT, caught, 0), Result(1, OTHER, honest, 9)]).values())
        == 9
    )


def test_without_counting_what_is_withheld(monkeypatch):
    """Nothing shown where the audit has hit, and nothing lost but the window."""
    cost, detection = 0.6, 0.3
    assert compute_expected_gain(WINDOWS, cost, detection, withholds=True) < 0
    monkeypatch.setattr(settlement, "WITHHELD", frozenset())
    assert compute_expected_gain(WINDOWS, cost, detection, withholds=True) > 0


def test_a_score_that_does_not_grow_with_the_groups() -> None:
    """Paid by the mean alone, a miner would stop after the first group it likes."""
    few, many = (
        Accepted(
            window=0,
            hotkey=bytes(32),
            detail="",
            committed_groups=n,
            groups=(GroupValue(0, 700, (), (), ()),) * 4,
        )
        for n in (4, 48)
    )
    assert compute_score(many) / compute_score(few) == (48 - 1 / 2) / (4 - 1 / 2)
    means = [sum(g.value for g in verdict.groups) / len(verdict.groups) for verdict in (few, many)]
    assert means[0] == means[1]


def draw_lengths():
    """Completion tokens of 2,000 groups of very unequal problems."""
    stream = Stream(sha256(b"lengths").digest())
    return [16 * 2 ** stream.draw_between(5, 11) for _ in range(2_000)]


@pytest.mark.parametrize("price", [0.0, 0.05, 0.2, 1.0])
def test_flat_pay_for_a_group(price):
    """Many hotkeys that each stop where the next problem is long, on an engine as steep as pay."""
    work = MAIN_WORK
    groups = [[tokens // work.group_size] * work.group_size for tokens in draw_lengths()]
    costs = [float(sum(map(work.weigh_completion, lengths))) for lengths in groups]
    by_work = [
        compute_value(
            work, lengths=lengths, prompt_tokens=30, mean_reward=300_000, mean_correctness=300_000
        )
        for lengths in groups
    ]
    assert compute_stopping_gain(costs, by_work, price) < 0.01  # the prompt's own tokens
    if price < 0.1:
        assert compute_stopping_gain(costs, [1.0] * len(costs), price) > 0.9


def test_a_shaped_score():
    """Rollouts that are all wrong and paid for their form: they differ, and teach nothing right."""
    tokens, shaped = 10_000, 500_000
    wrong, mixed = (
        compute_value(
            DEMO_WORK,
            lengths=[1] * tokens,
            prompt_tokens=0,
            mean_reward=shaped,
            mean_correctness=right,
        )
        for right in (0, shaped)
    )
    factor = DEMO_WORK.value_base + DEMO_WORK.value_mean * shaped
    assert wrong == tokens * factor // 10**18
    assert mixed - wrong == tokens * DEMO_WORK.value_teach * shaped**2 // 10**18


def test_a_step_in_the_value():
    """A bonus at a mean reward of .5 would be worth steering one rollout over it."""
    work = DEMO_WORK
    smooth = [
        compute_value(
            work, lengths=[10_000], prompt_tokens=0, mean_reward=mean, mean_correctness=mean
        )
        for mean in (437_500, 500_000)
    ]
    stepped = [10_000 * (7 + 3 * (mean >= 500_000)) // 10 for mean in (437_500, 500_000)]
    assert smooth[1] / smooth[0] < 1.02
    assert stepped[1] / stepped[0] > 1.4
