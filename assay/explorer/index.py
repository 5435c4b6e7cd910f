"""An index over a record, in one SQLite file, for pages that need many windows.

Everything in it comes from the record and can be read again: a file that is damaged, of another
version or of another record is replaced. One thread writes; each thread has a connection of its
own.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assay.protocol.record import NOTHING, Moment, SettlementRecord, WindowRecord
from assay.protocol.score_tree import compute_weights_digest, make_score_tree
from assay.protocol.ss58 import encode_ss58

#: Changes with the tables below: an older file is replaced.
_VERSION = 6
#: Largest number that the index holds.
NUMBER_MAX = 1 << 62
#: Seconds a reader waits for the writer.
_WAIT_S = 5.0
#: Steps of SQLite's machine between two looks at the clock.
_LOOK = 20_000
#: Bytes of a digest in the index: enough to find its record.
DIGEST_BYTES = 16

#: What is read of a record. What epochs of the chain paid stays when a record is read again: a node
#: may have forgotten it.
TABLES = ("settlements", "windows", "miners", "rows", "scores", "weights", "digests")
_ABOUT = """
CREATE TABLE about (version INTEGER NOT NULL, validator BLOB NOT NULL, parameters BLOB NOT NULL);
"""
_SCHEMA = """
CREATE TABLE settlements (
    epoch INTEGER PRIMARY KEY, previous_epoch INTEGER NOT NULL, digest BLOB NOT NULL,
    previous BLOB NOT NULL, first INTEGER, last INTEGER, counted INTEGER NOT NULL,
    total TEXT NOT NULL, miners INTEGER NOT NULL, weighed INTEGER NOT NULL,
    score_root BLOB NOT NULL, checkpoint BLOB NOT NULL, audit_round TEXT NOT NULL,
    weights_digest BLOB NOT NULL, idle INTEGER NOT NULL,
    sound INTEGER NOT NULL
);
CREATE TABLE windows (
    window INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, outcome TEXT NOT NULL, link TEXT NOT NULL,
    checkpoint BLOB NOT NULL, challenge_ms INTEGER, challenge_round INTEGER, audit_round INTEGER,
    beacons TEXT NOT NULL, members INTEGER NOT NULL, committed INTEGER NOT NULL,
    accepted INTEGER NOT NULL, refused INTEGER NOT NULL, score TEXT NOT NULL,
    reward_sum INTEGER NOT NULL, rewards INTEGER NOT NULL, tokens INTEGER NOT NULL
);
CREATE INDEX windows_by_epoch ON windows (epoch);
CREATE INDEX windows_by_checkpoint ON windows (checkpoint, window);
CREATE INDEX windows_rewarded ON windows (window) WHERE rewards > 0;
CREATE TABLE miners (
    id INTEGER PRIMARY KEY, hotkey BLOB NOT NULL UNIQUE, address TEXT NOT NULL,
    uid INTEGER NOT NULL, seen INTEGER NOT NULL, windows INTEGER NOT NULL,
    committed INTEGER NOT NULL, accepted INTEGER NOT NULL, refused INTEGER NOT NULL,
    score INTEGER NOT NULL, settled_at INTEGER NOT NULL, settled TEXT NOT NULL,
    weight INTEGER NOT NULL, reason TEXT
);
CREATE TABLE rows (
    miner INTEGER NOT NULL, window INTEGER NOT NULL, uid INTEGER NOT NULL,
    registered_at INTEGER NOT NULL, groups INTEGER NOT NULL, reason TEXT, score INTEGER NOT NULL,
    tokens INTEGER NOT NULL, PRIMARY KEY (miner, window)
) WITHOUT ROWID;
CREATE INDEX rows_by_window ON rows (window);
CREATE TABLE scores (
    epoch INTEGER NOT NULL, miner INTEGER NOT NULL, uid INTEGER NOT NULL,
    registered_at INTEGER NOT NULL, score TEXT NOT NULL, PRIMARY KEY (epoch, miner)
) WITHOUT ROWID;
CREATE TABLE weights (
    epoch INTEGER NOT NULL, uid INTEGER NOT NULL, weight INTEGER NOT NULL,
    PRIMARY KEY (epoch, uid)
) WITHOUT ROWID;
CREATE TABLE digests (
    digest BLOB NOT NULL, kind TEXT NOT NULL, window INTEGER NOT NULL, miner INTEGER NOT NULL,
    PRIMARY KEY (digest, kind, window, miner)
) WITHOUT ROWID;
CREATE TABLE chain_epochs (epoch INTEGER PRIMARY KEY);
CREATE TABLE chain_pay (
    hotkey BLOB NOT NULL, epoch INTEGER NOT NULL, incentive INTEGER NOT NULL,
    emission INTEGER NOT NULL, PRIMARY KEY (hotkey, epoch)
) WITHOUT ROWID;
"""


class IndexDamagedError(Exception):
    """The file is no index of this record, or cannot be used: make it anew."""


class SlowQueryError(Exception):
    """The answer takes longer than `IndexFile.limit` allows."""


@dataclass(frozen=True, slots=True)
class IndexedWindow:
    """One window of a settlement, as it goes into the index."""

    window: int
    outcome: str
    record: WindowRecord | None  # None: there is none that can be read
    link: str  # "ok", "missing", "differs" (from the digest that its settlement names)
    beacons: str  # "verified", "none", or what is wrong with them
    #: reward_sum, rewards: of all rollouts of accepted valued groups, millionths, and how many
    reward_sum: int = 0
    rewards: int = 0
    #: hotkey → completion tokens of its accepted file, as its audited rollouts let estimate
    tokens: Mapping[bytes, int] = field(default_factory=dict)


class IndexFile:
    """An SQLite file that may be thrown away. A missing one is created, and one with other content
    is replaced.

    Attributes:
        is_damaged: a reader found it so.
        of: validator and parameters of its record.

    Args:
        schema: SQL that creates its tables. version: changes with them.
        validator, parameters: of the record that it belongs to.
        checked: the table whose pages are checked when it is opened; no text: all.

    Raises:
        IndexDamagedError, OSError: it cannot be created.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int,
        validator: bytes,
        parameters: bytes,
        checked: str = "",
    ) -> None:
        self.path, self.is_damaged = path, False
        self._schema, self._version = schema, version
        self.of = validator, parameters
        self._check = f"PRAGMA quick_check({checked})" if checked else "PRAGMA quick_check"
        self._local = threading.local()
        self._lock = threading.Lock()
        self._generation = 0
        self._open: dict[threading.Thread, sqlite3.Connection] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except (sqlite3.DatabaseError, IndexDamagedError):
            self.reset()

    def _prepare(self) -> None:
        validator, parameters = self.of
        version = self._get_connection().execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.write() as database:
                database.executescript(_ABOUT + self._schema)
                database.execute(f"PRAGMA user_version = {self._version}")
                database.execute(
                    "INSERT INTO about VALUES (?, ?, ?)", (self._version, validator, parameters)
                )
            return
        about = self.read("SELECT version, validator, parameters FROM about")
        named = [(row["version"], row["validator"], row["parameters"]) for row in about]
        if version != self._version or named != [(self._version, validator, parameters)]:
            raise IndexDamagedError(f"{self.path} is of another record")
        if self.read(self._check)[0][0] != "ok":
            raise IndexDamagedError(f"{self.path} is damaged")

    def close(self) -> None:
        """Close every thread's connection. A later query opens another."""
        with self._lock:
            self._generation += 1
            for connection in self._open.values():
                connection.close()
            self._open.clear()

    def reset(self) -> None:
        """Replace the index with an empty one. Readers may fail once meanwhile. Raises
        IndexDamagedError, OSError: it cannot be created."""
        self.close()
        self.is_damaged = False
        for end in ("", "-wal", "-shm", "-journal"):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"{self.path}: {error}") from None

    def read(self, query: str, values: Mapping[str, Any] | tuple[Any, ...] = ()) -> list[Any]:
        """All rows of a query, by column name. Raises IndexDamagedError: the file cannot be
        read; SlowQueryError: see `limit`."""
        try:
            return self._get_connection().execute(query, values).fetchall()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise SlowQueryError from None
            # others pass, such as a connection that was closed for a new file
            self.is_damaged |= type(error) is sqlite3.DatabaseError
            raise IndexDamagedError(f"{self.path}: {error}") from None

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Ends what this thread reads within, after a time."""
        connection, until = self._get_connection(), time.monotonic() + seconds
        connection.set_progress_handler(lambda: time.monotonic() > until, _LOOK)
        try:
            yield
        finally:
            connection.set_progress_handler(None, 0)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One transaction, whole or not at all. Raises IndexDamagedError: the file cannot be
        written."""
        connection = self._get_connection()
        try:
            with connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise IndexDamagedError(f"{self.path}: {error}") from None

    def _get_connection(self) -> sqlite3.Connection:
        generation, connection = getattr(self._local, "connection", (-1, None))
        if connection is None or generation != self._generation:
            connection = sqlite3.connect(self.path, _WAIT_S, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")  # all of it can be read again
            connection.execute("PRAGMA cache_size = -2000")  # KiB a connection
            with self._lock:
                # a server's threads come and go with its load
                for thread in [thread for thread in self._open if not thread.is_alive()]:
                    self._open.pop(thread).close()
                self._local.connection = self._generation, connection
                self._open[threading.current_thread()] = connection
        assert isinstance(connection, sqlite3.Connection)  # put there just now, or before
        return connection


class Index(IndexFile):
    """The index of one validator's record. Raises as `IndexFile`."""

    def __init__(self, path: Path, validator: bytes, parameters: bytes) -> None:
        super().__init__(path, _SCHEMA, _VERSION, validator, parameters)

    def put(self, settlement: SettlementRecord, windows: list[IndexedWindow]) -> None:
        """Add one settlement and its windows. Settlements may come in any order, each once."""
        with self.write() as database:
            ids = _Ids(database)
            for indexed in windows:
                self._put_window(database, ids, settlement.epoch, indexed)
            epoch = settlement.epoch
            weights = {weight.uid: weight.weight for weight in settlement.weights}
            for one in settlement.scores:
                miner, score = ids.get(one.hotkey, one.uid), str(one.score)
                database.execute(
                    "INSERT INTO scores VALUES (?, ?, ?, ?, ?)",
                    (epoch, miner, one.uid, _fit(one.registered_at), score),
                )
                database.execute(
                    "UPDATE miners SET settled_at = ?1, settled = ?2, weight = ?3 "
                    "WHERE id = ?4 AND settled_at < ?1",
                    (epoch, score, weights.get(one.uid, 0), miner),
                )
            rows = [(epoch, uid, weight) for uid, weight in weights.items()]
            database.executemany("INSERT INTO weights VALUES (?, ?, ?)", rows)
            numbers = [indexed.window for indexed in windows]
            database.execute(
                "INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    settlement.epoch,
                    _fit(settlement.previous_epoch),
                    settlement.digest,
                    settlement.previous,
                    min(numbers, default=None),
                    max(numbers, default=None),
                    sum(indexed.outcome == "counted" for indexed in windows),
                    str(sum(score.score for score in settlement.scores)),
                    len(settlement.scores),
                    len(weights),
                    settlement.score_root,
                    settlement.checkpoint,
                    str(settlement.audit_round),
                    settlement.weights_digest,
                    settlement.idle,
                    has_true_roots(settlement),
                ),
            )

    def _put_window(
        self, database: sqlite3.Connection, ids: "_Ids", epoch: int, indexed: IndexedWindow
    ) -> None:
        known = database.execute("SELECT 1 FROM windows WHERE window = ?", (indexed.window,))
        if known.fetchone() is not None:  # two settlements name it: the one read first counts
            return
        record = indexed.record
        members = () if record is None else record.members
        reasons = [None if row.reason is None else row.reason.value for row in members]
        accepted, absent = reasons.count("ACCEPTED"), reasons.count("NO_COMMITMENT")
        challenge = None if record is None else record.challenge
        audit = None if record is None else record.audit
        database.execute(
            "INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                indexed.window,
                epoch,
                indexed.outcome,
                indexed.link,
                b"" if record is None else record.checkpoint,
                None if challenge is None else _fit(challenge.timestamp_ms),
                None if challenge is None else _fit(challenge.beacon.round),
                None if audit is None else _fit(audit.beacon.round),
                indexed.beacons,
                len(members),
                sum(row.committed is not None for row in members),
                accepted,
                len(members) - accepted - absent - reasons.count(None),
                str(sum(row.score for row in members)),
                _fit(indexed.reward_sum),
                indexed.rewards,
                _fit(sum(indexed.tokens.values())),
            ),
        )
        rows, window = [], indexed.window
        for row, reason in zip(members, reasons, strict=True):
            miner = ids.get(row.hotkey, row.uid)
            groups = 0 if row.committed is None else row.committed.groups
            score, registered = _fit(row.score), _fit(row.registered_at)
            tokens = _fit(indexed.tokens.get(row.hotkey, 0))
            rows.append((miner, window, row.uid, registered, groups, reason, score, tokens))
            refused = reason not in (None, "ACCEPTED", "NO_COMMITMENT")
            database.execute(
                "UPDATE miners SET windows = windows + 1, committed = committed + ?1, "
                "accepted = accepted + ?2, refused = refused + ?3, "
                "score = min(score + ?4, 1 << 62), uid = iif(seen <= ?5, ?6, uid), "
                "reason = iif(seen <= ?5, ?7, reason), seen = max(seen, ?5) WHERE id = ?8",
                (groups > 0, reason == "ACCEPTED", refused, score, window, row.uid, reason, miner),
            )
        database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        named = [
            (digest[:DIGEST_BYTES], kind, window, 0 if hotkey is None else ids.get(hotkey, 0))
            for digest, kind, hotkey in _list_digests(record)
        ]
        database.executemany("INSERT OR IGNORE INTO digests VALUES (?, ?, ?, ?)", named)

    def put_pay(self, epoch: int, pay: Iterable[tuple[bytes, int, int]]) -> None:
        """Add what the chain's epoch at a block paid: hotkey, incentive, emission of each uid."""
        with self.write() as database:
            database.execute("INSERT OR IGNORE INTO chain_epochs VALUES (?)", (epoch,))
            rows = [(hotkey, epoch, incentive, _fit(rao)) for hotkey, incentive, rao in pay if rao]
            database.executemany("INSERT OR IGNORE INTO chain_pay VALUES (?, ?, ?, ?)", rows)


