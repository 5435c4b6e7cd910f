"""Draws plots as SVG: curves, estimates with their intervals, bounds.

The same elements serve a page and a file. Ticks and texts are placed in percent of the width.
Curves are in an inner `<svg>` with coordinates of its own, which is as wide as what it is in: a
plot of the explorer is stretched with its page, and the strokes are not.

    draw_plot(plot, "…")               <svg class="chart" width="100%">, the look in `STYLE_FILE`
    draw_picture("…", [plot, plot])    a whole file: title, legend, plots side by side, the look
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Literal

from assay.charts.axes import Axis

#: The look of a plot: a page that shows one has it as a stylesheet.
STYLE_FILE = Path(__file__).parent / "static" / "chart.css"
#: Colours and dashes; a later series has those of an earlier one again.
_RUNS = 8
#: Points of a series from which its dots are small, and a line's are left out.
_MANY, _DENSE = 60, 400
#: Pixels of a plot without axes, and above and below it.
_SPARK, _SPARK_TOP = 40, 4
#: Pixels: above a plot, of its height, and below it to the baselines of its ticks and its label.
_TOP, _HEIGHT, _TO_TICKS, _TO_LABEL, _BELOW = 8, 160, 20, 40, 44


@dataclass(frozen=True, slots=True)
class Point:
    """A value; of an estimate also its interval. note: written below it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Values in the order in which a line connects them."""

    name: str
    points: Sequence[Point]
    line: bool = True
    marks: Literal["dots", "rings"] | None = "dots"
    #: how intervals are drawn; a single point's always as a bar
    interval: Literal["bars", "band"] = "bars"
    #: its colour and dashes: those of this place; None: of its place among the plot's series
    look: int | None = None
    #: what a smoothed line is of: pale, and without points
    raw: bool = False


@dataclass(frozen=True, slots=True)
class Bound:
    """A line at a value of one axis."""

    axis: Literal["x", "y"]
    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Series over the same axes. title: above it in a picture of several."""

    x: Axis
    y: Axis
    series: Sequence[Series]
    title: str = ""
    bounds: Sequence[Bound] = ()


def describe(title: str, plot: Plot) -> str:
    """A plot in words, for those who do not see it."""
    parts = [
        f"{one.name} from {plot.y.write(one.points[0].y)} at {plot.x.label} {one.points[0].x:g} to "
        f"{plot.y.write(one.points[-1].y)} at {plot.x.label} {one.points[-1].x:g}, "
        f"{len(one.points)} points"
        for one in plot.series
        if one.points
    ]
    return f"{title} by {plot.x.label}: {'; '.join(parts) or 'no points'}"


def draw_plot(plot: Plot, label: str) -> str:
    """A plot as wide as its place in a page, without a legend. label: see `describe`."""
    height = _TOP + _HEIGHT + _BELOW
    body = "\n".join(_draw_body(plot, 100, _HEIGHT))
    return (
        f'<svg class="chart" width="100%" height="{height}" role="img" '
        f'aria-label="{_escape(label)}">\n{body}\n</svg>'
    )


def draw_spark(plot: Plot, label: str) -> str:
    """A plot without axes, ticks and notes, for a place beside a figure."""
    bounds = (_SPARK_TOP + _SPARK * (1 - plot.y.place(bound.value)) for bound in plot.bounds)
    lines = (f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>' for y in bounds)
    body = "\n".join([*lines, *_draw_all_series(plot, 100, _SPARK, _SPARK_TOP)])
    return (
        f'<svg class="chart spark" width="100%" height="{_SPARK + 2 * _SPARK_TOP}" role="img" '
        f'aria-label="{_escape(label)}">\n{body}\n</svg>'
    )


def _draw_body(plot: Plot, width: float, height: float) -> Iterator[str]:
    """The elements of a plot whose top is at `_TOP`. width: what curves count as theirs."""
    bottom = _TOP + height
    for tick in plot.y.ticks:
        y = _TOP + height * (1 - plot.y.place(tick))
        yield f'<line class="grid" x1="0" x2="100%" y1="{y:.2f}" y2="{y:.2f}"/>'
        text = _escape(plot.y.write(tick))
        yield f'<text x="-10" y="{y:.2f}" dy="4" text-anchor="end">{text}</text>'
    for tick in plot.x.ticks:
        x = f"{100 * plot.x.place(tick):.2f}%"
        top = _TOP if plot.x.log else bottom
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom + 5}"/>'
        text = _escape(plot.x.write(tick))
        yield f'<text x="{x}" y="{bottom + _TO_TICKS}" text-anchor="middle">{text}</text>'
    yield from _draw_all_series(plot, width, height, _TOP)
    for bound in plot.bounds:
        yield from _draw_bound(plot, bound, height)
    for one in plot.series:
        yield from _draw_notes(plot, one, height)
    if not any(one.points for one in plot.series):
        middle = _TOP + height / 2
        yield f'<text x="50%" y="{middle:g}" text-anchor="middle">no points yet</text>'
    label = _escape(plot.x.label)
    yield f'<text x="50%" y="{bottom + _TO_LABEL}" text-anchor="middle">{label}</text>'


