"""The interface of all stores: names, objects, errors."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from assay.protocol.errors import OperatorError, TroubleKind

#: Longest locator that fits a commitment, bytes of UTF-8 (specification, section 1).
LOCATOR_MAX = 80
#: Longest name, characters.
NAME_MAX = 512
#: Most names one listing returns.
LIST_MAX = 100_000

_NAME = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


class StoreError(OperatorError):
    """A store cannot be used. The message tells this machine's operator what to do. It may name
    folders, and addresses in the operator's own network."""

    trouble_kind = TroubleKind.STORE

    @property
    def public(self) -> str:
        """The same error for everybody, without anything that only this machine can know."""
        return "it cannot be reached from where its reader is"


class ServedError(StoreError):
    """A fault of a locator, or of the object served there, for all readers."""

    @property
    def public(self) -> str:
        """The whole message."""
        return str(self)


class ObjectSource(Protocol):
    """One object that can be read by range. It may be absent, and may change between two reads."""

    def size(self) -> int | None:
        """Bytes of the object; None: it does not exist."""

    def read(self, start: int, end: int) -> bytes | None:
        """Bytes [start, end), fewer if the object ends before; None: it does not exist."""


class ObjectStore(ABC):
    """Named objects under one root; safe to share between threads.

    Every failure is a StoreError: a name that leaves the store, a store that cannot be read or
    written, or that is read-only from here.
    """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write an object atomically: a reader sees the old bytes or the new ones, never a
        mixture."""

    @abstractmethod
    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """The same from parts, which are never all in memory together."""

    @abstractmethod
    def open(self, name: str) -> ObjectSource:
        """The object of that name. It is not read yet, and need not exist."""

    @abstractmethod
    def get(self, name: str, limit: int) -> bytes | None:
        """An object's bytes, all of one version; None: it does not exist. Raises a StoreError also
        if it has more than `limit` bytes."""

    @abstractmethod
    def list(self, prefix: str = "", some: int | None = None) -> tuple[str, ...]:
        """Names below the folder `prefix`, or all of them, sorted.

        Args:
            some: any names, up to this many, suffice; None: StoreError if there are more than
                `LIST_MAX`.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete an object. A missing one is not an error."""

    def get_path(self, name: str) -> Path | None:
        """The file on this machine that holds an object, or None."""
        check_name(name)
        return None


def is_name(text: str) -> bool:
    """Return whether a text is an object's name: plain path segments, which every kind of store
    interprets alike."""
    fine = len(text) <= NAME_MAX and _NAME.fullmatch(text) is not None
    return fine and not {".", ".."} & set(text.split("/"))


def check_name(name: str) -> None:
    """Raise a `StoreError` unless `is_name`."""
    if not is_name(name):
        raise StoreError(
            f"{name[:NAME_MAX]!r} is not an object's name: use letters, digits, ._- and slashes"
        )


def check_folder(prefix: str) -> str:
    """The folder of a listing, without a slash at its end; "": the whole store."""
    folder = prefix.removesuffix("/")
    if folder:
        check_name(folder)
    return folder
