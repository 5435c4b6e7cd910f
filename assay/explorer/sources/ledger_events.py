"""The ledger's events, read a thousand blocks at a time in a thread: no page waits for a node.

The newest blocks are read first, then earlier ones as far back as pages need. The last blocks are
read again each time, because they may be replaced.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from assay.explorer.documents.settlements import EntryFields
from assay.explorer.ports import EntryEvent, LedgerReading
from assay.explorer.sources.peer_health import PeerHealth
from assay.network.evm import EvmError, EvmNode, ScoreLedger
from assay.protocol.errors import OperatorError, TroubleKind

#: Seconds between two readings.
_EVERY_S = 3.0
#: Blocks asked for at once, at most and, where a node refuses as many, at least.
_PAGE, _SMALLEST_PAGE = 1_000, 16
#: Blocks at the head that are read again every time.
_UNSETTLED = 64
#: Pages of new blocks that are read before the head is asked for again.
_CATCH_UP = 64
#: Entries in memory: the newest.
_ENTRIES = 4_096


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """A validator's entries of one ledger."""

    #: http(s) address of an EVM node. It may hold a key: pages show its host alone
    endpoint: str
    chain_id: int
    contract: str
    netuid: int
    hotkey: bytes  # the validator's, 32 bytes
    confirmations: int  # blocks on top before an entry counts as final


def open_ledger(place: LedgerPlace) -> ScoreLedger:
    """The ledger. Raises EvmError, WrongChainError: the node does not answer, is of another chain,
    or has no such contract."""
    node = EvmNode(place.endpoint, place.chain_id)
    ledger = ScoreLedger(node, place.contract, place.netuid)
    node.require_chain()
    node.require_code(place.contract)
    return ledger


class LedgerEvents:
    """Reads a ledger, from the first request on. on_change: called from this reader's thread when
    there is something new."""

    def __init__(self, place: LedgerPlace, on_change: Callable[[], None]) -> None:
        self._place = place
        self._on_change = on_change
        self._opened: ScoreLedger | None = None
        self._node = urlsplit(place.endpoint).netloc.rpartition("@")[2]
        self._health = PeerHealth(f"EVM node {self._node}", TroubleKind.LEDGER)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = 0
        self._page = _PAGE
        self._head: int | None = None
        self._first: int | None = None
        self._posted: dict[int, EntryEvent] = {}
        self._notified: object = None

    def close(self) -> None:
        self._stop.set()

    def read(self, first: int) -> LedgerReading:
        with self._lock:
            self._wanted = first
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
        return self.get_reading()

    def get_reading(self) -> LedgerReading:
        problem = self._health.describe()
        with self._lock:
            return LedgerReading(
                self._node,
                self._head,
                self._first,
                self._place.confirmations,
                problem and problem[0],
                problem and problem[1],
                dict(self._posted),
            )

    def get_mark(self) -> object:
        with self._lock:
            return self._health.describe(), self._head, self._first, len(self._posted)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._health.end(self.step())
            mark = self.get_mark()
            if mark != self._notified:
                self._notified = mark
                self._on_change()
            with self._lock:
                more = self._first is not None and self._first > self._wanted
            self._stop.wait(0.05 if more and self._health.describe() is None else _EVERY_S)
        if self._opened is not None:
            self._opened.node.close()

    def step(self) -> str | None:
        """Read the new blocks and one page of older ones. Return the error if that fails."""
        try:
            self._read_on()
        except OperatorError as error:
            return str(error)
        return None

    def _read_on(self) -> None:
        self._health.begin()
        head = self._open().node.get_head()
        with self._lock:
            newest, first, wanted = self._head, self._first, self._wanted
        since = head + 1 if newest is None else max(0, min(newest, head) - _UNSETTLED)
        start, ends = since, since + _CATCH_UP * self._page
        while since <= head:
            if since >= ends:  # far behind, or a head that will not come: it is asked for anew
                return
            last = min(head, since + self._page - 1)
            self._read(since, last)
            since = last + 1
            with self._lock:
                self._head = last
        with self._lock:
            self._head = head
            # all from `start` on is read, also where the head before lay beyond the chain
            first = self._first = start if first is None else min(first, start)
        if first > wanted:
            start = max(wanted, first - self._page)
            self._read(start, first - 1)
            self._page = min(_PAGE, 2 * self._page)
            with self._lock:
                self._first = start

    def _open(self) -> ScoreLedger:
        if self._opened is None:
            self._opened = open_ledger(self._place)
        return self._opened

    def _read(self, first: int, last: int) -> None:
        self._health.begin()
        try:
            posts = self._open().list_posted(self._place.hotkey, first, last)
        except EvmError:
            if self._page > _SMALLEST_PAGE:  # too many blocks for it
                self._page = max(_SMALLEST_PAGE, self._page // 4)
            raise
        with self._lock:
            events = {e: p for e, p in self._posted.items() if not first <= p.block <= last}
            for epoch, posted in posts:
                entry = EntryFields(
                    score_root=posted.entry.score_root.hex(),
                    record_digest=posted.entry.record_digest.hex(),
                    checkpoint=posted.entry.checkpoint.hex(),
                    audit_round=posted.entry.audit_round,
                    weights_digest=posted.entry.weights_digest.hex(),
                )
                events[epoch] = EntryEvent(epoch, posted.block, posted.transaction.hex(), entry)
            self._posted = {epoch: events[epoch] for epoch in sorted(events)[-_ENTRIES:]}
