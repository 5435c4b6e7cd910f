"""The parts read of a miner's file, with their places, as bundles and mirrors store them.

Every reader checks them against the root on chain again. An unreadable part is stored as its
refusal. Specification, section 13.
"""

from dataclasses import dataclass
from typing import Annotated

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
from assay.protocol.reason import WITHHELD, Reason, Refusal
from assay.protocol.submission import Range

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


class PackedParts:
    """The parts of a pack, by their places."""

    def __init__(self, packed: PackedSubmission) -> None:
        self._parts = {Range(part.start, part.size): part for part in packed.parts}

    def read(self, part: Range) -> bytes | Refusal:
        """A part's bytes, or the unbound refusal with which it was stored. Raises MissingPartError,
        PackError."""
        packed = self._parts.get(part)
        if packed is None or (packed.data is None and packed.refusal is None):
            text = (
                f"the pack holds no bytes {part.start} to {part.end}: it was made for other facts"
            )
            raise MissingPartError(text)
        if packed.data is None:
            assert packed.refusal is not None
            return Refusal(packed.refusal.reason, packed.refusal.detail, unbound=True)
        if len(packed.data) != part.size:
            raise PackError(f"the pack holds {len(packed.data)} bytes where {part.size} were read")
        return packed.data


def encode_pack(packed: PackedSubmission) -> bytes:
    return encode(packed)


def decode_pack(data: bytes) -> PackedSubmission:
    """The pack of a file's bytes. Raises PackError: they are not a pack, or it refuses a part for a
    reason that is none for missing bytes."""
    try:
        packed = decode(PackedSubmission, data)
    except EncodingError as error:
        raise PackError(f"the pack of a submission is damaged: {error}") from None
    for part in packed.parts:
        if part.refusal is not None and part.refusal.reason not in WITHHELD:
            raise PackError(f"the pack of a submission lacks bytes for {part.refusal.reason}")
    return packed
