"""A page's document each, but for several validators' (`validator_documents.py`)."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curve_documents import ChartAxis, Curve, RunSummary
from assay.explorer.documents.shared_documents import (
    AuditedDocument,
    Block,
    CommandDocument,
    Count,
    CountedReason,
    Epoch,
    Hex,
    Hotkey,
    ListPart,
    Millionths,
    Milliseconds,
    OtherRecords,
    SettledWeights,
    Share,
    TroubleKind,
    UnreadStatistics,
    Verdict,
    VerdictStrip,
    Window,
    WindowSummary,
)

# --- the first page


class NetworkFacts(TypedDict):
    """The subnet and the parameters in force."""

    validator: Hotkey
    netuid: Count
    genesis_hash: Hex
    parameters: Hex
    environment: str
    place: str
    window_blocks: Count
    group_size: Count
    audited_rollouts: Count
    valued_groups: Count
    sampled_rollouts: Count
    prompt_share: Share


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
    """The subnet's present state: block, open windows, checkpoint, newest weights and windows."""

    network: NetworkFacts
    announced: list[AnnouncedChange]
    live: LiveState | None
    checkpoint: CheckpointInForce | None
    beacons: NewestBeacons | None
    weights: SettledWeights | None
    windows: list[WindowSummary]
    settlements: Count
    settled_windows: Count


# --- miners


class MinerCounts(TypedDict):
    """A miner over all windows that are known."""

    hotkey: Hotkey
    name: str | None
    uid: Count
    windows: Count
    committed: Count
    accepted: Count
    refused: Count
    score: Count
    seen: Annotated[int, Field(description="the newest window it was a member of")]
    reason: Verdict | None
    accepted_share: Share | None


class ListedMiner(MinerCounts):
    """The same with the newest settlement."""

    settled: Count
    share: Share | None
    weight: Count
    strip: VerdictStrip


class MinersDocument(AuditedDocument):
    """Everybody who was ever a member; `q` searches, `sort` sorts."""

    sort: str
    sorts: list[str]
    search: str
    epoch: Epoch | None
    strip_windows: Count
    miners: list[ListedMiner]
    paging: ListPart


class ReasonAdvice(TypedDict):
    """A verdict's meaning; a refusal's usual causes, what to do, and its cost."""

    rule: str | None
    causes: list[str]
    remedies: list[str]
    costs: str | None


class MinerReason(ReasonAdvice, CountedReason):
    """A verdict that a miner was given."""


class MinerWindow(TypedDict):
    window: Window
    uid: Count
    groups: Count
    reason: Verdict | None
    score: Count


class MinerSettlement(TypedDict):
    """What a settlement came to for a miner, and what the chain paid where that is known."""

    epoch: Epoch
    uid: Count
    score: Count
    weight: Count
    share: Share | None
    paid: Share | None
    why: list[str]


class PayStep(TypedDict):
    """One step from a uid to pay."""

    name: str
    state: Annotated[str, Field(description="good, bad, warn, or none: not known here")]
    said: list[str]


class MinerPay(TypedDict):
    """Whether the newest settlement pays a miner, and what is in the way where it does not."""

    paid: bool | None
    epoch: Epoch | None
    because: str
    steps: list[PayStep]
    command: str | None


class MinerDocument(AuditedDocument, MinerCounts):
    """One miner: whether it is paid, its verdicts, settlements and windows."""

    strip: VerdictStrip
    curves: list[Curve]
    reasons: list[MinerReason]
    rows: list[MinerWindow]
    pay: MinerPay
    settlements: list[MinerSettlement]
    paging: ListPart


# --- windows


class WindowsDocument(AuditedDocument):
    """All windows of the record, the newest first."""

    windows: list[WindowSummary]
    paging: ListPart


class TimelineMoment(TypedDict):
    name: str
    block: Block
    decides: str


class WindowTimeline(TypedDict):
    first: int
    last: int
    starts: int
    ends: int
    head: Block | None
    moments: list[TimelineMoment]


class RecordedMoment(TypedDict):
    """A block and the beacon round that its timestamp names."""

    block_hash: Hex
    time_ms: Milliseconds
    round: Count
    signature: Hex


class WindowInputs(TypedDict):
    """What a window was judged from, as its record has it."""

    software: str
    digest: Hex
    previous: Hex
    checkpoint: Hex
    beacons: str
    challenge: RecordedMoment | None
    audit: RecordedMoment | None
    challenge_seed: Hex | None
    audit_seed: Hex | None


class AuditedGroupRow(TypedDict):
    """A group from which the audit draws rollouts."""

    index: Count
    rollouts: Annotated[int, Field(description="how many of it go through the model")]
    audited: Annotated[list[int] | None, Field(description="which; null: the miner's file says it")]
    valued: Annotated[bool, Field(description="whether the group is read whole and scored")]


class StatisticAgainstBound(TypedDict):
    name: str
    label: str
    unit: str
    value: float
    bound: float
    exceeded: bool
    ratio: float


