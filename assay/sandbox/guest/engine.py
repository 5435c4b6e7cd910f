"""The engine that runs images: its versions and its configuration.

Only Cranelift compiles, and all of WebAssembly is off that no image uses: less of the engine can be
wrong. Results do not depend on the version.
"""

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from assay.protocol.errors import OperatorError

PACKAGE = "wasmtime"
#: Major versions that were tried. The first has all fixes of known escapes from its sandbox.
FIRST, LAST = 45, 50
#: Bytes of stack that compiled code may use, more than `image.SLOTS` need in any engine; and of a
#: thread that runs it.
STACK = 32 << 20
THREAD_STACK = STACK + (16 << 20)
#: Bytes of address space for a copy's memory: with all that 32 bits can address, no bounds are
#: checked by code. And for what else the engine takes.
RESERVATION, _GUARD = 4 << 30, 32 << 20
_PAGE = 1 << 16

_T = TypeVar("_T")
#: The size of a new thread's stack concerns the whole program.
_starting = threading.Lock()


class EngineError(OperatorError):
    """The engine is not installed, or in a version that was not tried."""


def find_version() -> str | None:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def require_engine() -> str:
    """The engine's version. Raises EngineError if it is not one that was tried."""
    found = find_version()
    if found is None or not FIRST <= int(found.partition(".")[0]) <= LAST:
        raise EngineError(
            f"the sandbox needs {PACKAGE} {FIRST} to {LAST}, and {found or 'none'} is here: "
            "install the extra `envs`, as in pip install 'assay-judge[envs]'"
        )
    return found


def make_engine() -> Any:
    """An engine. All that load an artifact need the same configuration."""
    import wasmtime
    from wasmtime import _ffi  # the only way to this setting

    config = wasmtime.Config()
    config.strategy = "cranelift"
    config.parallel_compilation = False
    config.max_wasm_stack = STACK
    _ffi.wasmtime_config_async_stack_size_set(config.ptr(), STACK + _PAGE)  # must be larger
    config.memory_reservation = RESERVATION
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = _GUARD
    config.wasm_relaxed_simd = False
    config.wasm_simd = False
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.wasm_tail_call = False
    return wasmtime.Engine(config)


class Instance:
    """A fresh instance of a module that imports nothing.

    It calls the engine's C interface: the engine's own classes look up types and all exports, and
    that takes as long as a short program.
    """

    def __init__(self, engine: Any, module: Any) -> None:
        import wasmtime
        from wasmtime import _ffi

        self._wasm, self._c = wasmtime, _ffi
        self._store = wasmtime.Store(engine)
        self._context = self._store._context()  # noqa: SLF001 - of the C interface, as below
        self._instance = wasmtime.Instance(self._store, module, [])._instance  # noqa: SLF001
        self._memory = ctypes.byref(self._find("memory").memory)
        self._globals: dict[str, tuple[Any, Any]] = {}

    def get(self, name: str) -> int:
        """An exported global's value, signed."""
        place, held = self._find_global(name)
        self._c.wasmtime_global_get(self._context, place, ctypes.byref(held))
        return int(held.of.i64 if held.kind == self._c.WASMTIME_I64.value else held.of.i32)

    def set(self, name: str, value: int) -> None:
        """Set an exported global to as many of a number's lowest bits as it has."""
        place, held = self._find_global(name)
        if held.kind == self._c.WASMTIME_I64.value:
            held.of.i64 = value
        else:
            held.of.i32 = value
        self._require(self._c.wasmtime_global_set(self._context, place, ctypes.byref(held)))

    def call(self, name: str) -> None:
        """Call an exported function without parameters and results. Raises wasmtime.Trap."""
        trap = ctypes.POINTER(self._c.wasm_trap_t)()
        called = self._context, ctypes.byref(self._find(name).func)
        nothing = None, 0, None, 0
        self._require(self._c.wasmtime_func_call(*called, *nothing, ctypes.byref(trap)))
        if trap:
            raise self._wasm.Trap._from_ptr(trap)  # noqa: SLF001

    @property
    def size(self) -> int:
        """Bytes of its memory."""
        return int(self._c.wasmtime_memory_data_size(self._context, self._memory))

    def locate(self, start: int, end: int) -> int:
        """The address of a part of its memory, until that grows. Raises IndexError if it has no
        such part."""
        if not 0 <= start <= end <= self.size:
            raise IndexError("there is no such part of the memory")
        data = self._c.wasmtime_memory_data(self._context, self._memory)
        return (ctypes.cast(data, ctypes.c_void_p).value or 0) + start

    def read(self, start: int, end: int) -> bytes:
        return ctypes.string_at(self.locate(start, end), end - start)

    def write(self, start: int, data: bytes) -> None:
        ctypes.memmove(self.locate(start, start + len(data)), data, len(data))

    def grow(self, pages: int) -> None:
        """Raises MemoryError if the machine refuses so many more pages of 64 KiB."""
        before = ctypes.byref(ctypes.c_uint64())
        try:
            self._require(self._c.wasmtime_memory_grow(self._context, self._memory, pages, before))
        except self._wasm.WasmtimeError:
            raise MemoryError("the machine has no memory for a program") from None

    def close(self) -> None:
        self._store.close()

    def _find_global(self, name: str) -> tuple[Any, Any]:
        """The place of an exported global, and a value of its kind."""
        if name not in self._globals:
            place, held = ctypes.byref(self._find(name).global_), self._c.wasmtime_val_t()
            self._c.wasmtime_global_get(self._context, place, ctypes.byref(held))
            self._globals[name] = place, held
        return self._globals[name]

    def _find(self, name: str) -> Any:
        """What the instance exports by a name. Raises KeyError if it is nothing."""
        item, size = self._c.wasmtime_extern_t(), len(name)
        text = ctypes.create_string_buffer(name.encode(), size)
        asked = self._context, ctypes.byref(self._instance), text, size
        if not self._c.wasmtime_instance_export_get(*asked, ctypes.byref(item)):
            raise KeyError(name)
        return item.of

    def _require(self, error: Any) -> None:
        if error:
            raise self._wasm.WasmtimeError._from_ptr(error)  # noqa: SLF001


def run_deep(work: Callable[[], _T]) -> _T:
    """Do work in a thread with `THREAD_STACK` bytes of stack."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again by the caller's thread
            future.set_exception(error)

    with _starting:
        before = threading.stack_size(THREAD_STACK)
        try:
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    return future.result()
