"""A small disk of one's own, that can be filled to the last byte and emptied again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILLER = ".filler"


class Disk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        """Nothing can be written any more, not even a byte at the end of a file."""
        filler = os.open(self.folder / _FILLER, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in (1 << 20, 1 << 12):
                while True:
                    try:
                        os.write(filler, bytes(size))
                    except OSError:
                        break
        finally:
            os.close(filler)

    def clear(self) -> None:
        """There is room again."""
        (self.folder / _FILLER).unlink(missing_ok=True)


@contextmanager
def mount_disk(folder: Path, mebibytes: int) -> Iterator[Disk]:
    """A tmpfs on a new folder.

    Raises:
        PermissionError: this system lets us mount nothing: it takes root, or CAP_SYS_ADMIN.
    """
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "assay-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)
