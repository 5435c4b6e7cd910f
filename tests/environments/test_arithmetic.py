"""Sums: pinned problems, the one answer form, and what does not count as reasoning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.environments.arithmetic import Terms, write_solution
from assay.environments.base import UNREAD, Problem, rate_answer
from assay.environments.registry import make_environment
from assay.environments.rewards import compute_reward
from assay.protocol.parameters import MILLION, Rewards

#: What a wrong answer achieves: it may have been read.
NOTHING = UNREAD, rate_answer(0)

ENVIRONMENT = make_environment("arithmetic", {})
MIXED = make_environment("arithmetic", {"minus": 50, "words": 50})


def make(terms: str = "7+15+3") -> Problem:
    """The problem `terms` asks, found by construction rather than by seed."""
    values = tuple(int(term) for term in terms.replace("-", "+-").split("+"))
    return Problem(f"{terms}=?\n", 5, Terms(values))


GOLDEN = [
    (
        {},
        [1, 5, 12],
        "fd5efe22b84778751e6268308b1685755bcff697441058c0bd33280c75077edb",
        [("43+3+2=?\n", 5), ("2+4=?\n", 1), ("6+9=?\n", 1)],
    ),
    (
        {"minus": 50, "words": 50},
        [2, 6],
        "d054442f3c2f8109d45884cbd67a5583e06e01dec6ddb1e58e928d803b7837b2",
        [
            ("43+3+2-11=?\n", 6),
            ("Finn counts 1 shells, adds 24, adds 26, adds 35. How many?\n", 6),
            ("Ada counts 34 coins, adds 3, adds 29, adds 18. How many?\n", 6),
            ("Finn counts 7 books, adds 7, adds 5. How many?\n", 2),
        ],
    ),
]


@pytest.mark.parametrize(("params", "levels", "digest", "prompts"), GOLDEN)
def test_pinned(
    params: dict[str, int], levels: list[int], digest: str, prompts: list[tuple[str, int]]
) -> None:
    environment = make_environment("arithmetic", params)
    assert environment.digest.hex() == digest
    seeds = (bytes([8 + i]) * 32 for i in range(len(prompts)))  # with words and without
    problems = [environment.make_problem(seed, levels) for seed in seeds]
    assert [(problem.prompt, problem.level) for problem in problems] == prompts


@given(st.binary(min_size=32, max_size=32), st.randoms(use_true_random=False))
def test_a_worked_solution_in_any_order_has_full_marks(seed: bytes, random: object) -> None:
    problem = MIXED.make_problem(seed, list(MIXED.levels))
    order = list(range(len(problem.answer.values)))  # type: ignore[attr-defined]
    random.shuffle(order)  # type: ignore[attr-defined]
    assert MIXED.score(problem, write_solution(problem, order)) == rate_answer(1, quality=MILLION)
    assert problem == MIXED.make_problem(seed, list(MIXED.levels))
    assert all(character == "\n" or " " <= character <= "~" for character in problem.prompt)


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "25",
        "####25",
        "####  25",
        "#### 25 ",
        "#### 25\n",
        "#### 25\r",
        " #### 25",
        "\t#### 25",
        "#### +25",
        "#### 025",
        "#### -25",
        "#### 25.",
        "#### 25.0",
        "#### 2_5",
        "#### 0x19",
        "#### 2.5e1",
        "#### \u0662\u0665",
        "#### \uff12\uff15",
        "#### 2\u00b2",
        "#### 25\u200b",
        "####\u00a025",
        "#### 25\u2028",
        "#### 25\x00",
        "##### 25",
        "# ### 25",
        "#### 25 apples",
        "#### 24\n#### 25",
        "#### 25\n#### 25",
        "#### 25\n#### 24",
        "#### #### 25",
        "#### 24 25",
        "#### 24#### 25",
        "x #### 25",
        "7+15=22\r#### 25",
        "7+15=22\u2028#### 25",
        "#### 25<end>",
        "#### ",
        "####",
        "#### -0",
    ],
)
def test_adversarial_answer(completion: str) -> None:
    assert ENVIRONMENT.score(make(), completion) in NOTHING


@pytest.mark.parametrize("zero", ["-0", "+0", "00", "0 "])
def test_zero_has_one_spelling(zero: str) -> None:
    assert ENVIRONMENT.score(make("7-7"), "#### 0").correctness == MILLION
    assert ENVIRONMENT.score(make("7-7"), f"#### {zero}") in NOTHING


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "completion",
    [
        "#### " + "9" * 10**6,
        "#### -" + "9" * 10**6,
        "#### " + "0" * 10**6 + "25",
        "7+" + "9" * 10**6 + "=22\n#### 25x",
        "\n" * 10**6 + "#### 2 5",
        "#" * 10**6,
        "#### 25\n" * 10**5,
    ],
)
def test_a_million_characters_are_refused_in_one_pass(completion: str) -> None:
    """A second pass for each character would take hours."""
    assert ENVIRONMENT.score(make(), completion) in NOTHING


def test_a_huge_number_in_a_step_is_no_step() -> None:
    completion = "7+" + "9" * 10**6 + "=22\n22+3=25\n#### 25"
    assert ENVIRONMENT.score(make(), completion) == rate_answer(1)


@given(st.text(max_size=4), st.integers(0, 7))
def test_any_insertion_into_the_answer_line_is_refused(junk: str, at: int) -> None:
    line = "#### 25"
    mutated = line[:at] + junk + line[at:]
    if mutated != line and not mutated.endswith("\n" + line):
        assert ENVIRONMENT.score(make(), mutated).correctness == 0


@given(st.text(max_size=200))
def test_no_text_raises(completion: str) -> None:
    parts = ENVIRONMENT.score(make(), completion)
    assert parts.satisfaction == 0
    assert parts.correctness == (MILLION if completion.endswith("#### 25") else 0) or (
        completion.count("####") != 1
    )


HALF = MILLION // 2


@pytest.mark.parametrize(
    ("completion", "quality"),
    [
        ("7+15=22\n22+3=25\n#### 25", MILLION),
        ("15+3=18\n18+7=25\n#### 25", MILLION),
        ("7+15=22\n22+3=25\n#### 26", MILLION),  # sound steps, wrongly copied
        ("7+15=22\n#### 25", HALF),
        ("7+15=22\n22+3=26\n#### 26", HALF),
        # farming
        ("#### 25", 0),
        ("7+15=22\n7+15=22\n#### 25", HALF),
        ("7+15=22\n22+0=22\n#### 25", HALF),
        ("7+15=22\n7+3=10\n#### 25", HALF),
        ("22+3=25\n7+15=22\n#### 25", 0),
        ("7+7=14\n14+15=29\n#### 25", 0),
        ("1+1=2\n2+2=4\n#### 25", 0),
        ("7+15=22\n22+15=37\n#### 25", HALF),
        ("7+15=22\n22+3=25\n22+3=25\n#### 25", 0),
        ("\n7+15=22\n22+3=25\n#### 25", 0),
        ("7+15=22\n22+3=25\n\n#### 25", 0),
        ("7+15=22\n\n22+3=25\n#### 25", 0),
        ("7+15=22 22+3=25\n#### 25", 0),
        ("7+15=22=22\n#### 25", 0),
        ("07+15=22\n22+3=25\n#### 25", 0),
        ("7 + 15 = 22\n22+3=25\n#### 25", 0),
        ("7+\uff11\uff15=22\n22+3=25\n#### 25", 0),
        ("7+15=22\n22+3=25", 0),
        ("7+15=22\n22+3=25\n", 0),
        ("7+15=22\n22+3=25\n####", 0),
    ],
)
def test_quality(completion: str, quality: int) -> None:
    assert ENVIRONMENT.score(make(), completion).quality == quality


def test_a_subtracted_term_is_not_an_added_one() -> None:
    problem = make("7-15+3")
    assert ENVIRONMENT.score(problem, "7-15=-8\n-8+3=-5\n#### -5") == rate_answer(
        1, quality=MILLION
    )
    assert ENVIRONMENT.score(problem, "-15+7=-8\n-8+3=-5\n#### -5").quality == MILLION
    assert ENVIRONMENT.score(problem, "7+15=22\n22+3=25\n#### 25") in NOTHING


def test_farming_earns_less_than_half_a_solution() -> None:
    honest, farmed = (
        compute_reward(ENVIRONMENT.score(make(), text), 9, Rewards(), 48)
        for text in ("7+15=22\n22+3=25\n#### 25", "7+15=22\n22+0=22\n#### 1")
    )
    assert (honest, farmed) == (MILLION, 100_000)
