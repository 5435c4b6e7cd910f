"""How a program stands, as it writes it to `status.json` every few seconds.

The document is for `assay status`, for the explorer and for an operator's own scripts: written
whole or not at all, with the version of its shape. docs/status.md is printed from the types here
and in `neurons.validating.status`.
Times are Unix seconds, hotkeys SS58, digests hex, blocks those of the finalized chain.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from assay.network.beacon import HttpBeacons, RoundSource
from assay.protocol import Block, Parameters, Phase, encode_ss58
from assay.protocol.parameters import Timing
from assay.protocol.window import compute_block, compute_window

if TYPE_CHECKING:  # a localnet needs no model in memory
    from assay.artifacts.checkpoints.checkpoint_folder import CheckpointFolder
    from assay.drafting import MinerEngines
    from assay.inference import DraftCount

#: Of the document's shape: it grows when a field goes or changes its meaning, not when one comes.
STATUS_VERSION = 1
#: What `state` says.
RUNNING, STOPPED = "running", "stopped"
#: Rows of each kind.
SHOWN = 16
#: Moments of a window after its first block, in order.
_MOMENTS = tuple(phase for phase in Phase if phase is not Phase.CHECKPOINT)


class CountdownStatus(TypedDict):
    """Where a window is between its moments (specification, section 2)."""

    phase: str  # the newest moment that has come, from CHALLENGE to VERDICT_END
    next: str | None  # the one to come; null after VERDICT_END
    block: int | None  # its block
    blocks: int | None  # blocks until then
    seconds: float | None  # the same by the chain's slot


class CheckpointStatus(TypedDict):
    """A checkpoint as the program knows it."""

    digest: str
    number: int | None  # steps from the genesis; null where it was not opened here yet


class FetchingStatus(TypedDict):
    """A checkpoint on its way."""

    checkpoint: str  # digest
    bytes: int  # of tensors, here so far
    of: int  # due


class RelayStatus(TypedDict):
    """A relay of the beacon chain, since the program started."""

    name: str  # host and port
    pace_seconds: float | None  # moving average until a beacon is there if it is asked first
    won: int  # races in which its verified beacon came first
    failed: int  # answers that were errors, broken, or none in time
    lied: int  # answers that were well-formed and false


class BeaconStatus(TypedDict):
    """The beacon chain, and how it is reached."""

    chain: str  # hash
    trouble: str | None  # why the round asked for last is not there
    relays: list[RelayStatus]  # empty where the beacons are the program's own


class ProgramStatus(TypedDict):
    """What every program's document has."""

    version: int  # of this shape: 1
    program: str  # miner, validator or trainer
    software: str  # name and version
    state: str  # running, or stopped: as asked; a killed program leaves what it wrote last
    pid: int
    started_at: int
    at: int  # when this was written: a running program does so at least every ten seconds
    netuid: int
    parameters: str  # digest of the network's rules
    hotkey: str
    head: int  # newest finalized block seen
    head_at: float | None  # its timestamp; null before the first
    best: int | None  # newest block that the node knows, final or not; null where it says nothing
    window_now: int  # the window of `head`
    countdown: CountdownStatus  # of that window
    checkpoint: CheckpointStatus | None  # in force in that window
    published: CheckpointStatus | None  # the newest that the trainer has committed to
    published_since: float | None  # when this program first saw it
    fetching: list[FetchingStatus]
    beacon: BeaconStatus
    trouble: str | None  # what a person should know or mend; null while all is well
    counts: dict[str, dict[str, float]]  # sums since the start, by label: docs/metrics.md


class UploadStatus(TypedDict):
    """A miner's file on its way into its store."""

    window: int
    bytes: int  # of this try, that the connection has taken
    of: int  # bytes of the file
    tries: int  # begun, each of which sends all of it
    done: bool  # the store has it


class DraftingStatus(TypedDict):
    """What a miner's newest step of generating took."""

    tokens: int  # of its finished groups
    seconds: float
    kept: float | None  # share of the drafted tokens that the reference kept; null: none drafted
    ahead: int | None  # tokens that a draft goes ahead of the reference; null: whole drafts
    drafting_seconds: float
    reading_seconds: float  # of the reference; with engines both at once


class EngineStatus(TypedDict):
    """A server that drafts for a miner."""

    url: str
    state: str  # new: not tried yet; starting; drafting; left
    lack: str | None  # why it does not draft; null while it does
    kept: float | None  # share of its newest drafted tokens that the reference kept; null: none


