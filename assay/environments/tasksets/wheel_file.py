"""Wheels: written with always the same bytes, and checked before anything of one runs.

Format: the binary distribution format of packaging.python.org (PEP 427), its RECORD included.
"""

import base64
import csv
import io
import re
import zipfile
from collections.abc import Mapping
from hashlib import sha256

from assay.environments.foreign.archive import (
    ZIP_FAULTS,
    find_method_fault,
    read_member,
    write_archive,
)

#: Limits: bytes of a wheel, of all its content unpacked; files in it.
WHEEL_MAX, UNPACKED_MAX, MEMBERS_MAX = 4 << 20, 16 << 20, 256
_LIBRARIES = (".so", ".pyd", ".dll", ".dylib", ".a", ".o", ".pyc", ".pyo", ".wasm")
_SOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}(?:/[A-Za-z_][A-Za-z0-9_]{0,63}){0,4}\.py")


class WheelError(ValueError):
    """Bytes that are no usable wheel; `check` is the check that failed."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(detail)
        self.check, self.detail = check, detail


def write_wheel(
    name: str, version: str, requires: tuple[str, ...], summary: str, files: Mapping[str, bytes]
) -> tuple[str, bytes]:
    """The file's name and its bytes.

    Args:
        name: name of the distribution and of its one package, `a_b`.
        requires: requirements as `Requires-Dist` writes them.
        files: path within the wheel → content.
    """
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name.replace('_', '-')}", f"Version: {version}"]
    lines += [f"Summary: {summary}", "Requires-Python: >=3.11,<3.13"]
    lines += [f"Requires-Dist: {one}" for one in requires]
    tags = "Wheel-Version: 1.0\nGenerator: assay\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members = dict(sorted(files.items()))
    members[f"{info}/METADATA"] = ("\n".join(lines) + "\n").encode()
    members[f"{info}/WHEEL"] = tags.encode()
    record = [f"{path},sha256={_encode(data)},{len(data)}\n" for path, data in members.items()]
    members[f"{info}/RECORD"] = ("".join(record) + f"{info}/RECORD,,\n").encode()
    return f"{name}-{version}-py3-none-any.whl", write_archive(members)


def read_wheel(data: bytes) -> str:
    """Check a wheel's list of files, their digests and their kinds. Returns the one module or
    package that it installs.

    Raises:
        WheelError: this is no wheel, its RECORD disagrees, or it has a native library.
    """
    if len(data) > WHEEL_MAX:
        raise WheelError("wheel", f"it has {len(data)} bytes, more than {WHEEL_MAX}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _read_members(archive)
    except WheelError:
        raise
    except ZIP_FAULTS as error:
        raise WheelError(
            "wheel", f"it is not a zip archive: {error or 'it ends too soon'}"
        ) from None


def _read_members(archive: zipfile.ZipFile) -> str:
    infos = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in infos]
    if not 1 <= len(names) == len(set(names)) <= MEMBERS_MAX:
        raise WheelError(
            "wheel", f"it has {len(names)} files: 1 to {MEMBERS_MAX} may be, each once"
        )
    if sum(info.file_size for info in infos) > UNPACKED_MAX:
        raise WheelError("wheel", f"it unpacks to more than {UNPACKED_MAX >> 20} MiB")
    if fault := find_method_fault(infos):
        raise WheelError("wheel", fault)
    if bad := [name for name in names if name.startswith("/") or ".." in name.split("/")]:
        raise WheelError("wheel", f"{bad[0][:80]!r} would lie outside of it")
    if native := [name for name in names if name.lower().endswith(_LIBRARIES)]:
        raise WheelError(
            "python alone", f"{native[0][:80]} is native or compiled: only text may be"
        )
    if moved := [name for name in names if ".data/" in name or name.endswith(".pth")]:
        raise WheelError("python alone", f"{moved[0][:80]} would be put elsewhere when installed")
    _compare_record(archive, names)
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    modules = sorted({top.removesuffix(".py") for top in tops})
    if len(modules) != 1 or not {f"{modules[0]}.py", f"{modules[0]}/__init__.py"} & set(names):
        raise WheelError(
            "wheel",
            f"it installs {', '.join(modules[:4]) or 'nothing'}: one module or package may be",
        )
    odd = [name for name in names if name.endswith(".py") and not _SOURCE.fullmatch(name)]
    if odd:
        raise WheelError("wheel", f"{odd[0][:80]!r} is not a name of a module")
    return modules[0]


def _compare_record(archive: zipfile.ZipFile, names: list[str]) -> None:
    """Raises WheelError if RECORD lacks a file or has another digest for it."""
    records = [name for name in names if re.fullmatch(r"[^/]+\.dist-info/RECORD", name)]
    if len(records) != 1:
        raise WheelError("record", f"it has {len(records)} RECORD files, not one")
    try:
        rows = list(csv.reader(_read(archive, records[0]).decode().splitlines()))
    except (UnicodeDecodeError, csv.Error) as error:
        raise WheelError("record", f"its RECORD cannot be read: {error}") from None
    recorded = {row[0]: row[1] for row in rows if len(row) == 3}
    for name in names:
        if name == records[0]:
            continue
        if name not in recorded:
            raise WheelError("record", f"{name[:80]} is not in its RECORD")
        if recorded[name] != f"sha256={_encode(_read(archive, name))}":
            raise WheelError("record", f"{name[:80]} has not the digest that its RECORD says")


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    return read_member(archive, name, archive.getinfo(name).file_size)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
