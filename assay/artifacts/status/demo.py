"""A demo's fields of `status.json`."""

from typing import TypedDict, TypeGuard

from assay.artifacts.status.miner import AtWorkStatus
from assay.artifacts.status.program import CheckpointStatus, ProgramStatus
from assay.artifacts.status.validator import ValidatorStatus


class PhaseStatus(TypedDict):
    """A window of a demo, and what happens in it."""

    window: int
    phase: str


class DemoVerdictStatus(TypedDict):
    """A verdict on a demo's miner."""

    window: int
    reason: str
    score: int


class DemoMinerStatus(TypedDict):
    """A demo's miner."""

    name: str
    role: str
    hotkey: str
    uid: int
    at_work: AtWorkStatus | None
    verdicts: list[DemoVerdictStatus]  # the newest, oldest first
    weight: int


class DemoStepStatus(TypedDict):
    """A step of a demo's trainer."""

    window: int
    groups: int
    reward: float
    checkpoint: int


class AccuracyStatus(TypedDict):
    """Shares of held-out problems solved, each with its 95 % interval; null: not measured."""

    problems: int
    before: float | None
    before_interval95: list[float] | None
    after: float | None
    after_interval95: list[float] | None


class DemoRunStatus(TypedDict):
    """A demo's miners, steps and accuracy."""

    block: int
    last_block: int
    window: int
    first_window: int
    windows: int
    phases: list[PhaseStatus]
    checkpoint: CheckpointStatus
    miners: list[DemoMinerStatus]
    steps: list[DemoStepStatus]
    accuracy: AccuracyStatus
    notes: list[str]


class DemoStatus(ValidatorStatus):
    """The further fields of a demo. Its file has the fields of a validator, too."""

    stage: str  # the demo's current stage; done at the end
    demo: DemoRunStatus  # its miners, steps and accuracy, for `assay status`


def is_demo(status: ProgramStatus) -> TypeGuard[DemoStatus]:
    """Return whether a demo wrote the status."""
    return "demo" in status
