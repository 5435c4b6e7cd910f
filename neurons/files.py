"""Files that are whole or not there: written beside their place, then renamed."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Ends the name of what is being written.
_UNFINISHED = ".tmp"


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Writes atomically; a reader sees the old file or the new one."""
    with replace_file(path, mode) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON atomically."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode())


@contextmanager
def replace_file(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A name beside `path` to write to; what stands there in the end takes its place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(_UNFINISHED, f".{path.name}.", path.parent)
    os.close(descriptor)
    try:
        yield Path(name)
        os.chmod(name, mode)  # mkstemp's 0600 would hide public files from other users
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)  # nothing is there if all went well


def remove_unfinished(folder: Path, marker: str) -> None:
    """Deletes what writers left here when they were killed. Nobody may be writing.

    Args:
        marker: pattern of a file's name; a folder within that holds such a file is another's.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not any(Path(place, name).glob(marker))]
        for name in names:
            if name.startswith(".") and name.endswith(_UNFINISHED):
                Path(place, name).unlink(missing_ok=True)


@contextmanager
def hold_folder(folder: Path) -> Iterator[bool]:
    """Whether the folder is ours alone for now; it is nobody's once its holder has ended, killed
    or not. Waits for nothing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield _is_ours(descriptor, folder)
    finally:
        os.close(descriptor)


def take_lock(descriptor: int) -> bool:
    """Whether an open file or folder is locked by us now; it is until it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool | None:
    """Whether somebody holds `take_lock` on a file; None where there is no such file to ask."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _is_ours(descriptor: int, folder: Path) -> bool:
    try:
        return take_lock(descriptor) and os.fstat(descriptor).st_ino == folder.stat().st_ino
    except FileNotFoundError:  # another's until it was renamed
        return False
