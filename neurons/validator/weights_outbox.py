"""Weights on their way to the chain: never lost, never doubled.

A settlement's weights are on disk before anything is sent, and each call is noted before it is
made. Whatever happens in between, the next start finds a row that *may* have been sent. The outbox
looks for it in finalized state, and sends it again only once the extrinsic that may be under way
can no longer be included.

This module cannot see who else uses the hotkey. Where weights are timelocked, it sees only that
some were accepted, not which.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from assay.artifacts.database import Database, JournalError
from assay.artifacts.status.validator import WeightsStatus
from assay.network.chain.errors import (
    ChainError,
    TooSoonError,
    UnknownOutcomeError,
    WrongChainError,
)
from assay.network.chain.extrinsic_sender import EXTRINSIC_BLOCKS
from assay.network.chain.ports import Chain
from assay.protocol.errors import Trouble, TroubleKind
from assay.session.chain_delivery import DELIVERY, DeliveryEvent, DeliveryState

#: Blocks by which the node that signed may have been ahead of the head that we saw.
_AHEAD_BLOCKS = 16
#: Blocks after which nothing that was sent can still be included.
DOUBT_BLOCKS = EXTRINSIC_BLOCKS + _AHEAD_BLOCKS
#: Blocks before a refused row is tried again: after the first refusal; the most that it doubles to.
_FIRST_PAUSE, _LONGEST_PAUSE = 4, 128
#: Blocks between two checks whether somebody else has set weights since.
_WATCH_BLOCKS = 8


_SCHEMA = """
CREATE TABLE IF NOT EXISTS weights (
    epoch INTEGER PRIMARY KEY, state TEXT NOT NULL, weights TEXT NOT NULL, sent_at INTEGER,
    confirmed_at INTEGER, trouble TEXT, marked_at INTEGER, expires INTEGER, shut INTEGER NOT NULL,
    failures INTEGER NOT NULL, retry_at INTEGER NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class WeightsRow:
    """One settlement's weights and their state. Numbers are blocks."""

    epoch: int
    state: DeliveryState
    weights: Mapping[int, int]
    sent_at: int | None = None  # block that holds them; None while that is not known
    confirmed_at: int | None = None  # first finalized block at which they were seen
    #: why they are not sent, or what happened to them since; None where nothing is wrong
    trouble: str | None = None
    marked_at: int | None = None  # head when they were about to be sent
    expires: int | None = None  # head from which on a sent extrinsic cannot be included any more
    shut: bool = False  # the subnet required timelocked weights
    failures: int = 0  # refusals so far; retry_at: head from which on it is tried again
    retry_at: int = 0


#: Settlements whose rows are kept: some weeks of the main network.
KEPT_ROWS = 1_024
_COLUMNS = ", ".join(field.name for field in fields(WeightsRow))
_NEWEST = "ORDER BY epoch DESC LIMIT"


def list_rows(database: Database, limit: int) -> list[WeightsRow]:
    """The settlements whose weights were or will be sent, newest first."""
    rows = database.execute(f"SELECT {_COLUMNS} FROM weights {_NEWEST} ?", (limit,))
    return [_decode(*values) for values in rows]


def describe_row(row: WeightsRow) -> WeightsStatus:
    """A settlement's weights and their state."""
    return {
        "epoch": row.epoch,
        "state": row.state.value,
        "sent_at": row.sent_at,
        "confirmed_at": row.confirmed_at,
        "trouble": row.trouble,
        "weights": {str(uid): weight for uid, weight in row.weights.items()},
    }


class WeightsOutbox:
    """One hotkey's weights. No other program may send the rows of `database`."""

    def __init__(self, database: Database, chain: Chain, hotkey: bytes) -> None:
        self._database = database
        self._chain = chain
        self._hotkey = hotkey
        self._seen = -1  # head at which there was nothing more to do
        self._watched = -1
        self._unanswered: Trouble | None = None
        database.execute(_SCHEMA)
        newest = list_rows(database, 1)
        self._noted = newest[0].trouble if newest else None

    @property
    def trouble(self) -> Trouble | None:
        """The reason why the newest weights are not on chain, or what happened to them there."""
        noted = self._noted and Trouble(TroubleKind.WEIGHTS, self._noted)
        return self._unanswered or noted or None

    def put(self, epoch: int, weights: Mapping[int, int]) -> None:
        """Save a settlement's weights, uid → u16. Older ones that were not sent yet never will be.
        Raises JournalError: the row of this epoch has other weights, so one of the two is wrong."""
        row = {uid: weights[uid] for uid in sorted(weights) if weights[uid]}
        with self._database.transaction():
            known = self._find("epoch = ?", epoch)
            if known is not None:
                if known.weights == row:
                    return
                raise JournalError(
                    f"{self._database.name} has other weights of epoch {epoch} than those now "
                    "computed: it is another validator's or was restored from a copy; use a new "
                    "folder"
                )
            newer = self._find("epoch > ?", epoch)
            due = WeightsRow(epoch, DeliveryState.DUE, row)
            self.save(_advance(due, DeliveryEvent.REPLACED) if newer else due)
            self._database.execute(
                "UPDATE weights SET state = ? WHERE state = ? AND epoch < ?",
                (DELIVERY[due.state][DeliveryEvent.REPLACED], due.state, epoch),
            )
            self._database.execute(
                "DELETE FROM weights WHERE state IN (?, ?) AND epoch <= "
                "(SELECT epoch FROM weights ORDER BY epoch DESC LIMIT 1 OFFSET ?)",
                (DeliveryState.CONFIRMED, DeliveryState.SUPERSEDED, KEPT_ROWS),
            )
        self._seen = -1

    def step(self, head: int) -> bool:
        """Send a row, follow it up, or look for other weights. Return whether more may be due.

        Raises:
            WrongChainError: a node speaks for another chain.
            JournalError: the row's state cannot be written.
        """
        if head <= self._seen:
            return False
        self._unanswered = None
        try:
            if self._work(head):
                return True
        except WrongChainError:
            raise
        except ChainError as error:  # the chain cannot be asked now: retry at the next block
            self._unanswered = Trouble.from_error(error)
        self._seen = head
        return False

    def _work(self, head: int) -> bool:
        under_way = self._find("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT)
        if under_way is not None:
            return self._follow(under_way, head)
        due = self._find("state = ?", DeliveryState.DUE)
        if due is not None:
            return due.retry_at <= head and self._send(due, head)
        self._watch(head)
        return False

    def _send(self, row: WeightsRow, head: int) -> bool:
        """Send a row if the chain accepts it now."""
        if row.marked_at is not None and self._confirm(row, head):
            return True  # the chain has it, though the call was reported as refused
        if self._chain.get_weights_block(self._hotkey, head) is None:
            self._put_off(row, head, f"the hotkey has no uid at block {head}: register it")
            return False
        if head + 1 < self._chain.get_next_weights_block(self._hotkey):
            return False
        shut = self._chain.get_hyperparameters().commit_reveal
        row = replace(row, marked_at=head, shut=shut, sent_at=None, expires=None)
        sending = _advance(row, DeliveryEvent.NOTED)
        self.save(sending)
        try:
            block = self._chain.set_weights(self._hotkey, row.weights)
        except (UnknownOutcomeError, WrongChainError):
            raise  # the row stays marked
        except TooSoonError as error:
            refused = _advance(sending, DeliveryEvent.REFUSED)
            self.save(replace(refused, marked_at=None, retry_at=error.allowed_at - 1))
            return False
        except ChainError as error:
            self._put_off(sending, head, str(error))
            return False
        sent = _advance(sending, DeliveryEvent.HANDED_OVER)
        self.save(replace(sent, sent_at=block, expires=head + DOUBT_BLOCKS, trouble=None))
        return True

    def _put_off(self, row: WeightsRow, head: int, why: str) -> None:
        """Postpone a row that the chain refuses, with growing pauses."""
        retry_at = head + min(_FIRST_PAUSE << min(row.failures, 8), _LONGEST_PAUSE)
        trouble = f"weights of epoch {row.epoch}, again in block {retry_at}: {why}"
        row = _advance(row, DeliveryEvent.REFUSED)
        self.save(replace(row, failures=row.failures + 1, retry_at=retry_at, trouble=trouble))

    def _follow(self, row: WeightsRow, head: int) -> bool:
        """Look for a row that may have been sent; due again once it cannot be included any more."""
        if row.expires is None:
            since = max(head, row.marked_at or 0)  # a node that lags must not shorten this period
            row = replace(
                row,
                expires=since + DOUBT_BLOCKS,
                trouble=f"weights of epoch {row.epoch} may have been sent, but no node reported "
                "the outcome: they are looked for on chain, and sent again from block "
                f"{since + DOUBT_BLOCKS} on if they are not there",
            )
            self.save(row)
        if self._confirm(row, head):
            return True
        if row.expires is None or head < row.expires:
            return False
        with self._database.transaction():
            newer = self._find("epoch > ?", row.epoch)
            row = _advance(row, DeliveryEvent.REPLACED if newer else DeliveryEvent.EXPIRED)
            self.save(replace(row, sent_at=None, trouble=None))
        return True

    def _confirm(self, row: WeightsRow, head: int) -> bool:
        """Mark a row as confirmed if a finalized block's state holds it."""
        last = self._chain.get_weights_block(self._hotkey, head)
        if last is None or row.marked_at is None or last <= row.marked_at:
            return False
        if not row.shut and self._chain.get_weights(head).get(self._hotkey) != row.weights:
            return False
        row = _advance(row, DeliveryEvent.FINAL)
        self.save(replace(row, sent_at=last, confirmed_at=head, trouble=None))
        return True

    def _watch(self, head: int) -> None:
        """Report if somebody else has set weights after our newest."""
        row = self._find("state = ?", DeliveryState.CONFIRMED)
        if row is None or row.sent_at is None or head < self._watched + _WATCH_BLOCKS:
            return
        self._watched = head
        last = self._chain.get_weights_block(self._hotkey, head)
        trouble = None
        if last is None:
            trouble = "the hotkey no longer has a uid: register it again"
        elif last > row.sent_at:
            trouble = (
                f"block {last} has weights of this hotkey that this program has not sent: stop "
                "the other program that uses it"
            )
        if trouble is not None and trouble != row.trouble:
            self.save(replace(row, trouble=trouble))

    def _find(self, condition: str, *values: int | str) -> WeightsRow | None:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM weights WHERE {condition} {_NEWEST} 1", values
        )
        return _decode(*rows[0]) if rows else None

    def save(self, row: WeightsRow) -> None:
        values = [getattr(row, field.name) for field in fields(row)]
        values[2] = json.dumps(list(row.weights.items()))
        marks = ", ".join("?" * len(values))
        with self._database.transaction():
            self._database.execute(
                f"INSERT OR REPLACE INTO weights ({_COLUMNS}) VALUES ({marks})", values
            )
        self._noted = row.trouble


def _advance(row: WeightsRow, event: DeliveryEvent) -> WeightsRow:
    return replace(row, state=DELIVERY[row.state][event])


def _decode(epoch: int, state: str, weights: str, *rest: object) -> WeightsRow:
    row = WeightsRow(epoch, DeliveryState(state), dict(json.loads(weights)), *rest)  # type: ignore[arg-type]
    return replace(row, shut=bool(row.shut))
