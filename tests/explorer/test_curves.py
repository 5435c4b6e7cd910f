"""Curves of this run and of others: as documents, as drawings, and in a real browser."""

import hashlib
import json
import re

import pytest

from assay.charts.smoothing import WEIGHT
from assay.explorer.pages import STATIC
from assay.explorer.views.curves import make_curve
from assay.settings.loading import ConfigError
from tests.explorer.inside import ADDRESS, Page, browse, look_into, wait_for_figures


def test_the_library_is_the_one_that_npm_has():
    lines = (STATIC / "uplot.txt").read_text().splitlines()
    told = dict(line.split()[::-1] for line in lines if re.match("[0-9a-f]{64} ", line))
    assert set(told) == {"uplot.js", "uplot.css"}
    for name, digest in told.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == digest
    assert "The MIT License" in "\n".join(lines)


def test_ticks_are_round_and_hold_every_point():
    for highest in (1, 2, 7, 9, 10, 63, 99, 12_345, 10**9):
        points = [{"x": 1, "y": 0}, {"x": 2, "y": highest}]
        curve = make_curve("score", "Score", "window", points, None)
        assert curve["ticks"][0] == 0
        assert curve["ticks"][-1] == curve["top"] >= highest
        assert 2 <= len(curve["ticks"]) <= 8
        steps = {b - a for a, b in zip(curve["ticks"], curve["ticks"][1:], strict=False)}
        assert len(steps) == 1


def test_curves_have_the_points_of_the_tables(demo, beside):
    with look_into(demo, beside=(beside,)) as inside:
        document = wait_for_figures(inside, "/training.json")
        text = inside.get("/training").text
    curves = {curve["name"]: curve for curve in document["curves"]}
    assert set(curves) >= {"gain", "reward", "held-out", "score", "tokens"}
    placed = [name for section in document["sections"] for name in section["curves"]]
    assert sorted(placed) == sorted(curves), "each has one place"
    own = {name: curve["series"][0]["points"] for name, curve in curves.items()}
    assert [(p["x"], p["y"]) for p in own["reward"]] == [
        (row["window"], row["reward"]) for row in document["rewards"]
    ]
    assert [(p["x"], p["y"]) for p in own["score"]] == [
        (row["window"], row["score"]) for row in document["scores"]
    ]
    assert [p["y"] for p in own["held-out"]] == [row["value"] for row in document["tried"]]
    assert [(p["x"], p["y"], p["low"], p["high"]) for p in own["gain"]] == [
        tuple(row[name] for name in ("number", "gain", "low", "high"))
        for row in document["gate"]["measured"]
    ]
    for curve in curves.values():
        runs = [one["run"] for one in curve["series"]]
        assert runs == ["this run", "seed-2"][: len(runs)]  # not each figure of a step is in both
        assert curve["axis"]["last"] == max(p["x"] for s in curve["series"] for p in s["points"])
    summary = {(row["curve"], row["run"]): row for row in document["runs"]}
    assert {name for name, run in summary if run == "seed-2"} >= set(own) & {"gain", "reward"}
    last = own["held-out"][-1]
    assert summary["held-out", "seed-2"]["last"] == pytest.approx(0.9 * last["y"])
    assert summary["held-out", "seed-2"]["last_at"] == last["x"] + 3
    drawn = [look for tag, look in Page(text).elements if tag == "figure" and "data-curve" in look]
    assert [json.loads(look["data-curve"]) for look in drawn] == [curves[name] for name in placed]


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{",
        '{"curves": 1}',
        '{"curves": [{"name": "reward"}]}',
        '{"curves": [{"name": "x", "title": "", "along": "window", "axis": {"first": 0, "last": 0, '
        '"ticks": []}, "top": NaN, "ticks": [], "series": []}]}',
        '{"curves": [{"name": "score", "title": "", "along": "window", "axis": {"first": 0, '
        '"last": 0, "ticks": []}, "top": 1, "ticks": [], "series": [{"run": "this run", "points": '
        '[{"x": 0, "y": 1e300}]}]}]}',
    ],
)
def test_a_run_that_cannot_be_read_is_left_out(demo, tmp_path, document):
    file = tmp_path / "other.json"
    file.write_text(document)
    with look_into(demo, beside=(file,)) as inside:
        found = inside.get("/training.json").json()
        assert inside.get("/training").status_code == 200
    assert found["runs"] == []
    assert {s["run"] for curve in found["curves"] for s in curve["series"]} == {"this run"}


