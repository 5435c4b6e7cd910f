"""The picture of what checkpoints have shown by their gate, as SVG.

The line is the gain over the first checkpoint, of each measured checkpoint and up to seven before
it, with its band; dots are checkpoints alone. Behind a return the line begins anew, and what was
given up is drawn apart.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup

from assay.charts.axes import Axis, make_count_axis
from assay.charts.drawing import Bound, Plot, Point, Series, draw_plot
from assay.explorer.documents.training import GateShown, MeasuredRow

#: Looks of what goes on, of milestones, of what was given up, and of checkpoints alone.
GOING_ON, MILESTONES, GIVEN_UP, ALONE = 0, 2, 4, 7
#: Checkpoints from which on a band counts for the axis: it would be much wider before.
_SETTLED = 4
#: Percentage points between two ticks, and most ticks.
_STEPS, _TICKS = (1, 2, 5, 10, 20, 25, 50), 7


def draw_gains(gate: GateShown) -> Markup:
    """The picture, without a legend."""
    rows, ends = gate["measured"], gate["ends"]
    numbers = [row["number"] for row in rows] + [end["number"] for end in ends]
    first = [0] if gate["whole"] else []
    along = make_count_axis([*first, *numbers], "checkpoint", 0.5)
    plot = Plot(
        along,
        _make_axis(rows),
        [*_list_alone(rows), *_list_lines(rows, gate), *_list_milestones(rows, gate)],
        bounds=[Bound("y", 0, ""), *_list_returns(gate)],
    )
    return Markup(draw_plot(plot, f"Gain over the first checkpoint: {gate['sentence']}"))


def _make_axis(rows: Sequence[MeasuredRow]) -> Axis:
    settled = [row for row in rows if row["together"] >= _SETTLED]
    low = min((0.0, *(r["low"] for r in settled), *(r["gain"] for r in rows)))
    high = max((0.0, *(r["high"] for r in settled), *(r["gain"] for r in rows)))
    low, high = 100 * min(low, -0.02), 100 * max(high, 0.02)
    step = next((s for s in _STEPS if (high - low) / s <= _TICKS - 2), _STEPS[-1])
    ticks = range(int(low // step) * step, int(-(-high // step)) * step + 1, step)
    return Axis(ticks[0] / 100, ticks[-1] / 100, [tick / 100 for tick in ticks], write=_write)


def _write(share: float) -> str:
    points = round(100 * share)
    return f"{points:+d}".replace("-", "−") if points else "0"


def _list_alone(rows: Sequence[MeasuredRow]) -> Iterator[Series]:
    low, high = _make_axis(rows).first, _make_axis(rows).last
    inside = [Point(r["number"], min(max(r["alone"], low), high)) for r in rows]
    yield Series("one alone", inside, line=False, look=ALONE)


def _list_lines(rows: Sequence[MeasuredRow], gate: GateShown) -> Iterator[Series]:
    """A line from one return to the next, and what was given up at its end."""
    axis = _make_axis(rows)
    returns = [end["number"] for end in gate["ends"] if end["outcome"] == "return"]

    def place(row: MeasuredRow) -> Point:
        low, high = max(row["low"], axis.first), min(row["high"], axis.last)
        return Point(row["number"], row["gain"], low, high)

    def find_line(row: MeasuredRow) -> int:
        return sum(number < row["number"] for number in returns)

    for _, of_line in groupby(rows, find_line):
        before: list[Point] = []
        for is_given_up, part in groupby(of_line, lambda row: row["given_up"]):
            points = [*before, *map(place, part)]
            look = GIVEN_UP if is_given_up else GOING_ON
            name = "given up" if is_given_up else "gain"
            yield Series(name, points, marks=None, interval="band", look=look)
            before = points[-1:]


def _list_milestones(rows: Sequence[MeasuredRow], gate: GateShown) -> Iterator[Series]:
    gains = {row["number"]: row["gain"] for row in rows}
    if gate["whole"]:
        gains[0] = 0.0
    milestones = [end["number"] for end in gate["ends"] if end["outcome"] == "milestone"]
    points = [Point(n, gains[n]) for n in (0, *milestones) if n in gains]
    yield Series("milestone", points, line=False, marks="rings", look=MILESTONES)


def _list_returns(gate: GateShown) -> Iterator[Bound]:
    for end in gate["ends"]:
        if end["outcome"] == "return":
            back = "milestone" if end["milestone"] is None else end["milestone"]
            yield Bound("x", end["number"], f"back to {back}")
