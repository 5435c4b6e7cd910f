"""The types of the explorer's JSON documents, one a page: version 1 of its API.

A field may be added; none is removed and none changes its meaning under `/api/v1`. `openapi`
describes these types, and every document that a test is shown must be of its type. Digests are hex
without 0x, hotkeys SS58, shares 0 to 1; null is what is not known.
"""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Hex = Annotated[str, Field(description="hex", pattern="^[0-9a-f]*$")]
Hotkey = Annotated[str, Field(description="SS58")]
Share = Annotated[float, Field(description="0 to 1", allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Window = Annotated[int, Field(description="number of a window", ge=0)]
Block = Annotated[int, Field(description="number of a block", ge=0)]
Epoch = Annotated[int, Field(description="epoch block of a settlement", ge=0)]
Milliseconds = Annotated[int, Field(description="Unix time in milliseconds")]
Millionths = Annotated[int, Field(description="millionths")]
Verdict = Annotated[str, Field(description="reason code of the specification, section 8")]


# --- what pages share


class Covers(TypedDict):
    """Which windows the command derives again."""

    first: Window
    last: Window
    whole: Annotated[bool, Field(description="whether these are all that the page shows")]
    runs_model: bool


class CommandDocument(TypedDict):
    """Every page's title, and the command that derives its content again."""

    title: str
    command: str | None


class AuditedDocument(CommandDocument):
    """The same, with the windows that the command covers."""

    covers: Covers | None


class ErrorDocument(CommandDocument):
    """Why there is no such document, or none now."""

    error: str
    awaited: NotRequired[str]


class ListPart(TypedDict):
    """Which part of a list this is; `page` and `size` in the address choose another."""

    page: Count
    pages: Count
    count: Annotated[int, Field(description="rows of the whole list", ge=0)]
    first: Count
    last: Count
    offset: Count
    size: Count
    kept: dict[str, str | int]


class TroubleKind(TypedDict):
    """What a program's trouble is about."""

    kind: str
    about: str


class StripCell(TypedDict):
    window: Window
    reason: Verdict | None


class VerdictStrip(TypedDict):
    """Verdicts of consecutive windows, the newest last, and the same in words."""

    cells: list[StripCell]
    words: str


class CountedReason(TypedDict):
    reason: Annotated[str, Field(description="a reason code, or `no verdict`")]
    count: Count
    word: str


class UnreadStatistics(TypedDict):
    """Statistics beside a record that are not shown: they are larger, or cannot be read."""

    bytes_max: Count


class WindowSummary(TypedDict):
    """One window as a list has it."""

    window: Window
    epoch: Epoch
    outcome: Annotated[str, Field(description="counted, void or abstained")]
    link: Annotated[str, Field(description="ok; missing; differs: not the record that was settled")]
    beacons: Annotated[str, Field(description="verified, none, or what is wrong with them")]
    time_ms: Milliseconds | None
    members: Count
    committed: Count
    accepted: Count
    refused: Count
    score: Count
    reward: Annotated[float | None, Field(description="mean reward of valued groups' rollouts")]
    checkpoint: Hex


class SeatWeight(TypedDict):
    """One uid's weight: recorded, derived again here, and as the chain shows it."""

    uid: Count
    seat: Annotated[
        str, Field(description="scored; owner: the owner's uid; none: no seat recorded")
    ]
    hotkey: Hotkey | None
    name: str | None
    score: Count
    derived_score: Count | None
    weight: Count
    derived_weight: Count | None
    chain_weight: Count | None
    share: Share | None


class SettledWeights(TypedDict):
    """A settlement's weights, three times."""

    epoch: Epoch
    total: Annotated[int, Field(description="sum of all scores", ge=0)]
    rows: list[SeatWeight]
    count: Count
    listed: Count
    scores_derived: bool | None
    derived: Annotated[bool | None, Field(description="whether the derived are the recorded")]
    block: Block | None
    on_chain: Annotated[bool | None, Field(description="whether the chain's are the recorded")]


# --- curves

#: Points of a series that are shown: the newest.
POINTS_MAX = 1_000
#: The name of the run whose record this is, beside others.
OWN = "this run"
Along = Literal["window", "checkpoint"]
_Real = Annotated[float, Field(allow_inf_nan=False, ge=-1e40, le=1e40)]


class ChartAxis(TypedDict):
    first: int
    last: int
    ticks: list[int]


class CurvePoint(TypedDict):
    """A value; of an estimate also its 95 % interval."""

    x: Annotated[int, Field(description="of the window or checkpoint", ge=0, lt=1 << 64)]
    y: _Real
    low: NotRequired[_Real]
    high: NotRequired[_Real]


class CurveSeries(TypedDict):
    run: Annotated[str, Field(description="`this run`, or the name of a run beside it")]
    points: list[CurvePoint]


class Curve(TypedDict):
    """A quantity along windows or checkpoints, of one run or several."""

    name: str
    title: str
    along: Along
    axis: ChartAxis
    top: Annotated[_Real, Field(description="greatest value of the axis, whose least is 0")]
    ticks: list[_Real]
    series: list[CurveSeries]


class RunSummary(TypedDict):
    """A curve of one run in figures."""

    curve: str
    title: str
    run: str
    points: Count
    first: float
    last: float
    last_at: Count
    best: float
    best_at: Count


class OtherRecords(TypedDict):
    """How far other validators' records say the same, where somebody has compared them."""

    validators: Annotated[int, Field(description="records that were compared", ge=0)]
    differing: Annotated[int, Field(description="miners or uids on which they differ", ge=0)]


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
    """How it stands right now."""

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
    """Where the subnet stands: block, open windows, checkpoint, newest weights and windows."""

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
    """What a verdict stands for; what usually lies behind a refusal, what to do, what it costs."""

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
    """A group of which the audit draws rollouts."""

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
    """A settlement's entry: what stands on the ledger beside what the record says."""

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


# --- several validators


class ShownEpoch(TypedDict):
    """A validator's weights on chain at a block. Distances: the share of all weight that would have
    to move."""

    block: Block
    distance_to_own: Share | None
    distance_to_others: Share | None
    nearest: Hotkey | None
    nearest_epoch: Epoch | None
    settlements_behind: Count


class ComparedValidatorRow(TypedDict):
    """What tells a validator that judges from one that copies."""

    validator: Hotkey
    record: Annotated[bool, Field(description="whether it publishes a record that was read")]
    fault: str | None
    matched: Annotated[bool | None, Field(description="whether an audit found nothing wrong")]
    verdicts_witnessed: Count
    verdicts_unwitnessed: Count
    epochs: list[ShownEpoch]
    stale_epochs: Count
    stopped: bool
    suspicion: Annotated[str | None, Field(description="why it seems to copy")]


class SharedWitnesses(TypedDict):
    """Two validators whose records have the same witness: one of them copied."""

    validators: list[Hotkey]
    groups: Count


class ValidatorOutcome(TypedDict):
    validator: Hotkey
    outcome: str


class SaidVerdict(TypedDict):
    """One validator's verdict; a validator without the member in its record is not listed."""

    validator: Hotkey
    reason: Verdict | None
    score: Count


class DifferingVerdictRow(TypedDict):
    hotkey: Hotkey
    uid: Count
    said: list[SaidVerdict]


class ComparedWindowRow(TypedDict):
    """A window of which several validators have a record, and whom they judged differently."""

    window: Window
    outcomes: list[ValidatorOutcome]
    members: Count
    differing: list[DifferingVerdictRow]


class ValidatorTotal(TypedDict):
    validator: Hotkey
    score: Count


class SaidSeat(TypedDict):
    validator: Hotkey
    score: Count
    weight: Count


class DifferingSeatRow(TypedDict):
    uid: Count
    hotkey: Annotated[Hotkey | None, Field(description="null: no record has a score of this uid")]
    said: list[SaidSeat]


class ComparedSettlementRow(TypedDict):
    """A settlement of which several validators have a record, and where these differ."""

    epoch: Epoch
    totals: list[ValidatorTotal]
    seats: Count
    differing: list[DifferingSeatRow]


class ComparisonReport(TypedDict):
    """What `assay audit compare --json` prints."""

    windows: Annotated[list[Window], Field(description="the first and the last", max_length=2)]
    model: Annotated[bool, Field(description="whether forward passes were run for witnesses")]
    validators: list[ComparedValidatorRow]
    shared_witnesses: list[SharedWitnesses]
    settlements_forgotten: Annotated[
        int, Field(description="settlements whose weights the nodes have forgotten", ge=0)
    ]
    judged: list[ComparedWindowRow]
    settled: list[ComparedSettlementRow]


class ListedVerdict(DifferingVerdictRow):
    window: Window
    name: str | None


class ListedSeat(DifferingSeatRow):
    epoch: Epoch
    name: str | None


class ValidatorsDocument(CommandDocument):
    """Several validators of the subnet beside each other, as `assay audit compare` found them."""

    known: bool
    trouble: TroubleKind | None
    comparison: ComparisonReport | None
    verdicts: Annotated[list[ListedVerdict], Field(description="all that differ, by window")]
    seats: Annotated[list[ListedSeat], Field(description="all that differ, by settlement")]
    verdict_count: Annotated[int, Field(description="verdicts that differ; 1,000 are listed", ge=0)]
    seat_count: Annotated[int, Field(description="seats that differ; 1,000 are listed", ge=0)]


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
