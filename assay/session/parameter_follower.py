"""Follows the parameters that the owner's slot, or the amender's, names along the chain.

The slot names the newest parameters, and each names its predecessor. Parameters that are not
decided yet are fetched and checked early, while there is time to fix a fault. Decided parameters
that cannot be read end the history: nobody works by parameters that it does not know.
Specification, section 0.1.
"""

import logging
from collections.abc import Callable, Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

from assay.artifacts.announced_parameters import AnnouncedParameters
from assay.artifacts.discovery import (
    DiscoveryError,
    fetch_parameters,
    fetch_predecessors,
    fetch_unchecked,
    find_mismatch,
    publish_parameters,
    read_amendment,
    read_announcement,
)
from assay.artifacts.published_problems import fetch_all_problems
from assay.artifacts.store_objects import UnavailableError
from assay.environments.registry import open_environment
from assay.network.chain.errors import ForgottenError
from assay.network.chain.ports import BlockReader
from assay.network.chain.values import STATE_BLOCKS
from assay.network.files import write_json
from assay.network.store.base import ObjectStore, StoreError
from assay.network.store.folder import open_folder
from assay.protocol.amendment import ParameterHistory, find_amendment_fault, make_history
from assay.protocol.commitment import LOCATOR_BYTES, Commitment
from assay.protocol.encoding import (
    U64,
    EncodingError,
    Many,
    Prefixed,
    Record,
    Row,
    from_json,
    read_json,
    to_json,
)
from assay.protocol.hashing import DIGEST_BYTES, ZERO_DIGEST
from assay.protocol.parameters import Parameters, find_parameters_fault
from assay.protocol.window import compute_window

logger = logging.getLogger("assay")

_MEMORY_FILE = "decided.json"
#: Most ranges of watched windows that are kept.
_RANGES_MAX = 64


@dataclass(frozen=True, slots=True)
class _SeenSlot:
    """The content of the slot that names amendments, at the first blocks of a range of windows."""

    digest: Annotated[bytes, Prefixed(DIGEST_BYTES)]  # empty: the slot held no parameters
    number: U64
    locator: Annotated[str, Prefixed(LOCATOR_BYTES, text=True)]
    first: U64
    last: U64

    def is_same(self, other: "_SeenSlot") -> bool:
        """Return whether the slot held the same at both ranges."""
        held = other.digest, other.number, other.locator
        return (self.digest, self.number, self.locator) == held


@dataclass(frozen=True, slots=True)
class _Windows:
    """A range of windows."""

    first: U64
    last: U64


@dataclass(frozen=True, slots=True)
class _Memory:
    """The facts that a program must keep, because nodes forget them."""

    #: digest of the newest parameters that were known as decided; empty: none were
    latest: Annotated[bytes, Prefixed(DIGEST_BYTES)] = b""
    #: windows at whose first block the slot was seen, in order
    watched: Annotated[tuple[_Windows, ...], Many(Row(_Windows), 1 << 16)] = ()
    #: the slot's unsettled content at those windows, in order; the last may still be decided
    seen: Annotated[tuple[_SeenSlot, ...], Many(Record(_SeenSlot), 1 << 16)] = ()

    def note(self, held: _SeenSlot) -> "_Memory":
        """The memory with the slot's content at the windows that follow."""
        watched, seen, before = self.watched, self.seen, held.first - 1
        if watched and watched[-1].last == before:
            watched = (*watched[:-1], replace(watched[-1], last=held.last))
        else:
            watched = (*watched[-_RANGES_MAX:], _Windows(held.first, held.last))
        if seen and seen[-1].last == before and seen[-1].is_same(held):
            seen = (*seen[:-1], replace(seen[-1], last=held.last))
        else:
            seen = (*seen, held)
        return replace(self, watched=watched, seen=seen)

    @property
    def looked(self) -> int:
        """The last window that was watched, -1 before the first."""
        return self.watched[-1].last if self.watched else -1

    def has_missed(self, window: int, first: int) -> bool:
        """Return whether a slot that was first seen at a window may have held the same at an
        earlier one that was not watched."""
        since = self.watched[-1].first if self.watched else 0
        known = any(one.first <= window <= one.last for one in self.watched)
        return window < first == since and not known


