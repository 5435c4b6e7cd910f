"""Programs in the sandbox: the cost of one, including its interpreter's start, and whether verdicts
change under load.

The programs are those that a seed draws for the tests: over the standard library, some that run out
of instructions, of memory, of stack or of output, some that raise. Each runs on an idle machine and
once more, in a fresh child, with other processes until the load is at least 8. Output, end and
instructions must be the same, and all replies of the drawn packages and tasksets.
"""

import os
import sys
import time
from pathlib import Path

from figures import FAST, Figure, read_processor_time, report

sys.path.insert(0, str(Path(__file__).parents[1]))
from assay.sandbox.guest import INTERPRETER, Budget, Reply, Request, run, running
from tests.environments.drawn_archives import draw_replies
from tests.sandbox.busy import keep_busy
from tests.sandbox.drawn import INSTRUCTIONS, digest_replies, draw_programs

#: Programs and archives that are compared; short programs that are timed.
PROGRAMS, ARCHIVES, TIMED = (60, 8, 100) if FAST else (1_000, 200, 1_000)
#: Processes that make the load, and the load to wait for.
BESIDE, LOAD = (4, 0.0) if FAST else (12, 8.0)
#: Most seconds to wait for the load.
_PATIENCE = 900.0
SHORT = (
    "print(sum(map(int, input().split())))",
    "n = input().split()\nprint(max(n, key=int), sorted(n))",
    "d = {}\nfor c in input():\n    d[c] = d.get(c, 0) + 1\nprint(sorted(d.items()))",
    "a, b = 0, 1\nfor i in range(50):\n    a, b = b, a + b\nprint(a)",
)


def main() -> None:
    given = "3 1 4 1 5 9\n"
    run_program(SHORT[0], given)
    pids = running._get_children(INTERPRETER).pids
    before = read_processor_time(pids)
    for i in range(TIMED):
        run_program(SHORT[i % len(SHORT)], given)
    rate = TIMED / (read_processor_time(pids) - before)
    programs = draw_programs(PROGRAMS)
    idle, load_before = run_all(programs), os.getloadavg()[0]
    replies = list(draw_replies(ARCHIVES))
    running._get_children(INTERPRETER).renew()
    with keep_busy(BESIDE):
        deadline = time.monotonic() + _PATIENCE
        while os.getloadavg()[0] < LOAD and time.monotonic() < deadline:
            time.sleep(1)
        load = os.getloadavg()[0]
        busy = run_all(programs)
        others = sum(a != b for a, b in zip(replies, draw_replies(ARCHIVES), strict=True))
    differ = sum(a != b for a, b in zip(idle, busy, strict=True))
    ends: dict[str, int] = {}
    for reply in idle:
        ends[reply.end] = ends.get(reply.end, 0) + 1
    print("  SHA-256 of all runs:", digest_replies(idle))  # the same anywhere
    print("  ends:", ", ".join(f"{n} {end}" for end, n in sorted(ends.items())))
    figures = [
        Figure(
            "short programs a second of processor time, start-up included", rate, "/s", least=50
        ),
        Figure("programs compared", len(programs), ""),
        Figure("load of the first runs", load_before, ""),
        Figure("load of the second runs", load, "", least=LOAD),
        Figure("programs whose two runs differ", differ, "", bound=0),
        Figure("packages and tasksets compared", len(replies), ""),
        Figure("packages and tasksets whose two runs differ", others, "", bound=0),
    ]
    report("Programs against test cases", figures, threads=1, ends=ends)


def run_program(program: str, given: str) -> Reply:
    return run(Request(program.encode(), given.encode()), Budget(INSTRUCTIONS))


def run_all(programs: list[tuple[str, str]]) -> list[Reply]:
    return [run_program(*one) for one in programs]


if __name__ == "__main__":
    main()
