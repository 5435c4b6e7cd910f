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

from figures import FAST, Figure, read_processor_time, report

from assay.environments import Environment, Problem, add_problem_files, make_environment, score_all
from assay.protocol.parameters import MAIN_WORK, MILLION, SCORING_RATE, UNITS
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running

#: Programs of a file that are scored, and those of each dear kind that are tried.
FILE = MAIN_WORK.valued_groups * MAIN_WORK.group_size
HONEST, DEAR = (24, 4) if FAST else (FILE, 24)
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
#: Name → code that a program runs for ever. It looks for the dearest unit.
BURNED = {
    "a loop": "while True: pass",
    "one character to standard error": "import sys\nw=sys.stderr.write\nwhile True: w('a')",
    "a line to standard error": "import sys\nwhile True: print('x'*80, file=sys.stderr)",
    "reading at the end": "import sys\nr=sys.stdin.read\nwhile True: r(1)",
    "exceptions": "while True:\n    try: raise ValueError\n    except ValueError: pass",
    "calls": "def f(n): return f(n-1) if n else 0\nwhile True: f(300)",
    "new strings": "while True:\n    s=''\n    for i in range(300): s+=str(i)",
    "zeroed bytes": "while True: bytearray(1<<20)",
    "copied bytes": "a=bytearray(1<<21);b=bytearray(1<<21)\nwhile True: a[:]=b;b[:]=a",
    "moved bytes": "a=bytearray(1<<20)\nwhile True: a[1:]=a[:-1]",
    "a search": "x=b'a'*(1<<20)\nwhile True: x.find(b'b')",
    "big integers": "x=3**9000\nwhile True: x*x%7",
    "floats": "import math\nwhile True: math.sin(1e22);math.exp(1.1);math.pow(1.1,2.2)",
    "denormal floats": "x=1e-310\nwhile True: x*1.0;x*1.0;x*1.0;x*1.0;x/3.0;x/3.0",
    "a set's intersection": "a=set(range(0,10**6,3))\n"
    "k=[(i*7919*104729)%10**6 for i in range(300000)]\nwhile True: a.intersection(k)",
    "random floats, sorted": "import random\nx=[random.random() for _ in range(200000)]\n"
    "while True: sorted(x)",
    "failing allocations": "while True:\n    try: bytearray(2*10**9)\n    except MemoryError: pass",
    "garbage": "import gc\nx=[[] for _ in range(200000)]\nwhile True: gc.collect()",
    "garbage in a random order": "import gc\nfrom itertools import repeat\n"
    "from operator import setitem\ngc.disable()\nn=30011\n"
    "x=list(map(dict.copy, repeat({0:0}, n)))\n"
    "k=map(n.__rmod__, range(0, n*370247, 370247))\n"
    "any(map(setitem, map(x.__getitem__, k), repeat(0), repeat([])))\nwhile True: gc.collect()",
    "lists of lists": "x=[[None] for _ in range(20000)]\n"
    "for i in range(20000): x[i][0]=x[(i+7919)%20000]\n"
    "p=x[0]\nwhile True: p=p[0][0][0][0][0][0][0][0]",
    "contexts of exceptions": "x=[ValueError() for _ in range(20000)]\n"
    "for i in range(20000): x[i*7919%20000].__context__=x[(i+1)*7919%20000] if i<19999 else None\n"
    "try: raise x[0]\nexcept ValueError:\n    while True:\n        try: raise KeyError\n"
    "        except KeyError: pass",
    "what the collector keeps": "import gc\nx=[{i: []} for i in range(20000)]\n"
    "for i in range(20000): x[i*7919%20000]=0\nx=[{i: []} for i in range(20000)]\n"
    "gc.freeze()\nwhile True: gc.get_freeze_count()",
    "a dictionary's order": "from collections import OrderedDict\n"
    "x=OrderedDict.fromkeys(range(20000))\nfor i in range(20000): x.move_to_end(i*7919%20000)\n"
    "while True: list(x)",
    "fresh memory": "x=[]\nwhile True: x.append(bytes(1<<20))",
    "a walk through memory": "n=1<<20\nx=bytearray(4*n)\ni=0\nwhile True:\n"
    "    i=(i*1103515245+12345)&(4*n-1)\n    x[i]",
    "a large dictionary": "d={i*7919:i for i in range(150000)}\ni=0\nwhile True:\n"
    "    i=(i+104729)%150000\n    d[i*7919]",
    "sorting": "x=[(i*7919*104729)%1000003 for i in range(100000)]\nwhile True: sorted(x)",
    "a regular expression": "import re\nre.match('(a*)*b', 'a' * 40)",
    "output": "print('\\n' * 250000)",
    "json": "import json\nx=json.dumps(list(range(1000)))\nwhile True: json.loads(x)",
    "compiling": "x='x=[i for i in range(9)]\\n'*50\nwhile True: compile(x,'x','exec')",
}


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
        for name, code in BURNED.items():
            asked = [(problems["sum"], _fence(code))] * DEAR
            costs[name] = _time_file(burnt, asked, passes=False) / DEAR
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
        Figure("kinds of dear programs tried", len(BURNED), ""),
        Figure("million units a second of one core, a loop", common / 1e6, "/s"),
        Figure("million units a second of one core, the dearest found", rates[slowest] / 1e6, "/s"),
        Figure("million units a second of one reference core", SCORING_RATE / _CORES, "/s"),
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
    for name, code in BURNED.items():
        before = _read_processor_time()
        end = run(Request(code.encode()), Budget(units)).end
        spent = _read_processor_time() - before
        if end != "instructions":  # it failed before
            continue
        rates[name] = units / spent
        print(f"  {rates[name] / 1e6:8.0f} million units a second: {name}")
    return rates


if __name__ == "__main__":
    main()
