"""Miners' files read ahead of the judge, several at a time: the network waits beside the model.

Each file is read on one of a few threads, within a deadline and the sizes of an honest file, and
kept until it is judged; so many bytes of them at most, and a file under way counts as the largest
that can come. What is read is only kept bytes: verdicts do not depend on the order in which they
came. A file that did not come is asked for again at a later block, like any other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Thread

from assay.artifacts.submissions.submission_pack import (
    PackedReader,
    PackedSubmission,
    RecordingReader,
    compute_pack_max,
    measure_pack,
)
from assay.artifacts.submissions.submission_reader import CommittedSubmission, SubmissionSources
from assay.network.store import StoreError, within
from assay.protocol import Context, Refusal
from assay.protocol.selection import select_committed
from assay.verification import SubmissionReader, find_commitment, read_groups, read_opening

#: What a broken judge or model raises. The network's and the operator's errors are not among them.
OUR_FAULTS = (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError, MemoryError)
#: Files read at a time, and read or kept ahead of the judge.
THREADS, AHEAD = 24, 64
#: Most bytes kept, or on their way: a file that may exceed them is begun only where it is alone.
KEPT_BYTES = 256 << 20
#: Seconds that one file's servers are waited for, mirrors and all: at the first time, at most,
#: twice as many each further time, and at most. Whoever drips bytes holds up nobody but himself.
_FIRST_S, _FILE_S = 10.0, 80.0
#: Seconds that a caller waits for the first file to come.
WAIT_S = 0.5

_Key = tuple[int, bytes]
#: What is read, and seconds for it.
_Job = tuple[CommittedSubmission, float]


@dataclass(frozen=True, slots=True)
class FetchedSubmission:
    """One file as far as an audit asks for it."""

    packed: PackedSubmission | None  # what was read; None: the miner has nothing to be read
    root: bytes | None = None  # that binds all of it; None: something is missing or wrong
    error: BaseException | None = None  # our own fault; the caller raises it


#: Called with what was read whole, its window and root, once, by who takes it.
Keep = Callable[[int, bytes, PackedSubmission], None]


class ReadAhead:
    """Reads files for one judge. Its methods are for the judge's thread.

    Args:
        keep: called with every whole file that is taken.
    """

    def __init__(
        self, sources: SubmissionSources, keep: Keep | None = None, threads: int = THREADS
    ) -> None:
        self._sources = sources
        self._keep = keep
        self.changed = Condition()
        self._begun: set[_Key] = set()
        self._there: dict[_Key, FetchedSubmission] = {}
        self.tries: dict[_Key, int] = {}
        #: Of files that are there; of files under way, whether they are still wanted or not.
        self.kept_bytes = self.reserved_bytes = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.threads = [
            Thread(target=self._work, name="read ahead", daemon=True) for _ in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """No file more is begun; what is under way ends by its deadline, or with the program."""
        with self.changed:
            self._begun.clear()
        for _ in self.threads:
            self._jobs.put(None)

    @property
    def counts(self) -> tuple[int, int]:
        """Files under way, and files and bytes that wait for the judge."""
        with self.changed:
            return len(self._begun), len(self._there)

    def choose(self, context: Context, due: Sequence[bytes]) -> bytes | None:
        """The first of these hotkeys that can be judged without waiting for the network.

        Begins to read the files of those next in line; waits a moment where none has come.
        """
        deadline = time.monotonic() + WAIT_S
        for hotkey in due:
            if not self.begin(context, hotkey):
                break
        with self.changed:
            while True:
                ready = self._find_ready(context, due)
                if ready is not None:
                    return ready
                rest = deadline - time.monotonic()
                if rest <= 0:
                    return None
                self.changed.wait(rest)

    def choose_late(self, context: Context, due: Sequence[bytes]) -> bytes | None:
        """The first of these whose file had come by FETCH_END, or that has nothing to be read;
        what is under way is dropped."""
        with self.changed:
            self._begun = {key for key in self._begun if key[0] != context.window}
            return self._find_ready(context, due)

    def _find_ready(self, context: Context, due: Sequence[bytes]) -> bytes | None:
        """The first whose file is there, or that state alone says all of."""
        for hotkey in due:
            there = (context.window, hotkey) in self._there
            if there or isinstance(find_commitment(context, hotkey), Refusal):
                return hotkey
        return None

    def take(self, context: Context, hotkey: bytes) -> SubmissionReader | None:
        """What was read of a file, once; None: nothing was. Raises WorkerError, OUR_FAULTS: what
        went wrong with reading it; a defect, too."""
        with self.changed:
            fetched = self._there.pop((context.window, hotkey), None)
            if fetched is None:
                return None
            self.kept_bytes -= _measure(fetched)
        if fetched.error is not None:
            raise fetched.error
        if fetched.packed is None:
            return None
        if fetched.root is not None and self._keep is not None:
            self._keep(context.window, fetched.root, fetched.packed)
        return PackedReader(fetched.packed)

    def forget(self, window: int) -> None:
        with self.changed:
            self._begun = {key for key in self._begun if key[0] != window}
            self.tries = {key: n for key, n in self.tries.items() if key[0] != window}
            for key in [key for key in self._there if key[0] == window]:
                self.kept_bytes -= _measure(self._there.pop(key))

    def begin(self, context: Context, hotkey: bytes) -> bool:
        """Has a file read unless it was begun; whether another may be begun after it."""
        key = context.window, hotkey
        size = compute_pack_max(context.parameters)
        with self.changed:
            held = self.kept_bytes + self.reserved_bytes
            if len(self._begun) + len(self._there) >= AHEAD or 0 < held > KEPT_BYTES - size:
                return False
            if key in self._begun or key in self._there:
                return True
        committed = find_commitment(context, hotkey)
        if isinstance(committed, Refusal):
            return True
        reader = CommittedSubmission(context, hotkey, committed, self._sources)
        with self.changed:
            self._begun.add(key)
            self.reserved_bytes += size
        timing = context.parameters.timing
        fetch_s = (timing.fetch_end - timing.audit_offset) * timing.slot_ms / 1_000
        first_s = min(_FIRST_S, fetch_s / 4)  # on a quick chain, too, the silent have a verdict
        seconds = min(_FILE_S, first_s * 2 ** self.tries.get(key, 0))
        self.tries[key] = self.tries.get(key, 0) + 1
        self._jobs.put((reader, seconds))
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._read(*job)
            del job  # what was read is not held while the next one is waited for

    def _read(self, reader: CommittedSubmission, seconds: float) -> None:
        context = reader.context
        key = context.window, reader.hotkey
        with self.changed:
            wanted = key in self._begun
        try:
            fetched = fetch(reader, seconds) if wanted else FetchedSubmission(None)
        except BaseException as error:  # noqa: BLE001 - whoever takes the file raises it
            fetched = FetchedSubmission(None, error=error)
        with self.changed:
            self.reserved_bytes -= compute_pack_max(context.parameters)
            if key in self._begun:  # else it comes too late
                self._begun.discard(key)
                self._there[key] = fetched
                self.kept_bytes += _measure(fetched)
            self.changed.notify_all()


def fetch(reader: CommittedSubmission, seconds: float = _FILE_S) -> FetchedSubmission:
    """All that an audit asks of a file, in the judge's own order and no further than it would."""
    recording = RecordingReader(reader)
    context, hotkey, committed = reader.context, reader.hotkey, reader.committed
    try:
        with within(seconds):
            opening = read_opening(recording, hotkey, context, committed)
            whole = False
            if not isinstance(opening, Refusal):
                chosen = select_committed(context, hotkey, committed.groups)
                read = read_groups(recording, hotkey, context, opening, chosen)
                whole = not isinstance(read, Refusal)
    except (StoreError, *OUR_FAULTS) as error:
        return FetchedSubmission(None, error=error)
    return FetchedSubmission(recording.pack(hotkey), committed.root if whole else None)


def _measure(fetched: FetchedSubmission) -> int:
    return 0 if fetched.packed is None else measure_pack(fetched.packed)
