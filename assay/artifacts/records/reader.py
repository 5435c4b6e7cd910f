"""Reads one validator's public record within limits: the newest settlement, and back along links.

The result is a value: a record, or a `RecordFault` that says why there is none. The reader does not
know whether a record is true (see `assay.audit`), nor whether anything on chain binds it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from typing import Any, TypeVar

from assay.artifacts.ports import Objects
from assay.network.store.base import ObjectStore
from assay.network.store.folder import FolderStore
from assay.protocol.amendment import ParameterHistory
from assay.protocol.commitment import Commitment
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Work
from assay.protocol.record import (
    NOTHING,
    SettlementRecord,
    WindowRecord,
    compute_record_bytes_max,
    decode_settlement_record,
    decode_window_record,
    make_latest_name,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)
from assay.protocol.ss58 import decode_ss58, encode_ss58

#: Most bytes of the pointer to the newest settlement; of a record whose parameters are unknown
#: (under the main network's parameters, no true record is larger); of a window's statistics. For
#: 256 miners with 12 valued groups of 16 rollouts, statistics take 1.7 MiB, and up to 25 times that
#: while they are parsed.
LATEST_BYTES, RECORD_BYTES, STATISTICS_BYTES = 1 << 12, 32 << 20, 2 << 20
#: Settlements that are followed back from one.
SETTLEMENTS_MAX = 4_096
#: Most characters that are kept of a sentence and of a name.
_SENTENCE, _NAME = 400, 64
_INTEGER_MAX = 1 << 53
#: The measurements kept from statistics; others are dropped.
_MEASURED = ("margin_max", "log_capital", "logprob_rms", "sketch_mean", "ledger_capital")
#: Errors of reading a malformed document.
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
_R = TypeVar("_R", WindowRecord, SettlementRecord)


@dataclass(frozen=True, slots=True)
class RecordFault:
    """The reason why a name leads to no record. `is_missing`: no object is published under the
    name."""

    sentence: str
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class Latest:
    """The store's pointer to the newest settlement, which nothing binds. `digest` is its record's;
    None if the pointer lacks it."""

    epoch: int
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class RecordReader:
    """One validator's record in some store.

    Methods raise a StoreError if the store cannot be read, or an object exceeds a limit.
    """

    objects: Objects
    validator: bytes
    limit: int = RECORD_BYTES  # most bytes of a window's or a settlement's record

    @property
    def address(self) -> str:
        return encode_ss58(self.validator)

    def read_latest(self) -> Latest | RecordFault:
        name = make_latest_name(self.address)
        data = self.objects.get(name, LATEST_BYTES)
        if data is None:
            return _miss(name)
        try:
            document = read_json(data)
            epoch = int(document["epoch"])
            if not 0 <= epoch < 1 << 64:
                raise ValueError("no block has that number")
        except (EncodingError, *_BROKEN):
            return RecordFault(f"{name} is damaged")
        digest = None
        with suppress(*_BROKEN):
            digest = bytes.fromhex(document["digest"])
        return Latest(epoch, digest)

    def read_window(self, window: int) -> WindowRecord | RecordFault:
        name = make_window_record_name(self.address, window)
        return decode_window(name, window, self.objects.get(name, self.limit))

    def read_settlement(self, epoch: int) -> SettlementRecord | RecordFault:
        name = make_settlement_record_name(self.address, epoch)
        return decode_settlement(name, epoch, self.objects.get(name, self.limit))

    def get_window(self, window: int) -> WindowRecord | None:
        record = self.read_window(window)
        return None if isinstance(record, RecordFault) else record

    def get_settlement(self, epoch: int) -> SettlementRecord | None:
        record = self.read_settlement(epoch)
        return None if isinstance(record, RecordFault) else record

    def get_newest(
        self, latest: Latest | RecordFault, announced: Commitment | None
    ) -> SettlementRecord | None:
        """The newer of the settlements that the store's pointer and the slot on chain name."""
        hint = 0 if isinstance(latest, RecordFault) else latest.epoch
        return self.get_settlement(max(hint, 0 if announced is None else announced.number))

    def get_statistics(self, window: int, work: Work) -> dict[str, dict[str, Any]] | None:
        """A window's verdicts for people, see `parse_statistics`. None: they cannot be read, or are
        too large or malformed."""
        try:
            data = self.objects.get(make_statistics_name(self.address, window), STATISTICS_BYTES)
        except OperatorError:
            return None
        return parse_statistics(data or b"{}", work)


