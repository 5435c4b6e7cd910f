"""Settlements on their way to the ledger: weights never wait for them, and none is lost.

A settlement's entry is on disk before anything is sent, and the signed post before it is sent.
After a kill the same bytes are sent again, and a chain accepts them once. A reorganisation may
remove a post. A post therefore counts only under enough blocks, and is looked for again for a
while. Two posts of one settlement cannot both succeed: the contract writes it once.

This module cannot see who else uses the key. Another program's transaction may take the number that
a post was signed with, and the post is then signed again. The same happens to a post whose number
is too high ever to come: the key was another one before, or a node misled us.
"""

import json
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from assay.artifacts.database import Database
from assay.artifacts.status.validator import LedgerEntryStatus, PostStatus
from assay.network.chain.errors import ChainError, UnknownOutcomeError
from assay.network.evm import EvmError, LedgerEntry, LedgerPoster, SignedCall, make_ledger_entry
from assay.neurons.ports import LedgerChain
from assay.neurons.validator.weights_outbox import KEPT_ROWS
from assay.protocol.encoding import to_json
from assay.protocol.errors import OperatorError, Trouble, TroubleKind
from assay.protocol.record import SettlementRecord
from assay.session.chain_delivery import DELIVERY, DeliveryEvent, DeliveryState
from assay.session.evm_opening import open_key, open_ledger, open_node
from assay.settings.sections import Settings

logger = logging.getLogger("assay")

#: Most posts under way at once.
_TOGETHER = 8
#: Blocks before a refused post is tried again: after the first refusal; the most that it doubles
#: to.
_FIRST_PAUSE, _LONGEST_PAUSE = 4, 128
#: Blocks before a post that no block includes is signed again with a higher price.
_PATIENCE_BLOCKS = 20
#: Blocks for which a confirmed post is still looked for.
_WATCH_BLOCKS = 256

#: Seconds between two looks; the most that they double to after failures.
LOOK_S, _LONGEST_S = 6.0, 300.0
#: Seconds that an ending program waits for a running request.
_END_S = 30.0

#: The table has the name that it had in folders of older versions.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    epoch INTEGER PRIMARY KEY, state TEXT NOT NULL, entry TEXT NOT NULL, post TEXT,
    marked_at INTEGER, seen_at INTEGER, failures INTEGER NOT NULL, retry_at INTEGER NOT NULL,
    trouble TEXT
)
"""


@dataclass(frozen=True, slots=True)
class PostRow:
    """One settlement's entry and the state of its post. Block numbers are the EVM's."""

    epoch: int
    state: DeliveryState
    entry: LedgerEntry
    post: SignedCall | None = None  # the one signed last; None before
    marked_at: int | None = None  # head when it was signed
    #: block that holds it; where that is unknown, the head at which it was first seen
    seen_at: int | None = None
    failures: int = 0  # so far; retry_at: head from which on it is tried again
    retry_at: int = 0
    trouble: str | None = None


_COLUMNS = ", ".join(field.name for field in fields(PostRow))


def list_posts(database: Database, limit: int) -> list[PostRow]:
    """The settlements that were or will be posted, newest first."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'ledger'")
    if not tables:  # a validator that posts nothing
        return []
    rows = database.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY epoch DESC LIMIT ?", (limit,))
    return [_decode(database, *values) for values in rows]


def describe_post(row: PostRow) -> PostStatus:
    """A settlement's post and its state."""
    return {
        "epoch": row.epoch,
        "state": row.state.value,
        "transaction": None if row.post is None else row.post.hash.hex(),
        "block": row.seen_at,
        "trouble": row.trouble,
        "entry": cast(LedgerEntryStatus, to_json(row.entry)),
    }


