"""Opens the files of a model folder: regular files within it, never a pipe, a device or a link out.

A pipe would hold up its reader for ever, and a device never ends. Only what is read here reaches a
library.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

#: Most bytes of a folder's small files, and of those that Python parses as JSON.
SMALL_FILE_BYTES, JSON_BYTES = 64 << 20, 4 << 20


class UnfitFileError(ValueError):
    """A file that is not a regular one of the folder, or is too large."""


@contextmanager
def open_regular(path: Path, *, follow: bool = False) -> Iterator[BufferedReader]:
    """Open a regular file. A link may lead to another file of the same folder; with `follow`,
    anywhere.

    Raises:
        OSError: it is missing or cannot be read. UnfitFileError: it is not such a file.
    """
    if not follow and path.is_symlink() and not _stays(path):
        raise UnfitFileError("is a link that leads out of its folder: put the file itself there")
    # without O_NONBLOCK, opening a pipe waits for its writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnfitFileError("is not a regular file")
    with open(descriptor, "rb") as file:
        yield file


def _stays(link: Path) -> bool:
    """Whether a link leads to a place in its own folder."""
    try:
        return link.resolve().parent == link.parent.resolve()
    except RuntimeError:  # links that form a circle, before Python 3.13
        raise UnfitFileError("is a link to itself: put the file itself there") from None


def read_regular(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """All bytes of a regular file, at most `limit`. Arguments and errors as `open_regular`."""
    with open_regular(path, follow=follow) as file:
        # one that is too large may be all holes, of which the disk has nothing
        data = file.read(limit + 1) if os.fstat(file.fileno()).st_size <= limit else None
    if data is None or len(data) > limit:
        most = f"{limit >> 20} MiB" if limit >> 20 else f"{limit:,} bytes"
        raise UnfitFileError(f"is larger than {most}")
    return data
