"""The image: a started interpreter as a module that imports nothing and counts its instructions.

The snapshot's memory becomes the module's data, the answers of a host its functions (`stubs.wat`),
and `serve` the function that answers one request. The C stack lies at the memory's start, below the
data, so what overflows it leaves the memory and traps, and never writes over the interpreter.
Above the memory come the pages of input and output, and what the program allocates.

The result is the same on every machine and in every engine: its SHA-256 is in the `descriptor`.
"""

import re
import struct
from importlib.resources import files

from assay.sandbox.guest.descriptor import Interpreter
from assay.sandbox.guest.enclosing import InnerHost, enclose
from assay.sandbox.guest.metering import Limits, meter
from assay.sandbox.guest.snapshot import STACK_POINTER, Snapshot, take_snapshot
from assay.sandbox.guest.wasm import (
    CODE,
    CUSTOM,
    DATA,
    DATA_COUNT,
    ELEMENT,
    EXPORT,
    FUNCTION,
    FUNCTION_KIND,
    GLOBAL,
    GLOBAL_KIND,
    IMPORT,
    MAGIC,
    MEMORY,
    MEMORY_KIND,
    START,
    TYPE,
    ModuleError,
    ModuleReader,
    extend,
    pack_export,
    pack_signed,
    pack_sized,
    pack_unsigned,
    pack_vector,
    read_exports,
    read_imports,
    read_sections,
    read_types,
    write_section,
)

#: Bytes of input, a program and what it reads, and of output.
INPUT_MAX, OUTPUT_MAX = 4 << 20, 2 << 20
#: Most pages of 64 KiB of memory, and slots of the engine's stack (`metering.Limits`). The
#: interpreter's allocator takes a power of two for each block, so half of the memory may be unused.
PAGES, SLOTS = 7_168, 1 << 20
#: Exported globals: where the next byte of input is, and where input ends; the same for output; how
#: the program ended (`EXITED`, `FULL`, else 0), and its exit status; the seed; the clock.
GLOBALS = {
    **dict.fromkeys(("given", "given_end", "written", "written_end", "end", "status"), "i32"),
    **dict.fromkeys(("seed", "clock"), "i64"),
}
EXITED, FULL = 1, 2
#: The exported function that answers one request, and the pointer of C's stack.
SERVE, STACK = "serve", "assay_stack"

_PAGE = 1 << 16
#: The interpreter's own files are in the module; for every other path there is none.
_NO_ENTRY, _NOTSUP = 44, 58
#: The number by which `boot` marks the thread's counters, and the limit that Python starts with.
_MARK, _CALLS = 54_321, 1_000
#: Bytes of memory that are looked at together: a run of such zeros is no part of the data.
_ZEROS = 1 << 12


def make_image(module: bytes, interpreter: Interpreter, modules: bytes = b"") -> bytes:
    """The image of an interpreter. Needs a thread with `engine.STACK` bytes of stack.

    Args:
        modules: what it has besides the interpreter's own (`modules.read_modules`).

    Raises:
        ModuleError: the module is not built as the descriptor says.
    """
    boot = read_boot() if not modules else _read_text("extend.py") + read_boot()
    snapshot = take_snapshot(_export_stack_pointer(module), boot, modules)
    _set_limits(snapshot.memory)
    started = _write_started(module, snapshot, interpreter)
    pages = (INPUT_MAX + OUTPUT_MAX) // _PAGE
    return meter(enclose(started, pages, make_host()), Limits(PAGES, SLOTS))


def read_boot() -> str:
    return _read_text("boot.py")


def make_host() -> InnerHost:
    text = _read_text("stubs.wat")
    return InnerHost(GLOBALS, text, lambda name: _NO_ENTRY if name[:5] == "path_" else _NOTSUP)


def _read_text(name: str) -> str:
    return files(__package__).joinpath(name).read_text()


def _export_stack_pointer(module: bytes) -> bytes:
    parts = [MAGIC]
    for number, body in read_sections(module):
        if number == EXPORT:
            body = extend(body, [pack_export(STACK_POINTER, GLOBAL_KIND, 0)])
        if number != CUSTOM:
            parts.append(write_section(number, body))
    return b"".join(parts)


