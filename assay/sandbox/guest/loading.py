"""Loads images, and is the children that run programs in one.

An image is loaded once, in the process whose forks the children are (`Interpreter.loader`): so a
fork starts at once and shares the code's memory.

Behind the module's own walls each child has the kernel's: no socket, no process, no file but those
that Python has open or may read, once it is ready. The engine has no need of any.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from assay.sandbox import child, file_fence, kernel_fence
from assay.sandbox.guest import store
from assay.sandbox.guest.copies import Image
from assay.sandbox.guest.descriptor import Interpreter
from assay.sandbox.guest.engine import RESERVATION, THREAD_STACK, make_engine, require_engine
from assay.sandbox.guest.wire import answer

#: Bytes of address space beyond what the imports take, besides one memory. Tuning.
_MORE_BYTES = (2 << 30) + THREAD_STACK


def load(interpreter: Interpreter) -> Image:
    """Raises SandboxError if it is not prepared here."""
    import wasmtime

    artifact = store.name_artifact(store.find_folder(), interpreter, require_engine())
    if not store.is_trusted(artifact):
        raise store.SandboxError(f"the sandbox is not prepared here: {interpreter.remedy}")
    engine = make_engine()
    try:
        module: Any = wasmtime.Module.deserialize_file(engine, str(artifact))
    except wasmtime.WasmtimeError:
        raise store.SandboxError(
            f"the sandbox was compiled for another processor: {interpreter.remedy}"
        ) from None
    return Image(engine, module)


def serve(image: Image) -> NoReturn:
    """Run the child. A thread with a stack for the engine does the runs. The kernel keeps a fence
    for each thread alone, and both shut theirs before the first request is read."""
    image.renew_copies()
    with open(child.STATM) as statm:
        threading.stack_size(THREAD_STACK)
        runner = ThreadPoolExecutor(1, initializer=_shut)
        runner.submit(int).result()
        _shut()

        def reply(data: bytes) -> bytes:
            return runner.submit(answer, image, data).result()

        child.serve(reply, RESERVATION + _MORE_BYTES, statm.fileno())


def _shut() -> None:
    file_fence.shut()
    kernel_fence.shut()
