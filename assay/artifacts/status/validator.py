"""A validator's fields of `status.json`."""

from typing import TypedDict, TypeGuard

from assay.artifacts.status.program import CountdownStatus, ProgramStatus, WorkerStatus


class RoundStatus(TypedDict):
    """A beacon, and the block that names its round."""

    block: int
    round: int
    verified: bool  # always true: the program keeps only beacons whose signature it verified


class VerdictStatus(TypedDict):
    """One member's verdict. Keep it private until the settlement's weights are revealed."""

    hotkey: str
    uid: int | None  # null if the window's members are not known
    reason: str  # specification, section 8
    detail: str  # one sentence; empty if accepted
    score: int
    seconds: float  # time to reach the verdict


class WindowStatus(TypedDict):
    """One window of a validator."""

    window: int
    countdown: CountdownStatus
    state: str  # awaited (the audit is not drawn yet), judging, or final
    checkpoint: str  # digest of the checkpoint in force
    void: str | None  # why the window counts for nobody; null: it counts
    missing: str | None  # what this validator lacked at its last attempt; null: nothing
    challenge: RoundStatus
    audit: RoundStatus | None  # null before the round is out
    members: int | None  # members to judge; null before the audit is drawn
    committed: int | None  # members that committed to a file
    judged: int  # members with a verdict, or with none to come but for their samples
    verdicts: list[VerdictStatus]  # in the order of the hotkeys' bytes


class WeightsStatus(TypedDict):
    """The weights of a settlement, as the chain's outbox has them."""

    epoch: int  # the epoch block of the settlement
    state: str  # due, sending, sent, confirmed, superseded
    sent_at: int | None  # block that contains the weights
    confirmed_at: int | None  # finalized block in whose state the weights were seen
    trouble: str | None  # why they are not sent, or what happened to them; null: nothing
    weights: dict[str, int]  # uid → u16


class SettlementStatus(WeightsStatus):
    """A settlement's weights, and their delivery to the chain."""

    windows: list[int] | None  # windows that count; null if a restart lost them
    scores: dict[str, int] | None  # uid → score; null if a restart lost them


class RecordStatus(TypedDict):
    """The public record."""

    locator: str | None  # where others read it; null: `record/` in the program's folder
    published: int | None  # epoch block of the newest published settlement
    waiting: int  # settlements that are not published yet


class LedgerEntryStatus(TypedDict):
    """A validator's entry for one settlement in the ledger contract."""

    score_root: str
    record_digest: str
    checkpoint: str  # digest
    audit_round: int
    weights_digest: str


class PostStatus(TypedDict):
    """A settlement's post to the ledger contract. Blocks are the EVM's."""

    epoch: int  # the epoch block of the settlement
    state: str  # due, sending, sent, confirmed, superseded
    transaction: str | None  # hash; null before it is signed
    block: int | None  # block that holds it, or the head at which it was first seen
    trouble: str | None  # why it is not posted; null: nothing
    entry: LedgerEntryStatus


class GateStatus(TypedDict):
    """A file of a trainer's answers to a gate's problems, of which the validator has checked a
    few."""

    checkpoint: str  # digest of the one that the answers measure
    answers: str  # SHA-256 of the file
    window: int  # in which the checkpoint that names the file was in force
    state: str  # checked, missing, or not checked
    checked: int  # answers
    faults: list[str]  # what is wrong, a sentence each: it voids nothing
    why: str | None  # why it is missing or not checked; null: it is checked


class JudgingStatus(TypedDict):
    """A validator's windows, weights and record."""

    windows: list[WindowStatus]  # the newest 16, oldest first
    settlements: list[SettlementStatus]  # the newest 16, newest first
    record: RecordStatus | None  # null if it publishes none
    workers: list[WorkerStatus]  # empty if the program judges by itself
    gate: list[GateStatus]  # the newest 16 files of a trainer's answers, newest first


class ValidatorStatus(ProgramStatus, JudgingStatus):
    """The further fields of a validator."""

    posts: list[PostStatus]  # posts to the ledger contract, as in `assay ledger status`
    posting_trouble: str | None  # why posts are not sent; null: nothing is wrong


def is_validator(status: ProgramStatus) -> TypeGuard[ValidatorStatus]:
    """Return whether a validator wrote the status, or a demo."""
    return status["program"] == "validator"