def _set_limits(memory: bytearray) -> None:
    """Write the thread's counters of Python's nested calls, as it starts with them. They lie side
    by side: left for Python, its limit, left for C."""
    mark = struct.pack("<i", _MARK)
    found = 0
    for match in re.finditer(re.escape(mark), bytes(memory)):
        place = match.start()
        if place % 4:
            continue
        left, limit, c_left = struct.unpack_from("<3i", memory, max(place - 4, 0))
        if limit == _MARK and _MARK - 300 < left <= _MARK and 0 < c_left < 1 << 20:
            found += 1
            struct.pack_into("<i", memory, place - 4, _CALLS)
        struct.pack_into("<i", memory, place, _CALLS)
    if found != 1:
        raise ModuleError(f"it has {found} threads' counters of calls")


def _write_started(module: bytes, snapshot: Snapshot, interpreter: Interpreter) -> bytes:
    """The module that goes on where the snapshot was taken. It still imports its host."""
    body = dict(read_sections(module))
    pages, over = divmod(len(snapshot.memory), _PAGE)
    if over or ModuleReader(body[GLOBAL]).unsigned() != 1:
        raise ModuleError("its state is more than a memory and a stack pointer")
    functions = len(read_imports(body[IMPORT])) + ModuleReader(body[FUNCTION]).unsigned()
    _require_stack_below(body[DATA], snapshot.stack)
    memory = read_exports(body[EXPORT])["memory"][1]
    changed = {
        FUNCTION: extend(body[FUNCTION], [pack_unsigned(_find_plain_type(body[TYPE]))]),
        MEMORY: b"\1\0" + pack_unsigned(pages),
        GLOBAL: b"\1\x7f\1\x41" + pack_signed(snapshot.stack) + b"\x0b",
        EXPORT: pack_vector(
            [
                pack_export("memory", MEMORY_KIND, memory),
                pack_export(SERVE, FUNCTION_KIND, functions),
                pack_export(STACK, GLOBAL_KIND, 0),
            ]
        ),
        CODE: extend(body[CODE], [_write_serve(body[ELEMENT], snapshot, interpreter)]),
        DATA: pack_vector(_write_data(snapshot.memory)),
    }
    gone = CUSTOM, START, DATA_COUNT
    return MAGIC + b"".join(
        write_section(n, changed.get(n, data)) for n, data in read_sections(module) if n not in gone
    )


def _require_stack_below(data: bytes, stack: int) -> None:
    """Raises ModuleError unless the module's first data lie above its stack."""
    reader = ModuleReader(data)
    if not reader.unsigned() or reader.take(2) != b"\0\x41" or reader.signed() < stack:
        raise ModuleError("its stack does not lie below its data")


def _find_plain_type(section: bytes) -> int:
    """The number of the type of functions without parameters and results."""
    return read_types(section).index((b"", b""))


def _write_serve(elements: bytes, snapshot: Snapshot, interpreter: Interpreter) -> bytes:
    """Code that calls the function object as C does: with no arguments and no names."""
    (slot,) = struct.unpack_from("<I", snapshot.memory, snapshot.served + interpreter.vectorcall)
    entry = _read_table(elements)[slot]
    arguments = b"\x41" + pack_signed(snapshot.served) + b"\x41\0" * 3
    return pack_sized(b"\0" + arguments + b"\x10" + pack_unsigned(entry) + b"\x1a\x0b")


def _read_table(section: bytes) -> dict[int, int]:
    """Place in the first table → number of the function there."""
    reader = ModuleReader(section)
    table: dict[int, int] = {}
    for _ in range(reader.unsigned()):
        if reader.unsigned() or reader.byte() != 0x41:
            raise ModuleError("its table is not filled by its numbers")
        place = reader.unsigned()  # small and positive, so its sign bit is 0
        reader.byte()
        for index in range(reader.unsigned()):
            table[place + index] = reader.unsigned()
    return table


def _write_data(memory: bytearray) -> list[bytes]:
    """Segments of a memory, without its zeros."""
    zero = bytes(_ZEROS)
    starts: list[int] = []
    ends: list[int] = []
    before = True
    for place in range(0, len(memory), _ZEROS):
        is_zero = memory[place : place + _ZEROS] == zero
        if is_zero != before:
            (ends if is_zero else starts).append(place)
        before = is_zero
    if not before:
        ends.append(len(memory))
    return [
        b"\0\x41" + pack_signed(start) + b"\x0b" + pack_sized(bytes(memory[start:end]))
        for start, end in zip(starts, ends, strict=True)
    ]
