"""The first page's document."""

from typing_extensions import TypedDict

from assay.explorer.documents.first_screen import FirstScreen
from assay.explorer.documents.shared import (
    AuditedDocument,
    Block,
    Count,
    Hex,
    Hotkey,
    Milliseconds,
    SettledWeights,
    Share,
    TroubleKind,
    Window,
    WindowSummary,
)


class NetworkFacts(TypedDict):
    """The subnet and the parameters in force."""

    validator: Hotkey
    netuid: Count
    genesis_hash: Hex
    parameters: Hex
    environment: str
    rewards: list[str]
    place: str
    window_blocks: Count
    group_size: Count
    audited_rollouts: Count
    valued_groups: Count
    sampled_rollouts: Count
    prompt_share: Share
    position_share: Share
    burn_share: Share


class ParameterChange(TypedDict):
    field: str
    before: str
    after: str


class AnnouncedChange(TypedDict):
    """Parameters that do not hold yet."""

    digest: Hex
    window: Window
    block: Block
    decided: bool
    decided_at: Block
    changes: list[ParameterChange]


class OpenWindowProgress(TypedDict):
    """How far a validator beside this page is with a window; never what it came to."""

    state: str
    trouble: TroubleKind | None
    judged: Count


class OpenWindow(TypedDict):
    """A window on its way."""

    window: Window
    doing: str
    progress: Share | None
    next: str | None
    next_block: Block | None
    blocks_left: int | None
    seconds_left: float | None
    said: OpenWindowProgress | None


class LiveState(TypedDict):
    """The present state."""

    head: Block
    moving: bool
    program: str
    trouble: TroubleKind | None
    since_ms: Milliseconds | None
    window: Window
    block_of_window: int
    next_window_in: int
    next_window_seconds: float
    windows: list[OpenWindow]


class CheckpointInForce(TypedDict):
    digest: Hex
    window: Window
    number: Count | None
    parent: Hex | None


class NewestBeacons(TypedDict):
    window: Window
    challenge_round: Count | None
    audit_round: Count | None
    state: str


class OverviewDocument(AuditedDocument):
    """The three answers, and the subnet's present state: block, open windows, checkpoint, newest
    weights and windows."""

    screen: FirstScreen
    network: NetworkFacts
    announced: list[AnnouncedChange]
    live: LiveState | None
    checkpoint: CheckpointInForce | None
    beacons: NewestBeacons | None
    weights: SettledWeights | None
    windows: list[WindowSummary]
    settlements: Count
    settled_windows: Count
