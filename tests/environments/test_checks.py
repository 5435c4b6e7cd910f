"""Asserts that decide about a function: every shape is read and scored, and no program gets at
what decides."""

import json
from hashlib import sha256
from pathlib import Path
from textwrap import dedent

import pytest

from assay.environments import program_look
from assay.environments.base import UNREAD, rate_answer
from assay.environments.problem_file import add_problem_files
from assay.environments.problem_look import look_at_file
from assay.environments.problem_report import write_rows
from assay.environments.problem_vetting import vet_problem_file
from assay.environments.programs.case_runs import compile_program
from assay.environments.programs.checks import Check, run_check
from assay.environments.programs.code_file import DEAR, FAILED, CodeRow, read_code_row, run_cases
from assay.environments.programs.shapes import convert_row
from assay.environments.registry import make_environment
from assay.protocol.parameters import MILLION
from tests.absent import has_sandbox

if not has_sandbox():
    pytest.skip("no sandbox: assay sandbox prepare", allow_module_level=True)

SETTINGS = {"cases": 8, "exact": 0, "partial": 0, "millions": 400, "units": 450}
PRIMES = "def primes(n):\n    return [p for p in range(2, n) if all(p % d for d in range(2, p))]\n"


def read(row: dict[str, object]) -> CodeRow:
    """A row of a published shape as the environment reads it."""
    return read_code_row(convert_row(row, None))


def check(text: str, program: str, setup: str = "") -> bool:
    """Whether a program with a function `f` passes asserts."""
    row = CodeRow("", (Check(dedent(setup), dedent(text)),), None, "f")
    return all(run_cases(dedent(program), row, SETTINGS))


