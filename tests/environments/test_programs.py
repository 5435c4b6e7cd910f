"""Programs against test cases: what earns, and what does not."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from assay.environments.base import UNREAD, Environment, rate_answer
from assay.environments.listing import list_environments
from assay.environments.problem_file import ProblemFileError, add_problem_files
from assay.environments.programs import case_runs
from assay.environments.programs.blocks import read_program
from assay.environments.programs.case_runs import CaseRun, compile_program, run_case
from assay.environments.programs.outputs import agree_as_text, agree_as_value, agree_exactly
from assay.environments.registry import make_environment, open_environment
from assay.environments.scoring import score_all
from assay.environments.thoughtless import measure_level
from assay.protocol.parameters import (
    MAIN_TIMING,
    MAIN_WORK,
    MILLION,
    UNITS,
    EnvironmentChoice,
    Setting,
    find_scoring_fault,
)
from assay.sandbox.guest import INTERPRETER
from tests.absent import has_sandbox
from tests.environments.conftest import make_seed

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

SUM = {
    "question": "Print the sum of the integers of a line.",
    "difficulty": "introductory",
    "input_output": {"inputs": ["1 2 3\n", "40 2\n", "-5\n"], "outputs": ["6\n", "42\n", "-5\n"]},
}
HALVES = {
    "question": "Halve the numbers of a list.",
    "starter_code": "class Solution:\n    def halve(self, numbers: list[int]) -> list[float]:",
    "difficulty": "EASY",
    "input_output": {"fn_name": "halve", "inputs": [[[1, 2]], [[]]], "outputs": [[0.5, 1.0], []]},
}
RIGHT = "print(sum(map(int, input().split())))"


def open_rows(tmp_path: Path, *rows: dict[str, object], **settings: int) -> Environment:
    """The environment of a file of these rows."""
    lines = [{**row, "input_output": json.dumps(row["input_output"])} for row in rows]
    file = tmp_path / "code.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    add_problem_files([file])
    return make_environment(f"code:{sha256(file.read_bytes()).hexdigest()}", settings)


def fence(program: str) -> str:
    return f"Like this:\n```python\n{program}\n```"


def score(environment: Environment, completion: str) -> int:
    problem = environment.make_problem(make_seed(1), [1])
    return environment.score(problem, completion).correctness


def test_a_program_that_passes_all_cases_earns(tmp_path: Path) -> None:
    environment = open_rows(tmp_path, SUM)
    problem = environment.make_problem(make_seed(1), [1])
    assert problem.prompt.startswith("Print the sum of the integers of a line.\nWrite a Python pro")
    for completion in (fence(RIGHT), f"```python\n{RIGHT}\n```\n"):
        assert score(environment, completion) == MILLION
    assert score(environment, fence("print(6)")) == 0
    assert score(environment, fence("print(sum(map(int, input().split())) or 1)\n1/0")) == 0


def test_with_partial_each_passed_test_is_a_part(tmp_path: Path) -> None:
    """Without it, a wrong program is not run further. A test for which no instructions are left
    fails."""
    whole = open_rows(tmp_path, SUM, millions=30)
    parts, short = (open_rows(tmp_path, SUM, partial=1, millions=30, units=u) for u in (90, 30))
    assert list(parts.rated) == ["satisfaction"]
    assert not whole.rated
    loop = "n = sum(map(int, input().split()))\nwhile n == 42: pass\nprint(n)"
    for program, met, within in ((RIGHT, 3, 3), ("print(42)", 1, 1), ("x", 0, 0), (loop, 2, 1)):
        problem = parts.make_problem(make_seed(1), [1])
        assert parts.score(problem, fence(program)) == rate_answer(met, 3)
        assert whole.score(problem, fence(program)) == rate_answer(met == 3)
        assert short.score(problem, fence(program)).satisfaction == within * MILLION // 3
    best = measure_level(parts, 1)
    assert (best.satisfaction, best.correctness) == (MILLION // 3, 0)
    assert parts.score(problem, "no program") == UNREAD


@pytest.mark.parametrize(
    "program",
    [
        "def halve(numbers):\n    return [n / 2 for n in numbers]",
        "class Solution:\n    def halve(self, all):\n        return tuple(n / 2 for n in all)",
        "print('working')\ndef halve(numbers):\n    return [n * 0.5000000001 for n in numbers]",
    ],
)
def test_a_function_is_called(tmp_path: Path, program: str) -> None:
    environment = open_rows(tmp_path, HALVES)
    problem = environment.make_problem(make_seed(1), [1])
    assert "Write a Python function halve, or a class Solution" in problem.prompt
    assert "def halve(self, numbers" in problem.prompt
    assert score(environment, fence(program)) == MILLION
    assert score(environment, fence(program.replace("n ", "1 + n "))) == 0


#: Attack → a program that tries it instead of adding.
ATTACKS: dict[str, str] = {
    "nothing": "",
    "prints a test": "print(6)",
    "prints all tests": "print(6)\nprint(42)\nprint(-5)",
    "prints its input": "print(input())",
    "prints the verdict": "print('exit 0 1000')\nprint('{\"right\": true}')\nprint(True)",
    "exit": "raise SystemExit(0)",
    "exit by sys": "import sys\nsys.exit()",
    "exit by os": "import os\nos._exit(0)",
    "exit before": "import sys\nsys.exit(0)\n" + RIGHT,
    "right, then fails": RIGHT + "\nraise ValueError",
    "right, then exits with an error": RIGHT + "\nimport sys\nsys.exit(1)",
    "right, then more": RIGHT + "\nprint('ok')",
    "right, on the other stream": "import sys\nn = sum(map(int, input().split()))\n"
    "print(n, file=sys.stderr)",
    "patches print": "import builtins\nbuiltins.print = lambda *a: None\n" + RIGHT,
    "patches equality": "class A(str):\n    __eq__ = lambda a, b: True\nprint(A('1'))",
    "patches the checker": "import assay.environments.programs.outputs as o\n"
    "o.agree_as_text = lambda *a: True",
    "looks for the checker": "import sys\nprint(sys._getframe(1).f_locals['expected'])",
    "looks for the tests": "print(open('code.jsonl').read())",
    "reads its own request": "import gc\nprint([x for x in gc.get_objects() if x == '6'])",
    "writes over its memory": "def f(): pass\nf.__code__ = f.__code__.replace(\n"
    "    co_code=bytes([100, 255, 100, 255, 83, 0] * 50), co_stacksize=0)\nf()\nprint(6)",
    "ends Python": "import os, sys\nprint(6, flush=True)\nos.abort()",
    "deep recursion": "def f(n):\n    return f(n + 1)\nprint(f(0))",
    "deep recursion of the parser": "x = " + "[" * 9_000 + "]" * 9_000,
    "deep recursion of the regex": "import re\nre.match('(a*)*b', 'a' * 28)",
    "fork": "import os\nos.fork()\n" + RIGHT,
    "another process": "import subprocess\nsubprocess.run(['true'])",
    "native code": "import ctypes\nctypes.string_at(0)",
    "network": "import socket\nsocket.socket().connect(('1.1.1.1', 80))",
    "writes a file": "open('/tmp/answer', 'w').write('6')",
    "waits for ever": "import time\nwhile True:\n    time.sleep(1)",
    "loops": "while True:\n    pass",
    "loops and catches": "while True:\n    try:\n        while True:\n            pass\n"
    "    except BaseException:\n        pass",
    "all memory": "x = [0]\nwhile True:\n    x = x + x",
    "a huge number": "print(9 ** 9 ** 9)",
    "a huge output": "while True:\n    print('6' * 1000)",
    "right, and a huge output": RIGHT + "\nprint(' ' * (1 << 19))",
    "no text": "import sys\nsys.stdout.buffer.write(b'6\\xff\\n')",
    "digits of other scripts": "print(input().translate({50: 0x662}))",
    "full-width digits": "print('\\uff16')",
    "zero-width": "print('6\\u200b')",
    "other minus": "print(str(sum(map(int, input().split()))).replace('-', '\\u2212'))",
    "a decimal": "print('%d.0' % sum(map(int, input().split())))",
    "NaN": "print(float('nan'))",
    "every answer in a line": "print('6 42 -5')",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_earns_nothing(tmp_path: Path, attack: str) -> None:
    assert score(open_rows(tmp_path, SUM, millions=300), fence(ATTACKS[attack])) == 0


def test_an_attack_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = open_rows(tmp_path, SUM, millions=300)
    for attack in "patches print", "writes over its memory", "all memory", "no text":
        assert score(environment, fence(ATTACKS[attack])) == 0
        assert score(environment, fence(RIGHT)) == MILLION


#: Functions that do not halve. The first argument of a real program is the function's argument.
CALLED_ATTACKS = {
    "prints and exits": "print('[0.5, 1.0]')\nraise SystemExit",
    "a value equal to all": "class A:\n    __eq__ = lambda a, b: True\nhalve = lambda n: A()",
    "patches json": "import json\njson.dumps = lambda x: '[0.5, 1.0]'\ndef halve(n):\n    return 1",
    "prints in its name": "def halve(n):\n    print('[0.5, 1.0]')",
    "no function": "halve = 0.5",
    "raises": "def halve(n):\n    raise SystemExit(0)",
    "a text": "def halve(n):\n    return str([i / 2 for i in n])",
    "nested deep": "def halve(n):\n    print('[' * 100000)\n    raise SystemExit",
    "endless digits": "def halve(n):\n    print('[0.' + '5' * 100000 + ', 1e999999999]')\n"
    "    raise SystemExit",
}


@pytest.mark.parametrize("attack", CALLED_ATTACKS)
def test_an_attack_on_a_call_earns_nothing(tmp_path: Path, attack: str) -> None:
    environment = open_rows(tmp_path, HALVES, millions=300)
    assert score(environment, fence(CALLED_ATTACKS[attack])) == 0


F = "`" * 3
#: Around a right program: each is read.
DRESSED: dict[str, Callable[[str], str]] = {
    "plain": lambda program: f"{F}python\n{program}\n{F}",
    "blanks behind it": lambda program: f"{F}python\n{program}\n{F}\n \n",
    "text behind it": lambda program: f"{F}python\n{program}\n{F}\nThis adds them.",
    "a draft before it": lambda program: f"First:\n{fence('print(1)')}\nBetter:\n{fence(program)}",
    "a draft in the thought": lambda program: (
        f"<think>\nmaybe\n{fence('print(1)')}\n</think>\n{fence(program)}"
    ),
    "fences in the thought": lambda program: f"<think>use {F}x{F}</think>\n{fence(program)}",
    "py": lambda program: f"{F}py\n{program}\n{F}",
    "Python": lambda program: f"{F}Python\n{program}\n{F}",
    "python3": lambda program: f"{F}python3\n{program}\n{F}",
    "no word": lambda program: f"{F}\n{program}\n{F}",
    "a blank behind the word": lambda program: f"{F}python \n{program}\n{F}",
    "CRLF": lambda program: f"so\n{F}python\n{program}\n{F}".replace("\n", "\r\n"),
    "indented": lambda program: f"  {F}python\n  {program}\n  {F}",
    "an example before it": lambda program: f"Input:\n{F}\n3\n{F}\n{fence(program)}",
    "a fence in a docstring": lambda program: f"{F}python\n'''use {F} here'''\n{program}\n{F}",
    "a thought that has no start": lambda program: f"{fence('print(1)')}</think>{fence(program)}",
    "a thought within a block": lambda program: f"{F}python\nprint(1)\n</think>\n{fence(program)}",
    "words behind the word": lambda program: f"{F}PY3 \n{F}\n{F}PYTHON a.py\n{program}\n{F}",
    "a blank before the word": lambda program: f"{F} python\n{program}\n{F}",
    "four, with three in it": lambda program: f"`{F}py\n'''\n{F}\n'''\n{program}\n`{F}",
    "a longer end": lambda program: f"{F}python\n{program}\n{F}`` \t",
    "two": lambda program: f"{fence(program)}\n{fence(program)}",
    "an example behind it": lambda program: f"{fence(program)}\nIt prints:\n{F}\n6\n{F}",
    "another language behind it": lambda program: f"{F}\n{program}\n{F}\n{F}c\nprint(1);\n{F}",
    "a right one in the thought, too": lambda program: (
        f"{fence(program)}</think>\n{fence(program)}"
    ),
}
#: Around a right program: nothing is read, or another program.
OTHER: dict[str, Callable[[str], str]] = {
    "bare": lambda program: program,
    "another language": lambda program: f"{F}c\n{program}\n{F}",
    "another version": lambda program: f"{F}python2\n{program}\n{F}",
    "tildes": lambda program: f"~~~python\n{program}\n~~~",
    "not closed": lambda program: f"{F}python\n{program}\n",
    "closed in a line": lambda program: f"{F}python\n{program}{F}",
    "closed by fewer": lambda program: f"`{F}python\n{program}\n{F}",
    "closed with a word": lambda program: f"{F}python\n{program}\n{F} end",
    "four blanks before it": lambda program: f"    {F}python\n    {program}\n    {F}",
    "a tab before it": lambda program: f"\t{F}python\n{program}\n{F}",
    "right, then wrong": lambda program: f"{fence(program)}\n{fence('print(1)')}",
    "right, then empty": lambda program: f"{fence(program)}\n{F}python\n{F}",
    "right, then no word": lambda program: f"{F}\n{program}\n{F}\n{F}\nprint(1)\n{F}",
    "right in the thought alone": lambda program: f"{fence(program)}</think>\n{fence('print(1)')}",
    "right in a thought, and nothing": lambda program: f"{fence(program)}\n</think>\n",
    "in two blocks": lambda program: f"{fence(program[:10])}\n{fence(program[10:])}",
    "a draft that nothing closes": lambda program: f"`{F}python\nprint(1)\n{fence(program)}",
    "in a line": lambda program: f"so {F}python\n{program}\n{F}",
    "backticks behind the word": lambda program: f"{F}python`\n{program}\n{F}",
    "NUL": lambda program: fence(f"{program}\0"),
    "half a character": lambda program: fence(f"{program} # \ud800"),
    "too long": lambda program: fence(f"{program} # {'x' * (1 << 15)}"),
}


@pytest.mark.parametrize("form", DRESSED)
def test_a_program_is_found_where_models_put_it(tmp_path: Path, form: str) -> None:
    environment = open_rows(tmp_path, SUM)
    assert score(environment, DRESSED[form](RIGHT)) == MILLION
    assert score(environment, DRESSED[form]("print(6)")) == 0


@pytest.mark.parametrize("form", OTHER)
def test_no_other_text_is_the_program(tmp_path: Path, form: str) -> None:
    assert score(open_rows(tmp_path, SUM), OTHER[form](RIGHT)) == 0


#: Texts that are repeated, up to a million characters.
_REPEATED = (
    *(f"{F}python\n", f"{F}\n", f"`{F}\n{F}\n", "\n", "`", " ", f"   {F}py \n", f"{F}c\n\n{F}\n"),
    *(
        "\r\n",
        f"{F}{' ' * 40}",
        f"{F} {'c' * 40}",
        f"{F} \t\r",
        "</think>",
        f"</think>{F}py\nx\n{F}\n",
        "~~~\n",
    ),
)


@pytest.mark.parametrize("repeated", _REPEATED)
def test_a_long_text_is_read_in_time_linear_in_it(repeated: str) -> None:
    """In the square of it, the million characters would take minutes."""
    text = repeated * (10**6 // len(repeated))
    started = time.process_time()
    for before in ("", F, f"{F}python\n", f"`{F}\n", f"{F}\n{F}"):
        read_program(before + text)
        read_program(f"{before}{text}`\n{F}")
    assert time.process_time() - started < 10


def run_program(program: str, given: bytes, instructions: int) -> CaseRun:
    code = compile_program(program, 100 * MILLION)
    return run_case(code.output, given, instructions)


def test_one_instruction_is_enough_to_fail() -> None:
    whole = run_program(RIGHT, b"1 2\n", 100 * MILLION)
    assert (whole.output, whole.end) == (b"3\n", "exit 0")
    assert run_program(RIGHT, b"1 2\n", whole.instructions) == whole
    less = run_program(RIGHT, b"1 2\n", whole.instructions - 1)
    assert (less.end, less.instructions) == ("instructions", whole.instructions - 1)


def test_bytes_that_are_moved_count() -> None:
    """A copy of a megabyte is one instruction of the module, and no program's to have for one."""

    def count(size: int) -> int:
        text = f"b = bytearray({size})\nfor i in range(100):\n    b[:] = b\n"
        return run_program(text, b"", 1_000 * MILLION).instructions

    assert count(1 << 20) - count(1 << 10) > 100 * ((1 << 20) - (1 << 10)) / 8