def test_a_run_with_half_an_interval_is_drawn_without(demo, tmp_path, beside):
    document = json.loads(beside.read_text())
    (held,) = (one for one in document["curves"] if one["name"] == "held-out")
    del held["series"][0]["points"][-1]["low"]
    file = tmp_path / "half.json"
    file.write_text(json.dumps(document))
    with look_into(demo, beside=(file,)) as inside:
        page = inside.get("/training")
    assert page.status_code == 200
    (drawn,) = (
        look["data-curve"]
        for _, look in Page(page.text).elements
        if look.get("id") == "curve-held-out"
    )
    points = json.loads(drawn)["series"][1]["points"]
    assert [("low" in p, "high" in p) for p in points] == [
        *[(True, True)] * (len(points) - 1),
        (False, True),
    ]


def test_two_runs_of_one_name_and_a_file_that_is_not_there_are_refused(demo, tmp_path, beside):
    (tmp_path / "seed-2.json").write_bytes(beside.read_bytes())
    for files, said in (
        ((beside, tmp_path / "seed-2.json"), "another run is called 'seed-2'; rename the file"),
        ((tmp_path / "nowhere.json",), "there is no such file"),
    ):
        with pytest.raises(ConfigError, match=said), look_into(demo, beside=files):
            pass


def test_hostile_names_of_runs_stay_text(demo, tmp_path, beside):
    file = tmp_path / "<img src=x onerror=alert(1)>'\u202e.json"
    file.write_bytes(beside.read_bytes())
    with look_into(demo, beside=(file,)) as inside:
        text = inside.get("/training").text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "⟨RLO⟩" in text


# --- in a browser


def get_shown(box):
    """The ends of the visible part of the x axis."""
    return tuple(map(float, box.get_attribute("data-shown").split("..")))


@pytest.mark.slow
def test_a_point_under_the_mouse_is_told(page, served):
    page.goto("/training")
    curve = served.get_json("/training.json")["curves"]
    (held,) = (one for one in curve if one["name"] == "held-out")
    point = held["series"][0]["points"][0]
    figure = page.locator("#curve-held-out")
    over = figure.locator(".u-over")
    over.scroll_into_view_if_needed()
    over.hover(position={"x": 2, "y": 40})
    said = figure.locator(".reading").inner_text()
    assert said.startswith(f"checkpoint {point['x']}: this run {100 * point['y']:.1f} %")
    assert "seed-2" in said
    assert figure.locator("svg").count() == 0, "each curve is drawn once"


@pytest.mark.slow
def test_a_part_is_zoomed_by_dragging_and_the_whole_comes_back(page):
    page.goto("/training")
    box, whole = page.locator("#curve-reward .plot"), page.locator("#curve-reward")
    whole = whole.get_by_role("button", name="Reset zoom")
    over = box.locator(".u-over")
    over.scroll_into_view_if_needed()
    first, last = get_shown(box)
    assert whole.is_disabled()
    area = over.bounding_box()
    page.mouse.move(area["x"] + 0.3 * area["width"], area["y"] + 30)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.7 * area["width"], area["y"] + 40, steps=5)
    page.mouse.up()
    low, high = get_shown(box)
    assert first < low < high < last
    assert low == pytest.approx(first + 0.3 * (last - first), abs=0.05 * (last - first))
    whole.click()
    assert get_shown(box) == (first, last)
    assert whole.is_disabled()


@pytest.mark.slow
def test_keys_alone_read_and_zoom(page):
    page.goto("/training")
    figure = page.locator("#curve-score")
    box, said = figure.locator(".plot"), figure.locator(".reading")
    first, last = get_shown(box)
    box.focus()
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(f"window {first:.0f}: ")
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith(f"window {first + 1:.0f}: ")
    page.keyboard.press("ArrowLeft")
    assert said.inner_text().startswith(f"window {first:.0f}: ")
    page.keyboard.press("+")
    low, high = get_shown(box)
    assert (low, high) != (first, last)
    page.keyboard.press("-")
    assert get_shown(box) == (first, last)
    page.keyboard.press("+")
    page.keyboard.press("0")
    assert get_shown(box) == (first, last)
    assert said.get_attribute("role") == "status"