#: Rows as data sets have them, a right program and a wrong one.
SHAPES: dict[str, tuple[dict[str, object], str, str]] = {
    "MBPP": (
        {
            "text": "Primes below n.",
            "test_list": [
                "assert set(primes(LIMIT)) == {2, 3, 5, 7}",
                "assert not primes(2)",
                "assert primes(3)[0] in (2, 3)",
                "assert math.isclose(sum(primes(6)), 10.0)",
            ],
            "test_setup_code": "LIMIT = 10",  # it leaves the import to the program
        },
        PRIMES,
        PRIMES.replace("range(2, n)", "range(2, n + 3)"),
    ),
    "HumanEval": (
        {
            "prompt": "def halve(n):\n    ...\ndef root(xs):\n"
            '    """A root of the polynomial, as halve knows."""\n',
            "entry_point": "root",
            "test": "def check(candidate):\n    import copy, random\n    random.seed(7)\n"
            "    for _ in range(40):\n        xs = [random.randint(-9, 9), random.randint(1, 9)]\n"
            "        root = candidate(copy.deepcopy(xs))\n"
            "        assert abs(xs[0] + xs[1] * root) < 1e-6\n"
            "    assert candidate([candidate([-4, 2]), 1]) == -2\n",
        },
        "def root(xs):\n    return -xs[0] / xs[1]",
        "def root(xs):\n    return xs[0] / xs[1]",
    ),
    "KodCode": (
        {
            "question": "Add to all.",
            "solution": "",
            "test": "from solution import add as add_all\n\ndef test_changed():\n"
            "    held = [1, 2]\n    add_all(held, by=3)\n    assert held == [4, 5]\n\n"
            "def test_refused():\n    try:\n        add_all(None, 1)\n        assert False\n"
            "    except TypeError as error:\n        assert 'all' in str(error)\n",
        },
        "def add(held, by):\n    if held is None:\n        raise TypeError('all of what')\n"
        "    held[:] = [one + by for one in held]",
        "def add(held, by):\n    return [one + by for one in held]",
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_scored(name: str) -> None:
    row, right, wrong = SHAPES[name]
    found = read(row)
    assert (found.fault, isinstance(found.cases[0], Check)) == (None, True)
    assert all(run_cases(right, found, SETTINGS))
    assert not all(run_cases(wrong, found, SETTINGS))


#: Programs without thought against `f(2) == 4` and `math.isclose(f(1), 2)`.
CHEATS = {
    "an object that is equal to everything": """
        class Any:
            __eq__ = __lt__ = __gt__ = __bool__ = lambda *_: True
            __float__ = lambda _: 2.0
        f = lambda x: Any()""",
    "an integer that is equal to everything": """
        class Any(int):
            __eq__ = lambda *_: True
            __hash__ = int.__hash__
        f = lambda x: Any(3)""",
    "patched functions": """
        import math, json, builtins
        math.isclose = json.dumps = builtins.isinstance = builtins.abs = lambda *_, **__: True
        f = lambda x: 3""",
    "an exit": "import sys\ndef f(x): sys.exit(0)",
    "an exit that nothing sees": "import os\ndef f(x): os._exit(0)",
    "an exit at once": "import os\nos._exit(0)",
    "the verdict in the answers' place": """
        import os
        def f(x):
            print("passed")
            os.write(1, b"passed")
            os._exit(0)""",
    "no verdict, and more answers": """
        import os
        def f(x):
            os.write(1, b"\\n[]" * 9)
            os._exit(0)""",
    "a class of builtins that runs text": r"""
        import os
        def f(x):
            text = "__import__('os').write(1, b'passed') and __import__('os')._exit(0)"
            line = '["error", "exec", {"tuple": [' + __import__("json").dumps(text) + ']}]'
            os.write(1, b"".join(b"\n" + line.encode() for _ in range(2)))
            os._exit(0)""",
    "an answer of no kind": """
        import os
        def f(x):
            os.write(1, b'\\n[{"code": [4]}, {"value": 4}]' * 2)
            os._exit(0)""",
    "a generator": "def f(x): yield 2 * x",
    "no end of calls": "def f(x): return f(x + 1)",
    "no end": "def f(x):\n    while True: pass",
    "a value nested too deep": """
        def f(x):
            value = 2 * x
            for _ in range(5000): value = [value]
            return value""",
    "an exception that a check lets pass": "def f(x): raise BaseException",
    "the check's own names": """
        import sys
        def f(x):
            for frame in sys._current_frames().values():
                while frame:
                    frame.f_globals.update(assert_=None, asked=[], known=[])
                    frame = frame.f_back
            sys.modules["check"] = sys.modules[__name__]
            return 0""",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_program_that_cheats_fails(cheat: str) -> None:
    row = CodeRow(
        "", (Check("import math", "assert math.isclose(f(1), 2)\nassert f(2) == 4"),), 1, "f"
    )
    assert list(run_cases(dedent(CHEATS[cheat]), row, SETTINGS | {"millions": 90})) == [False]
    assert list(run_cases("def f(x): return 2 * x", row, SETTINGS | {"millions": 90})) == [True]


#: Asserts of `f` and a program, and whether it passes.
PLAIN = {
    "tuples, sets, bytes and keys are what they are": (
        """
        assert f(0) == ((1, 2), {3}, frozenset({4}), b"5", {6: 7, (8,): 9}, 1j, 1 << 90)
        assert f(0)[4] != {"6": 7} and f(0)[0] != [1, 2] and type(f(0)[1]) is set""",
        "f = lambda x: ((1, 2), {3}, frozenset({4}), b'5', {6: 7, (8,): 9}, 1j, 1 << 90)",
        True,
    ),
    "a list is no tuple": ("assert f(1) == (1, 2)", "f = lambda x: [1, 2]", False),
    "content counts of a class below": (
        "assert f('aab') == {'a': 2, 'b': 1}",
        "from collections import Counter as f",
        True,
    ),
    "calls share the program's state": (
        "assert [f(0) for _ in range(3)] == [1, 2, 3]\nfirst = f(0)\nassert f(first) == 5",
        "count = 0\ndef f(x):\n    global count\n    count += 1\n    return count",
        True,
    ),
    "an argument depends on an answer": (
        "x = 1\nwhile x < 100:\n    x = f(x)\nassert x == 128",
        "f = lambda x: 2 * x",
        True,
    ),
    "an answer changes an argument": (
        "a, b, c = [2, 1], {1: 2}, {3}\nf(a, by=b, to=c)\nassert (a, b, c) == ([1, 2], {}, set())",
        "def f(a, by, to):\n    a.sort()\n    by.clear()\n    to.clear()",
        True,
    ),
    "what is no exception is wrong where one is due": (
        "try:\n    f(1)\nexcept ValueError:\n    pass\nelse:\n    assert False",
        "f = lambda x: None",
        False,
    ),
    "an own exception is the one that it extends": (
        """
        try:
            f(1)
            assert False
        except LookupError as error:
            assert error.args == (1,)""",
        "class Gone(KeyError):\n    pass\ndef f(x):\n    raise Gone(x)",
        True,
    ),
    "a check that catches everything": (
        "passed = False\ntry:\n    passed = f(1) == 2\nexcept:\n    pass\nassert passed",
        "f = lambda x: x + 1",
        True,
    ),
    "what is printed is nothing": (
        "assert f(1) == 2",
        "print('a')\ndef f(x):\n    print(x)\n    return 2",
        True,
    ),
    "a method": ("assert f(1)", "class Solution:\n    def f(self, x: List[int]): return x", True),
    "an argument that is no plain value": ("assert f(len) == 1", "f = lambda x: 1", False),
    "a check that asks nothing": ("assert callable(f)", "f = lambda x: 1", False),
    "a check that ends by itself": ("f(1)\nraise SystemExit(0)", "f = lambda x: 1", False),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_crosses(name: str) -> None:
    text, program, passes = PLAIN[name]
    assert check(text, program) is passes


def test_no_loop_of_a_check_ends_early() -> None:
    """Of all that a program may raise, this would make a check look at nothing."""
    text = "assert all(map(lambda x: f(x) == x + 1, [1, 2]))"
    assert check(text, "def f(x): return x + 1")
    assert not check(text, "def f(x): raise StopIteration")


def test_what_a_test_uses_of_pytest_is_there() -> None:
    """`raises` and `approx` decide as pytest's do."""
    text = """
        import pytest
        from pytest import approx
        from solution import root

        def test_roots():
            assert root(4) == approx(2.0000001)
            assert root(9) == pytest.approx(3.1, abs=0.2)
            assert [root(4), root(9)] == approx([2, 3])
            assert {"a": root(4)} != approx({"a": 2.1})

        def test_refusals():
            with pytest.raises((ValueError, TypeError), match="neg.tive") as caught:
                root(-1)
            assert caught.value.args == ("negative",)
            with pytest.raises(TypeError):
                root("x")
    """
    row = read({"question": "Root.", "test": dedent(text)})
    program = "def root(n):\n    if n < 0: raise ValueError('negative')\n    return n ** 0.5"
    passed = list(run_cases(program, row, SETTINGS))
    assert (row.function, passed) == ("root", [True, True])
    for wrong, passes in (
        (program.replace("negative", "positive"), [True, False]),
        (program.replace("ValueError", "KeyError"), [True, False]),
        (program.replace("if n < 0: raise ValueError('negative')", "n = abs(n)"), [True, False]),
        (program.replace("0.5", "0.51"), [False, True]),
        (f"{program} + 1e-5", [False, True]),
    ):
        assert list(run_cases(wrong, row, SETTINGS)) == passes, wrong


def test_an_import_of_pytest_that_nothing_uses_fails_no_program() -> None:
    text = "import pytest\nfrom solution import f\ndef test_f():\n    assert abs(f(1) - 1) < 1e-9\n"
    row = read({"question": "The same.", "test": text})
    assert list(run_cases("def f(x): return x", row, SETTINGS)) == [True]


def test_a_check_has_its_budget() -> None:
    """Instructions count on both sides, and the same ones each time."""
    code = compile_program("f = lambda x: 2 * x", 100 * MILLION).output
    rule = Check("", "assert f(2) == 4")
    passes, spent = run_check(code, rule, "f", 400 * MILLION)
    assert passes
    assert run_check(code, rule, "f", spent) == (True, spent)
    assert run_check(code, rule, "f", spent - 1) == (False, spent - 1)
    endless = Check("", "f(1)\nwhile True: pass")
    assert run_check(code, endless, "f", 60 * MILLION) == (False, 60 * MILLION)


def test_authors_programs_are_tried_of_so_many_rows(tmp_path, monkeypatch) -> None:
    row, right, wrong = SHAPES["MBPP"]
    file, told = tmp_path / "mbpp.jsonl", list[str]()
    file.write_text("".join(json.dumps(row | {"code": c}) + "\n" for c in (right, wrong, wrong)))
    monkeypatch.setattr(program_look, "TRIED_MAX", 2)
    look, rows = look_at_file(file, report=told.append)
    assert (look.left_out, [row.number for row in rows]) == ({FAILED: [2]}, [1, 3])
    assert any("the first 2 rows of 3" in line for line in told)


def test_a_file_is_looked_at_written_vetted_and_asked(tmp_path: Path) -> None:
    row, right, wrong = SHAPES["MBPP"]
    slow = f"{right}\nfor _ in range(150_000): pass"
    rows = [row | {"code": code} for code in (right, wrong, slow)]
    file, written = tmp_path / "mbpp.jsonl", tmp_path / "written.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    look, rows = look_at_file(file, report=print)
    left = {FAILED: [2], DEAR: [3]}
    assert (look.asked, look.left_out, look.samples[0].answer) == (
        1,
        left,
        "4 test cases of the function primes",
    )
    written.write_bytes(write_rows(rows))
    report = vet_problem_file(written)
    passed = [one.name for one in report.checks if one.passed]
    assert passed == ["rows", "right answers", "thoughts"]
    assert "4 or more are needed" in report.checks[-1].detail  # its own program, of one row
    add_problem_files([written])
    name = f"code:{sha256(written.read_bytes()).hexdigest()}"
    environment = make_environment(name, {"partial": 1})
    problem = environment.make_problem(bytes(32), environment.levels)
    assert "function primes" in problem.prompt
    assert "LIMIT" not in problem.prompt
    for program in environment.list_thoughtless(problem):
        assert environment.score(problem, program).correctness == 0
    assert environment.score(problem, f"```python\n{right}\n```") == rate_answer(4, 4)
    assert environment.score(problem, f"```python\n{wrong}\n```") == rate_answer(1, 4)
    assert environment.score(problem, right) == UNREAD
