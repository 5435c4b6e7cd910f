"""A folder on this machine as a store, and single files outside of any store."""

from collections.abc import Iterable
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from assay.network.files import is_unfinished, replace_file, write_file
from assay.network.store.object_store import (
    LIST_MAX,
    ObjectSource,
    ObjectStore,
    StoreError,
    check_folder,
    check_name,
)


class FolderStore(ObjectStore):
    """A folder on this machine. Made by `open_folder`."""

    def __init__(self, store: LocalStore, root: Path) -> None:
        self._store = store
        self._root = root

    @property
    def root(self) -> Path:
        """The folder it is, links resolved."""
        return self._root

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore`."""
        self._check_inside(name)
        try:
            write_file(self._root / name, data)
        except OSError as error:
            raise self._explain(f"cannot write {name}", error) from error

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """See `ObjectStore`."""
        self._check_inside(name)
        try:
            with replace_file(self._root / name) as temporary, temporary.open("wb") as file:
                file.writelines(parts)
        except OSError as error:
            raise self._explain(f"cannot write {name}", error) from error

    def open(self, name: str) -> ObjectSource:
        """See `ObjectStore`."""
        check_name(name)
        return _StoredObject(self, name)

    def get(self, name: str, limit: int) -> bytes | None:
        """See `ObjectStore`."""
        if not self._check_inside(name):
            return None
        try:
            return _read_whole(self._store, name, limit)
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot read {name}", error) from error

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """See `ObjectStore`."""
        folder = check_folder(prefix)
        try:
            names = _list_names(self._store, folder, some)
        except (OSError, BaseError) as error:
            raise self._explain("cannot list objects", error) from error
        return tuple(name for name in names if not is_unfinished(name.rpartition("/")[2]))

    def delete(self, name: str) -> None:
        """See `ObjectStore`."""
        if not self._check_inside(name):
            return
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise self._explain(f"cannot delete {name}", error) from error

    def get_path(self, name: str) -> Path | None:
        """See `ObjectStore`."""
        return self._root / name if self._check_inside(name) else None

    def _check_inside(self, name: str) -> bool:
        """Whether a file of that name is there. Never leaves the root, be it through a link, and
        never opens a pipe or a device: reading one would wait for ever."""
        check_name(name)
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


def _read_whole(store: LocalStore, name: str, limit: int) -> bytes | None:
    """An object's bytes, all of one version; None: it is not there.

    Raises:
        StoreError: it has more than `limit` bytes.
        OSError, BaseError: obstore's, the folder cannot be read.
    """
    try:
        result = obstore.get(store, name)
        size = result.meta["size"]
        if size > limit:
            raise StoreError(f"{name} has {size} bytes; at most {limit} are read")
        return bytes(result.bytes())
    except FileNotFoundError:
        return None


def _list_names(store: LocalStore, folder: str, some: int | None) -> tuple[str, ...]:
    """Names below a folder, or all of them, sorted.

    Args:
        some: so many are enough.

    Raises:
        StoreError: all are wanted, and there are more than `LIST_MAX`.
        OSError, BaseError: obstore's, the folder cannot be read.
    """
    names: list[str] = []
    for chunk in obstore.list(store, prefix=folder or None):
        names.extend(entry["path"] for entry in chunk)
        if some is not None and len(names) >= some:
            return tuple(sorted(names[:some]))
        if len(names) > LIST_MAX:
            raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
    return tuple(sorted(names))


class _StoredObject:
    """An `ObjectSource` of a store; every call looks again."""

    def __init__(self, store: "FolderStore", name: str) -> None:
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


def open_folder(path: Path) -> FolderStore:
    """One's own folder as a store, made if it is missing.

    Raises:
        StoreError: it cannot be made or opened.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        root = path.resolve()
        return FolderStore(LocalStore(prefix=root), root)
    except (OSError, BaseError) as error:
        raise StoreError(
            f"the folder {path} cannot be opened ({str(error).partition(chr(10))[0]}): see that it "
            "is yours to write, or name another"
        ) from error
