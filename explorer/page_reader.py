"""What all pages read from: the index, the record itself, and what is around it."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from assay.explorer.index import Index
from assay.explorer.indexing import Indexer
from assay.explorer.ports import PageSources, ShownRecord
from assay.protocol import Context, WindowRecord, encode_ss58
from assay.protocol.errors import OperatorError
from assay.protocol.record import make_record_context

#: Windows' records that are kept at hand, with their statistics.
_KEPT = 16


class NotFoundError(Exception):
    """There is nothing under this address; says what there is."""


@dataclass(slots=True)
class WindowFile:
    """A window as its record and its statistics have it.

    Attributes:
        context: what the record claims it was judged from; None where it names no inputs.
        verdicts: hotkey in SS58 → words and figures, which nothing commits to; None where they are
            too large or cannot be read.
    """

    record: WindowRecord
    context: Context | None
    verdicts: dict[str, dict[str, Any]] | None

    def get_words(self, address: str) -> dict[str, Any]:
        """What the validator says of a verdict; nothing where it says nothing."""
        return (self.verdicts or {}).get(address, {})


@dataclass(slots=True)
class PageReader:
    """Everything a view is made from. Safe to share between threads."""

    subject: ShownRecord
    index: Index
    indexer: Indexer
    sources: PageSources
    _files: OrderedDict[int, tuple[bytes, WindowFile]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """The validator's hotkey in SS58."""
        return encode_ss58(self.subject.validator)

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Rows of the index."""
        return self.index.read(query, values)

    def ask_one(self, query: str, *values: Any) -> Any:
        """One row of the index, None where there is none."""
        return next(iter(self.ask(query, *values)), None)

    def read_window(self, window: int) -> WindowFile | None:
        """A window's record; None where it cannot be had."""
        epoch = self.ask_one("SELECT epoch FROM windows WHERE window = ?", window)
        if epoch is None:
            return None
        digest = self.ask_one("SELECT digest FROM settlements WHERE epoch = ?", epoch["epoch"])
        mark = b"" if digest is None else bytes(digest["digest"])
        with self._lock:
            found = self._files.get(window)
            if found is not None and found[0] == mark:
                self._files.move_to_end(window)
                return found[1]
        file = self._open_window(window)
        if file is not None:
            with self._lock:
                self._files[window] = mark, file
                while len(self._files) > _KEPT:
                    self._files.popitem(last=False)
        return file

    def _open_window(self, window: int) -> WindowFile | None:
        reader, parameters = self.subject.reader, self.subject.parameters
        try:
            record = reader.get_window(window)
        except OperatorError:
            return None
        if record is None:
            return None
        same = record.parameters == parameters.digest
        context = make_record_context(record, parameters) if same else None
        return WindowFile(record, context, reader.get_statistics(window, parameters.work))