class MinerStatus(TypedDict):
    """What a miner's has besides."""

    at_work: dict[str, int] | None  # window, and groups of it that are done
    drafting: DraftingStatus | None  # null before the first step
    engines: list[EngineStatus]  # empty where the program drafts by itself
    upload: UploadStatus | None  # of the newest file since the program started
    windows: list[dict[str, Any]]  # the newest 16: work, commitment, own verdict, pay


class WorkerStatus(TypedDict):
    """A worker that judges."""

    device: str  # as the operator names it
    host: str | None  # null before it has started
    pid: int | None  # likewise
    lost: int  # times that it was started anew since the program's start
    lack: str | None  # why it is left out; null while it works


class PaceStatus(TypedDict):
    """What a trainer's time goes into, and what holds it back: docs/owner.md."""

    windows: int  # the last ones that it is done with, since it started: 8 at most
    judging_seconds: float  # of its own process in these; with workers, waiting for them
    learning_seconds: float
    publishing_seconds: float  # trying, writing, uploading and committing to checkpoints
    waiting_seconds: float  # for windows and files
    holds_back: str  # judging, learning, publishing, too few groups, or skipped for age
    groups_came: float  # a window, of the miners' and good
    groups_usable: int | None  # a window, that a step could use; null before the first lesson
    tokens_per_second: float | None  # of learning, those of every pass counted


class TrainerStatus(TypedDict):
    """What a trainer's has besides."""

    window: int | None  # learned from next
    lessons: list[dict[str, Any]]  # the newest 16
    alarm: str | None  # what has diverged
    held_out: list[dict[str, Any]]  # checkpoints tried on held-out problems, the newest 16
    pace: PaceStatus | None  # null before the first window is done with
    workers: list[WorkerStatus]  # empty where the program judges by itself


class DemoStatus(TypedDict):
    """What a demo's has besides: the rest of it is its validator's."""

    stage: str  # what the demo is at; done at the end
    demo: dict[str, Any]  # its miners, lessons and accuracy, for `assay status`


@dataclass(slots=True)
class ChainStatus:
    """What a program has seen of the chain."""

    head: Block | None = None  # the newest finalized block; None before the first look
    best: int | None = None  # number of the newest block, final or not, where the node says so
    in_force: bytes | None = None  # digest of the checkpoint of the window at the head
    #: digest and number of the trainer's newest checkpoint
    published: tuple[bytes, int] | None = None
    published_since: float | None = None  # Unix seconds when that was first seen


def describe_program(
    program: str,
    software: str,
    hotkey: bytes,
    parameters: Parameters,
    checkpoints: "CheckpointFolder",
    beacons: HttpBeacons | None,
    seen: ChainStatus,
) -> dict[str, Any]:
    """What is known of any program; `describe_self` and what troubles it are added.

    Args:
        beacons: None where the program has its own chain of them.

    Returns:
        a `ProgramStatus` but for those fields.
    """
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
    """A step of so many seconds."""
    kept = count.drafted - count.discarded
    return DraftingStatus(
        tokens=count.submitted,
        seconds=round(seconds, 3),
        kept=round(kept / count.drafted, 4) if count.drafted else None,
        ahead=ahead,
        drafting_seconds=round(count.drafting_s, 3),
        reading_seconds=round(count.reading_s, 3),
    )


def describe_engines(engines: "MinerEngines | None") -> list[EngineStatus]:
    """A miner's, where it has some."""
    if engines is None:
        return []
    engines.look()
    return [
        EngineStatus(
            url=e.url, state=e.state, lack=e.lack, kept=e.kept / e.drafted if e.drafted else None
        )
        for e in engines.engines
    ]


def describe_self(state: str, started_at: int) -> dict[str, Any]:
    """When the document is written, by which process, in which state."""
    return {"state": state, "pid": os.getpid(), "started_at": started_at, "at": int(time.time())}


def _describe_relay(relay: RoundSource) -> RelayStatus:
    return RelayStatus(
        name=relay.name,
        pace_seconds=None if relay.pace_s is None else round(relay.pace_s, 3),
        won=relay.won,
        failed=relay.failed,
        lied=relay.lied,
    )


def describe_countdown(timing: Timing, window: int, head: int) -> CountdownStatus:
    """Where a window is at a block."""
    blocks = {phase: compute_block(timing, window, phase) for phase in _MOMENTS}
    came = [phase for phase, block in blocks.items() if block <= head]
    due = next((phase for phase, block in blocks.items() if block > head), None)
    left = None if due is None else blocks[due] - head
    return CountdownStatus(
        phase=(came[-1] if came else Phase.CHECKPOINT).name,
        next=None if due is None else due.name,
        block=None if due is None else blocks[due],
        blocks=left,
        seconds=None if left is None else left * timing.slot_ms / 1_000,
    )
