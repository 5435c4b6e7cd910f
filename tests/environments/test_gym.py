"""reasoning-gym in its sandbox: strict in form, the same everywhere; no scorer can end us."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

if find_spec("reasoning_gym") is None:
    pytest.skip("needs the extra `envs`", allow_module_level=True)

from assay.environments import UNREAD, gym, make_environment, rate_answer
from assay.environments.base import ANSWER_BYTES
from assay.environments.foreign.hostile_answers import write_hostile
from assay.environments.gym import Entry, ReasoningGym, is_reference, is_well_formed
from assay.environments.gym_datasets import ALIKE, ANSWER_MAX, COUNTED, FORMS, LEVELS, REFUSED
from assay.environments.step_counter import STEPS_MAX
from assay.protocol.parameters import MILLION
from assay.sandbox import Sandbox
from tests.environments.conftest import NUMBER_TRICKS, TRICKS, ask_scorer, make_seed

#: What a wrong answer achieves: it may have been read.
NOTHING = UNREAD, rate_answer(0)
SUMS = make_environment("reasoning_gym:chain_sum", {})
CODE = ["-P", "-c"]
#: Requests to two processes with the same numbers in opposite orders: a name, a level, a number.
ASK = """
import json, sys
from assay.environments.gym import answer_request
asked = json.loads(sys.argv[1])
if sys.argv[2] == "backwards":
    asked.reverse()