@pytest.mark.slow
def test_runs_are_chosen_by_ticking(page):
    page.goto("/training")
    figure = page.locator("#curve-reward")
    other = page.locator("#curve-tools").get_by_role("checkbox", name="seed-2")
    over = figure.locator(".u-over")

    def count_colours():
        """The colours of the drawing's pixels, without mixtures of two."""
        return page.evaluate(
            """() => {
              const canvas = document.querySelector("#curve-reward canvas");
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              const seen = new Map();
              for (let i = 0; i < data.length; i += 4) {
                if (data[i + 3] < 255) continue;
                const key = [data[i], data[i + 1], data[i + 2]].join();
                seen.set(key, (seen.get(key) || 0) + 1);
              }
              return [...seen].filter(([, n]) => n > 100).map(([key]) => key);
            }"""
        )

    both = count_colours()
    other.uncheck()
    page.wait_for_timeout(200)
    one = count_colours()
    assert set(one) < set(both)
    other.check()
    page.wait_for_timeout(200)
    assert set(count_colours()) == set(both)
    assert over.count() == 1


@pytest.mark.slow
def test_a_renewed_page_keeps_the_zoom_and_shows_new_points(page, beside):
    before = beside.read_text()
    page.goto("/training")
    figure = page.locator("#curve-held-out")
    figure.get_by_role("button", name="Zoom in").click()
    shown = get_shown(figure.locator(".plot"))
    document = json.loads(before)
    (held,) = (one for one in document["curves"] if one["name"] == "held-out")
    points = held["series"][0]["points"]
    points.append({**points[-1], "x": points[-1]["x"] + 5})
    try:
        beside.write_text(json.dumps(document))
        page.evaluate("changed()")
        row = page.locator("#runs tbody tr", has_text="seed-2").first
        row.locator(f"data[value='{points[-1]['x']}']").first.wait_for()
        assert get_shown(figure.locator(".plot")) == shown
        figure.get_by_role("button", name="Reset zoom").click()
        assert get_shown(figure.locator(".plot"))[1] == points[-1]["x"]
    finally:
        beside.write_text(before)


@pytest.mark.slow
def test_without_script_each_curve_is_a_drawing_and_a_table(chromium, served):
    context = chromium.new_context(base_url=served.address, java_script_enabled=False)
    page = context.new_page()
    page.goto("/training")
    drawings = page.locator("figure[data-curve] svg.chart")
    names = [curve["name"] for curve in served.get_json("/training.json")["curves"]]
    assert drawings.count() == len(names) > 4
    for n in range(len(names)):
        assert "this run from" in drawings.nth(n).get_attribute("aria-label")
        assert drawings.nth(n).locator("polyline:not(.raw)").count() >= 2
    assert page.locator("figcaption .run").count() >= 2 * len(names)
    page.get_by_text("As a table").first.click()
    assert page.locator("#rewards tbody tr").first.is_visible()
    context.close()


@pytest.mark.slow
def test_a_miners_score_is_a_curve(page, demo):
    summary = json.loads((demo / "summary.json").read_text())
    (hotkey,) = {v["hotkey"] for v in summary["windows"][0]["verdicts"] if v["name"] == "honest-1"}
    page.goto(f"/miner/{hotkey}")
    box = page.locator("#curve-score .plot")
    box.focus()
    page.keyboard.press("ArrowRight")
    score = next(v for v in summary["windows"][0]["verdicts"] if v["hotkey"] == hotkey)["score"]
    said = page.locator("#curve-score .reading").inner_text()
    assert said == f"window {summary['windows'][0]['window']}: {score:,}"