def test_bytes_that_are_compared_outside_count() -> None:
    def run(size: int, limit: int = 1_000 * MILLION) -> CaseRun:
        text = f"import sys\nx = bytearray({1 << 17})\nsys.stdout.buffer.write(x[:{size}])"
        return run_program(text, b"", limit)

    few, many = run(1 << 10), run(1 << 17)
    more = many.instructions - few.instructions
    assert more >= case_runs.BYTE_COST * ((1 << 17) - (1 << 10))
    assert run(1 << 17, many.instructions) == many
    short = many.instructions - 1
    assert run(1 << 17, short) == CaseRun(b"", "instructions", short)


def test_a_run_counts_before_its_first_instruction() -> None:
    limit = case_runs.RUN_COST - 1
    assert run_case(b"", b"", limit) == CaseRun(b"", "instructions", limit)
    assert compile_program("", limit) == CaseRun(b"", "instructions", limit)


def test_the_prompt_names_the_python_that_runs_it(tmp_path: Path) -> None:
    prompt = open_rows(tmp_path, SUM).make_problem(make_seed(1), [1]).prompt
    assert f" Python {INTERPRETER.python} runs it. End with it," in prompt


def test_starter_codes_types_are_there(tmp_path: Path) -> None:
    row = {**HALVES, "starter_code": "class Solution:\n    def halve(self, x: List[int]):"}
    body = "        return [n / 2 for n in x]"
    for head in ("", "from __future__ import annotations\n"):
        program = (
            f"{head}class Solution:\n    def halve(self, x: List[int]) -> List[float]:\n{body}"
        )
        assert score(open_rows(tmp_path, row), fence(program)) == MILLION


