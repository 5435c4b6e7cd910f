"""Drawings are well-formed, show every point at its place, and hold whatever names are given."""

import re
from xml.etree import ElementTree

import pytest

from assay.charts.axes import (
    Axis,
    list_ticks,
    list_whole_ticks,
    make_count_axis,
    make_log_axis,
    make_share_axis,
    write_percent,
    write_plain,
    write_power,
)
from assay.charts.drawing import Bound, Plot, Point, Series, describe, draw_picture, draw_plot
from tests.charts.pictures import SVG

COUNTS = make_count_axis([1, 5], "window")
SHARES = make_share_axis("reward")


def parse(picture: str) -> ElementTree.Element:
    return ElementTree.fromstring(picture)


def draw(*series: Series, **changes) -> ElementTree.Element:
    return parse(draw_picture("Title", [Plot(COUNTS, SHARES, series, **changes)], 400, 200))


def find(picture: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [one for one in picture.iter() if name in one.get("class", "").split()]


def test_a_line_goes_through_its_points_and_an_interval_from_low_to_high():
    points = [Point(1, 0.0), Point(3, 0.5, 0.25, 0.75), Point(5, 1.0)]
    picture = draw(Series("one", points))
    plot, legend = find(picture, "line")[::-1]
    assert plot.get("points") == "0.00,200.00,200.00,100.00,400.00,0.00"
    assert legend.tag == f"{SVG}line"
    assert find(picture, "bars")[0].get("d") == "M200.00 150.00V50.00"
    assert find(picture, "dots")[-1].get("d").count("M") == 3


def test_a_band_of_one_estimate_is_a_bar():
    one, two = Point(1, 0.5, 0.4, 0.6), Point(2, 0.5, 0.4, 0.6)
    assert [len(find(draw(Series("", [one], interval="band")), c)) for c in ("band", "bars")] == [
        0,
        1,
    ]
    assert [
        len(find(draw(Series("", [one, two], interval="band")), c)) for c in ("band", "bars")
    ] == [1, 0]


def test_of_no_points_the_axes_are_drawn():
    for series in ([], [Series("none", [])]):
        picture = draw(*series)
        texts = [one.text for one in picture.iter(f"{SVG}text")]
        assert "no points yet" in texts
        assert {"Title", "reward", "window", "0 %", "100 %"} <= set(texts)
        assert "no points" in next(picture.iter(f"{SVG}desc")).text


def test_a_single_value_is_in_the_middle_of_its_axis():
    axis = make_count_axis([7], "window")
    assert axis.ticks == [7]
    assert axis.place(7) == 0.5
    assert make_count_axis([], "window").ticks == []


def test_of_very_many_points_a_line_has_no_dots_and_estimates_keep_theirs():
    points = [Point(1 + n / 100, 0.5) for n in range(400)]
    assert "dots" not in draw_plot(Plot(COUNTS, SHARES, [Series("", points)]), "")
    estimates = draw_plot(Plot(COUNTS, SHARES, [Series("", points, line=False)]), "")
    assert 'class="dots many"' in estimates


@pytest.mark.parametrize("text", ["<script>x</script>", "a & b", "\"'", "\x00\x1b\ud800", "‮x"])
def test_names_of_strangers_stay_text(text):
    picture = draw(
        Series(text, [Point(1, 0.5, note=text)]), title=text, bounds=[Bound("x", 2, text)]
    )
    assert not list(picture.iter(f"{SVG}script"))
    shown = re.sub("[\x00\x1b\ud800]", "\ufffd", text)
    assert [one.text for one in picture.iter(f"{SVG}text")].count(shown) == 4
    parse(draw_plot(Plot(COUNTS, SHARES, [Series(text, [Point(1, 0.5)])]), text))


def test_a_picture_needs_no_variables_and_has_both_schemes():
    style = next(draw(Series("", [])).iter(f"{SVG}style")).text
    assert "var(" not in style
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for name in ("ground", "grid", "run-7"):
        rules = [re.search(rf"\.{name}\b[^{{]*{{[^}}]*(#[0-9a-f]+)", p)[1] for p in (light, dark)]
        assert rules[0] != rules[1]


def test_a_legend_has_each_name_once_and_colours_begin_again():
    series = [Series(f"run {n}", [Point(1, 0.5)]) for n in range(10)]
    plots = [Plot(COUNTS, SHARES, series, "left"), Plot(COUNTS, SHARES, series, "right")]
    picture = parse(draw_picture("Two", plots))
    texts = [one.text for one in picture.iter(f"{SVG}text")]
    assert [texts.count(one.name) for one in series] == [1] * 10
    assert len(find(picture, "run-1")) == 2 * 2 + 2
    assert {"left", "right"} <= set(texts)


def test_a_note_is_above_where_there_is_no_space_below():
    picture = draw(Series("", [Point(1, 0.0, 0.0, 0.1, note="low"), Point(2, 0.9, note="high")]))
    low, high = (float(one.get("y")) for one in find(picture, "note"))
    assert low == pytest.approx(8 + 200 * 0.9 - 8)
    assert high == pytest.approx(8 + 200 * 0.1 + 16)


def test_a_logarithmic_axis_has_powers_of_ten():
    axis = make_log_axis(1e-13, 1, "p")
    assert axis.ticks == [1e-13, 1e-11, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1]
    assert [axis.place(value) for value in (1e-13, 1, 0)] == [0, 1, 0]
    assert axis.place(10**-6.5) == pytest.approx(0.5)
    assert make_log_axis(0.3, 5, "p").ticks == [1]
    assert make_log_axis(2, 5, "p").ticks == []


@pytest.mark.parametrize("length", [0, 1, 6, 7, 13, 100, 12_345, 10**9])
def test_ticks_are_few_round_and_within(length):
    for first in (0, 3, 999):
        ticks = list_whole_ticks(first, first + length)
        assert 1 <= len(ticks) <= 8
        assert first <= ticks[0] <= ticks[-1] <= first + length
    ticks = list_ticks(length)
    assert 2 <= len(ticks) <= 8
    assert ticks[-1] >= length


def test_figures_of_axes_are_written_short():
    assert [write_plain(v) for v in (0, 1.0, 1234.5, 0.12345)] == ["0", "1", "1,234.5", "0.123"]
    assert [write_percent(v) for v in (0, 0.25, 0.125, 1)] == ["0 %", "25 %", "12.5 %", "100 %"]
    assert [write_power(10.0**n) for n in (-13, -1, 0, 1, 3)] == ["10⁻¹³", "10⁻¹", "1", "10", "10³"]


def test_a_description_names_ends_and_count():
    plot = Plot(
        Axis(1, 5, [1, 5], "window"), SHARES, [Series("this run", [Point(1, 0.5), Point(5, 1)])]
    )
    assert describe("Reward", plot) == (
        "Reward by window: this run from 50 % at window 1 to 100 % at window 5, 2 points"
    )