@pytest.mark.slow
def test_curves_stand_side_by_side_and_share_their_cursor(page):
    page.set_viewport_size({"width": 1_280, "height": 900})
    page.goto("/training")
    page.wait_for_selector("#curve-step-reward .u-over")  # steps' figures come after the page
    boxes = [page.locator(f"#curve-{name}").bounding_box() for name in ("tokens", "score")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] < boxes[1]["x"]
    over = page.locator("#curve-score .u-over")
    over.scroll_into_view_if_needed()
    over.hover(position={"x": 2, "y": 40})
    readings = {
        name: page.locator(f"#curve-{name} .reading") for name in ("score", "tokens", "reward")
    }
    place = readings["score"].inner_text().partition(":")[0]
    assert place.startswith("window ")
    assert all(one.inner_text().startswith(f"{place}: ") for one in readings.values())
    spoken = [name for name, one in readings.items() if one.get_attribute("aria-live") == "polite"]
    assert spoken == ["score"], "the others tell their values to eyes alone"
    assert page.locator("#curve-gain .reading").inner_text().startswith("checkpoint ")


@pytest.mark.slow
def test_smoothing_and_a_logarithmic_axis_change_the_drawings(chromium, copy):
    """Of a run that is long enough to be smoothed."""
    others = {
        "curves": [
            make_curve(
                "reward", "Reward", "window", [{"x": n, "y": n % 3 / 3} for n in range(40)], 1
            )
        ]
    }
    (copy / "noise.json").write_text(json.dumps(others))
    with look_into(copy, beside=(copy / "noise.json",)) as inside:
        drawing = inside.get("/training").text.partition('id="curve-reward"')[2]
        assert drawing.partition("</figure>")[0].count('class="line raw"') == 1
        with browse(inside, chromium) as (page, said):
            check_looks(page)
        assert said == []


def check_looks(page):
    page.goto(f"{ADDRESS}/training")
    canvas = "document.querySelector('#curve-reward canvas').toDataURL()"
    smoothing = page.get_by_label("Smoothing")
    assert smoothing.input_value() == str(WEIGHT), "as drawings without script"
    page.wait_for_timeout(200)
    smoothed = page.evaluate(canvas)
    smoothing.fill("0")
    page.wait_for_timeout(200)
    first = page.evaluate(canvas)
    assert first != smoothed
    page.get_by_label("Logarithmic axis").check()
    page.wait_for_timeout(200)
    assert page.evaluate(canvas) != first


@pytest.mark.slow
def test_a_drawing_is_saved_as_a_picture(page, tmp_path):
    page.goto("/training")
    with page.expect_download() as waited:
        page.get_by_role("button", name="PNG of Reward of valued groups").click()
    waited.value.save_as(tmp_path / "reward.png")
    assert waited.value.suggested_filename == "reward.png"
    assert (tmp_path / "reward.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_line_ends_where_the_problems_are_others(chromium, copy):
    """65.7 % of 166 problems and then 52.3 % of 128 are no fall."""
    rows = [
        (1, 100, 166, [4, 5]),
        (2, 109, 166, [4, 5]),
        (3, 67, 128, [3, 5]),
        (4, 70, 128, [3, 5]),
    ]
    points = [
        {"number": n, "reward": 0.5, "correct": c, "problems": of, "levels": levels}
        for n, c, of, levels in rows
    ]
    (copy / "progress.json").write_text(json.dumps(points))
    with look_into(copy) as inside:
        html, document = inside.get("/training").text, inside.get_json("/training.json")
        with browse(inside, chromium) as (page, said):
            page.goto(f"{ADDRESS}/training")
            reading = page.locator("#curve-held-out .reading").inner_text()
            assert reading.startswith("checkpoint 4: 54.7 %")
        assert said == []
    (held,) = (one for one in document["curves"] if one["name"] == "held-out")
    assert [point["part"] for point in held["series"][0]["points"]] == [0, 0, 1, 1]
    drawing = html[html.index('id="curve-held-out"') :].partition("</figure>")[0]
    assert drawing.count("<polyline") == drawing.count('class="band"') == 2
    assert drawing.count(">other problems<") == 1


def test_ticks_of_small_and_of_negative_values_are_round():
    for low, high in ((0, 3e-6), (-0.004, 0.011), (-12.5, 3), (0, 0.73), (0, 0)):
        points = [{"x": 1, "y": low}, {"x": 2, "y": high}]
        curve = make_curve("loss", "Loss", "window", points, None)
        assert curve.get("bottom", 0) == curve["ticks"][0] <= low
        assert curve["top"] == curve["ticks"][-1] >= high
        assert 2 <= len(curve["ticks"]) <= 8
