"""The two heavy works of a preparation, each the whole of a child (`preparing`)."""

import sys
from pathlib import Path
from typing import Any

from assay.sandbox.guest.descriptor import INTERPRETER
from assay.sandbox.guest.engine import make_engine, run_deep
from assay.sandbox.guest.image import make_image as make


def make_image() -> None:
    """Write the image of the module on standard input, with the modules that follow it there."""
    module, modules = sys.stdin.buffer.read(INTERPRETER.module_bytes), sys.stdin.buffer.read()
    _write(run_deep(lambda: make(module, INTERPRETER, modules)))


def compile_image() -> None:
    """Write the artifact of the image whose path is the argument."""
    import wasmtime

    module: Any = wasmtime.Module(make_engine(), Path(sys.argv[1]).read_bytes())
    _write(bytes(module.serialize()))


def _write(data: bytes) -> None:
    """Write all on standard output, which may be unbuffered and then writes what it can. Raises
    OSError where the disk has no room."""
    with open(1, "wb", closefd=False) as opened:
        opened.write(data)
