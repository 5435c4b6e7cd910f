"""Text presumed hostile: our own scorers do not work more for it than for a full solution.

Work is counted, never timed: lines of Python begun and functions called, native ones too. Each
native one is a single pass over the text, so its length is all that a stranger can make us pay.
A program's own work is counted by its interpreter (`test_programs`): here it says what is right.
"""

import gc
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.environments import problem_file
from assay.environments.answer_form import read_answer
from assay.environments.arithmetic import write_solution
from assay.environments.base import ANSWER_BYTES, Environment, Problem, RewardParts
from assay.environments.programs import code_file
from assay.environments.programs.case_runs import OUTPUT_MAX, CaseRun
from assay.environments.programs.outputs import agree_as_text, agree_as_value
from assay.environments.registry import make_environment
from assay.environments.worlds.errands import World, is_delivered, write_commands
from assay.protocol.parameters import MILLION
from tests.absent import has_sandbox
from tests.environments.conftest import BLANKS_AFTER, NUMBER_TRICKS, TRICKS, make_seed


def count_work(score: Callable[[str], object], text: str) -> int:
    count = 0

    def step(frame: object, event: str, argument: object) -> object:
        nonlocal count
        count += event in ("line", "call", "c_call")
        return step

    tracing, profiling = sys.gettrace(), sys.getprofile()  # coverage uses these
    gc.disable()  # code that runs at a collection is not the scorer's work
    sys.settrace(step)  # type: ignore[arg-type]
    sys.setprofile(step)
    try:
        score(text)
    finally:
        sys.setprofile(profiling)
        sys.settrace(tracing)
        gc.enable()
    return count


def solve_sat(problem: Problem) -> str:
    """Not solved: every clause is looked at whatever the digits are."""
    return f"#### {'01' * 100}"


