"""Reading a record into the index: from the newest settlement back, in the background.

Every settlement names the digest of the one before it and of its windows' records, so that one look
at the newest says whether anything changed, and what was read once need not be read again. A record
that was rewritten shows as another digest under an indexed settlement: then all is read anew.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar

from assay.explorer.index import NUMBER_MAX, Index, IndexDamagedError, IndexedWindow
from assay.explorer.ports import ShownRecord
from assay.protocol import (
    SettlementRecord,
    WindowRecord,
    decode_settlement_record,
    decode_window_record,
    encode_ss58,
    find_context_fault,
)
from assay.protocol.encoding import EncodingError, read_json
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Work
from assay.protocol.record import (
    NOTHING,
    compute_record_bytes_max,
    make_latest_name,
    make_record_context,
    make_settlement_record_name,
    make_statistics_name,
    make_window_record_name,
)

logger = logging.getLogger(__name__)
_R = TypeVar("_R", WindowRecord, SettlementRecord)
#: Seconds between two looks at what is newest, and before what could not be read is tried again.
LOOK_S, AGAIN_S = 2.0, 60.0
#: What a document that is not as it should be ends in.
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
#: Largest hint at the newest settlement, and statistics of a window, that are read, bytes: of 256
#: miners with 16 audited groups of 16 rollouts they take 1 MiB, and while they are parsed up to 25
#: times their size.
_LATEST_BYTES, STATISTICS_BYTES = 1 << 12, 2 << 20


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """How far the index is.

    Attributes:
        done: whether all that can be read has been.
        settlements: read so far. lowest: epoch that is read next, 0 where there is none.
        trouble: what keeps it from being read, for strangers: the log says why.
    """

    done: bool = False
    settlements: int = 0
    lowest: int = 0
    trouble: str | None = None


class Indexer:
    """Keeps an index up with a record.

    Args:
        on_change: called after each change, from the indexer's thread. It must wait for nobody.
    """

    def __init__(self, subject: ShownRecord, index: Index, on_change: Callable[[], None]) -> None:
        self._subject = subject
        self._address = encode_ss58(subject.validator)
        self._index = index
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._unreadable: dict[int, float] = {}  # epoch → when it was last tried
        self._said: str | None = None
        self.progress = IndexProgress()

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the settlement that is being read."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except (OperatorError, OSError) as error:
                self._say(f"the record cannot be read: {error}")
                self._note(trouble="the record cannot be read just now")
            except IndexDamagedError:
                self._begin_again()
            else:
                self._said = None
            self._stop.wait(LOOK_S)

    def _begin_again(self) -> None:
        """Makes a damaged index anew; all of it stands in the record."""
        try:
            self._index.reset()
            self._unreadable.clear()
            self._note()
        except (IndexDamagedError, OSError) as error:
            self._say(f"the index cannot be made: {error}")
            self.progress = IndexProgress(trouble="the index cannot be made")
            self._on_change()

    def _say(self, sentence: str) -> None:
        """To whoever runs the explorer, once: it may name folders and endpoints."""
        if sentence != self._said:
            self._said = sentence
            logger.warning("%s", sentence, extra={"event": "explorer_trouble"})

    def step(self) -> None:
        """Reads all that is new or was left over.

        Raises:
            OperatorError: the store cannot be read. IndexDamagedError: the index cannot be used.
        """
        latest = self._read_latest()
        if latest is None:
            self._note(done=True, trouble="no settlement is published yet")
            return
        epoch, digest = latest
        while epoch and not self._stop.is_set():
            known = self._index.read("SELECT digest FROM settlements WHERE epoch = ?", (epoch,))
            if known and (digest is None or known[0]["digest"] == digest):
                break
            if known:  # it was rewritten: what lies below it may have been, too
                self._wipe()
            record = self._add(epoch)
            epoch, digest = _step_back(record)
        self._read_gaps()
        if not self._stop.is_set():
            self._note(done=True)

    def _read_latest(self) -> tuple[int, bytes | None] | None:
        data = self._subject.objects.get(make_latest_name(self._address), _LATEST_BYTES)
        if data is None:
            return None
        try:
            document = read_json(data)
            epoch, digest = int(document["epoch"]), bytes.fromhex(document["digest"])
        except (EncodingError, *_BROKEN):
            raise OperatorError(f"{make_latest_name(self._address)} is damaged") from None
        return (epoch, digest) if 0 < epoch < NUMBER_MAX else None

    def _read_gaps(self) -> None:
        """What an earlier run was cut off from, and what could not be read before."""
        now = time.monotonic()
        gaps = self._index.read(
            "SELECT previous_epoch AS epoch FROM settlements WHERE previous != ? AND "
            "previous_epoch NOT IN (SELECT epoch FROM settlements) AND previous_epoch < epoch",
            (NOTHING,),
        )
        for gap in gaps:
            epoch: int = gap["epoch"]
            if now - self._unreadable.get(epoch, -AGAIN_S) < AGAIN_S:
                continue
            while epoch and not self._stop.is_set():
                if self._index.read("SELECT 1 FROM settlements WHERE epoch = ?", (epoch,)):
                    break
                epoch, _ = _step_back(self._add(epoch))

    def _wipe(self) -> None:
        with self._index.write() as database:
            for table in ("settlements", "windows", "miners", "rows", "scores", "weights"):
                database.execute(f"DELETE FROM {table}")

    def _add(self, epoch: int) -> SettlementRecord | None:
        """Reads one settlement and its windows; None where it cannot be had."""
        self._note(lowest=epoch)
        name = make_settlement_record_name(self._address, epoch)
        record = read_record(self._subject, name, decode_settlement_record)
        if record is None or record.epoch != epoch:
            self._unreadable[epoch] = time.monotonic()
            return None
        self._unreadable.pop(epoch, None)
        windows = [
            self._read_window(covered.window, covered.record, covered.outcome.value)
            for covered in record.windows
            if covered.window < NUMBER_MAX
        ]
        self._index.put(record, windows)
        self._note(lowest=epoch)
        self._on_change()
        return record

    def _read_window(self, window: int, digest: bytes, outcome: str) -> IndexedWindow:
        name = make_window_record_name(self._address, window)
        record = read_record(self._subject, name, decode_window_record)
        if record is None or record.window != window:
            return IndexedWindow(window, outcome, None, "missing", "none")
        link = "ok" if record.digest == digest else "differs"
        total, count = _read_rewards(self._subject, self._address, record)
        return IndexedWindow(
            window, outcome, record, link, find_beacon_state(self._subject, record), total, count
        )

    def _note(self, *, done: bool = False, lowest: int = 0, trouble: str | None = None) -> None:
        (found,) = self._index.read("SELECT count(*) AS n FROM settlements")
        fresh = IndexProgress(done, found["n"], lowest, trouble)
        if fresh != self.progress:
            self.progress = fresh
            self._on_change()


def read_record(subject: ShownRecord, name: str, decode: Callable[[bytes], _R]) -> _R | None:
    """A record under its name; None: there is none, or what lies there is none.

    Raises:
        OperatorError: the store cannot be read.
    """
    data = subject.objects.get(name, compute_record_bytes_max(subject.parameters))
    try:
        return None if data is None else decode(data)
    except EncodingError:
        return None


def find_beacon_state(subject: ShownRecord, record: WindowRecord) -> str:
    """ "verified" where the rounds are those that the blocks name and the signatures the pinned
    chain's, "none" where the record holds no beacon, else what is wrong."""
    if record.parameters != subject.parameters.digest:
        return "the record is of other parameters"
    context = make_record_context(record, subject.parameters)
    return "none" if context is None else find_context_fault(context) or "verified"


