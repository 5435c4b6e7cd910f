"""Types of fields, and what several pages share."""

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
Role = Literal["owner", "trainer", "validator"]
Roles = Annotated[list[Role], Field(description="what the hotkey is there for beside mining")]
Verdict = Annotated[str, Field(description="reason code of the specification, section 8")]


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
    """The kind and the subject of a program's trouble."""

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
    roles: Roles
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


class OtherRecords(TypedDict):
    """How far other validators' records say the same, where somebody has compared them."""

    validators: Annotated[int, Field(description="records that were compared", ge=0)]
    differing: Annotated[int, Field(description="miners or uids on which they differ", ge=0)]
