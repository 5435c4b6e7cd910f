"""A WebAssembly module that counts its own instructions, made from one that does not.

Each engine counts fuel in its own way, and its frames decide where a stack ends. So code within the
module counts what a program uses, the same in every engine: instructions by basic block, bytes that
bulk operations move, and stack, by the locals of the functions entered. A program that has used up
any of these traps. The module imports nothing (`enclosing`), so there is no work that it causes
and does not count. The module also settles what the standard leaves to a machine: every NaN gets
one bit pattern, and the memory has a maximum, so that it grows alike. A machine that has no memory
left ends the run, and says so: a program must never learn it.

This file knows the instructions of one module: WebAssembly 2.0 without vectors and with exceptions.
It refuses the rest. Source: WebAssembly Core Specification 3.0, section 5 (binary format).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

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
#: Names of the two exported counters: instructions left (i64), slots in use (i32); and of what is 1
#: once the machine has refused memory that the module may have (i32).
FUEL, DEPTH, SHORT = "assay_fuel", "assay_depth", "assay_short"

_I32, _I64, _F32, _F64 = 0x7F, 0x7E, 0x7D, 0x7C
_UNREACHABLE, _BLOCK, _LOOP, _IF, _ELSE, _TRY_TABLE, _END = 0x00, 0x02, 0x03, 0x04, 0x05, 0x1F, 0x0B
_BR_IF, _CALL, _CALL_INDIRECT = 0x0D, 0x10, 0x11
_MEMORY_COPY, _MEMORY_FILL = 10, 11
_MEMORY_GROW = 0x40
#: Instructions that only mark a place and cost no time: the interpreter's loop opens with hundreds
#: of blocks.
_MARKS = frozenset([0x01, _BLOCK, _LOOP, _ELSE, _END])
#: Instructions without immediates, in addition to 0x45 to 0xC4.
_PLAIN = frozenset([0x00, 0x01, 0x05, 0x0A, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1])
#: Instructions with one index: br, br_if, call, throw, locals, globals, tables, ref.null, ref.func.
_INDEXED = frozenset([0x08, 0x0C, 0x0D, 0x10, *range(0x20, 0x27), 0x3F, 0x40, 0xD0, 0xD2])
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
    """The facts from other sections that the code section needs. Types are given by their
    numbers."""

    functions: list[int] = field(default_factory=list)
    arities: list[int] = field(default_factory=list)
    globals: int = 0

    @property
    def fuel(self) -> int:
        return self.globals

    @property
    def depth(self) -> int:
        return self.globals + 1

    @property
    def short(self) -> int:
        return self.globals + 2

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
    shape.arities = [len(parameters) for parameters, _ in read_types(sections[TYPE])]
    if ModuleReader(sections.get(IMPORT, b"\0")).unsigned():
        raise ModuleError("it imports something, which nothing would count")
    reader = ModuleReader(sections[FUNCTION])
    shape.functions = [reader.unsigned() for _ in range(reader.unsigned())]
    shape.globals = ModuleReader(sections[GLOBAL]).unsigned()
    return shape


def _change_section(number: int, body: bytes, shape: _Shape, limits: Limits) -> bytes:
    if number == TYPE:
        return extend(body, _SIGNATURES)
    if number == FUNCTION:
        return extend(body, [pack_unsigned(len(shape.arities) + n) for n in (0, 1, 2, 2, 3)])
    if number == MEMORY:
        return _limit_memory(ModuleReader(body), limits.pages)
    if number == GLOBAL:
        zero = bytes([_I32, 1, 0x41, 0, _END])
        return extend(body, [bytes([_I64, 1, 0x42, 0, _END]), zero, zero])
    if number == EXPORT:
        names = ((FUEL, shape.fuel), (DEPTH, shape.depth), (SHORT, shape.short))
        return extend(body, [pack_export(name, GLOBAL_KIND, index) for name, index in names])
    if number == CODE:
        codes = [
            _Function(code, shape, shape.arities[kind], limits).write()
            for code, kind in zip(read_codes(body), shape.functions, strict=True)
        ]
        return pack_vector([*map(pack_sized, codes), *_write_helpers(shape, limits.pages)])
    return body


def _limit_memory(reader: ModuleReader, pages: int) -> bytes:
    count, flags, least = reader.unsigned(), reader.byte(), reader.unsigned()
    if count != 1 or flags > 1 or least > pages:
        raise ModuleError(f"its memory is not one of at most {pages} pages")
    return b"\1\1" + pack_unsigned(least) + pack_unsigned(pages)


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
        bodies.append(b"\0\x20\0" + nan + bytes([0x20, 0, 0x20, 0, equal, 0x1B, _END]))
    for tail in (bytes([_MEMORY_COPY, 0, 0]), bytes([_MEMORY_FILL, 0])):
        size = bytes([0x20, 2, 0xAD, 0x42, _BULK_SHIFT, 0x88])  # i64 of it, shifted
        moved = bytes([0x20, 0, 0x20, 1, 0x20, 2, 0xFC]) + tail
        bodies.append(b"\0" + _charge(shape, size) + moved + bytes([_END]))
    bodies.append(_write_grow(shape, pages))
    return [pack_sized(body) for body in bodies]


def _write_grow(shape: _Shape, pages: int) -> bytes:
    """Code of memory.grow: -1 beyond `pages`, wherever it runs; a trap where the machine refuses
    less."""
    left = b"\x41" + pack_signed(pages) + bytes([0x3F, 0, 0x6B])  # pages - memory.size
    beyond = b"\x20\0" + left + bytes([0x4B, _IF, 0x40, 0x41, 0x7F, 0x0F, _END])
    refused = bytes([0x20, 0, _MEMORY_GROW, 0, 0x22, 0, 0x41, 0x7F, 0x46, _IF, 0x40])
    told = b"\x41\1\x24" + pack_unsigned(shape.short) + bytes([_UNREACHABLE, _END])
    return b"\0" + beyond + refused + told + bytes([0x20, 0, _END])


def _charge(shape: _Shape, cost: bytes) -> bytes:
    """Code that takes `cost`, code that leaves an i64, from the fuel, and traps when none is
    left."""
    fuel = pack_unsigned(shape.fuel)
    taken = b"\x23" + fuel + cost + b"\x7d\x24" + fuel
    return taken + b"\x23" + fuel + bytes([0x42, 0, 0x53, _IF, 0x40, _UNREACHABLE, _END])


# --- the functions that are changed


class _Function:
    """One function's code, rewritten instruction by instruction.

    A function that calls keeps its depth in a local of its own. It resets the counter to that depth
    after each call, and wherever an exception may have landed.
    """

    def __init__(self, code: bytes, shape: _Shape, arity: int, limits: Limits) -> None:
        self._reader = ModuleReader(code)
        self._shape, self._limits = shape, limits
        locals_ = [
            (self._reader.unsigned(), self._reader.byte()) for _ in range(self._reader.unsigned())
        ]
        self._locals = b"".join(pack_unsigned(n) + bytes([kind]) for n, kind in locals_)
        self._groups = len(locals_)
        self._local = arity + sum(n for n, _ in locals_)
        self._catches = self._calls = False

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
        check += bytes([_IF, 0x40, _UNREACHABLE, _END])
        return b"\x23" + depth + more + b"\x22" + mine + b"\x24" + depth + b"\x20" + mine + check

    def _restore(self) -> bytes:
        return b"\x20" + pack_unsigned(self._local) + b"\x24" + pack_unsigned(self._shape.depth)

    def _read_blocks(self) -> Iterator[tuple[bytes, int, bool]]:
        """Basic blocks: code, its cost, and whether control may come from elsewhere."""
        out, cost, lands = bytearray(), 0, False
        while self._reader.place < len(self._reader.data):
            code, opcode, more = self._rewrite()
            out += code
            cost += more
            if opcode in (_LOOP, _IF, _ELSE, _END, _BR_IF):
                yield bytes(out), cost, lands
                out, cost, lands = bytearray(), 0, opcode in (_END, _LOOP)
        if out:
            raise ModuleError("a function does not end")

    def _rewrite(self) -> tuple[bytes, int, int]:
        """The next instruction: its new code, its opcode, its cost."""
        start = self._reader.place
        opcode = self._reader.byte()
        index = self._skip_immediates(opcode)
        code = self._reader.data[start : self._reader.place]
        helper = self._shape.first_helper
        if opcode in (_CALL, _CALL_INDIRECT):
            self._calls = True
            return code + self._restore(), opcode, 1
        if opcode in _NAN_F32:
            code += bytes([_CALL]) + pack_unsigned(helper)
        elif opcode in _NAN_F64:
            code += bytes([_CALL]) + pack_unsigned(helper + 1)
        elif opcode == 0xFC and index in (_MEMORY_COPY, _MEMORY_FILL):
            code = bytes([_CALL]) + pack_unsigned(helper + 2 + (index == _MEMORY_FILL))
        elif opcode == _MEMORY_GROW:
            code = bytes([_CALL]) + pack_unsigned(helper + 4)
        return code, opcode, 0 if opcode in _MARKS else 1

    def _skip_immediates(self, opcode: int) -> int:
        """Skip the immediates. Returns the first of them if it is an index or a second opcode, else
        0."""
        reader = self._reader
        if opcode in _PLAIN or 0x45 <= opcode <= 0xC4:
            return 0
        if opcode in _INDEXED:
            return reader.unsigned()
        if opcode in (_BLOCK, _LOOP, _IF):
            reader.skip_number()
        elif opcode == _TRY_TABLE:
            self._skip_catches()
        elif opcode == 0x0E:
            for _ in range(reader.unsigned() + 1):
                reader.skip_number()
        elif opcode == _CALL_INDIRECT or 0x28 <= opcode <= 0x3E:
            reader.skip_number()
            reader.skip_number()
        elif opcode in (0x41, 0x42):
            reader.skip_number()
        elif opcode in (0x43, 0x44):
            reader.take(4 if opcode == 0x43 else 8)
        elif opcode == 0xFC:
            return self._skip_bulk()
        else:
            raise ModuleError(f"it has the instruction {opcode:#04x}, which is not known here")
        return 0

    def _skip_catches(self) -> None:
        self._catches = self._calls = True
        self._reader.skip_number()
        for _ in range(self._reader.unsigned()):
            tagged = self._reader.byte() < 2
            for _ in range(1 + tagged):
                self._reader.skip_number()

    def _skip_bulk(self) -> int:
        """Skip those of saturating conversions, and of memory.copy and fill of memory 0; the second
        opcode."""
        second = self._reader.unsigned()
        if second in (_MEMORY_COPY, _MEMORY_FILL):
            self._reader.take(2 if second == _MEMORY_COPY else 1)
        elif second > 7:
            raise ModuleError(f"it has the instruction 0xfc {second}, which is not known here")
        return second
