"""Files and folders of a program: written whole, locked, cleared of what was cut off."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assay.network.files import is_unfinished, move_folder, replace_file, write_file, write_json

__all__ = [
    "hold_folder",
    "is_locked",
    "move_folder",
    "remove_unfinished",
    "replace_file",
    "take_lock",
    "write_file",
    "write_json",
]


def remove_unfinished(folder: Path, marker: str) -> None:
    """Deletes what writers left here when they were killed. Nobody may be writing.

    Args:
        marker: pattern of a file's name; a folder within that holds such a file is another's.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not any(Path(place, name).glob(marker))]
        for name in names:
            if is_unfinished(name):
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
