"""A folder on this machine as a store, and single files outside of any store."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISLNK, S_ISREG

from assay.network.files import is_unfinished, replace_file, write_file
from assay.network.store.base import (
    LIST_MAX,
    ObjectSource,
    ObjectStore,
    StoreError,
    check_folder,
    check_name,
    is_name,
)


class FolderStore(ObjectStore):
    """A folder on this machine, `root` with its links resolved. Made by `open_folder`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, data: bytes) -> None:
        self.is_there(name)
        with self.explaining(f"cannot write {name}"):
            write_file(self.root / name, data)

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        self.is_there(name)
        with (
            self.explaining(f"cannot write {name}"),
            replace_file(self.root / name) as temporary,
            temporary.open("wb") as file,
        ):
            file.writelines(parts)

    def open(self, name: str) -> ObjectSource:
        check_name(name)
        return _StoredFile(self, name)

    def get(self, name: str, limit: int) -> bytes | None:
        if not self.is_there(name):
            return None
        problem = f"cannot read {name}"
        with self.explaining(problem):
            try:
                file = (self.root / name).open("rb")
            except FileNotFoundError:
                return None
            with file:
                size = os.fstat(file.fileno()).st_size
                if size > limit:
                    raise StoreError(f"{name} has {size} bytes; at most {limit} are read")
                data = file.read(size)
        if len(data) < size:
            raise self.explain(problem, EOFError("it was cut short meanwhile"))
        return data

    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        folder = check_folder(prefix)
        names: list[str] = []
        with self.explaining("cannot list objects"):
            for name in _walk(self.root / folder, f"{folder}/" if folder else "", ()):
                names.append(name)
                if len(names) == some:
                    break
                if some is None and len(names) > LIST_MAX:
                    raise StoreError(f"more than {LIST_MAX} objects below {folder!r}: list less")
        return tuple(sorted(names))

    def delete(self, name: str) -> None:
        if not self.is_there(name):
            return
        with self.explaining(f"cannot delete {name}"):
            (self.root / name).unlink(missing_ok=True)

    def get_path(self, name: str) -> Path | None:
        return self.root / name if self.is_there(name) else None

    def is_there(self, name: str) -> bool:
        """Return whether there is a file of that name. Never leaves the root, not even through a
        link, and never opens a pipe or a device: reading one could wait for ever."""
        check_name(name)
        path = str(self.root)
        try:
            for part in name.split("/"):
                path += f"/{part}"
                mode = os.lstat(path).st_mode
                if S_ISLNK(mode):
                    return self._is_behind_link(name)
            return S_ISREG(mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, RuntimeError) as error:  # RuntimeError: links that form a circle
            raise self.explain(f"cannot look up {name}", error) from error

    def _is_behind_link(self, name: str) -> bool:
        path = self.root / name
        if not path.resolve().is_relative_to(self.root):
            raise StoreError(f"{name} leads out of the store {self.root}: remove that link")
        return path.is_file()

    @contextmanager
    def explaining(self, problem: str) -> Iterator[None]:
        """Raise the system's errors as a StoreError."""
        try:
            yield
        except OSError as error:
            raise self.explain(problem, error) from error

    def explain(self, problem: str, error: Exception) -> StoreError:
        """A failure of this folder, for its operator."""
        cause = str(error).partition("\n")[0]
        return StoreError(
            f"{problem} in the store {self.root} ({cause}): make sure that the folder exists, that "
            "you may read and write it, and that its disk is not full"
        )


def _walk(folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Names, each with `prefix`, of the files below a folder, which need not exist. `above` has
    device and inode of each folder that leads to it. A link back to one is an `OSError`."""
    try:
        status = folder.stat()
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    here = status.st_dev, status.st_ino
    if here in above:
        raise OSError(f"{folder} is a link to a folder above")
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir():
            yield from _walk(Path(entry.path), f"{name}/", (*above, here))
        elif entry.is_file() and is_name(name) and not is_unfinished(entry.name):
            yield name


class _LocalFile:
    """An `ObjectSource` over a file that a user named. Every call looks again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int | None:
        try:
            return get_size(self._path) if self._is_there() else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explain(error) from error

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
                data = file.read(end - start)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._explain(error) from error
        if not data:
            raise self._explain(EOFError("it was truncated meanwhile"))
        return data

    def _is_there(self) -> bool:
        return self._path.is_file()

    def _explain(self, error: Exception) -> StoreError:
        cause = getattr(error, "strerror", None) or error
        return StoreError(f"cannot read {self._path} ({cause}): make sure that you may read it")


class _StoredFile(_LocalFile):
    """One of a store's objects, as a file."""

    def __init__(self, store: FolderStore, name: str) -> None:
        super().__init__(store.root / name)
        self._store = store
        self._name = name

    def _is_there(self) -> bool:
        return self._store.is_there(self._name)

    def _explain(self, error: Exception) -> StoreError:
        return self._store.explain(f"cannot read {self._name}", error)


def get_size(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


def open_file(path: Path) -> ObjectSource:
    """One file on this machine, outside of any store. It is not read yet, and need not exist."""
    return _LocalFile(path)


def open_folder(path: Path) -> FolderStore:
    """An operator's own folder as a store, created if it is missing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        return FolderStore(path.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: links that form a circle
        raise StoreError(
            f"the folder {path} cannot be opened ({str(error).partition(chr(10))[0]}): make sure "
            "that you may write to it, or name another"
        ) from error
