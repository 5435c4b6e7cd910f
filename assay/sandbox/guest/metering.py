"""A WebAssembly module that counts its own instructions, made from one that does not.

Each engine counts fuel in its own way, and its frames decide where a stack ends. So code within the
module counts what a program uses, the same in every engine: instructions by basic block, bytes that
bulk operations move, and stack, by the locals of the functions entered. A program that has used up
any of these traps. The module imports nothing (`enclosing`), so there is no work that it causes
and does not count. The module also settles what the standard leaves to a machine: every NaN gets
one bit pattern, and the memory has a maximum, so that it grows alike. A machine that has no memory
left ends the run, and says so: a program must never learn it.

What costs time is not instructions alone: a load takes a hundred times as long from a machine's
memory as from its processor's caches. Nobody outside can know which loads do, so two rules count
them by what makes them possible. An instruction counts the more the more memory a program has got,
which is what does not fit into a cache; and a round of a loop that follows pointers (`walks`), with
nothing to do until its load is done, counts more than its instructions.

This file knows the instructions of one module: WebAssembly 2.0 without vectors and with exceptions.
It refuses the rest. Source: WebAssembly Core Specification 3.0, section 5 (binary format).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from assay.sandbox.guest.instructions import (
    BR_IF,
    CALL,
    CALL_INDIRECT,
    ELSE,
    END,
    IF,
    LOOP,
    MEMORY_COPY,
    MEMORY_FILL,
    MEMORY_GROW,
    MEMORY_SIZE,
    MORE,
    TRY_TABLE,
    UNREACHABLE,
    Instruction,
    read_instructions,
)
from assay.sandbox.guest.walks import Arities, find_walks
from assay.sandbox.guest.wasm import (
    CODE,
    CUSTOM,
    EXPORT,
    FUNCTION,
    GLOBAL,
    GLOBAL_KIND,
    IMPORT,
    MAGIC,
    MEMORY,
    TYPE,
    ModuleError,
    ModuleReader,
    extend,
    pack_export,
    pack_signed,
    pack_sized,
    pack_unsigned,
    pack_vector,
    read_codes,
    read_sections,
    read_types,
    write_section,
)

#: A bulk operation counts one instruction for each 2 ** this bytes.
_BULK_SHIFT = 3
#: Slots of stack that a function counts as, in addition to its locals.
_FRAME = 16
#: What a round of a loop that follows pointers counts beyond its instructions.
_WALK_COST = 64
#: An instruction counts one unit until the memory has grown by 2 ** this pages of 64 KiB, then one
#: more for each time that it has, and at most `_DEAREST`. A page that is added counts 2 ** the
#: third instructions: a machine finds and clears it.
_RATE_SHIFT, _DEAREST, _PAGE_SHIFT = 5, 5, 14
#: Names of the exported counters: instructions left (i64), and what each counts, in units (i64);
#: slots in use (i32); and of what is 1 once the machine has refused memory that the module may have
#: (i32). Units left are instructions left times what each counts.
FUEL, RATE, DEPTH, SHORT = "assay_fuel", "assay_rate", "assay_depth", "assay_short"

_I32, _I64, _F32, _F64 = 0x7F, 0x7E, 0x7D, 0x7C
#: Instructions that only mark a place and cost no time: the interpreter's loop opens with hundreds
#: of blocks.
_MARKS = frozenset([0x01, 0x02, LOOP, ELSE, END])
#: Instructions whose result may be a NaN of any bits.
_NAN_F32 = frozenset([*range(0x8D, 0x98), 0xB6])
_NAN_F64 = frozenset([*range(0x9B, 0xA6), 0xBB])


@dataclass(frozen=True, slots=True)
class Limits:
    """What a metered module may use at once.

    Attributes:
        pages: most pages of 64 KiB of its memory.
        slots: most slots of stack that the functions entered may have at once.
    """

    pages: int
    slots: int


def meter(module: bytes, limits: Limits) -> bytes:
    """The module with counters: a function of its arguments.

    Raises:
        ModuleError: this is no module, or it has a part that is unknown here.
    """
    if not module.startswith(MAGIC):
        raise ModuleError("it is not a WebAssembly module of version 1")
    sections = list(read_sections(module))
    shape = _read_shape(dict(sections))
    parts = [MAGIC]
    for number, body in sections:
        if number == CUSTOM:  # names and build notes
            continue
        parts.append(write_section(number, _change_section(number, body, shape, limits)))
    return b"".join(parts)


@dataclass(slots=True)
class _Shape:
    """The facts from other sections that the code section needs. Functions are given by the numbers
    of their types."""

    functions: list[int] = field(default_factory=list)
    types: list[tuple[int, int]] = field(default_factory=list)
    globals: int = 0
    pages: int = 0

    @property
    def fuel(self) -> int:
        return self.globals

    @property
    def rate(self) -> int:
        return self.globals + 1

    @property
    def depth(self) -> int:
        return self.globals + 2

    @property
    def short(self) -> int:
        return self.globals + 3

    @property
    def first_helper(self) -> int:
        """Index of the first of five appended functions: NaNs of f32 and f64, memory.copy,
        memory.fill, memory.grow."""
        return len(self.functions)


def _read_shape(sections: dict[int, bytes]) -> _Shape:
    shape = _Shape()
    missing = {TYPE, FUNCTION, MEMORY, GLOBAL, EXPORT, CODE} - sections.keys()
    if missing:
        raise ModuleError(f"it lacks the sections {sorted(missing)}")
    shape.types = [(len(given), len(results)) for given, results in read_types(sections[TYPE])]
    if ModuleReader(sections.get(IMPORT, b"\0")).unsigned():
        raise ModuleError("it imports something, which nothing would count")
    reader = ModuleReader(sections[FUNCTION])
    shape.functions = [reader.unsigned() for _ in range(reader.unsigned())]
    shape.globals = ModuleReader(sections[GLOBAL]).unsigned()
    shape.pages = _read_pages(ModuleReader(sections[MEMORY]))
    return shape


def _change_section(number: int, body: bytes, shape: _Shape, limits: Limits) -> bytes:
    if number == TYPE:
        return extend(body, _SIGNATURES)
    if number == FUNCTION:
        return extend(body, [pack_unsigned(len(shape.types) + n) for n in (0, 1, 2, 2, 3)])
    if number == MEMORY:
        return _limit_memory(shape.pages, limits.pages)
    if number == GLOBAL:
        begin = ((_I64, 0x42, 0), (_I64, 0x42, 1), (_I32, 0x41, 0), (_I32, 0x41, 0))
        return extend(body, [bytes([kind, 1, opcode, n, END]) for kind, opcode, n in begin])
    if number == EXPORT:
        names = {FUEL: shape.fuel, RATE: shape.rate, DEPTH: shape.depth, SHORT: shape.short}.items()
        return extend(body, [pack_export(name, GLOBAL_KIND, index) for name, index in names])
    if number == CODE:
        codes = [
            _Function(code, shape, shape.types[kind][0], limits).write()
            for code, kind in zip(read_codes(body), shape.functions, strict=True)
        ]
        return pack_vector([*map(pack_sized, codes), *_write_helpers(shape, limits.pages)])
    return body


def _read_pages(memory: ModuleReader) -> int:
    count, flags, least = memory.unsigned(), memory.byte(), memory.unsigned()
    if count != 1 or flags > 1:
        raise ModuleError("it has not one memory")
    return least


def _limit_memory(least: int, most: int) -> bytes:
    if least > most:
        raise ModuleError(f"its memory is not one of at most {most} pages")
    return b"\1\1" + pack_unsigned(least) + pack_unsigned(most)


# --- the functions that are appended

_SIGNATURES = (
    bytes([0x60, 1, _F32, 1, _F32]),
    bytes([0x60, 1, _F64, 1, _F64]),
    bytes([0x60, 3, _I32, _I32, _I32, 0]),
    bytes([0x60, 1, _I32, 1, _I32]),
)
#: A comparison, and the NaN that is left.
_NANS = (
    (0x5B, b"\x43" + struct.pack("<I", 0x7FC00000)),
    (0x61, b"\x44" + struct.pack("<Q", 0x7FF8 << 48)),
)


def _write_helpers(shape: _Shape, pages: int) -> list[bytes]:
    bodies = []
    for equal, nan in _NANS:  # x == x ? x : nan
        bodies.append(b"\0\x20\0" + nan + bytes([0x20, 0, 0x20, 0, equal, 0x1B, END]))
    for tail in (bytes([MEMORY_COPY, 0, 0]), bytes([MEMORY_FILL, 0])):
        size = bytes([0x20, 2, 0xAD, 0x42, _BULK_SHIFT, 0x88])  # i64 of it, shifted
        moved = bytes([0x20, 0, 0x20, 1, 0x20, 2, 0xFC]) + tail
        bodies.append(b"\0" + _charge(shape, size) + moved + bytes([END]))
    bodies.append(_write_grow(shape, pages))
    return [pack_sized(body) for body in bodies]


def _write_grow(shape: _Shape, pages: int) -> bytes:
    """Code of memory.grow: -1 beyond `pages`, wherever it runs; a trap where the machine refuses
    less."""
    left = b"\x41" + pack_signed(pages) + bytes([MEMORY_SIZE, 0, 0x6B])  # pages - memory.size
    beyond = b"\x20\0" + left + bytes([0x4B, IF, 0x40, 0x41, 0x7F, 0x0F, END])
    paid = _charge(shape, bytes([0x20, 0, 0xAD, 0x42, _PAGE_SHIFT, 0x86]))
    refused = bytes([0x20, 0, MEMORY_GROW, 0, 0x22, 0, 0x41, 0x7F, 0x46, IF, 0x40])
    told = b"\x41\1\x24" + pack_unsigned(shape.short) + bytes([UNREACHABLE, END])
    body = beyond + paid + refused + told + _set_rate(shape, 1)
    return bytes([1, 1, _I32]) + body + bytes([0x20, 0, END])


def _set_rate(shape: _Shape, local: int) -> bytes:
    """Code that sets what an instruction counts, by the memory's size. Units left stay those that
    they were, but for less than one instruction. It uses a local, an i32."""
    fuel, rate = pack_unsigned(shape.fuel), pack_unsigned(shape.rate)
    units = b"\x23" + fuel + b"\x23" + rate + b"\x7e"
    added = bytes([MEMORY_SIZE, 0, 0x41]) + pack_signed(shape.pages) + b"\x6b"
    steps = added + bytes([0x41, _RATE_SHIFT, 0x76, 0x22, local])
    most = bytes([0x41, _DEAREST - 1])
    least = most + bytes([0x20, local]) + most + bytes([0x49, 0x1B])  # of both
    set_rate = steps + least + bytes([0x41, 1, 0x6A, 0xAD]) + b"\x24" + rate
    return units + set_rate + b"\x23" + rate + b"\x80\x24" + fuel


def _charge(shape: _Shape, cost: bytes) -> bytes:
    """Code that takes `cost`, code that leaves an i64, from the fuel, and traps when none is
    left."""
    fuel = pack_unsigned(shape.fuel)
    taken = b"\x23" + fuel + cost + b"\x7d\x24" + fuel
    return taken + b"\x23" + fuel + bytes([0x42, 0, 0x53, IF, 0x40, UNREACHABLE, END])


# --- the functions that are changed


class _Function:
    """One function's code, rewritten instruction by instruction.

    A function that calls keeps its depth in a local of its own. It resets the counter to that depth
    after each call, and wherever an exception may have landed.
    """

    def __init__(self, code: bytes, shape: _Shape, arity: int, limits: Limits) -> None:
        reader = ModuleReader(code)
        self._shape, self._limits = shape, limits
        locals_ = [(reader.unsigned(), reader.byte()) for _ in range(reader.unsigned())]
        self._locals = b"".join(pack_unsigned(n) + bytes([kind]) for n, kind in locals_)
        self._groups = len(locals_)
        self._local = arity + sum(n for n, _ in locals_)
        self._code, self._instructions = code, read_instructions(reader)
        opcodes = {one.opcode for one in self._instructions}
        self._catches = TRY_TABLE in opcodes
        self._calls = self._catches or CALL in opcodes or CALL_INDIRECT in opcodes

    def write(self) -> bytes:
        blocks = list(self._read_blocks())
        out = [pack_unsigned(self._groups + 1), self._locals, b"\1", bytes([_I32])]
        if self._calls:
            out.append(self._enter())
        for code, cost, lands in blocks:
            if lands and self._catches:
                out.append(self._restore())
            if cost:
                out.append(_charge(self._shape, b"\x42" + pack_signed(cost)))
            out.append(code)
        return b"".join(out)

    def _enter(self) -> bytes:
        depth, mine = pack_unsigned(self._shape.depth), pack_unsigned(self._local)
        more = b"\x41" + pack_signed(_FRAME + self._local) + b"\x6a"
        check = b"\x41" + pack_signed(self._limits.slots) + b"\x4b"
        check += bytes([IF, 0x40, UNREACHABLE, END])
        return b"\x23" + depth + more + b"\x22" + mine + b"\x24" + depth + b"\x20" + mine + check

    def _restore(self) -> bytes:
        return b"\x20" + pack_unsigned(self._local) + b"\x24" + pack_unsigned(self._shape.depth)

    def _read_blocks(self) -> Iterator[tuple[bytes, int, bool]]:
        """Basic blocks: code, its cost, and whether control may come from elsewhere."""
        arities = Arities(self._shape.types, self._shape.functions)
        walks = find_walks(self._instructions, self._local, arities)
        ends = [*(one.place for one in self._instructions[1:]), len(self._code)]
        out, cost, lands = bytearray(), 0, False
        for number, (one, end) in enumerate(zip(self._instructions, ends, strict=True)):
            out += self._rewrite(one, self._code[one.place : end])
            cost += one.opcode not in _MARKS
            if one.opcode in (LOOP, IF, ELSE, END, BR_IF):
                yield bytes(out), cost, lands
                out, cost = bytearray(), _WALK_COST * (number in walks)
                lands = one.opcode in (END, LOOP)
        if out:
            raise ModuleError("a function does not end")

    def _rewrite(self, one: Instruction, code: bytes) -> bytes:
        """An instruction's new code."""
        helper = self._shape.first_helper
        if one.opcode in (CALL, CALL_INDIRECT):
            return code + self._restore()
        if one.opcode in _NAN_F32:
            return code + bytes([CALL]) + pack_unsigned(helper)
        if one.opcode in _NAN_F64:
            return code + bytes([CALL]) + pack_unsigned(helper + 1)
        if one.opcode == MORE and one.operands[0] in (MEMORY_COPY, MEMORY_FILL):
            return bytes([CALL]) + pack_unsigned(helper + 2 + (one.operands[0] == MEMORY_FILL))
        if one.opcode == MEMORY_GROW:
            return bytes([CALL]) + pack_unsigned(helper + 4)
        return code
