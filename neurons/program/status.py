"""A program's state, as it writes it to `status.json` every few seconds: what all programs have.

The document is for `assay status`, for the explorer and for an operator's own scripts. It is
written atomically, with the version of its shape, see `artifacts.status`.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assay.artifacts.status.miner import DraftingStatus
from assay.artifacts.status.program import (
    BeaconStatus,
    CheckpointStatus,
    CountdownStatus,
    FetchingStatus,
    LoopStatus,
    NetworkStatus,
    RelayStatus,
    WorkerStatus,
)
from assay.protocol.errors import Trouble
from assay.protocol.ss58 import encode_ss58

if TYPE_CHECKING:
    from assay.artifacts.checkpoints.folder import CheckpointFolder
    from assay.inference.generate import DraftCount
    from assay.inference.workers.pool import WorkerPool
    from assay.network.beacon import HttpBeacons, RoundSource
    from assay.protocol.parameters import Parameters, Timing
    from assay.protocol.window import Block

#: Version of the document's shape. It grows when a field goes or changes, not when one is added.
STATUS_VERSION = 1
#: Most rows of each list.
SHOWN = 16


@dataclass(slots=True)
class ChainStatus:
    """A program's view of the chain."""

    head: "Block | None" = None  # the newest finalized block; None before the first look
    best: int | None = None  # number of the newest block, final or not, where the node says so
    in_force: bytes | None = None  # digest of the checkpoint of the window at the head
    #: digest and number of the trainer's newest checkpoint
    published: tuple[bytes, int] | None = None
    published_since: float | None = None  # Unix seconds when that was first seen


def describe_program(
    program: str,
    software: str,
    hotkey: bytes,
    parameters: "Parameters",
    checkpoints: "CheckpointFolder",
    beacons: "HttpBeacons | None",
    seen: ChainStatus,
) -> NetworkStatus:
    """The fields that are common to all programs, without those of `describe_loop`.

    Args:
        beacons: None where the program makes its own beacons.
    """
    from assay.protocol.window import compute_window

    timing = parameters.timing
    head = 0 if seen.head is None else seen.head.number
    window, published = compute_window(timing, head), seen.published
    return {
        "version": STATUS_VERSION,
        "program": program,
        "software": software,
        "netuid": parameters.identity.netuid,
        "parameters": parameters.digest.hex(),
        "hotkey": encode_ss58(hotkey),
        "head": head,
        "head_at": None if seen.head is None else seen.head.timestamp_ms / 1_000,
        "best": seen.best,
        "window_now": window,
        "countdown": describe_countdown(timing, window, head),
        "checkpoint": None
        if seen.in_force is None
        else CheckpointStatus(
            digest=seen.in_force.hex(), number=checkpoints.find_number(seen.in_force)
        ),
        "published": None
        if published is None
        else CheckpointStatus(digest=published[0].hex(), number=published[1]),
        "published_since": seen.published_since,
        "fetching": [
            FetchingStatus(checkpoint=download.digest.hex(), bytes=download.done, of=download.due)
            for download in checkpoints.downloads
        ],
        "beacon": BeaconStatus(
            chain=parameters.beacon.chain_hash.hex(),
            trouble=None if beacons is None else beacons.trouble or None,
            relays=[] if beacons is None else [_describe_relay(relay) for relay in beacons.figures],
        ),
    }


def describe_drafting(count: "DraftCount", seconds: float, ahead: int | None) -> DraftingStatus:
    """The status of a step that took this many seconds."""
    kept_count = count.drafted - count.discarded
    return DraftingStatus(
        tokens=count.submitted,
        rollouts=count.rollouts,
        turns=count.turns,
        replies=count.replies,
        broken=count.broken,
        seconds=round(seconds, 3),
        kept=round(kept_count / count.drafted, 4) if count.drafted else None,
        ahead=ahead,
        drafting_seconds=round(count.drafting_s, 3),
        reading_seconds=round(count.reading_s, 3),
    )


def describe_loop(
    state: str, started_at: int, trouble: Trouble | None, counts: dict[str, dict[str, float]]
) -> LoopStatus:
    """The time of writing, the process and its state, its trouble and its counters."""
    return {
        "state": state,
        "pid": os.getpid(),
        "started_at": started_at,
        "at": int(time.time()),
        "trouble": None if trouble is None else trouble.text,
        "trouble_kind": None if trouble is None else trouble.kind.value,
        "counts": counts,
    }


def describe_workers(pool: "WorkerPool | None") -> list[WorkerStatus]:
    """The workers that judge; none if the program judges by itself."""
    return (
        []
        if pool is None
        else [
            WorkerStatus(
                device=one.device, host=one.host, pid=one.pid, lost=one.lost, lack=one.fault
            )
            for one in pool.describe()
        ]
    )


def _describe_relay(relay: "RoundSource") -> RelayStatus:
    return RelayStatus(
        name=relay.name,
        pace_seconds=None if relay.pace_s is None else round(relay.pace_s, 3),
        won=relay.won,
        failed=relay.failed,
        lied=relay.lied,
    )


def describe_countdown(timing: "Timing", window: int, head: int) -> CountdownStatus:
    """The position of a window at a block."""
    from assay.protocol.window import Phase, compute_block

    moments = [phase for phase in Phase if phase is not Phase.CHECKPOINT]  # in order
    blocks = {phase: compute_block(timing, window, phase) for phase in moments}
    phases = [phase for phase, block in blocks.items() if block <= head]
    due = next((phase for phase, block in blocks.items() if block > head), None)
    left = None if due is None else blocks[due] - head
    return CountdownStatus(
        phase=(phases[-1] if phases else Phase.CHECKPOINT).name,
        next=None if due is None else due.name,
        block=None if due is None else blocks[due],
        blocks=left,
        seconds=None if left is None else left * timing.slot_ms / 1_000,
    )
