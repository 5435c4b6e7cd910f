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

from figures import FAST, Figure, read_processor_time, report

sys.path.insert(0, str(Path(__file__).parents[1]))
from assay.sandbox.guest import INTERPRETER, Budget, Request, run, running
from tests.sandbox.programs import THIRTY

ROUNDS, BILLIONS = (1, 1) if FAST else (3, 3)
#: Shuffles a list of n, without the help of Python's own loops.
_SHUFFLED = (
    "from itertools import repeat, starmap\nfrom random import random\n"
    "def shuffle(x):\n    n = len(x)\n"
    "    k = list(starmap(random, repeat((), n)))\n"
    "    return [x[i] for i in sorted(range(n), key=k.__getitem__)]\n"
)
#: What it repeats → a program that looks for the dearest unit. {n} nodes or items lie in as much
#: memory as the next table says.
DEAR = {
    "lists of lists, in a random order": "x=shuffle([[None] for _ in range({n})])\n"
    "for a, b in zip(x, x[1:] + x[:1]): a[0] = b\n"
    "def walk(p):\n    while True: p=p[0][0][0][0][0][0][0][0]\nwalk(x[0])",
    "contexts of exceptions": "x=shuffle([ValueError() for _ in range({n})])\n"
    "for a, b in zip(x, x[1:]): a.__context__ = b\ndef walk():\n    try: raise x[0]\n"
    "    except ValueError:\n        while True:\n            try: raise KeyError\n"
    "            except KeyError: pass\nwalk()",
    "a dictionary's order": "from collections import OrderedDict\n"
    "x=OrderedDict.fromkeys(range({n}))\n"
    "for i in shuffle(list(x)): x.move_to_end(i)\nwhile True: list(x)",
    "what the collector keeps": "import gc\nx=shuffle([{i: []} for i in range({n})])\n"
    "while x: x.pop()\nx=[{i: []} for i in range({n})]\ngc.freeze()\n"
    "while True: gc.get_freeze_count()",
    "weak references": "import weakref\nclass A: pass\na=A()\n"
    "x=shuffle([weakref.ref(a, print) for _ in range({n})])\nwhile x: x.pop()\n"
    "x=[weakref.ref(a, print) for _ in range({n})]\nwhile True: weakref.getweakrefcount(a)",
    "items of bytes": "import operator\nx=bytes({n} * 16)\n"
    "g=operator.itemgetter(*shuffle(list(range(0, {n} * 16, 16))))\nwhile True: g(x)",
    "a shuffled list, copied": "x=shuffle(list(map(float, range({n}))))\nwhile True: x[:]",
    "an intersection of shuffled sets": "a=set(range({n}))\nk=shuffle(list(range({n})))\n"
    "while True: a.intersection(k)",
    "fresh memory": "x=[]\nwhile True: x.append(bytes({n} * 99))",
    "a set's intersection": "a=set(range(0,10**6,3))\n"
    "k=[(i*7919*104729)%10**6 for i in range(300000)]\nwhile True: a.intersection(k)",
    "zeroed bytes": "while True: bytes(10**6)",
    "random floats, sorted": "import random\nx=[random.random() for _ in range(200000)]\n"
    "while True: sorted(x)",
    "a walk through memory": "import array\nn=4*10**6\nx=array.array('i',[0])*n\n"
    "for i in range(0,n,64): x[i]=(i*40503*64+64*7919)%n//64*64\ni=0\nwhile True: i=x[i]",
    "garbage in a random order": "import gc\nfrom itertools import repeat\n"
    "from operator import setitem\ngc.disable()\nn=60013\n"
    "x=list(map(dict.copy, repeat({0:0}, n)))\n"
    "k=map(n.__rmod__, range(0, n*370247, 370247))\n"
    "any(map(setitem, map(x.__getitem__, k), repeat(0), repeat([])))\nwhile True: gc.collect()",
    "reading at the end": "import os\nwhile True: os.read(0,1)",
    "failing allocations": "while True:\n    try: bytearray(2*10**9)\n    except MemoryError: pass",
    "one byte to standard error": "import os\nwhile True: os.write(2,b'x')",
    "a loop": "while True: pass",
}
#: Nodes of such a program: some 3.5, 10, 30 and 100 MiB.
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
    for name, program in DEAR.items():
        for nodes in NODES if "{n}" in program else (0,):
            seconds = _measure_longer(program.replace("{n}", str(nodes)), nodes)
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
        run(Request((_SHUFFLED + program).encode()), Budget(count))
        spent.append(_read() - before)
    return (spent[1] - spent[0]) / (BILLIONS * 10**9)


def _read() -> float:
    return read_processor_time(running._get_children(INTERPRETER).pids)


if __name__ == "__main__":
    main()
