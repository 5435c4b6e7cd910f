"""The present state, of the run and of the chain, and a watch for its changes."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assay.artifacts.records.run_folder import JsonFile
from assay.explorer.ports import Live
from assay.explorer.sources.chain_view import ChainView
from assay.explorer.sources.run_view import RunView
from assay.protocol.errors import Trouble, TroubleKind

_REPLACED = Trouble(
    TroubleKind.ANEW,
    "the localnet was begun anew, and this page shows the one before it: start `assay explorer` "
    "again",
)
_NO_BLOCK = Trouble(TroubleKind.CHAIN, "no new block")
#: A block is overdue after so many slots, and so many seconds at least.
_OVERDUE_SLOTS, _OVERDUE_S = 8, 12.0


class LiveState:
    """The state of the run and of the chain, where there are any. Thread-safe.

    Args:
        slot_ms: milliseconds between two blocks.
        localnet: whether its folder still has the network that is shown. None: it is no localnet's.
    """

    def __init__(
        self,
        run: RunView | None,
        chain: ChainView | None,
        slot_ms: int,
        localnet: "LocalnetMark | None",
    ) -> None:
        self._run, self._chain, self._localnet = run, chain, localnet
        self._pace = BlockWatch(slot_ms)

    def read(self) -> Live | None:
        """The newer head, and the trouble of either."""
        run = None if self._run is None else self._run.read_live()
        chain = None if self._chain is None else self._chain.read_live()
        live = join_live(run, chain)
        silence = None if self._chain is None or chain is not None else self._chain.get_trouble()
        if live is not None and silence is not None:  # it has never answered
            live = replace(live, trouble=silence[0], since_ms=silence[1])
        if live is not None and self._localnet is not None and self._localnet.is_replaced():
            return replace(live, moving=False, trouble=_REPLACED, since_ms=None)
        if live is None or not live.moving or live.since_ms is not None:
            return live
        if self._run is not None and self._run.makes_blocks():
            return live
        since_ms = self._pace.note(live.head)
        if since_ms is None:
            return live
        return replace(live, trouble=live.trouble or _NO_BLOCK, since_ms=since_ms)


def join_live(run: Live | None, chain: Live | None) -> Live | None:
    """Combine the state of a program on this machine with the chain's."""
    if run is None or chain is None:
        return run or chain
    problem = (chain.trouble, chain.since_ms) if chain.trouble else (run.trouble, None)
    head = max(run.head, chain.head)
    if run.moving:
        return replace(run, head=head, trouble=problem[0], since_ms=problem[1])
    return replace(
        chain, head=head, program=f"{chain.program}; {run.program}", trouble=chain.trouble
    )


class LocalnetMark:
    """Whether a localnet's folder still has the network of a genesis hash."""

    def __init__(self, folder: Path, genesis_hash: bytes) -> None:
        self._file = JsonFile(folder / "localnet.json")
        self._genesis = genesis_hash.hex()

    def is_replaced(self) -> bool:
        genesis = self._file.pick(lambda document: document.get("genesis_hash"), None)
        return genesis is not None and genesis != self._genesis


class BlockWatch:
    """Watches whether blocks arrive on time. Thread-safe."""

    def __init__(self, slot_ms: int) -> None:
        self._overdue_s = max(_OVERDUE_S, _OVERDUE_SLOTS * slot_ms / 1_000)
        self._seen: tuple[int, float, int] | None = None
        self._lock = threading.Lock()

    def note(self, head: int) -> int | None:
        """The time of the last new block, Unix milliseconds, if the next one is overdue."""
        with self._lock:
            now = time.monotonic()
            if self._seen is None or self._seen[0] != head:
                self._seen = head, now, time.time_ns() // 1_000_000
            return self._seen[2] if now - self._seen[1] > self._overdue_s else None


class ChangeWatch:
    """Compares the live state every second with the last one."""

    def __init__(self, read: Callable[[], Live | None], on_change: Callable[[], None]) -> None:
        self._read = read
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        seen = self._read_state()
        while not self._stop.wait(1.0):
            now = self._read_state()
            if now != seen:
                seen = now
                self._on_change()

    def _read_state(self) -> object:
        live = self._read()
        if live is None:
            return None
        states = [
            (w.get("window"), w.get("state"), len(w.get("verdicts", ()))) for w in live.windows
        ]
        return live.head, live.moving, live.program, live.trouble, live.since_ms, states

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
