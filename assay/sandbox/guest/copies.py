"""One request in one fresh copy of an image. A used copy can be made fresh again."""

import ctypes
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from assay.sandbox.guest.engine import Instance
from assay.sandbox.guest.image import EXITED, FULL, GLOBALS, INPUT_MAX, OUTPUT_MAX, SERVE, STACK
from assay.sandbox.guest.metering import DEPTH, FUEL, RATE, SHORT
from assay.sandbox.guest.pages import WrittenPages

#: Ends of a run besides `exit N`: its instructions were used up; its output has no room; its
#: memory, its stack or an instruction that cannot be done.
INSTRUCTIONS, OUTPUT, TRAP = "instructions", "output", "trap"
#: The end of a request that returned, so that the same copy may get another.
RETURNED = "returned"
#: The kinds of a request (`boot`).
SOURCE, COMPILE, COMPILED = b"S", b"C", b"M"
_WORDS = 1 << 64
#: The globals of a copy, all that it has beside its memory.
STATE = (*(f"assay_{name}" for name in GLOBALS), STACK, FUEL, RATE, DEPTH, SHORT)
#: Most bytes that a copy has written and is made fresh: they stay in memory. Tuning.
_RENEWED_MAX = 16 << 20


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
        # Answers no request. At the first copy the engine writes an image of the memory, which a
        # fenced child may not.
        self._fresh = Copy(engine, module)
        self._spare: Copy | None = None
        self._written: WrittenPages | None = None

    def renew_copies(self) -> None:
        """Make used copies fresh, in this process, where the kernel says which pages they wrote.
        That takes a fraction of the time of another copy, each of whose pages is a fault."""
        with suppress(OSError):
            self._written = WrittenPages()

    def open(self) -> "Copy":
        """A fresh copy. The caller gives it to `close`."""
        copy, self._spare = self._spare, None
        return copy or Copy(self._engine, self._module)

    def close(self, copy: "Copy") -> None:
        if self._written and not self._spare and copy.renew(self._fresh, self._written):
            self._spare = copy
        else:
            copy.close()

    def read_fresh(self, start: int, end: int) -> bytes:
        """Memory of a fresh copy, as if it had grown."""
        held = self._fresh.read(min(start, self._fresh.size), min(end, self._fresh.size))
        return held.ljust(end - start, b"\0")

    def run(self, request: Request, budget: Budget) -> Reply:
        """Run a request. Nobody may conclude anything from an exception.

        Raises:
            wasmtime.Trap, MemoryError: see `Copy.ask`.
        """
        copy = self.open()
        copy.seed, copy.clock = request.seed, request.clock
        reply = copy.ask(request.data, budget)
        self.close(copy)
        return replace(reply, end=TRAP) if reply.end == RETURNED else reply


class Copy:
    """A copy of an interpreter. After a request that did not return it cannot go on.

    Attributes:
        clock: the time at which the next request begins, in nanoseconds since 1970.
    """

    def __init__(self, engine: Any, module: Any) -> None:
        self._instance = Instance(engine, module)
        self._written = self.size - OUTPUT_MAX
        self.clock = 0

    def renew(self, fresh: "Copy", written: WrittenPages) -> bool:
        """Make it as a fresh copy, whatever it answered: its memory and its globals are all that it
        has. False: it cannot be, or another copy costs less."""
        mine, other = self._instance, fresh._instance  # noqa: SLF001 - also a copy
        if self.size != fresh.size:
            return False
        start = mine.locate(0, self.size)
        ranges = written.find(start, start + self.size)
        request = start + self._written - INPUT_MAX  # each is written there
        if (
            ranges is None
            or not any(first <= request < last for first, last in ranges)
            or sum(last - first for first, last in ranges) > _RENEWED_MAX
        ):
            return False
        moved = other.locate(0, self.size) - start
        for first, last in ranges:
            ctypes.memmove(first, first + moved, last - first)
        for name in STATE:
            mine.set(name, other.get(name))
        self.clock = 0
        return True

    @property
    def size(self) -> int:
        """Bytes of its memory."""
        return self._instance.size

    @property
    def seed(self) -> int:
        """The state of all that is random: 64 bits."""
        return self._instance.get("assay_seed") % _WORDS

    @seed.setter
    def seed(self, value: int) -> None:
        self._instance.set("assay_seed", value)

    @property
    def rate(self) -> int:
        """What an instruction counts, in units: the more, the more memory it has."""
        return self._instance.get(RATE)

    @rate.setter
    def rate(self, value: int) -> None:
        self._instance.set(RATE, value)

    def ask(self, data: bytes, budget: Budget) -> Reply:
        """Answer one request, whose bytes these are.

        Raises:
            wasmtime.Trap: the engine's own stack ended before the counted one.
            MemoryError: the machine refused memory that the program may have.
        """
        get, put = self._instance.get, self._instance.set
        given = self._written - INPUT_MAX
        self.write(given, data)
        put("assay_given", given)
        put("assay_given_end", given + len(data))
        put("assay_written", self._written)
        put("assay_written_end", self._written + budget.output)
        rate = self.rate  # of the start: it grows with the memory
        fuel = budget.instructions // rate
        put("assay_clock", self.clock + fuel * rate)
        put(FUEL, fuel)
        end = self._serve()
        if get(SHORT):
            raise MemoryError("the machine has no memory for a program")
        fuel = get(FUEL)
        left = max(0, fuel) * self.rate
        self.clock = (get("assay_clock") - left) % _WORDS
        output = self.read(self._written, get("assay_written"))
        return Reply(output, INSTRUCTIONS if fuel < 0 else end, budget.instructions - left)

    def _serve(self) -> str:
        """Returns how the request ended, but that its instructions were used up."""
        from wasmtime import Trap, TrapCode

        try:
            self._instance.call(SERVE)
        except Trap as trap:
            if trap.trap_code == TrapCode.STACK_OVERFLOW:
                raise
            ends = {EXITED: f"exit {self._instance.get('assay_status')}", FULL: OUTPUT}
            return ends.get(self._instance.get("assay_end"), TRAP)
        return RETURNED

    def read(self, start: int, end: int) -> bytes:
        return self._instance.read(start, end)

    def write(self, start: int, data: bytes) -> None:
        self._instance.write(start, data)

    def grow(self, size: int) -> None:
        """Raises MemoryError if the machine refuses memory of `size` bytes."""
        self._instance.grow((size - self.size) >> 16)

    def close(self) -> None:
        self._instance.close()
