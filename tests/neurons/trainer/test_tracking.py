"""A tracker's child process, with a library that takes down what it is told, or misbehaves."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from assay.neurons.settings.loading import ConfigError
from assay.neurons.trainer import tracking
from assay.neurons.trainer.tracking import Plan, Tracker, make_plan

#: What is asked of wandb.
LIBRARY = """
import json, os, time
MODE = os.environ["TRACKED_MODE"]

def note(*told):
    with open(os.environ["TRACKED_FILE"], "a") as file:
        file.write(json.dumps(told) + "\\n")

def Settings(**given):
    return sorted(given)

def init(**given):
    note("init", os.getpid(), given)
    print("a library prints what it likes")
    if MODE == "fails":
        raise SystemExit(1)
    if MODE == "hangs":
        time.sleep(3600)
    return Run()

class Run:
    def define_metric(self, name, step_metric):
        note("axis", name, step_metric)
    def log(self, figures):
        note("log", figures)
    def finish(self):
        note("finish")
        if MODE == "lingers":
            time.sleep(3600)
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Chooses how the library behaves. Returns what it was told."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "wandb.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("TRACKED_FILE", str(tmp_path / "told"))
    monkeypatch.syspath_prepend(str(folder))

    def choose(mode):
        monkeypatch.setenv("TRACKED_MODE", mode)

    def read():
        file = tmp_path / "told"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    choose("works")
    read.choose = choose
    return read


def plan(tmp_path, hotkey="5Alice"):
    return make_plan("assay", tmp_path / "tracker", bytes(32), 7, hotkey, {"epochs": 4})


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.01)


def test_wandb_gets_all_figures_in_order_each_with_its_axis(library, tmp_path):
    tracker = Tracker(plan(tmp_path))
    for window in range(2):
        tracker.log("window", window, {"loss": window / 2})
    tracker.log("checkpoint", 9, {"reward": 0.5})
    tracker.close()
    (_, _, given), *told = library()
    assert (given["project"], given["resume"], given["config"]) == ("assay", "allow", {"epochs": 4})
    assert (given["id"], given["dir"]) == (plan(tmp_path).run, str(tmp_path / "tracker"))
    assert given["name"].startswith("netuid7-5Alice-")
    assert "x_disable_machine_info" in given["settings"]
    assert told == [
        ["axis", "loss", "window"],
        ["log", {"loss": 0.0, "window": 0}],
        ["log", {"loss": 0.5, "window": 1}],
        ["axis", "reward", "checkpoint"],
        ["log", {"reward": 0.5, "checkpoint": 9}],
        ["finish"],
    ]
    assert tracker.lost == 0
    assert "prints what it likes" in (tmp_path / "tracker" / "tracker.log").read_text()


def test_a_run_keeps_its_name_and_another_trainer_has_another(library, tmp_path):
    """Also from another folder: a trainer that moves goes on with its run."""
    ours = plan(tmp_path)
    assert plan(tmp_path / "elsewhere").run == ours.run
    other = plan(tmp_path, hotkey="5Bob")
    assert {other.run, other.name}.isdisjoint({ours.run, ours.name})
    for _ in range(2):
        tracker = Tracker(ours)
        tracker.log("window", 1, {})
        tracker.close()
    names = [told[2]["name"] for told in library() if told[0] == "init"]
    assert names == [ours.name] * 2


@pytest.mark.parametrize("mode", ["hangs", "lingers"])
def test_a_library_that_waits_is_ended(library, tmp_path, monkeypatch, mode):
    monkeypatch.setattr(tracking, "_FINISH_S", 1)
    library.choose(mode)
    tracker = Tracker(plan(tmp_path))
    tracker.log("window", 1, {})
    wait_for(library)
    begun = time.monotonic()
    tracker.close()
    assert time.monotonic() - begun < 30  # of an hour
    _, process, _ = library()[0]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_a_trainer_that_is_killed_leaves_no_child(library, tmp_path):
    """Its end of the pipe closes, and the child's own alarm ends it, wherever it waits."""
    library.choose("hangs")
    given = json.dumps(
        {"project": "p", "run": "r", "name": "n", "folder": "f", "config": {}, "seconds": 1}
    ).encode()
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", tracking._BOOT],  # noqa: SLF001 - as the trainer starts it
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    child.stdin.write(given + b"\n")
    child.stdin.flush()
    wait_for(library)
    child.stdin.close()
    assert child.wait(60) == -signal.SIGALRM


def test_a_child_that_ends_is_told_and_started_again(library, tmp_path, caplog):
    library.choose("fails")
    caplog.set_level(logging.WARNING, "assay")
    tracker = Tracker(plan(tmp_path), again_s=0.0)

    def has_lost():
        tracker.log("window", 1, {})
        return tracker.lost

    wait_for(has_lost)
    assert "the tracker has lost 1 lines of figures" in caplog.text
    assert str(tmp_path / "tracker" / "tracker.log") in caplog.text
    library.choose("works")

    def has_logged():
        tracker.log("window", 2, {"loss": 1.0})
        return any(told[0] == "log" for told in library())

    wait_for(has_logged)
    tracker.close()
    assert library()[-1] == ["finish"]


def test_a_full_queue_loses_lines_and_does_not_wait(library, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(tracking, "_WAITING", 2)
    monkeypatch.setattr(Tracker, "_serve", lambda self: None)  # nobody takes anything
    caplog.set_level(logging.WARNING, "assay")
    tracker = Tracker(plan(tmp_path))
    for window in range(6):
        tracker.log("window", window, {})
    assert tracker.lost == 4
    assert [r.args[0] for r in caplog.records] == [1, 2, 4]


def test_a_library_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'tracker = "wandb" needs wandb.*assay\[wandb\]'):
        plan(tmp_path)


def test_a_plan_has_no_secret(library, tmp_path, monkeypatch):
    """Keys stay in the library's own variables, which the child inherits."""
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    made = plan(tmp_path)
    assert isinstance(made, Plan)
    assert "hunter2" not in repr(made)
    tracker = Tracker(made)
    tracker.log("window", 1, {})
    tracker.close()
    assert "hunter2" not in json.dumps(library())
    assert "hunter2" not in (tmp_path / "tracker" / "tracker.log").read_text()