def _list_digests(record: WindowRecord | None) -> Iterator[tuple[bytes, str, bytes | None]]:
    """Digests in a window's record, each with its kind and its miner, if it has one."""
    if record is None:
        return
    yield record.digest, "window record", None
    for name in ("challenge", "audit", "sample"):
        moment: Moment | None = getattr(record, name)
        if moment is not None:
            yield moment.block_hash, f"{name} block", None
            yield moment.beacon.signature, f"{name} beacon", None
    for row in record.members:
        if row.committed is not None:
            yield row.committed.root, "commitment", row.hotkey


def has_true_roots(record: SettlementRecord) -> bool:
    """Whether a settlement's score root and weights' digest match its scores and weights."""
    pairs = [(score.hotkey, score.score) for score in record.scores]
    weights = sorted((weight.uid, weight.weight) for weight in record.weights)
    try:
        root = make_score_tree(pairs).root if pairs else NOTHING
        digest = compute_weights_digest(weights)
    except ValueError:  # a hotkey or a uid is there twice
        return False
    return record.score_root == root and record.weights_digest == digest


def _fit(number: int) -> int:
    """SQLite's integers are narrower than a record's; no true value comes near their end."""
    return min(number, NUMBER_MAX)


class _Ids:
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._known: dict[bytes, int] = {}

    def get(self, hotkey: bytes, uid: int) -> int:
        """A hotkey's number, which is created at its first use."""
        if hotkey not in self._known:
            self._database.execute(
                "INSERT OR IGNORE INTO miners VALUES "
                "(NULL, ?, ?, ?, -1, 0, 0, 0, 0, 0, -1, '0', 0, NULL)",
                (hotkey, encode_ss58(hotkey), uid),
            )
            rows = self._database.execute("SELECT id FROM miners WHERE hotkey = ?", (hotkey,))
            self._known[hotkey] = int(rows.fetchone()[0])
        return self._known[hotkey]
