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
        "90a4d1edd428222458285e32b346566bf067b706ba8012fccc7bdf57df4d8897",
        [
            ("b4f54cb8a11a7e067a70f84ba7c3ba4bf491f74fbc153d3c7cafed42a0ac35ed", 5),
            ("e476c097bdb8464a02b3ff515fc93529da25dd9a88e676092978e3870d9d15ef", 5),
        ],
    ),
    (
        {"k": 4, "density": 900},
        [6, 9],
        "9fc77f85353a9377aa0e3a81c5ab139420b3cdd175396e3efefb4cfa79278f64",
        [
            ("f72cae5588bc7f41da73054e381ea9f3a8ebf3b4fc6e168df8362037e4f45831", 6),
            ("6d28eb043f219aa10ee58c1e70b9c72b4ab7c77369f7e68af3ef4433b93ee3fa", 6),
            ("56098fde4c5a033666111cf369431904cee6d76d6a737b8343c0f80abaeec9b4", 9),
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