def _step_back(record: SettlementRecord | None) -> tuple[int, bytes | None]:
    """Epoch and digest of the settlement before; 0 where there is none."""
    if record is None or record.previous == NOTHING or record.previous_epoch >= record.epoch:
        return 0, None
    return record.previous_epoch, record.previous


def _read_rewards(subject: ShownRecord, address: str, record: WindowRecord) -> tuple[int, int]:
    """Sum of rewards, millionths, and their number: the validator's word, outside its record."""
    verdicts = read_statistics(subject, address, record.window) or {}
    rewards = [
        reward
        for verdict in verdicts.values()
        for group in verdict["groups"]
        for reward in group["rewards"]
    ]
    return sum(rewards), len(rewards)


def read_statistics(
    subject: ShownRecord, address: str, window: int
) -> dict[str, dict[str, Any]] | None:
    """A window's verdicts for people: hotkey in SS58 → detail, place, statistics, groups.

    Nothing commits to them: a verdict that is not as it should be is left out. None: they cannot be
    read, or are too large or too broken for it.
    """
    try:
        data = subject.objects.get(make_statistics_name(address, window), STATISTICS_BYTES)
        found = json.loads(data or b"{}").get("verdicts", [])
    except (OperatorError, *_BROKEN):
        return None
    verdicts = {}
    for row in found if isinstance(found, list) else ():
        with suppress(*_BROKEN):
            verdicts[_cut(row["hotkey"], _NAME)] = _clean_verdict(row, subject.parameters.work)
    return verdicts


#: Characters of a stranger's sentence and of a name that are kept.
_SENTENCE, _NAME = 400, 64
_INTEGER_MAX = 1 << 53
#: What is measured; anything else is not kept.
_MEASURED = ("margin_max", "log_capital", "logprob_rms", "sketch_mean", "ledger_capital")


def _cut(value: Any, length: int) -> str:
    return value[:length] if type(value) is str else ""


def _clean_verdict(verdict: dict[str, Any], work: Work) -> dict[str, Any]:
    def get_integer(value: Any) -> int | None:
        return value if type(value) is int and 0 <= value < _INTEGER_MAX else None

    groups = []
    for group in verdict.get("groups", [])[: work.audited_groups]:
        index, value = get_integer(group["index"]), get_integer(group["value"])
        rewards = [get_integer(reward) for reward in group["rewards"][: work.group_size]]
        if index is not None and value is not None and None not in rewards:
            groups.append({"index": index, "value": value, "rewards": rewards})
    statistics = verdict.get("statistics", {})
    return {
        "reason": _cut(verdict.get("reason"), _NAME),
        "detail": _cut(verdict.get("detail"), _SENTENCE),
        "group": get_integer(verdict.get("group")),
        "rollout": get_integer(verdict.get("rollout")),
        "token": get_integer(verdict.get("token")),
        "statistics": {
            name: float(statistics[name])
            for name in _MEASURED
            if type(statistics.get(name)) in (int, float) and isfinite(statistics[name])
        },
        "groups": groups,
    }
