"""The law of pay where worlds reply: docs/security.md, "Where worlds reply"."""

from dataclasses import replace
from itertools import product

import pytest

from assay.protocol.parameters import MAIN_WORK, MILLION, Work
from assay.verification import compute_value

#: The largest lift of a group's factor by forged rewards, for each rollout of G.
LIFT = 1.3
WORK = replace(MAIN_WORK, turns=8, context=65_536, reply_bytes=65_536, paid_reply=4_000)


def count_uniform(work: Work) -> int:
    """Draws of an audit that do not look at lengths."""
    return work.audited_rollouts - work.valued_groups


def compute_pay(work: Work, length: int, forged: int, faked: int) -> float:
    """Mean pay of a window in which `faked` of the valued groups have one fake of `forged` tokens,
    whose replies are paid as far as they may be, in place of a rollout. Without the uniform draws.
    The pay is relative to that of the genuine rollouts, which have no replies."""
    lengths = [forged, *[length] * (work.group_size - 1)]
    weights = [work.weigh_completion(tokens) for tokens in lengths]
    given = {"prompt_tokens": 0, "mean_reward": 0, "mean_correctness": 0}
    most = work.count_paid_replies(forged, 1 << 31)
    value = compute_value(work, lengths=lengths, replies=[most, *[0] * (len(lengths) - 1)], **given)
    genuine = compute_value(work, lengths=lengths[1:], **given)
    missed = (1 - weights[0] / sum(weights)) ** faked
    valued = work.valued_groups
    return missed * (valued - faked + faked * value / genuine) / valued


def compute_best_drop(uniform: int, dear: float, share: float, paid: float = 1.0) -> float:
    """The largest gain within a window from dropping rollouts that cost `dear` times what they are
    paid, which are this share of all. The others cost what they are paid.

    Args:
        paid: their own pay, with 1 for a mean rollout.
    """
    mean = 1 + share * paid * (dear - 1)
    gains = []
    for part in (0.01, 0.1, 0.3, 1.0):
        dropped = share * part
        pay = (1 - dropped * paid) * (1 - dropped) ** uniform
        cost = 1 - dropped * dear * paid / mean
        gains.append(pay / cost - 1)
    return max(gains)


@pytest.mark.parametrize("valued", [12, 6, 2])
def test_no_paid_reply_makes_a_long_fake_pay(valued: int) -> None:
    """Its replies are paid beyond its part in the draw by tokens, but each draw costs the pay of
    all groups: with two valued ones and more, nothing is gained by any length or number."""
    work = replace(WORK, valued_groups=valued)
    for length, forged, faked in product((10, 300), (1, 30, 500, 4_096), range(1, valued + 1)):
        assert compute_pay(work, length, forged, faked) < 1


def test_one_valued_group_alone_would_pay_for_replies() -> None:
    """Up to prompt_share times paid_reply more than it is worth."""
    alone = replace(WORK, valued_groups=1)
    rise = WORK.prompt_share * WORK.paid_reply / 1_000 / MILLION
    assert rise == pytest.approx(0.6)
    flat = replace(alone, position_share=0)
    assert compute_pay(flat, 10, 4_096, 1) == pytest.approx(1 + rise, rel=0.03)
    assert compute_pay(replace(flat, paid_reply=0), 10, 4_096, 1) == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.4])
@pytest.mark.parametrize("paid", [0.3, 1.0, 2.0])
def test_dropping_dear_rollouts_does_not_pay_within_the_bound(share: float, paid: float) -> None:
    """(D - 1) times their pay is below the uniform draws."""
    for uniform in (4, 10):
        dear = 1 + (uniform - LIFT) / paid
        assert compute_best_drop(uniform, dear, share, paid) < 0


def test_nine_times_as_dear_needs_ten_uniform_draws() -> None:
    """With the main network's four, whoever drops them gains; with ten, nobody does."""
    assert count_uniform(MAIN_WORK) == 4
    assert compute_best_drop(4, 9.0, 0.1) > 0.01
    assert all(compute_best_drop(10, 9.0, share) < 0 for share in (0.001, 0.02, 0.1, 0.5))


def test_context_bounds_how_dear_a_token_can_be() -> None:
    """Rule 6 of an episode's ends leaves room for all own tokens: before any of them there are at
    most context - max_tokens others."""
    late = WORK.position_share / MILLION
    for context in (4_996, 16_384):
        most = context - WORK.max_tokens
        dearest = max(
            (1 + late * (t + most)) / (1 + late * t) for t in range(0, WORK.max_tokens, 64)
        )
        assert dearest == pytest.approx(1 + late * most)
