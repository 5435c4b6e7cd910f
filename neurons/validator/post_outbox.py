"""Settlements on their way to the ledger: weights never wait for them, and none is lost.

A settlement's entry is on disk before anything is sent, and so is the signed post before it goes.
After a kill the same bytes are sent again, which a chain takes once. A block that held a post may
be replaced by one that does not: a post counts once enough blocks lie on it, and is looked for
again for a while. Two posts of one settlement cannot stand: the contract writes it once.

What this does not know: who else uses the key. Another program's transaction may take the number
that a post was signed with; the post is then signed anew. So is one whose number is too high ever
to come: it was another key's before, or a node misled us.
"""

import json
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from assay.network.chain import ChainError, UnknownOutcomeError
from assay.network.evm import EvmError, LedgerEntry, LedgerPoster, SignedCall, make_ledger_entry
from assay.neurons.ports import LedgerChain
from assay.neurons.program.database import Database
from assay.neurons.session.chain_delivery import DELIVERY, DeliveryEvent, DeliveryState
from assay.neurons.session.evm_opening import open_key, open_ledger, open_node
from assay.neurons.settings.sections import Settings
from assay.neurons.validator.weights_outbox import KEPT_ROWS
from assay.protocol import SettlementRecord
from assay.protocol.errors import OperatorError

logger = logging.getLogger("assay")

#: Posts under way at once.
_TOGETHER = 8
#: Blocks before a refused post is tried again: after the first refusal, then twice that, up to
#: the second.
_FIRST_PAUSE, _LONGEST_PAUSE = 4, 128
#: Blocks before a post that no block takes is sent anew for a higher price.
_PATIENCE_BLOCKS = 20
#: Blocks for which a confirmed post is still looked for.
_WATCH_BLOCKS = 256

#: Seconds between two looks; after a failure twice as long, then twice that, up to the second.
LOOK_S, _LONGEST_S = 6.0, 300.0
#: Seconds that an ending program waits for a request under way.
_END_S = 30.0

#: The table keeps the name that it has in folders of older versions.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ledger (
    epoch INTEGER PRIMARY KEY, state TEXT NOT NULL, entry TEXT NOT NULL, post TEXT,
    marked_at INTEGER, seen_at INTEGER, failures INTEGER NOT NULL, retry_at INTEGER NOT NULL,
    trouble TEXT
)
"""


@dataclass(frozen=True, slots=True)
class PostRow:
    """One settlement's entry and what became of it. Numbers are the EVM's blocks."""

    epoch: int
    state: DeliveryState
    entry: LedgerEntry
    post: SignedCall | None = None  # signed last; None before
    marked_at: int | None = None  # head when it was signed
    #: block that holds it; where that is not known, the head at which it was first seen
    seen_at: int | None = None
    failures: int = 0  # so far; retry_at: head from which on it is tried again
    retry_at: int = 0
    trouble: str | None = None


_COLUMNS = ", ".join(field.name for field in fields(PostRow))


def list_posts(database: Database, limit: int) -> list[PostRow]:
    """What was posted or is to be posted, the newest settlement first."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE name = 'ledger'")
    if not tables:  # of a validator that posts nothing
        return []
    found = database.execute(f"SELECT {_COLUMNS} FROM ledger ORDER BY epoch DESC LIMIT ?", (limit,))
    return [_decode(*values) for values in found]


def describe_post(row: PostRow) -> dict[str, Any]:
    """A settlement's post and what became of it."""
    return {
        "epoch": row.epoch,
        "state": row.state.value,
        "transaction": None if row.post is None else row.post.hash.hex(),
        "block": row.seen_at,
        "trouble": row.trouble,
        "entry": encode_entry(row.entry),
    }


def encode_entry(entry: LedgerEntry) -> dict[str, Any]:
    """As JSON: digests in lower-case hex."""
    return {n: v.hex() if isinstance(v, bytes) else v for n, v in asdict(entry).items()}


