"""A neuron's memory on disk: one SQLite file that holds only whole transactions.

It uses a write-ahead log with `synchronous=FULL`: a committed transaction survives a kill or a
power cut, and an uncommitted one leaves no trace. One program writes. Others may read meanwhile.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from assay.protocol.encoding import EncodingError, from_json, read_json
from assay.protocol.errors import OperatorError, TroubleKind

#: Name of a validator's file in its folder.
VALIDATOR_FILE = "validator.sqlite"
#: Version of the tables. A file of another version is refused.
_VERSION = 2
#: Seconds that a reading program may hold the file.
_BUSY_S = 10.0


_D = TypeVar("_D")


class JournalError(OperatorError):
    """The file cannot be used, or is another's. The message says which file and what to do."""

    trouble_kind = TroubleKind.DISK


class Database:
    """One file. Safe to use from several threads of one program.

    Args:
        file: created if it does not exist; None: a database in memory, for the life of this object.
        read_only: for a reader beside the program that writes.

    Raises:
        JournalError: the file cannot be used.
    """

    def __init__(self, file: Path | None = None, *, read_only: bool = False) -> None:
        self.name = "memory" if file is None else str(file)
        self._lock = RLock()
        self._depth = 0
        if read_only and (file is None or not file.exists()):
            raise JournalError(f"{self.name} does not exist: no validator has run in that folder")
        mode = "ro" if read_only else "rwc"
        where = ":memory:" if file is None else f"{file.resolve().as_uri()}?mode={mode}"
        with self._explain():
            if file is not None and not read_only:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                where, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=True
            )
            if not read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            self._require_version(read_only)

    def _require_version(self, read_only: bool) -> None:
        ((version,),) = self._connection.execute("PRAGMA user_version")
        if version == 0 and not read_only:  # a new file
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION:
            raise JournalError(
                f"{self.name} is of version {version} and this program writes {_VERSION}: use the "
                "program that wrote it, or a new folder"
            )

    def copy_to(self, file: Path) -> None:
        """Write a copy into a new file. Another opener of this one's bytes would end its locks.
        Raises JournalError: it cannot be written."""
        with self._lock, self._explain(), closing(sqlite3.connect(file)) as copy:
            self._connection.backup(copy)

    def decode(self, of: type[_D], text: str) -> _D:
        """The value that a column holds as JSON.

        Raises:
            JournalError: the column holds no such value.
        """
        try:
            return from_json(of, read_json(text.encode()))
        except (EncodingError, AttributeError) as error:  # a damaged file may hold bytes
            raise JournalError(
                f"{self.name} is damaged, a {of.__name__} in it cannot be read: {error}; restore "
                "the file, or use a new folder"
            ) from None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all changes within the block together when it ends, or none of them. A nested
        transaction is part of the outer one.

        Raises:
            JournalError: the disk is full or the file damaged; nothing was written.
        """
        with self._lock, self._explain():
            if not self._depth:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self.commit()
            finally:
                self._depth -= 1
                if not self._depth and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def commit(self) -> None:
        """End a transaction. A separate method, so that tests can observe it."""
        self._connection.execute("COMMIT")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute one statement and return its rows."""
        with self._lock, self._explain():
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Close the file. An open transaction is rolled back."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"cannot write the journal {self.name}: {error}; free some space, or fix the folder"
            ) from error