class MemberSummary(TypedDict):
    """One miner in one window."""

    hotkey: Hotkey
    name: str | None
    uid: Count
    groups: Count
    reason: Verdict | None
    word: str
    detail: Annotated[str, Field(description="the validator's word: nothing commits to it")]
    score: Count
    measures: list[StatisticAgainstBound]


class ListedMember(MemberSummary):
    """The same with what the audit draws."""

    audited: list[AuditedGroupRow]


class WindowDocument(AuditedDocument):
    """One window: when what happened, from which inputs, and who was judged to be what."""

    window: WindowSummary
    before: Window | None
    after: Window | None
    timeline: WindowTimeline
    inputs: WindowInputs | None
    reasons: list[CountedReason]
    members: list[ListedMember]
    paging: ListPart
    unread: UnreadStatistics | None
    others: OtherRecords | None


class FoundPlace(TypedDict, total=False):
    """Where a refusal was found, as far as that is said."""

    group: Count
    rollout: Count
    token: Count


class SubmissionCommitment(TypedDict):
    root: Hex
    groups: Count
    locator: str


class SampledRollout(TypedDict):
    group: Count
    rollout: Count


class AuditSelection(TypedDict):
    """From which seeds the audit draws, and what it comes to."""

    groups: Count
    groups_seed: Hex
    sample_seed: Hex | None
    audited: Count
    audited_groups: Count
    valued_groups: Count
    sampled: list[SampledRollout]


class ValuedGroupRow(AuditedGroupRow):
    """The same with what it was worth."""

    value: Count | None
    rewards: list[Millionths]
    mean: float | None


class MemberDocument(AuditedDocument, MemberSummary, ReasonAdvice):
    """One miner's window: its verdict, the rule behind it, and what the audit drew."""

    window: Window
    registered_at: Block
    place: FoundPlace
    commitment: SubmissionCommitment | None
    selection: AuditSelection | None
    audited: list[ValuedGroupRow]
    group_size: Count
    has_model: bool
    unread: UnreadStatistics | None


class ReadingLack(TypedDict):
    """Why a rollout cannot be shown; passing: it may be there a little later."""

    why: str
    passing: bool


class RewardPart(TypedDict):
    name: str
    value: Millionths
    weight: Millionths


class TokenRow(TypedDict):
    """One token: margins in logits, −ln p in nats, sketch distance in steps."""

    number: Count
    id: Count
    text: str
    state: Annotated[str, Field(description="drawn, near, off, or unmeasured")]
    margin: float | None
    drawn: Count | None
    logprob: float
    measured: float | None
    distance: float | None
    audited: bool


class RolloutMeasured(TypedDict):
    """A rollout as its miner's file has it, and as a model here measures it."""

    prompt: str
    level: Count
    measured: bool
    note: str | None
    completion: str
    reward: Millionths
    parts: list[RewardPart]
    tokens: Count
    page: Count
    pages: Count
    margin_cap: float
    off: Count | None
    log_capital: float | None
    log_capital_bound: float
    sketch_mean: float | None
    sketch_bound: float
    sketch_block: float | None
    sketch_block_bound: float
    logprob_rms: float | None
    rows: list[TokenRow]


class RolloutDocument(AuditedDocument):
    """One rollout, token by token."""

    window: Window
    hotkey: Hotkey
    name: str | None
    group: Count
    rollout: Count
    group_size: Count
    groups: Count
    drawn: AuditedGroupRow | None
    states: list[str]
    state: Annotated[str, Field(description="audited, valued, sampled, unread or unknown")]
    audited: list[AuditedGroupRow]
    recorded_reward: Millionths | None
    unread: UnreadStatistics | None
    lack: ReadingLack | None
    reading: RolloutMeasured | None


# --- settlements and the ledger


class SettlementSummary(TypedDict):
    epoch: Epoch
    previous_epoch: Count
    digest: Hex
    first: Window | None
    last: Window | None
    counted: Count
    total: Count
    miners: Count
    weighed: Count
    score_root: Hex


class WeightsDocument(AuditedDocument):
    """The newest settlement's weights, and all settlements."""

    weights: SettledWeights | None
    settlements: list[SettlementSummary]
    paging: ListPart


class SettledWindow(TypedDict):
    window: Window
    outcome: str
    link: str
    accepted: Count
    refused: Count
    score: Count


class SettlementDocument(AuditedDocument):
    """One settlement: its windows and its weights."""

    settlement: SettlementSummary
    windows: list[SettledWindow]
    weights: SettledWeights
    others: OtherRecords | None


class EvmReading(TypedDict):
    """How far the ledger's events were read."""

    node: str
    head: Block | None
    first: Block | None
    trouble: TroubleKind | None
    since_ms: Milliseconds | None


class EntryFields(TypedDict):
    """An entry's five values."""

    score_root: Hex
    record_digest: Hex
    checkpoint: Hex
    audit_round: Count
    weights_digest: Hex


class DifferingField(TypedDict):
    name: str
    posted: str | int
    recorded: str | int