class PostOutbox:
    """One validator's posts.

    Args:
        database: nobody else may post what it holds.
        confirmations: blocks on top of a post's before it is held to stand.

    Raises:
        JournalError: the database cannot be read or written. So do all methods.
    """

    def __init__(self, database: Database, ledger: LedgerChain, confirmations: int) -> None:
        self._database = database
        self._ledger = ledger
        self._confirmations = confirmations
        database.execute(_SCHEMA)

    @property
    def trouble(self) -> str | None:
        """What keeps the newest of the settlements that are not confirmed."""
        rows = self._list("state != ? AND trouble IS NOT NULL", DeliveryState.CONFIRMED)
        return rows[-1].trouble if rows else None

    def put(self, epoch: int, entry: LedgerEntry) -> None:
        """Persists what is to be posted of a settlement. Asks nobody and waits for nothing.

        The first entry stands: what a run after a kill comes to may already be on its way.
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
        """Puts what is posted of a record: nothing where it has no score to prove."""
        entry = make_ledger_entry(record)
        if entry is not None:
            self.put(record.epoch, entry)

    def step(self) -> None:
        """Looks after every row once. Raises ChainError: no node answers, or it speaks for another
        chain: nothing was lost."""
        head = self._ledger.get_head()
        for row in self._list("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT):
            self._follow(row, head)
        since = head - _WATCH_BLOCKS
        done = "state IN (?, ?) AND seen_at > ?"
        for row in self._list(done, DeliveryState.CONFIRMED, DeliveryState.TAKEN, since):
            self._watch(row)
        # one that is further off than any pause follows from a head that was none
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
        """Signs and sends a row, unless something stands for its settlement already."""
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
        """Sends what is written down by then."""
        post = row.post
        assert post is not None
        row = replace(_advance(row, DeliveryEvent.NOTED), seen_at=None, trouble=trouble)
        self.save(row)
        try:
            self._ledger.send(post)
        except UnknownOutcomeError:
            raise  # it stays as marked, and is sent again
        except ChainError as error:  # looked into at the next step
            trouble = trouble or f"settlement of epoch {row.epoch}: {error}"
        self.save(replace(_advance(row, DeliveryEvent.HANDED_OVER), trouble=trouble))

    def _follow(self, row: PostRow, head: int) -> None:
        """Looks for a post that may be under way, and sends it again where it is not."""
        if self._note_standing(row, head):
            return
        assert row.post is not None
        assert row.marked_at is not None
        receipt = self._ledger.get_receipt(row.post.hash)
        if receipt is not None and receipt.succeeded:
            return  # between two looks: the next sees it stand
        if receipt is not None:
            self._put_off(row, head, self._ledger.explain_failure(row.post))
        elif self._ledger.get_nonce(pending=False) > row.post.nonce:
            # another transaction has its number; if it was this one, `_start` sees it stand
            self.save(replace(_advance(row, DeliveryEvent.EXPIRED), seen_at=None))
        elif head - row.marked_at >= _PATIENCE_BLOCKS:
            self._outbid(row, head)
        else:
            self._send(row)

    def _outbid(self, row: PostRow, head: int) -> None:
        """Replaces a post that no block takes: by a dearer one, or, where nothing has the number
        that comes next, by one that has."""
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
            # the old one is good until it is replaced, and the node may have lost it
            self._send(row, f"settlement of epoch {row.epoch}: {error}")
            return
        self._send(replace(row, post=post, marked_at=head))

    def _note_standing(self, row: PostRow, head: int) -> bool:
        """Whether the ledger holds something for a row's settlement; what that means is noted."""
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
        elif row.post is not None:  # else there is nothing to send, and something to wait for
            row = _advance(row, DeliveryEvent.INCLUDED)
        self.save(replace(row, seen_at=seen_at, trouble=None))
        return True

    def _watch(self, row: PostRow) -> None:
        """Takes a row up again where a reorganisation took out what stood, ours or another's, or
        where it never stood and a node said so."""
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
        """Keeps a row that the chain does not take, with growing pauses."""
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
        """Of the posts under way."""
        under_way = self._list("state IN (?, ?)", DeliveryState.SENDING, DeliveryState.SENT)
        return [row.post.nonce for row in under_way if row.post is not None]

    def _list(self, condition: str, *values: int | str) -> list[PostRow]:
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM ledger WHERE {condition} ORDER BY epoch", values
        )
        return [_decode(*row) for row in found]

    def save(self, row: PostRow) -> None:
        values = [getattr(row, field.name) for field in fields(row)]
        values[2] = json.dumps(encode_entry(row.entry))
        values[3] = None if row.post is None else json.dumps(_encode_post(row.post))
        marks = ", ".join("?" * len(values))
        with self._database.transaction():
            self._database.execute(
                f"INSERT OR REPLACE INTO ledger ({_COLUMNS}) VALUES ({marks})", values
            )


