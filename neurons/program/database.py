"""A neuron's memory on disk: one SQLite file that holds whole transactions and nothing else.

Write-ahead log with `synchronous=FULL`: what was committed is there after a kill or a power cut,
what was not is gone. One program writes; others may look on meanwhile.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

from assay.protocol.errors import OperatorError

#: Name of a validator's file in its folder.
VALIDATOR_FILE = "validator.sqlite"
#: Of the tables; a file of another version is refused.
_VERSION = 1
#: Seconds that a program that looks on may hold the file.
_BUSY_S = 10.0


class JournalError(OperatorError):
    """The file cannot be used, or is another's: says which and what to do."""


class Database:
    """One file. Safe to use from several threads of one program.

    Args:
        file: created where it is not there; None: nowhere, for as long as this object lives.
        looking: only to read, beside the program that writes.

    Raises:
        JournalError: not to be used.
    """

    def __init__(self, file: Path | None = None, *, looking: bool = False) -> None:
        self.name = "memory" if file is None else str(file)
        self._lock = RLock()
        self._depth = 0
        if looking and (file is None or not file.exists()):
            raise JournalError(f"{self.name} does not exist: no validator has run in that folder")
        mode = "ro" if looking else "rwc"
        where = ":memory:" if file is None else f"{file.resolve().as_uri()}?mode={mode}"
        with self._explain():
            if file is not None and not looking:
                file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                where, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, uri=True
            )
            if not looking:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            self._require_version(looking)

    def _require_version(self, looking: bool) -> None:
        ((found,),) = self._connection.execute("PRAGMA user_version")
        if found == 0 and not looking:  # a new file
            self._connection.execute(f"PRAGMA user_version = {_VERSION}")
        elif found != _VERSION:
            raise JournalError(
                f"{self.name} is of version {found} and this program writes {_VERSION}: use the "
                "program that wrote it, or a new folder"
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is executed within is written together when it ends, or not at all. One within
        another is part of it.

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
        """Ends a transaction. To be watched; nobody else calls it."""
        self._connection.execute("COMMIT")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """One statement's rows."""
        with self._lock, self._explain():
            return self._connection.execute(statement, values).fetchall()

    def close(self) -> None:
        """Closes the file; a transaction under way is undone."""
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
