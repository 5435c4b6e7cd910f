"""Writes zip archives of always the same bytes, and reads files of a stranger's within limits,
however much they claim to unpack to.

An archive says how large each file is, and lies where it likes. `ZipFile.read` unpacks first and
compares afterwards, and its bz2 and lzma unpack all of a file at once. So only stored and deflated
files are read here, a piece at a time, and never past the limit.
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

#: Ways to store a file that unpack a piece at a time.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_PIECE = 1 << 16
#: How a file in an archive begins: this, and at these places the length of its name, and the name.
_MAGIC, _NAME_LENGTH, _NAME = b"PK\x03\x04", slice(26, 28), 30
#: The first time that zip can write. It is fixed so that the same files give the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)
#: Errors of reading a damaged archive, with any compression.
ZIP_FAULTS = (
    *(zipfile.BadZipFile, RuntimeError, OSError, ValueError, EOFError, KeyError, OverflowError),
    *(zlib.error, lzma.LZMAError, struct.error),
)
#: A field of a file that gives it another name, which Python reads from 3.12 on. Here and in the
#: interpreter inside are different versions.
_OTHER_NAME = 0x7075


def write_archive(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of the members in their order. Stored, the bytes are always the same."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for path, data in members.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), data, method)
    return packed.getvalue()


def read_first_name(file: Path) -> str | None:
    """The name of the first file of an archive; None if `file` is not a regular file that begins
    like one."""
    if not file.is_file():
        return None
    try:
        with file.open("rb") as opened:
            head = opened.read(_NAME + (1 << 16))
    except OSError:
        return None
    size = int.from_bytes(head[_NAME_LENGTH], "little")
    return head[_NAME : _NAME + size].decode(errors="replace") if head.startswith(_MAGIC) else None


def find_method_fault(infos: Iterable[zipfile.ZipInfo]) -> str | None:
    """The reason why a file of an archive is not read, or None."""
    for info in infos:
        if info.compress_type not in METHODS:
            return f"{info.filename[:80]!r} is packed in another way than stored or deflated"
        if info.flag_bits & 1:
            return f"{info.filename[:80]!r} is encrypted"
        if _OTHER_NAME in _list_fields(info.extra):
            return f"{info.filename[:80]!r} has a second name"
    return None


def _list_fields(extra: bytes) -> Iterator[int]:
    """The kinds of a file's extra fields."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        yield kind
        extra = extra[4 + size :]


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A file of an archive.

    Raises:
        ValueError: it is packed in another way, or has more than `limit` bytes. zipfile's own
            errors and zlib's: it is damaged.
    """
    fault = find_method_fault([archive.getinfo(name)])
    if fault is not None:
        raise ValueError(fault)
    pieces, left = [], limit
    with archive.open(name) as member:
        while piece := member.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"{name[:80]!r} unpacks to more than {limit} bytes")
            pieces.append(piece)
    return b"".join(pieces)
