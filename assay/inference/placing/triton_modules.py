"""Modules of Triton kernels, where Triton is there and compiles for a GPU."""

import warnings
from collections.abc import Callable
from importlib import import_module
from subprocess import CalledProcessError
from types import ModuleType

from assay.inference.placing.devices import find_failure, is_out_of_memory


def load_triton_module(
    name: str, try_out: Callable[[ModuleType], None], without: str
) -> ModuleType | None:
    """A module, or None where Triton is missing, or cannot compile for a device, which also needs a
    C compiler. Then a warning says so.

    Args:
        try_out: runs its kernels once, on the device.
        without: what is done without them, for people.
    """
    try:
        from triton.errors import TritonError
    except (ImportError, OSError) as error:
        _warn(error, without)
        return None
    try:
        module = import_module(name)
        try_out(module)
    except (TritonError, RuntimeError, ImportError, OSError, CalledProcessError) as error:
        if is_out_of_memory(error) or find_failure(error) is not None:
            raise  # an error that does not come from Triton
        _warn(error, without)
        return None
    return module


def _warn(error: Exception, without: str) -> None:
    message = f"Triton does not compile here ({error}): {without}"
    warnings.warn(message, RuntimeWarning, stacklevel=4)
