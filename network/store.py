"""An object store: names to bytes, read whole or by range. Where submissions and checkpoints lie.

A store is found by its locator, a URL of at most 80 bytes, which is what a commitment carries.
Folders on this machine (`file:///…`) are all there is yet; obstore gives S3 and HTTP the same
calls, so that only `open_store` has to learn them.

Everything that goes wrong with a store is a `StoreError`. A name that is not there is no error:
whoever asked decides what a missing object means. So does whoever opens a locator that a stranger
published: `StoreError` then means that the stranger's store cannot be read.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from assay.protocol.errors import OperatorError

#: Longest locator, bytes of UTF-8: what fits a commitment (specification, section 1).
LOCATOR_MAX = 80
#: Longest name, characters.
NAME_MAX = 512
#: Most names one listing returns.
LIST_MAX = 100_000

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class StoreError(OperatorError):
    """A store cannot be used; the message says what to do about it."""


class ObjectSource(Protocol):
    """One object that can be read by range; it may be absent, and may change between two reads."""

    def size(self) -> int | None:
        """Bytes of the object; None: it is not there."""

    def read(self, start: int, end: int) -> bytes | None:
        """Bytes [start, end), fewer where the object ends before; None: it is not there."""


class ObjectStore:
    """Named objects under one root. Made by `open_store`; safe to share between threads."""

    def __init__(self, store: LocalStore, root: Path) -> None:
        self._store = store
        self._root = root

    @property
    def root(self) -> Path:
        """The folder it is, links resolved."""
        return self._root

    def put(self, name: str, data: bytes) -> None:
        """Writes an object whole: a reader sees the old bytes or the new ones, never a mixture.

        Raises:
            StoreError: the name leaves the store, or the store cannot be written.
        """
        self._check_inside(name)
        try:
            obstore.put(self._store, name, data)
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot write {name}", error) from error

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """The same from parts, which never stand in memory together.

        Raises:
            StoreError: the name leaves the store, or the store cannot be written.
        """
        self._check_inside(name)
        try:
            obstore.put(self._store, name, iter(parts))
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot write {name}", error) from error

    def open(self, name: str) -> ObjectSource:
        """The object of that name. Nothing is read yet, and it need not exist.

        Raises:
            StoreError: the name leaves the store.
        """
        _check_name(name)
        return _StoredObject(self, name)

    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes, all of one version; None: it is not there.

        Raises:
            StoreError: it has more than `limit` bytes, the name leaves the store, or the store
                cannot be read.
        """
        if not self._check_inside(name):
            return None
        try:
            result = obstore.get(self._store, name)
            size = result.meta["size"]
            if size > limit:
                raise StoreError(f"{name} has {size} bytes; at most {limit} are read")
            return bytes(result.bytes())
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot read {name}", error) from error

    def list(self, prefix: str = "") -> tuple[str, ...]:
        """Names below the folder `prefix`, or all of them, sorted.

        Raises:
            StoreError: there are more than `LIST_MAX`, the prefix leaves the store, or the store
                cannot be read.
        """
        folder = prefix.removesuffix("/")
        if folder:
            _check_name(folder)
        names: list[str] = []
        try:
            for chunk in obstore.list(self._store, prefix=folder or None):
                names.extend(entry["path"] for entry in chunk)
                if len(names) > LIST_MAX:
                    raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
        except (OSError, BaseError) as error:
            raise self._explain("cannot list objects", error) from error
        return tuple(sorted(names))

    def _check_inside(self, name: str) -> bool:
        """Whether a file of that name is there. Never leaves the root, be it through a link, and
        never opens a pipe or a device: reading one would wait for ever."""
        _check_name(name)
        path = self._root / name
        try:
            if not path.resolve().is_relative_to(self._root):
                raise StoreError(f"{name} leads out of the store {self._root}: remove that link")
            return path.is_file()
        except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
            raise self._explain(f"cannot look up {name}", error) from error

    def _explain(self, problem: str, error: Exception) -> StoreError:
        cause = str(error).partition("\n")[0]
        return StoreError(
            f"{problem} in the store {self._root} ({cause}): see that the folder exists, is yours "
            "to read and write, and that its disk is not full"
        )


