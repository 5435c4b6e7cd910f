"""Reads a miner's committed file from any store that has it: bytes count if they match the root.

The miner's own store is asked first. Parts that it lacks, or shows other than committed, are looked
for in mirrors, where validators publish the parts that they have read (specification, section 13).
A share of the time for a file is reserved for the mirrors.

If no store has a part, the miner's own answer decides. A mirror's own claims are ignored: no
verdict depends on them.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

from assay.artifacts.ports import StoreFinder
from assay.artifacts.store_objects import make_mirror_name
from assay.artifacts.submissions.file import SubmissionFile
from assay.artifacts.submissions.pack import PackedCopy, compute_pack_max
from assay.artifacts.submissions.reading import AbsentSubmission, SubmissionCopy, SubmissionReader
from assay.judge.pack import PackError, decode_pack
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.deadlines import sparing, within
from assay.protocol.commitment import make_object_name
from assay.protocol.context import Committed, Context
from assay.protocol.reason import Reason, Refusal
from assay.protocol.ss58 import encode_ss58
from assay.verification import ReadPlan

#: Seconds for one mirror's answer, and for all mirrors of a submission together.
_MIRROR_S, _MIRRORS_S = 20.0, 60.0
#: Seconds for which a mirror that failed is asked after all others.
_SHUNNED_S = 600.0


class KnownMirror:
    """A store that may have copies, and when it last failed. `clock` gives monotonic seconds."""

    def __init__(self, store: ObjectStore, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._shunned_until = -math.inf

    def get(self, name: str, limit: int) -> bytes | None:
        """See `ObjectStore`. A failure is noted."""
        try:
            return self.store.get(name, limit)
        except StoreError:
            self.blame()
            raise

    def blame(self) -> None:
        """Note that the mirror failed, or that its bytes are not the committed ones."""
        self._shunned_until = self._clock() + _SHUNNED_S

    @property
    def is_shunned(self) -> bool:
        return self._clock() < self._shunned_until


class SubmissionSources(Protocol):
    """The stores from which miners' files are read.

    Attributes:
        stores: a locator on chain is untrusted: only allowed stores are opened.
        mirrors: stores that may have parts that a miner's own lacks of the submission with a root,
            in the order in which they are asked.
    """

    @property
    def stores(self) -> StoreFinder: ...
    @property
    def mirrors(self) -> Callable[[bytes], Sequence[KnownMirror]]: ...


def know_no_mirrors(root: bytes) -> Sequence[KnownMirror]:
    return ()


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The part of a file to read, and from where."""

    samples: bool = False  # the sampled rollouts; else the audited ones
    late: bool = False  # FETCH_END has passed: only from mirrors

    @property
    def in_time(self) -> "ReadRequest":
        """The same before FETCH_END."""
        return ReadRequest(self.samples)


AUDITED = ReadRequest()


def open_submission(
    context: Context, hotkey: bytes, sources: SubmissionSources, request: ReadRequest = AUDITED
) -> SubmissionReader:
    """A reader of the file that a hotkey committed to: its own copy, or any mirror's that matches
    the root."""
    committed = context.commitments.get(hotkey)
    if committed is None:
        return AbsentSubmission()
    return CommittedSubmission(context, hotkey, committed, sources, request)


class CommittedSubmission:
    """A `SubmissionReader` over a miner's own store, and mirrors for the parts that it lacks.

    Attributes:
        committed: the commitment that the bytes are checked against.
    """

    def __init__(
        self,
        context: Context,
        hotkey: bytes,
        committed: Committed,
        sources: SubmissionSources,
        request: ReadRequest = AUDITED,
    ) -> None:
        self.context = context
        self.hotkey = hotkey
        self.committed = committed
        self.request = request
        self._sources = sources
        self._mirrors = sources.mirrors(committed.root)
        self._mirrors_s = _MIRRORS_S
        self._asked = 0
        self._copies: list[tuple[PackedCopy, KnownMirror]] = []
        self._own: SubmissionCopy | None = None
        self._failure: StoreError | None = None

    def offer(self, plan: ReadPlan) -> Refusal | None:
        """See `SubmissionReader`. Raises StoreError: the miner's own store cannot be read, and no
        mirror has the part."""
        refusal = self._offer_own(plan)
        if refusal is None:
            return None
        position = 0
        while position < len(self._copies) or self._open_copy():
            if _offer_copy(*self._copies[position], plan) is None:
                return None
            position += 1
        if isinstance(refusal, StoreError):
            raise refusal
        return refusal

    def _offer_own(self, plan: ReadPlan) -> Refusal | StoreError | None:
        """Offer what the miner's own store has. A store that has failed is not asked again."""
        if self._failure is not None:
            return self._failure
        if self.request.late:
            detail = "it was not shown in time, and no mirror has it"
            return Refusal(Reason.NOT_REVEALED, detail, unbound=True)
        try:
            with sparing(_MIRROR_S) if self._mirrors else nullcontext():
                self._own = self._own or self._open_own()
                return self._own.offer(plan)
        except StoreError as error:
            self._failure = error
            return error

    def _open_copy(self) -> bool:
        """Open the next mirror that has a copy. Return whether there is one."""
        while self._asked < len(self._mirrors):
            mirror = self._mirrors[self._asked]
            self._asked += 1
            try:
                with within(self._mirrors_s) as left, sparing(_MIRROR_S):
                    self._copies.append((self._open_pack(mirror), mirror))
                return True
            except StoreError:
                continue
            finally:
                self._mirrors_s = left.seconds
        return False

    def _open_own(self) -> SubmissionCopy:
        store = self._sources.stores.get(self.committed.locator)
        if store is None:
            return AbsentSubmission()
        return SubmissionFile(
            store.open(make_object_name(encode_ss58(self.hotkey), self.context.window))
        )

    def _open_pack(self, mirror: KnownMirror) -> PackedCopy:
        """The mirror's pack of the submission. Raises StoreError: it is missing or malformed."""
        samples = self.request.samples
        name = make_mirror_name(self.context.window, self.committed.root, samples=samples)
        with within(_MIRROR_S):
            data = mirror.get(name, compute_pack_max(self.context.parameters, samples=samples))
        if data is None:
            raise StoreError(f"the mirror has no {name}")
        try:
            return PackedCopy(decode_pack(data))
        except PackError as error:
            mirror.blame()
            raise StoreError(f"the mirror's {name} is of no use: {error}") from None


def _offer_copy(copy: PackedCopy, mirror: KnownMirror, plan: ReadPlan) -> Refusal | None:
    try:
        refusal = copy.offer(plan)
    except PackError as error:
        return Refusal(Reason.NOT_REVEALED, str(error), unbound=True)
    if refusal is not None:
        mirror.blame()
    return refusal
