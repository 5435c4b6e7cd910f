"""The host of a WebAssembly program, as functions of the program's own module.

An engine's call of its host costs thousands of instructions, and a module's counter sees one. So
the answers to WASI's calls are put into the module, in the place of its imports: input, arguments
and output lie in pages of its memory, and the result imports nothing. `metering` then counts them
like the program's own code, and there is no call to price or to fence. A program may overwrite
those pages. It gains nothing: they hold its own input and output.

The functions are written for any program of WASI preview 1, and know no interpreter. The host sets
`GLOBALS` before the program starts, and reads them afterwards.
"""

import struct
from collections.abc import Iterator, Sequence

from assay.environments.programs.metering import (
    MeteringError,
    ModuleReader,
    pack_unsigned,
    read_sections,
    write_section,
)

#: Exported globals (i32). Places of: the arguments (`pack_arguments`); the next byte of input, and
#: the end of the input; the next byte of output, and the end of the room for it. Then how the
#: program ended (`EXITED`, `FULL`, else 0), and its exit status.
GLOBALS = ("arguments", "given", "given_end", "written", "written_end", "end", "status")
ARGUMENTS, GIVEN, GIVEN_END, WRITTEN, WRITTEN_END, END, STATUS = (f"assay_{g}" for g in GLOBALS)
#: It has called for its end; it has written more than there is room for.
EXITED, FULL = 1, 2

_IMPORT, _FUNCTION, _MEMORY, _GLOBAL, _EXPORT, _CODE, _TYPE = 2, 3, 5, 6, 7, 10, 1
_FUNCTION_KIND, _GLOBAL_KIND = 0, 3
_I32 = b"\x7f"
#: WASI's code for a call that is not supported: the answer to all calls that are not below.
_NOTSUP = 58

#: 8 is WASI's code for a bad descriptor.
_ANSWERS = """
  (func (export "args_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.load (global.get $arguments)))
    (i32.store (local.get $size) (i32.load offset=4 (global.get $arguments)))
    (i32.const 0))
  (func (export "args_get") (param $places i32) (param $text i32) (result i32)
    (local $left i32) (local $offset i32)
    (local.set $left (i32.load (global.get $arguments)))
    (local.set $offset (i32.add (global.get $arguments) (i32.const 8)))
    (memory.copy
      (local.get $text)
      (i32.add (local.get $offset) (i32.shl (local.get $left) (i32.const 2)))
      (i32.load offset=4 (global.get $arguments)))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $left)))
      (i32.store (local.get $places) (i32.add (local.get $text) (i32.load (local.get $offset))))
      (local.set $places (i32.add (local.get $places) (i32.const 4)))
      (local.set $offset (i32.add (local.get $offset) (i32.const 4)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $more)))
    (i32.const 0))
  (func (export "environ_sizes_get") (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (func (export "environ_get") (param i32 i32) (result i32) (i32.const 0))
  (func (export "clock_time_get") (param i32 i64) (param $place i32) (result i32)
    (i64.store (local.get $place) (i64.const 0))
    (i32.const 0))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (param $descriptor i32) (param $place i32) (result i32)
    (if (i32.gt_u (local.get $descriptor) (i32.const 2)) (then (return (i32.const 8))))
    ;; a character device, no flags, every right
    (i64.store (local.get $place) (i64.const 2))
    (i64.store offset=8 (local.get $place) (i64.const -1))
    (i64.store offset=16 (local.get $place) (i64.const -1))
    (i32.const 0))
  (func (export "fd_read")
    (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
    (local $before i32) (local $size i32)
    (if (local.get $descriptor) (then (return (i32.const 8))))
    (local.set $before (global.get $given))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $size (i32.load offset=4 (local.get $pieces)))
      (if (i32.gt_u (local.get $size) (i32.sub (global.get $given_end) (global.get $given)))
        (then (local.set $size (i32.sub (global.get $given_end) (global.get $given)))))
      (memory.copy (i32.load (local.get $pieces)) (global.get $given) (local.get $size))
      (global.set $given (i32.add (global.get $given) (local.get $size)))
      (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $more)))
    (i32.store (local.get $done) (i32.sub (global.get $given) (local.get $before)))
    (i32.const 0))
  (func (export "fd_write")
    (param $descriptor i32) (param $pieces i32) (param $count i32) (param $done i32) (result i32)
    (local $total i32) (local $size i32)
    (if (i32.gt_u (i32.sub (local.get $descriptor) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8))))
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $size (i32.load offset=4 (local.get $pieces)))
      (local.set $total (i32.add (local.get $total) (local.get $size)))
      (if (i32.eq (local.get $descriptor) (i32.const 1)) (then ;; nobody reads standard error
        (if (i32.gt_u (local.get $size) (i32.sub (global.get $written_end) (global.get $written)))
          (then (global.set $end (i32.const 2)) (unreachable)))
        (memory.copy (global.get $written) (i32.load (local.get $pieces)) (local.get $size))
        (global.set $written (i32.add (global.get $written) (local.get $size)))))
      (local.set $pieces (i32.add (local.get $pieces) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $more)))
    (i32.store (local.get $done) (local.get $total))
    (i32.const 0))
  (func (export "sched_yield") (result i32) (i32.const 0))
  (func (export "proc_exit") (param $status i32)
    (global.set $status (local.get $status))
    (global.set $end (i32.const 1))
    (unreachable))
"""


