"""Makes the sandbox ready on this machine: `assay sandbox prepare`.

The interpreter's module comes from the distribution `assay-python-wasm`, or from a file, and other
modules from the distributions that carry them (`modules`). The image and its artifact are made by
children that can be ended at any moment. What is there and right is not made again, so a
preparation that was stopped goes on where it was.
"""

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import IO

from assay.sandbox.child import clean
from assay.sandbox.guest import store
from assay.sandbox.guest.descriptor import INTERPRETER, Interpreter
from assay.sandbox.guest.engine import make_engine, require_engine
from assay.sandbox.guest.modules import read_modules
from assay.sandbox.guest.store import SandboxError
from assay.sandbox.preloaded import start_python
from assay.sandbox.secret_variables import list_plain_variables

#: Most bytes of an image.
IMAGE_MAX = 256 << 20
#: The package that carries the interpreter, and its file.
_PACKAGE, _PACKED = "assay_python_wasm", "python.wasm.xz"
#: How a file that xz packed begins, and most bytes of memory to unpack one.
_XZ, _UNPACK_MAX = b"\xfd7zXZ\0", 128 << 20
#: Seconds for each of the two works, on however slow a machine.
_WORK_S = 1_800.0
_MAKE = "from assay.sandbox.guest.making import {0}; {0}()"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sandbox that is ready.

    Attributes:
        made: what was made now, in order: `image`, `artifact`.
        removed: names of files that nothing used any longer.
    """

    interpreter: Interpreter
    engine: str
    folder: Path
    artifact: Path
    made: tuple[str, ...]
    removed: tuple[str, ...]


#: Tells a person what is being done.
Tell = Callable[[str], None]


def is_prepared(interpreter: Interpreter = INTERPRETER) -> bool:
    """Whether this machine has the artifact for the engine that is installed, undamaged. Who asks
    uses it."""
    folder = store.find_folder()
    artifact = store.name_artifact(folder, interpreter, require_engine())
    if not (store.is_trusted(artifact) and store.is_intact(artifact)):
        return False
    store.mark_used(artifact, store.name_image(folder, interpreter))
    return True


def prepare(
    module: Path | None = None, tell: Tell = lambda _: None, interpreter: Interpreter = INTERPRETER
) -> Prepared:
    """Make image and artifact, if they are not there, and remove what nothing uses any longer.

    Args:
        module: the interpreter's module; None: that of `assay-python-wasm`, if it is needed.

    Raises:
        SandboxError: a module is missing or another one, or cannot be compiled.
        EngineError: the engine is missing.
        OSError: the folder cannot be written to.
    """
    engine, folder = require_engine(), store.find_folder()
    artifact = store.name_artifact(folder, interpreter, engine)
    image = store.name_image(folder, interpreter)
    made = []
    with store.hold(folder, tell):
        given = None if module is None else read_module(module, interpreter)
        if not (is_prepared(interpreter) and fits_processor(interpreter)):
            if _read_image(image, interpreter) is None:
                given = given or read_module(_find_module(), interpreter)
                _make_image(given, image, interpreter, tell)
                made.append("image")
            tell("compiling the interpreter for this machine (some 8 s of processor time)")
            store.write_artifact(artifact, _work("compile_image", image, b""))
            made.append("artifact")
        removed = store.remove_unused(folder)
    return Prepared(interpreter, engine, folder, artifact, tuple(made), tuple(removed))


def fits_processor(interpreter: Interpreter = INTERPRETER) -> bool:
    """Whether this processor can run the artifact: a home may be another machine's, as that of a
    container is."""
    import wasmtime

    artifact = store.name_artifact(store.find_folder(), interpreter, require_engine())
    try:
        wasmtime.Module.deserialize_file(make_engine(), str(artifact))
    except wasmtime.WasmtimeError:
        return False
    return True


def _read_image(image: Path, interpreter: Interpreter) -> bytes | None:
    return store.read_digested(image, IMAGE_MAX, interpreter.image_digest)


def _make_image(module: bytes, image: Path, interpreter: Interpreter, tell: Tell) -> None:
    modules, took = b"", "some 7 s"
    if interpreter.modules is not None:
        modules, took = read_modules(interpreter.modules), f"with {interpreter.modules.name}, 30 s"
    tell(f"starting Python {interpreter.python} once, and counting its instructions ({took})")
    data = _work("make_image", image, module + modules)
    if (digest := sha256(data).hexdigest()) != interpreter.image_digest:
        raise SandboxError(
            f"this machine makes an image with SHA-256 {digest} where {interpreter.image_digest} "
            "is expected: engine or machine compute wrongly, so nothing is run here"
        )
    store.write(image, data)


def _find_module() -> Path:
    """The module of the distribution that carries it, which the extra `envs` installs."""
    try:
        return Path(str(files(_PACKAGE).joinpath(_PACKED)))
    except ModuleNotFoundError:
        raise SandboxError(
            "assay-python-wasm, which carries the interpreter, is not installed: the extra `envs` "
            "asks for it, in a checkout `pip install ./python-wasm`; or name the module by --module"
        ) from None


def read_module(file: Path, interpreter: Interpreter) -> bytes:
    """The interpreter's module out of its file, which may be packed by xz.

    Raises:
        SandboxError: it is another one.
        OSError: the file cannot be read.
    """
    if not file.is_file():  # a pipe may never end, nor open
        raise SandboxError(f"{file} is no file")
    size = interpreter.module_bytes + 1
    with open(file, "rb") as opened:
        data = opened.read(size)
    if data.startswith(_XZ):
        data = _unpack(data, size)
    if sha256(data).hexdigest() != interpreter.module_digest:
        raise SandboxError(
            f"{file} is not the interpreter's module, with SHA-256 {interpreter.module_digest}"
        )
    return data


def _unpack(data: bytes, most: int) -> bytes:
    """What xz packed, as far as it is sound, and at most so many bytes."""
    try:
        import lzma  # not every Python was compiled with it
    except ImportError:
        raise SandboxError(
            "this Python has no module lzma: unpack the interpreter with `xz -d`, and name what "
            "comes out with --module"
        ) from None
    try:
        return lzma.LZMADecompressor(memlimit=_UNPACK_MAX).decompress(data, most)
    except lzma.LZMAError:
        return b""


def _work(function: str, image: Path, given: bytes) -> bytes:
    """What a function of `making` writes, in a child that ends with this call, however it ends.
    Its input and output are files: nobody need read while another writes."""
    with _open(image) as request, _open(image) as reply, _open(image) as errors:
        request.write(given)
        request.seek(0)
        process = start_python(
            _MAKE.format(function),
            [str(image)],
            stdin=request,
            stdout=reply,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for this process, which ends the child
            env=list_plain_variables(),
        )
        try:
            process.wait(_WORK_S)
        except subprocess.TimeoutExpired:
            raise SandboxError(f"{function} took more than {_WORK_S:g} s here") from None
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            errors.seek(0)
            lines = errors.read(1 << 16).decode(errors="replace").strip().splitlines()
            reason = clean(lines[-1]) if lines else f"it ended with {process.returncode}"
            raise SandboxError(f"the sandbox cannot be prepared here: {reason}")
        reply.seek(0)
        return reply.read()


def _open(image: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=image.parent)