def _draw_all_series(plot: Plot, width: float, height: float, top: float) -> Iterator[str]:
    for number, one in enumerate(plot.series):
        look = number if one.look is None else one.look
        yield (
            f'<svg class="run-{look % _RUNS}" y="{top:g}" viewBox="0 0 {width:g} {height:g}" '
            f'preserveAspectRatio="none" width="100%" height="{height:g}" overflow="visible">'
        )
        yield from _draw_series(plot, one, width, height)
        yield "</svg>"


def _draw_series(plot: Plot, series: Series, width: float, height: float) -> Iterator[str]:
    def place(x: float, y: float) -> str:
        return f"{width * plot.x.place(x):.2f} {height * (1 - plot.y.place(y)):.2f}"

    estimates = [
        (point.x, point.low, point.high)
        for point in series.points
        if point.low is not None and point.high is not None
    ]
    if series.interval == "band" and len(estimates) > 1:
        upper = [place(x, high) for x, _, high in estimates]
        lower = [place(x, low) for x, low, _ in reversed(estimates)]
        yield f'<path class="band" d="M{" L".join(upper + lower)}Z"/>'
    elif estimates:
        ends = (f"M{place(x, low)}V{place(x, high).split()[1]}" for x, low, high in estimates)
        yield f'<path class="bars" d="{"".join(ends)}"/>'
    spots = [place(point.x, point.y) for point in series.points]
    if series.line and spots:
        pale = " raw" if series.raw else ""
        yield f'<polyline class="line{pale}" points="{" ".join(spots).replace(" ", ",")}"/>'
    dense = series.line and len(spots) >= _DENSE
    if series.marks is not None and spots and not dense:
        many = " many" if len(spots) >= _MANY else ""
        marks = "".join(f"M{spot}h0" for spot in spots)
        yield f'<path class="dots{many}" d="{marks}"/>'
        if series.marks == "rings":
            yield f'<path class="holes" d="{marks}"/>'


def _draw_notes(plot: Plot, series: Series, height: float) -> Iterator[str]:
    for point in series.points:
        if point.note:
            lowest = point.y if point.low is None else point.low
            y = _TOP + height * (1 - plot.y.place(lowest)) + 16
            if y > _TOP + height - 4:  # no space below it
                highest = point.y if point.high is None else point.high
                y = _TOP + height * (1 - plot.y.place(highest)) - 8
            x = f"{100 * plot.x.place(point.x):.2f}%"
            text = _escape(point.note)
            yield f'<text class="note" x="{x}" y="{y:.2f}" text-anchor="middle">{text}</text>'


def _draw_bound(plot: Plot, bound: Bound, height: float) -> Iterator[str]:
    text = _escape(bound.text)
    if bound.axis == "y":
        y = _TOP + height * (1 - plot.y.place(bound.value))
        yield f'<line class="bound" x1="0" x2="100%" y1="{y:.2f}" y2="{y:.2f}"/>'
        yield f'<text class="note" x="100%" y="{y - 5:.2f}" text-anchor="end">{text}</text>'
        return
    x = f"{100 * plot.x.place(bound.value):.2f}%"
    yield f'<line class="bound" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_TOP + height:g}"/>'
    turned = f"translate(-5 {_TOP + height - 6:g}) rotate(-90)"
    note = f'<text class="note" transform="{turned}">{text}</text>'
    yield f'<svg x="{x}" overflow="visible">{note}</svg>'


#: Pixels of a picture: its margins, of a plot beside its axis, and of a row of its legend.
_MARGIN, _AXIS, _ROW = 20, 56, 22
#: Pixels from the title's baseline to the legend, of a plot's own title, and of its y label.
_TITLE, _HEADING, _LABEL = 30, 24, 20
#: Pixels of a legend's mark, and of a character of 13 pixels.
_SWATCH, _CHARACTER = 30, 7.0
#: What a picture has and a page brings along, in light and dark.
_COLORS = (
    {"ink": "#1a1f24", "dim": "#56606b", "line": "#dde1e5", "surface": "#ffffff"},
    {"ink": "#e4e9ee", "dim": "#9ca8b4", "line": "#2b333c", "surface": "#161b21"},
)
_PICTURE_RULES = """
.ground { fill: var(--surface); }
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.title { fill: var(--ink); font-size: 17px; font-weight: 600; }
.heading { fill: var(--ink); font-size: 14px; font-weight: 600; }
.legend text { fill: var(--ink); font-size: 13px; }
"""