def solve_errands(problem: Problem) -> str:
    """An answer with as many commands as allowed: after the shortest way, a move to and fro."""
    world = problem.answer
    assert isinstance(world, World)
    way = write_commands(problem).split(" ")[1:]
    more = world.allowed - len(way)
    for first, second in (("north", "south"), ("south", "north"), ("east", "west")):
        longer = [*way, *([first, second] * (more // 2))]
        if is_delivered(world, longer):
            return f"#### {' '.join(longer)}"
    raise AssertionError("the robot can move nowhere")


#: Name and level → a full solution.
SOLVED: dict[tuple[str, int], Callable[[Problem], str]] = {
    ("arithmetic", 12): lambda problem: write_solution(problem, range(8)),
    ("codes", 6): lambda problem: problem.answer.text,  # type: ignore[attr-defined]
    ("errands", 8): solve_errands,
    ("gsm", 8): lambda problem: problem.answer.row.solution,  # type: ignore[attr-defined]
    ("guess", 6): lambda problem: problem.answer.text,  # type: ignore[attr-defined]
    ("rooms", 1): lambda problem: write_commands(problem).removeprefix("#### "),
    ("sat", 200): solve_sat,
    ("mix", 1_012): lambda problem: write_solution(problem.answer.problem, range(8)),  # type: ignore[attr-defined]
}
HAS_PROGRAMS = has_sandbox()
SOLVED["letters", 1] = lambda problem: f"#### $\\text{{({problem.answer.letters})}}$."  # type: ignore[attr-defined]
SOLVED["search", 1] = lambda problem: f"#### The {problem.answer.row.answers[0]}."  # type: ignore[attr-defined]
SOLVED["text", 1] = lambda problem: f"#### The {problem.answer.row.answers[0]}."  # type: ignore[attr-defined]
if HAS_PROGRAMS:
    SOLVED["code", 1] = lambda problem: "```python\nimport bisect\nprint(6)\n```"
LEVELS = dict(SOLVED.keys())
WORLDS = ("codes", "guess", "rooms")
WEIGHTS = {"mix": {"arithmetic": 1, "sat": 1}}
_TURNS = "an answer is the end of a turn, without a mark: tests/environments/test_worlds.py"
#: Name → where its tricks are tried, as its answers have no mark.
UNMARKED = {
    **dict.fromkeys(WORLDS, _TURNS),
    "code": "an answer is a block of Python: tests/environments/test_programs.py",
}
#: Name → what is no trick to it, as its section of the page says.
LENIENT = {
    "gsm": BLANKS_AFTER,
    "letters": {*BLANKS_AFTER, "two spaces"},
    "search": {*BLANKS_AFTER, "two spaces"},
    "text": {*BLANKS_AFTER, "two spaces"},
}
#: Lines that a text may begin beyond those of the full solution: where it is told apart from one.
MORE = 8


def open_row(family: str, row: dict[str, object]) -> Environment:
    """An environment of a file of one row."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = Path(folder) / "row.jsonl"
        file.write_text(json.dumps(row))
        patch.setattr(problem_file, "_known", {file: None})
        return make_environment(f"{family}:{sha256(file.read_bytes()).hexdigest()}", {})


TESTS = json.dumps({"inputs": [""] * 3, "outputs": ["6\n"] * 3})
#: Family of environments of files → a row.
ROWS: dict[str, dict[str, object]] = {
    "code": {"question": "Six?", "difficulty": "EASY", "input_output": TESTS},
    "search": {"question": "Who digs?", "answer": "a fox", "text": "Foxes dig."},
    "text": {"question": "Who digs?", "answer": ["a fox", "vulpes"], "passage": "Foxes dig."},
    "letters": {"question": "Six?", "options": [str(n) for n in range(1, 27)], "answer": "F"},
}


@cache
def make(name: str) -> tuple[Callable[[str], RewardParts], str, int]:
    """A scorer, the full solution and its work; of worlds, which reply, that of a wrong guess,
    if it is more."""
    level = LEVELS[name]
    if name in ROWS:
        environment = open_row(name, ROWS[name])
    else:
        environment = make_environment(name, WEIGHTS.get(name, {}))
    problem = environment.make_problem(make_seed(level), [level])
    right = SOLVED[name, level](problem)

    def score(text: str) -> RewardParts:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(code_file, "compile_program", lambda *_: CaseRun(b"", "exit 0", 1))
            patch.setattr(code_file, "run_case", lambda *_: CaseRun(b"6\n", "exit 0", 1))
            return environment.score(problem, text)

    guesses: Sequence[str] = ()
    if name in WORLDS:  # a short way to nowhere has more replies than the right one
        walks = [step * times for step in ("north ", "take\n", "put ") for times in range(1, 9)]
        guesses = [*environment.list_thoughtless(problem), *walks]
    return score, right, max(count_work(score, text) for text in (right, *guesses))


PIECES = [
    "north ",
    "take",
    "put ",
    "#",
    "####",
    "#### ",
    "\n",
    "\n\n",
    "0",
    "1",
    "9",
    "-",
    "+",
    "=",
    "7+15=22\n",
    "```python\n",
    "import bisect\n",
    " ",
    "\u0661",
]
pieces = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@pytest.mark.parametrize("name", LEVELS)
def test_a_full_solution_is_worth_its_work(name: str) -> None:
    score, right, _ = make(name)
    parts = score(right)
    assert parts.correctness == MILLION or (name == "sat" and parts.satisfaction > 0)


@pytest.mark.parametrize("name", LEVELS)
@given(st.booleans(), pieces, pieces, pieces)
@example(True, "\n", "", "")
@example(True, "9", "+1=2\n", "")
@example(False, "1", "#### ", "")
@example(False, "", "", "0000")
@example(False, "", "", "north north north ")
def test_no_text_is_more_work_than_a_full_solution(
    name: str, ends_right: bool, repeated: str, before: str, after: str
) -> None:
    score, right, most = make(name)
    last = right.rpartition("\n")[2]
    for times in (1, 20_000):
        text = before + repeated * times + after
        text = f"{text}\n{last}" if ends_right else text
        assert count_work(score, text) <= most + MORE


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("trick", {**TRICKS, **NUMBER_TRICKS})
def test_no_trick_is_more_work_than_a_full_solution(name: str, trick: str) -> None:
    score, _, most = make(name)
    text = {**TRICKS, **NUMBER_TRICKS}[trick]("25")
    assert count_work(score, text) <= most + MORE


@pytest.mark.parametrize("name", [name for name in LEVELS if name not in UNMARKED])
def test_no_trick_earns(name: str) -> None:
    score, right, _ = make(name)
    _, _, answer = right.rpartition("\n")[2].partition("#### ")
    assert answer, f"{name} marks no answer: say to UNMARKED where its tricks are tried"
    tricks = {**TRICKS, **NUMBER_TRICKS} if answer.isdecimal() and name != "sat" else TRICKS
    earned = {
        trick
        for trick, write in tricks.items()
        if (parts := score(write(answer))).correctness or parts.satisfaction
    }
    assert earned == LENIENT.get(name, set())


@pytest.mark.skipif(not HAS_PROGRAMS, reason="needs the extra `envs`")
@pytest.mark.parametrize("repeated", ["import x\n", "import x;", "x,", "(", '"', "#", "\n", "\\"])
def test_no_program_is_more_work_to_read_than_another(repeated: str) -> None:
    score, _, most = make("code")
    filled = repeated * (ANSWER_BYTES // len(repeated) - 16)
    text = f"```python\nimport bisect, {filled}\n```"
    assert score(text).correctness == MILLION  # it was run
    assert count_work(score, text) <= most + MORE


@pytest.mark.parametrize("agree", [agree_as_text, agree_as_value])
@pytest.mark.parametrize(
    "repeated", ["6", "6 ", "6\n", "[", "[],", "[6,", '"', '\\"', '{"6":', "\\", " ", "0.", "1e9,"]
)
def test_a_programs_output_is_read_a_few_times_at_most(
    agree: Callable[[str, bytes], bool], repeated: str
) -> None:
    for size in (OUTPUT_MAX // 8, OUTPUT_MAX):
        text = '"' + repeated * (size // len(repeated))
        for output in (text, text[1:], f"{text[1:]}\n6"):
            work = count_work(lambda one: agree("6", one.encode()), output)
            assert work <= 4 * size + 100


@pytest.mark.parametrize("unit", ["a", "\u03c0", "\u20ac", "\U0001f600", "\ud800"])
def test_an_answer_has_so_many_bytes_at_most(unit: str) -> None:
    size = len(unit.encode("utf-8", "surrogatepass"))
    longest = unit * (ANSWER_BYTES // size)
    assert read_answer(f"#### {longest}") == longest
    assert read_answer(f"{longest * 3}\n#### {longest}") == longest
    assert read_answer(f"#### {longest}{unit}") is None
