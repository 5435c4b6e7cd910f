"""Documents of the pages about windows: of one, of a miner's part in it, of a rollout."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.miners import ReasonAdvice
from assay.explorer.documents.shared import (
    AuditedDocument,
    Block,
    Count,
    CountedReason,
    Hex,
    Hotkey,
    ListPart,
    Millionths,
    Milliseconds,
    OtherRecords,
    Roles,
    UnreadStatistics,
    Verdict,
    Window,
    WindowSummary,
)


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
    """The inputs of a window's verdicts, from its record."""

    software: str
    digest: Hex
    previous: Hex
    checkpoint: Hex
    number: Annotated[Count | None, Field(description="the checkpoint's, by its manifest")]
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
    roles: Roles
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
    """The place of the fault that caused a refusal, if the verdict names one."""

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
    """The seeds of the audit's draws, and the groups drawn."""

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
    correctness: list[Millionths]
    mean_correctness: float | None


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


class ReadingProgress(TypedDict):
    """How far a reading is: done of so many parts, and the part that is under way."""

    done: Count
    of: Count
    what: str


class ReadingLack(TypedDict):
    """Why a rollout cannot be shown; passing: it may be there a little later."""

    why: str
    passing: bool
    progress: NotRequired[
        Annotated[ReadingProgress | None, Field(description="null: it has not begun")]
    ]


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


class TurnRow(TypedDict):
    """One turn of an episode, and what its world replied."""

    number: Annotated[int, Field(description="from 0")]
    first: Annotated[int, Field(description="number of its first token")]
    tokens: Count
    text: str
    reply: Annotated[str | None, Field(description="with the text around it; null: none")]
    reply_tokens: Count
    off: Annotated[
        Count | None,
        Field(description="tokens that are not the keyed draw; null: the model was not run"),
    ]


class PromptMessage(TypedDict):
    """One message of what a model is asked."""

    role: Annotated[str, Field(description="system, user or assistant")]
    content: str


class GroupFacts(TypedDict):
    """A group's problem; whether a model measured it, and if not, why and what that takes."""

    prompt: Annotated[str, Field(description="the last message")]
    messages: list[PromptMessage]
    arguments: Annotated[str, Field(description="of the chat template, as JSON; empty: none")]
    level: Count
    measured: bool
    note: str | None


class RolloutMeasured(GroupFacts):
    """A rollout as its miner's file has it, and as a model here measures it."""

    completion: str
    turns: Annotated[list[TurnRow], Field(description="empty where rollouts have one turn")]
    end: Annotated[
        str | None,
        Field(description="why the episode ended; null: it did not, or rollouts have one turn"),
    ]
    ended_at: Annotated[
        Count | None, Field(description="tokens after which it ended: `tokens`, if rightly")
    ]
    paid_replies: Annotated[Count, Field(description="tokens of replies, paid as a prompt's")]
    reward: Millionths
    parts: list[RewardPart]
    lost_by_length: Annotated[Millionths, Field(description="share of the reward")]
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


class RolloutWorth(TypedDict):
    """What a rollout earned within its group."""

    reward: Millionths
    advantage: Annotated[
        float | None, Field(description="in whole rewards; null: its group's rewards are all equal")
    ]
    mean: Annotated[float, Field(description="reward of its group, mean")]
    step: Annotated[
        Count | None,
        Field(description="number of the checkpoint whose step learned from it so; null: none did"),
    ]


class RolloutDocument(AuditedDocument):
    """One rollout: what was said, and its tokens."""

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
    worth: Annotated[RolloutWorth | None, Field(description="null: its group cannot be read here")]
    indexed: Annotated[bool, Field(description="whether its group can be seen side by side")]
    unread: UnreadStatistics | None
    lack: ReadingLack | None
    reading: RolloutMeasured | None
