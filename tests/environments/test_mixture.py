"""Mixtures: parts by weight, levels by part, nothing nested."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.arithmetic import write_solution
from assay.environments.base import rate_answer
from assay.environments.mixture import PartProblem
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.environments.conftest import BLANKS_AFTER, TRICKS, make_seed

WEIGHTS = {"arithmetic": 3, "gsm": 1}
MIX = make_environment("mix", WEIGHTS)


def get_part(problem: object) -> int:
    answer = problem.answer  # type: ignore[attr-defined]
    assert isinstance(answer, PartProblem)
    return answer.part


def test_parts_are_drawn_by_weight() -> None:
    drawn = Counter(get_part(MIX.make_problem(make_seed(i), MIX.levels)) for i in range(4_000))
    assert 2_900 < drawn[0] < 3_100
    assert drawn[0] + drawn[1] == 4_000


@given(st.binary(min_size=32, max_size=32))
def test_a_parts_problem_is_the_parts_own(seed: bytes) -> None:
    problem = MIX.make_problem(seed, [1_004, 1_006, 2_002])
    part = get_part(problem)
    alone = make_environment(("arithmetic", "gsm")[part], {})
    asked = alone.make_problem(seed, [[4, 6], [2]][part])
    assert problem.prompt == asked.prompt
    assert problem.level == 1_000 * (part + 1) + asked.level
    assert MIX.make_problem(seed, [1_004, 1_006, 2_002]) == problem


def test_a_part_without_a_level_in_force_is_not_drawn() -> None:
    assert {get_part(MIX.make_problem(make_seed(i), [2_001])) for i in range(50)} == {1}


def test_scores_are_the_parts_own() -> None:
    problem = MIX.make_problem(make_seed(0), [1_005])
    right = write_solution(problem.answer.problem, range(3))  # type: ignore[attr-defined]
    assert MIX.score(problem, right) == rate_answer(1, quality=MILLION)


@pytest.mark.parametrize(
    ("trick", "level"),
    [
        *((trick, 1_005) for trick in TRICKS),
        *((t, 2_003) for t in sorted({*TRICKS} - BLANKS_AFTER)),
    ],
)
def test_adversarial_answer(trick: str, level: int) -> None:
    problem = MIX.make_problem(make_seed(7), [level])
    inner = problem.answer.problem.answer  # type: ignore[attr-defined]
    right = str(sum(inner.values) if level == 1_005 else inner.row.value)
    assert MIX.score(problem, f"#### {right}").correctness == MILLION
    assert MIX.score(problem, TRICKS[trick](right)).correctness == 0


def test_settings_of_parts_come_with_their_defaults() -> None:
    given_one = make_environment("mix", {"sat": 2, "gsm": 1, "sat.k": 4})
    assert dict(given_one.params) == {
        "gsm": 1,
        "gsm.answer_form": 0,
        "gsm.largest": 20,
        "sat": 2,
        "sat.density": 426,
        "sat.k": 4,
    }
    assert make_environment("mix", given_one.params).digest == given_one.digest


def test_whatever_changes_a_problem_changes_the_digest() -> None:
    settings = [
        {"sat": 2, "gsm": 1},
        {"sat": 1, "gsm": 1},
        {"sat": 2, "arithmetic": 1},
        {"sat": 2, "gsm": 1, "sat.k": 4},
        {"sat": 2, "gsm": 1, "arithmetic": 1},
    ]
    assert len({make_environment("mix", each).digest for each in settings}) == len(settings)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "mix has 0 parts"),
        ({"sat": 1}, "mix has 1 parts"),
        ({"sat": 1, "mix": 1}, "not a part of a mixture"),
        ({"sat": 1, "mix:a": 1}, "not a part of a mixture"),
        ({"sat": 1, "chess": 1}, "no environment 'chess'"),
        ({"sat": 1, "gsm": 0}, "gsm = 0 must be an integer from 1"),
        ({"sat": 1, "gsm": -1}, "gsm = -1 must be"),
        ({"sat": 1, "gsm": True}, "gsm = True must be"),
        ({"sat": 1, "gsm": 10**6 + 1}, "must be an integer from 1 to 1000000"),
        ({"sat": 1, "gsm": 1, "sat.k": 9}, "k = 9 must be"),
        ({"sat": 1, "gsm": 1, "sat.colour": 9}, "no parameter 'colour'"),
        ({"sat": 1, "gsm": 1, "arithmetic.minus": 9}, "not a part of it"),
        ({"sat": 1, "gsm": 1, ".k": 9}, "not a part of it"),
        ({"sat": 1, "": 1}, "no environment ''"),
    ],
)
def test_illegal_mixtures(params: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_environment("mix", params)


@pytest.mark.parametrize(
    "levels", [[], [5], [1_000], [1_013], [2_009], [3_001], [1_002, 1_001], [1_002, 1_002]]
)
def test_illegal_levels(levels: list[int]) -> None:
    for i in range(8):  # whichever part is drawn
        with pytest.raises(ValueError, match="level"):
            MIX.make_problem(make_seed(i), levels)


def test_another_mixtures_problem_is_our_own_fault() -> None:
    other = make_environment("mix", {"arithmetic": 1, "gsm": 1, "sat": 50})
    with pytest.raises(TypeError):
        MIX.score(other.make_problem(make_seed(0), [3_020]), "#### 1")
    with pytest.raises(TypeError):
        MIX.score(make_environment("sat", {}).make_problem(make_seed(0), [5]), "#### 1")
