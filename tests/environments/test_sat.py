"""SAT: pinned formulas, substitution as the only judge, one answer form."""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.base import UNREAD, Problem, rate_answer
from assay.environments.registry import make_environment
from assay.environments.sat import Formula

ENVIRONMENT = make_environment("sat", {})
#: 11000 satisfies all four clauses, 11100 all but the last.
SMALL = Problem("", 5, Formula(5, ((1, 2, 3), (-1, 2, 4), (3, -4, 5), (-1, -2, -3))))


GOLDEN = [
    (
        {},
        [5],
        "c0d3c823ccc843cedb117994dfa4d7135468b078ae1a1d689e5ba8fe7f541903",
        [
            ("6ba9ef183d37f4d9c0089c4d0782c0073069140d2002d5d0de2a7e67d46b443d", 5),
            ("3a1a2f17d8f34c3c08f14ababd4665bbb0b6cb727fc1eaed92bd0d56a926e910", 5),
        ],
    ),
    (
        {"k": 4, "density": 900},
        [6, 9],
        "f6a37df60ce7e85d304abf947bf2cfb6bf8996b1308ef5b7b7343afdc3b4eb2d",
        [
            ("b410b1d338281b634439a59197417c8194da2d97a24d56c024cc25cbf89a564e", 9),
            ("df030a05a53864f7b8166e204124416525887fc904bf592658763b2790739e52", 9),
        ],
    ),
]


@pytest.mark.parametrize(("params", "levels", "digest", "prompts"), GOLDEN)
def test_pinned(
    params: dict[str, int], levels: list[int], digest: str, prompts: list[tuple[str, int]]
) -> None:
    environment = make_environment("sat", params)
    assert environment.digest.hex() == digest
    problems = [environment.make_problem(bytes([i]) * 32, levels) for i in range(len(prompts))]
    found = [(hashlib.sha256(p.prompt.encode()).hexdigest(), p.level) for p in problems]
    assert found == prompts


@pytest.mark.parametrize("k", [3, 4, 5])
@pytest.mark.parametrize("level", [5, 9])
def test_every_instance_has_a_solution(k: int, level: int) -> None:
    environment = make_environment("sat", {"k": k, "density": 426 if k == 3 else 900})
    problem = environment.make_problem(bytes([level]) * 32, [level])
    answers = ("#### " + "".join(bits) for bits in itertools.product("01", repeat=level))
    assert any(environment.score(problem, answer).correctness for answer in answers)
    assert all(character == "\n" or " " <= character <= "~" for character in problem.prompt)


def test_signs_do_not_give_the_plan_away() -> None:
    """Voting by the majority of a variable's signs solves no formula of fifty variables."""
    solved = 0
    for i in range(40):
        problem = ENVIRONMENT.make_problem(bytes([i]) * 32, [50])
        formula = problem.answer
        assert isinstance(formula, Formula)
        votes = [0] * 50
        for literal in itertools.chain.from_iterable(formula.clauses):
            votes[abs(literal) - 1] += 1 if literal > 0 else -1
        answer = "#### " + "".join("1" if vote > 0 else "0" for vote in votes)
        solved += ENVIRONMENT.score(problem, answer).correctness
    assert solved == 0


@pytest.mark.parametrize(
    ("completion", "satisfied"),
    [("#### 11000", 4), ("#### 11100", 3), ("thinking\n#### 00000", 3), ("#### 00010", 2)],
)
def test_substitution(completion: str, satisfied: int) -> None:
    parts = ENVIRONMENT.score(SMALL, completion)
    assert parts == rate_answer(satisfied, 4)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "11000",
        "####11000",
        "#### 1100",
        "#### 110000",
        "#### 11000\n",
        "#### 11000 ",
        "#### 1 1 0 0 0",
        "#### 1100\u0660",
        "#### 1100\uff10",
        "#### 1100O",
        "#### 1100-",
        " #### 11000",
        "##### 11000",
        "#### 11100\n#### 11000",
        "#### 11000\n#### 11000",
        "#### " + "1" * 10**6,
        "#" * 10**6,
    ],
)
def test_adversarial_answer(completion: str) -> None:
    assert ENVIRONMENT.score(SMALL, completion) == UNREAD


@given(st.text(max_size=100))
def test_no_text_raises(completion: str) -> None:
    assert ENVIRONMENT.score(SMALL, completion).quality == 0
