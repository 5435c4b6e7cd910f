"""Counters of a program's work since it started, for status.json and for its metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any, cast

from assay.artifacts.status.program import ProgramStatus
from assay.network.store.base import ObjectStore, StoreError

#: Counter → label → value. A counter without labels has the one label "".
Counts = dict[str, dict[str, float]]


class Counters:
    """Sums that only grow. Safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counts = {}
        self._lock = Lock()

    def add(self, name: str, value: float = 1, label: str = "") -> None:
        """Add to a sum."""
        with self._lock:
            labels = self._counts.setdefault(name, {})
            labels[label] = labels.get(label, 0) + value

    def read(self) -> Counts:
        """A copy of all sums."""
        with self._lock:
            return {name: dict(labels) for name, labels in self._counts.items()}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Add the seconds that a block takes, however it ends."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)


@dataclass(slots=True)
class LoopHooks:
    """The callbacks of a program's loop."""

    tally: Counters = field(default_factory=Counters)
    note: Callable[[ProgramStatus], None] = lambda status: None  # called with each new status
    #: called during a long step: lets the loop write the status if it has changed
    beat: Callable[[], None] = lambda: None


class VerdictCounter:
    """Counts each verdict once, except those that existed at the start. `known` maps key →
    reason."""

    def __init__(self, tally: Counters, known: Mapping[Any, str]) -> None:
        self._tally = tally
        self._seen = set(known)

    def note(self, known: Mapping[Any, str]) -> list[Any]:
        """Take the current verdicts and return the new keys. Keys that are gone are forgotten."""
        new = [key for key in known if key not in self._seen]
        for key in new:
            self._tally.add("verdicts", label=known[key])
        self._seen = set(known)
        return new


class MeteredStore:
    """An object store that counts writes and otherwise behaves like the store that it wraps."""

    def __init__(self, store: ObjectStore, tally: Counters) -> None:
        self._store = store
        self._tally = tally

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, name: str, data: bytes) -> None:
        """See `ObjectStore.put`."""
        with self._count():
            self._store.put(name, data)
        self._tally.add("written_bytes", len(data))

    def put_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """See `ObjectStore.put_parts`."""
        with self._count():
            self._store.put_parts(name, self._measure(parts))

    def _measure(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self._tally.add("written_bytes", len(part))
            yield part

    @contextmanager
    def _count(self) -> Iterator[None]:
        try:
            with self._tally.time("write_seconds"):
                yield
        except StoreError:
            self._tally.add("writes", label="failed")
            raise
        self._tally.add("writes", label="done")


def meter(store: ObjectStore, tally: Counters) -> ObjectStore:
    """The same store, with its writes counted."""
    return cast(ObjectStore, MeteredStore(store, tally))
