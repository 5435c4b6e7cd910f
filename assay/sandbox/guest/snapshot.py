"""Starts the interpreter once, and takes its memory.

The interpreter runs `boot` and then asks for the time. Its host never answers that call: the
memory is then a started Python that waits for a call of C to return. All other calls of that time
have fixed answers: no clock, no randomness, no files, no environment beyond what starts Python the
same everywhere. So the memory is a function of the module, `boot`, and what `boot` may read.

`boot` names objects that are to be immortal: what Python itself writes at such as None, and nobody
but the host can write it there.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from assay.sandbox.guest.engine import make_engine
from assay.sandbox.guest.wasm import ModuleError

_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHOME": "/usr/local"}
#: WASI's codes: a bad descriptor, a descriptor without a place to seek, a call not supported.
_BAD, _NO_SEEK, _NOTSUP = 8, 70, 58
_STREAMS = range(3)
_ERRORS = 2
#: `boot` writes there which objects are to be immortal.
_IMMORTAL = 3
#: Name of the stack pointer as an export.
STACK_POINTER = "assay_stack_pointer"
#: Most bytes of what the boot says.
_SAID_MAX = 1 << 16


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A started interpreter: its memory, how far down its C stack is in use, and the address of the
    function object that answers requests."""

    memory: bytearray
    stack: int
    served: int


def take_snapshot(module: bytes, boot: str, given: bytes) -> Snapshot:
    """Start the interpreter. Needs a thread with `engine.STACK` bytes of stack.

    Args:
        module: it exports `STACK_POINTER`.
        given: standard input of `boot`.

    Raises:
        ModuleError: it ends before it asks for the time.
    """
    import wasmtime

    engine = make_engine()
    compiled = wasmtime.Module(engine, module)
    store = wasmtime.Store(engine)
    host = _Host(store, ["python", "-X", "utf8", "-B", "-c", boot], given)
    linker = wasmtime.Linker(engine)
    for wanted in compiled.imports:
        if not isinstance(wanted.type, wasmtime.FuncType):
            raise ModuleError("it imports something other than functions")
        answer = getattr(host, wanted.name or "", None) or _refuse
        linker.define_func(wanted.module, wanted.name or "", wanted.type, answer)
    exports: Any = linker.instantiate(store, compiled).exports(store)
    host.memory = exports["memory"]
    try:
        exports["_start"](store)
    except _TakenError:
        memory = host.memory.read(store, 0, host.memory.data_len(store))
        return Snapshot(bytearray(memory), exports[STACK_POINTER].value(store), host.served)
    raise ModuleError("the interpreter ended before it could be taken")


class _TakenError(Exception):
    """The interpreter waits for the time."""


def _refuse(*_: int) -> int:
    return _NOTSUP


class _Host:
    """Answers a call by the method of its name. Addresses come as signed numbers."""

    memory: Any

    def __init__(self, store: Any, arguments: Sequence[str], given: bytes) -> None:
        self._store, self._given = store, BytesIO(given)
        self._arguments = [text.encode() + b"\0" for text in arguments]
        self._environment = [f"{k}={v}".encode() + b"\0" for k, v in _ENVIRONMENT.items()]
        self._said = bytearray()
        self.served = 0

    def _read(self, place: int, size: int) -> bytes:
        place &= 0xFFFFFFFF
        return bytes(self.memory.read(self._store, place, place + size))

    def _write(self, place: int, data: bytes) -> int:
        self.memory.write(self._store, data, place & 0xFFFFFFFF)
        return 0

    def _put_sizes(self, items: Sequence[bytes], count: int, size: int) -> int:
        self._write(count, struct.pack("<I", len(items)))
        return self._write(size, struct.pack("<I", sum(map(len, items))))

    def _put_items(self, items: Sequence[bytes], places: int, text: int) -> int:
        for number, item in enumerate(items):
            self._write(places + 4 * number, struct.pack("<I", text))
            text += len(item)
        return self._write(text - sum(map(len, items)), b"".join(items))

    def args_sizes_get(self, count: int, size: int) -> int:
        return self._put_sizes(self._arguments, count, size)

    def args_get(self, places: int, text: int) -> int:
        return self._put_items(self._arguments, places, text)

    def environ_sizes_get(self, count: int, size: int) -> int:
        return self._put_sizes(self._environment, count, size)

    def environ_get(self, places: int, text: int) -> int:
        return self._put_items(self._environment, places, text)

    def clock_time_get(self, _clock: int, _precision: int, place: int) -> int:
        if self.served:
            raise _TakenError
        return self._write(place, bytes(8))

    def clock_res_get(self, _clock: int, place: int) -> int:
        return self._write(place, struct.pack("<Q", 1))

    def random_get(self, place: int, size: int) -> int:
        return self._write(place, bytes(size))

    def fd_prestat_get(self, *_: int) -> int:
        return _BAD

    def fd_fdstat_get(self, descriptor: int, place: int) -> int:
        if descriptor not in _STREAMS:
            return _BAD
        return self._write(place, bytes([2]) + bytes(7) + b"\xff" * 16)

    def fd_filestat_get(self, descriptor: int, place: int) -> int:
        if descriptor not in _STREAMS:
            return _BAD
        return self._write(place, struct.pack("<8Q", 0, descriptor, 2, 1, 0, 0, 0, 0))

    def fd_seek(self, *_: int) -> int:
        return _NO_SEEK

    def fd_close(self, descriptor: int) -> int:
        return 0 if descriptor in _STREAMS else _BAD

    def fd_read(self, _descriptor: int, pieces: int, count: int, done: int) -> int:
        total = 0
        for place, size in struct.iter_unpack("<II", self._read(pieces, 8 * count)):
            part = self._given.read(size)
            self._write(place, part)
            total += len(part)
        return self._write(done, struct.pack("<I", total))

    def fd_write(self, descriptor: int, pieces: int, count: int, done: int) -> int:
        total = 0
        for place, size in struct.iter_unpack("<II", self._read(pieces, 8 * count)):
            data = self._read(place, size)
            total += size
            if descriptor == _IMMORTAL:
                self._make_immortal(data)
            elif descriptor == _ERRORS:
                self._said += data
        if len(self._said) > _SAID_MAX:
            raise ModuleError("the interpreter says too much while it starts")
        if self._said.startswith(b"SERVE ") and self._said.endswith(b"\n"):
            self.served = int(self._said.split()[1])
        return self._write(done, struct.pack("<I", total))

    def _make_immortal(self, places: bytes) -> None:
        """Give objects the count of references of the first."""
        (first, *others) = (place for (place,) in struct.iter_unpack("<I", places))
        count = self._read(first, 4)
        for place in others:
            self._write(place, count)

    def sched_yield(self) -> int:
        return 0

    def proc_exit(self, status: int) -> None:
        said = self._said.decode(errors="replace")[-2_000:]
        raise ModuleError(f"the interpreter ended with {status} while it started: {said}")