class PostOutbox:
    """One validator's posts.

    Args:
        database: no other program may post its rows.
        confirmations: blocks on top of a post's before it is confirmed.

    Raises:
        JournalError: the database cannot be read or written. All methods raise it too.
    """

    def __init__(self, database: Database, ledger: LedgerChain, confirmations: int) -> None:
        self._database = database
        self._ledger = ledger
        self._confirmations = confirmations
        database.execute(_SCHEMA)

    @property
    def trouble(self) -> Trouble | None:
        """The trouble of the newest settlement that is not confirmed."""
        rows = self._list("state != ? AND trouble IS NOT NULL", DeliveryState.CONFIRMED)
        text = rows[-1].trouble if rows else None
        return None if text is None else Trouble(TroubleKind.LEDGER, text)

    def put(self, epoch: int, entry: LedgerEntry) -> None:
        """Save the entry to post for a settlement. Contacts nobody and waits for nothing.

        The first entry is kept: the one that a run after a kill computes may already be on its way.
        """
        with self._database.transaction():
            known = self._list("epoch = ?", epoch)
            if known and known[0].entry != entry:
                logger.warning(
                    "epoch %d already has another entry, which stays",
                    epoch,
                    extra={"event": "post_conflict"},
                )
            if not known:
                self.save(PostRow(epoch, DeliveryState.DUE, entry))
            self._database.execute(
                "DELETE FROM ledger WHERE state IN (?, ?) AND epoch <= "
                "(SELECT epoch FROM ledger ORDER BY epoch DESC LIMIT 1 OFFSET ?)",
                (DeliveryState.CONFIRMED, DeliveryState.TAKEN, KEPT_ROWS),
            )

    def put_record(self, record: SettlementRecord) -> None:
        """Save the entry to post for a record: none where it has no score to prove."""
        entry = make_ledger_entry(record)
        if entry is not None:
            self.put(record.epoch, entry)

    def step(self) -> None:
        """Process every row once. Raises ChainError: no node answers, or it speaks for another
        chain; nothing was lost."""
        head = self._ledger.get_head()
        for row in self._list("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT):
            self._follow(row, head)
        since = head - _WATCH_BLOCKS
        done = "state IN (?, ?) AND seen_at > ?"
        for row in self._list(done, DeliveryState.CONFIRMED, DeliveryState.TAKEN, since):
            self._watch(row)
        # a retry further off than any pause comes from a wrong head
        pausing = (head + 1, head + _LONGEST_PAUSE)
        for row in self._list(
            "state = ? AND retry_at NOT BETWEEN ? AND ?", DeliveryState.DUE, *pausing
        ):
            if (
                len(self._list("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT))
                < _TOGETHER
            ):
                self._start(row, head)

    def _start(self, row: PostRow, head: int) -> None:
        """Sign and send a row, unless the contract already has an entry for its settlement."""
        if self._note_standing(row, head):
            return
        following = [number + 1 for number in self._list_numbers()]
        nonce = max([self._ledger.get_nonce(pending=True), *following])
        try:
            post = self._ledger.sign(row.epoch, row.entry, nonce)
        except EvmError as error:
            self._put_off(row, head, str(error))
            return
        self._send(replace(row, post=post, marked_at=head))

    def _send(self, row: PostRow, trouble: str | None = None) -> None:
        """Send a row's post, which is saved by then."""
        post = row.post
        assert post is not None
        row = replace(_advance(row, DeliveryEvent.NOTED), seen_at=None, trouble=trouble)
        self.save(row)
        try:
            self._ledger.send(post)
        except UnknownOutcomeError:
            raise  # the row stays marked, and is sent again
        except ChainError as error:  # the next step looks into it
            trouble = trouble or f"settlement of epoch {row.epoch}: {error}"
        self.save(replace(_advance(row, DeliveryEvent.HANDED_OVER), trouble=trouble))

    def _follow(self, row: PostRow, head: int) -> None:
        """Look for a post that may be under way, and send it again where it is not."""
        if self._note_standing(row, head):
            return
        assert row.post is not None
        assert row.marked_at is not None
        receipt = self._ledger.get_receipt(row.post.hash)
        if receipt is not None and receipt.succeeded:
            return  # between two looks: the next one sees it
        if receipt is not None:
            self._put_off(row, head, self._ledger.explain_failure(row.post))
        elif self._ledger.get_nonce(pending=False) > row.post.nonce:
            # another transaction has its number; if it was this one, `_start` sees the entry
            self.save(replace(_advance(row, DeliveryEvent.EXPIRED), seen_at=None))
        elif head - row.marked_at >= _PATIENCE_BLOCKS:
            self._outbid(row, head)
        else:
            self._send(row)

    def _outbid(self, row: PostRow, head: int) -> None:
        """Replace a post that no block includes: by one with a higher price, or, where the key's
        next number has no transaction, by one that has this number."""
        assert row.post is not None
        nonce, price = row.post.nonce, row.post.price
        following = self._ledger.get_nonce(pending=False)
        gap = following not in self._list_numbers()
        try:
            if gap:
                post = self._ledger.sign(row.epoch, row.entry, following)
            else:
                post = self._ledger.sign(row.epoch, row.entry, nonce, price)
        except EvmError as error:
            # the old post is valid until it is replaced, and the node may have lost it
            self._send(row, f"settlement of epoch {row.epoch}: {error}")
            return
        self._send(replace(row, post=post, marked_at=head))

    def _note_standing(self, row: PostRow, head: int) -> bool:
        """Note the ledger's entry for a row's settlement. Return whether there is one."""
        digest = self._ledger.get_digest(row.epoch)
        if not any(digest):
            return False
        if digest != row.entry.digest:
            trouble = (
                f"the ledger has another entry of epoch {row.epoch}, {digest.hex()}, permanently: "
                "somebody else posts with this key, or this folder is a copy"
            )
            row = _advance(row, DeliveryEvent.CONFLICTED)
            self.save(replace(row, seen_at=head, trouble=trouble))
            return True
        receipt = None if row.post is None else self._ledger.get_receipt(row.post.hash)
        known = row.seen_at if row.seen_at is not None else head
        seen_at = known if receipt is None else receipt.block
        deep = head - seen_at >= self._confirmations
        if deep:
            row = _advance(row, DeliveryEvent.FINAL)
        elif row.post is not None:  # without a post there is nothing to send
            row = _advance(row, DeliveryEvent.INCLUDED)
        self.save(replace(row, seen_at=seen_at, trouble=None))
        return True

    def _watch(self, row: PostRow) -> None:
        """Take a row up again where a reorganisation removed the entry, ours or another's, or where
        a node reported one that never existed."""
        if any(self._ledger.get_digest(row.epoch)):
            return
        logger.warning(
            "the entry of epoch %d has vanished from the chain: posting it again",
            row.epoch,
            extra={"event": "post_vanished"},
        )
        row = _advance(row, DeliveryEvent.EXPIRED if row.post is None else DeliveryEvent.VANISHED)
        self.save(replace(row, seen_at=None, trouble=None))

    def _put_off(self, row: PostRow, head: int, why: str) -> None:
        """Postpone a row that the chain refuses, with growing pauses."""
        retry_at = head + min(_FIRST_PAUSE << min(row.failures, 8), _LONGEST_PAUSE)
        self.save(
            replace(
                _advance(row, DeliveryEvent.REFUSED),
                seen_at=None,
                failures=row.failures + 1,
                retry_at=retry_at,
                trouble=f"settlement of epoch {row.epoch}, again in block {retry_at}: {why}",
            )
        )

    def _list_numbers(self) -> list[int]:
        """The numbers of the posts under way."""
        under_way = self._list("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT)
        return [row.post.nonce for row in under_way if row.post is not None]

    def _list(self, condition: str, *values: int | str) -> list[PostRow]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM ledger WHERE {condition} ORDER BY epoch", values
        )
        return [_decode(self._database, *row) for row in rows]

    def save(self, row: PostRow) -> None:
        values = [getattr(row, field.name) for field in fields(row)]
        values[2] = json.dumps(to_json(row.entry))
        values[3] = None if row.post is None else json.dumps(to_json(row.post))
        marks = ", ".join("?" * len(values))
        with self._database.transaction():
            self._database.execute(
                f"INSERT OR REPLACE INTO ledger ({_COLUMNS}) VALUES ({marks})", values
            )


def _advance(row: PostRow, event: DeliveryEvent) -> PostRow:
    return replace(row, state=DELIVERY[row.state][event])


def _decode(
    database: Database, epoch: int, state: str, entry: str, post: str | None, *rest: Any
) -> PostRow:
    signed = None if post is None else database.decode(SignedCall, post)
    return PostRow(epoch, DeliveryState(state), database.decode(LedgerEntry, entry), signed, *rest)


class PostThread:
    """Posts in its own thread until it is stopped, so that no EVM node delays a verdict.

    Attributes:
        trouble: the reason why settlements do not reach the ledger, for people, or None.
    """

    def __init__(self, outbox: PostOutbox, look_s: float = LOOK_S) -> None:
        self.trouble: Trouble | None = None
        self._outbox = outbox
        self._look_s = look_s
        self._wake = threading.Event()
        self._ended = threading.Event()
        # a request that hangs to its deadline must not keep the program from stopping
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Start. Posts that were on their way when the program last ended continue."""
        self._thread.start()

    def put_record(self, record: SettlementRecord) -> None:
        """See `PostOutbox.put_record`."""
        self._outbox.put_record(record)
        self._wake.set()

    def close(self) -> None:
        """Stop after the running request. Entries that are not posted yet are on disk."""
        self._ended.set()
        self._wake.set()
        self._thread.join(_END_S)

    def _run(self) -> None:
        pause_s = self._look_s
        while not self._ended.is_set():
            self._wake.clear()
            pause_s = self._look_s if self._step() else min(2 * pause_s, _LONGEST_S)
            self._wake.wait(pause_s)

    def _step(self) -> bool:
        """Process all rows. Return whether all went well."""
        try:
            self._outbox.step()
            self._log_trouble(self._outbox.trouble)
        except (OperatorError, OSError) as error:
            self._log_trouble(Trouble.from_error(error))
            return False
        except Exception as error:  # noqa: BLE001 - the outermost loop of a thread
            logger.error(
                "a defect in assay:\n%s",
                "".join(traceback.format_exception(error)),
                extra={"event": "defect"},
            )
            text = "posting to the ledger fails because of a defect in assay, which the log shows"
            self._log_trouble(Trouble(TroubleKind.LEDGER, text))
            return False
        return True

    def _log_trouble(self, trouble: Trouble | None) -> None:
        if trouble is not None and trouble != self.trouble:
            logger.warning("ledger: %s", trouble, extra={"event": "posting_trouble"})
        elif trouble is None and self.trouble is not None:
            logger.info("ledger: settlements are posted again", extra={"event": "posting_resumed"})
        self.trouble = trouble


@contextmanager
def open_posting(
    settings: Settings, database: Database, hotkey: bytes
) -> Iterator[PostThread | None]:
    """A validator's running posting thread, or None where the settings name no ledger."""
    ledger = settings.ledger
    if ledger.endpoint is None and ledger.contract is None:
        yield None
        return
    with open_node(settings) as node:
        poster = LedgerPoster(open_ledger(settings, node), open_key(settings), hotkey)
        thread = PostThread(PostOutbox(database, poster, ledger.confirmations))
        thread.start()
        try:
            yield thread
        finally:
            thread.close()
