"""One request in one fresh copy of an image."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from assay.sandbox.guest.image import EXITED, FULL, INPUT_MAX, OUTPUT_MAX, SERVE
from assay.sandbox.guest.metering import FUEL, RATE, SHORT

#: Ends of a run besides `exit N`: its instructions were used up; its output has no room; its
#: memory, its stack or an instruction that cannot be done.
INSTRUCTIONS, OUTPUT, TRAP = "instructions", "output", "trap"
#: The end of a request that returned, so that the same copy may get another.
RETURNED = "returned"
#: The kinds of a request (`boot`).
SOURCE, COMPILE, COMPILED = b"S", b"C", b"M"
_WORDS = 1 << 64


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
        self._engine, self._module = engine, module

    def open(self) -> "Copy":
        """A fresh copy. The caller closes it."""
        return Copy(self._engine, self._module)

    @cached_property
    def fresh(self) -> bytes:
        """The memory of a fresh copy. No other copy may be open when it is first asked for: two at
        once take more address space than a child has."""
        copy = self.open()
        memory = copy.read(0, copy.size)
        copy.close()
        return memory

    def run(self, request: Request, budget: Budget) -> Reply:
        """Run a request. Nobody may conclude anything from an exception.

        Raises:
            wasmtime.Trap, MemoryError: see `Copy.ask`.
        """
        copy = self.open()
        copy.seed, copy.clock = request.seed, request.clock
        reply = copy.ask(request.data, budget)
        copy.close()
        return replace(reply, end=TRAP) if reply.end == RETURNED else reply


class Copy:
    """A copy of an interpreter. After a request that did not return it cannot go on.

    Attributes:
        clock: the time at which the next request begins, in nanoseconds since 1970.
    """

    def __init__(self, engine: Any, module: Any) -> None:
        import wasmtime

        self._wasm, self._store = wasmtime, wasmtime.Store(engine)
        self._exports: Any = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._memory: Any = self._exports["memory"]
        self._written = self.size - OUTPUT_MAX
        self.clock = 0

    @property
    def size(self) -> int:
        """Bytes of its memory."""
        return int(self._memory.data_len(self._store))

    @property
    def seed(self) -> int:
        """The state of all that is random: 64 bits."""
        return self._get("assay_seed") % _WORDS

    @seed.setter
    def seed(self, value: int) -> None:
        self._set("assay_seed", _sign(value))

    @property
    def rate(self) -> int:
        """What an instruction counts, in units: the more, the more memory it has."""
        return self._get(RATE)

    @rate.setter
    def rate(self, value: int) -> None:
        self._set(RATE, value)

    def ask(self, data: bytes, budget: Budget) -> Reply:
        """Answer one request, whose bytes these are.

        Raises:
            wasmtime.Trap: the engine's own stack ended before the counted one.
            MemoryError: the machine refused memory that the program may have.
        """
        given = self._written - INPUT_MAX
        self.write(given, data)
        self._set("assay_given", given)
        self._set("assay_given_end", given + len(data))
        self._set("assay_written", self._written)
        self._set("assay_written_end", self._written + budget.output)
        rate = self.rate  # of the start: it grows with the memory
        fuel = budget.instructions // rate
        self._set("assay_clock", _sign(self.clock + fuel * rate))
        self._set(FUEL, fuel)
        ends = {EXITED: "exit {0}", FULL: OUTPUT}
        try:
            self._exports[SERVE](self._store)
            ends[0] = RETURNED
        except self._wasm.Trap as trap:
            if trap.trap_code == self._wasm.TrapCode.STACK_OVERFLOW:
                raise
        if self._get(SHORT):
            raise MemoryError("the machine has no memory for a program")
        fuel = self._get(FUEL)
        left = max(0, fuel) * self.rate
        self.clock = (self._get("assay_clock") - left) % _WORDS
        end = INSTRUCTIONS if fuel < 0 else ends.get(self._get("assay_end"), TRAP)
        output = self.read(self._written, self._get("assay_written"))
        return Reply(output, end.format(self._get("assay_status")), budget.instructions - left)

    def read(self, start: int, end: int) -> bytes:
        return bytes(self._memory.read(self._store, start, end))

    def write(self, start: int, data: bytes) -> None:
        self._memory.write(self._store, data, start)

    def grow(self, size: int) -> None:
        """Raises MemoryError if the machine refuses memory of `size` bytes."""
        try:
            self._memory.grow(self._store, (size - self.size) >> 16)
        except self._wasm.WasmtimeError:
            raise MemoryError("the machine has no memory for a program") from None

    def close(self) -> None:
        self._store.close()

    def _get(self, name: str) -> int:
        return int(self._exports[name].value(self._store))

    def _set(self, name: str, value: int) -> None:
        self._exports[name].set_value(self._store, value)


def _sign(value: int) -> int:
    """64 bits as a signed number, as the engine takes them."""
    return (value + _WORDS // 2) % _WORDS - _WORDS // 2
