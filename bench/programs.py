"""Programs in the sandbox: the cost of one, including its interpreter's start, and whether verdicts
change under load.

A seed draws programs of several kinds: right ones, wrong ones, some that run out of instructions,
of memory, of stack or of output, some that raise. Each runs on an idle machine and once more, in a
fresh child, with other processes until the load is at least 8. Output, end and instructions must be
the same.
"""

import os
import random
import subprocess
import sys
import time
from hashlib import sha256

from figures import FAST, Figure, read_processor_time, report

from assay.sandbox.guest import Budget, Reply, Request, running
from assay.sandbox.guest.running import run

#: Programs that are compared; short ones that are timed; processes that make the load, and the load
#: to wait for.
PROGRAMS, TIMED, BESIDE, LOAD = (60, 100, 4, 0.0) if FAST else (1_000, 1_000, 12, 8.0)
#: Most instructions of a program, in millions.
MILLIONS = 300
#: Most seconds to wait for the load.
_PATIENCE = 900.0
SHORT = (
    "print(sum(map(int, input().split())))",
    "n = input().split()\nprint(max(n, key=int), sorted(n))",
    "d = {}\nfor c in input():\n    d[c] = d.get(c, 0) + 1\nprint(sorted(d.items()))",
    "a, b = 0, 1\nfor i in range(50):\n    a, b = b, a + b\nprint(a)",
)
KINDS = (
    *SHORT,
    "s = 0\nfor i in range({n}00):\n    s += i * i % 7\nprint(s)",
    "x = [(i * 7919) % {n} for i in range(2000)]\nx.sort()\nprint(x)",
    "import math\nprint([math.sin(i * {n}) ** 0.5 for i in range(9)])",
    "def f(n):\n    return 1 + f(n - 1) if n else 0\nprint(f({n}))",
    "x = [{n}]\nwhile True:\n    x = x + x",
    "while True:\n    print('x' * {n})",
    "n = {n}\nwhile True:\n    n = n * 3 % 1000003",
    "print(1 / ({n} - {n}))",
    "import re\nprint(re.match('(a*)*b', 'a' * ({n} % 30)))",
    "import sys\nsys.exit({n} % 3)",
    "print(id([]), hash('{n}'), {'a', 'b', '{n}'})",
)


def main() -> None:
    given = b"3 1 4 1 5 9\n"
    run_program(SHORT[0], given)
    pids = running._get_children().pids
    before = read_processor_time(pids)
    for i in range(TIMED):
        run_program(SHORT[i % len(SHORT)], given)
    rate = TIMED / (read_processor_time(pids) - before)
    programs = draw_programs()
    idle, load_before = run_all(programs, given), os.getloadavg()[0]
    running._get_children().renew()
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BESIDE)]
    try:
        deadline = time.monotonic() + _PATIENCE
        while os.getloadavg()[0] < LOAD and time.monotonic() < deadline:
            time.sleep(1)
        load = os.getloadavg()[0]
        busy = run_all(programs, given)
    finally:
        for process in beside:
            process.kill()
            process.wait()
    differ = sum(a != b for a, b in zip(idle, busy, strict=True))
    ends: dict[str, int] = {}
    for reply in idle:
        ends[reply.end] = ends.get(reply.end, 0) + 1
    print("  SHA-256 of all runs:", sha256(repr(idle).encode()).hexdigest())  # the same anywhere
    print("  ends:", ", ".join(f"{n} {end}" for end, n in sorted(ends.items())))
    figures = [
        Figure(
            "short programs a second of processor time, start-up included", rate, "/s", least=50
        ),
        Figure("programs compared", len(programs), ""),
        Figure("load of the first runs", load_before, ""),
        Figure("load of the second runs", load, "", least=LOAD),
        Figure("programs whose two runs differ", differ, "", bound=0),
    ]
    report("Programs against test cases", figures, threads=1, ends=ends)


def draw_programs() -> list[str]:
    drawn = random.Random(26)
    return [
        drawn.choice(KINDS).replace("{n}", str(drawn.randrange(1, 1_500))) for _ in range(PROGRAMS)
    ]


def run_program(program: str, given: bytes) -> Reply:
    return run(Request(program.encode(), given), Budget(MILLIONS * 10**6))


def run_all(programs: list[str], given: bytes) -> list[Reply]:
    return [run_program(program, given) for program in programs]


if __name__ == "__main__":
    main()
