"""Documents of the pages about training, the gauntlet and searches."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curves import ChartAxis, Curve, CurveSection, RunSummary
from assay.explorer.documents.shared import (
    Block,
    CommandDocument,
    Count,
    Hex,
    Hotkey,
    ListPart,
    Share,
    TroubleKind,
    Window,
)
from assay.explorer.documents.windows import ReadingLack

#: What a checkpoint makes of its course.
CourseOutcome = Literal["goes on", "milestone", "return"]
#: A difference of two shares.
Gain = Annotated[float, Field(ge=-1, le=1)]


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
    levels: NotRequired[Annotated[list[Count], Field(description="that its problems are of")]]


class CheckpointRow(TypedDict):
    digest: Hex
    number: Count | None
    parent: Hex | None
    step: Hex | None
    first: Window | None
    last: Window | None
    groups: Count | None
    trained_on: Window | None
    outcome: Annotated[
        CourseOutcome | None,
        Field(description="what it makes of its course, by its manifest; null: there is none"),
    ]


class CheckpointLie(TypedDict):
    """What a checkpoint that was in force wrongly says of its parent. It voids nothing."""

    digest: Hex
    number: Count | None
    what: str


class LevelRow(TypedDict):
    """A level in force, and why its problems are asked as often as they are."""

    level: Count
    weight: Annotated[float, Field(description="multiplies the share that the settings give it")]
    before: Annotated[float | None, Field(description="under the parent; null if not asked")]
    asked: Annotated[Count | None, Field(description="held-out problems tried by the parent")]
    solved: Count | None
    differ: Annotated[Count | None, Field(description="solved at one of two tries alone")]


class MeasuredRow(TypedDict):
    """A checkpoint that was in force, on problems that were drawn then: beside its milestone on all
    of them, and beside the first checkpoint on every fourth."""

    number: Count
    digest: Hex
    milestone: Annotated[Count | None, Field(description="null: its number is not known")]
    attempt: Annotated[Count, Field(description="of the courses from that milestone")]
    asked: Count
    wins: Annotated[Count, Field(description="that it solved and the milestone did not")]
    losses: Annotated[Count, Field(description="that the milestone solved and it did not")]
    first_asked: Count
    first_wins: Annotated[Count, Field(description="as `wins`, beside the first checkpoint")]
    first_losses: Count
    alone: Annotated[Gain, Field(description="over the first checkpoint, on its own problems")]
    gain: Annotated[Gain, Field(description="on them and those of up to seven measured before it")]
    low: Annotated[Gain, Field(description="an end of the 95 % band")]
    high: Gain
    together: Annotated[Count, Field(description="checkpoints whose problems the gain is of")]
    given_up: Annotated[bool, Field(description="whether its course ended in a return")]


class CourseEndRow(TypedDict):
    """A checkpoint that became a milestone, or that is one again."""

    number: Count
    digest: Hex
    outcome: Literal["milestone", "return"]
    milestone: Annotated[Count | None, Field(description="that later ones are measured beside")]


class GateWords(TypedDict):
    """What checkpoints have shown by their gate, in words."""

    sentence: Annotated[str, Field(description="the newest gain over the first checkpoint")]
    course: Annotated[str, Field(description="where the newest course stands")]


class GateShown(GateWords):
    """The same with all figures, by the manifests that are at hand."""

    rule: Literal["not-worse", "better"]
    problems: Annotated[Count, Field(description="of each checkpoint")]
    of_file: Annotated[bool, Field(description="drawn from a file, which a trainer may know")]
    whole: Annotated[bool, Field(description="whether that is all from the first checkpoint on")]
    measured: list[MeasuredRow]
    ends: list[CourseEndRow]


class TrainingDocument(CommandDocument):
    """Reward by window, held-out accuracy, checkpoints, and what their gate has shown."""

    gate: Annotated[GateShown | None, Field(description="null: no gate, or no manifest at hand")]

    curves: list[Curve]
    sections: Annotated[list[CurveSection], Field(description="the curves by subject")]
    lack: Annotated[
        ReadingLack | None, Field(description="why there are no curves of steps’ figures")
    ]
    runs: Annotated[list[RunSummary], Field(description="empty, if no other run is named")]
    rewards: list[WindowReward]
    reward_axis: ChartAxis
    scores: list[WindowScore]
    points: list[AccuracyPoint]
    tried: list[AccuracyPoint]
    tried_axis: ChartAxis
    has_trainer: bool
    checkpoints: list[CheckpointRow]
    lies: Annotated[list[CheckpointLie], Field(description="as far as manifests are at hand")]
    levels: Annotated[list[LevelRow], Field(description="of the newest checkpoint in force")]
    proposes: Annotated[bool, Field(description="whether the network writes its own problems")]


class RuleRow(TypedDict):
    """A rule of the watch, and its figure in the newest window."""

    rule: str
    state: Annotated[str, Field(description="what a course does for which the rule holds")]
    figure: Annotated[str, Field(description="what is compared, in words")]
    value: Annotated[float | None, Field(description="null: not known, or the rule does not apply")]
    threshold: float
    highest: Annotated[bool, Field(description="the figure must not be above it; else not below")]
    windows: Annotated[int, Field(description="that must be beyond it", ge=1)]
    newest: Annotated[int, Field(description="of how many newest windows", ge=1)]
    holds: bool
    help: Annotated[str, Field(description="what helps")]


class StaleRow(TypedDict):
    """A step's older rollouts of one age at its beginning; null: not known."""

    age: Annotated[Count, Field(description="checkpoints behind the parent; 4: or more")]
    share: Annotated[float | None, Field(description="of the step's completions")]
    ess: Annotated[float | None, Field(description="effective sample size, a share of 1")]
    kl: Annotated[float | None, Field(description="divergence since they were drawn, nats")]


