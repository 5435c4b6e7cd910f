"""Reading and writing a WebAssembly module's sections.

Source: WebAssembly Core Specification 3.0, section 5 (binary format).
"""

from collections.abc import Iterator, Sequence

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START = range(9)
ELEMENT, CODE, DATA, DATA_COUNT = range(9, 13)
#: Kinds of an import and an export.
FUNCTION_KIND, MEMORY_KIND, GLOBAL_KIND = 0, 2, 3
MAGIC = b"\0asm\1\0\0\0"


class ModuleError(ValueError):
    """A module that cannot be read or changed here. The message says why."""


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

    def signed(self) -> int:
        start, value = self.place, self.unsigned()
        bits = 7 * (self.place - start)
        return value - (1 << bits) if value >> (bits - 1) else value

    def skip_number(self) -> None:
        while self.byte() >= 0x80:
            pass

    def take(self, size: int) -> bytes:
        self.place += size
        return self.data[self.place - size : self.place]

    def text(self) -> str:
        return self.take(self.unsigned()).decode()


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


def pack_vector(parts: Sequence[bytes]) -> bytes:
    return pack_unsigned(len(parts)) + b"".join(parts)


def pack_sized(data: bytes) -> bytes:
    """Bytes after their number: a name, a function's code, a section's body."""
    return pack_unsigned(len(data)) + data


def pack_export(name: str, kind: int, index: int) -> bytes:
    return pack_sized(name.encode()) + bytes([kind]) + pack_unsigned(index)


def write_section(number: int, body: bytes) -> bytes:
    return bytes([number]) + pack_sized(body)


def read_sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    reader = ModuleReader(module, len(MAGIC))
    while reader.place < len(module):
        number = reader.byte()
        yield number, reader.take(reader.unsigned())


def read_types(section: bytes) -> list[tuple[bytes, bytes]]:
    """Each function type: the types of its parameters and of its results."""
    reader = ModuleReader(section)
    types = []
    for _ in range(reader.unsigned()):
        if reader.byte() != 0x60:
            raise ModuleError("it has types other than functions'")
        types.append((reader.take(reader.unsigned()), reader.take(reader.unsigned())))
    return types


def read_imports(section: bytes) -> list[tuple[str, int]]:
    """Name and type of each imported function."""
    reader = ModuleReader(section)
    imports = []
    for _ in range(reader.unsigned()):
        reader.text()
        name = reader.text()
        if reader.byte() != FUNCTION_KIND:
            raise ModuleError("it imports something other than functions")
        imports.append((name, reader.unsigned()))
    return imports


def read_exports(section: bytes) -> dict[str, tuple[int, int]]:
    """Name of each export → its kind and index."""
    reader = ModuleReader(section)
    return {reader.text(): (reader.byte(), reader.unsigned()) for _ in range(reader.unsigned())}


def read_codes(section: bytes) -> list[bytes]:
    """The code of each function."""
    reader = ModuleReader(section)
    return [reader.take(reader.unsigned()) for _ in range(reader.unsigned())]


def extend(section: bytes, parts: Sequence[bytes], *, in_front: bool = False) -> bytes:
    """A vector's section with more items."""
    reader = ModuleReader(section)
    count, joined = reader.unsigned(), b"".join(parts)
    rest = section[reader.place :]
    return pack_unsigned(count + len(parts)) + (joined + rest if in_front else rest + joined)
