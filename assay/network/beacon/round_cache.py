"""Verified rounds on disk, so that a restart need not request them again.

One SQLite file of bounded size for each chain. It is a cache: rounds that are read from it are
verified again. A damaged file is put aside for a new one, and a disk that fails later costs a
request, not a window.
"""

import logging
import os
import sqlite3
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from assay.network.beacon.relay_endpoint import BeaconSourceError
from assay.protocol.beacon import Beacon, BeaconChain, is_valid_beacon

logger = logging.getLogger("assay.beacon")

#: Most rounds in memory and on disk. A window needs two; on disk a round takes about 100 bytes.
MEMORY_ROUNDS, DISK_ROUNDS = 256, 10_000
#: Seconds that another process may hold the file.
_BUSY_S = 5.0
# WAL without a sync at every commit: a power cut loses the newest rounds, but not the file.
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS rounds (
    entry INTEGER PRIMARY KEY, number INTEGER NOT NULL UNIQUE,
    signature BLOB NOT NULL, previous_signature BLOB NOT NULL
);
"""
#: Name, type and constraints of each column, as SQLite reports them of the table above.
_COLUMNS = [
    ("entry", "INTEGER", 0, 1),
    ("number", "INTEGER", 1, 0),
    ("signature", "BLOB", 1, 0),
    ("previous_signature", "BLOB", 1, 0),
]
_TELL = "SELECT name, type, \"notnull\", pk FROM pragma_table_info('rounds')"
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_READ = "SELECT signature, previous_signature FROM rounds WHERE number = ?"
_INSERT = "INSERT OR IGNORE INTO rounds (number, signature, previous_signature) VALUES (?, ?, ?)"
_DROP = "DELETE FROM rounds WHERE number = ?"
_TRIM = "DELETE FROM rounds WHERE entry <= (SELECT max(entry) FROM rounds) - ?"


class RoundCache:
    """Verified rounds of one chain, in a file below `folder`. Safe to use from several threads and
    processes; `BeaconSourceError`: the file cannot be used."""

    def __init__(self, chain: BeaconChain, folder: Path, disk_rounds: int = DISK_ROUNDS) -> None:
        self._chain = chain
        self._disk_rounds = disk_rounds
        self._file = folder / f"beacons-{chain.chain_hash.hex()[:16]}.sqlite"
        self._lock = Lock()
        self._memory: OrderedDict[int, Beacon] = OrderedDict()
        self._complained = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            opened = _open(self._file)
            if isinstance(opened, str):
                _put_aside(self._file, opened)
                opened = _open(self._file)
        except (OSError, sqlite3.Error) as error:
            opened = str(error)
        if isinstance(opened, str):
            raise BeaconSourceError(
                f"cannot store beacons in {self._file}: {opened}; make the folder writable, or "
                "delete the file: it is only a cache"
            )
        self.database = opened

    def get(self, number: int) -> Beacon | None:
        """A stored round, if it is still the chain's."""
        with self._lock:
            if number in self._memory:
                return self._memory[number]
            row = self._read(number)
        if row is None:
            return None
        whole = all(isinstance(value, bytes) for value in row)
        beacon = Beacon(number, *row) if whole else Beacon(number, b"")
        if not is_valid_beacon(self._chain, beacon):
            logger.warning(
                "%s has a false round %d; it is dropped",
                self._file,
                number,
                extra={"event": "cached_round_false"},
            )
            self._write((_DROP, (number,)))
            return None
        self._remember(beacon)
        return beacon

    def put(self, beacon: Beacon) -> None:
        """Store a verified round, and drop the oldest entries beyond the limit."""
        if not self._remember(beacon):
            return
        values = (beacon.round, beacon.signature, beacon.previous_signature)
        self._write((_INSERT, values), (_TRIM, (self._disk_rounds,)))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.database.close()

    def _remember(self, beacon: Beacon) -> bool:
        """Add a round to memory. Return whether it was not there yet."""
        with self._lock:
            if beacon.round in self._memory:
                return False
            self._memory[beacon.round] = beacon
            while len(self._memory) > MEMORY_ROUNDS:
                self._memory.popitem(last=False)
            return True

    def _read(self, number: int) -> tuple[bytes, bytes] | None:
        try:
            row: tuple[bytes, bytes] | None = self.database.execute(_READ, (number,)).fetchone()
        except sqlite3.Error as error:
            self._complain(error)
            return None
        return row

    def _write(self, *steps: tuple[str, tuple[int | bytes, ...]]) -> None:
        """Execute all of the steps or none."""
        try:
            with self._lock, self.database:
                for statement, values in steps:
                    self.database.execute(statement, values)
        except sqlite3.Error as error:
            self._complain(error)

    def _complain(self, error: sqlite3.Error) -> None:
        if not self._complained:
            self._complained = True
            logger.warning(
                "%s can no longer store beacons: %s",
                self._file,
                error,
                extra={"event": "beacon_cache_unwritable"},
            )


def _open(file: Path) -> sqlite3.Connection | str:
    """The file's database, created if it is missing; or a text about its damage."""
    database = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
    fault = "its table is another"
    try:
        with database:
            database.executescript(_SCHEMA)
        checked = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        if checked != "ok":
            fault = " ".join(checked.split())
        elif database.execute(_TELL).fetchall() == _COLUMNS:
            return database
    except sqlite3.Error as error:
        # the lowest byte of an extended error code is the kind of error
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
            database.close()
            raise
        fault = str(error)
    database.close()
    return fault


def _put_aside(file: Path, fault: str) -> None:
    """Make way for a new file. A file that was put aside earlier is overwritten."""
    aside = file.with_name(file.name + ".damaged")
    os.replace(file, aside)
    for log in ("-wal", "-shm"):  # SQLite would take them for the new file's
        file.with_name(file.name + log).unlink(missing_ok=True)
    logger.warning(
        "%s is damaged (%s): it is kept as %s, and a new file is started",
        file,
        fault,
        aside.name,
        extra={"event": "beacon_cache_damaged"},
    )
