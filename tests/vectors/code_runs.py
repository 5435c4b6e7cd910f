"""The vectors of `code:SHA256`: runs of the interpreter, and a window of programs with their pay.

    python tests/vectors/code_runs.py            writes code.json, and pieces.json
    python tests/vectors/code_runs.py --check    exits 1 where this machine gives another

They need a prepared sandbox, so `generate.py` leaves them out. Who makes another image writes them
anew.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from checked_pieces import make_pieces  # noqa: E402
from generate import write_json  # noqa: E402
from subjects import ALICE, PARAMETERS, choose, digest  # noqa: E402
from worth import accept  # noqa: E402

from assay.environments.base import Environment, Problem  # noqa: E402
from assay.environments.dealing import make_miner_problem  # noqa: E402
from assay.environments.problem_file import add_problem_files  # noqa: E402
from assay.environments.programs.code_file import CodeRow  # noqa: E402
from assay.environments.programs.outputs import agree_as_value, agree_exactly  # noqa: E402
from assay.environments.registry import open_environment  # noqa: E402
from assay.environments.rewards import compute_reward  # noqa: E402
from assay.environments.tools import PROOFS, TOOLS, CallForm  # noqa: E402
from assay.environments.tools.python import Python  # noqa: E402
from assay.protocol.encoding import to_json  # noqa: E402
from assay.protocol.manifest import LevelWeight  # noqa: E402
from assay.protocol.parameters import Rewards  # noqa: E402
from assay.sandbox.guest import COMPILED, INTERPRETER, Budget, Request, run  # noqa: E402
from assay.verification import compute_score, compute_value  # noqa: E402

Json = Any

_TENTH = 100_000_000
_PLAIN = "print(sum(map(int, input().split())))"
#: About, kind, program or code of the run before it, input, seed, clock, instructions, room.
_RUNS: tuple[tuple[str, bytes, str | None, str, int, int, int, int], ...] = (
    ("a program and its input", b"S", _PLAIN, "1 2 39\n", 0, 0, _TENTH, 99),
    ("one that is compiled", b"C", _PLAIN, "", 0, 0, _TENTH, 1 << 21),
    ("its code", b"M", None, "1 2 39\n", 0, 0, _TENTH, 99),
    ("no Python", b"C", "1 +", "", 0, 0, _TENTH, 99),
    ("code that is none", b"M", "\x00", "", 0, 0, _TENTH, 99),
    ("an exit as a shell shows it", b"S", "raise SystemExit(257)", "", 0, 0, _TENTH, 99),
    ("an exception", b"S", "print(1)\n1 / 0", "", 0, 0, _TENTH, 99),
    ("no instructions", b"S", _PLAIN, "1", 0, 0, 0, 99),
    ("a loop without end", b"S", "print(1, flush=True)\nwhile True: pass", "", 0, 0, 10**7, 99),
    ("more output than there is room", b"S", "print('x' * 99)", "", 0, 0, _TENTH, 99),
    ("an abort", b"S", "import os\nos.abort()", "", 0, 0, _TENTH, 99),
    (
        "a recursion that C does not count",
        b"S",
        "t = 1\nfor i in range(40000): t = (t,)\nprint(hash(t))",
        "",
        *(0, 0, 2 * _TENTH, 99),
    ),
    (
        "randomness, hashes and addresses",
        b"S",
        "import os, random, uuid\nprint(os.urandom(9), random.random(), uuid.uuid4(), hash('a'),"
        " id(object()), {'a', 'b', 'c'})",
        "",
        *((1 << 64) - 1, 0, _TENTH, 999),
    ),
    (
        "time, and a sleep",
        b"S",
        "import time\nprint(time.time_ns())\ntime.sleep(3)\nprint(time.time_ns())",
        "",
        *(0, 1_700_000_000 * 10**9, _TENTH, 99),
    ),
    (
        "floats, and the sign of a NaN",
        b"S",
        "import math, struct\nprint([math.sin(i) ** 0.5 for i in range(1, 4)], math.exp(1),"
        " struct.pack('>d', math.inf - math.inf))",
        "",
        *(0, 0, _TENTH, 999),
    ),
    (
        "bytes that are no text",
        b"S",
        "import os\nos.write(1, bytes(range(256)))",
        "",
        0,
        0,
        _TENTH,
        256,
    ),
)

_SUM = {
    "question": "Print the sum of the integers of a line.",
    "difficulty": "introductory",
    "input_output": {"inputs": ["1 2 3\n", ["40 2", ""], "-5\n"], "outputs": ["6\n", ["42"], "-5"]},
}
_MEAN = {
    "question": "Print the mean of a line's integers, and \u00e9.",
    "difficulty": "interview",
    "input_output": {
        "inputs": ["1 2\n", "1 1 2\n"],
        "outputs": ["1.5 \u00e9\n", "1.3333333 \u00e9"],
    },
}
_HALVES = {
    "question": "Halve the values of an object.",
    "starter_code": "class Solution:\n    def halve(self, given: Dict[str, int]) -> List[float]:",
    "difficulty": "EASY",
    "input_output": {
        "fn_name": "halve",
        "inputs": [
            [{"b": 3, "1": -2, "\u00e9\u007f\U0001f600": 10**20}],
            [{"x": 1e16, "y": 1.5e-7}],
        ],
        "outputs": [[1.5, -1.0, 5e19], [[5e15, 7.5e-8]]],
    },
}
_ROOT = {  # what it asks for depends on an answer, and the function changes what it is given
    "question": "A root of a + b * x, and the list's signs turned.",
    "difficulty": "hard",
    "input_output": {
        "fn_name": "root",
        "setup": "import math",
        "asserts": [
            "xs = [-4, 2]\nfirst = candidate(xs)\nassert xs == [4, -2]\n"
            "assert math.isclose(candidate([first, 1]), -2)",
            "try:\n    root(None)\n    assert False\nexcept TypeError as error:\n"
            "    assert 'number' in str(error)",
        ],
    },
}
_NOT_ASKED = (
    {"question": "Nothing decides.", "difficulty": "EASY", "input_output": ""},
    {"question": "Of no level.", "input_output": {"inputs": ["\n"], "outputs": ["\n"]}},
    {
        "question": "Text is evaluated.",
        "difficulty": "EASY",
        "input_output": {"fn_name": "f", "asserts": ["assert eval('f')(1) == 1"]},
    },
)
_ROWS = (_SUM, _NOT_ASKED[0], _MEAN, _HALVES, _NOT_ASKED[1], _ROOT, _NOT_ASKED[2])

_RIGHT_ROOT = (
    "def root(xs):\n    if xs is None:\n        raise TypeError('no number')\n"
    "    a, b = xs\n    xs[:] = [-x for x in xs]\n    return -a / b"
)
_READ = "x = list(map(int, input().split()))\n"
#: Question → programs: what they are, and their text.
_PROGRAMS: dict[str, tuple[tuple[str, str], ...]] = {
    _SUM["question"]: (
        ("right", _PLAIN),
        ("wrong in one case", "print(abs(sum(map(int, input().split()))))"),
        ("two cases within the program's budget", f"for i in range(26000): i * i\n{_PLAIN}"),
        ("wrong in all", "print(7)"),
        ("no Python", "print("),
        ("dear, and right", f"for i in range(60000): i * i\n{_PLAIN}"),
        ("without an end", "while True: pass"),
        ("a trap after the right answer", f"import os\n{_PLAIN[:-1]}, flush=True)\nos.abort()"),
        ("an exit after it", f"{_PLAIN}\nraise SystemExit(3)"),
        ("too much output", "while True: print('6' * 10 ** 4)"),
        ("a byte that is no text", "import os\nos.write(1, b'6\\xff')"),
    ),
    _MEAN["question"]: (
        ("right", f"{_READ}print(sum(x) / len(x), '\u00e9')"),
        ("six digits", f"{_READ}print('%.6f \u00e9' % (sum(x) / len(x)))"),
    ),
    _HALVES["question"]: (
        ("a function", "def halve(given):\n    return [x / 2 for x in given.values()]"),
        (
            "a method, with the starter's types",
            "class Solution:\n    def halve(self, given: Dict[str, int]) -> List[float]:\n"
            "        return [x / 2 for x in given.values()]",
        ),
        ("in another order", "def halve(given):\n    return [given[k] / 2 for k in sorted(given)]"),
        ("an import that must come first", "from __future__ import annotations\nhalve = len"),
        ("no such function", "def half(given):\n    return []"),
    ),
    _ROOT["question"]: (
        ("right", _RIGHT_ROOT),
        ("a list that stays as it was", _RIGHT_ROOT.replace("xs[:]", "other")),
        (
            "equal to everything",
            "class A(float):\n    __eq__ = lambda *_: True\nroot = lambda xs: A(1)",
        ),
        ("answers in the verdict's place", "import os\nos.write(1, b'passed')\nos._exit(0)"),
        ("without an end", "def root(xs):\n    while True: pass"),
    ),
}
#: Completions: nothing is read of some, and of the others another program than the first.
_UNREAD = (
    "",
    "```python\nprint(6)```",
    "x```python\nprint(6)\n```",
    "```python\nprint(6)\n```\nso",
    "```python\nprint(6)\n```\n```python\nprint(7)\n```",
    "```python\nprint(6)\n```\n</think>\n ",
    "```python\n#\0\n```",
)
#: Expected value, output, whether they agree; JSON in both.
_VALUES: tuple[tuple[str, bytes], ...] = (
    *(("[1, 2]", b"\n[1,2]\n\n"), ("[1, 2]", b"[1, 2]\n[1]"), ("[1, 2]", b"[2, 1]")),
    *(("[[1]]", b"[1]"), ("[[1]]", b"[[1]]"), ("[1]", b"1"), ("1", b"[1]"), ("[[1]]", b"1")),
    *(("0.5", b"0.50000001"), ("0.5", b"0.5001"), ("2.0", b"2"), ("2", b"2.0"), ("2", b"-0")),
    *(('{"a": 1, "2": null}', b'{"2": null, "a": 1}'), ('{"a": 1}', b'{"a": 1, "b": 1}')),
    *(('"\\u00e9"', '"\u00e9"'.encode()), ('"1"', b"1"), ("true", b"1"), ("null", b"false")),
    *(("1", b"01"), ("1", b"NaN"), ("1", b"1 1"), ("1", b"\xff1"), ("1", b""), ("[]", b"[")),
    *(("[]", b"[" * 33 + b"]" * 33), ('"["', b'"["'), ("0.5", b"5" + b"0" * 41 + b"e-42")),
    *(('{"a": 2}', b'{"a": 1, "a": 2}'), ('{"__proto__": 1}', b'{"__proto__": 1}')),
    ('{"__proto__": 1}', b'{"a": 1}'),
)
_LINES = (
    ("6", b"6\n"),
    ("6\n", b"6"),
    ("6", b"6\n\n"),
    ("6", b"6 "),
    ("", b"\n"),
    ("\u00e9", b"\xc3\xa9"),
)

#: Settings of each window, how it pays, and how many of a row's programs it has.
_WINDOWS: tuple[tuple[dict[str, int], Rewards, int], ...] = (
    ({"millions": 70, "units": 150}, Rewards(), 99),
    (
        {"millions": 70, "units": 140, "partial": 1, "exact": 1, "cases": 3},
        Rewards(500_000, 0, 400_000, 100_000, 300_000),
        3,
    ),
)
#: Levels in force.
_LEVELS = (LevelWeight(1, 3), LevelWeight(2, 1), LevelWeight(3, 2))
_GROUPS = 6


def make_code() -> Json:
    lines = [json.dumps(_write_row(row)) for row in _ROWS]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "code.jsonl"
        file.write_text("".join(f"{line}\n" for line in lines))
        add_problem_files([file])
        name = f"code:{sha256(file.read_bytes()).hexdigest()}"
        windows = [_make_window(name, *window) for window in _WINDOWS]
    return {
        "image": INTERPRETER.image_digest,
        "runs": list(_make_runs()),
        "values": [
            {"expected": due, "output": output.hex(), "agrees": agree_as_value(due, output)}
            for due, output in _VALUES
        ],
        "exact": [
            {"expected": due, "output": output.hex(), "agrees": agree_exactly(due, output)}
            for due, output in _LINES
        ],
        "python": _make_python(),
        "file": {"name": name, "lines": lines},
        "hotkey": ALICE.hex(),
        "windows": windows,
    }


#: What a model has run in one episode, one program after the other.
_CALLED = (
    *(
        "x = 6",
        "print(x * 7)",
        "def half(n):\n    return n / 2\nprint(half(x), 1 / 3, '\u00e9')",
        "1 / 0",
    ),
    *(
        "while True: pass",
        "print(x)",
        "print('x' * 5000)",
        "import os\nos.write(1, b'\\xff\\n\\n')",
        "[1, 'x']",
        "print(1)\n'x' * 1_023",
        "x.y",
    ),
    *("while True: pass",) * 4,
)


def _make_python() -> Json:
    """The tool: proof episodes, an environment's digest, and an episode of calls."""
    tool, memory = Python(200), None
    replies = []
    for program in _CALLED:
        reply, memory = tool.call(program, memory)
        replies.append([program, reply])
    settings = {"tool": list(TOOLS).index(tool.name) + 1, "call_form": 1, "tool_units": 200}
    choices = (
        choose("gsm", settings),
        choose("mix", {"gsm": 1, "sat": 1, **{f"gsm.{k}": v for k, v in settings.items()}}),
    )
    return {
        "proofs": [PROOFS[tool.name, form] for form in list(CallForm)[1:]],
        "units": tool.units,
        "calls": replies,
        "environments": [to_json(choice) for choice in choices],
    }


