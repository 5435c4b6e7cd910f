"""The ledger's events, read by a helper by the thousand blocks: web3 stays out of this process.

The newest blocks are read first, then those before them as far as pages want; the last ones again
and again, for what they hold may be replaced.
"""

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from assay.explorer import EntryEvent, LedgerReading
from assay.explorer.sources.helper_process import BusyError, HelperProcess
from assay.explorer.sources.peer_health import PeerHealth

_BOOT = (
    "from assay.explorer.sources.helper_process import serve;"
    "from assay.explorer.sources.evm_child import LedgerReader;"
    "serve(LedgerReader().answer)"
)
#: Seconds between two looks, and for one answer: three requests, each with a deadline of its own.
_EVERY_S, _WAIT_S = 3.0, 75.0
#: Blocks asked for at once, at most and, where a node refuses as many, at least.
_PAGE, _SMALLEST_PAGE = 1_000, 16
#: Blocks at the head that are read again at every look.
_UNSETTLED = 64
#: Pages of new blocks that are read before the head is asked for again.
_CATCH_UP = 64
#: Entries that are kept, the newest.
_ENTRIES = 4_096


@dataclass(frozen=True, slots=True)
class LedgerPlace:
    """Which entries of which ledger.

    Attributes:
        endpoint: of an EVM node, an http(s) address with a host and, where it names one, a port;
            it may hold a key and is shown to nobody but for its host.
        contract: address of the ScoreLedger.
        hotkey: whose entries, 32 bytes.
        confirmations: blocks on top before an entry is held to stand.
    """

    endpoint: str
    chain_id: int
    contract: str
    netuid: int
    hotkey: bytes
    confirmations: int


class LedgerEvents:
    """Reads a ledger. It begins once it is asked for the first time.

    Args:
        on_change: called when there is something new, from a thread of this.
    """

    def __init__(self, place: LedgerPlace, on_change: Callable[[], None]) -> None:
        self._place = place
        self._on_change = on_change
        self._helper = HelperProcess("ledger reader", _BOOT)
        parts = urlsplit(place.endpoint)
        self._node = parts.netloc.rpartition("@")[2]
        self._answers = PeerHealth(f"EVM node {self._node}")
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = 0
        self._page = _PAGE
        self._head: int | None = None
        self._first: int | None = None
        self._posted: dict[int, EntryEvent] = {}
        self._told: object = None

    def close(self) -> None:
        """Ends the helper."""
        self._stop.set()
        self._helper.close()

    def read(self, first: int) -> LedgerReading:
        """See `PageSources.read_ledger`."""
        trouble = self._answers.describe()
        with self._lock:
            self._wanted = first
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
                self._thread.start()
            return LedgerReading(
                self._node,
                self._head,
                self._first,
                self._place.confirmations,
                trouble and trouble[0],
                trouble and trouble[1],
                dict(self._posted),
            )

    def get_mark(self) -> object:
        """Differs once there is something new to show."""
        with self._lock:
            return self._answers.describe(), self._head, self._first, len(self._posted)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._answers.end(self._step())
            mark = self.get_mark()
            if mark != self._told:
                self._told = mark
                self._on_change()
            with self._lock:
                more = self._first is not None and self._first > self._wanted
            self._stop.wait(0.05 if more and self._answers.describe() is None else _EVERY_S)

    def _step(self) -> str | None:
        """Reads what is new, and one page of what is older; what keeps it from it."""
        found = self._ask({"do": "head"})
        if "error" in found:
            return str(found["error"])
        head = int(found["head"])
        with self._lock:
            newest, first, wanted = self._head, self._first, self._wanted
        since = head + 1 if newest is None else max(0, min(newest, head) - _UNSETTLED)
        start, ends = since, since + _CATCH_UP * self._page
        while since <= head:
            if since >= ends:  # far behind, or a head that will not come: it is asked for anew
                return None
            last = min(head, since + self._page - 1)
            trouble = self._read(since, last)
            if trouble is not None:
                return trouble
            since = last + 1
            with self._lock:
                self._head = last
        with self._lock:
            self._head = head
            # all from `start` on is read, also where the head before lay beyond the chain
            first = self._first = start if first is None else min(first, start)
        if first > wanted:
            start = max(wanted, first - self._page)
            trouble = self._read(start, first - 1)
            if trouble is not None:
                return trouble
            self._page = min(_PAGE, 2 * self._page)
            with self._lock:
                self._first = start
        return None

    def _read(self, first: int, last: int) -> str | None:
        """Takes over the entries of some blocks; what keeps it from it."""
        found = self._ask({"do": "entries", "first": first, "last": last})
        if "error" in found:
            if found.get("refused") and self._page > _SMALLEST_PAGE:  # too many blocks for it
                self._page = max(_SMALLEST_PAGE, self._page // 4)
            return str(found["error"])
        with self._lock:
            kept = {e: p for e, p in self._posted.items() if not first <= p.block <= last}
            for row in found["entries"]:
                kept[int(row["epoch"])] = EntryEvent(
                    int(row["epoch"]), int(row["block"]), str(row["transaction"]), row["entry"]
                )
            self._posted = {epoch: kept[epoch] for epoch in sorted(kept)[-_ENTRIES:]}
        return None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        place = self._place
        fixed = {
            "endpoint": place.endpoint,
            "chain_id": place.chain_id,
            "contract": place.contract,
            "netuid": place.netuid,
            "hotkey": place.hotkey.hex(),
        }
        self._answers.begin()
        try:
            found = self._helper.ask(fixed | request).result(_WAIT_S)
        except (BusyError, TimeoutError):
            found = f"EVM node {self._node} does not answer in time"
        return {"error": found} if isinstance(found, str) else found
