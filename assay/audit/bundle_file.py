"""A bundle as one file: a plain tar archive, named by its SHA-256, of which every bit is fixed.

Files stand in the order of their names, as their owner nobody wrote them at the beginning of time
(POSIX.1-1988, "ustar"), so that the same bundle is the same file on every machine. A file whose
bytes an earlier one has is a hard link to that. `tar -xf` opens it, too. A reader takes nothing
else: no other kind of member, no name that leads out of the folder, no byte that `pack_bundle`
would not have written.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tarfile import BLOCKSIZE, LNKTYPE, REGTYPE, USTAR_FORMAT, TarError, TarInfo
from typing import BinaryIO

from assay.judge.seal import FILE_BYTES, SUMS_FILE, BundleError, SealError, read_sums
from assay.network.files import replace_file

#: Most files, and bytes of all of them together.
MEMBERS_MAX, BUNDLE_BYTES = 1 << 20, 16 << 30
_FILE_NAME = re.compile(r"run-([0-9a-f]{64})\.tar")
#: A folder's or a file's name; neither "." nor ".." is one.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_MEMBER_NAME = re.compile(rf"{_PART}(/{_PART})*")
#: Most characters of a name that a link can point to.
_LINK_NAME = 100
_END = bytes(2 * BLOCKSIZE)
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A bundle's file."""

    path: Path
    sha256: str  # hex
    size: int  # bytes


def pack_bundle(folder: Path, into: Path) -> BundleFile:
    """Write a sealed bundle, which was just checked, as `into/run-<SHA-256>.tar`, atomically.

    Raises:
        BundleError: it is too large, or was changed meanwhile.
        OSError: the disk.
    """
    digest, size = sha256(), 0
    for part in _encode(folder):
        digest.update(part)
        size += len(part)
    path = into / f"run-{digest.hexdigest()}.tar"
    with replace_file(path) as temporary, temporary.open("wb") as file:
        written = sha256()
        for part in _encode(folder):
            written.update(part)
            file.write(part)
        if written.digest() != digest.digest():
            raise BundleError(f"{folder} is being changed: export it again")
    return BundleFile(path, digest.hexdigest(), size)


def unpack_bundle(file: Path, folder: Path) -> None:
    """Write a bundle's files into a new folder, whose seals are not checked here.

    Raises:
        SealError: the file has another SHA-256 than its name says.
        BundleError: it is no file of a bundle; the message says where it is not. Or the disk.
    """
    named = _FILE_NAME.fullmatch(file.name)
    try:
        with file.open("rb") as opened:
            source = _Source(opened)
            _unpack(source, folder)
    except OSError as error:
        raise BundleError(f"{file} cannot be unpacked into {folder} ({error})") from None
    except ValueError as error:
        raise BundleError(f"{file} is no file of a bundle: {error}") from None
    if named is not None and source.digest.hexdigest() != named[1]:
        raise SealError(f"{file} is damaged: its SHA-256 is {source.digest.hexdigest()}")


def _encode(folder: Path) -> Iterator[bytes]:
    sums = read_sums(folder)
    names = sorted([*sums, SUMS_FILE])
    if len(names) > MEMBERS_MAX:
        raise BundleError(f"{folder} has {len(names):,} files: export fewer windows")
    first: dict[str, str] = {}
    total = 0
    for name in names:
        path, digest = folder / name, sums.get(name)
        size = path.stat().st_size
        total += size
        if total > BUNDLE_BYTES:
            raise BundleError(f"{folder} has more than {BUNDLE_BYTES:,} bytes: export less")
        if digest in first:
            yield _encode_header(name, 0, first[digest])
            continue
        if digest is not None and size and len(name) <= _LINK_NAME:
            first[digest] = name
        yield _encode_header(name, size)
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                yield data
        yield bytes(-size % BLOCKSIZE)
    yield _END


def _encode_header(name: str, size: int, link: str | None = None) -> bytes:
    info = TarInfo(name)
    info.size = size
    if link is not None:
        info.type, info.linkname = LNKTYPE, link
    try:
        return info.tobuf(USTAR_FORMAT, "ascii", "strict")
    except ValueError as error:  # a name that is too long
        raise BundleError(f"{name[:200]!r} cannot be packed: {error}") from None


class _Source:
    """A file that is read once, from its first byte on."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = sha256()
        self._file = file

    def take(self, count: int) -> bytes:
        """The next bytes. Raises a ValueError at the end."""
        data = self._file.read(count)
        if len(data) != count:
            raise ValueError("it ends early")
        self.digest.update(data)
        return data

    def require_end(self) -> None:
        """Raises a ValueError if there are more bytes."""
        if self._file.read(1):
            raise ValueError("something follows its end")


def _unpack(source: _Source, folder: Path) -> None:
    """Raises a ValueError: the source is no archive that `_encode` would write."""
    folder.mkdir()
    seen: dict[str, int] = {}  # name → size
    folders, before, total = set[str](), "", 0
    while (block := source.take(BLOCKSIZE)) != bytes(BLOCKSIZE):
        info = _decode_header(block)
        name, parents = info.name, [str(p) for p in Path(info.name).parents][:-1]
        if name <= before or name in folders or any(parent in seen for parent in parents):
            raise ValueError(f"{name!r} stands in the wrong place")
        size = info.size
        if info.type == LNKTYPE:
            if info.linkname not in seen or size:
                raise ValueError(f"{name!r} is a link to nothing before it")
            size = seen[info.linkname]
        total += size
        if size > FILE_BYTES or total > BUNDLE_BYTES or len(seen) == MEMBERS_MAX:
            raise ValueError("it has more files or bytes than are read")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if info.type == LNKTYPE:
            os.link(folder / info.linkname, folder / name)
        else:
            _write(source, size, folder / name)
        seen[name], before = size, name
        folders.update(parents)
    if source.take(BLOCKSIZE) != bytes(BLOCKSIZE):
        raise ValueError("it has one empty block and no second one")
    source.require_end()


def _decode_header(block: bytes) -> TarInfo:
    try:
        info = TarInfo.frombuf(block, "ascii", "strict")
    except TarError as error:
        raise ValueError(f"a member's header is damaged ({error})") from None
    if info.type not in (REGTYPE, LNKTYPE) or _MEMBER_NAME.fullmatch(info.name) is None:
        raise ValueError(f"{info.name[:200]!r} is no file that a bundle has")
    link = info.linkname if info.type == LNKTYPE else None
    if _encode_header(info.name, info.size, link) != block:
        raise ValueError(f"{info.name!r} is not packed as a bundle's file is")
    return info


def _write(source: _Source, size: int, path: Path) -> None:
    with path.open("xb") as file:
        for start in range(0, size, _CHUNK):
            file.write(source.take(min(_CHUNK, size - start)))
    if any(source.take(-size % BLOCKSIZE)):
        raise ValueError(f"{path.name!r} is not filled up with zeros")
