"""State of past blocks, kept for a long time: plain nodes forget it after about 256 blocks.

One SQLite file for each chain and subnet. An entry is written once, in one transaction, and never
changes. Bulky entries (members and weights) are deleted after two days. Hashes and epochs stay.
"""

import json
import logging
import sqlite3
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import Any

from assay.network.chain.errors import ChainError
from assay.protocol.encoding import Codec, EncodingError, read_json

logger = logging.getLogger("assay.chain")

#: Entries kept in memory while the file cannot be written.
_SPARE = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (genesis_hash BLOB NOT NULL, netuid INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    kind TEXT NOT NULL, number INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (kind, number)
) WITHOUT ROWID;
"""
#: Kinds of entries that are deleted when they are this many blocks older than the newest.
_BULKY, _KEPT_BLOCKS = ("state", "weights", "written"), 14_400
#: Seconds that a second process may hold the file.
_BUSY_S = 10.0


class StateArchive:
    """Chain state in a file, which is created if it is missing. Safe to use from several threads
    and processes. `ChainError`: the file is unusable, or of another chain or subnet."""

    def __init__(self, file: Path, genesis_hash: bytes, netuid: int) -> None:
        self._file = file
        self._lock = Lock()
        self._spare: OrderedDict[tuple[str, int], str] = OrderedDict()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
            with self.database:
                self.database.executescript(_SCHEMA)
            self._require_identity(genesis_hash, netuid)
        except (OSError, sqlite3.Error) as error:
            raise ChainError(f"cannot store the chain's state in {file}: {error}") from error

    def _require_identity(self, genesis_hash: bytes, netuid: int) -> None:
        with self.database:
            self.database.execute("BEGIN IMMEDIATE")
            row = self.database.execute("SELECT genesis_hash, netuid FROM identity").fetchone()
            if row is None:
                self.database.execute("INSERT INTO identity VALUES (?, ?)", (genesis_hash, netuid))
            elif row != (genesis_hash, netuid):
                raise ChainError(
                    f"{self._file} has state of subnet {row[1]} on the chain with genesis hash "
                    f"{row[0].hex()}: give this subnet a folder of its own"
                )

    def read(self, kind: str, number: int, form: Codec) -> Any:
        """The value of a block's entry that was written in this form, or None. `ChainError`: the
        entry is damaged."""
        entry = self.get(kind, number)
        return None if entry is None else self.decode(entry, form)

    def decode(self, entry: str, form: Codec) -> Any:
        """The value of an entry. `ChainError`: it is damaged."""
        try:
            return form.from_json(read_json(entry.encode()))
        except EncodingError as error:
            raise ChainError(
                f"{self._file} is damaged: an entry {error}; delete it, it is only a cache"
            ) from None

    def write(self, kind: str, number: int, form: Codec, value: Any) -> None:
        """Write a value as an entry; see `put`."""
        self.put(kind, number, json.dumps(form.to_json(value)))

    def get(self, kind: str, number: int) -> str | None:
        """The entry of a block, or None."""
        if (kind, number) in self._spare:
            return self._spare[kind, number]
        row = self._find("AND number = ?", kind, number)
        return None if row is None else row[1]

    def get_newest(self, kind: str) -> tuple[int, str] | None:
        """The entry of the highest block."""
        return self._find("ORDER BY number DESC", kind)

    def get_next(self, kind: str, number: int) -> tuple[int, str] | None:
        """The oldest entry at or after a block."""
        return self._find("AND number >= ? ORDER BY number", kind, number)

    def _find(self, which: str, *values: str | int) -> tuple[int, str] | None:
        with self._lock:
            row = self.database.execute(
                f"SELECT number, data FROM state WHERE kind = ? {which} LIMIT 1", values
            ).fetchone()
        return None if row is None else (int(row[0]), str(row[1]))

    def put(self, kind: str, number: int, data: str) -> None:
        """Write an entry. An existing one stays. If the file cannot be written, the newest few are
        kept in memory, and a warning is logged."""
        try:
            with self._lock, self.database:
                self.database.execute(
                    "INSERT OR IGNORE INTO state VALUES (?, ?, ?)", (kind, number, data)
                )
                if kind in _BULKY:
                    self.database.execute(
                        "DELETE FROM state WHERE kind = ? AND number < ?",
                        (kind, number - _KEPT_BLOCKS),
                    )
        except sqlite3.Error as error:  # full disk: the state still serves this program
            if not self._spare:
                logger.warning(
                    "%s cannot store the chain's state: %s",
                    self._file,
                    error,
                    extra={"event": "chain_state_unwritable"},
                )
            self._spare[kind, number] = data
            while len(self._spare) > _SPARE:
                self._spare.popitem(last=False)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.database.close()
