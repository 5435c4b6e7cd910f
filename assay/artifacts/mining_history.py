"""The outcome of a miner's windows, kept on disk: mined, judged by the miner itself, paid. And the
newest measurements of its speed.

Each hotkey and subnet has one SQLite file. Each row is written in one transaction, so a kill leaves
the last complete state. The miner's review fills in verdicts and payments.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, fields, replace
from pathlib import Path
from threading import Lock
from typing import Any, Self

from assay.artifacts.status.miner import (
    CommitmentStatus,
    FaultPlaceStatus,
    MinedStatus,
    OwnVerdictStatus,
    PaymentStatus,
)
from assay.protocol.errors import OperatorError, TroubleKind
from assay.protocol.reason import Reason, name_cost
from assay.protocol.ss58 import encode_ss58
from assay.verification import Ledger, Seat

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    genesis_hash BLOB NOT NULL, netuid INTEGER NOT NULL, hotkey BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS mined (
    window INTEGER PRIMARY KEY, opened_at INTEGER NOT NULL, checkpoint BLOB NOT NULL,
    wanted INTEGER NOT NULL, groups INTEGER NOT NULL, object_name TEXT, size INTEGER, root BLOB,
    sent_at INTEGER, note TEXT
);
CREATE TABLE IF NOT EXISTS verdicts (
    window INTEGER PRIMARY KEY, settlement INTEGER NOT NULL, judged_at INTEGER NOT NULL,
    final INTEGER NOT NULL, stood INTEGER NOT NULL, reason TEXT, detail TEXT NOT NULL,
    score INTEGER NOT NULL, tokens INTEGER NOT NULL, "group" INTEGER, rollout INTEGER,
    token INTEGER, statistics TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS ledgers (
    settlement INTEGER NOT NULL, uid INTEGER NOT NULL, registered_at INTEGER NOT NULL,
    rollouts INTEGER NOT NULL, log_sums TEXT NOT NULL,
    PRIMARY KEY (settlement, uid, registered_at)
);
CREATE TABLE IF NOT EXISTS payments (
    settlement INTEGER PRIMARY KEY, block INTEGER NOT NULL, uid INTEGER, weights TEXT NOT NULL,
    incentive INTEGER NOT NULL, emission INTEGER NOT NULL, note TEXT
);
CREATE TABLE IF NOT EXISTS steps (
    number INTEGER PRIMARY KEY, window INTEGER NOT NULL, groups INTEGER NOT NULL,
    made INTEGER NOT NULL, tokens INTEGER NOT NULL, seconds REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS uploads (window INTEGER PRIMARY KEY, seconds REAL NOT NULL);
"""
#: Windows that are kept: 83 days of 30-block windows.
HISTORY_WINDOWS = 20_000
#: Seconds that another process may hold the file.
_BUSY_S = 10.0


class HistoryError(OperatorError):
    """The history cannot be kept. The message says which file, and what to do."""

    trouble_kind = TroubleKind.DISK


#: Newest steps, and newest uploads, that count.
STEPS_KEPT, UPLOADS_KEPT = 16, 4


@dataclass(frozen=True, slots=True)
class MeasuredStep:
    """One step of generating."""

    window: int
    groups: int  # generated together
    made: int  # finished; fewer than `groups`: time was up before the others were
    tokens: int  # of the finished ones
    seconds: float

    @property
    def is_whole(self) -> bool:
        """Return whether all groups were finished."""
        return self.made == self.groups


@dataclass(frozen=True, slots=True)
class MinedWindow:
    """A miner's work in one window."""

    window: int
    opened_at: int  # head at which work began
    checkpoint: bytes
    wanted: int  # groups that the miner would make with enough time
    groups: int = 0
    object_name: str | None = None
    size: int | None = None  # bytes of the file
    root: bytes | None = None
    sent_at: int | None = None  # head when the commitment was sent
    note: str | None = None  # what went wrong, for people


