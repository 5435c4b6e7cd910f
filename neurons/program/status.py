"""A program's state, as it writes it to `status.json` every few seconds.

The document is for `assay status`, for the explorer and for an operator's own scripts. It is
written atomically, with the version of its shape. docs/status.md is printed from the types here and
in `neurons.validator.status`. Times are Unix seconds, hotkeys SS58, digests hex, and
blocks those of the finalized chain.
"""

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from assay.protocol import encode_ss58
from assay.protocol.errors import Trouble

if TYPE_CHECKING:  # `assay status` reads one file of JSON and should load nothing else
    from assay.artifacts.checkpoints.folder import CheckpointFolder
    from assay.inference import DraftCount
    from assay.network.beacon import HttpBeacons, RoundSource
    from assay.protocol import Block, Parameters
    from assay.protocol.parameters import Timing

#: Version of the document's shape. It grows when a field goes or changes, not when one is added.
STATUS_VERSION = 1
#: Values of `state`.
RUNNING, STOPPED = "running", "stopped"
#: Most rows of each list.
SHOWN = 16


class CountdownStatus(TypedDict):
    """The position of a window between its moments (specification, section 2)."""

    phase: str  # the latest moment that has passed, from CHALLENGE to VERDICT_END
    next: str | None  # the next moment; null after VERDICT_END
    block: int | None  # block of the next moment
    blocks: int | None  # blocks until the next moment
    seconds: float | None  # seconds until the next moment, at the chain's block time


class CheckpointStatus(TypedDict):
    """A checkpoint."""

    digest: str
    number: int | None  # steps since the genesis; null before this program has opened it


class FetchingStatus(TypedDict):
    """A checkpoint that is being downloaded."""

    checkpoint: str  # digest
    bytes: int  # bytes of tensors downloaded so far
    of: int  # bytes of tensors to download


class RelayStatus(TypedDict):
    """A relay of the beacon chain, with counts since the program started."""

    name: str  # host and port
    pace_seconds: float | None  # moving average of its time to a beacon when it is asked first
    won: int  # races that its verified beacon won
    failed: int  # errors, broken answers and timeouts
    lied: int  # well-formed but false answers


class BeaconStatus(TypedDict):
    """The beacon chain, and the relays that serve it."""

    chain: str  # the beacon chain's hash
    trouble: str | None  # why the last requested round is missing
    relays: list[RelayStatus]  # empty if the program makes its own beacons


class ProgramStatus(TypedDict):
    """The fields that every program writes."""

    version: int  # version of this shape: 1
    program: str  # miner, validator or trainer
    software: str  # name and version of the software
    state: str  # running, or stopped after a regular exit
    pid: int
    started_at: int
    at: int  # time of writing; a running program writes at least every ten seconds
    netuid: int
    parameters: str  # digest of the network's parameters
    hotkey: str
    head: int  # newest finalized block seen
    head_at: float | None  # timestamp of `head`; null before the first block
    best: int | None  # newest block of the node, final or not; null if the node does not say
    window_now: int  # window of `head`
    countdown: CountdownStatus  # position in that window
    checkpoint: CheckpointStatus | None  # checkpoint in force in that window
    published: CheckpointStatus | None  # newest checkpoint that the trainer has committed to
    published_since: float | None  # when this program first saw that commitment
    fetching: list[FetchingStatus]  # downloads in progress
    beacon: BeaconStatus
    trouble: str | None  # a problem that a person should know about or fix; null: none
    #: what it is about: chain, store, beacon, checkpoint, weights, … or other; null: no trouble
    trouble_kind: str | None
    counts: dict[str, dict[str, float]]  # counters since the start, by label: see docs/metrics.md


class UploadStatus(TypedDict):
    """The upload of a miner's file to its store."""

    window: int
    bytes: int  # bytes that the store already had, or that this attempt has sent
    of: int  # bytes of the file
    tries: int  # attempts for this file, the current one included
    done: bool  # whether the store has the whole file


class DraftingStatus(TypedDict):
    """The cost of a miner's newest batch of groups."""

    tokens: int  # completion tokens of its finished groups
    rollouts: int  # of these groups
    turns: int  # of these rollouts
    replies: int  # tokens that worlds replied in them
    broken: int  # of these rollouts, ended by the sandbox in which their world runs
    seconds: float
    kept: float | None  # share of the drafted tokens that the reference kept; null: no drafts
    ahead: int | None  # tokens by which drafts run ahead of the reference; null: whole drafts
    drafting_seconds: float
    reading_seconds: float  # of the reference; overlaps with drafting if it follows drafts


class SpeedStatus(TypedDict):
    """A miner's speed by its newest 16 steps, those of earlier windows included."""

    step: int  # groups of the newest step, generated together
    made: int  # of these, finished before time was up
    seconds: float  # of that step
    tokens_per_second: float | None  # of whole steps; null: none was finished yet
    #: seconds for a window's groups: from its beacon to the sending of its commitment, without
    #: `upload_seconds`
    window_seconds: float
    upload_seconds: float  # kept for the upload: the longest of the newest 4, at most half a window
    fits: int | None  # groups that fit into these seconds; null: no step was finished yet


