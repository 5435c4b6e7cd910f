"""A miner's fields of `status.json`."""

from typing import NotRequired, TypedDict

from assay.artifacts.status.program import ProgramStatus


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
    replies: int  # tokens of the environment's replies in them
    broken: int  # of these rollouts, ended by the sandbox in which their environment runs
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


class MinedGroupsStatus(TypedDict):
    """A miner's groups in a window."""

    done: int
    wanted: int  # groups that it would generate with enough time


class MinedFileStatus(TypedDict):
    """A miner's file of a window."""

    name: str  # in its store
    bytes: int | None


class CommitmentStatus(TypedDict):
    """A miner's commitment to a file."""

    root: str | None  # its Merkle root
    sent_at: int | None  # head when it was sent; null: it was not
    #: whether the chain held it at the window's commitment block; null: not known yet
    stood: bool | None


class FaultPlaceStatus(TypedDict, total=False):
    """Where a fault is, if it is in one place."""

    group: int
    rollout: int
    token: int


class OwnVerdictStatus(TypedDict):
    """A miner's own verdict on its file, by the rules that validators follow."""

    accepted: bool
    reason: str | None  # specification, section 8; null: nobody can judge the window, or we cannot
    detail: str
    group: NotRequired[int]  # where the fault is; this field is missing if it is in no group
    rollout: NotRequired[int]  # likewise
    token: NotRequired[int]  # likewise
    costs: str | None  # what this reason costs beside the window; null: nothing
    score: int
    tokens: int
    statistics: dict[str, float]
    settlement: int  # epoch block that settles the window
    judged_at: int  # head at which it was judged
    final: bool  # whether nothing that comes later can change it


class PaidWeightStatus(TypedDict):
    """A validator's weight for a miner."""

    validator: str
    weight: int
    share: float  # of all its weights


class PaymentStatus(TypedDict):
    """A miner's pay for a settlement, as the chain shows it at the epoch that paid it."""

    settlement: int  # epoch block that settled the windows
    block: int  # epoch block at which the other fields are read
    uid: int | None  # null: it had lost its seat
    weights: list[PaidWeightStatus]
    incentive: int  # u16 share of the miners' emission
    emission_rao_alpha: int  # rao of alpha of that epoch
    note: str | None  # why something is unknown; null: nothing is


class MinedStatus(TypedDict):
    """One window of a miner: work, commitment, own verdict, pay."""

    window: int
    opened_at: int  # head at which work began
    checkpoint: str  # digest of the checkpoint in force
    groups: MinedGroupsStatus
    upload: MinedFileStatus | None  # null before the file is written
    commitment: CommitmentStatus | None  # null before there is a file
    note: str | None  # what went wrong; null: nothing
    verdict: OwnVerdictStatus | None  # null before it is judged
    payment: PaymentStatus | None  # null before it is paid


class AtWorkStatus(TypedDict):
    """A miner's current window."""

    window: int
    groups: int  # finished ones


class MinerStatus(ProgramStatus):
    """The further fields of a miner."""

    at_work: AtWorkStatus | None  # the current window, and its finished groups
    drafting: DraftingStatus | None  # null before the first batch
    speed: SpeedStatus | None  # null before the first batch of the first window
    engines: list[EngineStatus]  # empty if the program drafts by itself
    upload: UploadStatus | None  # the newest upload since the program started
    windows: list[MinedStatus]  # the newest 16: work, commitment, own verdict, pay
