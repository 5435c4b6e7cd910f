"""Commitments on chain: 128 bytes that bind a file, a checkpoint or the parameters.

Specification, section 1.
"""

from dataclasses import dataclass
from enum import Enum

_FIXED_BYTES = 4 + 8 + 4 + 32
LOCATOR_BYTES = 80
COMMITMENT_BYTES = _FIXED_BYTES + LOCATOR_BYTES


class Tag(Enum):
    """The kind of object that a commitment binds."""

    MINER = b"ASM1"
    CHECKPOINT = b"ASC1"
    PARAMETERS = b"ASP1"
    RECORD = b"ASR1"
    CHILD = b"ASK1"


@dataclass(frozen=True, slots=True)
class Commitment:
    """One slot of the chain's commitments."""

    tag: Tag
    #: window of a miner's commitment, first window of parameters, step of a checkpoint's, epoch
    #: block of a record's, first window after a child's round
    number: int
    groups: int  # n, number of groups of a miner's file; 0 where unused
    digest: bytes  # root or digest, 32 bytes
    locator: str  # base URL under which the bytes are found, at most 80 bytes of UTF-8


def encode_commitment(commitment: Commitment) -> bytes:
    """Payload for the chain, at most 128 bytes. Raises a ValueError where the locator is too long,
    or a field out of its bounds."""
    locator = commitment.locator.encode()
    if len(locator) > LOCATOR_BYTES:
        raise ValueError(f"locator has {len(locator)} bytes, more than {LOCATOR_BYTES}")
    if len(commitment.digest) != 32:
        raise ValueError(f"digest has {len(commitment.digest)} bytes, not 32")
    try:
        numbers = commitment.number.to_bytes(8, "big") + commitment.groups.to_bytes(4, "big")
    except OverflowError as error:
        raise ValueError(f"window, step or groups out of bounds: {error}") from None
    return commitment.tag.value + numbers + commitment.digest + locator


def parse_commitment(payload: bytes) -> Commitment | None:
    """The commitment in a stranger's payload, or None where the payload is not one."""
    if not _FIXED_BYTES <= len(payload) <= COMMITMENT_BYTES:
        return None
    try:
        return Commitment(
            tag=Tag(payload[:4]),
            number=int.from_bytes(payload[4:12], "big"),
            groups=int.from_bytes(payload[12:16], "big"),
            digest=payload[16:48],
            locator=payload[48:].decode(),
        )
    except ValueError:  # an unknown tag, or a locator that is not UTF-8
        return None


def make_object_name(hotkey: str, window: int) -> str:
    """The name of a miner's file under its locator. `hotkey` in SS58."""
    return f"{hotkey}/window-{window}.rollouts"
