"""A package: an environment that somebody else wrote, as one archive of Python named by its
SHA-256.

This module looks only at the archive's list of files. What is in them is read inside the sandbox.
"""

import io
import re
import zipfile
from pathlib import Path

from assay.environments.foreign.archive import EPOCH, ZIP_FAULTS, find_method_fault, write_archive

#: Limits: bytes of an archive, of all its text unpacked; files in it.
ARCHIVE_MAX, SOURCE_MAX, FILES_MAX = 1 << 20, 4 << 20, 64
_PATH = re.compile(r"([a-z][a-z0-9_]{0,39})((?:/[a-z_][a-z0-9_]{0,39}){0,3})\.py")


def find_fault(data: bytes) -> str | None:
    """The fault that makes the archive's list of files unfit for a package, or None. Unpacks
    nothing."""
    if len(data) > ARCHIVE_MAX:
        return f"it has {len(data)} bytes, more than {ARCHIVE_MAX}"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _find_listed_fault(archive.infolist())
    except ZIP_FAULTS as error:
        return f"it is not a zip archive: {error or 'it ends too soon'}"


def _find_listed_fault(infos: list[zipfile.ZipInfo]) -> str | None:
    names = [info.filename for info in infos]
    if not 1 <= len(names) == len(set(names)) <= FILES_MAX:
        return f"it has {len(names)} files: 1 to {FILES_MAX} may be, each once"
    for name in names:
        if not _PATH.fullmatch(name):
            return f"{name[:80]!r} is in it: files of Python in folders of lower-case names may be"
    if fault := find_method_fault(infos):
        return fault
    if sum(info.file_size for info in infos) > SOURCE_MAX:
        return f"it unpacks to more than {SOURCE_MAX >> 20} MiB"
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or f"{min(tops)}/__init__.py" not in names:
        return f"it holds {', '.join(sorted(tops)[:4])}: one folder with an __init__.py may be"
    return None


def is_packed(file: Path) -> bool:
    """Whether `pack_folder` made the archive: all its files have the first time that zip can
    write."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except ZIP_FAULTS:
        return False
    return _find_listed_fault(infos) is None and {info.date_time for info in infos} == {EPOCH}


def pack_folder(folder: Path) -> bytes:
    """The archive of a package's folder: its Python files except tests. The bytes are always the
    same.

    Raises:
        OSError: the folder cannot be read.
    """
    members = {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.py"))
        if not path.name.startswith("test_") and "__pycache__" not in path.parts
    }
    return write_archive(members)