class WatchedRow(TypedDict):
    """Figures of a window of a course; null: not known."""

    window: Window
    checkpoint: Annotated[Count | None, Field(description="that its step made")]
    failed: Annotated[bool, Field(description="whether a loss or a gradient was not a number")]
    groups: Count | None
    teaching: Annotated[
        float | None,
        Field(description="share of groups whose rewards differ: the others are zero-variance"),
    ]
    reward: float | None
    entropy: Annotated[float | None, Field(description="at the completions' tokens, nats")]
    distinct: Annotated[float | None, Field(description="different completions of a group, mean")]
    size: Annotated[float | None, Field(description="completions of a group, mean")]
    length: Annotated[float | None, Field(description="tokens of a completion, mean")]
    at_limit: Annotated[float | None, Field(description="share of completions cut off")]
    ratio_p01: Annotated[
        float | None, Field(description="1 % quantile of the ratio of new to old probability")
    ]
    stale_ages: Annotated[list[StaleRow], Field(description="older rollouts, by age")]
    figures: Annotated[
        dict[str, float], Field(description="all that are known, by their names in TensorBoard")
    ]


class WatchDocument(CommandDocument):
    """Whether the course learns, by the rules of `assay train watch`."""

    gate: Annotated[GateWords | None, Field(description="null: no gate, or no manifest at hand")]
    lack: ReadingLack | None
    is_own: Annotated[
        bool | None, Field(description="whether figures are the trainer's own; else of its steps")
    ]
    state: str | None
    sentence: str | None
    rules: list[RuleRow]
    rows: list[WatchedRow]
    curves: list[Curve]


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
    """The fate of one trainer's child in a round."""

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
    """The pay of every known attack in the last measurement."""

    known: bool
    trouble: TroubleKind | None
    windows: float | None
    seconds: float | None
    rows: list[StrategyRow]


class EvaluationRow(TypedDict):
    """One figure of a model on a suite of problems, by one scorer."""

    model: str
    checkpoint: Annotated[Count | None, Field(description="its number, where that is known")]
    suite: str
    convention: str
    prompt: str
    scorer: str
    figure: Annotated[str, Field(description="pass@k or maj@k")]
    value: float | None
    low: Annotated[float | None, Field(description="end of the 95 % interval")]
    high: float | None
    method: Annotated[str, Field(description="of the interval: wilson or bootstrap")]
    asked: Annotated[float | None, Field(description="problems")]
    samples: Annotated[float | None, Field(description="of each problem")]
    temperature: float | None
    mean_tokens: Annotated[float | None, Field(description="of a completion")]


class SuccessHistogram(TypedDict):
    """The number of problems by how many of their samples are right: 0, 1, …"""

    model: str
    suite: str
    scorer: str
    problems: list[int]


class EvaluationsDocument(CommandDocument):
    """Models on suites of problems: results of `assay eval` and of a trainer's own evaluations."""

    known: bool
    trouble: TroubleKind | None
    rows: list[EvaluationRow]
    histograms: list[SuccessHistogram]


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