def _write_row(row: Json) -> Json:
    tests = row["input_output"]
    return {**row, "input_output": json.dumps(tests) if tests else ""}


def _make_runs() -> Iterator[Json]:
    code = b""
    for about, kind, text, given, seed, clock, instructions, room in _RUNS:
        program = code if text is None else text.encode()
        request = Request(program, given.encode(), kind, seed, clock)
        reply = run(request, Budget(instructions, room))
        code = reply.output
        yield {
            "about": about,
            "kind": kind.decode(),
            "program": program.hex() if kind == COMPILED else text,
            "given": given,
            "seed": seed,
            "clock": clock,
            "budget": instructions,
            "room": room,
            "output": reply.output.hex(),
            "end": reply.end,
            "instructions": reply.instructions,
        }


def _make_window(name: str, settings: dict[str, int], rewards: Rewards, most: int) -> Json:
    choice = choose(name, settings)
    environment = open_environment(choice)
    challenge, problems = _draw_problems(environment)
    left = {question: programs[:most] for question, programs in _PROGRAMS.items()}
    groups = [
        _score(environment, problem, rewards, left.pop(_get_row(problem).question, ()))
        for problem in problems
    ]
    values = [group["value"] for group in groups]
    return {
        "environment": to_json(choice),
        "rewards": to_json(rewards),
        "levels": [to_json(level) for level in _LEVELS],
        "challenge_seed": challenge.hex(),
        "groups": groups,
        "score": compute_score(accept(len(values), values)),
    }


