"""Documents into HTML: templates, and how numbers, digests and times are written.

Everything is escaped by the templates; nothing here marks a stranger's text as safe. A number
is in a `<data>` element with the value that the JSON has.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from assay.charts.axes import Axis, write_percent, write_plain
from assay.charts.drawing import (
    STYLE_FILE,
    Bound,
    Plot,
    Point,
    Series,
    describe,
    draw_plot,
    draw_spark,
)
from assay.charts.smoothing import POINTS, smooth
from assay.explorer.documents.curves import Curve, CurvePoint
from assay.explorer.gain_drawing import draw_gains
from assay.explorer.labels import MARKS, ROLLOUT_MARKS, get_mark, show_hidden

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_DIGEST = re.compile("[0-9a-f]{64}")
_BREAK = re.compile(r"\s*\n\s*")
#: Points of a line in a drawing. Of more, the smoothed line is drawn alone, through some of them:
#: a script draws all.
_DRAWN = 160
#: Points of a small drawing above which it has no dots.
_SPARSE = 8
#: Folders of our own files.
STATIC_FOLDERS = (STATIC, STYLE_FILE.parent)


@cache
def _list_marks() -> dict[str, str]:
    files = (path for folder in STATIC_FOLDERS for path in folder.iterdir() if path.is_file())
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}


def make_mark(name: str) -> str | None:
    """A digest of one of our own files, for its address; None: there is no such file."""
    return _list_marks().get(name)


def link_static(name: str) -> str:
    """The address of one of our own files: another one as soon as the file is another."""
    return f"/static/{name}?v={make_mark(name)}"


class Pages:
    def __init__(self) -> None:
        self._environment = _make_environment()

    def render(self, template: str, document: Mapping[str, Any], state: Mapping[str, Any]) -> str:
        return self._environment.get_template(template).render(d=document, s=state)

    def read_static(self, name: str) -> bytes:
        return (STATIC / name).read_bytes()


@cache
def _make_environment() -> Environment:
    """Compiles each template once, however many explorers a process serves."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        finalize=_finish,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=64,
    )
    environment.filters.update(
        {name: _write_number(write) for name, write in _NUMBERS.items()},
        time=write_time,
        short=shorten,
        clean=show_hidden,
        part=partial(quote, safe=""),
        whole=write_digest,
        model=write_model,
        command=write_command,
        code=write_code,
        reason=write_reason,
        prose=write_prose,
        about=write_about,
        plain=write_plain,
        flat=write_flat,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "separators": (",", ":")}
    environment.globals.update(
        mark=get_mark,
        marks=MARKS,
        rollout_marks=ROLLOUT_MARKS,
        address=make_address,
        static=link_static,
        curve_drawing=draw_curve,
        small_drawing=draw_small,
        gain_drawing=draw_gains,
    )
    return environment


def _finish(value: Any) -> Any:
    """Show hidden characters in all text that a template writes, even without a filter."""
    return show_hidden(value, lines=True) if type(value) is str else value


_NOTHING = Markup('<span class="nothing">–</span>')


def _write_number(write: Callable[..., str]) -> Callable[..., Markup]:
    """A filter that writes a number, and a dash for none."""

    def apply(value: float | None, *digits: int) -> Markup:
        if value is None:
            return _NOTHING
        return Markup('<data value="{}">{}</data>').format(value, write(value, *digits))

    return apply


_UNITS = ((86_400, "days"), (3_600, "h"), (60, "min"), (1, "s"))


@_write_number
def write_about(seconds: float) -> str:
    """How long something takes, as people say it: two figures that count, at most."""
    size, unit = next((s, u) for s, u in _UNITS if seconds >= 2 * s or s == 1)
    return f"about {round(seconds / size)} {unit}"


def _write_chance(probability: float) -> str:
    """A token's probability in percent; one that is not certain is not written as if it were."""
    percent = round(100 * probability)
    if percent < 1:
        return "<1%"
    return ">99%" if percent == 100 and probability < 1 else f"{percent}%"


_NUMBERS: dict[str, Callable[..., str]] = {
    "integer": "{:,}".format,
    "points": lambda share: f"{100 * share:+.1f}".replace("-", "−"),
    "percent": lambda share: f"{100 * share:.1f} %",
    "signed": lambda value: f"{value:+.3f}".replace("-", "−"),
    "chance": lambda nats: _write_chance(math.exp(-nats)),
    "real": lambda value, digits=3: "0" if value == 0 else f"{value:.{digits}g}",
    "fixed": lambda value, digits=3: f"{value:.{digits}f}",
    "figure": lambda value: write_plain(value),
    "millionths": lambda value: f"{value / 1_000_000:.3f}",
}


def write_time(milliseconds: int | None) -> Markup:
    if milliseconds is None:
        return _NOTHING
    try:
        moment = datetime.fromtimestamp(milliseconds / 1_000, UTC)
    except (ValueError, OverflowError, OSError):  # a record can claim any
        return _write_number("{} ms".format)(milliseconds)
    return Markup('<time datetime="{:%Y-%m-%dT%H:%M:%SZ}">{:%Y-%m-%d %H:%M:%S}</time>').format(
        moment, moment
    )


def shorten(text: str | None, length: int = 8) -> Markup:
    """The beginning of a digest or hotkey; the whole of it on demand."""
    if not text:
        return _NOTHING
    if len(text) <= length + 4:
        return escape(show_hidden(text))
    short = f"{text[:length]}…{text[-4:]}"
    return Markup('<span class="id" title="{}" data-copy>{}</span>').format(
        show_hidden(text), show_hidden(short)
    )


def write_model(name: str) -> Markup:
    """A model's name, which may be its checkpoint's digest."""
    return shorten(name) if _DIGEST.fullmatch(name) else escape(show_hidden(name))


