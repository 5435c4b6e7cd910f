"""Copies the parts that a validator has read of miners' files into its store, for other readers.

It copies the parts that all validators request, of each submission that an audit could read whole.
A reader that cannot reach a miner's store takes these and checks them against the root on chain
like the miner's own. Writing happens in parallel to the judge and never delays it: a copy that does
not fit into the queue is left out, and so is one that the store refuses.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Full, Queue
from threading import Event, Lock, Thread

from assay.artifacts.store_objects import MIRRORS, make_mirror_name
from assay.artifacts.submissions.pack import measure_pack
from assay.artifacts.submissions.read_ahead import THREADS, ReadAhead
from assay.artifacts.submissions.reader import SubmissionSources
from assay.judge.pack import PackedSubmission, encode_pack
from assay.network.store.base import LIST_MAX, ObjectStore, StoreError

logger = logging.getLogger("assay")

#: Most submissions that wait to be written, and most bytes of them and of those being written. A
#: larger submission waits alone.
_WAITING, WAITING_BYTES = 512, 64 << 20
#: Seconds that an ending program waits for the writer.
END_S = 5.0
#: Most copies that are deleted in a window, many times the number that a window adds. The rest
#: waits, so that nothing else has to.
CLEARED_MAX = 4_096


class MirrorWriter:
    """Writes copies into a store, on its own thread. The newest windows are kept.

    Attributes:
        held_bytes: waiting or being written.
        left_out: submissions that found no room.
    """

    def __init__(self, store: ObjectStore, windows: int) -> None:
        self._store = store
        self._windows = windows
        self._newest = -1
        self._refused = False
        self.left_out = 0
        self._ended = Event()
        self.queue: Queue[tuple[int, bytes, PackedSubmission, bool] | None] = Queue(_WAITING)
        self._lock = Lock()
        self.held_bytes = 0
        self.thread = self._start()

    def _start(self) -> Thread:
        thread = Thread(target=self._work, name="mirror", daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        self._ended.set()
        with suppress(Full):  # then the thread is busy, and checks before it takes the next one
            self.queue.put_nowait(None)
        self.thread.join(END_S)

    def put(self, window: int, root: bytes, packed: PackedSubmission, samples: bool) -> None:
        """Queue the parts of a submission that were read whole, as its root binds them: the audited
        ones, or the samples."""
        size = measure_pack(packed)
        with self._lock:
            if not self.thread.is_alive() and not self._ended.is_set():
                self.thread = self._start()  # a defect, which its thread has logged, has ended it
            try:
                if 0 < self.held_bytes > WAITING_BYTES - size:
                    raise Full
                self.queue.put_nowait((window, root, packed, samples))
                self.held_bytes += size
            except Full:
                self.left_out += 1
                if self.left_out == 1:
                    logger.warning(
                        "the store is slow: some of the audited parts are not mirrored there",
                        extra={"event": "mirror_trouble"},
                    )

    def _work(self) -> None:
        while (job := self.queue.get()) is not None:
            try:
                self._write(*job)
            finally:
                with self._lock:
                    self.held_bytes -= measure_pack(job[2])
            del job  # frees it while the next one is waited for
            if self._ended.is_set():
                return

    def _write(self, window: int, root: bytes, packed: PackedSubmission, samples: bool) -> None:
        try:
            if window > self._newest:
                self._newest = window
                self._clear()
        except StoreError as error:  # no reason to stop writing
            self._note(error)
        try:
            name = make_mirror_name(window, root, samples=samples)
            self._store.put(name, encode_pack(packed))
            self._refused = False
        except StoreError as error:
            self._note(error)

    def _note(self, error: StoreError) -> None:
        if not self._refused:
            logger.warning(
                "the audited parts are not mirrored: %s", error, extra={"event": "mirror_trouble"}
            )
        self._refused = True

    def _clear(self) -> None:
        """Delete windows that are too old; only some of their copies if there are very many."""
        old: list[str] = []
        for name in self._store.list(MIRRORS, LIST_MAX):
            window = name.removeprefix(f"{MIRRORS}/").partition("/")[0]
            if window.isdecimal() and int(window) <= self._newest - self._windows:
                old.append(name)
        for name in old[:CLEARED_MAX]:
            self._store.delete(name)


@contextmanager
def open_read_ahead(
    sources: SubmissionSources, store: ObjectStore | None, windows: int, fetches: int = THREADS
) -> Iterator[ReadAhead | None]:
    """A reader ahead of the judge, which also mirrors the files if there is a store for that.

    Args:
        store: one's own, which others can read, or None.
        windows: number mirrored; 0: none.
        fetches: files read at a time; 0: each when it is judged, and nothing is mirrored.
    """
    if not fetches:
        yield None
        return
    mirror = MirrorWriter(store, windows) if store is not None and windows else None
    ahead = ReadAhead(sources, None if mirror is None else mirror.put, fetches)
    try:
        yield ahead
    finally:
        ahead.close()
        if mirror is not None:
            mirror.close()
