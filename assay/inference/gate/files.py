"""Opens the files of a model folder: regular files within it, never a pipe, a device or a link out.

A pipe would hold up its reader for ever, and a device never ends. Only what is read here reaches a
library.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class UnfitFileError(ValueError):
    """A file that is not a regular one of the folder, or is too large."""


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file. A link may lead to another file of the same folder.

    Raises:
        OSError: it is missing or cannot be read. UnfitFileError: it is not such a file.
    """
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise UnfitFileError("is a link that leads out of its folder: put the file itself there")
    # without O_NONBLOCK, opening a pipe waits for its writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnfitFileError("is not a regular file")
        yield file


def read_regular(path: Path, limit: int) -> bytes:
    """All bytes of a regular file, at most `limit`. Raises as `open_regular`."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnfitFileError(f"is larger than {limit >> 20} MiB")
    return data
