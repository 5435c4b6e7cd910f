"""Runs inside the interpreter before `boot`, where an image has modules of its own (`modules`).

Standard input has their files. They stay packed until something reads them, and what the first
module imports is there in every run. It never runs outside.
"""

import builtins
import importlib.machinery
import importlib.resources.abc
import importlib.util
import io
import os
import sys
import types
import typing
import zlib

#: Where the files seem to lie. Nothing else is there.
_ROOT = "/modules/"
_plain_open = builtins.open


class _Packed(io.RawIOBase):
    """Reads what is packed, a piece at a time."""

    def __init__(self, packed: bytes) -> None:
        self._packed, self._unpacker = io.BytesIO(packed), zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        piece = b""
        while not piece and not self._unpacker.eof:
            given = self._unpacker.unconsumed_tail or self._packed.read(1 << 12)
            piece = self._unpacker.decompress(given, len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


class _Place(importlib.resources.abc.Traversable):
    """A file or a folder of a tree, as `importlib.resources` gives it."""

    def __init__(self, files: dict[str, bytes], path: str) -> None:
        self._files, self._path = files, path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def is_file(self) -> bool:
        return self._path in self._files

    def is_dir(self) -> bool:
        return any(path.startswith(self._path + "/") for path in self._files)

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def iterdir(self) -> typing.Iterator["_Place"]:
        before = self._path + "/"
        below = [path.removeprefix(before) for path in self._files if path.startswith(before)]
        names = dict.fromkeys(path.partition("/")[0] for path in below)
        return (_Place(self._files, before + name) for name in names)

    def joinpath(self, *names: str) -> "_Place":
        return _Place(self._files, "/".join([self._path, *names]))

    __truediv__ = joinpath

    def __fspath__(self) -> str:
        return _ROOT + self._path

    def open(self, mode: str = "r", *arguments: typing.Any, **named: typing.Any) -> typing.IO:
        if self._path not in self._files:
            raise FileNotFoundError(self._path)
        packed = self._files[self._path]
        if "b" in mode:
            return io.BytesIO(zlib.decompress(packed))
        return io.TextIOWrapper(io.BufferedReader(_Packed(packed)), *arguments, **named)


class _Resources(importlib.resources.abc.TraversableResources):
    def __init__(self, place: _Place) -> None:
        self._place = place

    def files(self) -> _Place:
        return self._place


class _Loader:
    """Finds and loads modules, and gives the data beside them.

    Attributes:
        files: path → packed content. A module's text leaves when it is loaded.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        parents = (path.rpartition("/")[0] for path in files)
        self._folders = dict.fromkeys(
            "/".join(parts[: n + 1])
            for parts in (parent.split("/") for parent in dict.fromkeys(parents))
            for n in range(len(parts))
        )

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        stem = name.replace(".", "/")
        if stem + ".py" in self.files:
            origin, is_package = stem + ".py", False
        elif stem in self._folders:
            origin, is_package = stem + "/__init__.py", True
        else:
            return None
        return importlib.util.spec_from_loader(
            name, self, origin=_ROOT + origin, is_package=is_package
        )

    def create_module(self, spec: object) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        origin = module.__spec__.origin
        module.__file__ = origin
        path = origin.removeprefix(_ROOT)
        if path in self.files:  # a folder need not have a module of its own
            text = zlib.decompress(self.files[path])
            exec(compile(text, origin, "exec", 0, True), module.__dict__)
            del self.files[path]

    def get_resource_reader(self, name: str) -> _Resources:
        return _Resources(_Place(self.files, name.replace(".", "/")))


def _read_items() -> typing.Iterator[bytes]:
    """Items of standard input, each packed, and as soon as it is read: memory that was in use once
    stays in the image. See `modules.pack`."""
    while head := os.read(0, 4):
        size, packer, parts = int.from_bytes(head, "little"), zlib.compressobj(9), []
        while size:
            part = os.read(0, min(size, 1 << 14))
            size -= len(part)
            parts.append(packer.compress(part))
        yield b"".join([*parts, packer.flush()])


def _open(
    file: typing.Any, mode: str = "r", *arguments: typing.Any, **named: typing.Any
) -> typing.IO:
    """`open` of the files, while the first module is loaded."""
    path = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
    if isinstance(path, str) and path.startswith(_ROOT):
        return _Place(_loader.files, path.removeprefix(_ROOT)).open(mode, **named)
    return _plain_open(file, mode, *arguments, **named)


_items = _read_items()
_first = zlib.decompress(next(_items)).decode()
_loader = _Loader({zlib.decompress(path).decode(): next(_items) for path in _items})
sys.meta_path.append(_loader)
_streams = sys.stdout, sys.stderr
sys.stdout = sys.stderr = io.StringIO()
builtins.open = _open
try:
    importlib.import_module(_first)
finally:
    builtins.open = _plain_open
    sys.stdout, sys.stderr = _streams
