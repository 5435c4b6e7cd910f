"""deduce, abduce, induce: what they ask, and what earns."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.base import UNREAD, Environment, rate_answer
from assay.environments.listing import list_environments
from assay.environments.pieces.piece_environment import PieceTask
from assay.environments.pieces.pool import load_first_pool
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.registry import make_environment
from assay.environments.thoughtless import measure_level
from assay.protocol.parameters import MILLION
from tests.absent import has_sandbox
from tests.environments.conftest import make_seed

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

NAMES = ("deduce", "abduce", "induce")
RIGHT, WRONG = rate_answer(1), rate_answer(0)


def open_pool(tmp_path: Path, family: str, *rows: str, **settings: int) -> Environment:
    file = tmp_path / f"{len(rows)}.jsonl"
    file.write_text("".join(f"{row}\n" for row in rows))
    add_problem_files([file])
    return make_environment(f"{family}:{sha256(file.read_bytes()).hexdigest()}", settings)


DOUBLE = (
    '{"function": "def f(a):\\n    return a + a + a[:1]", "inputs": ["[1, 2]", "[]", "[3]", '
    '"\'xy\'"], "outputs": ["[1, 2, 1, 2, 1]", "[]", "[3, 3, 3]", "\'xyxyx\'"], "size": 14}'
)


@pytest.mark.parametrize("name", NAMES)
def test_its_own_answer_is_right_in_each_form(name: str) -> None:
    forms: list[Mapping[str, int]] = [{"answer_form": form} for form in range(4)]
    for settings in forms if name != "induce" else [{}]:
        environment = make_environment(name, settings)
        for number in range(6):
            problem = environment.make_problem(make_seed(number), environment.levels)
            assert problem.prompt.isascii()
            (answer,) = environment.solve(problem)
            assert environment.score(problem, answer) == RIGHT, (problem.prompt, answer)


def test_deduce_compares_values(tmp_path: Path) -> None:
    environment = open_pool(tmp_path, "deduce", DOUBLE)
    seeds = (make_seed(number) for number in range(99))
    problems = [environment.make_problem(seed, [1]) for seed in seeds]
    problem = next(one for one in problems if "f([1, 2])" in one.prompt)
    assert problem.prompt == (
        "def f(a):\n    return a + a + a[:1]\n\nWhat does f([1, 2]) return?\n"
        "End with a line of ####, a space and the value as Python writes it.\n"
    )
    for answer in ("[1, 2, 1, 2, 1]", "[1,2,1,2,1]", " [ 1, 2,\n 1, 2, 1, ] # this"):
        assert environment.score(problem, f"so\n#### {answer}") == RIGHT
    for answer in ("(1, 2, 1, 2, 1)", "[1, 2, 1, 2]", "'[1, 2, 1, 2, 1]'", "[True, 2, 1, 2, 1]"):
        assert environment.score(problem, f"#### {answer}") == WRONG
    for answer in ("[1.0]", "{1}", "[1, 2", "f([1, 2])", "[1] * 3", "\0", "[" * 2_000, "\ud800"):
        assert environment.score(problem, f"#### {answer}") == UNREAD
    assert environment.score(problem, "[1, 2, 1, 2, 1]") == UNREAD


def test_abduce_takes_any_input_but_the_output(tmp_path: Path) -> None:
    row = '{"function": "def f(a):\\n    return sorted(a)[:2] + []", '
    row += '"inputs": ["[3, 1, 2]", "[1, 2]"], "outputs": ["[1, 2]", "[1, 2]"], "size": 14}'
    environment = open_pool(tmp_path, "abduce", row)
    problem = environment.make_problem(make_seed(0), [1])
    assert "returns the value below, other than that value itself.\n[1, 2]\n" in problem.prompt
    for answer in ("[3, 1, 2]", "[2, 1]", "(1, 2)", "[1,2, 9]", "{2: 0, 1: 5}"):
        assert environment.score(problem, f"#### {answer}") == RIGHT
    for answer in ("[1, 2]", "[1,2]", "[1]", "7", "'12'", "None"):
        assert environment.score(problem, f"#### {answer}") == WRONG
    for answer in ("[1, 2], 3", "", "a=[2, 1]", "*[[2, 1]]", "[2, 1]) + ([]", "[b]"):
        assert environment.score(problem, f"#### {answer}") == UNREAD


def test_abduce_asks_no_copies(tmp_path: Path) -> None:
    row = DOUBLE.replace('"[1, 2, 1, 2, 1]", "[]"', '"[1, 2]", "[]"')
    environment = open_pool(tmp_path, "abduce", row)
    asked = {environment.make_problem(make_seed(i), [1]).prompt for i in range(99)}
    assert len(asked) == 2
    alone = '{"function": "def f(a):\\n    return a", "inputs": ["1"], "outputs": ["1"], "size": 5}'
    with pytest.raises(ProblemFileError, match="outputs that are their inputs"):
        open_pool(tmp_path, "abduce", alone)


def test_an_input_that_takes_for_ever_is_wrong(tmp_path: Path) -> None:
    row = '{"function": "def f(a):\\n    while a:\\n        a -= 2\\n    return a + 3", '
    row += '"inputs": ["4"], "outputs": ["3"], "size": 16}'
    environment = open_pool(tmp_path, "abduce", row)
    problem = environment.make_problem(make_seed(0), [1])
    assert environment.score(problem, "#### 8") == RIGHT
    assert environment.score(problem, "#### 5") == WRONG


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return 2 * a + a[:1]", RIGHT),
        ("b = a[:1]  # first\n    return a * 2 + b", RIGHT),
        ("return a + a", WRONG),
        ("return {2: [1, 2, 1, 2, 1], 1: [3, 3, 3]}.get(len(a), [])", WRONG),
        ("import os\n    return 2 * a + a[:1]", WRONG),
        ("while True:\n        pass", WRONG),
        ("return a +", WRONG),
        ("print(a)\n    return 2 * a + a[:1]", WRONG),
    ],
)
def test_induce_tries_hidden_pairs(tmp_path: Path, body: str, expected: object) -> None:
    environment = open_pool(tmp_path, "induce", DOUBLE)
    problem = environment.make_problem(make_seed(0), [1])
    assert problem.prompt.count("f(") == 2
    answer = f"```python\ndef f(a):\n    {body}\n```"
    assert environment.score(problem, answer) == expected
    assert environment.score(problem, answer.replace("def f", "def g")) == expected
    assert environment.score(problem, f"def f(a):\n    {body}") == UNREAD


def test_induce_asks_only_pieces_with_pairs_to_hide(tmp_path: Path) -> None:
    row = DOUBLE.replace(", \"'xy'\"]", "]").replace(", \"'xyxyx'\"]", "]")
    with pytest.raises(ProblemFileError, match="fewer than 4 inputs"):
        open_pool(tmp_path, "induce", row)


def test_a_program_of_another_pool_has_another_digest(tmp_path: Path) -> None:
    shipped = b"".join(line + b"\n" for line in load_first_pool()).decode().splitlines()
    one = open_pool(tmp_path, "deduce", *shipped)
    other = open_pool(tmp_path, "deduce", *shipped[:-1])
    own = make_environment("deduce", {})
    assert len({one.digest, other.digest, own.digest}) == 3
    assert one.levels == own.levels
    entry = next(e for e in list_environments() if e.name == one.name)
    assert entry.usable
    assert entry.file is not None


@pytest.mark.parametrize("level", [1, pytest.param(5, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("name", NAMES)
def test_answers_without_thought_earn_little(name: str, level: int) -> None:
    """On two levels here; `assay env vet` tries all."""
    assert not measure_level(make_environment(name, {}), level).is_too_right


def test_a_mixture_asks_each_part() -> None:
    environment = make_environment(
        "mix", {"deduce": 1, "abduce": 1, "induce": 2, "abduce.units": 150}
    )
    asked = [environment.make_problem(make_seed(i), environment.levels) for i in range(40)]
    assert {problem.level // 1_000 for problem in asked} == {1, 2, 3}
    for problem in asked[:4]:
        assert environment.score(problem, environment.solve(problem)[0]).correctness == MILLION


def test_another_environments_problem_is_our_own_fault() -> None:
    problem = make_environment("sat", {}).make_problem(make_seed(0), [5])
    for name in NAMES:
        with pytest.raises(TypeError):
            make_environment(name, {}).score(problem, "```python\npass\n```\n#### 1")


def test_the_task_names_what_is_asked() -> None:
    environment = make_environment("induce", {})
    task = environment.make_problem(make_seed(3), environment.levels).answer
    assert isinstance(task, PieceTask)
    shown = len(task.places)
    assert 2 <= len(task.piece.inputs) - shown <= shown
