"""Atomic files and folders, held by one program at a time: written beside their place, synced to
the disk, renamed, locked.

Even after a power cut, a reader finds the old file or the new one, and never an empty one, which a
rename that reaches the disk before the bytes would leave. The sync costs a few milliseconds a file
on a solid-state disk (`bench/files.py`).
"""

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Suffix of an unfinished file, whose name begins with a dot.
UNFINISHED = ".tmp"
#: Characters of a file's name that its unfinished file repeats: both names must be short enough.
_NAME = 100


def write_file(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Write atomically: a reader sees the old file or the new one. Unless `durable`, the file may
    be gone or empty after a power cut."""
    with replace_file(path, mode, durable=durable) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write indented JSON atomically."""
    write_file(path, (json.dumps(value, indent=1) + "\n").encode(), durable=durable)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the disk in the block that name no file, as those of a full one do, name this
    one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


@contextmanager
def replace_file(path: Path, mode: int = 0o644, *, durable: bool = True) -> Iterator[Path]:
    """A name beside `path` to write to. At the end of the block, that file replaces `path`
    atomically."""
    _make_folder(path.parent, durable)
    descriptor, name = _begin(path)
    try:
        with naming(path):
            yield Path(name)
            os.chmod(name, mode)  # 0600 would hide public files from other users
            if durable:
                sync(Path(name))
            os.replace(name, path)
            if durable:
                sync(path.parent)
    finally:
        try:
            Path(name).unlink(missing_ok=True)  # it no longer exists if all went well
        finally:  # still open, it would be locked, and the next writer get another name
            os.close(descriptor)


def link(file: Path, target: Path) -> bool:
    """Try to make `target`, which exists, another name of a file. Return whether that worked: some
    filesystems cannot."""
    try:
        target.unlink()
        target.hardlink_to(file)
    except OSError:
        return False
    return True


def link_or_copy(file: Path, target: Path) -> None:
    """Make `target`, which exists, another name of a file, or a copy of it. Raises OSError."""
    if not link(file, target):
        shutil.copyfile(file, target)


def _begin(path: Path) -> tuple[int, str]:
    """An empty file beside `path`, locked until its descriptor is closed. Each file has one such
    name: the remains of a killed writer are overwritten. Of two concurrent writers, one gets
    another name."""
    name = str(path.with_name(f".{path.name[:_NAME]}{UNFINISHED}"))
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # another writer may have renamed it: then this is the file in its place
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
    """Rename a finished folder, once its whole content is on the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync(Path(place, name))
        sync(Path(place))
    folder.rename(target)
    sync(target.parent)


def is_unfinished(name: str) -> bool:
    """Return whether a file's name is that of an unfinished file."""
    return name.startswith(".") and name.endswith(UNFINISHED)


def _make_folder(folder: Path, durable: bool) -> None:
    """Make a folder and its parents. Each is on the disk before anything is put into it."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent, durable)
    folder.mkdir(exist_ok=True)
    if durable:
        sync(folder.parent)


def sync(path: Path) -> None:
    """Sync a file or a folder to the disk. Some filesystems cannot sync folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path, marker: str) -> None:
    """Delete the files that killed writers left here. Nobody may be writing. Skips a subfolder with
    a file whose name matches `marker`: it belongs to another program."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not any(Path(place, name).glob(marker))]
        for name in names:
            if is_unfinished(name):
                Path(place, name).unlink(missing_ok=True)


@contextmanager
def hold_folder(folder: Path) -> Iterator[bool]:
    """Try to lock a folder for the duration of the block, and yield whether that worked. The lock
    ends with its holder, even a killed one. Does not wait."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            ours = take_lock(descriptor) and os.fstat(descriptor).st_ino == folder.stat().st_ino
        except FileNotFoundError:  # another process's, until it was renamed
            ours = False
        yield ours
    finally:
        os.close(descriptor)


def take_lock(descriptor: int) -> bool:
    """Try to lock an open file or folder until it is closed. Return whether that worked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: Path) -> bool | None:
    """Return whether somebody holds `take_lock` on a file; None if the file does not exist."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
