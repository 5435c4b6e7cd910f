"""Files and folders that are whole or not there, and held by one program at a time: written beside
their place, brought to the disk, renamed, locked.

After a power cut, too, a reader finds the old file or the new one, and never an empty one: what a
rename brings to the disk before the bytes would be just that. It costs a few milliseconds a file
on a solid-state disk (`bench/files.py`).
"""

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Ends the name of an unfinished file, which begins with a dot.
UNFINISHED = ".tmp"
#: Characters of a file's name that its unfinished file's name repeats: both have to fit.
_NAME = 100


def write_file(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Writes atomically; a reader sees the old file or the new one. Unless `durable` it may be gone
    or empty after a power cut."""
    with replace_file(path, mode, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Writes indented JSON atomically."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode(), durable=durable)


@contextmanager
def replace_file(path: Path, mode: int = 0o644, *, durable: bool = True) -> Iterator[Path]:
    """A name beside `path` to write to; the file written there finally replaces `path` at once."""
    _make_folder(path.parent, durable)
    descriptor, name = _begin(path)
    try:
        try:
            yield Path(name)
            os.chmod(name, mode)  # 0600 would hide public files from other users
            if durable:
                _sync(Path(name))
            os.replace(name, path)
            if durable:
                _sync(path.parent)
        finally:
            Path(name).unlink(missing_ok=True)  # nothing is there if all went well
    finally:
        os.close(descriptor)


def _begin(path: Path) -> tuple[int, str]:
    """An empty file beside `path`, locked until its descriptor is closed. One name a file: what a
    killed writer left is written over. Of two writers at a time one gets a name of its own."""
    name = str(path.with_name(f".{path.name[:_NAME]}{UNFINISHED}"))
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another writer may have renamed it since: then this is the file in its place
        if os.path.samestat(os.fstat(descriptor), os.lstat(name)):
            os.ftruncate(descriptor, 0)
            os.fchmod(descriptor, 0o600)
            return descriptor, name
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return tempfile.mkstemp(UNFINISHED, f".{path.name[:_NAME]}.", path.parent)


def move_folder(folder: Path, target: Path) -> None:
    """Renames a folder that is finished, once all that lies in it is on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            _sync(Path(place, name))
        _sync(Path(place))
    folder.rename(target)
    _sync(target.parent)


def is_unfinished(name: str) -> bool:
    """Whether a file's name is that of something that is being written, or was when it was cut."""
    return name.startswith(".") and name.endswith(UNFINISHED)


def _make_folder(folder: Path, durable: bool) -> None:
    """Makes a folder and its parents; each is on the disk before anything is put into it."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent, durable)
    folder.mkdir(exist_ok=True)
    if durable:
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """Has the disk hold a file or a folder; some filesystems do so for no folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path, marker: str) -> None:
    """Deletes the files that killed writers left here. Nobody may be writing. Skips a folder
    within that holds a file whose name fits `marker`: it belongs to another program."""
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
        try:
            ours = take_lock(descriptor) and os.fstat(descriptor).st_ino == folder.stat().st_ino
        except FileNotFoundError:  # another's until it was renamed
            ours = False
        yield ours
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
