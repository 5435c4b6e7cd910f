"""The public record on its way out: made once, kept until it may be seen, published, announced.

A settlement's records are made in the transaction that puts its weights into the outbox, so no
window ever has two records. Their bytes are on disk before any are sent. They are published once
the settlement's weights are revealed on chain, because an earlier reader could copy the verdicts.
After a kill at any instant, the same bytes are written to the same names again.

The newest settlement's digest is then announced in the hotkey's commitment slot, if that is free.
It binds all records before it, so a validator that shows different records to different readers is
detected. A failed announcement is retried and delays nothing else.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from assay.artifacts.database import Database
from assay.artifacts.records.reader import RecordFault, RecordReader, follow_links
from assay.artifacts.status.validator import RecordStatus
from assay.network.chain.errors import ChainError, WrongChainError
from assay.network.chain.ports import Chain
from assay.network.store.base import ObjectStore, StoreError
from assay.neurons.validator.idle_count import IdleCount
from assay.neurons.validator.judged_window import JudgedWindow, Settlement
from assay.neurons.validator.make_records import Author, RecordHeads, make_records
from assay.neurons.validator.run_archive import describe_judged
from assay.neurons.validator.weights_outbox import WeightsRow, list_rows
from assay.protocol.commitment import Commitment, Tag, encode_commitment, parse_commitment
from assay.protocol.encoding import encode
from assay.protocol.errors import Trouble, TroubleKind
from assay.protocol.record import (
    NOTHING,
    SettlementRecord,
    decode_settlement_record,
    make_latest_name,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)
from assay.protocol.ss58 import encode_ss58
from assay.session.chain_delivery import Announcement, DeliveryState

logger = logging.getLogger("assay")

#: Most rows of the outbox that are read: more settlements than can wait to be revealed.
_ROWS = 64
#: Blocks before an announcement that the chain refused is sent again.
_PAUSE_BLOCKS = 16

_TABLES = (
    # at most one row: the ends of both chains
    """CREATE TABLE IF NOT EXISTS record_ends (
        window_digest BLOB NOT NULL, digest BLOB NOT NULL, epoch INTEGER NOT NULL)""",
    # settlements that are made and not published
    """CREATE TABLE IF NOT EXISTS record_settlements (
        epoch INTEGER PRIMARY KEY, digest BLOB NOT NULL, weighs INTEGER NOT NULL)""",
    # their objects: name in the store, bytes
    """CREATE TABLE IF NOT EXISTS record_objects (
        name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID""",
    # at most one row: the newest published settlement
    "CREATE TABLE IF NOT EXISTS record_published (epoch INTEGER NOT NULL, digest BLOB NOT NULL)",
)


class RecordBook:
    """One validator's records.

    Args:
        database: the one that holds the validator's journal and outbox.
        author: the author that the records name.
        tempo: blocks between two epochs.
        store: where they are published.
        locator: of the store as others will open it; None: nothing is announced.
        on_published: called with each settlement's record once everybody can read it, within the
            transaction that notes so. It must not wait for anything.

    Raises:
        JournalError: the database cannot be used; nothing was written. All methods raise it too.
    """

    def __init__(
        self,
        database: Database,
        chain: Chain,
        author: Author,
        tempo: int,
        store: ObjectStore,
        locator: str | None,
        on_published: Callable[[SettlementRecord], None] | None = None,
    ) -> None:
        self._on_published = on_published
        self._unpublished: str | None = None
        self._unannounced: str | None = None
        self._database = database
        self._chain = chain
        self._author = author
        self._tempo = tempo
        self._store = store
        self._locator = locator
        self._address = encode_ss58(author.hotkey)
        self._announcement: Announcement | None = None
        self._seen = -1  # head at which there was nothing more to do
        self._send_at = 0
        with database.transaction():
            for table in _TABLES:
                database.execute(table)

    @property
    def trouble(self) -> Trouble | None:
        """The reason why records are not published or announced, or None."""
        text = self._unpublished or self._unannounced
        return None if text is None else Trouble(TroubleKind.RECORD, text)

    def describe(self) -> RecordStatus:
        """The state of publishing, for people."""
        waiting = self._database.execute("SELECT count(*) FROM record_settlements")
        published = self._database.execute("SELECT epoch FROM record_published")
        return RecordStatus(
            locator=self._locator,
            published=published[0][0] if published else None,
            waiting=waiting[0][0],
        )

    def recover(self, limit: int) -> None:
        """Continue from the published records where the database has none, because it is new or was
        lost. Where that is not possible, report it: readers will see a second chain of records.

        Args:
            limit: most bytes of a record.

        Raises:
            ChainError, StoreError: this cannot be found out now.
        """
        if self._database.execute("SELECT 1 FROM record_ends"):
            return
        slot = self._chain.get_commitments(self._chain.get_head()).get(self._author.hotkey, b"")
        reader = RecordReader(self._store, self._author.hotkey, limit)
        heads = find_heads(reader, parse_commitment(slot))
        # the chain of records is what everybody counts by
        IdleCount(self._database).put(heads.idle if isinstance(heads, RecordHeads) else 0)
        if isinstance(heads, str):
            logger.warning(
                "this validator has published records before and its database knows of none: it "
                "begins a second chain of them, which audits will report, because %s",
                heads,
                extra={"event": "records_begun_again"},
            )
        elif heads is not None:
            logger.warning(
                "the database knows of no records: continuing from the published one of epoch %d, "
                "which the chain binds",
                heads.epoch,
                extra={"event": "records_recovered"},
            )
            with self._database.transaction():
                self._database.execute(
                    "INSERT INTO record_ends VALUES (?, ?, ?)",
                    (heads.window, heads.settlement, heads.epoch),
                )
                self._database.execute(
                    "INSERT INTO record_published VALUES (?, ?)", (heads.epoch, heads.settlement)
                )

    def put(self, settlement: Settlement, judged_windows: Mapping[int, JudgedWindow]) -> None:
        """Make a settlement's records, within the caller's transaction or in its own."""
        database = self._database
        with database.transaction():
            rows = database.execute("SELECT window_digest, digest, epoch FROM record_ends")
            heads = RecordHeads(*rows[0]) if rows else RecordHeads()
            windows, record = make_records(self._author, heads, settlement, judged_windows)
            objects = {make_settlement_record_name(self._address, record.epoch): encode(record)}
            for window in windows:
                name = make_window_record_name(self._address, window.window)
                objects[name] = encode(window)
                judged = judged_windows.get(window.window)
                if judged is not None:
                    name = make_statistics_name(self._address, window.window)
                    objects[name] = _write_json(_describe_publicly(judged))
            for name, data in objects.items():
                database.execute(
                    "INSERT INTO record_objects VALUES (?, ?, ?)", (name, record.epoch, data)
                )
            database.execute(
                "INSERT INTO record_settlements VALUES (?, ?, ?)",
                (record.epoch, record.digest, bool(record.weights)),
            )
            database.execute("DELETE FROM record_ends")
            newest = windows[-1].digest if windows else heads.window
            database.execute(
                "INSERT INTO record_ends VALUES (?, ?, ?)", (newest, record.digest, record.epoch)
            )
        self._seen = -1

    def step(self, head: int) -> bool:
        """Publish a settlement or announce the newest one. Return whether there may be more to do
        now. Raises WrongChainError: a node speaks for another chain."""
        if head <= self._seen:
            return False
        if self._try_to_publish(head) or self._try_to_announce(head):
            return True
        self._seen = head
        return False

    def _try_to_publish(self, head: int) -> bool:
        self._unpublished = None
        try:
            return self._publish(head)
        except WrongChainError:
            raise
        except (ChainError, StoreError) as error:  # retried at the next block
            self._unpublished = f"the record is not published: {error}"
        return False

    def _try_to_announce(self, head: int) -> bool:
        if head < self._send_at:
            return False
        try:
            self._unannounced = self._announce(head)
        except WrongChainError:
            raise
        except ChainError as error:
            self._unannounced = f"the record is not announced: {error}"
        if self._unannounced is not None:
            self._send_at = head + _PAUSE_BLOCKS
        return False

    # --- publishing

    def _publish(self, head: int) -> bool:
        """Publish the oldest waiting settlement, once it may be seen."""
        waiting = self._database.execute(
            "SELECT epoch, digest, weighs FROM record_settlements ORDER BY epoch"
        )
        if not waiting or not self._may_be_seen(head, [(e, bool(w)) for e, _, w in waiting]):
            return False
        epoch, digest, _ = waiting[0]
        # windows before the settlement that names them, so that its readers find them
        objects = self._database.execute(
            "SELECT name, data FROM record_objects WHERE epoch = ? ORDER BY name DESC", (epoch,)
        )
        for name, data in objects:
            self._put(name, data)
        latest = {"epoch": epoch, "digest": digest.hex()}
        self._store.put(make_latest_name(self._address), _write_json(latest))
        with self._database.transaction():
            for table in ("record_objects", "record_settlements"):
                self._database.execute(f"DELETE FROM {table} WHERE epoch = ?", (epoch,))
            self._database.execute("DELETE FROM record_published")
            self._database.execute("INSERT INTO record_published VALUES (?, ?)", (epoch, digest))
            if self._on_published is not None:
                record_name = make_settlement_record_name(self._address, epoch)
                self._on_published(decode_settlement_record(dict(objects)[record_name]))
        return True

    def _put(self, name: str, data: bytes) -> None:
        """Write an object unless one with this name exists. An existing one is never replaced."""
        place = self._store.open(name)
        size = place.size()
        if size is None:
            self._store.put(name, data)
        elif size != len(data) or place.read(0, size) != data:
            raise StoreError(
                f"{name} has another record: a record is never rewritten; give this validator a "
                "store of its own"
            )

    def _may_be_seen(self, head: int, waiting: list[tuple[int, bool]]) -> bool:
        """Return whether the oldest of (epoch, has weights) may be published.

        Its weights are revealed, or newer ones are. A settlement without weights waits for as long
        as others may still send theirs: a tempo.
        """
        oldest, weighs = waiting[0]
        if not weighs and head >= oldest + self._tempo:
            return True
        rows = {row.epoch: row for row in list_rows(self._database, _ROWS)}
        mine = [rows[epoch] for epoch, weighs in waiting if weighs and epoch in rows]
        return any(self._is_open(row, head) for row in mine)

    def _is_open(self, row: WeightsRow, head: int) -> bool:
        """Return whether everybody can read these weights on chain.

        Timelocked weights are revealed in a later epoch than the one that accepted them. Until
        then, equal weights on chain are older ones.
        """
        if row.state is not DeliveryState.CONFIRMED or row.sent_at is None:
            return False
        if not row.shut:
            return True
        is_late = head > row.sent_at + self._tempo
        return is_late and self._chain.get_weights(head).get(self._author.hotkey) == row.weights

    # --- announcing

    def _announce(self, head: int) -> str | None:
        """Announce the newest published settlement. Return why that is not possible."""
        rows = self._database.execute("SELECT epoch, digest FROM record_published")
        if self._locator is None or not rows:
            return None
        epoch, digest = rows[0]
        payload = encode_commitment(Commitment(Tag.RECORD, epoch, 0, digest, self._locator))
        if self._announcement is None or self._announcement.payload != payload:
            self._announcement = Announcement(self._chain, self._author.hotkey, payload)
        announcement = self._announcement
        announcement.look()
        if announcement.is_confirmed or not announcement.due:
            return None
        slot = self._chain.get_commitments(head).get(self._author.hotkey)
        published = None if slot is None else parse_commitment(slot)
        if slot is not None and (published is None or published.tag is not Tag.RECORD):
            return (
                "the record is not announced, because the hotkey's slot has another commitment; "
                f"tell readers its locator: {self._locator}"
            )
        announcement.send()
        return None


def _describe_publicly(judged: JudgedWindow) -> dict[str, Any]:
    """A window for people. Its reasons for missing inputs are general, because the exact ones name
    the validator's own network and folders."""
    described = describe_judged(judged)
    if judged.void is not None:
        described["void"] = "the checkpoint is unusable for everyone"
    if judged.missing is not None:
        described["missing"] = "this validator lacked chain, beacon or checkpoint"
    return described


def _write_json(value: object) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


# --- after a lost database, only the chain is trusted. The hotkey's own slot names the digest of a
# settlement that it announced, and that binds all records before it. Newer records count where
# their links lead to it.


def find_heads(reader: RecordReader, announced: Commitment | None) -> RecordHeads | str | None:
    """The ends of a validator's published records.

    Args:
        reader: of its own store.
        announced: the content of its slot on chain.

    Returns:
        None where it has published nothing; a sentence where it has, and the chain does not prove
        that the store's content is unchanged.

    Raises:
        StoreError: the store cannot be read.
    """
    latest = reader.read_latest()
    if announced is None or announced.tag is not Tag.RECORD:
        if isinstance(latest, RecordFault):
            return None
        return "the store has earlier ones, and the hotkey's slot on chain announces none"
    newest = reader.get_newest(latest, announced)
    linked = [] if newest is None else _follow(reader, newest, announced.number)
    windows = [covered.record for record in linked for covered in record.windows[-1:]]
    is_first = bool(linked) and linked[-1].previous == NOTHING
    bound = {(record.epoch, record.digest) for record in linked}
    if newest is None or (announced.number, announced.digest) not in bound:
        return (
            f"the store does not have the record of epoch {announced.number} that the hotkey has "
            "announced on chain, or its newest ones do not lead to it"
        )
    if not windows and not is_first:
        return "the store lacks the records that its newest ones lead to"
    return RecordHeads(windows[0] if windows else NOTHING, newest.digest, newest.epoch, newest.idle)


def _follow(reader: RecordReader, newest: SettlementRecord, last: int) -> list[SettlementRecord]:
    """Follow the links from the newest back to an epoch, and to a settlement with windows."""
    linked: list[SettlementRecord] = []
    has_windows = False
    for record in follow_links(reader.get_settlement, newest.epoch, newest.digest):
        linked.append(record)
        has_windows = has_windows or bool(record.windows)
        if record.epoch <= last and has_windows:
            break
    return linked
