"""One request in one fresh copy of an image."""

from dataclasses import dataclass
from typing import Any

from assay.sandbox.guest.image import EXITED, FULL, INPUT_MAX, OUTPUT_MAX, SERVE
from assay.sandbox.guest.metering import FUEL, RATE, SHORT

#: Ends of a run besides `exit N`: its instructions were used up; its output has no room; its
#: memory, its stack or an instruction that cannot be done.
INSTRUCTIONS, OUTPUT, TRAP = "instructions", "output", "trap"
#: The kinds of a request (`boot`).
SOURCE, COMPILE, COMPILED = b"S", b"C", b"M"


@dataclass(frozen=True, slots=True)
class Request:
    """A program, its input, and all else that its run depends on.

    Attributes:
        program: source, or with `COMPILED` what a request `COMPILE` of the same interpreter wrote.
        given: its standard input.
        seed: of all that is random: 64 bits.
        clock: the time at its start, in nanoseconds since 1970. A unit takes one.
    """

    program: bytes
    given: bytes = b""
    kind: bytes = SOURCE
    seed: int = 0
    clock: int = 0

    @property
    def data(self) -> bytes:
        """The bytes of standard input, where the interpreter first finds the program."""
        return self.kind + len(self.program).to_bytes(4, "little") + self.program + self.given


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may take: instructions, counted in units (`metering`), and bytes of output."""

    instructions: int
    output: int = OUTPUT_MAX


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of a run.

    Attributes:
        output: bytes that it wrote on standard output.
        end: `exit N`, `INSTRUCTIONS`, `OUTPUT` or `TRAP`.
        instructions: that it took, in units, at most its budget.
    """

    output: bytes
    end: str
    instructions: int


class Image:
    """A compiled image. Needs a thread with `engine.THREAD_STACK` bytes of stack."""

    def __init__(self, engine: Any, module: Any) -> None:
        import wasmtime

        self._wasm, self._engine, self._module = wasmtime, engine, module

    def run(self, request: Request, budget: Budget) -> Reply:
        """Run a request. Nobody may conclude anything from an exception.

        Raises:
            wasmtime.Trap: the engine's own stack ended before the counted one.
            MemoryError: the machine refused memory that the program may have.
        """
        store = self._wasm.Store(self._engine)
        exports: Any = self._wasm.Instance(store, self._module, []).exports(store)
        memory = exports["memory"]
        written = memory.data_len(store) - OUTPUT_MAX
        given = written - INPUT_MAX
        data = request.data
        memory.write(store, data, given)
        for name, value in (
            ("assay_given", given),
            ("assay_given_end", given + len(data)),
            ("assay_written", written),
            ("assay_written_end", written + budget.output),
            ("assay_seed", _sign(request.seed)),
            ("assay_clock", _sign(request.clock + budget.instructions)),
            (FUEL, budget.instructions),
        ):
            exports[name].set_value(store, value)
        try:
            exports[SERVE](store)
        except self._wasm.Trap as trap:
            if trap.trap_code == self._wasm.TrapCode.STACK_OVERFLOW:
                raise
        if exports[SHORT].value(store):
            raise MemoryError("the machine has no memory for a program")
        left = exports[FUEL].value(store) * exports[RATE].value(store)
        ends = {EXITED: f"exit {exports['assay_status'].value(store)}", FULL: OUTPUT}
        end = INSTRUCTIONS if left < 0 else ends.get(exports["assay_end"].value(store), TRAP)
        output = bytes(memory.read(store, written, exports["assay_written"].value(store)))
        store.close()
        return Reply(output, end, budget.instructions - max(0, left))


def _sign(value: int) -> int:
    """64 bits as a signed number, as the engine takes them."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)