def _advance(row: PostRow, event: DeliveryEvent) -> PostRow:
    return replace(row, state=DELIVERY[row.state][event])


def _encode_post(post: SignedCall) -> dict[str, Any]:
    return {n: v.hex() if isinstance(v, bytes) else v for n, v in asdict(post).items()}


def _decode(epoch: int, state: str, entry: str, post: str | None, *rest: Any) -> PostRow:
    signed = None if post is None else SignedCall(**_read_fields(post))
    return PostRow(epoch, DeliveryState(state), LedgerEntry(**_read_fields(entry)), signed, *rest)


def _read_fields(text: str) -> dict[str, Any]:
    return {n: bytes.fromhex(v) if type(v) is str else v for n, v in json.loads(text).items()}


class PostThread:
    """Posts beside validating: drives an outbox in a thread of its own until it is stopped, so that
    nothing of the EVM delays a verdict.

    Attributes:
        trouble: what keeps settlements from the ledger, for people; None while nothing does.
    """

    def __init__(self, outbox: PostOutbox, look_s: float = LOOK_S) -> None:
        self.trouble: str | None = None
        self._outbox = outbox
        self._look_s = look_s
        self._wake = threading.Event()
        self._ended = threading.Event()
        # a request that hangs to its deadline must not keep a program that was asked to stop
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begins; what was on its way when the program last ended goes on."""
        self._thread.start()

    def put_record(self, record: SettlementRecord) -> None:
        """See `PostOutbox.put_record`."""
        self._outbox.put_record(record)
        self._wake.set()

    def close(self) -> None:
        """Ends after the request under way. What is not posted is on disk."""
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
        """Whether all went well."""
        try:
            self._outbox.step()
            self._log_trouble(self._outbox.trouble)
        except (OperatorError, OSError) as error:
            self._log_trouble(str(error))
            return False
        except Exception as error:  # noqa: BLE001 - the outermost loop of a thread
            logger.error(
                "a defect in assay:\n%s",
                "".join(traceback.format_exception(error)),
                extra={"event": "defect"},
            )
            self._log_trouble(
                "posting to the ledger fails because of a defect in assay, which the log shows"
            )
            return False
        return True

    def _log_trouble(self, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            logger.warning("ledger: %s", trouble, extra={"event": "posting_trouble"})
        elif trouble is None and self.trouble is not None:
            logger.info("ledger: settlements are posted again", extra={"event": "posting_resumed"})
        self.trouble = trouble


@contextmanager
def open_posting(
    settings: Settings, database: Database, hotkey: bytes
) -> Iterator[PostThread | None]:
    """A validator's posting, running; None where settings name no ledger."""
    own = settings.ledger
    if own.endpoint is None and own.contract is None:
        yield None
        return
    with open_node(settings) as node:
        poster = LedgerPoster(open_ledger(settings, node), open_key(settings), hotkey)
        thread = PostThread(PostOutbox(database, poster, own.confirmations))
        thread.start()
        try:
            yield thread
        finally:
            thread.close()
