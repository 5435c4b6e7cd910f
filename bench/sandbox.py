"""The sandbox: first use and later starts, the thirty programs of the tests, and the dearest unit.

A preparation is timed in an empty home. The dearest unit is that of programs that look for it, once
they have what they need, over the median of the thirty.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from dear import DEAR, has_nodes, write_dear
from figures import FAST, Figure, read_processor_time, report

sys.path.insert(0, str(Path(__file__).parents[1]))
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running
from tests.sandbox.programs import THIRTY

ROUNDS, BILLIONS = (1, 1) if FAST else (3, 3)
#: Nodes of a program that has such: some 3.5, 10, 30 and 100 MiB.
NODES = (20_000,) if FAST else (20_000, 60_000, 180_000, 600_000)
_LOAD = "import assay.sandbox.guest.loaded"


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        first = _time_child(["-m", "assay", "sandbox", "prepare", "--quiet"], home)
    imported = _time_child(["-c", "import assay.sandbox.guest.making, wasmtime"])
    loaded = _time_child(["-c", _LOAD]) - imported
    run(Request(b""), Budget(10**9))
    copy, least = _measure("", b"")
    units = [_measure(program, given.encode()) for program, given in THIRTY]
    each = sum(seconds for seconds, _ in units)
    longer = [(seconds - copy, count - least) for seconds, count in units if count > 10 * least]
    median = statistics.median(seconds / count for seconds, count in longer)
    dear = {}
    for name in DEAR:
        for nodes in NODES if has_nodes(name) else (0,):
            seconds = _measure_longer(write_dear(name, nodes), nodes)
            dear[name] = max(seconds, dear.get(name, 0.0))
        print(f"  {dear[name] * 1e9:.3f} s for 10^9 instructions: {name}")
    figures = [
        Figure("first use: unpacked, started, compiled", first, "s", bound=60),
        Figure("a later start, beyond the imports", loaded, "s", bound=0.1),
        Figure("a run of nothing", copy * 1e3, "ms"),
        Figure("the thirty programs a second of processor time", len(THIRTY) / each, "/s"),
        Figure("10^9 instructions, the median of the longer of the thirty", median * 1e9, "s"),
        Figure(
            "10^9 instructions, the dearest found",
            max(dear.values()) * 1e9,
            "s",
            "the median",
            median * 1e9,
            ratio_bound=2.5,
        ),
    ]
    report("The sandbox", figures, threads=1)


def _time_child(arguments: list[str], home: str | None = None) -> float:
    """Processor seconds of a Python and its children."""
    named = [] if home is None else ["env", f"HOME={home}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*named, sys.executable, *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _measure(program: str, given: bytes) -> tuple[float, int]:
    """Processor seconds of a run, and its instructions."""
    request, budget = Request(program.encode(), given), Budget(5 * 10**9)
    count = run(request, budget).instructions
    rounds = max(1, ROUNDS * 10**8 // count)  # a child's clock counts hundredths
    before = _read()
    for _ in range(rounds):
        run(request, budget)
    return (_read() - before) / rounds, count


def _measure_longer(program: str, nodes: int) -> float:
    """Processor seconds of an instruction, after those that make a program's nodes."""
    made = (1 + nodes // 30_000) * 10**9
    spent = []
    for count in made, made + BILLIONS * 10**9:
        before = _read()
        run(Request(program.encode()), Budget(count))
        spent.append(_read() - before)
    return (spent[1] - spent[0]) / (BILLIONS * 10**9)


def _read() -> float:
    return read_processor_time(running._get_children(INTERPRETER).pids)


if __name__ == "__main__":
    main()
