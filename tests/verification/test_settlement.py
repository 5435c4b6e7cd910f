"""From verdicts to weights: goldens worked out by hand, and what no score may ever do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.protocol.beacon import QUICKNET
from assay.protocol.parameters import MAIN_WORK
from assay.protocol.reason import CHEATING, WITHHELD, Reason
from assay.subnet.presets import make_demo_parameters
from assay.verification import (
    GroupValue,
    Result,
    Seat,
    Verdict,
    VerdictRecord,
    compute_score,
    compute_settlement,
    compute_value,
    compute_weights,
    settle_weights,
)

MILLION = 1_000_000
SEAT, OTHER = Seat(3, 100), Seat(4, 100)
#: Late tokens are paid like early ones.
FLAT = replace(MAIN_WORK, position_share=0)


def verdict(n: int, values: list[int], reason: Reason = Reason.ACCEPTED) -> Verdict:
    groups = tuple(GroupValue(i, value, (), (), ()) for i, value in enumerate(values))
    return VerdictRecord(1, bytes(32), reason, "", n, groups=groups).to_verdict()


def value(tokens: int, mean: int, prompt: int = 0) -> int:
    """With scores that are right or wrong and nothing else."""
    return compute_value(
        FLAT, lengths=[tokens], prompt_tokens=prompt, mean_reward=mean, mean_correctness=mean
    )


@pytest.mark.parametrize(
    ("tokens", "mean", "expected"),
    [
        (10_000, 0, 7_000),  # work alone
        (10_000, MILLION, 8_000),  # and the whole reward, but nothing to teach
        (10_000, MILLION // 2, 9_500),  # and most to teach: .7 + .05 + .2
        (10_000, 250_000, 8_750),  # .7 + .025 + .15
        (1, MILLION // 2, 0),
        (0, MILLION // 2, 0),
        (3, 0, 2),
    ],
)
def test_value_goldens(tokens: int, mean: int, expected: int) -> None:
    assert value(tokens, mean) == expected


def test_a_prompt_is_paid_at_its_share() -> None:
    assert MAIN_WORK.prompt_share == 150_000
    assert value(10_000, 0, prompt=1_000) == value(10_150, 0)
    assert value(10_000, 0, prompt=9) == 7_000  # 1.35 tokens, rounded down with all the rest


@given(st.integers(0, 10**6), st.integers(0, MILLION - 1))
def test_value_is_smooth_in_the_mean_reward(tokens: int, mean: int) -> None:
    """A step could be steered to; here one millionth of reward moves a millionth of the value."""
    step = value(tokens, mean + 1) - value(tokens, mean)
    assert abs(step) <= tokens / MILLION + 1


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, MILLION))
def test_value_never_falls_with_work(tokens: int, more: int, mean: int) -> None:
    few, many = (value(t, mean) for t in (tokens, tokens + more))
    assert few <= many
    assert 7 * tokens // 10 <= few <= tokens


def test_score_goldens() -> None:
    """A submission is paid for half a group less than it has."""
    assert compute_score(verdict(10, [100, 102])) == 959  # 9.5 · 101, rounded down
    assert compute_score(verdict(3, [100, 100, 101])) == 250
    assert compute_score(verdict(7, [1, 1, 2, 2])) == 9  # rounded down, once
    assert compute_score(verdict(1, [101])) == 50
    assert compute_score(verdict(7, [0])) == 0


@given(st.integers(1, 1_024), st.integers(0, 10**7))
def test_score_never_falls_as_more_equal_groups_are_committed(n: int, each: int) -> None:
    def score(groups: int) -> int:
        return compute_score(verdict(groups, [each] * min(groups, 4)))

    assert score(n) == (2 * n - 1) * each // 2 <= score(n + 1)


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.ACCEPTED])
def test_only_accepted_work_scores(reason: Reason) -> None:
    assert compute_score(verdict(10, [100], reason)) == 0


def settle(*reasons: Reason, score: int = 100) -> int:
    """Six accepted windows of 100, then windows of these reasons, worth nothing."""
    results = [Result(w, SEAT, Reason.ACCEPTED, score) for w in range(6)]
    results += [Result(6 + w, SEAT, reason, 0) for w, reason in enumerate(reasons)]
    return compute_settlement(results)[SEAT]


@pytest.mark.parametrize("reason", sorted(CHEATING))
def test_one_cheat_zeroes_the_settlement(reason: Reason) -> None:
    assert settle(reason) == 0


@pytest.mark.parametrize("reason", sorted(WITHHELD))
def test_one_window_withheld_loses_that_window_and_two_lose_all(reason: Reason) -> None:
    assert settle(reason) == 600
    assert settle(reason, reason) == 0
    assert settle(reason, Reason.NOT_REVEALED) == 0


@pytest.mark.parametrize(
    "reason", [Reason.NOT_REGISTERED, Reason.NO_COMMITMENT, Reason.INTERNAL, Reason.ACCEPTED]
)
def test_reasons_without_fault_zero_nothing(reason: Reason) -> None:
    assert settle(*[reason] * 6) == 600


def test_every_reason_has_its_consequence() -> None:
    free = {Reason.NOT_REGISTERED, Reason.NO_COMMITMENT, Reason.INTERNAL, Reason.ACCEPTED}
    assert not CHEATING & WITHHELD
    assert CHEATING | WITHHELD | free == set(Reason)


def test_swapping_the_hotkey_does_not_shed_the_zero() -> None:
    """Settlements know seats, not hotkeys: a swapped hotkey keeps uid and registration block."""
    swapped = Seat(SEAT.uid, SEAT.registered_at)
    caught = [Result(1, SEAT, Reason.SAMPLING_MISMATCH, 0), Result(2, swapped, Reason.ACCEPTED, 9)]
    assert compute_settlement(caught) == {SEAT: 0}


def test_a_new_registration_starts_clean_and_harms_nobody() -> None:
    results = [
        Result(1, SEAT, Reason.SAMPLING_MISMATCH, 0),
        Result(2, Seat(3, 500), Reason.ACCEPTED, 9),
        Result(2, OTHER, Reason.ACCEPTED, 5),
    ]
    assert compute_settlement(results) == {SEAT: 0, Seat(3, 500): 9, OTHER: 5}


@given(st.permutations([Reason.ACCEPTED] * 3 + [Reason.NOT_REVEALED, Reason.TOO_LARGE]))
def test_the_order_of_windows_does_not_matter(reasons: list[Reason]) -> None:
    results = [Result(w, SEAT, r, 10 * (r is Reason.ACCEPTED)) for w, r in enumerate(reasons)]
    assert compute_settlement(results) == {SEAT: 0}
    assert compute_settlement(results[:0]) == {}


def test_weight_goldens() -> None:
    assert compute_weights({1: 100, 2: 50, 3: 0}, 0, 0) == {1: 65_535, 2: 32_768}
    assert compute_weights({1: 300, 2: 100}, 0, 500_000) == {0: 65_535, 1: 49_151, 2: 16_384}
    assert compute_weights({0: 100, 1: 100}, 0, 500_000) == {0: 65_535, 1: 21_845}
    assert compute_weights({1: 100}, 0, 1_000_000) == {0: 65_535}
    assert compute_weights({1: 131_071, 2: 1}, 0, 0) == {1: 65_535}  # below one half: left out
    assert compute_weights({1: 131_070, 2: 1}, 0, 0) == {1: 65_535, 2: 1}  # one half: up


@pytest.mark.parametrize("scores", [{}, {1: 0, 2: 0}, {0: 0}])
def test_an_all_zero_settlement_goes_to_the_owner(scores: dict[int, int]) -> None:
    for burn in (0, 50_000, MILLION):
        assert compute_weights(scores, 0, burn) == {0: 65_535}


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_the_chain_keeps_its_weights_for_so_many_settlements(allowed: int) -> None:
    """Then the owner has everything until somebody earns; where no window counts nothing moves."""
    first = make_demo_parameters(bytes(32), QUICKNET, 9, bytes(32), bytes(32))
    work = replace(first.work, idle_settlements=allowed)
    parameters = replace(first, work=work)
    idle, weights = settle_weights({1: 5, 2: 0}, parameters, 7)
    assert (idle, weights) == (0, {1: 65_535})
    for count in range(1, allowed + 3):
        assert settle_weights(None, parameters, idle) == (idle, {})
        idle, weights = settle_weights({1: 0}, parameters, idle)
        assert (idle, weights) == (count, {} if count <= allowed else {9: 65_535})


all_scores = st.dictionaries(st.integers(0, 255), st.integers(0, 10**15), min_size=1, max_size=30)


@given(all_scores, st.integers(0, MILLION))
def test_weights_fit_the_chain_and_the_largest_is_65535(scores: dict[int, int], burn: int) -> None:
    weights = compute_weights(scores, 7, burn)
    assert max(weights.values()) == 65_535
    assert min(weights.values()) >= 1
    assert set(weights) <= {*scores, 7}
    assert list(weights) == sorted(weights)


@given(all_scores, st.integers(0, MILLION))
def test_a_higher_score_never_has_a_smaller_weight(scores: dict[int, int], burn: int) -> None:
    weights = compute_weights(scores, 999, burn)
    ranked = [weights.get(uid, 0) for uid in sorted(scores, key=scores.__getitem__)]
    assert ranked == sorted(ranked)


@given(all_scores, st.integers(1, 999_999))
def test_the_burn_share_is_what_the_owner_gets(scores: dict[int, int], burn: int) -> None:
    if not any(scores.values()):
        return
    weights = compute_weights(scores, 999, burn)
    share = weights.get(999, 0) / sum(weights.values())
    assert abs(share - burn / MILLION) < 2e-3
