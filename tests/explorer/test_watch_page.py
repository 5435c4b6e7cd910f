"""The page that watches a course: what it does, the rules with their thresholds, and the figures
over windows."""

import json
import shutil
import time
from dataclasses import asdict, replace

import pytest

from assay.artifacts.store_objects import make_checkpoint_name, make_step_name
from assay.audit.provenance.course import read_course
from assay.network.files import write_json
from assay.training import Group, LearnStats
from assay.training.figures import compute_group_figures
from assay.training.watch import RULES, WatchedWindow, judge_course
from tests.explorer.inside import Page, look_into, wait_for_course


def make_window(number, length):
    """A window of completions that have a length of at most 100."""
    group = Group(
        [1], [[2] * length, [3] * length], [0, 1_000_000], [[-0.5] * length, [-1.5] * length]
    )
    return WatchedWindow(number, number + 1, 0, compute_group_figures([group], 100))


def write_windows(folder, windows):
    write_json(folder / "windows.json", [asdict(window) for window in windows])


@pytest.fixture
def stranger(demo, tmp_path):
    """What a stranger has of the demo: its record, its store, and in the store its steps and its
    checkpoints' manifests, as a trainer on a network publishes them."""
    place = tmp_path / "stranger"
    for name in ("record", "store"):
        shutil.copytree(demo / name, place / name)
    for name in ("status.json", "summary.json"):
        shutil.copy(demo / name, place)
    for path in (demo / "steps").glob("step-*.json"):
        digest = bytes.fromhex(json.loads(path.read_text())["digest"])
        for suffix in (".json", ".parquet"):
            target = place / "store" / make_step_name(digest, f"step{suffix}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path.with_suffix(suffix), target)
    for path in (demo / "models").glob("*/manifest.json"):
        name = make_checkpoint_name(bytes.fromhex(path.parent.name), "manifest.json")
        target = place / "store" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return place


def test_a_collapse_is_named_with_its_rule_and_drawn(copy):
    lengths = [50] * 5 + [10] * 3
    write_windows(copy, [make_window(n, length) for n, length in enumerate(lengths)])
    with look_into(copy) as inside:
        found = wait_for_course(inside.get_json)
        text = inside.get("/watch").text
    assert (found["state"], found["is_own"]) == ("collapses", True)
    assert found["sentence"].startswith("the training run collapses: mean length of completions")
    assert [row["rule"] for row in found["rules"]] == [rule.name for rule in RULES]
    (rule,) = (row for row in found["rules"] if row["holds"])
    shown = [rule[name] for name in ("rule", "value", "threshold", "highest", "windows")]
    assert shown == ["shorter", 0.2, 0.4, False, 3]
    curves = {curve["name"]: curve["series"][0]["points"] for curve in found["curves"]}
    assert [(p["x"], p["y"]) for p in curves["length"]] == list(enumerate(lengths))
    assert {p["y"] for p in curves["entropy"]} == {1.0}
    assert {p["y"] for p in curves["distinct"]} == {2.0}
    page = Page(text)
    assert "The training run collapses: mean length of completions" in "".join(page.text)
    drawn = [json.loads(look["data-curve"]) for tag, look in page.elements if tag == "figure"]
    names = {curve["name"] for curve in drawn}
    assert names == {"reward", "teaching", "entropy", "distinct", "length", "at-limit"}


def test_older_rollouts_are_shown_by_age(copy):
    """A trainer's file may have anything there: what is no such figure is left out."""
    ages = [{"age": 1, "share": 0.5, "ess": 0.75, "kl": 0.0123}]
    ages += [{"age": 4, "share": 0.25, "ess": [], "kl": "far"}]
    stats = LearnStats(1, 0, 1, 100, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0, stale_ages=ages)
    windows = [make_window(n, 50) for n in range(3)]
    odd = replace(stats, stale_ages=[3, {"age": -1}, {"age": "old"}])
    write_windows(
        copy, [windows[0], replace(windows[1], stats=stats), replace(windows[2], stats=odd)]
    )
    with look_into(copy) as inside:
        found = wait_for_course(inside.get_json)
        text = inside.get("/watch").text
    assert [row["stale_ages"] for row in found["rows"]] == [
        [],
        [ages[0], {"age": 4, "share": 0.25, "ess": None, "kl": None}],
        [],
    ]
    assert "1: 75.0 %, 0.012 nats" in " ".join("".join(Page(text).text).split())


def test_without_a_trainer_s_figures_its_steps_are_judged(demo):
    windows = read_course(demo)
    with look_into(demo) as inside:
        found = wait_for_course(inside.get_json)
    assert (found["is_own"], found["sentence"]) == (False, str(judge_course(windows)))
    assert [row["checkpoint"] for row in found["rows"]] == [w.checkpoint for w in windows]
    assert all(0 < row["entropy"] < 5 and row["ratio_p01"] is None for row in found["rows"])


def test_a_stranger_watches_what_was_published(stranger, demo):
    with look_into(stranger) as inside:
        made = {c["step"]: c["number"] for c in inside.get_json("/training.json")["checkpoints"]}
        found = wait_for_course(inside.get_json)
    in_force = sorted(number for step, number in made.items() if step)
    assert in_force
    assert [row["checkpoint"] for row in found["rows"]] == in_force
    of_trainer = [w for w in read_course(demo) if w.checkpoint in in_force]
    assert found["sentence"] == str(judge_course(of_trainer))


def test_a_step_of_which_a_store_has_other_groups_is_not_judged(stranger, caplog):
    first, *others = sorted((stranger / "store" / "steps").glob("*/step.parquet"))
    for path in others:
        shutil.copy(first, path)
    with look_into(stranger) as inside:
        found = wait_for_course(inside.get_json)
        text = inside.get("/watch").text
    assert found["lack"] == {"why": "it cannot be read just now", "passing": False}
    assert found["rules"] == found["rows"] == []
    assert "is not what the step consumed" in caplog.text  # for the operator: it names a folder
    assert str(stranger / "store") not in text


def test_where_there_is_nothing_to_watch_the_page_says_what_to_name(stranger):
    shutil.rmtree(stranger / "store" / "steps")
    with look_into(stranger) as inside:
        found = inside.get_json("/watch.json")
        text = inside.get("/watch").text
    assert not found["lack"]["passing"]
    assert "neither a trainer's folder" in found["lack"]["why"]
    assert "--trainer" in text


def test_newer_figures_come_and_damaged_ones_are_told(copy, caplog):
    windows = [make_window(n, 50) for n in range(6)]
    write_windows(copy, windows[:3])
    with look_into(copy) as inside:
        assert len(wait_for_course(inside.get_json)["rows"]) == 3
        write_windows(copy, windows)
        ends = time.monotonic() + 120
        while len(inside.get_json("/watch.json")["rows"]) < 6 and time.monotonic() < ends:
            time.sleep(0.05)
        assert len(inside.get_json("/watch.json")["rows"]) == 6
        (copy / "windows.json").write_text("[1]")
        while inside.get_json("/watch.json")["lack"] is None and time.monotonic() < ends:
            time.sleep(0.05)
        assert inside.get_json("/watch.json")["lack"]["why"] == "it cannot be read just now"
    assert "move it away" in caplog.text


def test_figures_that_no_page_can_show_are_left_out(copy):
    window = make_window(0, 50)
    groups = replace(window.groups, reward=1e300, entropy=1e300)
    write_windows(copy, [replace(window, groups=groups), make_window(1, 50)])
    with look_into(copy) as inside:
        first, second = wait_for_course(inside.get_json)["rows"]
        assert inside.get("/watch").status_code == 200
    assert (first["reward"], first["entropy"], first["length"]) == (None, None, 50)
    assert (second["reward"], second["entropy"]) == (0.5, 1.0)