def _draw_problems(environment: Environment) -> tuple[bytes, list[Problem]]:
    """A challenge under which the first groups ask all rows, and these problems."""
    for number in range(1_000):
        challenge = digest(f"programs {number}")
        problems = [
            make_miner_problem(environment, challenge, ALICE, index, _LEVELS)
            for index in range(_GROUPS)
        ]
        if {_get_row(problem).question for problem in problems} == _PROGRAMS.keys():
            return challenge, problems
    raise AssertionError("no challenge asks all rows")


def _score(
    environment: Environment,
    problem: Problem,
    rewards: Rewards,
    programs: tuple[tuple[str, str], ...],
) -> Json:
    """A group whose completions are a row's programs, or where its row was asked before, texts in
    which there is no program. Completions count as long as their bytes."""
    completions = [(about, environment.write_answer(program)) for about, program in programs]
    completions = completions or [("no program", text) for text in _UNREAD]
    work, lengths, scores = PARAMETERS.work, [], []
    for _, text in completions:
        lengths.append(len(text.encode()))
        scores.append(environment.score(problem, text))
    earned = [
        compute_reward(parts, length, rewards, work.max_tokens)
        for parts, length in zip(scores, lengths, strict=True)
    ]
    right = [parts.correctness for parts in scores]
    value = compute_value(
        work,
        lengths=lengths,
        prompt_tokens=len(problem.prompt.encode()),
        mean_reward=sum(earned) // len(earned),
        mean_correctness=sum(right) // len(right),
    )
    return {
        "level": problem.level,
        "prompt": problem.prompt,
        "completions": [
            {"about": about, "completion": text} | asdict(parts)
            for (about, text), parts in zip(completions, scores, strict=True)
        ],
        "value": value,
    }


def _get_row(problem: Problem) -> CodeRow:
    assert isinstance(problem.answer, CodeRow)
    return problem.answer


def main(check: bool) -> int:
    differ = False
    for name, made in (("code.json", make_code()), ("pieces.json", make_pieces())):
        path = HERE / name
        if not check:
            path.write_text(write_json(made) + "\n")
        differs = json.loads(path.read_bytes()) != made
        print(f"{name} is not what this machine makes" if differs else name)
        differ |= differs
    return differ


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--check"]))