said = [json.loads(answer_request(json.dumps(["make", *each]).encode())) for each in asked]
print("\\n" + json.dumps(list(zip(asked, said))))  # some datasets print
"""


def ask_process(asked: list[tuple[str, int, int]], order: str, hash_seed: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, *CODE, ASK, json.dumps(asked), order],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},  # noqa: TID251 - a child needs a whole environment
        capture_output=True,
        text=True,
        check=True,
        timeout=1_800,
    )
    found: list[object] = sorted(json.loads(done.stdout.splitlines()[-1]), key=str)
    return found


def find_differences(asked: list[tuple[str, int, int]]) -> set[str]:
    """Datasets that two processes disagree on."""
    forwards, backwards = (
        ask_process(asked, order, seed) for order, seed in (("forwards", "1"), ("backwards", "2"))
    )
    pairs = zip(forwards, backwards, strict=True)
    return {a[0][0] for a, b in pairs if a != b}  # type: ignore[index]


@pytest.fixture(scope="module")
def scorers() -> Iterator[Sandbox]:
    """All datasets, asked without the form of an answer before them."""
    with Sandbox("scorer", "from assay.environments.gym import serve_gym; serve_gym()") as own:
        yield own


# --- problems


@pytest.mark.parametrize("name", ["chain_sum", "word_sorting", "mini_sudoku", "graph_color"])
def test_a_reference_answer_is_right(name: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    for i in range(4):
        problem = environment.make_problem(make_seed(i), environment.levels)
        assert problem.level in environment.levels
        assert isinstance(problem.answer, Entry)
        right = f"thinking\n#### {problem.answer.reference}"
        assert environment.score(problem, right) == rate_answer(1)
        assert problem == environment.make_problem(make_seed(i), environment.levels)


def test_two_processes_make_the_same_problems() -> None:
    names = ["chain_sum", "word_sorting", "mini_sudoku", "zebra_puzzles", "decimal_chain_sum"]
    asked = [(name, LEVELS[name][0], i) for name in names for i in (1, 2, 2**31 - 1)]
    assert find_differences(asked) == set()


def test_other_versions_are_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"reasoning-gym 0.1.25" in gym.get_versions()
    assert b"sympy " in gym.get_versions()
    assert gym.get_versions().endswith(f"python 3.{sys.version_info[1]}".encode())
    monkeypatch.setattr(gym, "get_versions", lambda: b"reasoning-gym 0.1.25\nsympy 0")
    assert make_environment(SUMS.name, {}).digest != SUMS.digest


@pytest.mark.parametrize("found", ["0.1.24", None])
def test_an_absent_or_other_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, found: str | None
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise gym.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(gym, "version", version)
    gym.get_versions.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"pip install 'assay\[envs\]'"):
            make_environment("reasoning_gym:chain_sum", {})
    finally:
        gym.get_versions.cache_clear()


def test_refused_and_unknown_datasets_say_why() -> None:
    with pytest.raises(ValueError, match=r"puzzle24 is refused: .*scorer"):
        make_environment("reasoning_gym:puzzle24", {})
    with pytest.raises(ValueError, match="no dataset 'chess'"):
        make_environment("reasoning_gym:chess", {})
    with pytest.raises(ValueError, match="no parameter 'size'"):
        make_environment("reasoning_gym:chain_sum", {"size": 3})
    assert not set(LEVELS) & set(REFUSED)


# --- answers


@pytest.mark.parametrize("trick", {**TRICKS, **NUMBER_TRICKS})
def test_adversarial_answer_to_a_sum(trick: str) -> None:
    problem = next(
        problem
        for i in range(99)
        if len((problem := SUMS.make_problem(make_seed(i), [3])).answer.reference) == 4  # type: ignore[attr-defined]
        and "-" not in problem.answer.reference  # type: ignore[attr-defined]
    )
    right = problem.answer.reference  # type: ignore[attr-defined]
    assert SUMS.score(problem, f"#### {right}").correctness == MILLION
    assert SUMS.score(problem, {**TRICKS, **NUMBER_TRICKS}[trick](right)) in NOTHING


@pytest.mark.parametrize("name", ["word_sorting", "jugs", "polynomial_equations"])
@pytest.mark.parametrize("trick", TRICKS)
def test_adversarial_answer(name: str, trick: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    problem = environment.make_problem(make_seed(5), environment.levels[:1])
    right = problem.answer.reference  # type: ignore[attr-defined]
    assert environment.score(problem, f"#### {right}").correctness == MILLION
    assert environment.score(problem, TRICKS[trick](right)) in NOTHING


@pytest.mark.timeout(120)
def test_forms_cannot_be_made_to_backtrack() -> None:
    """Going back for each character would take hours; the longest that is looked at is as long as
    two references, and those have 32 KiB at most."""
    parts = ["1", "1*", "((", "-(", "R ", "1.", "1, ", "Q ", "P \u2227", "A=1,", '"a", ', "up "]
    for name, form in FORMS.items():
        for part in [*parts, "[[0, 0], ", '"fill A", ', "Al is a knave, ", "1 1\n", "A \u2192 "]:
            reference = part * (ANSWER_BYTES // len(part.encode()))
            assert not is_well_formed(name, reference, reference * 2 + "!")
            assert not form.fullmatch("[" + reference * 2 + "!")


@pytest.mark.parametrize(
    ("name", "reference", "answer", "expected"),
    [
        ("chain_sum", "12", "12", True),  # one right answer, and one text of it
        ("chain_sum", "12", "12.0", False),
        ("word_sorting", "a, b", "a,b", False),
        ("number_sorting", "['1.0', '2.0']", "[NaN, NaN]", False),
        ("number_sorting", "['1.0', '2.0']", "['1.9', '2.0']", False),
        ("binary_matrix", "0 1", "-" * 200 + "1", False),
        ("decimal_chain_sum", "1.5", "1.50", True),
        ("decimal_chain_sum", "1.5", "1.5, 2", False),
        ("decimal_chain_sum", "1.5", ".5", False),
        ("decimal_chain_sum", "1.5", "nan", False),
        ("decimal_chain_sum", "1.5", "\u0661", False),
        ("polynomial_equations", "0.5, 1.0", "1.0, 0.5", True),
        ("polynomial_equations", "0.5, 1.0", "0.5, 1.0, x", False),
        ("rubiks_cube", "R U", "U R", True),
        ("rubiks_cube", "R U", "R U R", False),
        ("rubiks_cube", "R U", "R99999999", False),
        ("cryptarithm", "A=1,B=2", "B=1,A=2", True),
        ("cryptarithm", "A=1,B=2", "A=1,B=2,A=1", False),
        ("graph_color", '{"0": 1, "1": 2}', '{"0": 2, "1": 1}', True),
        ("graph_color", '{"0": 1, "1": 2}', '{"0": 1, "1": 2, "0": 1}', False),
        ("knights_knaves", "A is a b, and C is an e.", "Cy is an e, and Al is a b", True),
        ("knights_knaves", "Al is a b, and Cy is an e.", "Al is a b,  and Cy is an e", False),
        (
            "knights_knaves",
            "Al is a b, and Cy is an e.",
            "Al is a b, Al is a b, and Cy is an e",
            False,
        ),
        ("quantum_lock", "A \u2192 B", "B \u2192 A", True),
        ("quantum_lock", "A \u2192 B", "A \u2192 B junk", False),
        ("sokoban", "UD", "U" * ANSWER_MAX, True),
        ("sokoban", "UD", "U" * (ANSWER_MAX + 1), False),
        ("sokoban", "UD" * 1_000, "U" * 4_000, True),
        ("sokoban", "UD" * 1_000, "U" * 4_001, False),
        ("kakurasu", "1 0\n0 1", "0 1\n1 0", True),
        ("kakurasu", "1 0\n0 1", "1 0\n0 1 junk", False),
        ("shortest_path", "up left", "left up", True),
        ("shortest_path", "infeasible", "infeasible up", False),
        (
            "tower_of_hanoi",
            "x",
            "Move disk 1 from Peg 1 to Peg 2\nMove disk 10 from Peg 1 to Peg 3",
            True,
        ),
        ("tower_of_hanoi", "x", "I Move disk 1 from Peg 1 to Peg 2", False),
        ("futoshiki", "1 2\n   \n2 1", "1 2\n\n2 1  ", True),  # blanks that nobody sees
        ("futoshiki", "1 2\n   \n2 1", "1 2\n\n 2 1", False),
        ("zebra_puzzles", "carol", "Carol", True),
        ("zebra_puzzles", "carol", "caro\u212a", False),
        ("figlet_font", "RECHANGING", "rechanging", True),
        ("figlet_font", "RECHANGING", "RECHANGINGzq", False),
        ("figlet_font", "RECHANGINGS", "RECHANGINGX", False),
        ("pool_matrix", "5.0 4.33\n1 2.5", "5.00 4.33\n1.0 2.50", True),
        ("pool_matrix", "5.0 4.33", "5.0 4.34", False),
        ("pool_matrix", "50", "5", False),
        ("decimal_arithmetic", "2.1816510", "2.181651", True),
        ("decimal_arithmetic", "2.1816510", "2.181652", False),
        ("decimal_arithmetic", "2.0", "2..", False),
        ("decimal_arithmetic", "2.0", "2.0e0", False),
        ("complex_arithmetic", "4.0 - 7.0i", "4-7i", True),
        ("complex_arithmetic", "4.0 - 7.0i", "4.0000000000000001 - 7.0i", False),
        ("power_function", "8.0554e-06", "8.06e-6", True),
        ("power_function", "8.0554e-06", "8.064999999999e-06", False),
        ("cryptarithm", "A=1,B=2", "A=1, B=3", True),
        ("quantum_lock", "A \u2192 B", "A\u2192C", True),
        ("zebra_puzzles", "carol", "carol or bob", False),
    ],
)
def test_form(name: str, reference: str, answer: str, expected: bool) -> None:
    assert is_well_formed(name, reference, answer) is expected


def test_forms_are_of_datasets_that_are_offered() -> None:
    assert set(COUNTED) <= set(FORMS) <= set(LEVELS)
    assert set(ALIKE) <= set(LEVELS) - set(FORMS)


@pytest.mark.parametrize("name", ALIKE)
def test_nothing_but_the_reference_reaches_a_scorer_where_spellings_are_alike(name: str) -> None:
    """Texts beside the reference that a scorer would take never reach it: with one letter more,
    less or changed."""
    environment = make_environment(f"reasoning_gym:{name}", {})
    for i in range(8):
        problem = environment.make_problem(make_seed(i), environment.levels)
        right = problem.answer.reference  # type: ignore[attr-defined]
        for text in mutate(right):
            assert not is_well_formed(name, right, text) or is_reference(name, right, text)


#: Datasets with a form whose questions have one right answer, or hardly ever more.
DECIDED = (
    *("cryptarithm", "game_of_life", "kakurasu", "n_queens", "palindrome_generation"),
    *("rubiks_cube", "shortest_path", "tower_of_hanoi"),
)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.nightly] * (n == "rubiks_cube")) for n in DECIDED]
)
def test_one_letter_more_less_or_another_earns_nothing(name: str, scorers: Sandbox) -> None:
    """Within the form's own alphabet, where a form cannot tell junk from an answer."""
    level = LEVELS[name][0]
    for number in range(40, 44):
        right = str(ask_scorer(scorers, "make", name, level, number)["answer"])
        for text in mutate(right):
            if is_well_formed(name, right, text) and not is_reference(name, right, text):
                said = ask_scorer(scorers, "score", name, level, number, text)
                assert not said["right"], (name, number, right, text)