def test_threads_score_at_once_and_in_order(tmp_path: Path) -> None:
    environment = open_rows(tmp_path, SUM)
    problem = environment.make_problem(make_seed(1), [1])
    asked = [(problem, fence(RIGHT if n % 3 else "print(6)")) for n in range(12)]
    environment.scorers = 4  # type: ignore[misc] # as on a machine with four cores
    scores = score_all(environment, asked)
    assert [parts.correctness for parts in scores] == [MILLION * (n % 3 > 0) for n in range(12)]


def test_all_cases_of_a_program_have_one_budget(tmp_path: Path) -> None:
    """Each case may take `millions`, and all of them `units`: to the instruction."""
    row = {**SUM, "input_output": {"inputs": ["1 2\n"] * 3, "outputs": ["3\n"] * 3}}

    def take(turns: int) -> tuple[str, int]:
        text = f"{RIGHT}\nfor i in range({turns}):\n    pass"
        code = compile_program(text, 100 * MILLION)
        each = run_case(code.output, b"1 2\n", 100 * MILLION).instructions
        return text, code.instructions + 3 * each

    least, dearer = 0, 1_000_000
    while dearer - least > 1:
        middle = (least + dearer) // 2
        least, dearer = (middle, dearer) if take(middle)[1] <= 30 * MILLION else (least, middle)
    under, over = take(least), take(dearer)
    assert under[1] <= 30 * MILLION < over[1]
    for total, earns in ((30, 0), (31, MILLION)):
        environment = open_rows(tmp_path, row, millions=20, units=total)
        assert score(environment, fence(under[0])) == MILLION
        assert score(environment, fence(over[0])) == earns


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"input_output": []}, "no lists inputs and outputs"),
        ({"input_output": {"inputs": [], "outputs": []}}, "0 inputs and 0 outputs"),
        ({"input_output": {"inputs": ["1"], "outputs": []}}, "1 inputs and 0 outputs"),
        ({"input_output": {"inputs": [1], "outputs": ["1"]}}, "are text, or lists of lines"),
        ({"input_output": {"inputs": ["\ud800"], "outputs": ["1"]}}, "half a character"),
        (
            {"input_output": {"inputs": ["1"], "outputs": ["1"], "fn_name": "a b"}},
            "not a name of a f",
        ),
        ({"input_output": {"inputs": ["1"], "outputs": ["1"], "fn_name": "a"}}, "of arguments"),
        ({"input_output": {"asserts": ["assert f() == 1"]}}, "1 asserts that name no function"),
        ({"input_output": {"asserts": []}}, "its asserts are no list of texts"),
        ({"input_output": {"asserts": [1], "fn_name": "f"}}, "its asserts is 1, and"),
    ],
)
def test_damaged_rows(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(ProblemFileError, match=message):
        open_rows(tmp_path, {**SUM, **row})


def test_levels_by_length_where_no_row_names_its_difficulty(tmp_path: Path) -> None:
    rows = [SUM | {"difficulty": name, "question": "?" * (9 - i)} for i, name in enumerate("abc")]
    environment = open_rows(tmp_path, *rows)
    assert environment.levels == [1, 2, 3]
    assert environment.make_problem(bytes(32), [1]).prompt.startswith("???????\n")
    known = open_rows(tmp_path, *rows, SUM | {"difficulty": "HARD"})
    assert known.levels == [4]
    assert known.skipped == {"difficulties of another name": [1, 2, 3]}  # type: ignore[attr-defined]


def test_parameters_state_the_units_that_a_program_may_take(tmp_path: Path) -> None:
    """Otherwise a default that they do not show would escape the rule of load."""
    environment = open_rows(tmp_path, SUM)
    stated = tuple(Setting(name, value) for name, value in sorted(environment.params.items()))
    choice = EnvironmentChoice(environment.name, stated, environment.digest)
    assert open_environment(choice).digest == environment.digest
    hidden = tuple(setting for setting in stated if setting.name != UNITS)
    with pytest.raises(ValueError, match="do not state the setting 'units'"):
        open_environment(replace(choice, settings=hidden))


def test_the_default_fits_the_main_network(tmp_path: Path) -> None:
    units = open_rows(tmp_path, SUM).params[UNITS]
    assert find_scoring_fault(units, MAIN_TIMING, MAIN_WORK) is None


def test_a_file_is_listed(tmp_path: Path) -> None:
    environment = open_rows(tmp_path, SUM, HALVES)
    (entry,) = [entry for entry in list_environments() if entry.name == environment.name]
    assert entry.usable
    assert entry.levels == (1,)


@pytest.mark.parametrize(
    ("expected", "found", "text", "exact"),
    [
        ("6\n", "6", True, True),
        ("6", "6\n", True, True),
        ("6", "6 \n\n", True, False),
        ("a\nb", "a\r\nb\r\n", True, False),
        ("1 2", "1  2", True, False),
        ("0.5", "0.50", True, False),
        ("0.333333", "0.3333333333", True, False),
        ("1000000.5", "1000001", True, False),
        ("0.5", "0.50001", False, False),
        ("6", "6.0", False, False),
        ("6", "06", False, False),
        ("6", "\n6", False, False),
        ("6", "6\n7", False, False),
        ("1e5", "1e999999999", False, False),
        ("nan", "nan", True, True),
        ("0.5", "nan", False, False),
        ("0.5", "5e-1", True, False),
        ("-.5e1", "-5.", True, False),
        ("0.5", "1e-999", False, False),
        ("1e999", "1.0000001e999", True, False),
        ("1e999", "1.00001e999", False, False),
        ("0.5", "+.", False, False),
    ],
)
def test_text_agrees(expected: str, found: str, text: bool, exact: bool) -> None:
    assert agree_as_text(expected, found.encode()) == text
    assert agree_exactly(expected, found.encode()) == exact


@pytest.mark.parametrize(
    ("expected", "found", "agrees"),
    [
        pytest.param('"x"', '"' + '\\"' * (1 << 17), False, id="quotes without end"),
        ('"[["', '"[["', True),
        ("[1, 2]", "[1,2]", True),
        ("[1, 2]", "more\n[1, 2]\n", True),
        ("[3]", "3", True),
        ("3", "[3]", False),
        ("2.0", "2", True),
        ("2", "2.0", False),
        ("1", "true", False),
        ("true", "1", False),
        ("null", "", False),
        ('{"a": [0.5]}', '{"a": [0.5000001]}', True),
        ('{"a": 1}', '{"a": 1, "b": 2}', False),
        ('"x"', "x", False),
        ("0.5", "NaN", False),
        ("[1, 2]", "[2, 1]", False),
    ],
)
def test_values_agree(expected: str, found: str, agrees: bool) -> None:
    assert agree_as_value(expected, found.encode()) == agrees