class _StoredObject:
    """An `ObjectSource` of a store; every call looks again."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._owner = store
        self._name = name

    def size(self) -> int | None:
        owner = self._owner
        if not owner._check_inside(self._name):
            return None
        try:
            return int(obstore.head(owner._store, self._name)["size"])
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise owner._explain(f"cannot read {self._name}", error) from error

    def read(self, start: int, end: int) -> bytes | None:
        owner = self._owner
        size = self.size()  # obstore takes a range that starts past the end for an error
        if size is None:
            return None
        end = min(end, size)
        if not 0 <= start < end:
            return b""
        try:
            return bytes(obstore.get_range(owner._store, self._name, start=start, end=end))
        except FileNotFoundError:
            return None
        except (OSError, BaseError) as error:
            raise owner._explain(f"cannot read {self._name}", error) from error


class _LocalFile:
    """An `ObjectSource` over a file that its user named."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int | None:
        try:
            return self._path.stat().st_size if self._path.is_file() else None
        except OSError as error:
            raise StoreError(f"cannot look up {self._path} ({error.strerror})") from error

    def read(self, start: int, end: int) -> bytes | None:
        size = self.size()
        if size is None:
            return None
        end = min(end, size)
        if not 0 <= start < end:
            return b""
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(end - start)
        except FileNotFoundError:
            return None
        except OSError as error:
            detail = f"cannot read {self._path} ({error.strerror}): see that it is yours to read"
            raise StoreError(detail) from error


def open_file(path: Path) -> ObjectSource:
    """One file on this machine, outside of any store. Nothing is read yet; it need not exist."""
    return _LocalFile(path)


def open_store(locator: str) -> ObjectStore:
    """The store that a locator names; the folder must exist.

    Raises:
        StoreError: too long, of a kind that is not served, or no such folder.
    """
    if len(locator.encode(errors="replace")) > LOCATOR_MAX:
        raise StoreError(f"a locator has at most {LOCATOR_MAX} bytes: use a shorter path")
    try:
        url = urlsplit(locator)
    except ValueError as error:
        raise StoreError(f"{locator!r} is not a URL ({error})") from error
    path = Path(unquote(url.path))
    local = url.scheme == "file" and url.netloc in ("", "localhost")
    if not local or url.query or url.fragment or not path.is_absolute() or "\0" in str(path):
        raise StoreError(f"{locator!r} is not a store: write file:///an/absolute/folder")
    try:
        exists = path.is_dir()
    except OSError as error:
        raise StoreError(f"the store folder {str(path)!r} cannot be looked up: {error}") from error
    if not exists:
        raise StoreError(f"the store folder {str(path)!r} does not exist: create it, or correct it")
    return open_folder(path)


class ReadableStores:
    """Which of the locators that strangers published are opened here: those at or below a root.

    Args:
        roots: locators that this program's operator named.

    Raises:
        StoreError: a root is no store.
    """

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [open_store(root) for root in roots]

    def get(self, locator: str) -> ObjectStore | None:
        """The store of a locator; None where its owner may not be read from here.

        Raises:
            StoreError: it may, and cannot be opened.
        """
        store = open_store(locator)
        allowed = any(store.root.is_relative_to(own.root) for own in self._roots)
        return store if allowed else None

    def open(self, locator: str) -> ObjectStore:
        """The same where nothing can be done without it.

        Raises:
            StoreError: it may not be read from here, or cannot be opened.
        """
        store = self.get(locator)
        if store is None:
            raise StoreError(
                f"{locator!r} is not among the stores that may be read here: name it, or a folder "
                "above it, with --readable"
            )
        return store


def open_folder(path: Path) -> ObjectStore:
    """One's own folder as a store, made if it is missing.

    Raises:
        StoreError: it cannot be made or opened.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        root = path.resolve()
        return ObjectStore(LocalStore(prefix=root), root)
    except (OSError, BaseError) as error:
        raise StoreError(
            f"the folder {path} cannot be opened ({str(error).partition(chr(10))[0]}): see that it "
            "is yours to write, or name another"
        ) from error


def _check_name(name: str) -> None:
    """Plain path segments only: what means one thing to every kind of store."""
    parts = name.split("/")
    if len(name) > NAME_MAX or not _NAME.fullmatch(name) or "." in parts or ".." in parts:
        raise StoreError(
            f"{name[:NAME_MAX]!r} is no object's name: use letters, digits and ._- between slashes"
        )
