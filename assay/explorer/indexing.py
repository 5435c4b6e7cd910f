"""Reading a record into the index: from the newest settlement back, in the background.

Every settlement names the digests of the one before it and of its windows' records, so the newest
one shows whether anything changed, and nothing is read twice. A rewritten record shows as another
digest under an indexed settlement: then everything is read again.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assay.artifacts.records.reader import SETTLEMENTS_MAX, RecordFault, RecordReader, follow_links
from assay.explorer.index import NUMBER_MAX, TABLES, Index, IndexDamagedError, IndexedWindow
from assay.explorer.ports import ShownRecord
from assay.protocol.context import find_context_fault
from assay.protocol.errors import OperatorError
from assay.protocol.parameters import Work
from assay.protocol.reason import Reason
from assay.protocol.record import (
    NOTHING,
    SettlementRecord,
    WindowRecord,
    make_latest_name,
    make_record_context,
)
from assay.protocol.ss58 import encode_ss58

logger = logging.getLogger(__name__)
#: Seconds between two readings of the newest settlement, and before an unreadable one is retried.
LOOK_S, AGAIN_S = 2.0, 60.0


@dataclass(frozen=True, slots=True)
class IndexProgress:
    """The progress of the index."""

    done: bool = False  # whether everything readable was read
    settlements: int = 0  # read so far
    lowest: int = 0  # epoch that is read next, 0 if there is none
    trouble: str | None = None  # an obstacle, in words for strangers: the log has its cause


class Indexer:
    """Keeps an index up to date with a record.

    Args:
        on_change: called after each change, from the indexer's thread; it must not block.

    Attributes:
        prepare: called from that thread whenever all that is readable was read. It raises what
            reading the index may raise.
    """

    def __init__(self, subject: ShownRecord, index: Index, on_change: Callable[[], None]) -> None:
        self._subject = subject
        self._index = index
        self._on_change = on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._unreadable: dict[int, float] = {}  # epoch → when it was last tried
        self._logged: str | None = None  # the last logged trouble
        self.progress = IndexProgress()
        self.prepare: Callable[[], None] = lambda: None

    @property
    def _reader(self) -> RecordReader:
        return self._subject.reader

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
                self.prepare()
            except (OperatorError, OSError) as error:
                self._log_trouble(f"the record cannot be read: {error}")
                self._note(problem="the record cannot be read just now")
            except IndexDamagedError:
                self.begin_again()
            else:
                self._logged = None
            self._stop.wait(LOOK_S)

    def begin_again(self) -> None:
        """Replace a damaged index. All its content is in the record."""
        try:
            self._index.reset()
            self._unreadable.clear()
            self._note()
        except (IndexDamagedError, OSError) as error:
            self._log_trouble(f"the index cannot be made: {error}")
            self.progress = IndexProgress(trouble="the index cannot be made")
            self._on_change()

    def _log_trouble(self, sentence: str) -> None:
        """Log it once, for the operator alone: the sentence may name folders and endpoints."""
        if sentence != self._logged:
            self._logged = sentence
            logger.warning("%s", sentence, extra={"event": "explorer_trouble"})

    def step(self) -> None:
        """Read everything that is new or was unreadable before. Raises OperatorError: the store
        cannot be read. IndexDamagedError: the index cannot be used."""
        latest = self._read_latest()
        if latest is None:
            self._note(done=True, problem="no settlement is published yet")
            return
        self._follow(*latest)
        self._read_gaps()
        if not self._stop.is_set():
            self._note(done=True)

    def _follow(self, epoch: int, digest: bytes | None) -> None:
        """Read settlements backwards from an epoch, until one is indexed under the digest that the
        link to it names. digest: of the first; None: until any indexed one."""

        def read(epoch: int) -> SettlementRecord | None:
            known = self._index.read("SELECT digest FROM settlements WHERE epoch = ?", (epoch,))
            if self._stop.is_set() or (known and digest in (None, known[0]["digest"])):
                return None
            if known:  # it was rewritten, and earlier ones may have been, too
                self._wipe()
            return self._add(epoch)

        for record in follow_links(read, epoch, limit=SETTLEMENTS_MAX):
            digest = None if digest is None else record.previous

    def _read_latest(self) -> tuple[int, bytes] | None:
        latest = self._reader.read_latest()
        if isinstance(latest, RecordFault):
            if latest.is_missing:
                return None
            raise OperatorError(latest.sentence)
        if latest.digest is None:
            raise OperatorError(f"{make_latest_name(self._reader.address)} is damaged")
        return (latest.epoch, latest.digest) if 0 < latest.epoch < NUMBER_MAX else None

    def _read_gaps(self) -> None:
        """Fill gaps that an earlier run left, and retry what could not be read before. Stop when
        the index is full: a hostile record may link back without end."""
        now = time.monotonic()
        gaps = self._index.read(
            "SELECT previous_epoch AS epoch FROM settlements WHERE previous != ? AND "
            "previous_epoch NOT IN (SELECT epoch FROM settlements) AND previous_epoch < epoch",
            (NOTHING,),
        )
        for gap in gaps:
            epoch: int = gap["epoch"]
            if self._count() >= SETTLEMENTS_MAX:
                break
            if now - self._unreadable.get(epoch, -AGAIN_S) >= AGAIN_S:
                self._follow(epoch, None)

    def _wipe(self) -> None:
        with self._index.write() as database:
            for table in TABLES:
                database.execute(f"DELETE FROM {table}")

    def _add(self, epoch: int) -> SettlementRecord | None:
        """Read one settlement and its windows. None: it is unavailable."""
        self._note(lowest=epoch)
        record = self._reader.get_settlement(epoch)
        if record is None:
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
        record = self._reader.get_window(window)
        if record is None:
            return IndexedWindow(window, outcome, None, "missing", "none")
        link = "ok" if record.digest == digest else "differs"
        self._subject.follow(record.parameters)
        work = self._subject.get_parameters(window).work
        verdicts = self._reader.get_statistics(window, work)
        total, count = _sum_rewards(verdicts)
        return IndexedWindow(
            window,
            outcome,
            record,
            link,
            find_beacon_state(self._subject, record),
            total,
            count,
            _estimate_tokens(record, verdicts, work),
        )

    def _note(self, *, done: bool = False, lowest: int = 0, problem: str | None = None) -> None:
        fresh = IndexProgress(done, self._count(), lowest, problem)
        if fresh != self.progress:
            self.progress = fresh
            self._on_change()

    def _count(self) -> int:
        (row,) = self._index.read("SELECT count(*) AS n FROM settlements")
        return int(row["n"])


def find_beacon_state(subject: ShownRecord, record: WindowRecord) -> str:
    """ "verified" if the blocks name these rounds and the pinned chain signed them, "none" if the
    record has no beacon, otherwise the fault."""
    parameters = subject.get_parameters(record.window)
    if record.parameters != parameters.digest:
        return "the record is of other parameters"
    context = make_record_context(record, parameters)
    return "none" if context is None else find_context_fault(context) or "verified"


def _sum_rewards(verdicts: dict[str, dict[str, Any]] | None) -> tuple[int, int]:
    rewards = [
        reward
        for verdict in (verdicts or {}).values()
        for group in verdict["groups"]
        for reward in group["rewards"]
    ]
    return sum(rewards), len(rewards)


def _estimate_tokens(
    record: WindowRecord, verdicts: dict[str, dict[str, Any]] | None, work: Work
) -> dict[bytes, int]:
    """Completion tokens of each accepted file, by its miner's hotkey: of the file's audited
    rollouts, which were drawn at random, times all its rollouts."""
    found = {}
    for row in record.members:
        if row.reason is not Reason.ACCEPTED or row.committed is None:
            continue
        tokens = (verdicts or {}).get(encode_ss58(row.hotkey), {}).get("tokens") or 0
        rollouts = row.committed.groups * work.group_size
        found[row.hotkey] = tokens * rollouts // max(1, min(work.audited_rollouts, rollouts))
    return found
