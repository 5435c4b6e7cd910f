"""A trainer's claim about a round's result, and the children that it was merged from.

A merged checkpoint's manifest names the digest of its merge record, as any other names a step's.
Specification, section 11.1. A record does not know whether it is true.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Annotated

from assay.protocol.encoding import U16, U64, Choice, Digest, FixedBytes, Many, Record, encode
from assay.protocol.hashing import Domain, hash_fields
from assay.protocol.manifest import LEVELS_MAX, HeldOutCounts, LevelSuccess
from assay.protocol.parameters import TRAINERS_MAX
from assay.protocol.record import Software

ROUND_VERSION = 2
#: Most pieces that a child's difference crosses the wire in.
PIECES_MAX = 1 << 12
#: Steps of a child: one a window.
STEPS_MAX = 1 << 16


class ChildFinding(Enum):
    """The fate of a trainer's child in a merge."""

    TAKEN = "taken"
    ABSENT = "absent"  # its slot had no child at the deadline, or it is equal to its parent
    WITHHELD = "withheld"  # it, or what it names, was not to be had
    MISFIT = "misfit"  # of another version, round, network or model, or not what it says
    STALE = "stale"  # it began elsewhere than at the round's parent
    BROKEN = "broken"  # its steps do not follow from each other
    STRANGE = "strange"  # a step's window, parameters, sources or groups are not its own to use
    DOUBLED = "doubled"  # another child has the same weights
    ENDLESS = "endless"  # a weight is no finite number
    LARGE = "large"  # it went further than the bound


@dataclass(frozen=True)
class ChildRecord:
    """A trainer's round: where it began, its steps, what it made."""

    version: U16  # 2
    parameters: Digest  # of the round's windows
    end: U64  # the first window after the round
    hotkey: Digest  # of the trainer
    before: Digest  # root over the outer state that the child began with
    steps: Annotated[tuple[bytes, ...], Many(FixedBytes(32), STEPS_MAX)]  # step records, in order
    optimiser: Digest  # root over masters, moments and counters after the last step
    masters: Digest  # root over the fp32 masters that the pieces decode to
    pieces: Annotated[tuple[bytes, ...], Many(FixedBytes(32), PIECES_MAX)]  # SHA-256, in order
    state: Digest  # SHA-256 of the file with the trainer's masters and moments
    #: the success of these masters, as a manifest has its parent's; it decides nothing
    held_out: Annotated[HeldOutCounts, Many(Record(LevelSuccess), 3 * LEVELS_MAX)]

    @cached_property
    def digest(self) -> bytes:
        """hash(child, canonical bytes), 32 bytes: the content of its trainer's slot."""
        return hash_fields(Domain.CHILD, encode(self))


@dataclass(frozen=True, slots=True)
class MergedChild:
    """One trainer in a merge."""

    hotkey: Digest
    child: Digest  # the record's digest as on chain at the deadline; zeros: none
    finding: Annotated[ChildFinding, Choice(ChildFinding, "a finding")]


@dataclass(frozen=True)
class MergeRecord:
    """The children that a round was merged from, and the result."""

    version: U16  # 2
    software: Software  # name and version of the software that merged
    parameters: Digest  # of the round's windows
    end: U64  # the first window after the round: the made checkpoint's number
    parent: Digest  # digest of the round's parent
    children: Annotated[tuple[MergedChild, ...], Many(Record(MergedChild), TRAINERS_MAX)]
    outer_before: Digest  # root over masters and velocity that the round began with
    outer_after: Digest  # root over masters and velocity after the merge
    tensors: Digest  # root over the made checkpoint's tensors, as in its manifest
    measurer: Digest  # hotkey that measured the manifest's centre and scale

    @cached_property
    def digest(self) -> bytes:
        """hash(merge, canonical bytes), 32 bytes: what the made checkpoint's manifest names."""
        return hash_fields(Domain.MERGE, encode(self))