@dataclass(frozen=True, slots=True)
class OwnVerdict:
    """A window's verdict from this hotkey's own judge, by the rules that validators follow."""

    window: int
    settlement: int  # the epoch block that settles the window
    judged_at: int  # head at which it was judged
    final: bool  # nothing that is shown or fetched later can change it
    stood: bool  # whether state held this very commitment at the window's commitment block
    reason: Reason | None  # None where nobody can judge the window, or where we cannot
    detail: str
    score: int = 0  # its contribution to a settlement
    tokens: int = 0
    group: int | None = None
    rollout: int | None = None
    token: int | None = None
    statistics: Mapping[str, float] = field(default_factory=dict)  # as `Verdict.to_json` gives them


@dataclass(frozen=True, slots=True)
class Payment:
    """The pay of a settlement, as the chain shows it at the epoch that paid it."""

    settlement: int  # the epoch block that settled the windows
    block: int  # the epoch block at which the other fields are read
    uid: int | None  # None where the seat was lost
    #: validator's hotkey → (weight on this uid, sum of its row)
    weights: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    incentive: int = 0  # u16 share of the miners' emission
    emission: int = 0  # rao of alpha of that epoch
    note: str | None = None  # why something is unknown


class MiningHistory:
    """The history's file. Safe to use from several threads; other processes may read it.

    Args:
        file: created if it does not exist.
        window_count: number of windows to keep. Each new window drops the oldest.

    Raises:
        HistoryError: the file cannot be used, or is another's. All methods raise it too.
    """

    def __init__(
        self,
        file: Path,
        genesis_hash: bytes,
        netuid: int,
        hotkey: bytes,
        window_count: int = HISTORY_WINDOWS,
    ) -> None:
        self._file = file
        self._kept = window_count
        self._lock = Lock()
        identity = (genesis_hash, netuid, hotkey)
        with self._explained():
            file.parent.mkdir(parents=True, exist_ok=True)
            self.database = sqlite3.connect(file, timeout=_BUSY_S, check_same_thread=False)
            self.database.row_factory = sqlite3.Row
            # a killed program loses nothing; a power cut may cost the last rows, but nothing more
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = NORMAL")
            self.database.executescript(_SCHEMA)
            with self.database:
                self.database.execute("BEGIN IMMEDIATE")
                stored = self.database.execute("SELECT * FROM identity").fetchone()
                if stored is None:
                    self.database.execute("INSERT INTO identity VALUES (?, ?, ?)", identity)
        if stored is not None and tuple(stored) != identity:
            self.database.close()
            raise HistoryError(
                f"{file} is the history of hotkey {encode_ss58(stored[2])} on subnet {stored[1]}: "
                "give each hotkey and subnet a folder of its own"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.database.close()

    # --- mined windows

    def write_mined(self, mined: MinedWindow) -> None:
        """Add a window, or more facts about it. A None keeps the stored value, and `opened_at`
        keeps its first value."""
        names = [f.name for f in fields(mined) if f.name not in ("window", "opened_at")]
        known = ", ".join(f"{name} = COALESCE(excluded.{name}, {name})" for name in names)
        with self._explained(), self._lock, self.database:
            self.database.execute(
                f"INSERT INTO mined VALUES ({', '.join('?' * len(fields(mined)))}) "
                f"ON CONFLICT (window) DO UPDATE SET {known}",
                astuple(mined),
            )
            self._forget(mined.window - self._kept)

    def _forget(self, window: int) -> None:
        """Delete everything up to a window, and settlements without a later window."""
        execute = self.database.execute
        if execute("DELETE FROM mined WHERE window <= ?", (window,)).rowcount:
            execute("DELETE FROM verdicts WHERE window <= ?", (window,))
            (first,) = execute("SELECT min(settlement) FROM verdicts").fetchone()
            for table in ("ledgers", "payments") if first is not None else ():
                execute(f"DELETE FROM {table} WHERE settlement < ?", (first,))

    def get_mined(self, window: int | None = None, newest: int | None = None) -> list[MinedWindow]:
        """All windows, oldest first; or one of them; or this many of the newest."""
        rows = self._read(
            "SELECT * FROM (SELECT * FROM mined WHERE ? IN (window, -1) "
            "ORDER BY window DESC LIMIT ?) ORDER BY window",
            *(window, newest),
        )
        return [MinedWindow(**row) for row in rows]

    # --- speed

    def write_step(self, step: MeasuredStep) -> None:
        """Add a step of generating. As many as count are kept."""
        with self._explained(), self._lock, self.database:
            written = self.database.execute(
                "INSERT INTO steps (window, groups, made, tokens, seconds) VALUES (?, ?, ?, ?, ?)",
                astuple(step),
            )
            self.database.execute(
                "DELETE FROM steps WHERE number <= ? - ?", (written.lastrowid, STEPS_KEPT)
            )

    def get_steps(self) -> list[MeasuredStep]:
        """The kept steps, oldest first."""
        rows = self._read("SELECT window, groups, made, tokens, seconds FROM steps ORDER BY number")
        return [MeasuredStep(**row) for row in rows]

    def get_uploads(self) -> list[float]:
        """Seconds of the kept uploads, oldest first."""
        rows = self._read("SELECT seconds FROM uploads ORDER BY window")
        return [row["seconds"] for row in rows]

    def write_upload(self, window: int, seconds: float) -> None:
        """Write how long a window's file took to the store. As many as count are kept."""
        with self._explained(), self._lock, self.database:
            self.database.execute("INSERT OR REPLACE INTO uploads VALUES (?, ?)", (window, seconds))
            self.database.execute(
                "DELETE FROM uploads WHERE window NOT IN "
                "(SELECT window FROM uploads ORDER BY window DESC LIMIT ?)",
                (UPLOADS_KEPT,),
            )

    # --- own verdicts

    def write_verdict(self, verdict: OwnVerdict, seat: Seat | None, ledger: Ledger) -> None:
        """Write a verdict together with the ledger after it."""
        row = (
            *(verdict.window, verdict.settlement, verdict.judged_at),
            *(verdict.final, verdict.stood),
            *(verdict.reason and verdict.reason.value, verdict.detail, verdict.score),
            *(verdict.tokens, verdict.group, verdict.rollout, verdict.token),
            json.dumps(dict(verdict.statistics)),
        )
        with self._explained(), self._lock, self.database:
            self.database.execute(
                f"INSERT OR REPLACE INTO verdicts VALUES ({', '.join('?' * len(row))})", row
            )
            if seat is not None:
                self.database.execute(
                    "INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?, ?)",
                    (
                        *(verdict.settlement, seat.uid, seat.registered_at),
                        *(ledger.rollouts, json.dumps(ledger.log_sums)),
                    ),
                )

    def get_verdicts(self, window: int | None = None, since: int = 0) -> list[OwnVerdict]:
        """All verdicts from a window on, oldest first; or the verdict of one window."""
        rows = self._read(
            "SELECT * FROM verdicts WHERE ? IN (window, -1) AND window >= ? ORDER BY window",
            *(window, since),
        )
        for row in rows:
            row["final"], row["stood"] = bool(row["final"]), bool(row["stood"])
            row["reason"] = row["reason"] and Reason(row["reason"])
            row["statistics"] = json.loads(row["statistics"])
        return [OwnVerdict(**row) for row in rows]

    def get_ledger(self, settlement: int, seat: Seat) -> Ledger:
        """The seat's ledger in a settlement so far."""
        rows = self._read(
            "SELECT rollouts, log_sums FROM ledgers "
            "WHERE settlement = ? AND uid = ? AND registered_at = ?",
            *(settlement, seat.uid, seat.registered_at),
        )
        if not rows:
            return Ledger()
        return Ledger(rows[0]["rollouts"], tuple(json.loads(rows[0]["log_sums"])))

    def get_unjudged(self) -> list[MinedWindow]:
        """Windows without a final verdict, oldest first."""
        rows = self._read(
            "SELECT * FROM mined WHERE window NOT IN (SELECT window FROM verdicts WHERE final) "
            "ORDER BY window"
        )
        return [MinedWindow(**row) for row in rows]

    # --- payments

    def write_payment(self, payment: Payment) -> None:
        """Write the pay of a settlement."""
        weights = {hotkey.hex(): pair for hotkey, pair in payment.weights.items()}
        row = astuple(replace(payment, weights={}))
        row = (*row[:3], json.dumps(weights), *row[4:])
        with self._explained(), self._lock, self.database:
            self.database.execute(
                "INSERT OR REPLACE INTO payments VALUES (?, ?, ?, ?, ?, ?, ?)", row
            )

    def get_payments(self, since: int = 0) -> dict[int, Payment]:
        """All payments from a settlement on, by settlement."""
        rows = self._read("SELECT * FROM payments WHERE settlement >= ? ORDER BY settlement", since)
        for row in rows:
            weights = json.loads(row["weights"]).items()
            row["weights"] = {bytes.fromhex(hotkey): tuple(pair) for hotkey, pair in weights}
        return {row["settlement"]: Payment(**row) for row in rows}

    def get_unpaid(self) -> list[int]:
        """Settlements of finally judged windows whose payment is not known yet, oldest first."""
        rows = self._read(
            "SELECT DISTINCT settlement FROM verdicts WHERE final AND reason NOT NULL "
            "AND settlement NOT IN (SELECT settlement FROM payments) ORDER BY settlement"
        )
        return [row["settlement"] for row in rows]

    # --- internals

    def _read(self, statement: str, *arguments: int | None) -> list[dict[str, Any]]:
        given = [-1 if argument is None else argument for argument in arguments]
        with self._explained(), self._lock:
            return [dict(row) for row in self.database.execute(statement, given)]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise HistoryError(
                f"cannot write the miner's history to {self._file} ({error}): make sure that you "
                "may write to it and that its disk is not full; if it is damaged, move it away"
            ) from error


def describe_history(history: MiningHistory, newest: int | None = None) -> list[MinedStatus]:
    """Every window oldest first, or this many of the newest, as a miner's status has them."""
    windows = history.get_mined(newest=newest)
    since = windows[0].window if windows else 0
    verdicts = {verdict.window: verdict for verdict in history.get_verdicts(since=since)}
    first = min((verdict.settlement for verdict in verdicts.values()), default=0)
    payments = history.get_payments(first)
    described: list[MinedStatus] = []
    for mined in windows:
        verdict = verdicts.get(mined.window)
        payment = payments.get(verdict.settlement) if verdict is not None else None
        commitment: CommitmentStatus = {
            "root": mined.root.hex() if mined.root is not None else None,
            "sent_at": mined.sent_at,
            "stood": None if verdict is None else verdict.stood,
        }
        described.append(
            {
                "window": mined.window,
                "opened_at": mined.opened_at,
                "checkpoint": mined.checkpoint.hex(),
                "groups": {"done": mined.groups, "wanted": mined.wanted},
                "upload": {"name": mined.object_name, "bytes": mined.size}
                if mined.object_name
                else None,
                "commitment": None if mined.root is None else commitment,
                "note": mined.note or None,
                "verdict": None if verdict is None else _describe_verdict(verdict),
                "payment": None if payment is None else _describe_payment(payment),
            }
        )
    return described


def _describe_verdict(verdict: OwnVerdict) -> OwnVerdictStatus:
    place: FaultPlaceStatus = {}
    if verdict.group is not None:
        place["group"] = verdict.group
    if verdict.rollout is not None:
        place["rollout"] = verdict.rollout
    if verdict.token is not None:
        place["token"] = verdict.token
    return {
        "accepted": verdict.reason is Reason.ACCEPTED,
        "reason": verdict.reason and verdict.reason.value,
        "detail": verdict.detail,
        **place,
        "costs": name_cost(verdict.reason),
        "score": verdict.score,
        "tokens": verdict.tokens,
        "statistics": dict(verdict.statistics),
        "settlement": verdict.settlement,
        "judged_at": verdict.judged_at,
        "final": verdict.final,
    }


def _describe_payment(payment: Payment) -> PaymentStatus:
    return {
        "settlement": payment.settlement,
        "block": payment.block,
        "uid": payment.uid,
        "weights": [
            {"validator": encode_ss58(hotkey), "weight": weight, "share": round(weight / total, 6)}
            for hotkey, (weight, total) in payment.weights.items()
            if total
        ],
        "incentive": payment.incentive,
        "emission_rao_alpha": payment.emission,
        "note": payment.note,
    }
