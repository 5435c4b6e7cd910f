"""The fields of `status.json` that every program writes."""

from typing import TypedDict

#: Values of `state`.
RUNNING, STOPPED = "running", "stopped"


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


class _Software(TypedDict):
    version: int  # version of this shape: 1
    program: str  # miner, validator or trainer
    software: str  # name and version of the software


class _Process(TypedDict):
    state: str  # running, or stopped after a regular exit
    pid: int
    started_at: int
    at: int  # time of writing; a running program writes at least every ten seconds


class _Network(TypedDict):
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


class _Loop(TypedDict):
    trouble: str | None  # a problem that a person should know about or fix; null: none
    #: what it is about: chain, store, beacon, checkpoint, weights, … or other; null: no trouble
    trouble_kind: str | None
    counts: dict[str, dict[str, float]]  # counters since the start, by label: see docs/metrics.md


class NetworkStatus(_Software, _Network):
    """The fields that follow from the network, of every program."""


class LoopStatus(_Process, _Loop):
    """The fields that a program's loop adds."""


class ProgramStatus(_Software, _Process, _Network, _Loop):
    """The fields that every program writes."""


class WorkerStatus(TypedDict):
    """A worker process that judges."""

    device: str  # as in the settings
    host: str | None  # null before it has started
    pid: int | None  # null before it has started
    lost: int  # restarts of this worker since the program started
    lack: str | None  # why it is left out; null while it works
