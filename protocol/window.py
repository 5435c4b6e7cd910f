"""A window's calendar: the decisions of its blocks, and the beacon round that a block names.

Window w is the blocks [w·L, (w+1)·L). Windows overlap: one is audited while the next is generated.
Blocks are those of the finalized chain; the time is a parameter. Specification, section 2.
"""

from dataclasses import dataclass
from enum import Enum

from assay.protocol.beacon import BeaconChain, compute_round_at
from assay.protocol.encoding import U64, Digest
from assay.protocol.parameters import Timing


@dataclass(frozen=True, slots=True)
class Block:
    """A finalized block: the fields that the protocol uses."""

    number: U64
    hash: Digest
    timestamp_ms: U64


class Phase(Enum):
    """A window's moments, in order. The value is its `Timing` field, None for offset 0."""

    CHECKPOINT = "checkpoint_lead"
    CHALLENGE = None
    COMMIT = "commit_offset"
    AUDIT = "audit_offset"
    SAMPLE = "sample_offset"
    FETCH_END = "fetch_end"
    MIRROR_END = "mirror_end"
    VERDICT_END = "verdict_end"


#: What each moment decides. docs/specification.md prints it from here.
WINDOW_SCHEDULE: dict[Phase, str] = {
    Phase.CHECKPOINT: "the trainer's slot in state here decides the checkpoint in force",
    Phase.CHALLENGE: "hash and beacon round give the challenge; the hotkey must hold its uid here",
    Phase.COMMIT: "the commitment is read from state at exactly this block; uid still held",
    Phase.AUDIT: "its beacon round chooses the audited rollouts",
    Phase.SAMPLE: "its beacon round chooses the sampled rollouts",
    Phase.FETCH_END: "last block at which a file may be fetched from its miner",
    Phase.MIRROR_END: "last block at which it may be fetched from a mirror",
    Phase.VERDICT_END: "verdicts are final; the settlement that covers this block counts them",
}


def compute_block(timing: Timing, window: int, phase: Phase) -> int:
    """The number of the block at which `phase` of `window` happens, at least 0."""
    start = window * timing.window_blocks
    if phase is Phase.CHALLENGE:
        return start
    offset: int = getattr(timing, phase.value)
    return max(0, start - offset) if phase is Phase.CHECKPOINT else start + offset


def compute_window(timing: Timing, block: int) -> int:
    """Window to which `block` belongs."""
    return block // timing.window_blocks


def compute_round(timing: Timing, beacon: BeaconChain, timestamp_ms: int) -> int:
    """The beacon round that a block with this timestamp names.

    It is the first round at or after the end of the block's slot plus a delay, so that an author
    who seals late still cannot know it. There is no substitute: callers wait for a missing round.
    """
    slot_end_ms = (timestamp_ms // timing.slot_ms + 1) * timing.slot_ms
    return compute_round_at(beacon, slot_end_ms + timing.beacon_delay_ms)


def compute_settled_windows(timing: Timing, previous_epoch: int, epoch: int) -> range:
    """The windows whose VERDICT_END lies in (previous_epoch, epoch]: they are settled together."""

    def first_after(block: int) -> int:
        return max(0, (block - timing.verdict_end) // timing.window_blocks + 1)

    return range(first_after(previous_epoch), first_after(epoch))
