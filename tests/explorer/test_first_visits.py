"""What takes seconds is computed before anybody asks, or a bar says how far it is. No heading
stands above nothing."""

import re
import threading
import time

import pytest
from starlette.testclient import TestClient

from assay.explorer import make_app, routes
from assay.explorer.documents.windows import ReadingLack, ReadingProgress
from assay.explorer.indexing import Indexer
from assay.explorer.ports import CourseReading
from assay.explorer.sources.helper_reading import HelperReading
from tests.explorer.inside import ADDRESS, UNLIMITED, look_into
from tests.explorer.program import list_pages

pytestmark = pytest.mark.slow
#: A helper that notes how far it is, and goes on when a file allows it.
_BOOT = """
import json, time
from pathlib import Path
from assay.explorer.sources.progress import note_progress
from assay.sandbox.child import serve
def answer(request):
    order = json.loads(request)
    for done in range(order["of"]):
        note_progress(order["progress"], done, order["of"], "steps")
        while not Path(order["allow"] + str(done)).exists():
            time.sleep(0.01)
    return json.dumps({"message": None, "found": order["of"]}).encode()
serve(answer, None)
"""


@pytest.fixture(scope="module")
def inside(demo):
    with look_into(demo) as opened:
        yield opened


def test_a_reading_says_how_far_it_is_until_it_is_there(tmp_path):
    changes, changed = [], threading.Event()

    def on_change():
        changes.append(1)
        changed.set()

    reading = HelperReading(
        *("echo", _BOOT, 60, "steps", lambda document: document["found"], "it is read"),
        *("there is none", tmp_path, on_change),
    )

    def read():
        order = {"allow": str(tmp_path / "allow"), "of": 3}
        return reading.read(lambda: (1,), lambda: order, 0)

    def wait_for(done):
        ends = time.monotonic() + 300
        while (lack := read())["progress"] != ReadingProgress(done=done, of=3, what="steps"):
            assert lack["passing"]
            assert lack["progress"] == {"done": 0, "of": 1, "what": "starting what reads it"} or (
                lack["progress"]["of"] == 3
            )
            assert time.monotonic() < ends
            time.sleep(0.02)

    try:
        for done in range(3):
            wait_for(done)
            assert changed.wait(60), "open pages are told to renew themselves"
            changed.clear()
            (tmp_path / f"allow{done}").touch()
        assert reading.read(lambda: (1,), lambda: pytest.fail("it is known"), 300) == 3
    finally:
        reading.close()
    assert len(changes) >= 4


def test_the_course_is_read_before_anybody_asks(demo):
    """By the thread of the index alone, once it has the record."""
    with look_into(demo) as inside:
        sources, asked, begun = inside.source.sources, [], threading.Event()
        read_course = sources.read_course

        def note(steps, wait_s):
            asked.append((steps, wait_s))
            found = read_course(steps, wait_s)
            begun.set()
            return found

        sources.read_course = note
        indexer = Indexer(inside.source.subject, inside.index, lambda: None)
        indexer.prepare = inside.indexer.prepare
        indexer.start()
        try:
            assert begun.wait(300)
        finally:
            indexer.stop()
        ((steps, wait_s),) = asked
        assert wait_s == 0, "the index waits for nothing"
        assert isinstance(read_course(steps, 400), CourseReading)
        document = inside.get_json("/training")
        assert document["lack"] is None
        assert any(curve["name"] == "step-reward" for curve in document["curves"])


def test_pages_that_wait_show_a_bar_and_no_heading_above_nothing(inside, demo):
    lack = ReadingLack(
        why="it is being read",
        passing=True,
        progress=ReadingProgress(done=2, of=5, what="the miner’s file"),
    )
    around = inside.answer_instead(read_course=lack, read_group=lack, read_proposals=lack)
    app, *_ = make_app(inside.source.subject, inside.index, around, access=UNLIMITED)
    client = TestClient(app, base_url=ADDRESS)
    rollout = next(path for path in list_pages(demo) if path.count("/") == 5)
    for path in ("/watch", "/training", rollout):
        page = client.get(path, headers={"accept": "text/html"}).text
        assert '<progress value="2" max="5"' in page, path
        assert "2</data> of <data" in page
        assert "the miner’s file" in page
        for section in re.findall(r"<section.*?</section>", page, re.DOTALL):
            is_hidden = 'class="filled"' in section and "<figure" not in section
            words = re.sub(r"<h2.*?</h2>|<[^>]+>", "", section, flags=re.DOTALL).strip()
            assert words or is_hidden, section
        assert "it takes a moment" not in page


def test_a_person_sees_the_bar_and_a_program_waits_for_data(inside, demo):
    waits = []

    def read(*asked):
        waits.append(asked[-1])
        return ReadingLack(why="it is being read", passing=True)

    inside_sources = inside.answer_instead()
    inside_sources.read_course = inside_sources.read_group = read
    app, *_ = make_app(inside.source.subject, inside.index, inside_sources, access=UNLIMITED)
    client = TestClient(app, base_url=ADDRESS)
    rollout = next(path for path in list_pages(demo) if path.count("/") == 5)
    for path in ("/watch", rollout):
        waits.clear()
        client.get(path, headers={"accept": "text/html"})
        client.get(f"{path}.json")
        person, program = waits
        assert person < 1 < program


def test_a_long_table_shows_its_newest_rows_and_its_files_have_all(inside, monkeypatch):
    monkeypatch.setattr(routes, "_ROWS_SHOWN", 2)
    rewards = inside.get_json("/training")["rewards"]
    assert len(rewards) > 2
    page = inside.get("/training").text
    table = page[page.index("<span>Reward of valued groups by window") :].partition("</table>")
    shown = re.findall(r'<a href="/window/(\d+)">', table[0])
    assert [int(window) for window in shown] == [row["window"] for row in rewards[-2:]]
    assert "CSV and JSON have all" in table[2].partition("</details>")[0]
    csv = inside.get("/training.csv?table=rewards").text.splitlines()
    assert len(csv) == 1 + len(rewards)
