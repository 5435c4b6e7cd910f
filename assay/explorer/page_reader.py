"""The data source of all pages: the index, the record, and the sources around it."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from assay.explorer.index import Index
from assay.explorer.indexing import Indexer
from assay.explorer.ports import PageSources, ShownRecord
from assay.explorer.rollout_index import RolloutIndex
from assay.protocol.context import Context
from assay.protocol.errors import OperatorError
from assay.protocol.record import WindowRecord, make_record_context
from assay.protocol.ss58 import encode_ss58

#: Windows' records in memory, with their statistics.
_CACHED = 16


_K = TypeVar("_K")
_V = TypeVar("_V")


class BoundedCache(Generic[_K, _V]):
    """The most recently used values, by key. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _K) -> _V | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: _K, value: _V) -> None:
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)


class NotFoundError(Exception):
    """There is nothing under this address. The message says what there is."""


@dataclass(slots=True)
class WindowFile:
    """A window's record and its statistics."""

    record: WindowRecord
    #: the inputs of the judgment that the record claims; None if it names none
    context: Context | None
    #: hotkey in SS58 → the validator's report, to which nothing commits; None if they are too large
    #: or cannot be read
    verdicts: dict[str, dict[str, Any]] | None

    def get_words(self, address: str) -> dict[str, Any]:
        return (self.verdicts or {}).get(address, {})


@dataclass(slots=True)
class PageReader:
    subject: ShownRecord
    index: Index
    indexer: Indexer
    sources: PageSources
    #: None: there is no source of rollouts
    rollouts: RolloutIndex | None = None
    _files: BoundedCache[int, tuple[bytes, WindowFile]] = field(
        default_factory=lambda: BoundedCache(_CACHED)
    )

    @property
    def address(self) -> str:
        return encode_ss58(self.subject.validator)

    def ask(self, query: str, *values: Any) -> list[Any]:
        return self.index.read(query, values)

    def ask_one(self, query: str, *values: Any) -> Any:
        return next(iter(self.ask(query, *values)), None)

    def read_window(self, window: int) -> WindowFile | None:
        epoch = self.ask_one("SELECT epoch FROM windows WHERE window = ?", window)
        if epoch is None:
            return None
        digest = self.ask_one("SELECT digest FROM settlements WHERE epoch = ?", epoch["epoch"])
        mark = b"" if digest is None else bytes(digest["digest"])
        cached = self._files.get(window)
        if cached is not None and cached[0] == mark:
            return cached[1]
        file = self._open_window(window)
        if file is not None:
            self._files.put(window, (mark, file))
        return file

    def _open_window(self, window: int) -> WindowFile | None:
        reader, parameters = self.subject.reader, self.subject.get_parameters(window)
        try:
            record = reader.get_window(window)
        except OperatorError:
            return None
        if record is None:
            return None
        same = record.parameters == parameters.digest
        context = make_record_context(record, parameters) if same else None
        return WindowFile(record, context, reader.get_statistics(window, parameters.work))
