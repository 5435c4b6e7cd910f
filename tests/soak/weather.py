"""Faults of a soak: which port of which program fails when, drawn from a seed; and such ports.

They are wrappers in this process around chain, beacons and stores, since time is virtual here; what
fails on real sockets is tested in `tests/faults`. A short fault leaves time to recover within its
window, so nothing may come of it; after a long one a window may be lost, and only such.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from assay.network.beacon import BeaconSourceError
from assay.network.chain.errors import ChainError, UnknownOutcomeError
from assay.network.store.base import StoreError
from assay.protocol.beacon import Beacon

#: Faults of a program's ports.
CHAIN = ("node away", "head stands still", "answers get lost")
BEACON = ("relays away", "round late", "relays lie")
STORE = ("store away", "store empty", "store lies", "disk full")
#: Faults that sometimes last until a window is lost; the others never last long.
LONG = ("node away", "head stands still", "relays away", "round late", "store away", "disk full")
KINDS = (*CHAIN, *BEACON, *STORE, "killed")
#: Blocks that a short fault lasts, and a long one; that a short one waits for somebody to meet it.
_SHORT, _LONG, _WAITS = (1, 2), (14, 30), 12
#: Calls into ports after which a program is killed.
_CALLS = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. Blocks are [start, end).

    Attributes:
        waits: a short fault begins when a call meets it, at most this many blocks later.
        call: for a kill, the number of the call into a port before which it comes.
    """

    kind: str
    start: int
    end: int
    call: int = 0
    waits: int = 0

    @property
    def long(self) -> bool:
        """Whether it may cost windows."""
        return self.end - self.start > _SHORT[1]


class Killed(BaseException):
    """kill -9, as far as that goes within one process: nothing of ours catches it."""


class Weather:
    """All faults of one program.

    Args:
        blocks: of the windows in which something may happen, one range each.

    Attributes:
        counts: kind → how often a call met it.
    """

    def __init__(self, seed: str, windows: Sequence[range], get_head: Callable[[], int]) -> None:
        draw = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.faults = _draw_faults(draw, windows)
        self._get_head = get_head
        self._thread: int | None = None
        self._survived: dict[Fault, int] = {}
        self._met: dict[Fault, int] = {}

    def enter(self) -> None:
        """Called by the program's own thread: no other is killed."""
        self._thread = threading.get_ident()

    def find(self, *kinds: str) -> Fault | None:
        """The present fault of these kinds at this block. The question may also kill a program."""
        head = self._get_head()
        now = [fault for fault in self.faults if self._is_on(fault, head)]
        for fault in now if self._thread == threading.get_ident() else ():
            if fault.kind == "killed":
                self._survived[fault] = calls = self._survived.get(fault, 0) + 1
                if calls == fault.call + 1:
                    self.counts["killed"] += 1
                    raise Killed
        found = next((fault for fault in now if fault.kind in kinds), None)
        if found is not None:
            self._met.setdefault(found, head)
            self.counts[found.kind] += 1
        return found

    def _is_on(self, fault: Fault, head: int) -> bool:
        # a long one waits for nobody: it ends where `spoils` says
        late = min(self._met.get(fault, head), fault.start + fault.waits) - fault.start
        return fault.start <= head < fault.end + max(0, late)

    def spoils(self, blocks: range) -> bool:
        """Whether a long fault was active in these blocks."""
        return any(f.long and f.start < blocks.stop and blocks.start < f.end for f in self.faults)


def _draw_faults(draw: random.Random, windows: Sequence[range]) -> list[Fault]:
    """No kind comes again before each of the others was there."""
    faults, free, deck = [], 0, list[str]()
    for blocks in windows:
        deck = deck or draw.sample(KINDS, len(KINDS))
        long = draw.random() < 0.06 and deck[-1] in LONG
        start = draw.choice(blocks)
        length = draw.randint(*(_LONG if long else _SHORT))
        if start >= free:
            waits = 0 if long else _WAITS
            end = start + length
            faults.append(Fault(deck.pop(), start, end, draw.randrange(_CALLS), waits))
            free = end + waits // 2 + len(blocks) // 2
    return faults


class FaultyChain:
    """A chain as one program reaches it."""

    def __init__(self, chain: Any, weather: Weather) -> None:
        self._chain = chain
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._chain, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            if self._weather.find("node away"):
                raise ChainError("no node answers")
            return found(*arguments, **options)

        return call

    def stop_retrying(self) -> None:
        """Nothing waits here."""

    def get_head(self) -> int:
        fault = self._weather.find("node away", "head stands still")
        if fault is not None and fault.kind == "node away":
            raise ChainError("no node answers")
        head: int = self._chain.get_head()
        return head if fault is None else min(head, fault.start)

    def set_commitment(self, hotkey: bytes, payload: bytes) -> None:
        self._send(lambda: self._chain.set_commitment(hotkey, payload))

    def set_weights(self, hotkey: bytes, weights: Any) -> Any:
        return self._send(lambda: self._chain.set_weights(hotkey, weights))

    def _send(self, send: Callable[[], Any]) -> Any:
        fault = self._weather.find("node away", "answers get lost")
        if fault is not None and fault.kind == "node away":
            raise ChainError("no node answers")
        answer = send()
        if fault is not None:
            raise UnknownOutcomeError("the answer is lost")
        return answer


class FaultyBeacons:
    """Beacons as one program reaches them."""

    def __init__(self, beacons: Any, weather: Weather) -> None:
        self._beacons = beacons
        self._weather = weather

    def get(self, number: int) -> Beacon | None:
        fault = self._weather.find(*BEACON)
        if fault is None:
            beacon: Beacon | None = self._beacons.get(number)
            return beacon
        if fault.kind == "relays away":
            raise BeaconSourceError("no relay answers")
        return None if fault.kind == "round late" else Beacon(number, bytes(48))

    trouble = ""
    figures = ()

    def check(self) -> dict[str, str]:
        """The relays' health, as they report it."""
        return {}


class FaultyStore:
    """A store as one program reaches it: its own, or another's."""

    def __init__(self, store: Any, weather: Weather) -> None:
        self._store = store
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, name: str, data: bytes) -> None:
        if self._weather.find("store away", "disk full"):
            raise StoreError("no room")
        self._store.put(name, data)

    def put_parts(self, name: str, parts: Any) -> None:
        if self._weather.find("store away", "disk full"):
            raise StoreError("no room")
        self._store.put_parts(name, parts)

    def get(self, name: str, limit: int) -> bytes | None:
        data: bytes | None = self._store.get(name, limit)
        return self.spoil(data)

    def open(self, name: str) -> "_FaultySource":
        return _FaultySource(self._store.open(name), self)

    def spoil(self, data: Any) -> Any:
        fault = self._weather.find("store away", "store empty", "store lies")
        if fault is None or data is None:
            return data
        if fault.kind == "store away":
            raise StoreError("the store does not answer")
        if fault.kind == "store empty" or isinstance(data, int):
            return None
        return bytes(byte ^ 0x5A for byte in data)


class _FaultySource:
    """One object of it."""

    def __init__(self, source: Any, store: FaultyStore) -> None:
        self._source = source
        self._store = store

    def size(self) -> int | None:
        size: int | None = self._store.spoil(self._source.size())
        return size

    def read(self, start: int, end: int) -> bytes | None:
        data: bytes | None = self._store.spoil(self._source.read(start, end))
        return data