class PostProgress(TypedDict):
    state: str
    trouble: TroubleKind | None


class LedgerEntryRow(TypedDict):
    """A settlement's entry on the ledger beside its record."""

    epoch: Epoch
    state: Annotated[
        str, Field(description="equal, different, missing, unrecorded, waiting, none or unread")
    ]
    recorded: EntryFields | None
    digest: Hex | None
    sound: bool | None
    posted: EntryFields | None
    differing: list[DifferingField]
    transaction: Hex | None
    block: Block | None
    on_top: Count | None
    deep: bool | None
    said: PostProgress | None


class LedgerDocument(CommandDocument):
    """The ledger on the EVM, settlement by settlement."""

    contract: str | None
    link: str | None
    netuid: Count
    validator: Hex
    evm: EvmReading | None
    posting: bool
    counts: dict[str, int]
    entries: list[LedgerEntryRow]
    paging: ListPart


# --- training, the gauntlet, the search


class WindowReward(TypedDict):
    window: Window
    rollouts: Count
    reward: float | None


class WindowScore(TypedDict):
    window: Window
    score: Annotated[int, Field(description="of all miners", ge=0)]
    accepted: Count


class AccuracyPoint(TypedDict):
    """A checkpoint; held-out accuracy with its 95 % interval where it was tried."""

    number: Count
    reward: NotRequired[float]
    value: Share | None
    low: Share | None
    high: Share | None
    problems: Count


class CheckpointRow(TypedDict):
    digest: Hex
    number: Count | None
    parent: Hex | None
    step: Hex | None
    first: Window | None
    last: Window | None
    groups: Count | None
    trained_on: Window | None


class TrainingDocument(CommandDocument):
    """Reward by window, held-out accuracy, checkpoints."""

    curves: list[Curve]
    runs: Annotated[list[RunSummary], Field(description="empty, if no other run is named")]
    rewards: list[WindowReward]
    reward_axis: ChartAxis
    scores: list[WindowScore]
    points: list[AccuracyPoint]
    tried: list[AccuracyPoint]
    tried_axis: ChartAxis
    has_trainer: bool
    checkpoints: list[CheckpointRow]


class RoundCalendar(TypedDict):
    """The round that the newest block is in, in blocks."""

    number: Count
    first: Window
    last: Window
    end: Annotated[int, Field(description="the first window after it: its checkpoint's number")]
    head: Block
    begins: Block
    opening: Annotated[int, Field(description="children are put on chain after this block")]
    deadline: Annotated[int, Field(description="the block whose state says which there are")]
    turns_end: Annotated[int, Field(description="the first block at which nobody's turn is left")]
    trainers: list[Hotkey]


class RoundRow(TypedDict):
    """A round, merged: what it made, and whether that was derived again."""

    end: Count
    checkpoint: Hex
    parent: Hex | None
    measurer: Hotkey | None
    children: Count
    merged: Count
    derived: bool
    fault: str | None
    repeated: Count
    equal: Count
    lied: list[Hotkey]


class RoundChild(TypedDict):
    """What became of one trainer's child."""

    end: Count
    hotkey: Hotkey
    name: str | None
    child: Hex | None
    said: Annotated[str, Field(description="by the merge's record")]
    found: Annotated[str | None, Field(description="by who derived the round again")]
    merged: bool
    why: str
    detail: str


class TrainerCounts(TypedDict):
    hotkey: Hotkey
    name: str | None
    trains: Annotated[bool, Field(description="whether the newest parameters name it")]
    merged: Count
    left_out: Count
    absent: Count
    lied: Count


class RepeatedStepRow(TypedDict):
    end: Count
    hotkey: Hotkey
    name: str | None
    window: Window
    equal: bool | None
    detail: str


class RoundsDocument(CommandDocument):
    """Rounds of several trainers: whose child was merged, whose was left out and why."""

    under_way: RoundCalendar | None
    rounds: list[RoundRow]
    children: list[RoundChild]
    trainers: list[TrainerCounts]
    repeated: list[RepeatedStepRow]
    paging: ListPart


class StrategyRow(TypedDict):
    """One way to work or to cheat, and what it earned."""

    attack: str
    model: str
    legal: bool
    pays: bool
    differs: float | None
    caught_given_differs: float | None
    detected_per_rollout: float | None
    detected_per_group: float | None
    detected_per_window: float | None
    tokens_to_9999: float | None
    income_per_compute: float | None
    income_error: float | None
    reasons: dict[str, int]


class GauntletDocument(CommandDocument):
    """What every known way to cheat earned, as it was measured last."""

    known: bool
    trouble: TroubleKind | None
    windows: float | None
    seconds: float | None
    rows: list[StrategyRow]


class SearchHit(TypedDict):
    kind: str
    name: str
    path: str
    why: str


class SearchDocument(CommandDocument):
    """Every page that a text may mean."""

    query: str
    hits: list[SearchHit]
    more: bool
    missing: list[str]
    redirect: Annotated[str | None, Field(description="the one page that is meant")]