class EngineStatus(TypedDict):
    """A server that drafts for a miner."""

    url: str
    state: str  # new (not asked yet), starting, drafting, or left (not asked for a while)
    lack: str | None  # why it does not draft; null while it drafts
    kept: float | None  # share of its newest drafts that the reference kept; null: no drafts


class MinerStatus(TypedDict):
    """The further fields of a miner."""

    at_work: dict[str, int] | None  # the current window, and its finished groups
    drafting: DraftingStatus | None  # null before the first batch
    speed: SpeedStatus | None  # null before the first batch of the first window
    engines: list[EngineStatus]  # empty if the program drafts by itself
    upload: UploadStatus | None  # the newest upload since the program started
    windows: list[dict[str, Any]]  # the newest 16: work, commitment, own verdict, pay


class WorkerStatus(TypedDict):
    """A worker process that judges."""

    device: str  # as in the settings
    host: str | None  # null before it has started
    pid: int | None  # null before it has started
    lost: int  # restarts of this worker since the program started
    lack: str | None  # why it is left out; null while it works


class PaceStatus(TypedDict):
    """A trainer's use of its time, and its bottleneck: see docs/owner.md."""

    windows: int  # the windows counted here: the last 8 finished since the start, or fewer
    judging_seconds: float  # time spent judging; with workers, waiting for them
    learning_seconds: float
    publishing_seconds: float  # time to test, write, upload and commit to checkpoints
    waiting_seconds: float  # time spent waiting for windows and files
    #: bottleneck: judging, learning, publishing, too few groups, skipped for age, no signal
    holds_back: str
    groups_came: float  # miners' accepted groups per window, mean
    groups_usable: int | None  # groups per window that a step can use; null before the first step
    tokens_per_second: float | None  # tokens of all learning passes per second of learning


class CourseStatus(TypedDict):
    """What a trainer's course does: see docs/owner.md."""

    state: str  # begins, learns, is flat, falls, is starved, collapses
    sentence: str  # all of it in one line
    windows: int  # windows that it follows from
    rules: dict[str, bool]  # each rule by name, and whether it holds
    figure: str | None  # the figure of the first rule that holds; null: none holds
    value: float | None  # its value
    threshold: float | None  # the threshold that it is beyond
    help: str | None  # what helps


class PoolStatus(TypedDict):
    """How diverse the newest checkpoint's pool of proposals is: see docs/environments.md."""

    proposals: int  # pieces in it
    shapes: int  # different functions among them, texts and numbers left out
    largest: int  # pieces of the most frequent of these
    size: float  # nodes of a piece, mean
    inputs: float  # inputs of a piece, mean
    sentence: str  # all of it in one line


class ScheduleStatus(TypedDict):
    """A trainer's learning rate, and its place in the schedule."""

    name: str  # constant, linear, cosine, wsd
    steps: int  # steps behind the learner, whatever it began with
    position: int  # of the next step in the schedule, from 1 on
    length: int | None  # steps of the schedule; null: it has no end
    phase: str  # of the next step: warm-up, peak, decay; over: the rate stays as it is
    rate: float  # learning rate of the next step


class TrainerStatus(TypedDict):
    """The further fields of a trainer."""

    window: int | None  # the next window to learn from
    steps: list[dict[str, Any]]  # the newest 16 steps
    schedule: ScheduleStatus | None  # null before the first look at the chain
    #: why the newest window taught nothing, and what would help; null: it taught something
    silence: str | None
    alarm: str | None  # the divergence of reward and held-out accuracy; null: none
    course: CourseStatus  # whether it learns
    #: null: the network does not write its own problems, or before the first look at the chain
    pool: PoolStatus | None
    figures: dict[str, Any] | None  # figures of the newest window with its step; null: none yet
    held_out: list[dict[str, Any]]  # the newest 16 checkpoints tested on held-out problems
    pace: PaceStatus | None  # null before the first finished window
    workers: list[WorkerStatus]  # empty if the program judges by itself


class DemoStatus(TypedDict):
    """The further fields of a demo. Its file has the fields of a validator, too."""

    stage: str  # the demo's current stage; done at the end
    demo: dict[str, Any]  # its miners, steps and accuracy, for `assay status`


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
) -> dict[str, Any]:
    """The fields that are common to all programs, without `describe_self` and the trouble.

    Args:
        beacons: None where the program makes its own beacons.

    Returns:
        a `ProgramStatus` without those fields.
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


def describe_trouble(trouble: Trouble | None) -> dict[str, str | None]:
    """The fields of a `ProgramStatus` for a program's trouble."""
    if trouble is None:
        return {"trouble": None, "trouble_kind": None}
    return {"trouble": trouble.text, "trouble_kind": trouble.kind.value}


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


def describe_self(state: str, started_at: int) -> dict[str, Any]:
    """The time of writing, the process, and its state."""
    return {"state": state, "pid": os.getpid(), "started_at": started_at, "at": int(time.time())}


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
