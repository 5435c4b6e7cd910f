"""Reading a function's code: WebAssembly 2.0 without vectors, and with exceptions. The rest is
refused.

Source: WebAssembly Core Specification 3.0, section 5.4 (instructions).
"""

from typing import NamedTuple

from assay.sandbox.guest.wasm import ModuleError, ModuleReader

UNREACHABLE, BLOCK, LOOP, IF, ELSE, TRY_TABLE, END = 0x00, 0x02, 0x03, 0x04, 0x05, 0x1F, 0x0B
BR, BR_IF, BR_TABLE, RETURN, CALL, CALL_INDIRECT = 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x11
DROP, SELECT, LOCAL_GET, LOCAL_SET, LOCAL_TEE, GLOBAL_SET = 0x1A, 0x1B, 0x20, 0x21, 0x22, 0x24
I32_LOAD, STORES, MEMORY_SIZE, MEMORY_GROW = 0x28, range(0x36, 0x3F), 0x3F, 0x40
LOADS, CONSTANTS = range(0x28, 0x36), range(0x41, 0x45)
#: A prefix, and the second opcodes after it.
MORE, MEMORY_COPY, MEMORY_FILL = 0xFC, 10, 11
#: A block's type without parameters and results. Above it, down from -1, are those with one result.
EMPTY = -64
#: Instructions without immediates, in addition to 0x45 to 0xC4.
_PLAIN = frozenset([0x00, 0x01, 0x05, 0x0A, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1])
#: Instructions with one index: br, br_if, call, throw, locals, globals, tables, ref.null, ref.func.
_INDEXED = frozenset([0x08, 0x0C, 0x0D, 0x10, *range(0x20, 0x27), 0x3F, 0x40, 0xD0, 0xD2])


class Instruction(NamedTuple):
    """An instruction.

    Attributes:
        place: of its first byte in the code.
        operands: its indices; a second opcode; the type of a block.
    """

    opcode: int
    place: int
    operands: tuple[int, ...]


def read_instructions(reader: ModuleReader) -> list[Instruction]:
    """All that is left to read of a function's code.

    Raises:
        ModuleError: one is not known here.
    """
    found = []
    while reader.place < len(reader.data):
        place = reader.place
        opcode = reader.byte()
        found.append(Instruction(opcode, place, _read_operands(reader, opcode)))
    return found


def _read_operands(reader: ModuleReader, opcode: int) -> tuple[int, ...]:
    if opcode in _PLAIN or 0x45 <= opcode <= 0xC4:
        return ()
    if opcode in _INDEXED:
        return (reader.unsigned(),)
    if opcode in (BLOCK, LOOP, IF):
        return (reader.signed(),)
    if opcode == TRY_TABLE:
        return _read_catches(reader)
    if opcode == BR_TABLE:
        return tuple(reader.unsigned() for _ in range(reader.unsigned() + 1))
    if opcode == CALL_INDIRECT:
        return reader.unsigned(), reader.unsigned()
    if opcode in LOADS or opcode in STORES:  # alignment and offset
        reader.skip_number()
        reader.skip_number()
    elif opcode in (0x41, 0x42):
        reader.skip_number()
    elif opcode in (0x43, 0x44):
        reader.take(4 if opcode == 0x43 else 8)
    elif opcode == MORE:
        return _read_bulk(reader)
    else:
        raise ModuleError(f"it has the instruction {opcode:#04x}, which is not known here")
    return ()


def _read_catches(reader: ModuleReader) -> tuple[int, ...]:
    kind = reader.signed()
    for _ in range(reader.unsigned()):
        tagged = reader.byte() < 2
        for _ in range(1 + tagged):
            reader.skip_number()
    return (kind,)


def _read_bulk(reader: ModuleReader) -> tuple[int, ...]:
    """Those of saturating conversions, and of memory.copy and fill of memory 0."""
    second = reader.unsigned()
    if second in (MEMORY_COPY, MEMORY_FILL):
        reader.take(2 if second == MEMORY_COPY else 1)
    elif second > 7:
        raise ModuleError(f"it has the instruction 0xfc {second}, which is not known here")
    return (second,)