class ParameterFollower:
    """Reads the parameters that hold now, and those that will hold later.

    Decisions are taken in order, each from the slot's content at a window's first block. Where one
    cannot be read, no later one is looked at, and the history ends there until it can be read. The
    owner's slot names the network; who amends it, its parameters say (specification, section 0.1).

    Args:
        open_store: opens a locator, which is untrusted: this function decides what is allowed.
        folder: keeps fetched parameters, the files of problems that they need, and decisions, so
            that all are available while the owner's store is not. A network with an amender that
            it has known stays that network, whatever the owner's slot names later.

    Attributes:
        history: the decided parameters.
        pending: announced parameters that are neither decided nor taken back.
        note: what the operator should know of an announcement, or None.

    Raises:
        DiscoveryError: says exactly what is missing.
        ChainError: the chain cannot be read.
    """

    def __init__(
        self, chain: BlockReader, open_store: Callable[[str], ObjectStore], folder: Path
    ) -> None:
        self._chain = chain
        self._open_store = open_store
        self._kept, self._problems = open_folder(folder), folder / "problems"
        self._file = folder / _MEMORY_FILE
        self._memory = _load_memory(self._file)
        self.pending: Parameters | None = None
        self.note: str | None = None
        self._reported: Parameters | None = None
        self._announcer = "owner"
        stored = self._load_kept()
        slot = self._find_first_slot(stored)
        self.history = self._open(slot, stored)
        self._announcer = "amender" if self._has_amender(self.history.all) else "owner"
        if slot is not None:
            for parameters in self.history.all:
                self._fetch_problems(slot.locator, parameters)
        self.look()

    def look(self) -> None:
        """Read the slot in the newest final block, and where decisions fell since the last look.
        Raises DiscoveryError: it names parameters of another network, or none. ChainError: the
        chain cannot be read."""
        before = self._memory
        self._observe()
        self._settle()
        self._memory = replace(self._memory, latest=self.history.latest.digest)
        if self._memory != before:
            with suppress(OSError):  # a full disk stops nothing: memory and chain have the facts
                write_json(self._file, to_json(self._memory))
        if self._has_amender(self.history.all):
            identity = self.history.first.identity
            self._look_ahead(read_amendment(self._chain, identity, self._chain.get_head()))
            return
        try:
            slot = read_announcement(self._chain)
        except DiscoveryError as error:
            raise DiscoveryError(f"these parameters are withdrawn: {error}") from None
        self._look_ahead(slot)

    @staticmethod
    def _has_amender(known: Sequence[Parameters]) -> bool:
        """Return whether a network's parameters name who amends it. No amendment changes that."""
        return bool(known) and known[0].identity.amender != ZERO_DIGEST

    # --- fetching

    def _find_first_slot(self, stored: Sequence[Parameters]) -> Commitment | None:
        """The slot to begin with: the owner's, or the amender's of a network that an earlier run
        knew; None: this amender has announced nothing yet."""
        if self._has_amender(stored):
            return read_amendment(self._chain, stored[0].identity, self._chain.get_head())
        return read_announcement(self._chain)

    def _open(self, slot: Commitment | None, stored: list[Parameters]) -> ParameterHistory:
        """The history that an earlier run knew, unless the slot now names another network; else the
        first parameters of the network that the slot names."""
        if slot is None:
            return make_history(stored)
        path: list[Parameters] = []
        try:
            path = self._fetch_path(slot.digest, slot.locator, {p.digest for p in stored})
        except DiscoveryError:
            if not stored:  # a recent announcement may be unavailable, and older ones not
                path = self._fetch_earlier_path()
            if not stored and not path:
                raise
        if path and path[0].start.predecessor == ZERO_DIGEST:
            stored, self._memory = path[:1], _Memory()
        fault = find_parameters_fault(stored[0]) or find_mismatch(self._chain, stored[0])
        if fault is not None:  # the slot can name another network's parameters
            raise DiscoveryError(f"the owner of subnet {self._chain.netuid} has published {fault}")
        return make_history(stored)

    def _load_kept(self) -> list[Parameters]:
        """The newest parameters that an earlier run saw decided, after all their predecessors."""
        try:
            latest = self._memory.latest or ZERO_DIGEST
            return fetch_predecessors(partial(fetch_parameters, self._kept), latest)
        except UnavailableError:
            return []

    def _fetch_earlier_path(self) -> list[Parameters]:
        """The newest available parameters of the slot in blocks that nodes remember."""
        self._memory = _Memory()
        head, step = self._chain.get_head(), STATE_BLOCKS // 16
        for number in range(head, max(0, head - STATE_BLOCKS), -step):
            with suppress(DiscoveryError, ForgottenError):
                slot = read_announcement(self._chain, number)
                return self._fetch_path(slot.digest, slot.locator, ())
        return []

    def _fetch_path(self, digest: bytes, locator: str, known: Container[bytes]) -> list[Parameters]:
        """Parameters and all their unknown predecessors, oldest first."""
        try:
            return fetch_predecessors(partial(self._fetch, locator), digest, known)
        except UnavailableError as error:
            raise DiscoveryError(f"parameters {digest.hex()[:16]}…: {error}") from None

    def _fetch(self, locator: str, digest: bytes) -> Parameters:
        with suppress(UnavailableError):
            return fetch_unchecked(self._kept, digest)
        try:
            parameters = fetch_unchecked(self._open_store(locator), digest)
        except (StoreError, UnavailableError) as error:
            raise DiscoveryError(
                f"cannot fetch parameters {digest.hex()[:16]}… of subnet {self._chain.netuid} "
                f"from its {self._announcer}'s store {locator!r}: {error}"
            ) from error
        with suppress(StoreError):  # they are fetched again
            publish_parameters(self._kept, parameters)
        return parameters

    def _fetch_problems(self, locator: str, parameters: Parameters) -> str | None:
        """Get the files of problems that the parameters need. Return why one could not be had."""
        open_store = partial(self._open_store, locator)
        try:
            fetch_all_problems(open_store, self._problems, parameters)
        except (StoreError, UnavailableError, OSError) as error:
            return str(error)
        return None

    def _find_lack(self, locator: str, parameters: Parameters) -> str | None:
        """The reason why this program could not work by these parameters."""
        missed = self._fetch_problems(locator, parameters)
        try:
            open_environment(parameters.environment)
        except ValueError as error:
            why = f"{error}; {missed}" if missed else str(error)
            return f"{_name(parameters)} need more than this program has: {why}"
        return None

    # --- decisions

    def _observe(self) -> None:
        """Note the slot's content at the first block of each window since the last look."""
        memory, timing, head = self._memory, self.history.first.timing, self._chain.get_head()
        remembered = compute_window(timing, max(0, head - STATE_BLOCKS - 1) + timing.window_blocks)
        first = max(memory.looked + 1, remembered if head > STATE_BLOCKS else 0)
        last = compute_window(timing, head)
        start = None
        while first <= last and start is None:
            try:
                start = self._read(first)
            except ForgottenError:  # this node remembers fewer blocks
                first += 1
        if start is not None:
            end = start if first == last else self._read(last)
            for held in self._read_between(start, end):
                self._memory = self._memory.note(held)

    def _read(self, window: int) -> _SeenSlot:
        """The slot's content at a window's first block."""
        first = self.history.first
        slot = read_amendment(self._chain, first.identity, window * first.timing.window_blocks)
        if slot is None:
            return _SeenSlot(b"", 0, "", window, window)
        return _SeenSlot(slot.digest, slot.number, slot.locator, window, window)

    def _read_between(self, start: _SeenSlot, end: _SeenSlot) -> list[_SeenSlot]:
        """The slot's content at all windows between two, in ranges. Content that is equal at both
        ends is taken as constant between them, because reading state is slow."""
        if start.is_same(end):
            return [replace(start, last=end.last)]
        if end.first - start.last == 1:
            return [start, end]
        middle = self._read((start.last + end.first) // 2)
        left, right = self._read_between(start, middle), self._read_between(middle, end)
        return [*left[:-1], replace(left[-1], last=right[0].last), *right[1:]]

    def _settle(self) -> None:
        """Take decisions as far as they can be read."""
        history, unread = self.history, None
        while self._memory.seen:
            first, *later = self._memory.seen
            unread = self._take(first)
            if unread is not None or not later:
                break  # a later window may still decide the last one
            self._memory = replace(self._memory, seen=tuple(later))
        if unread is not None:
            history.stop_at(*unread)
        else:
            history.end = history.problem = None

    def _take(self, one: _SeenSlot) -> tuple[int, str] | None:
        """Add the parameters that a slot's content decided. Return None, or for unreadable
        parameters their first window and the reason. A void decision adds nothing."""
        history, digest = self.history, one.digest
        known = {parameters.digest for parameters in history.all}
        latest = history.latest
        decided_at = max(0, one.number - latest.timing.notice_windows)
        soonest = latest.start.window + latest.timing.notice_windows
        # for decisions before its first view of the chain, this program trusts the announcer
        has_missed = self._memory.has_missed(decided_at, one.first)
        if not digest or digest in known or one.number < soonest:
            return None
        if not (one.first <= decided_at <= one.last or has_missed):
            return None
        try:
            path = self._fetch_path(digest, one.locator, known)
        except DiscoveryError as error:
            return one.number, str(error)
        for parameters in path:
            fault = _find_fault(history.latest, parameters)
            if fault is None and not has_missed and parameters.start.window != one.number:
                fault = "its slot names another window"
            if fault is not None or (not has_missed and len(path) > 1):
                return None
            missing = self._find_lack(one.locator, parameters)
            if missing is not None:
                return parameters.start.window, missing
            history.add(parameters)
            name, window = _name(parameters), parameters.start.window
            logger.info(
                "%s apply from window %d on", name, window, extra={"event": "parameters_decided"}
            )
        return None

    # --- announcements

    def _look_ahead(self, slot: Commitment | None) -> None:
        history, latest = self.history, self.history.latest
        self.pending = self.note = None
        if history.end is not None:
            self.note = f"this program stops before window {history.end}: {history.problem}"
            return
        if slot is None or slot.digest in {parameters.digest for parameters in history.all}:
            return
        is_late = slot.number - latest.timing.notice_windows <= self._memory.looked
        delay = f"they were not in the {self._announcer}'s slot when that was decided"
        try:
            parameters = self._fetch(slot.locator, slot.digest)
        except DiscoveryError as error:
            if not slot.number:
                self._refuse_network(slot)
            self.note = f"{error}; they would apply from window {slot.number} on"
            if is_late:
                self.note = f"nobody follows the announced parameters: {delay}"
            return
        if parameters.start.predecessor == ZERO_DIGEST:
            self._refuse_network(slot)
        fault = _find_fault(latest, parameters)
        if fault is None and slot.number != parameters.start.window:
            fault = f"they start with window {parameters.start.window}, and the slot says "
            fault += str(slot.number)
        if fault is None and is_late:
            fault = delay
        if fault is not None:
            name = _name(parameters)
            self.note = f"nobody follows the announced {name}: {fault}"
            return
        self.pending, self.note = parameters, self._find_lack(slot.locator, parameters)
        if parameters != self._reported:
            description = AnnouncedParameters(parameters, latest, is_decided=False).describe()
            logger.info(
                "announced: parameters %s", description, extra={"event": "parameters_announced"}
            )
        self._reported = parameters

    def _refuse_network(self, slot: Commitment) -> NoReturn:
        raise DiscoveryError(
            f"the {self._announcer} of subnet {self._chain.netuid} has published other parameters, "
            f"{slot.digest.hex()[:16]}…, which do not follow "
            f"{self.history.latest.digest.hex()[:16]}…: it is another network; start again to "
            "join it"
        )


def _find_fault(latest: Parameters, parameters: Parameters) -> str | None:
    """The reason why parameters cannot follow the latest ones, for anybody."""
    return find_parameters_fault(parameters) or find_amendment_fault(latest, parameters)


def _name(parameters: Parameters) -> str:
    return f"parameters {parameters.digest.hex()[:16]}…"


def _load_memory(file: Path) -> _Memory:
    """The memory of an earlier run. Empty where the file is damaged: the chain has the same facts,
    as far as nodes remember."""
    try:
        return from_json(_Memory, read_json(file.read_bytes()))
    except (OSError, EncodingError):
        return _Memory()
