"""What a program has done since it started, in sums: for status.json, and so for its metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from time import perf_counter
from typing import Any, cast

from assay.network.store import ObjectStore, StoreError

#: Sum → label → so much; a sum without parts has the one label "".
Counts = dict[str, dict[str, float]]


class Counters:
    """Sums that only grow. Safe to use from several threads."""

    def __init__(self) -> None:
        self._counts: Counts = {}
        self._lock = Lock()

    def add(self, name: str, value: float = 1, label: str = "") -> None:
        """Adds to a sum."""
        with self._lock:
            labels = self._counts.setdefault(name, {})
            labels[label] = labels.get(label, 0) + value

    def read(self) -> Counts:
        """All of them as they are."""
        with self._lock:
            return {name: dict(labels) for name, labels in self._counts.items()}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Adds the seconds that a block takes, however it ends."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(name, perf_counter() - began)


@dataclass(slots=True)
class LoopHooks:
    """What a program's loop tells of itself."""

    tally: Counters = field(default_factory=Counters)
    note: Callable[[dict[str, Any]], None] = lambda status: None  # called with each new status
    #: has the status written, if it has changed, while a step takes long; the loop's
    beat: Callable[[], None] = lambda: None


class VerdictCounter:
    """Counts each verdict once, of those that were not there at the start. known: key → reason, as
    it is."""

    def __init__(self, tally: Counters, known: Mapping[Any, str]) -> None:
        self._tally = tally
        self._seen = set(known)

    def note(self, known: Mapping[Any, str]) -> list[Any]:
        """Takes another look; the keys that are new. What is gone is forgotten."""
        new = [key for key in known if key not in self._seen]
        for key in new:
            self._tally.add("verdicts", label=known[key])
        self._seen = set(known)
        return new


class MeteredStore:
    """An object store whose writings are counted; in all else it is that store."""

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
    """The same store, its writings counted."""
    return cast(ObjectStore, MeteredStore(store, tally))
