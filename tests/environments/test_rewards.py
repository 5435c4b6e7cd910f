"""Rewards by their rule, and what nobody may gain by it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, RewardParts, rate_answer
from assay.environments.math_file import MathTask
from assay.environments.math_question import Question
from assay.environments.registry import list_named_rated, make_environment
from assay.environments.rewards import choose_rewards, compute_reward
from assay.environments.thoughtless import measure_level
from assay.protocol.parameters import MILLION, Rewards, find_parameters_fault
from assay.protocol.reward_terms import compute_loss_of_length, describe_rewards
from tests.environments.conftest import make_seed
from tests.vectors.subjects import PARAMETERS

LONGEST = PARAMETERS.work.max_tokens
SHARES = st.integers(0, MILLION)
WRONG = st.builds(
    lambda quality, met, read: RewardParts(
        correctness=0, quality=quality * read, satisfaction=met * read, format=MILLION * read
    ),
    SHARES,
    st.integers(0, MILLION - 1),
    st.integers(0, 1),
)
#: DAPO's ramp over the last 12 of 48 tokens: a right answer falls from 1 to ½, as there from 1 to 0
#: of −1 to 1.
RAMP = Rewards(MILLION, 0, overlong_tokens=12, overlong_penalty=500_000)


def find_fault(rewards: Rewards) -> str | None:
    return find_parameters_fault(replace(PARAMETERS, rewards=rewards))


def reward(parts: RewardParts, tokens: int, rewards: Rewards) -> int:
    return compute_reward(parts, tokens, rewards, LONGEST)


@given(
    st.builds(
        Rewards,
        *(st.sampled_from((0, 1, 2, 250_000)) | st.integers(0, 250_000) for _ in range(4)),
        satisfaction_floor=st.just(0) | st.integers(0, MILLION - 1),
        length_penalty=st.integers(0, 500_000),
        overlong_tokens=st.integers(1, LONGEST),
        overlong_penalty=st.integers(1, 500_000),
    ),
    WRONG,
    SHARES,
    st.integers(0, LONGEST),
    st.integers(0, LONGEST),
)
def test_a_wrong_answer_earns_less_than_a_right_one(
    rewards: Rewards, wrong: RewardParts, quality: int, short: int, long: int
) -> None:
    """Of any length, under all rewards that are not refused. Of the others, some do not."""
    best = RewardParts(correctness=0, quality=MILLION, satisfaction=MILLION - 1, format=MILLION)
    least = rate_answer(1)
    fault = find_fault(rewards)
    if fault is None:
        right = reward(rate_answer(1, quality=quality), long, rewards)
        assert reward(wrong, short, rewards) < right
    elif "a wrong answer" in fault and not rewards.satisfaction_floor:
        assert reward(best, 0, rewards) >= reward(least, LONGEST, rewards)


@pytest.mark.parametrize(
    ("rewards", "fault"),
    [
        (Rewards(800_000, 200_000, 1), "add up to more"),
        (Rewards(0, 1), "correctness_weight = 2 or more would fit"),
        (Rewards(0, 0), "correctness_weight = 1 or more would fit"),
        (Rewards(0, 0, 0, MILLION), "more correctness_weight and less of the other weights"),
        (Rewards(MILLION, 0, length_penalty=MILLION), "overlong_penalty = 999,999 or less"),
        (Rewards(500_000, 500_000), "more correctness_weight and less"),
        (Rewards(500_001, 499_999), None),
        (
            Rewards(600_000, 0, 0, 400_000, length_penalty=600_000),
            "length_penalty + overlong_penalty = 599,999 or less would fit",
        ),
        (
            Rewards(300_000, 0, 0, 200_000, length_penalty=600_000),
            "correctness_weight = 300,003 or more, or length_penalty + overlong_penalty = 599,998 "
            "or less would fit",
        ),
        (Rewards(300_003, 0, 0, 200_000, length_penalty=600_000), None),
        (Rewards(300_000, 0, 0, 200_000, length_penalty=599_998), None),
        (Rewards(satisfaction_floor=MILLION), "satisfaction_floor"),
        (replace(RAMP, length_penalty=500_001), "exceed 1,000,000"),
        (replace(RAMP, overlong_tokens=49), "exceed max_tokens"),
        (replace(RAMP, overlong_tokens=0), "is 0, and the other is not"),
        (Rewards(0, 0, MILLION), None),
        (Rewards(0, 0, MILLION, length_penalty=1), "= 0 or less would fit"),
        (RAMP, None),
    ],
)
def test_rewards_that_are_refused(rewards: Rewards, fault: str | None) -> None:
    found = find_fault(rewards)
    assert found is None if fault is None else fault in str(found)


def test_soft_overlong_ramp() -> None:
    right = [reward(rate_answer(1), tokens, RAMP) for tokens in (1, 36, 37, 42, 48, 60)]
    assert right == [MILLION, MILLION, 958_334, 750_000, 500_000, 500_000]
    # an answer that earns nothing cannot earn by being short
    assert {reward(rate_answer(0), tokens, RAMP) for tokens in range(49)} == {0}


def test_length_never_helps() -> None:
    both = replace(RAMP, length_penalty=333_333)
    lost = [compute_loss_of_length(tokens, both, LONGEST) for tokens in range(LONGEST + 9)]
    assert lost == sorted(lost)
    assert lost[LONGEST:] == [833_333] * 9


def test_a_form_earns_only_with_an_answer() -> None:
    rewards = Rewards(800_000, 0, 0, 200_000)
    environment = make_environment("gsm", {})
    problem = environment.make_problem(make_seed(1), [3])
    right = f"#### {problem.answer.row.value}"  # type: ignore[attr-defined]
    texts = (right, "#### 999983", "#### ", "####", "#### none", f"{right}\n{right}", "", "boxed")
    earned = [reward(environment.score(problem, text), 5, rewards) for text in texts]
    assert earned == [MILLION, 200_000, 0, 0, 0, 0, 0, 0]


def test_a_floor_takes_what_needs_no_thought() -> None:
    """Seven clauses of eight hold under any assignment."""
    environment, level = make_environment("sat", {}), 60
    best = measure_level(environment, level)
    assert 860_000 < best.satisfaction < 950_000
    assert not best.is_too_right
    problem = environment.make_problem(make_seed(2), [level])
    rewards = Rewards(500_000, 0, 500_000)
    floored = replace(rewards, satisfaction_floor=best.floor)
    parts = [environment.score(problem, text) for text in environment.list_thoughtless(problem)]
    assert min(reward(part, 60, rewards) for part in parts) > 400_000
    assert max(reward(part, 60, floored) for part in parts) < 50_000
    assert reward(rate_answer(1), 60, floored) == MILLION


def test_an_environment_too_easy_to_pay_by() -> None:
    """4-SAT with so few clauses is solved by zeros."""
    assert measure_level(make_environment("sat", {"k": 4}), 5).is_too_right


def rate_list(*answers: str) -> Iterator[tuple[int, int]]:
    task = MathTask(Question("Find all roots."), "1, 2, 3")
    for answer in answers:
        parts = task.rate(answer)
        yield parts.satisfaction, parts.correctness


def test_values_of_a_list_are_parts_and_guesses_cost() -> None:
    third = MILLION // 3
    rated = rate_list("3, 2, 1", "1, 2", "1, 2, 4", "1", "1, 2, 3, 4", "1,1,1", "7", "1+1, 2", "x")
    assert [share for share, _ in rated] == [MILLION, 2 * third, third, third, third, 0, 0, 0, 0]
    assert [right for _, right in rate_list("1, 2, 3, 3", "1, 2, 3")] == [0, MILLION]
    many = ", ".join(map(str, range(40)))
    assert list(rate_list(many)) == [(0, 0)]


def test_presets_pay_for_what_can_be_earned() -> None:
    assert choose_rewards(make_environment("arithmetic", {}).rated) == Rewards()
    assert choose_rewards(make_environment("mix", {"arithmetic": 1, "gsm": 1}).rated) == Rewards()
    whole = Rewards(correctness_weight=MILLION, quality_weight=0)
    for name in ("gsm", "sat", "mix,gsm=1,sat=1", "math:SHA256", "mix,code:SHA256=1,sat=2"):
        assert choose_rewards(list_named_rated(name)) == whole


def test_rewards_in_words() -> None:
    shaped = Rewards(600_000, 0, 300_000, 100_000, 875_000, 50_000, 12, 400_000)
    assert describe_rewards(shaped, LONGEST) == [
        "60 % if the answer is right",
        "30 % for the parts that it meets beyond 87.5 % of them",
        "10 % if an answer can be read",
        "a completion of 48 tokens loses 5 %, a shorter one less",
        "a completion of more than 36 tokens loses more with each, 40 % at 48",
    ]
    assert reward(UNREAD, 1, shaped) == 0
