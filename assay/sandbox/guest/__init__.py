"""Python for strangers' programs: CPython in WebAssembly, in a module that imports nothing.

Whatever a program does inside, it has no way to name a file, a clock, a socket or a process of this
machine. Its output, its end and the instructions that it takes are a function of the request. Start
with `running.run`. `preparing` makes the sandbox ready on a machine: of the interpreter that
`descriptor` names, `snapshot` takes the memory of a started Python, and `image` makes a module of
it, with the answers to its calls inside (`enclosing`) and counters (`metering`; `walks` finds what
waits for memory). `copies` runs one request, and makes its copy fresh for the next (`pages`);
`turns` runs those of a tool; `loaded` is the child that does.
"""

from assay.sandbox.guest.copies import COMPILE, COMPILED, SOURCE, Budget, Reply, Request
from assay.sandbox.guest.descriptor import INTERPRETER, Interpreter
from assay.sandbox.guest.engine import EngineError
from assay.sandbox.guest.preparing import Prepared, is_prepared, prepare
from assay.sandbox.guest.running import can_go_on, require_prepared, run, run_turns
from assay.sandbox.guest.store import SandboxError
from assay.sandbox.guest.turns import EVEN, LOST, State, TurnsBudget

__all__ = [
    "COMPILE",
    "COMPILED",
    "EVEN",
    "INTERPRETER",
    "LOST",
    "SOURCE",
    "Budget",
    "EngineError",
    "Interpreter",
    "Prepared",
    "Reply",
    "Request",
    "SandboxError",
    "State",
    "TurnsBudget",
    "can_go_on",
    "is_prepared",
    "prepare",
    "require_prepared",
    "run",
    "run_turns",
]
