"""A Python tool: programs of one episode, each among the names of those before, in the sandbox.

The interpreter is an image in WebAssembly with counted instructions (`assay.sandbox.guest`), so
what a program prints is the same on every machine, the words of its errors included. Each call runs
all programs since the last that was lost again, in a fresh copy: nothing crosses from turn to turn
that would have to be trusted. The episode pays for that, so its budget bounds all work.
"""

from dataclasses import dataclass, replace

from assay.environments.programs.case_runs import require_sandbox
from assay.protocol.parameters import MILLION
from assay.sandbox.guest import EVEN, INTERPRETER, Budget, State, TurnsBudget, run_turns
from assay.sandbox.guest.copies import RETURNED
from assay.sandbox.guest.turns import TURNS_MAX
from assay.sandbox.pool import count_cores

#: Most bytes that a program prints; one that prints more is lost, as one is that never ends.
OUTPUT_MAX = 1 << 12
#: Of the episode's instructions, the part that one program may take is 1 over this.
CALLS = 4
#: Instructions that a run counts as for what is done outside.
RUN_COST = 5_000_000
SPENT = "error: no instructions are left"
_START = State()


@dataclass(frozen=True, slots=True)
class Ran:
    """An episode's programs so far.

    Attributes:
        start: behind the last program that was lost, or the very start.
        programs: since then.
        end: behind them.
        spent: by all runs of the episode.
    """

    start: State = _START
    programs: tuple[bytes, ...] = ()
    end: State = _START
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Python:
    """See `Tool`. `units`: millions of instructions of an episode."""

    units: int

    name, version, argument = "python", 2, "code"
    about = (
        "Runs a Python program and replies what it prints, and the value of a last line that is an "
        "expression. Names stay for the next call. There is the standard library, but no numpy, no "
        "files and no network."
    )
    argument_about = "a Python program that prints its results"
    is_one_line = False
    proof_arguments = (
        *("print(6*7)", "x = 2**100", "print(x, 0.1 + 0.2, 2**0.5)", "1/0", "", "\x00", "print("),
        *("import random, time\nprint(random.random(), time.time())", "input()"),
        *("while True: pass", "print(x)", "print('x' * 5_000)", "raise SystemExit('so')"),
        *(
            "print({'a', 'b', 'c'})",
            "print('\u00e9')\nprint('\u00e9\\n')",
            "x = [0]\nwhile x: x += x",
        ),
        *("x = 6\nx * 7", "print(x)\n[x, 'y'];", "'x' * 2_000", "None", "x.y", "import numpy"),
        "class X:\n    def __repr__(self): return 1\nX()",
    )

    @property
    def identity(self) -> tuple[bytes, ...]:
        """See `Tool.identity`: the interpreter's image, and the budget."""
        return bytes.fromhex(INTERPRETER.image_digest), self.units.to_bytes(4, "big")

    @property
    def scorers(self) -> int:
        """See `Tool.scorers`."""
        return count_cores()

    def require(self) -> None:
        """See `Tool.require`."""
        require_sandbox()

    def call(self, argument: str, memory: object) -> tuple[str, object]:
        """See `Tool.call`.

        Raises:
            WorkerError: no sandbox can run. This is not the program's fault.
        """
        ran = memory if isinstance(memory, Ran) else Ran()
        budget, again = self.units * MILLION, ran.end.instructions - ran.start.instructions
        left = budget - ran.spent - again - RUN_COST
        if left < EVEN or len(ran.programs) == TURNS_MAX:
            return SPENT, ran
        programs = (*ran.programs, argument.encode("utf-8", "surrogatepass"))
        most = TurnsBudget(Budget(budget // CALLS, OUTPUT_MAX), ran.end.instructions + left)
        replies, end = run_turns(programs, most, ran.start)
        spent = ran.spent + RUN_COST + end.instructions - ran.start.instructions
        if replies[-1].end == RETURNED:
            after = replace(ran, programs=programs, end=end, spent=spent)
        else:
            start = replace(end, pages=b"")
            after = Ran(start, (), start, spent)
        return replies[-1].output.decode("utf-8", "replace").rstrip("\n"), after
