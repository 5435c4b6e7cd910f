"""The seal of a bundle: `SHA256SUMS`, which names every file of it and itself."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from assay.gate.files import UnfitFileError, open_regular, read_regular
from assay.protocol.errors import OperatorError

ABOUT_FILE, SUMS_FILE, STORE_FOLDER = "about.json", "SHA256SUMS", "store"
_SEAL = "# seal "
#: Most bytes of a list of sums, and of a file, that are read.
_SUMS_BYTES, FILE_BYTES = 256 << 20, 1 << 30


class BundleError(OperatorError):
    """A bundle cannot be made or used. The message says why."""


class SealError(OperatorError):
    """A sealed folder differs from its seal. The message names the file."""


def require_sealed(folder: Path) -> None:
    """Read every file once. Raises SealError: names every file that was changed, is missing, or was
    added."""
    faults = find_broken_seals(folder)
    if faults:
        raise SealError("; ".join(faults[:8]))


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a bundle but the list of sums itself, by name. Raises a
    SealError: that list is missing or damaged."""
    try:
        sums = _parse(read_regular(folder / SUMS_FILE, _SUMS_BYTES))
    except OSError as error:
        raise SealError(f"{folder / SUMS_FILE} cannot be read ({error.strerror})") from None
    except UnfitFileError as error:
        raise SealError(f"{folder / SUMS_FILE} {error}") from None
    if sums is None:
        raise SealError(f"{folder / SUMS_FILE} is damaged: it is not as it was sealed")
    return sums


def require_bundle(folder: Path) -> None:
    """Check that a path is a bundle's file, or its folder, whole or not. Raises BundleError."""
    if folder.is_file():  # what it is shows when it is unpacked
        return
    if not (folder / ABOUT_FILE).is_file() and not (folder / SUMS_FILE).is_file():
        raise BundleError(
            f"{folder} is not a bundle: name what `assay audit export` made, or the folder "
            "`bundle` of a demo"
        )


def find_broken_seals(folder: Path) -> list[str]:
    """The differences of a folder from its seals, one sentence each."""
    path = folder / SUMS_FILE
    try:
        data = read_regular(path, _SUMS_BYTES)
    except UnfitFileError as error:
        return [f"{path} {error}: the bundle is not whole"]
    except OSError as error:
        return [
            f"{path} cannot be read ({error.strerror}): the bundle is not whole; where its export "
            "was cut off, the same `assay audit export` goes on"
        ]
    sums = _parse(data)
    if sums is None:
        return [f"{path} is damaged: it is not as it was sealed"]
    present, faults = set(list_files(folder)), []
    for name, digest in sums.items():
        if name not in present:
            is_folder = (folder / name).is_dir()
            faults.append(f"{folder / name} is {'a folder' if is_folder else 'missing'}")
        elif digest_file(folder / name) != digest:
            faults.append(f"{folder / name} is damaged: it is not as it was sealed")
    faults += [f"{folder / name} was not sealed" for name in sorted(present - sums.keys())]
    return faults


def format_sums(sums: dict[str, str]) -> bytes:
    """The list of sums, name → SHA-256 in hex, with its own seal."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    return lines + f"{_SEAL}{hashlib.sha256(lines).hexdigest()}\n".encode()


def _parse(data: bytes) -> dict[str, str] | None:
    """Name → digest; None unless these are exactly the bytes that `format_sums` writes."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        return None
    pairs = [(line[66:], line[:64]) for line in lines[:-1]]
    sums = dict(pairs)
    names = all(name and not name.startswith("/") and ".." not in name for name in sums)
    return sums if names and format_sums(sums) == data else None


def list_files(folder: Path) -> Iterator[str]:
    """Names of everything in a folder that a seal is to name."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (not path.is_dir() and name != SUMS_FILE):
            yield name


def digest_file(path: Path) -> str:
    """SHA-256 in hex; other words for what is not read."""
    try:
        if not path.is_symlink() and path.stat().st_size <= FILE_BYTES:
            with open_regular(path) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
    except UnfitFileError:
        pass
    return "no plain file of a size that is read"


def read_file(path: Path, limit: int = FILE_BYTES) -> bytes:
    """A file of a bundle, of at most `limit` bytes. Raises a BundleError: it cannot be read."""
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}): the bundle was made for other facts"
        ) from None
    except UnfitFileError as error:
        raise BundleError(f"{path} {error}") from None
