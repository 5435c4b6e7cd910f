"""What a miner committed to, from wherever it can be had: bytes count if they match the root.

The miner's own store is asked first. What it does not show, or shows other than committed, is
looked for in mirrors, where validators leave what they have read (specification, section 13). A
part of the time for a file is kept for them, and they have so much together.

Where nobody has it, the miner's own answer stands. What a mirror says beside such bytes is nobody's
word: no verdict comes of it.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from assay.artifacts.parquet import ParquetWorker
from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.submission_file import SubmissionFile
from assay.artifacts.submissions.submission_layout import get_limits
from assay.artifacts.submissions.submission_pack import (
    PackedReader,
    PackError,
    compute_pack_max,
    decode_pack,
)
from assay.cage import Budget
from assay.network.store import ObjectStore, StoreError, sparing, within
from assay.protocol import Committed, Context, Footer, Reason, Refusal, encode_ss58
from assay.protocol.commitment import make_object_name
from assay.protocol.selection import select_committed
from assay.protocol.submission import is_committed, is_group_committed
from assay.verification import SubmissionReader

#: Seconds for one mirror's answer, and for all mirrors of a submission together.
_MIRROR_S, _MIRRORS_S = 20.0, 60.0
#: Seconds that one which failed is asked after all others.
_SHUNNED_S = 600.0


class StoreFinder(Protocol):
    def get(self, locator: str, /) -> ObjectStore | None:
        """The store of a locator that stands on chain; None where it is not opened here."""


class KnownMirror:
    """A store that may have copies, and when it last failed. clock: monotonic seconds."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._shunned_until = -math.inf

    def get(self, name: str, limit: int) -> bytes | None:
        """See `ObjectStore`. A failure is remembered."""
        try:
            return self.store.get(name, limit)
        except StoreError:
            self.blame()
            raise

    def blame(self) -> None:
        """It failed, or what it showed is not what was committed."""
        self._shunned_until = self._clock() + _SHUNNED_S

    @property
    def is_shunned(self) -> bool:
        return self._clock() < self._shunned_until


class SubmissionSources(Protocol):
    """Where miners' files are read from, and by whom.

    Attributes:
        stores: a locator on chain is a stranger's word, and leads only where these allow.
        mirrors: stores that may have what a miner's own does not show of the submission of a root,
            in the order in which they are asked.
    """

    @property
    def stores(self) -> StoreFinder: ...
    @property
    def worker(self) -> ParquetWorker: ...
    @property
    def mirrors(self) -> Callable[[bytes], Sequence[KnownMirror]]: ...


def know_no_mirrors(root: bytes) -> Sequence[KnownMirror]:
    return ()


class AbsentSubmission:
    def read_footer(self) -> Footer | Refusal:
        return Refusal(Reason.NOT_REVEALED, "the locator on chain leads to no store known here")

    def read_group(self, index: int) -> bytes | Refusal:
        return Refusal(Reason.NOT_REVEALED, "the file is not there", index)


def open_submission(
    context: Context, hotkey: bytes, sources: SubmissionSources
) -> SubmissionReader:
    """A reader of the file that a hotkey committed to: its own copy, or any mirror's that matches
    the root."""
    committed = context.commitments.get(hotkey)
    if committed is None:
        return AbsentSubmission()
    return CommittedSubmission(context, hotkey, committed, sources)