def mutate(right: str) -> Iterator[str]:
    """Texts one letter away, all letters being of the text, and the text with some at its end."""
    letters = sorted(set(right) | set("01a"))
    for i in range(len(right) + 1):
        for letter in letters[:: 1 + len(letters) // 8]:
            yield right[:i] + letter + right[i:]
            yield right[:i] + letter + right[i + 1 :]
        yield right[:i] + right[i + 1 :]
    yield from (right + right, right + letters[-1] * 5, right[:-1] + letters[0] * 3)


def test_another_datasets_problem_is_our_own_fault() -> None:
    other = ReasoningGym("word_sorting", {}).make_problem(make_seed(0), [1])
    with pytest.raises(TypeError):
        SUMS.score(other, "#### 1")


# --- all of them


def test_every_dataset_is_known_or_refused() -> None:
    code = "import json, reasoning_gym.factory as f; print(json.dumps(sorted(f.DATASETS)))"
    command = [sys.executable, *CODE, code]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert sorted([*LEVELS, *REFUSED]) == json.loads(done.stdout)


@pytest.mark.slow
def test_every_dataset_is_the_same_in_two_processes() -> None:
    """The lowest and the highest level of each, of two numbers; `make nightly` looks at all."""
    asked = [
        (name, level, number)
        for name, levels in LEVELS.items()
        for level in {levels[0], levels[-1]}
        for number in (5, 6)
    ]
    assert find_differences(asked) == set()


@pytest.mark.nightly
def test_every_level_of_every_dataset_is_the_same_in_two_processes() -> None:
    asked = [(n, level, i) for n, levels in LEVELS.items() for level in levels for i in range(8)]
    assert find_differences(asked) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_every_reference_is_right_and_no_constant_is(name: str) -> None:
    environment = make_environment(f"reasoning_gym:{name}", {})
    for i, level in enumerate({environment.levels[0], environment.levels[-1]}):
        problem = environment.make_problem(make_seed(i), [level])
        right = problem.answer.reference  # type: ignore[attr-defined]
        assert environment.score(problem, f"#### {right}").correctness == MILLION
        for wrong in ("NaN", "inf", "{}", "[]", "()", "None", "null", "x", "-", '""', "[[]]"):
            if wrong != right:
                assert environment.score(problem, f"#### {wrong}") in NOTHING, wrong


def judge_hostile(name: str, level: int, numbers: range, scorers: Sandbox) -> int:
    """Number of hostile answers to the entries of these numbers that were tried. None earns."""
    made = [ask_scorer(scorers, "make", name, level, number) for number in numbers]
    rights = [str(each["answer"]) for each in made]
    others = [*rights[1:], rights[0]]
    tried = 0
    for number, right, other in zip(numbers, rights, others, strict=True):
        texts = [text for text in dict.fromkeys(write_hostile(right, other)) if text != right]
        tried += len(texts)
        for text in texts:
            if is_well_formed(name, right, text):
                said = ask_scorer(scorers, "score", name, level, number, text)
                assert not said["right"], (name, level, number, text[:200])
                assert said["steps"] <= STEPS_MAX // 20, text[:200]  # type: ignore[operator]
        own = ask_scorer(scorers, "score", name, level, number, right)
        assert own["right"]
        assert own["steps"] <= STEPS_MAX // 20  # type: ignore[operator]
    return tried


@pytest.mark.slow
@pytest.mark.parametrize("name", LEVELS)
def test_no_hostile_answer_earns_or_comes_near_the_steps_that_it_may_take(
    name: str, scorers: Sandbox
) -> None:
    """So no right answer depends on a few steps more or less, from an earlier one's cache. The
    limit is for attacks that this test and its author did not think of."""
    assert judge_hostile(name, LEVELS[name][-1], range(2), scorers) > 500


@pytest.mark.nightly
def test_hostile_answers_at_every_level_of_every_dataset(scorers: Sandbox) -> None:
    tried = 0
    for name, levels in LEVELS.items():
        for level in levels:
            tried += judge_hostile(name, level, range(10, 13), scorers)
    assert tried > 500_000
