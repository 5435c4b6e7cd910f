"""The interface of all stores: names, objects, errors."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from assay.protocol.errors import OperatorError

#: Longest locator that fits a commitment, bytes of UTF-8 (specification, section 1).
LOCATOR_MAX = 80
#: Longest name, characters.
NAME_MAX = 512
#: Most names one listing returns.
LIST_MAX = 100_000

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class StoreError(OperatorError):
    """A store cannot be used; the message says what to do about it, to the operator of the machine:
    it may hold what names mean in his network, and where his folders are."""

    @property
    def public(self) -> str:
        """The same for everybody, with nothing in it that only this machine can know."""
        return "it cannot be reached from where its reader is"


class ServedError(StoreError):
    """A fault of a locator, or of the object served there, for all readers."""

    @property
    def public(self) -> str:
        """All of the message."""
        return str(self)


class ObjectSource(Protocol):
    """One object that can be read by range; it may be absent, and may change between two reads."""

    def size(self) -> int | None:
        """Bytes of the object; None: it is not there."""

    def read(self, start: int, end: int) -> bytes | None:
        """Bytes [start, end), fewer where the object ends before; None: it is not there."""


class ObjectStore(ABC):
    """Named objects under one root; safe to share between threads.

    Everything that goes wrong is a StoreError: a name that leaves the store, a store that cannot be
    read or written, or is only read from here.
    """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Writes an object whole: a reader sees the old bytes or the new ones, never a mixture."""

    @abstractmethod
    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """The same from parts, which are never all in memory together."""

    @abstractmethod
    def open(self, name: str) -> ObjectSource:
        """The object of that name. Nothing is read yet, and it need not exist."""

    @abstractmethod
    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes, all of one version; None: it is not there. StoreError, too, where it
        has more than `limit` bytes."""

    @abstractmethod
    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """Names below the folder `prefix`, or all of them, sorted.

        Args:
            some: so many are enough, whichever; None: StoreError where there are more than
                `LIST_MAX`.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Takes an object away; one that is not there stays away."""

    def get_path(self, name: str) -> Path | None:
        """The file on this machine that an object is, if it is one."""
        check_name(name)
        return None


def is_name(text: str) -> bool:
    """Whether it is an object's name: plain path segments, which mean one thing to every kind of
    store."""
    fine = len(text) <= NAME_MAX and _NAME.fullmatch(text) is not None
    return fine and not {".", ".."} & set(text.split("/"))


def check_name(name: str) -> None:
    """`StoreError` unless `is_name`."""
    if not is_name(name):
        raise StoreError(
            f"{name[:NAME_MAX]!r} is not an object's name: use letters, digits, ._- and slashes"
        )


def check_folder(prefix: str) -> str:
    """The folder that a listing is of, without a slash at its end; "": all of the store."""
    folder = prefix.removesuffix("/")
    if folder:
        check_name(folder)
    return folder