def write_digest(text: str) -> Markup:
    parts = [text[start : start + 16] for start in range(0, len(text), 16)]
    return Markup('<span class="id whole" data-copy>{}</span>').format(Markup("<wbr>").join(parts))


def write_command(text: str) -> Markup:
    """A command whose words are broken only where one alone is too long for its line."""
    return Markup(" ").join(
        Markup("<span>{}</span>").format(show_hidden(word)) for word in text.split(" ")
    )


def write_code(text: str) -> Markup:
    """A command or an option within a sentence. No line breaks at an option's hyphens."""
    words = (show_hidden(word) for word in text.split(" "))
    whole = Markup("<span>{}</span>")
    parts = (whole.format(word) if word.startswith("-") else escape(word) for word in words)
    return Markup("<code>{}</code>").format(Markup(" ").join(parts))


def write_reason(text: str) -> Markup:
    return Markup("_<wbr>").join(escape(show_hidden(part)) for part in text.split("_"))


def write_prose(text: str) -> Markup:
    """A sentence with a capital and a full stop; text between backquotes is code."""
    parts = show_hidden(text[:1].upper() + text[1:].rstrip(".") + ".").split("`")
    return Markup("").join(
        write_code(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    )


def write_flat(text: str, whole: bool) -> str:
    """A text with nothing hidden: whole, or as one line of a table."""
    return show_hidden(text) if whole else show_hidden(_BREAK.sub(" ⏎ ", text))


def draw_curve(curve: Curve) -> Markup:
    """A curve's drawing: noisy lines smoothed, with the raw ones behind, and estimates with their
    bands. A line ends where the set of problems, or the line of checkpoints, is another one."""
    axis, bottom = curve["axis"], curve.get("bottom", 0.0)
    ends = bottom, curve["top"]
    series = [
        line
        for look, one in enumerate(curve["series"])
        for line in _list_lines(one["points"], show_hidden(one["run"]), look, ends, True)
    ]
    breaks = [
        Bound("x", point["x"], curve.get("breaks", ""))
        for before, point in pairwise(curve["series"][0]["points"])
        if before.get("part") != point.get("part")
    ]
    along = Axis(axis["first"], axis["last"], axis["ticks"], curve["along"])
    write = _WRITES.get(curve.get("unit", ""), write_plain)
    plot = Plot(along, Axis(bottom, curve["top"], curve["ticks"], write=write), series)
    words = describe(curve["title"], replace(plot, series=_list_whole(curve)))
    return Markup(draw_plot(replace(plot, bounds=breaks), words))


def _list_whole(curve: Curve) -> list[Series]:
    """Each run's points as one series, for words."""
    return [
        Series(show_hidden(one["run"]), [Point(p["x"], p["y"]) for p in one["points"]])
        for one in curve["series"]
    ]


def _write_points(share: float) -> str:
    return f"{100 * share:+.3g}".replace("-", "−") if share else "0"


#: How an axis writes its values, by a curve's unit.
_WRITES: Mapping[str, Callable[[float], str]] = {"percent": write_percent, "points": _write_points}


def draw_small(
    points: Sequence[CurvePoint], title: str, smoothed: bool = False, from_zero: bool = False
) -> Markup:
    """A curve beside its newest figure, with its band, without axes. A line connects no two points
    of different parts."""
    if len(points) < 2:
        return Markup()
    values = [point["y"] for point in points]
    for point in points[len(points) // 2 :]:  # the first bands of a gain are much wider
        values += [point.get("low", point["y"]), point.get("high", point["y"])]
    low, high = min([0.0] * from_zero + values), max(values)
    along = Axis(points[0]["x"], points[-1]["x"], [])
    series = _list_lines(points, title, 0, (low, high), smoothed)
    if len(points) > _SPARSE:
        series = [replace(one, marks=None) if len(one.points) > 1 else one for one in series]
    plot = Plot(along, Axis(low, high, []), series)
    if low < 0 < high:
        plot = replace(plot, bounds=[Bound("y", 0, "")])
    first, last = (write_plain(point["y"]) for point in (points[0], points[-1]))
    return Markup(draw_spark(plot, f"{title}: from {first} to {last}, {len(points)} points"))


def _list_lines(
    points: Sequence[CurvePoint], name: str, look: int, ends: tuple[float, float], smoothed: bool
) -> list[Series]:
    """What a run's points are drawn as: estimates with their band, of each part; other values as
    a line, and where it is smoothed with the raw line behind.

    ends: of the y axis, within which bands are drawn.
    """
    series = list[Series]()
    for _, part in groupby(points, lambda point: point.get("part")):
        drawn = [
            Point(
                p["x"],
                p["y"],
                None if "low" not in p else max(p["low"], ends[0]),
                None if "high" not in p else min(p["high"], ends[1]),
            )
            for p in part
        ]
        is_estimate = drawn[0].low is not None
        marks: Literal["dots"] | None = "dots" if len(drawn) == 1 or not smoothed else None
        if smoothed and not is_estimate and len(drawn) >= POINTS:
            if len(drawn) <= _DRAWN:
                series.append(Series(name, drawn, marks=None, look=look, raw=True))
            means = smooth([point.y for point in drawn])
            drawn = [replace(p, y=mean) for p, mean in zip(drawn, means, strict=True)]
            drawn = drawn[:: -(-len(drawn) // _DRAWN)] + drawn[-1:]
        series.append(Series(name, drawn, marks=marks, interval="band", look=look))
    return series


def make_address(path: str, **values: Any) -> str:
    """A path with a query; values that are empty are left out."""
    query = {name: value for name, value in values.items() if value not in ("", None)}
    return f"{path}?{urlencode(query)}" if query else path
