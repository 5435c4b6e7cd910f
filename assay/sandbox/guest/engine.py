"""The engine that runs images: its versions and its configuration.

Only Cranelift compiles, and all of WebAssembly is off that no image uses: less of the engine can be
wrong. Results do not depend on the version.
"""

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
            "install the extra `envs`, as in pip install 'assay[envs]'"
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