def draw_picture(title: str, plots: Sequence[Plot], width: float = 640, height: float = 300) -> str:
    """A file: title, legend of all series, and plots side by side.

    Args:
        width, height: of a plot within its axes, pixels.
    """
    step = _AXIS + width + _MARGIN
    whole = _MARGIN + len(plots) * step
    rows = _arrange_legend(plots, whole - 2 * _MARGIN)
    top = _MARGIN + _TITLE + len(rows) * _ROW + _LABEL
    if any(plot.title for plot in plots):
        top += _HEADING
    deep = top + _TOP + height + _BELOW + 8
    words = _escape(". ".join(describe(plot.title or title, plot) for plot in plots))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {deep:g}" '
        f'width="{whole:g}" height="{deep:g}" role="img">',
        f"<title>{_escape(title)}</title>",
        f"<desc>{words}</desc>",
        f"<style>{_make_style()}</style>",
        '<rect class="ground" width="100%" height="100%"/>',
        f'<text class="title" x="{_MARGIN}" y="{_MARGIN + 14}">{_escape(title)}</text>',
        *_draw_legend(rows),
    ]
    for number, plot in enumerate(plots):
        left = _MARGIN + number * step + _AXIS
        if plot.title:
            y = top - _LABEL - 6
            lines.append(
                f'<text class="heading" x="{left - _AXIS:g}" y="{y:g}">{_escape(plot.title)}</text>'
            )
        lines += [
            f'<svg class="chart" x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" '
            'overflow="visible">',
            f'<text x="{-_AXIS}" y="-6">{_escape(plot.y.label)}</text>',
            *_draw_body(plot, width, height),
            "</svg>",
        ]
    return "\n".join([*lines, "</svg>\n"])


def _arrange_legend(plots: Iterable[Plot], width: float) -> list[list[tuple[float, int, Series]]]:
    """Rows of the legend: where each series' mark is, and its look. One name is shown once."""
    series = {
        one.name: (number if one.look is None else one.look, one)
        for plot in plots
        for number, one in enumerate(plot.series)
    }
    rows: list[list[tuple[float, int, Series]]] = []
    left = width
    for look, one in series.values():
        length = _SWATCH + _CHARACTER * len(one.name) + 16
        if left + length > width or not rows:
            rows.append([])
            left = 0.0
        rows[-1].append((left, look % _RUNS, one))
        left += length
    return rows


def _draw_legend(rows: Sequence[Sequence[tuple[float, int, Series]]]) -> Iterator[str]:
    yield '<g class="chart legend">'
    for number, row in enumerate(rows):
        y = _MARGIN + _TITLE + number * _ROW + 6
        for left, look, one in row:
            x = _MARGIN + left
            yield f'<g class="run-{look}">'
            if one.line:
                yield f'<line class="line" x1="{x:g}" x2="{x + 22:g}" y1="{y:g}" y2="{y:g}"/>'
            if one.marks is not None:
                yield f'<path class="dots" d="M{x + 11:g} {y:g}h0"/>'
            if one.marks == "rings":
                yield f'<path class="holes" d="M{x + 11:g} {y:g}h0"/>'
            yield "</g>"
            yield f'<text x="{x + _SWATCH:g}" y="{y + 4:g}">{_escape(one.name)}</text>'
    yield "</g>"


@cache
def _make_style() -> str:
    """A picture's look in colours alone: few viewers besides browsers know CSS variables."""
    head, _, rules = STYLE_FILE.read_text(encoding="utf-8").partition("/* What")
    light, dark = (
        dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+);", block)) | colors
        for block, colors in zip(head.split("@media"), _COLORS, strict=True)
    )
    rules = rules.partition("*/")[2] + _PICTURE_RULES

    def resolve(colors: dict[str, str]) -> str:
        return re.sub(r"var\(--([a-z0-9-]+)\)", lambda match: colors[match[1]], rules)

    return f"{resolve(light)}@media (prefers-color-scheme: dark) {{{resolve(dark)}}}"


#: Characters that no XML document can have.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _escape(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))
