"""Curves of this run and of others beside it."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from assay.explorer.documents.shared import Count

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
    part: NotRequired[
        Annotated[int, Field(description="points of another part do not compare", ge=0)]
    ]


class CurveSeries(TypedDict):
    run: Annotated[str, Field(description="`this run`, or the name of a run beside it")]
    points: list[CurvePoint]


class Curve(TypedDict):
    """A quantity along windows or checkpoints, of one run or several."""

    name: str
    title: str
    along: Along
    axis: ChartAxis
    top: Annotated[_Real, Field(description="greatest value of the axis")]
    bottom: NotRequired[Annotated[_Real, Field(description="its least value; 0 without it")]]
    unit: NotRequired[
        Annotated[
            Literal["percent", "points"], Field(description="how values are written; else plainly")
        ]
    ]
    breaks: NotRequired[Annotated[str, Field(description="what is other behind a part’s end")]]
    ticks: list[_Real]
    series: list[CurveSeries]


class CurveSection(TypedDict):
    """Curves of one subject, by their names, in the order of a page."""

    title: str
    curves: list[str]


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
