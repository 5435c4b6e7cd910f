"""The time that a miner has in a window."""

from math import ceil

from assay.protocol.parameters import Timing


def compute_window_seconds(timing: Timing, commit_margin: int) -> float:
    """Time for a window's groups: from its beacon to the sending of its commitment, but at most a
    window's length, since the next one begins meanwhile."""
    wait = ceil((timing.slot_ms + timing.beacon_delay_ms) / timing.slot_ms)
    blocks = min(timing.window_blocks, timing.commit_offset - commit_margin - wait)
    return max(0, blocks) * timing.slot_ms / 1_000
