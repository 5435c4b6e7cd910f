"""A WebAssembly module that counts its own instructions, made from one that does not.

Each engine counts fuel in its own way, and its frames decide where a stack ends. So code within the
module counts what a program uses, the same in every engine: instructions by basic block, bytes that
bulk operations move, and stack, by the locals of the functions entered. A program that has used up
any of these traps. The module imports nothing (`inner_host`), so there is no work that it causes
and does not count. The module also settles what the standard leaves to a machine: every NaN gets
one bit pattern, and the memory has a maximum, so that it grows alike.

This file knows the instructions of one module: WebAssembly 2.0 without vectors and with exceptions.
It refuses the rest. Source: WebAssembly Core Specification 3.0, section 5 (binary format).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

#: A bulk operation counts one instruction for each 2 ** this bytes.
_BULK_SHIFT = 3
#: Slots of stack that a function counts as, in addition to its locals.
_FRAME = 16
#: Names of the two exported counters: instructions left (i64), slots in use (i32).
FUEL, DEPTH = "assay_fuel", "assay_depth"

_TYPE, _IMPORT, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT, _CODE = 1, 2, 3, 5, 6, 7, 10
_I32, _I64, _F32, _F64 = 0x7F, 0x7E, 0x7D, 0x7C
_UNREACHABLE, _BLOCK, _LOOP, _IF, _ELSE, _TRY_TABLE, _END = 0x00, 0x02, 0x03, 0x04, 0x05, 0x1F, 0x0B
_BR_IF, _CALL, _CALL_INDIRECT = 0x0D, 0x10, 0x11
_MEMORY_COPY, _MEMORY_FILL = 10, 11
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


class MeteringError(ValueError):
    """A module that cannot be metered. The message says why."""


def meter(module: bytes, pages: int, slots: int) -> bytes:
    """The module with counters: a function of its arguments.

    Args:
        pages: most pages of 64 KiB of its memory.
        slots: most slots of stack that the functions entered may have at once.

    Raises:
        MeteringError: this is no module, or it has a part that is unknown here.
    """
    if module[:8] != b"\0asm\1\0\0\0":
        raise MeteringError("it is not a WebAssembly module of version 1")
    sections = list(read_sections(module))
    shape = _read_shape(dict(sections))
    parts = [module[:8]]
    for number, body in sections:
        if number == 0:  # names and build notes
            continue
        parts.append(write_section(number, _change_section(number, body, shape, pages, slots)))
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
    def first_helper(self) -> int:
        """Index of the first of four appended functions: NaNs of f32 and f64, memory.copy,
        memory.fill."""
        return len(self.functions)


class ModuleReader:
    """Reads the bytes and numbers of a section in order."""

    def __init__(self, data: bytes, place: int = 0) -> None:
        self.data, self.place = data, place

    def byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def skip_number(self) -> None:
        while self.byte() >= 0x80:
            pass

    def take(self, size: int) -> bytes:
        self.place += size
        return self.data[self.place - size : self.place]

    def skip_limits(self) -> None:
        flags = self.byte()
        self.skip_number()
        if flags & 1:
            self.skip_number()


def pack_unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def pack_signed(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value & 0x7F])


def write_section(number: int, body: bytes) -> bytes:
    return bytes([number]) + pack_unsigned(len(body)) + body


def read_sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    reader = ModuleReader(module, 8)
    while reader.place < len(module):
        number = reader.byte()
        yield number, reader.take(reader.unsigned())


def _read_shape(sections: dict[int, bytes]) -> _Shape:
    shape = _Shape()
    missing = {_TYPE, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT, _CODE} - sections.keys()
    if missing:
        raise MeteringError(f"it lacks the sections {sorted(missing)}")
    reader = ModuleReader(sections[_TYPE])
    for _ in range(reader.unsigned()):
        if reader.byte() != 0x60:
            raise MeteringError("it has types other than functions'")
        shape.arities.append(reader.unsigned())
        reader.take(shape.arities[-1])
        reader.take(reader.unsigned())
    if ModuleReader(sections.get(_IMPORT, b"\0")).unsigned():
        raise MeteringError("it imports something, which nothing would count")
    reader = ModuleReader(sections[_FUNCTION])
    shape.functions = [reader.unsigned() for _ in range(reader.unsigned())]
    shape.globals = ModuleReader(sections[_GLOBAL]).unsigned()
    return shape


def _change_section(number: int, body: bytes, shape: _Shape, pages: int, slots: int) -> bytes:
    reader = ModuleReader(body)
    if number not in (_TYPE, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT, _CODE):
        return body
    count = reader.unsigned()
    rest = body[reader.place :]
    if number == _TYPE:
        return pack_unsigned(count + 3) + rest + b"".join(signature for signature, _, _ in _HELPERS)
    if number == _FUNCTION:
        kinds = b"".join(pack_unsigned(len(shape.arities) + kind) for kind in (0, 1, 2, 2))
        return pack_unsigned(count + 4) + rest + kinds
    if number == _MEMORY:
        return _limit_memory(reader, count, pages)
    if number == _GLOBAL:
        counters = bytes([_I64, 1, 0x42, 0, _END, _I32, 1, 0x41, 0, _END])
        return pack_unsigned(count + 2) + rest + counters
    if number == _EXPORT:
        names = ((FUEL, shape.fuel), (DEPTH, shape.depth))
        exports = (bytes([len(n)]) + n.encode() + b"\3" + pack_unsigned(i) for n, i in names)
        return pack_unsigned(count + 2) + rest + b"".join(exports)
    bodies = []
    for kind in shape.functions:
        size = reader.unsigned()
        code = _Function(reader.take(size), shape, shape.arities[kind], slots).write()
        bodies.append(pack_unsigned(len(code)) + code)
    helpers = _write_helpers(shape)
    return pack_unsigned(count + 4) + b"".join([*bodies, *helpers])


def _limit_memory(reader: ModuleReader, count: int, pages: int) -> bytes:
    flags, least = reader.byte(), reader.unsigned()
    if count != 1 or flags > 1 or least > pages:
        raise MeteringError(f"its memory is not one of at most {pages} pages")
    return b"\1\1" + pack_unsigned(least) + pack_unsigned(pages)


# --- the functions that are appended

_HELPERS = (
    (bytes([0x60, 1, _F32, 1, _F32]), 0x5B, b"\x43" + struct.pack("<I", 0x7FC00000)),
    (bytes([0x60, 1, _F64, 1, _F64]), 0x61, b"\x44" + struct.pack("<Q", 0x7FF8 << 48)),
    (bytes([0x60, 3, _I32, _I32, _I32, 0]), 0, b""),
)


def _write_helpers(shape: _Shape) -> list[bytes]:
    bodies = []
    for _, equal, nan in _HELPERS[:2]:  # x == x ? x : nan
        bodies.append(b"\0\x20\0" + nan + bytes([0x20, 0, 0x20, 0, equal, 0x1B, _END]))
    for tail in (bytes([_MEMORY_COPY, 0, 0]), bytes([_MEMORY_FILL, 0])):
        size = bytes([0x20, 2, 0xAD, 0x42, _BULK_SHIFT, 0x88])  # i64 of it, shifted
        moved = bytes([0x20, 0, 0x20, 1, 0x20, 2, 0xFC]) + tail
        bodies.append(b"\0" + _charge(shape, size) + moved + bytes([_END]))
    return [pack_unsigned(len(body)) + body for body in bodies]


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

    def __init__(self, code: bytes, shape: _Shape, arity: int, slots: int) -> None:
        self._reader = ModuleReader(code)
        self._shape, self._slots = shape, slots
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
        check = b"\x41" + pack_signed(self._slots) + bytes([0x4B, _IF, 0x40, _UNREACHABLE, _END])
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
            raise MeteringError("a function does not end")

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
            raise MeteringError(f"it has the instruction {opcode:#04x}, which is not known here")
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
            raise MeteringError(f"it has the instruction 0xfc {second}, which is not known here")
        return second
