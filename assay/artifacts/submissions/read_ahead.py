"""Reads miners' files ahead of the judge, several at a time: the network waits while the model
computes.

Each file is read and checked on one of a few threads, within a deadline and the sizes of an honest
file, and kept until it is judged. The total of bytes is limited, and a file that is being read
counts as the largest possible. Samples have their own threads and room.

A silent store takes a thread until its time is over. So that all files are requested by FETCH_END,
however many stores are silent, a file's time is at most its share of the rest: it shrinks with the
number of files that wait. Files that came quickly before are read first, those of one server in
turn with those of others. Nothing is judged here: verdicts do not depend on the order in which
files came. A file that did not come is requested again at a later block, like any other.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Condition, Thread
from urllib.parse import urlsplit

from assay.artifacts.submissions.pack import compute_pack_max, pack_parts
from assay.artifacts.submissions.reader import (
    AUDITED,
    CommittedSubmission,
    ReadRequest,
    SubmissionSources,
)
from assay.artifacts.submissions.reading import TolerantReader, read_submission
from assay.judge.pack import PackedSubmission
from assay.network.store.base import StoreError
from assay.network.store.deadlines import within
from assay.protocol.context import Context
from assay.protocol.reason import Refusal
from assay.verification import CheckedSubmission, find_commitment, plan_audit, plan_samples
from assay.verification.read_plan import PartRecord

#: Files read at a time, and how many times as many whose samples are read, which are smaller and
#: have less time; and audited ones read or kept ahead of the judge.
THREADS, SAMPLES_FACTOR, AHEAD = 24, 4, 64
#: Most bytes kept, or being read, of audited parts and of samples. A file that may exceed them is
#: begun only if it is alone.
KEPT_BYTES = 256 << 20
#: Seconds for waiting for one file's servers, mirrors included: at the first attempt, doubling at
#: each further one, and at most. A slow server delays nobody else.
_FIRST_S, _FILE_S = 10.0, 80.0
#: Seconds that a caller waits for the first file to come.
WAIT_S = 0.5
#: Hotkeys whose last reading is remembered.
_REMEMBERED = 4_096

_Key = tuple[int, bytes, ReadRequest]
#: A file to read, its seconds, and when they are over at the latest, on the monotonic clock.
_Job = tuple[CommittedSubmission, float, float]


@dataclass(frozen=True, slots=True)
class FetchedSubmission:
    """The parts of one file that an audit needs, or its samples."""

    checked: CheckedSubmission | None  # None: nothing was read
    error: BaseException | None = None  # our own fault; the caller raises it

    @property
    def is_whole(self) -> bool:
        """Return whether the root binds everything: no part is missing or wrong."""
        return self.checked is not None and self.checked.refusal is None

    @property
    def size(self) -> int:
        """Approximate bytes of memory."""
        return 0 if self.checked is None else self.checked.size


#: Called with window, root and parts of a file that was read whole, and whether they are samples.
Keep = Callable[[int, bytes, PackedSubmission, bool], None]


class ReadAhead:
    """Reads files for one judge. Its methods are for the judge's thread.

    Args:
        keep: called with all parts that were read whole and in time, on a reading thread, because
            others may need them before they are judged here.

    Attributes:
        held_bytes: of files that have come, and of files being read, whether still wanted or not;
            by whether they are samples.
    """

    def __init__(
        self, sources: SubmissionSources, keep: Keep | None = None, threads: int = THREADS
    ) -> None:
        self._sources = sources
        self._keep = keep
        self.changed = Condition()
        self._begun: set[_Key] = set()
        self._there: dict[_Key, FetchedSubmission] = {}
        self._whole: set[tuple[int, bytes, bool]] = set()
        self.tries: dict[_Key, int] = {}
        self._asked_at: dict[_Key, int] = {}  # block
        self._took: dict[bytes, float] = {}  # hotkey → seconds of its last reading; ∞: in vain
        self.held_bytes = {False: 0, True: 0}
        self._jobs: dict[bool, SimpleQueue[_Job | None]] = {
            samples: SimpleQueue() for samples in (False, True)
        }
        self._readers = {False: threads, True: SAMPLES_FACTOR * threads}
        self.threads = [
            Thread(target=self._work, args=(jobs,), name="read ahead", daemon=True)
            for samples, jobs in self._jobs.items()
            for _ in range(self._readers[samples])
        ]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        """Begin no more files. Running reads end by their deadline, or with the program."""
        with self.changed:
            self._begun.clear()
        for jobs in self._jobs.values():
            for _ in self.threads:
                jobs.put(None)

    @property
    def counts(self) -> tuple[int, int]:
        """Files being read; files and bytes that wait for the judge."""
        with self.changed:
            return len(self._begun), len(self._there)

    def choose(
        self, context: Context, due: Mapping[ReadRequest, Sequence[bytes]]
    ) -> tuple[bytes, ReadRequest] | None:
        """The first of these hotkeys that can be judged without waiting for the network: its file
        has come, or state alone decides. Waits a moment while one is being read."""
        deadline = time.monotonic() + WAIT_S
        keys = [(context.window, hotkey, request) for request in due for hotkey in due[request]]
        with self.changed:
            while True:
                for key in keys:
                    _, hotkey, request = key
                    if key in self._there or isinstance(find_commitment(context, hotkey), Refusal):
                        return hotkey, request
                rest = deadline - time.monotonic()
                if rest <= 0 or self._begun.isdisjoint(keys):
                    return None
                self.changed.wait(rest)

    def drop(self, window: int, *, late: bool) -> None:
        """Stop waiting for the files of a window, since it is too late for them: from miners' own
        stores, and with `late` from mirrors, too."""
        with self.changed:
            self._begun = {
                key for key in self._begun if key[0] != window or (key[2].late and not late)
            }

    def take(
        self, context: Context, hotkey: bytes, request: ReadRequest = AUDITED
    ) -> CheckedSubmission | None:
        """Take the parts read of a file, once; None: there are none. Raises the error of reading
        it, a defect included."""
        with self.changed:
            fetched = self._there.pop((context.window, hotkey, request), None)
            if fetched is None:
                return None
            self.held_bytes[request.samples] -= fetched.size
        if fetched.error is not None:
            raise fetched.error
        return fetched.checked

    def release(self, window: int, hotkeys: Collection[bytes], request: ReadRequest) -> set[bytes]:
        """Free the parts of files that nobody will judge any more. Return the hotkeys of those that
        were not read whole yet, in time or late."""
        with self.changed:
            for hotkey in hotkeys:
                for key in {(window, hotkey, way) for way in (request, request.in_time)}:
                    fetched = self._there.get(key)
                    if fetched is not None and fetched.is_whole:
                        self.held_bytes[request.samples] -= self._there.pop(key).size
            return {h for h in hotkeys if (window, h, request.samples) not in self._whole}

    def forget(self, window: int) -> None:
        with self.changed:
            self._whole = {key for key in self._whole if key[0] != window}
            self._begun = {key for key in self._begun if key[0] != window}
            self.tries = {key: n for key, n in self.tries.items() if key[0] != window}
            self._asked_at = {key: at for key, at in self._asked_at.items() if key[0] != window}
            for key in [key for key in self._there if key[0] == window]:
                self.held_bytes[key[2].samples] -= self._there.pop(key).size

    def begin_all(
        self, context: Context, due: Sequence[Sequence[bytes]], head: int, request: ReadRequest
    ) -> None:
        """Start to read as many files as there is room for, each as `begin` does.

        Args:
            due: hotkeys in classes. Those of a class come before those of the next.
        """
        wanted = [
            hotkey
            for hotkeys in due
            for hotkey in self._order(
                context, [h for h in hotkeys if self._is_wanted(context, h, head, request)], request
            )
        ]
        for number, hotkey in enumerate(wanted):
            if not self.begin(context, hotkey, head, request, len(wanted) - number):
                break

    def begin(
        self,
        context: Context,
        hotkey: bytes,
        head: int,
        request: ReadRequest = AUDITED,
        waiting: int = 1,
    ) -> bool:
        """Start to read a file unless it has come, or is being read. Return whether another may be
        begun. A file that was missing or other than committed is requested again at a later block,
        while the result waits for the judge. No thread waits for servers longer than there is
        time.

        Args:
            waiting: files that have to be read by the same block, this one included.
        """
        size = compute_pack_max(context.parameters, samples=request.samples)
        with self.changed:
            audited = sum(not key[2].samples for key in (*self._begun, *self._there))
            held = self.held_bytes[request.samples]
            if (audited >= AHEAD and not request.samples) or 0 < held > KEPT_BYTES - size:
                return False
        if not self._is_wanted(context, hotkey, head, request):
            return True
        key, committed = (context.window, hotkey, request), context.commitments[hotkey]
        reader = CommittedSubmission(context, hotkey, committed, self._sources, request)
        seconds, rest = self._allot(context, key, head, waiting)
        with self.changed:
            self._begun.add(key)
            self._asked_at[key] = head
            self.held_bytes[request.samples] += size
        self.tries[key] = self.tries.get(key, 0) + 1
        self._jobs[request.samples].put((reader, seconds, time.monotonic() + rest))
        return True

    def _is_wanted(self, context: Context, hotkey: bytes, head: int, request: ReadRequest) -> bool:
        """Return whether a file is to be read now: the chain's state allows it, it has not come,
        nor is it being read, nor was it requested at this block."""
        if isinstance(find_commitment(context, hotkey), Refusal):
            return False
        key, in_time = ((context.window, hotkey, way) for way in (request, request.in_time))
        with self.changed:
            copies = [self._there[way] for way in (key, in_time) if way in self._there]
            if key in self._begun or any(fetched.is_whole for fetched in copies):
                return False
            return key not in self._there or self._asked_at[key] < head

    def _order(
        self, context: Context, hotkeys: Sequence[bytes], request: ReadRequest
    ) -> list[bytes]:
        """The order in which files are begun: those requested least often first, then those that
        came quickly the last time. Servers take turns, so that one with many hotkeys keeps back
        only these."""
        tries = {h: self.tries.get((context.window, h, request), 0) for h in hotkeys}
        quick = sorted(hotkeys, key=lambda h: (tries[h], self._took.get(h, 0.0)))
        seen: Counter[tuple[int, bool, str]] = Counter()
        places = {}
        for hotkey in quick:
            in_vain = self._took.get(hotkey) == math.inf
            turn = tries[hotkey], in_vain, _find_server(context, hotkey)
            places[hotkey] = (*turn[:2], seen[turn])
            seen[turn] += 1
        return sorted(quick, key=places.__getitem__)

    def _allot(self, context: Context, key: _Key, head: int, waiting: int) -> tuple[float, float]:
        """The seconds for one attempt at a file, and those until its last block has passed.

        If all stores are silent, threads read in rounds. Each attempt takes no more than its part
        of the rest, with a round to spare where there are several.
        """
        timing, request = context.parameters.timing, key[2]
        first, last = timing.audit_offset, timing.fetch_end
        if request.samples:
            first = timing.sample_offset
        if request.late:
            first, last = timing.fetch_end, timing.mirror_end
        slot_s, end = timing.slot_ms / 1_000, context.challenge_block.number + last
        rest = max(1, end + 1 - head) * slot_s
        size = compute_pack_max(context.parameters, samples=request.samples)
        places = max(1, min(self._readers[request.samples], KEPT_BYTES // size))
        with self.changed:
            running = sum(begun[2].samples == request.samples for begun in self._begun)
        rounds = math.ceil((waiting + running) / places)
        share = rest / (rounds + (rounds > 1))
        # on a quick chain, too, silent miners get a verdict
        first_s = min(_FIRST_S, (last - first) * slot_s / 4)
        return min(_FILE_S, share, first_s * 2 ** self.tries.get(key, 0)), rest

    def _work(self, jobs: "SimpleQueue[_Job | None]") -> None:
        while (job := jobs.get()) is not None:
            self._read(*job)
            del job  # frees the file while the next one is waited for

    def _read(self, reader: CommittedSubmission, seconds: float, end: float) -> None:
        context, began = reader.context, time.monotonic()
        key = context.window, reader.hotkey, reader.request
        with self.changed:
            wanted = key in self._begun and began < end
        parts: PartRecord = {}
        packed: PackedSubmission | None = None
        try:
            fetched = FetchedSubmission(None)
            if wanted:
                seconds = min(seconds, end - began)
                fetched = fetch(reader, seconds, None if self._keep is None else parts)
            if fetched.is_whole:
                packed = pack_parts(reader.hotkey, parts)
        except BaseException as error:  # noqa: BLE001 - `take` raises it
            fetched = FetchedSubmission(None, error=error)
        with self.changed:
            samples = reader.request.samples
            size = compute_pack_max(context.parameters, samples=samples)
            self.held_bytes[samples] -= size
            if wanted:
                took = time.monotonic() - began if fetched.is_whole else math.inf
                self._note(reader.hotkey, took)
            if wanted and key in self._begun:  # otherwise it comes too late, also for others
                if key in self._there:  # of an earlier block
                    self.held_bytes[samples] -= self._there[key].size
                self._there[key] = fetched
                self.held_bytes[samples] += fetched.size
                if fetched.is_whole:
                    self._whole.add((context.window, reader.hotkey, samples))
                if self._keep is not None and packed is not None:
                    self._keep(context.window, reader.committed.root, packed, samples)
            self._begun.discard(key)
            self.changed.notify_all()

    def _note(self, hotkey: bytes, seconds: float) -> None:
        self._took.pop(hotkey, None)
        self._took[hotkey] = seconds
        while len(self._took) > _REMEMBERED:
            del self._took[next(iter(self._took))]


def _find_server(context: Context, hotkey: bytes) -> str:
    """The host of a hotkey's store."""
    locator = context.commitments[hotkey].locator
    try:
        return urlsplit(locator).hostname or locator
    except ValueError:  # it is no URL, and leads to no store
        return locator


def fetch(
    reader: CommittedSubmission, seconds: float = _FILE_S, parts: PartRecord | None = None
) -> FetchedSubmission:
    """Read everything that an audit reads of a file, or all its samples, and no further than to the
    first fault. `parts`: gets the bytes."""
    make_plan = plan_samples if reader.request.samples else plan_audit
    try:
        plan = make_plan(reader.context, reader.hotkey)
        if parts is not None:
            plan.record(parts)
        with within(seconds):
            return FetchedSubmission(read_submission(plan, TolerantReader(reader)))
    except StoreError as error:
        return FetchedSubmission(None, error=error)
