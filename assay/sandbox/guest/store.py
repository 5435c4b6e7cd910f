"""The machine's own folder of what the sandbox is made of: the image, and what was compiled of it.

An artifact of a compiler is native code that this process will run, so it is trusted only where it
was written: in a folder and a file of this user that nobody else can write to. It is never fetched.
The image is named by its SHA-256, an artifact by that, the engine's version and the processor's
kind. Both survive a new virtual environment. Beside an artifact lies its checksum: the engine would
run damaged code, and nobody would see why this machine judges otherwise.

A file's time is that of its last use, so what other versions of this program still use is told from
what nothing does.
"""

import fcntl
import os
import platform
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from assay.protocol.errors import OperatorError
from assay.sandbox.guest.descriptor import Interpreter

#: Seconds to wait for another process that prepares the same.
_PATIENCE = 900.0
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
#: Days after which a file that nothing used may go. A program marks its files when it starts, so
#: this is longer than one runs.
UNUSED_DAYS = 90
#: Files of this folder that are made again if they are missing.
_MADE = re.compile(r"[0-9a-f]{16}(\.wasm|-.*\.native(\.crc32)?)")


class SandboxError(OperatorError):
    """The sandbox is not prepared, or cannot be. The message says what to do."""


def find_folder() -> Path:
    """The folder, behind links that its user may have set.

    Raises:
        SandboxError: this user has no home.
    """
    try:
        return Path("~/.cache/assay/sandbox").expanduser().resolve()
    except RuntimeError as error:  # no home, or links in a circle
        raise SandboxError(f"no folder for the sandbox, ~/.cache/assay/sandbox: {error}") from None


def name_image(folder: Path, interpreter: Interpreter) -> Path:
    return folder / f"{interpreter.image_digest[:16]}.wasm"


def name_artifact(folder: Path, interpreter: Interpreter, engine: str) -> Path:
    kind = f"wasmtime-{engine}-{platform.machine()}"
    return folder / f"{interpreter.image_digest[:16]}-{kind}.native"


def read_digested(path: Path, size: int, digest: str) -> bytes | None:
    """The bytes of a file of at most `size` bytes with this SHA-256; None: there is no such."""
    try:
        with open(path, "rb") as opened:
            data = opened.read(size + 1)
    except OSError:
        return None
    return data if len(data) <= size and sha256(data).hexdigest() == digest else None


def is_trusted(path: Path) -> bool:
    """Whether only this user can have written the file."""
    try:
        held = [os.lstat(path.parent), os.lstat(path)]
    except OSError:
        return False
    is_file = stat.S_ISREG(held[1].st_mode)
    return is_file and all(one.st_uid == os.geteuid() and not one.st_mode & _OTHERS for one in held)


def write_artifact(path: Path, data: bytes) -> None:
    write(path, data)
    write(_name_checksum(path), _sum(data))


def is_intact(path: Path) -> bool:
    """Whether an artifact is as it was written. Disks rot: this is no defence against people."""
    try:
        return _name_checksum(path).read_bytes() == _sum(path.read_bytes())
    except OSError:
        return False


def mark_used(artifact: Path, image: Path) -> None:
    """Let the files be as new. Without effect where this user may not."""
    for path in (artifact, _name_checksum(artifact), image):
        with suppress(OSError):
            os.utime(path)


def remove_unused(folder: Path) -> list[str]:
    """Remove what nothing has used for `UNUSED_DAYS`. Returns the files' names."""
    oldest = time.time() - UNUSED_DAYS * 86_400
    removed = []
    for path in sorted(folder.iterdir()):
        held = path.lstat()
        is_ours = _MADE.fullmatch(path.name) and not stat.S_ISDIR(held.st_mode)
        if is_ours and held.st_mtime < oldest:
            path.unlink()
            removed.append(path.name)
    return removed


def _name_checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.crc32")


def _sum(data: bytes) -> bytes:
    return b"%08x\n" % crc32(data)


def write(path: Path, data: bytes) -> None:
    """Write atomically, for this user alone."""
    descriptor, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


@contextmanager
def hold(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Make the folder, and let one process at a time work in it.

    Args:
        tell: tells a person that another process is waited for.

    Raises:
        SandboxError: it is another user's, or another process prepares it for longer than anybody
            should.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise SandboxError(f"{folder} is another user's: give it to this one, or set HOME")
    folder.chmod(0o700)
    told = False
    deadline = time.monotonic() + _PATIENCE
    with open(folder / ".lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise SandboxError(
                        f"another process has been preparing {folder} for {_PATIENCE:g} s"
                    ) from None
                if not told:
                    tell("waiting for another process that prepares the sandbox")
                    told = True
                time.sleep(0.2)
        for left in folder.glob(".*.tmp"):  # of one that was killed
            left.unlink(missing_ok=True)
        yield
