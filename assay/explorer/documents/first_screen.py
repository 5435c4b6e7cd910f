"""What the first page answers in one look: does the model get better, is the network healthy, who
is paid."""

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.curves import Along, CurvePoint
from assay.explorer.documents.shared import Count, CountedReason, Hotkey, Share, Window

#: Newest points of a small drawing.
SPARK_POINTS = 120


class Answer(TypedDict):
    """A question's answer in a word, and why."""

    state: Literal["good", "open", "bad", "unknown"]
    words: str


class LearningTile(TypedDict):
    """A figure of the newest checkpoint or window that tells whether the model gets better."""

    name: Literal["gain", "held-out", "reward"]
    along: Along
    at: Annotated[Count, Field(description="the checkpoint or window that `value` is of")]
    value: float
    low: Annotated[float | None, Field(description="an end of the 95 % band")]
    high: float | None
    smoothed: Annotated[
        float | None, Field(description="moving average, of points that have no band")
    ]
    problems: Annotated[Count | None, Field(description="that `value` is of")]
    points: Annotated[list[CurvePoint], Field(description="the newest")]


class NetworkHealth(TypedDict):
    """What became of miners' work, in the newest window that counts and in those before it."""

    window: Window | None
    windows: Annotated[Count, Field(description="newest windows that the sums are of")]
    committed: Annotated[Count, Field(description="miners, in the newest window")]
    accepted: Annotated[Count, Field(description="in the newest window")]
    refused: Annotated[Count, Field(description="in the newest window")]
    all_accepted: Count
    all_refused: Count
    reasons: Annotated[list[CountedReason], Field(description="of refusals, in all these windows")]
    tokens_per_second: Annotated[
        float | None,
        Field(description="accepted, in the newest window, estimated from audited rollouts"),
    ]
    verified: Annotated[Count, Field(description="windows whose beacons are verified")]
    recorded: Annotated[Count, Field(description="windows that have beacons")]
    miners_curve: list[CurvePoint]
    accepted_curve: list[CurvePoint]
    tokens_curve: list[CurvePoint]


class PaidMiner(TypedDict):
    """A miner that the newest settlement gives a weight."""

    hotkey: Hotkey
    name: str | None
    uid: Count
    share: Annotated[Share | None, Field(description="of the settlement's score")]
    paid: Annotated[Share | None, Field(description="of the miners' pay, as a chain paid it")]
    alpha: Annotated[float | None, Field(description="that the chain's last epoch paid")]
    tao: Annotated[float | None, Field(description="what that is worth by the pool's reserves")]


class FirstScreen(TypedDict):
    """Three questions, each with its answer and its figures."""

    learning: Answer
    tiles: Annotated[list[LearningTile], Field(description="those that are known")]
    healthy: Answer
    health: NetworkHealth
    pay: Answer
    paid: Annotated[list[PaidMiner], Field(description="those with most weight")]
    paid_count: Count
