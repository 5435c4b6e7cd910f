"""A module's calls of its host, answered by functions of the module itself.

An engine's call of its host costs thousands of instructions, and a module's counter sees one. So
the answers to WASI's calls are put into the module, in the place of its imports. The result imports
nothing: there is no call to price or to fence, and nothing outside that a program could name.
`metering` then counts the answers like the program's own code. Input and output lie in pages of the
module's memory. A program may overwrite those pages, and gains nothing: they hold its own input and
output.

The host sets the exported globals before the program starts, and reads them afterwards. No store of
the program reaches a global.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assay.sandbox.guest.metering import FUEL, RATE
from assay.sandbox.guest.wasm import (
    CODE,
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
    pack_sized,
    pack_unsigned,
    read_codes,
    read_exports,
    read_imports,
    read_sections,
    read_types,
    write_section,
)

_I32 = b"\x7f"
#: Bytes of a global, i32 or i64, that begins at 0.
_GLOBAL_BYTES = 5


@dataclass(frozen=True, slots=True)
class InnerHost:
    """The answers, as text of WebAssembly.

    Attributes:
        globals: name → type, i32 or i64; the text has them as $name, and they are exported as
            assay_name. $fuel is the instructions left, $rate what each counts (`metering`).
        answers: functions exported by the name of the call that they answer. They call no function.
        refuse: name of a call without an answer → the number that it always returns.
    """

    globals: Mapping[str, str]
    answers: str
    refuse: Callable[[str], int]


def enclose(module: bytes, pages: int, host: InnerHost) -> bytes:
    """The module with its host inside, and `pages` more of 64 KiB at the end of its first memory,
    for input and output.

    Raises:
        ModuleError: it imports something other than functions that return at most one i32, or
            one of WASI's has another type than WASI gives it.
    """
    sections = list(read_sections(module))
    body = dict(sections)
    imports = read_imports(body.get(IMPORT, b"\0"))
    before = ModuleReader(body[GLOBAL]).unsigned()
    answers = _Answers(_compile(host, before), host)
    types = read_types(body[TYPE])
    own = ModuleReader(answers.sections[GLOBAL])
    own.unsigned()
    own.take(_GLOBAL_BYTES * before)
    added = {
        FUNCTION: [pack_unsigned(kind) for _, kind in imports],
        CODE: [pack_sized(answers.get(name, types[kind])) for name, kind in imports],
        GLOBAL: [own.take(_GLOBAL_BYTES) for _ in host.globals],
        EXPORT: [
            pack_export(f"assay_{name}", GLOBAL_KIND, before + index)
            for index, name in enumerate(host.globals)
        ],
    }
    first = (FUNCTION, CODE)  # functions keep their numbers: an import's answer takes its own
    changed = {n: extend(body[n], parts, in_front=n in first) for n, parts in added.items()}
    changed[MEMORY] = _grow(body[MEMORY], pages)
    return MAGIC + b"".join(
        write_section(n, changed.get(n, data)) for n, data in sections if n != IMPORT
    )


def _compile(host: InnerHost, before: int) -> bytes:
    """A module of the functions alone, whose globals have the numbers that they will have after
    those of another module. The last are counters that `metering` adds."""
    from wasmtime import wat2wasm

    dummies = "(global (mut i32) (i32.const 0))" * before
    ours = "".join(
        f"(global ${name} (mut {kind}) ({kind}.const 0))" for name, kind in host.globals.items()
    )
    counters = "".join(
        f'(global ${name} (export "{export}") (mut i64) (i64.const 0))'
        for name, export in (("fuel", FUEL), ("rate", RATE))
    )
    return bytes(wat2wasm(f"(module (memory 1) {dummies} {ours} {counters} {host.answers})"))


class _Answers:
    """The functions of a module, by name."""

    def __init__(self, module: bytes, host: InnerHost) -> None:
        self.sections = dict(read_sections(module))
        self._host = host
        types = read_types(self.sections[TYPE])
        reader = ModuleReader(self.sections[FUNCTION])
        kinds = [types[reader.unsigned()] for _ in range(reader.unsigned())]
        codes = read_codes(self.sections[CODE])
        self._functions = {
            name: (kinds[index], codes[index])
            for name, (kind, index) in read_exports(self.sections[EXPORT]).items()
            if kind != GLOBAL_KIND
        }

    def get(self, name: str, kind: tuple[bytes, bytes]) -> bytes:
        """The code of a call's answer."""
        wanted, code = self._functions.get(name, (kind, None))
        if wanted != kind:
            raise ModuleError(f"it imports {name} with another type")
        return self._refuse(name, kind[1]) if code is None else code

    def _refuse(self, name: str, results: bytes) -> bytes:
        """Code that answers every call in the same way."""
        if results not in (b"", _I32):
            raise ModuleError(f"it imports {name}, which returns more than an i32")
        number = bytes([0x41, self._host.refuse(name)]) if results else b""
        return b"\0" + number + b"\x0b"


def _grow(section: bytes, pages: int) -> bytes:
    reader = ModuleReader(section)
    count, flags, least = reader.unsigned(), reader.byte(), reader.unsigned()
    if count != 1 or flags:
        raise ModuleError("its memory is not one without a maximum")
    return b"\1\0" + pack_unsigned(least + pages)
