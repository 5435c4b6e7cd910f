"""Scoring of programs: the dearest file that a stranger can write, over an honest one, in processor
seconds with the budgets as shipped; and the rate of counted units, of common work and of the
dearest found.

An honest file solves its problems with short programs, all test cases of each. The programs of a
dear file burn all that their test cases may take together, each kind in its own way. All files are
scored as a validator scores them, several programs at once.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from time import process_time

from dear import DEAR, write_dear
from figures import FAST, Figure, measure_together, read_processor_time, report

from assay.environments.base import Environment, Problem
from assay.environments.problem_file import ROW_MAX, add_problem_files
from assay.environments.programs.outputs import agree_as_text
from assay.environments.registry import make_environment
from assay.environments.scoring import score_all
from assay.protocol.parameters import MAIN_WORK, MILLION, SCORING_RATE, UNITS
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running

#: Programs of a file that are scored, and those of each dear kind that are tried.
FILE = MAIN_WORK.valued_groups * MAIN_WORK.group_size
HONEST, EACH = (24, 4) if FAST else (FILE, 24)
CASES = 8
_CORES = 32
#: Name → a program as a model writes it, and its inputs.
SOLVED: dict[str, tuple[str, Callable[[random.Random], str]]] = {
    "sum": (
        "print(sum(map(int, input().split())))",
        lambda r: " ".join(str(r.randrange(10**6)) for _ in range(r.randrange(2, 400))),
    ),
    "words": (
        "d = {}\nfor w in input().split():\n    d[w] = d.get(w, 0) + 1\n"
        "for w in sorted(d, key=lambda w: (-d[w], w)):\n    print(w, d[w])",
        lambda r: " ".join(r.choice("abcde") * r.randrange(1, 4) for _ in range(200)),
    ),
    "primes": (
        "n = int(input())\ns = [True] * (n + 1)\ns[0] = s[1] = False\n"
        "for i in range(2, int(n ** .5) + 1):\n    if s[i]:\n"
        "        for j in range(i * i, n + 1, i):\n            s[j] = False\nprint(sum(s))",
        lambda r: str(r.randrange(100, 10_000)),
    ),
    "common subsequence": (
        "s, t = input(), input()\nd = [[0] * (len(t) + 1) for _ in range(len(s) + 1)]\n"
        "for i in range(len(s)):\n    for j in range(len(t)):\n"
        "        d[i+1][j+1] = d[i][j] + 1 if s[i] == t[j] else max(d[i][j+1], d[i+1][j])\n"
        "print(d[len(s)][len(t)])",
        lambda r: "\n".join("".join(r.choice("ACGT") for _ in range(48)) for _ in range(2)),
    ),
    "maze": (
        "n = int(input())\ng = [input() for _ in range(n)]\n"
        "d = {(0, 0): 0}\nq = [(0, 0)]\nfor x, y in q:\n"
        "    for a, b in ((x+1, y), (x-1, y), (x, y+1), (x, y-1)):\n"
        "        if 0 <= a < n and 0 <= b < n and g[a][b] == '.' and (a, b) not in d:\n"
        "            d[a, b] = d[x, y] + 1\n            q.append((a, b))\n"
        "print(d.get((n - 1, n - 1), -1))",
        lambda r: "12\n" + "\n".join("".join(r.choices("...#", k=12)) for _ in range(12)),
    ),
    "increasing": (
        "import bisect\na = []\nfor x in map(int, input().split()):\n"
        "    k = bisect.bisect_left(a, x)\n    if k == len(a):\n        a.append(x)\n"
        "    else:\n        a[k] = x\nprint(len(a))",
        lambda r: " ".join(str(r.randrange(10**5)) for _ in range(500)),
    ),
    "knapsack": (
        "W = int(input())\nw = list(map(int, input().split()))\n"
        "v = list(map(int, input().split()))\n"
        "d = [0] * (W + 1)\nfor i in range(len(w)):\n    for j in range(W, w[i] - 1, -1):\n"
        "        d[j] = max(d[j], d[j - w[i]] + v[i])\nprint(d[W])",
        lambda r: "150\n" + "\n".join(
            " ".join(str(r.randrange(1, 60)) for _ in range(16)) for _ in range(2)
        ),
    ),
    "power": (
        "n = int(input())\nm = [[1, 1], [1, 0]]\nr = [[1, 0], [0, 1]]\n"
        "def mul(a, b):\n"
        "    return [[sum(x * y for x, y in zip(i, j)) % 1000000007 for j in zip(*b)] for i in a]\n"
        "while n:\n    if n & 1:\n        r = mul(r, m)\n    m = mul(m, m)\n    n >>= 1\n"
        "print(r[0][1])",
        lambda r: str(r.randrange(10**18)),
    ),
}  # fmt: skip


def main() -> None:
    rows = [_make_row(name) for name in SOLVED]
    with tempfile.TemporaryDirectory() as folder:
        environment, burnt = _open_file(Path(folder), rows)
        problems = _list_problems(environment)
        honest = _time_file(
            environment,
            [(problems[name], _fence(SOLVED[name][0])) for name in _repeat(list(SOLVED), HONEST)],
            passes=True,
        )
        costs = {}
        for name in DEAR:
            asked = [(problems["sum"], _fence(write_dear(name)))] * EACH
            costs[name] = _time_file(burnt, asked, passes=False) / EACH
            print(f"  {costs[name] * 1e3:8.1f} ms a program: {name}")
        rates = _measure_rates()
    dearest = max(costs, key=lambda name: costs[name])
    common, slowest = rates["a loop"], min(rates, key=lambda name: rates[name])
    print(f"  dearest program: {dearest}; dearest unit: {slowest}")
    figures = [
        Figure("honest file, processor time", honest * FILE / HONEST, "s"),
        Figure(
            "dearest file, processor time",
            costs[dearest] * FILE,
            "s",
            "honest file",
            honest * FILE / HONEST,
            ratio_bound=3,
        ),
        Figure("programs of a file", FILE, ""),
        Figure("kinds of dear programs tried", len(DEAR), ""),
        Figure("million units a second of one core, a loop", common / 1e6, "/s"),
        Figure("million units a second of one core, the dearest found", rates[slowest] / 1e6, "/s"),
        Figure("million units a second of one reference core", SCORING_RATE / _CORES, "/s"),
        *_measure_uncounted(),
    ]
    kinds = {name: round(cost * 1e3, 2) for name, cost in costs.items()}
    report("Scoring programs", figures, threads=os.cpu_count() or 1, milliseconds=kinds)


def _make_row(name: str) -> dict[str, str]:
    """A problem whose cases are those that native Python answers."""
    program, draw = SOLVED[name]
    drawn = random.Random(name)
    inputs = [draw(drawn) + "\n" for _ in range(CASES)]
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True
        ).stdout
        for text in inputs
    ]
    tests = json.dumps({"inputs": inputs, "outputs": outputs})
    return {"question": name, "difficulty": "introductory", "input_output": tests}


def _open_file(folder: Path, rows: Sequence[dict[str, str]]) -> tuple[Environment, Environment]:
    """The problems as shipped, and with a case that may take what all may take together: so a
    program need not count what it has burnt."""
    file = folder / "code.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    add_problem_files([file])
    name = f"code:{sha256(file.read_bytes()).hexdigest()}"
    shipped = make_environment(name, {})
    return shipped, make_environment(name, {"millions": shipped.params[UNITS]})


def _list_problems(environment: Environment) -> dict[str, Problem]:
    found: dict[str, Problem] = {}
    number = 0
    while len(found) < len(SOLVED):
        problem = environment.make_problem(sha256(number.to_bytes(8)).digest(), [1])
        found[problem.prompt.partition("\n")[0]] = problem
        number += 1
    return found


def _repeat(names: Sequence[str], count: int) -> list[str]:
    return [names[i % len(names)] for i in range(count)]


def _fence(program: str) -> str:
    return f"```python\n{program}\n```"


def _time_file(
    environment: Environment, asked: Sequence[tuple[Problem, str]], *, passes: bool
) -> float:
    """Processor seconds of scoring, children included."""
    run(Request(b""), Budget(10 * MILLION))
    score_all(environment, asked[:4])
    before = _read_processor_time()
    scores = score_all(environment, asked)
    spent = _read_processor_time() - before
    odd = [n for n, parts in enumerate(scores) if (parts.correctness > 0) is not passes]
    if odd:
        raise RuntimeError(f"the scores of {odd} are not what was expected")
    return spent


def _read_processor_time() -> float:
    return read_processor_time(running._get_children(INTERPRETER).pids)


def _measure_rates() -> dict[str, float]:
    """Kind → units a second of one core's time."""
    units = (200 if FAST else 2_000) * MILLION
    rates = {}
    for name in DEAR:
        before = _read_processor_time()
        end = run(Request(write_dear(name).encode()), Budget(units)).end
        spent = _read_processor_time() - before
        if end != "instructions":  # it failed before
            continue
        rates[name] = units / spent
        print(f"  {rates[name] / 1e6:8.0f} million units a second: {name}")
    return rates


def _measure_uncounted() -> list[Figure]:
    """Processor time that no unit counts, of a row that has as much of it as it can."""
    given, runs = b"x" * ROW_MAX, 20 if FAST else 400
    spent = []
    for request in Request(b""), Request(b"", given):
        before = _read_processor_time()
        for _ in range(runs):
            run(request, Budget(10 * MILLION))
        spent.append((_read_processor_time() - before) / runs)
    words = ROW_MAX // 3
    expected, output = " ".join([".1"] * words), b" ".join([b".10"] * words)
    (compared,) = measure_together([lambda: agree_as_text(expected, output)], clock=process_time)
    return [
        Figure(
            "standard input of a row's 64 KiB that is not read", (spent[1] - spent[0]) * 1e3, "ms"
        ),
        Figure("decimal fractions in a row's 64 KiB, compared", compared * 1e3, "ms", f"{words:,}"),
    ]


if __name__ == "__main__":
    main()
