"""The parts read of a miner's file, with their places, as bundles and mirrors store them.

Every reader checks them against the root on chain again. An unreadable part is stored as its
refusal.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from assay.network.store import StoreError
from assay.protocol import Parameters, Reason, Refusal
from assay.protocol.encoding import (
    U32,
    U64,
    Choice,
    Digest,
    EncodingError,
    Many,
    Maybe,
    Prefixed,
    Record,
    decode,
    encode,
)
from assay.protocol.errors import OperatorError
from assay.protocol.submission import Range, get_opening_bytes
from assay.verification import SubmissionReader, get_part_limits

logger = logging.getLogger("assay")

_T = TypeVar("_T")
#: Most parts of one file, and most bytes of one part.
_PARTS_MAX, _PART_BYTES = 1 << 20, 1 << 30


class PackError(OperatorError):
    """The pack of a submission cannot be used."""


class MissingPartError(PackError):
    """The pack lacks a requested part: it was made for other facts."""


@dataclass(frozen=True, slots=True)
class PackedRefusal:
    reason: Annotated[Reason, Choice(Reason, "a reason")]
    detail: Annotated[str, Prefixed(4_096, text=True)]


@dataclass(frozen=True, slots=True)
class PackedPart:
    """Bytes of the file, or the reason why they were unavailable."""

    start: U64
    size: U32
    data: Annotated[bytes | None, Maybe(Prefixed(_PART_BYTES))]
    refusal: Annotated[PackedRefusal | None, Maybe(Record(PackedRefusal))]


@dataclass(frozen=True, slots=True)
class PackedSubmission:
    """All parts that an audit requests of a file, in the order of the requests."""

    hotkey: Digest
    parts: Annotated[tuple[PackedPart, ...], Many(Record(PackedPart), _PARTS_MAX)]

    @property
    def is_whole(self) -> bool:
        """Return whether none of the requested parts was refused."""
        return bool(self.parts) and all(part.refusal is None for part in self.parts)


class RecordingReader:
    """Reads through another reader, and keeps the bytes. An unreadable store shows nothing."""

    def __init__(self, reader: SubmissionReader) -> None:
        self._reader = reader
        self._parts: dict[Range, PackedPart] = {}

    def read(self, part: Range, parse: Callable[[bytes], _T | Refusal]) -> _T | Refusal:
        shown = b""

        def keep(data: bytes) -> _T | Refusal:
            nonlocal shown
            shown = data
            return parse(data)

        try:
            found = self._reader.read(part, keep)
        except StoreError as error:
            found = Refusal(Reason.NOT_REVEALED, explain_unread(error), unbound=True)
        if isinstance(found, Refusal) and found.unbound:
            packed = PackedPart(part.start, part.size, None, _pack_refusal(found))
        else:
            packed = PackedPart(part.start, part.size, shown, None)
        self._parts[part] = packed
        return found

    def pack(self, hotkey: bytes) -> PackedSubmission | None:
        """The requested parts, or None if there were none."""
        return PackedSubmission(hotkey, tuple(self._parts.values())) if self._parts else None


class PackedReader:
    def __init__(self, packed: PackedSubmission) -> None:
        self.packed = packed
        self._parts = {Range(part.start, part.size): part for part in packed.parts}

    def read(self, part: Range, parse: Callable[[bytes], _T | Refusal]) -> _T | Refusal:
        """See `SubmissionReader`. Raises MissingPartError."""
        found = self._parts.get(part)
        if found is None or (found.data is None and found.refusal is None):
            text = (
                f"the pack holds no bytes {part.start} to {part.end}: it was made for other facts"
            )
            raise MissingPartError(text)
        if found.data is None:
            assert found.refusal is not None
            return Refusal(found.refusal.reason, found.refusal.detail, unbound=True)
        if len(found.data) != part.size:
            raise PackError(f"the pack holds {len(found.data)} bytes where {part.size} were read")
        return parse(found.data)


def explain_unread(error: StoreError) -> str:
    """The public reason why a file is not revealed. The operator's log has all details."""
    logger.debug("a file cannot be read: %s", error, extra={"event": "file_unread"})
    return f"the file cannot be read from its store: {error.public}"


def _pack_refusal(refusal: Refusal) -> PackedRefusal:
    return PackedRefusal(refusal.reason, refusal.detail[:1_024])


def measure_pack(packed: PackedSubmission) -> int:
    """Approximate bytes of memory of a pack; at most `compute_pack_max`."""
    return sum(
        len(part.data or b"") + (0 if part.refusal is None else len(part.refusal.detail))
        for part in packed.parts
    )


def encode_pack(packed: PackedSubmission) -> bytes:
    return encode(packed)


def compute_pack_max(parameters: Parameters) -> int:
    """Most bytes of a pack: the parts that an audit requests of an honest file."""
    work = parameters.work
    limits = get_part_limits(work)
    heads = (work.audited_rollouts + work.sampled_rollouts) * (limits.head + 8_192)
    ids = work.valued_groups * limits.ids
    records = work.audited_rollouts + work.sampled_rollouts
    rest = records * (limits.ids + limits.proofs) // work.group_size
    return (1 << 20) + get_opening_bytes(work.group_cap) + heads + ids + rest


def decode_pack(data: bytes) -> PackedSubmission:
    """The pack of a file's bytes. Raises PackError: they are not a pack."""
    try:
        return decode(PackedSubmission, data)
    except EncodingError as error:
        raise PackError(f"the pack of a submission is damaged: {error}") from None