class CommittedSubmission:
    """A `SubmissionReader` over a miner's own store, and mirrors for what that one lacks.

    Args:
        budget: of the parser's time; None: a fresh one.

    Attributes:
        root: that the bytes are held against, 32 bytes.
        groups: that an audit asks for, ascending; none where the commitment's number is absurd.
    """

    def __init__(
        self,
        context: Context,
        hotkey: bytes,
        committed: Committed,
        sources: SubmissionSources,
        budget: Budget | None = None,
    ) -> None:
        self.context = context
        self.hotkey = hotkey
        self.root = committed.root
        chosen = select_committed(context, hotkey, committed.groups)
        self.groups = tuple(sorted(chosen.audited + chosen.sampled))
        self._locator = committed.locator
        self._sources = sources
        self._budget = budget
        self._mirrors = sources.mirrors(committed.root)
        self._mirrors_s = _MIRRORS_S
        # of mirrors, who gave it; None: the miner
        self._readers: list[tuple[SubmissionReader, KnownMirror | None]] = []
        self._failure: StoreError | None = None
        self._asked = 0
        self._footer: Footer | None = None

    def read_footer(self) -> Footer | Refusal:
        """See `SubmissionReader`. Raises StoreError: the miner's own store cannot be read, and no
        mirror has it."""
        own: Footer | Refusal | StoreError
        try:
            with self._spare():
                reader = self._open_own()
                own = reader.read_footer()
            if isinstance(own, Footer) and is_committed(own, self.root):
                self._readers.append((reader, None))
                self._footer = own
                return own
        except StoreError as error:
            own = self._failure = error
        if self._ask_mirror():
            assert self._footer is not None
            return self._footer
        if isinstance(own, StoreError):
            raise own
        return own

    def read_group(self, index: int) -> bytes | Refusal:
        """See `SubmissionReader`. Raises StoreError: as `read_footer`."""
        footer = self._footer
        own: bytes | Refusal | StoreError | None = self._failure
        if footer is None:
            return Refusal(Reason.NOT_REVEALED, "the file is not there", index)
        size = self.context.parameters.work.group_size
        position = 0
        while position < len(self._readers) or self._ask_mirror():
            reader, mirror = self._readers[position]
            found = self._read(reader, mirror, index)
            if isinstance(found, bytes):
                if is_group_committed(footer, index, found, size):
                    return found
                if mirror is not None:
                    mirror.blame()
            if mirror is None:
                own = found
            position += 1
        if isinstance(own, StoreError):
            raise own
        return own or Refusal(Reason.NOT_REVEALED, "neither miner nor mirrors show it", index)

    def _read(
        self, reader: SubmissionReader, mirror: KnownMirror | None, index: int
    ) -> bytes | Refusal | StoreError:
        try:
            if mirror is not None:
                return reader.read_group(index)
            with self._spare():
                return reader.read_group(index)
        except PackError as error:
            return Refusal(Reason.NOT_REVEALED, str(error), index)
        except StoreError as error:
            return error

    def _ask_mirror(self) -> bool:
        """Opens the next mirror that has the footer; whether there is one."""
        while self._asked < len(self._mirrors):
            mirror = self._mirrors[self._asked]
            self._asked += 1
            try:
                with within(self._mirrors_s) as left, sparing(_MIRROR_S):
                    reader = self._open_pack(mirror)
                footer = reader.read_footer()
            except StoreError:
                continue
            finally:
                self._mirrors_s = left.seconds
            if isinstance(footer, Footer) and is_committed(footer, self.root):
                self._readers.append((reader, mirror))
                self._footer = footer
                return True
            mirror.blame()
        return False

    def _open_own(self) -> SubmissionReader:
        store = self._sources.stores.get(self._locator)
        if store is None:
            return AbsentSubmission()
        source = store.open(make_object_name(encode_ss58(self.hotkey), self.context.window))
        limits = get_limits(self.context.parameters)
        return SubmissionFile(source, self._sources.worker, limits, self.groups, self._budget)

    def _spare(self) -> AbstractContextManager[None]:
        return sparing(_MIRROR_S) if self._mirrors else nullcontext()

    def _open_pack(self, mirror: KnownMirror) -> SubmissionReader:
        """What a mirror has of the submission. Raises StoreError: nothing of it, or something
        else."""
        name = make_mirror_name(self.context.window, self.root)
        with within(_MIRROR_S):
            data = mirror.get(name, compute_pack_max(self.context.parameters))
        if data is None:
            raise StoreError(f"the mirror has no {name}")
        try:
            return PackedReader(decode_pack(data, self.context.parameters))
        except PackError as error:
            mirror.blame()
            raise StoreError(f"the mirror's {name} is of no use: {error}") from None
