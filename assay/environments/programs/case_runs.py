"""A program on its test cases: compiled once, and run once for each case in the sandbox.

What a run counts includes what is done for it outside: a copy of the interpreter, and the
comparison of each byte of its output.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from assay.environments.problem_file import ProblemFileError
from assay.sandbox.guest import COMPILE, COMPILED, Budget, Request, require_prepared, run
from assay.sandbox.guest.engine import EngineError
from assay.sandbox.guest.image import INPUT_MAX
from assay.sandbox.guest.image import OUTPUT_MAX as CODE_MAX
from assay.sandbox.guest.store import SandboxError

#: Most bytes of a program's output, and of a case's input: what a program's code leaves.
OUTPUT_MAX = 1 << 18
GIVEN_MAX = INPUT_MAX - CODE_MAX - 16
#: Instructions that a run counts as for what is done outside: for a copy of the interpreter some
#: 1 ms of a processor, and for comparing a byte of output some 0.1 µs.
RUN_COST, BYTE_COST = 5_000_000, 500

#: Instructions in which a package's own program compiles.
_MAKING = 200_000_000


@dataclass(frozen=True, slots=True)
class CaseRun:
    """The outcome of one run.

    Attributes:
        output: bytes that it wrote on standard output; none if its instructions were used up,
            unless they were to be kept.
        end: see `guest.Reply`.
        instructions: that it took, at most its limit. `RUN_COST` and `BYTE_COST` count like them.
    """

    output: bytes
    end: str
    instructions: int


def compile_program(program: str, instructions: int) -> CaseRun:
    """The program's code, for `run_case`, as the output of a run that ends with `exit 0`; any other
    end: it is no program, or too dear to compile.

    Raises:
        WorkerError: no sandbox can run. This is not the program's fault.
        ProblemFileError: there is no sandbox here.
    """
    request = Request(program.encode("utf-8", "surrogatepass"), kind=COMPILE)
    return run_counted(request, instructions, CODE_MAX, 0)


@cache
def compile_inside(package: str) -> bytes:
    """The code of a package's own `inside.py`, whose `serve` answers, for `run_case`.

    Raises: see `compile_program`.
    """
    text = files(package).joinpath("inside.py").read_text("utf-8")
    run = compile_program(f"{text}\nserve()\n", _MAKING)
    assert run.end == "exit 0", run.end
    return run.output


def run_case(code: bytes, given: bytes, instructions: int) -> CaseRun:
    """Runs a compiled program with `given`, at most `GIVEN_MAX` bytes, as its standard input.

    Raises:
        WorkerError, ProblemFileError: see `compile_program`.
    """
    return run_counted(Request(code, given, COMPILED), instructions)


def run_counted(
    request: Request,
    instructions: int,
    room: int = OUTPUT_MAX,
    byte_cost: int = BYTE_COST,
    keep: bool = False,
) -> CaseRun:
    """Runs a request within `instructions`, what is done for it outside included.

    Args:
        room: most bytes of its output; each counts as `byte_cost` instructions.
        keep: whether what it wrote before its instructions were used up is kept.

    Raises:
        WorkerError, ProblemFileError: see `compile_program`.
    """
    require_sandbox()
    left = instructions - RUN_COST
    if left < 0:
        return CaseRun(b"", "instructions", instructions)
    reply = run(request, Budget(left, room))
    left -= reply.instructions + byte_cost * len(reply.output)
    if reply.end == "instructions":
        return CaseRun(reply.output if keep else b"", reply.end, instructions)
    if left < 0:
        return CaseRun(b"", "instructions", instructions)
    return CaseRun(reply.output, reply.end, instructions - left)


def require_sandbox() -> None:
    """Raises ProblemFileError if no program can run here."""
    try:
        require_prepared()
    except (EngineError, SandboxError) as error:
        raise ProblemFileError(
            f"environments code:…, package:… and verifiers:… cannot run: {error}"
        ) from None