def open_reader(objects: Objects, validator: bytes, history: ParameterHistory) -> RecordReader:
    limit = max(map(compute_record_bytes_max, history.all))
    return RecordReader(objects, validator, limit)


def decode_window(name: str, window: int, data: bytes | None) -> WindowRecord | RecordFault:
    """The record under a window's name, or a fault. `data` is None if the store has no such
    object."""
    record = _decode(name, decode_window_record, data)
    if isinstance(record, WindowRecord) and record.window != window:
        return RecordFault(f"under its name lies window {record.window}'s")
    return record


def decode_settlement(name: str, epoch: int, data: bytes | None) -> SettlementRecord | RecordFault:
    record = _decode(name, decode_settlement_record, data)
    if isinstance(record, SettlementRecord) and record.epoch != epoch:
        return RecordFault(f"under its name lies epoch {record.epoch}'s")
    return record


def _decode(name: str, decode: Callable[[bytes], _R], data: bytes | None) -> _R | RecordFault:
    if data is None:
        return _miss(name)
    try:
        return decode(data)
    except EncodingError as error:
        return RecordFault(f"{name} is not a record: {error}")


def _miss(name: str) -> RecordFault:
    return RecordFault(f"the validator has published no {name}", is_missing=True)


def follow_links(
    read: Callable[[int], SettlementRecord | None],
    epoch: int,
    digest: bytes | None = None,
    limit: int = SETTLEMENTS_MAX,
) -> Iterator[SettlementRecord]:
    """Settlements from an epoch's back, up to the first or to one that is not available.

    Args:
        digest: of the first record. The walk ends before a record that differs from the one that
            its link names. None: the first is not compared.
        limit: most settlements.
    """
    for _ in range(limit):
        record = read(epoch) if epoch else None
        if record is None or (digest is not None and record.digest != digest):
            return
        yield record
        if record.previous == NOTHING or record.previous_epoch >= epoch:
            return
        epoch, digest = record.previous_epoch, None if digest is None else record.previous


def list_validators(store: ObjectStore) -> list[bytes]:
    """Hotkeys whose records a store holds, by address. Raises StoreError: it cannot list its
    names."""
    if isinstance(store, FolderStore):
        patterns = ("*/latest.json", "*/*.record")
        names = {path.parent.name for p in patterns for path in store.root.glob(p)}
    else:
        ends = (".record", "/latest.json")
        names = {name.partition("/")[0] for name in store.list() if name.endswith(ends)}
    validators = []
    for name in sorted(names):
        with suppress(ValueError):
            validators.append(decode_ss58(name))
    return validators


def parse_statistics(data: bytes | str, work: Work) -> dict[str, dict[str, Any]] | None:
    """A window's verdicts for people: hotkey in SS58 → reason, detail, place, statistics,
    groups, tokens that went through the model.

    No commitment binds them. A malformed verdict is left out. None: the whole is malformed.
    """
    try:
        rows = json.loads(data).get("verdicts", [])
    except _BROKEN:
        return None
    verdicts = {}
    for row in rows if isinstance(rows, list) else ():
        with suppress(*_BROKEN):
            verdicts[_cut(row["hotkey"], _NAME)] = _clean_verdict(row, work)
    return verdicts


def _cut(value: Any, length: int) -> str:
    return value[:length] if type(value) is str else ""


def _get_integer(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _INTEGER_MAX else None


def _clean_verdict(verdict: dict[str, Any], work: Work) -> dict[str, Any]:
    groups = []
    for group in verdict.get("groups", [])[: work.valued_groups]:
        index, value = _get_integer(group["index"]), _get_integer(group["value"])
        lists = {
            name: [_get_integer(number) for number in group[name][: work.group_size]]
            for name in ("rewards", "correctness", "audited")
        }
        if None not in (index, value, *chain.from_iterable(lists.values())):
            groups.append({"index": index, "value": value, **lists})
    statistics = verdict.get("statistics", {})
    return {
        "reason": _cut(verdict.get("reason"), _NAME),
        "detail": _cut(verdict.get("detail"), _SENTENCE),
        **{name: _get_integer(verdict.get(name)) for name in ("group", "rollout", "token")},
        "statistics": {
            name: float(statistics[name])
            for name in _MEASURED
            if type(statistics.get(name)) in (int, float) and isfinite(statistics[name])
        },
        "groups": groups,
        "tokens": _get_integer(verdict.get("tokens")),
    }