def enclose(module: bytes, pages: int) -> bytes:
    """The module with its host inside, and `pages` more of 64 KiB at the end of its first memory,
    for arguments, input and output.

    Raises:
        MeteringError: it imports something other than functions that return at most one i32, or
            one of WASI's has another type than WASI gives it.
    """
    sections = list(read_sections(module))
    body = dict(sections)
    imports = list(_read_imports(body.get(_IMPORT, b"\0")))
    before = ModuleReader(body[_GLOBAL]).unsigned()
    host = dict(read_sections(_write_host(before)))
    types, answers = _read_types(body[_TYPE]), _Answers(host)
    codes = [answers.get(name, types[kind]) for name, kind in imports]
    exports = [
        pack_unsigned(len(name)) + name.encode() + bytes([_GLOBAL_KIND]) + pack_unsigned(index)
        for name, index in answers.globals.items()
    ]
    own = ModuleReader(host[_GLOBAL])
    own.unsigned()
    own.take(_DUMMY_BYTES * before)
    added = {
        _FUNCTION: [pack_unsigned(kind) for _, kind in imports],
        _CODE: [pack_unsigned(len(code)) + code for code in codes],
        _GLOBAL: [own.take(_DUMMY_BYTES) for _ in GLOBALS],
        _EXPORT: exports,
    }
    first = (_FUNCTION, _CODE)  # functions keep their numbers: an import's answer takes its own
    changed = {n: _extend(body[n], parts, in_front=n in first) for n, parts in added.items()}
    changed[_MEMORY] = _grow(body[_MEMORY], pages)
    return module[:8] + b"".join(
        write_section(n, changed.get(n, data)) for n, data in sections if n != _IMPORT
    )


def pack_arguments(arguments: Sequence[bytes]) -> bytes:
    """Arguments as the functions above read them, each with a NUL at its end: their number, the
    bytes of all, the place of each among these, and these."""
    texts = [argument + b"\0" for argument in arguments]
    places = [sum(map(len, texts[:n])) for n in range(len(texts))]
    size = sum(map(len, texts))
    return struct.pack(f"<{2 + len(texts)}I", len(texts), size, *places) + b"".join(texts)


#: Bytes of a global that begins at 0.
_DUMMY_BYTES = 5


def _write_host(before: int) -> bytes:
    """A module of the functions alone, whose globals have the numbers that they will have after
    those of another module."""
    from wasmtime import wat2wasm

    dummies = "(global (mut i32) (i32.const 0))" * before
    ours = "".join(
        f'(global ${name} (export "assay_{name}") (mut i32) (i32.const 0))' for name in GLOBALS
    )
    return bytes(wat2wasm(f"(module (memory 1) {dummies} {ours} {_ANSWERS})"))


class _Answers:
    """The functions of a module, by name."""

    def __init__(self, sections: dict[int, bytes]) -> None:
        types = _read_types(sections[_TYPE])
        reader = ModuleReader(sections[_FUNCTION])
        kinds = [types[reader.unsigned()] for _ in range(reader.unsigned())]
        reader = ModuleReader(sections[_CODE])
        bodies = [reader.take(reader.unsigned()) for _ in range(reader.unsigned())]
        self._functions: dict[str, tuple[bytes, bytes]] = {}
        self.globals: dict[str, int] = {}
        reader = ModuleReader(sections[_EXPORT])
        for _ in range(reader.unsigned()):
            name, kind = reader.take(reader.unsigned()).decode(), reader.byte()
            index = reader.unsigned()
            if kind == _GLOBAL_KIND:
                self.globals[name] = index
            else:
                self._functions[name] = kinds[index], bodies[index]

    def get(self, name: str, kind: bytes) -> bytes:
        """The code of a call's answer."""
        wanted, code = self._functions.get(name, (kind, None))
        if wanted != kind:
            raise MeteringError(f"it imports {name} with another type")
        return _refuse(name, kind) if code is None else code


def _refuse(name: str, kind: bytes) -> bytes:
    """Code that answers every call in the same way."""
    reader = ModuleReader(kind)
    reader.take(reader.unsigned())
    results = reader.take(reader.unsigned())
    if results not in (b"", _I32):
        raise MeteringError(f"it imports {name}, which returns more than an i32")
    return b"\0" + (b"\x41" + bytes([_NOTSUP]) if results else b"") + b"\x0b"


def _read_types(section: bytes) -> list[bytes]:
    """Each function type: its parameters and results as they are encoded."""
    reader = ModuleReader(section)
    types = []
    for _ in range(reader.unsigned()):
        if reader.byte() != 0x60:
            raise MeteringError("it has types other than functions'")
        start = reader.place
        reader.take(reader.unsigned())
        reader.take(reader.unsigned())
        types.append(section[start : reader.place])
    return types


def _read_imports(section: bytes) -> Iterator[tuple[str, int]]:
    """Name and type of each imported function."""
    reader = ModuleReader(section)
    for _ in range(reader.unsigned()):
        reader.take(reader.unsigned())
        name = reader.take(reader.unsigned()).decode()
        if reader.byte() != _FUNCTION_KIND:
            raise MeteringError("it imports something other than functions")
        yield name, reader.unsigned()


def _extend(section: bytes, parts: Sequence[bytes], *, in_front: bool) -> bytes:
    """A vector's section with more items."""
    reader = ModuleReader(section)
    count, joined = reader.unsigned(), b"".join(parts)
    rest = section[reader.place :]
    return pack_unsigned(count + len(parts)) + (joined + rest if in_front else rest + joined)


def _grow(section: bytes, pages: int) -> bytes:
    reader = ModuleReader(section)
    count, flags, least = reader.unsigned(), reader.byte(), reader.unsigned()
    if count != 1 or flags:
        raise MeteringError("its memory is not one without a maximum")
    return b"\1\0" + pack_unsigned(least + pages)
