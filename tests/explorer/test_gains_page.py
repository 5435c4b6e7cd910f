"""What checkpoints have shown by their gate: the picture, its tables, and where it is said."""

import re
from dataclasses import replace

import pytest

from assay.artifacts.gates.gains import describe_gain, follow_line
from assay.explorer.gain_drawing import draw_gains
from assay.explorer.ports import ShownRecord
from assay.explorer.sources.gates import GateLines
from assay.explorer.sources.manifests import Manifests
from assay.network.files import write_json
from assay.protocol.encoding import to_json
from assay.protocol.parameters import EnvironmentChoice, Gate
from tests.artifacts.gates.lines import GATE, KnownManifests, make_line, write_line
from tests.explorer.inside import look_into

#: Two milestones, a fall that is returned, and a rise behind it.
STEPS = [0.012] * 16 + [-0.06] * 3 + [0.012] * 12


@pytest.fixture(scope="module")
def line():
    return make_line(STEPS)


@pytest.fixture
def gated(copy, line, monkeypatch):
    """The demo's record as that of a network with a gate, whose trainer has made this line."""
    leave_line(copy, line)
    set_gate(monkeypatch, GATE)
    return copy


def set_gate(patch, gate):
    honest = ShownRecord.get_parameters
    patch.setattr(ShownRecord, "get_parameters", lambda *a: replace(honest(*a), gate=gate))


def leave_line(folder, line):
    """As a trainer's folder has it: manifests, and the newest step."""
    write_line(line, folder / "models")
    newest = line[-1]
    record = {"number": 1_000, "window": 9, "groups": 8, "parent": newest.parent.hex()}
    step = {"record": record, "child": newest.digest.hex(), "digest": newest.step.hex()}
    write_json(folder / "steps" / "step-99999999.json", step)


def test_a_page_has_what_the_manifests_say(gated, line):
    with look_into(gated) as inside:
        found = inside.get_json("/training")["gate"]
        page = inside.get("/training").text
        watch = inside.get_json("/watch")["gate"]
    shown = follow_line(line[-1].digest, KnownManifests(line), GATE)
    assert found["sentence"] == watch["sentence"] == describe_gain(shown)
    assert found["whole"]
    assert not found["of_file"]
    rows = [(r["number"], r["wins"], r["losses"], r["given_up"]) for r in found["measured"]]
    assert rows == [
        (one.number, one.counts.wins, one.counts.losses, one.is_given_up) for one in shown.measured
    ]
    assert [(end["outcome"], end["number"], end["milestone"]) for end in found["ends"]] == [
        (turn.outcome.value, turn.number, turn.milestone) for turn in shown.turns
    ]
    (back,) = (turn for turn in shown.turns if turn.outcome == "return")
    assert f"back to {back.milestone}" in page
    assert "so that nobody could prepare for them" in page


def test_a_table_is_had_alone(gated, line):
    with look_into(gated) as inside:
        text = inside.get("/training.csv?table=measured", accept="text/csv").text
    shown = follow_line(line[-1].digest, KnownManifests(line), GATE)
    assert len(text.splitlines()) == 1 + len(shown.measured)


def test_problems_of_a_file_are_drawn_after_and_not_unknown(gated, monkeypatch):
    set_gate(
        monkeypatch, replace(GATE, environment=(EnvironmentChoice("arithmetic", "", bytes(32)),))
    )
    with look_into(gated) as inside:
        assert inside.get_json("/training")["gate"]["of_file"]
        page = inside.get("/training").text
    assert "drawn after it, and not unknown to it" in page
    assert "nobody could prepare" not in page


def test_a_course_of_any_numbers_at_all_is_not_read(gated, line):
    """What a stranger's manifest counts may be so large that its bounds take minutes."""
    huge = replace(line[-1].course.counts[-1], asked=2**32 - 1, first_wins=2**32 - 1)
    course = replace(line[-1].course, counts=(*line[-1].course.counts[:-1], huge))
    lied = replace(line[-1], course=course)
    leave_line(gated, [*line[:-1], lied])
    with look_into(gated) as inside:
        assert inside.get_json("/training")["gate"] is None


def test_without_a_gate_nothing_is_said(copy, monkeypatch):
    set_gate(monkeypatch, Gate())
    with look_into(copy) as inside:
        assert inside.get_json("/training")["gate"] is None
        assert inside.get_json("/watch")["gate"] is None
        assert "Is it better than at the beginning?" not in inside.get("/training").text


def test_a_manifest_of_another_digest_is_not_believed(gated, line):
    """Nor is the line that leads there: what is not at hand is said to be missing."""
    lied = replace(line[-1], course=replace(line[-1].course, counts=()))
    assert lied.course != line[-1].course
    write_json(gated / "models" / line[-1].digest.hex() / "manifest.json", to_json(lied))
    with look_into(gated) as inside:
        assert inside.get_json("/training")["gate"] is None


def read_gate(line, folder):
    write_line(line, folder)
    found = GateLines(Manifests(folder, [])).read(line[-1].digest, GATE)
    return {
        "sentence": found.sentence,
        "whole": found.is_whole,
        "measured": found.measured,
        "ends": found.ends,
    }


def test_the_line_ends_at_a_return_and_begins_anew(line, tmp_path):
    svg = str(draw_gains(read_gate(line, tmp_path)))
    lines = re.findall(r'<svg class="run-(\d)".*?</svg>', svg, re.S)
    assert lines == ["7", "0", "4", "0", "2"]
    assert svg.count('class="band"') == 3


def test_a_line_of_any_length_has_a_picture(tmp_path):
    for steps in ([], [0.0] * 3, [0.4, 0.4, -0.8, -0.1]):
        gate = read_gate(make_line(steps), tmp_path)
        svg = str(draw_gains(gate))
        places = [float(y) for y in re.findall(r' y1="([-\d.]+)"', svg)]
        assert all(0 <= y <= 180 for y in places)
