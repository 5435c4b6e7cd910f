"""A validator's memory: state that no restart may lose, written after each judged submission.

It holds everything that is not settled yet: windows with their challenge and context, every verdict
with the ledger after it, and how far the chain has been followed. It is written before it is acted
on, so that after a kill the validator continues as if nothing had happened.
"""

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

from assay.artifacts.database import Database, JournalError
from assay.neurons.validator.judged_window import JudgedWindow
from assay.protocol.amendment import ParameterHistory
from assay.protocol.beacon import Beacon
from assay.protocol.context import Context
from assay.protocol.encoding import Digest, to_json
from assay.protocol.ss58 import encode_ss58
from assay.protocol.window import Block
from assay.session.window_reader import Challenge
from assay.verification import Ledger, Seat, Verdict, VerdictRecord

logger = logging.getLogger("assay")

#: A seat's ledger belongs to the settlement of this epoch block.
Account = tuple[int, Seat]

_TABLES = (
    # one row
    """CREATE TABLE IF NOT EXISTS validator (
        hotkey BLOB NOT NULL, parameters BLOB NOT NULL,
        next_window INTEGER NOT NULL, last_epoch INTEGER NOT NULL)""",
    # one row: the subnet that the weights in this file belong to
    "CREATE TABLE IF NOT EXISTS subnet (genesis_hash BLOB NOT NULL, netuid INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS windows (
        window INTEGER PRIMARY KEY, challenge TEXT NOT NULL, context TEXT,
        void TEXT, missing TEXT, closed INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS verdicts (
        window INTEGER NOT NULL, hotkey BLOB NOT NULL, asked_at INTEGER NOT NULL,
        seconds REAL NOT NULL, verdict TEXT NOT NULL,
        PRIMARY KEY (window, hotkey)) WITHOUT ROWID""",
    # verdicts of faultless audits: they stay beside the verdicts of the samples
    """CREATE TABLE IF NOT EXISTS provisional_verdicts (
        window INTEGER NOT NULL, hotkey BLOB NOT NULL, asked_at INTEGER NOT NULL,
        seconds REAL NOT NULL, verdict TEXT NOT NULL,
        PRIMARY KEY (window, hotkey)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS ledgers (
        epoch INTEGER NOT NULL, uid INTEGER NOT NULL, registered_at INTEGER NOT NULL,
        ledger TEXT NOT NULL, PRIMARY KEY (epoch, uid, registered_at)) WITHOUT ROWID""",
)
#: In the order in which their rows were made.
_VERDICTS = ("provisional_verdicts", "verdicts")


@dataclass(frozen=True, slots=True)
class _Challenge:
    """A challenge without its window and the parameters that the window implies."""

    block: Block
    beacon: Beacon
    checkpoint: Digest


@dataclass(frozen=True, slots=True)
class WindowProgress:
    """A validator's progress."""

    next_window: int  # the first that it has neither opened nor skipped
    last_epoch: int  # block up to which everything is settled or skipped


class Journal:
    """One validator's unsettled windows.

    Raises (every method):
        JournalError: the file cannot be used; nothing was written.
    """

    def __init__(
        self, database: Database, hotkey: bytes, parameters: ParameterHistory, first: WindowProgress
    ) -> None:
        """Args:
            first: where a validator without a past begins, or one whose subnet has become another
                network: unsettled windows of the old one are dropped.

        Raises:
            JournalError: the file is another hotkey's, or another subnet's.
        """
        self._database = database
        self._parameters = parameters
        with database.transaction():
            for table in _TABLES:
                database.execute(table)
            self._require_own(hotkey)
            rows = database.execute("SELECT parameters, last_epoch FROM validator")
            if not rows:
                self._begin(hotkey, first)
            elif rows[0][0] != parameters.first.digest:
                self._drop_old_network(rows[0][0])
                # an epoch is settled once, even if the node asked now lags
                self._begin(hotkey, replace(first, last_epoch=max(first.last_epoch, rows[0][1])))

    def _require_own(self, hotkey: bytes) -> None:
        database, identity = self._database, self._parameters.first.identity
        subnet = (identity.genesis_hash, identity.netuid)
        rows = database.execute("SELECT hotkey, parameters FROM validator")
        known = database.execute("SELECT genesis_hash, netuid FROM subnet")
        if not known and all(digest == self._parameters.first.digest for _, digest in rows):
            database.execute("INSERT INTO subnet VALUES (?, ?)", subnet)
        elif known != [subnet]:
            raise JournalError(
                f"{database.name} is the journal of another subnet or chain, not of subnet "
                f"{identity.netuid} on {identity.genesis_hash.hex()[:16]}…: use another folder"
            )
        if rows and rows[0][0] != hotkey:
            raise JournalError(
                f"{database.name} is the journal of hotkey {encode_ss58(rows[0][0])}, not of "
                f"{encode_ss58(hotkey)}: use another folder"
            )

    def _begin(self, hotkey: bytes, first: WindowProgress) -> None:
        self._database.execute("DELETE FROM validator")
        self._database.execute(
            "INSERT INTO validator VALUES (?, ?, ?, ?)",
            (hotkey, self._parameters.first.digest, first.next_window, first.last_epoch),
        )

    def _drop_old_network(self, digest: bytes) -> None:
        """Drop the old network's windows, whose numbers differ. Weights that are due stay due."""
        ((count,),) = self._database.execute("SELECT count(*) FROM windows")
        logger.warning(
            "the subnet is another network, %s… in place of %s…: starting afresh, %d windows of "
            "the old one stay unsettled; weights that were due are still sent",
            self._parameters.first.digest.hex()[:16],
            digest.hex()[:16],
            count,
            extra={"event": "parameters_changed"},
        )
        for table in ("windows", *_VERDICTS, "ledgers"):
            self._database.execute(f"DELETE FROM {table}")

    def load_progress(self) -> WindowProgress:
        """The validator's progress."""
        (row,) = self._database.execute("SELECT next_window, last_epoch FROM validator")
        return WindowProgress(*row)

    def load_judged_windows(self) -> dict[int, JudgedWindow]:
        """The opened and unsettled windows, in order, as they were left."""
        judged_windows, decode = {}, self._database.decode
        for window, challenge, context, void, missing, closed in self._database.execute(
            "SELECT window, challenge, context, void, missing, closed FROM windows ORDER BY window"
        ):
            start, parameters = decode(_Challenge, challenge), self._parameters.get(window)
            judged = JudgedWindow(
                Challenge(window, start.block, start.beacon, start.checkpoint, parameters)
            )
            if context is not None:
                judged.context = decode(Context, context)
            judged.void, judged.missing = void, missing
            judged_windows[window] = judged
            self._load_verdicts(judged)
            if closed:
                judged.close_fetching()
                judged.closed = True
        return judged_windows

    def _load_verdicts(self, judged: JudgedWindow) -> None:
        for table in _VERDICTS:
            for asked_at, seconds, text in self._database.execute(
                f"SELECT asked_at, seconds, verdict FROM {table} WHERE window = ?",
                (judged.challenge.window,),
            ):
                record = self._database.decode(VerdictRecord, text)
                judged.add(record.to_verdict(), asked_at, seconds)

    def load_ledgers(self) -> dict[Account, Ledger]:
        """The ledgers of future settlements."""
        return {
            (epoch, Seat(uid, registered_at)): self._database.decode(Ledger, text)
            for epoch, uid, registered_at, text in self._database.execute("SELECT * FROM ledgers")
        }

    def open_window(self, challenge: Challenge, next_window: int) -> None:
        """Note a window as opened. `next_window` is now the first that is neither opened nor
        skipped."""
        start = _Challenge(challenge.block, challenge.beacon, challenge.checkpoint)
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO windows (window, challenge) VALUES (?, ?)",
                (challenge.window, _encode(start)),
            )
            self.pass_window(next_window - 1)

    def pass_window(self, window: int) -> None:
        """Note that every window up to this one is opened or skipped."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE validator SET next_window = max(next_window, ?)", (window + 1,)
            )

    def put_context(self, context: Context) -> None:
        """Save a window's context."""
        self._update(context.window, "context = ?", _encode(context))

    def put_verdict(
        self, verdict: Verdict, asked_at: int, seconds: float, account: Account, ledger: Ledger
    ) -> None:
        """Save one judged submission, and the ledger after it, in one transaction."""
        epoch, seat = account
        table = _VERDICTS[not verdict.provisional]
        with self._database.transaction():
            if verdict.provisional:  # the miner has shown a file that it had not shown before
                self._database.execute(
                    "DELETE FROM verdicts WHERE window = ? AND hotkey = ?",
                    (verdict.window, verdict.hotkey),
                )
            self._database.execute(
                f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?, ?)",
                (verdict.window, verdict.hotkey, asked_at, seconds, _encode(verdict.to_record())),
            )
            self._database.execute(
                "INSERT OR REPLACE INTO ledgers VALUES (?, ?, ?, ?)",
                (epoch, seat.uid, seat.registered_at, _encode(ledger)),
            )

    def note_faults(
        self, judged: JudgedWindow, *, void: str | None = None, missing: str | None = None
    ) -> None:
        """Save, once each, why a window counts for nobody, and what was lacking."""
        void, missing = void or judged.void, missing or judged.missing
        if (void, missing) != (judged.void, judged.missing):
            self._update(judged.challenge.window, "void = ?, missing = ?", void, missing)
            judged.void, judged.missing = void, missing

    def close_window(self, window: int) -> None:
        """Note a window as final and published."""
        self._update(window, "closed = ?", 1)

    def settle(self, epoch: int, next_window: int) -> None:
        """Note everything up to an epoch block as settled, and forget it. `next_window` is the
        first that this settlement does not cover."""
        with self._database.transaction():
            self._database.execute("UPDATE validator SET last_epoch = ?", (epoch,))
            self.pass_window(next_window - 1)
            for table in ("windows", *_VERDICTS):
                self._database.execute(f"DELETE FROM {table} WHERE window < ?", (next_window,))
            self._database.execute("DELETE FROM ledgers WHERE epoch <= ?", (epoch,))

    def _update(self, window: int, columns: str, *values: Any) -> None:
        with self._database.transaction():
            self._database.execute(
                f"UPDATE windows SET {columns} WHERE window = ?", (*values, window)
            )


def _encode(value: Any) -> str:
    return json.dumps(to_json(value))
