"""A tracker's child process, with a library that takes down what it is told, or misbehaves."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from assay.neurons.trainer import tracking, tracking_child
from assay.neurons.trainer.tracking import Plan, Tracker, make_plan
from assay.settings.loading import ConfigError

#: What is asked of wandb.
LIBRARY = """
import json, os, signal, time
MODE = os.environ["TRACKED_MODE"]

def note(*told):
    with open(os.environ["TRACKED_FILE"], "a") as file:
        file.write(json.dumps(told) + "\\n")

def Settings(**given):
    return sorted(given)

def init(**given):
    note("init", os.getpid(), given)
    print("a library prints what it likes")
    with open(os.environ["TRACKED_FILE"] + ".environment", "w") as file:
        json.dump(dict(os.environ), file)
    if MODE == "fails":
        raise SystemExit(1)
    if MODE == "hangs":
        time.sleep(3600)
    if MODE == "freezes":
        os.kill(os.getpid(), signal.SIGSTOP)
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


def test_a_library_that_is_frozen_at_the_end_is_not_started_again(library, tmp_path, monkeypatch):
    """It reads nothing, so its pipe and the queue are full when the trainer closes."""
    monkeypatch.setattr(tracking, "_FINISH_S", 1)
    monkeypatch.setattr(tracking, "_WAITING", 2)
    started = []
    start = Tracker._start  # noqa: SLF001 - what may not be called again

    def note_and_start(tracker):
        started.append(tracker)
        start(tracker)

    monkeypatch.setattr(Tracker, "_start", note_and_start)
    library.choose("freezes")
    tracker = Tracker(plan(tmp_path), again_s=0.0)
    tracker.log("window", 0, {})
    wait_for(library)
    _, process, _ = library()[0]
    os.waitid(os.P_PID, process, os.WSTOPPED | os.WNOWAIT)
    tracker.log("window", 1, {"x" * 10_000_000: 0.0})  # more than a pipe holds
    logged = 2
    while tracker.lost < 4:
        tracker.log("window", logged, {})
        logged += 1
    tracker.close()
    assert len(started) == 1
    assert tracker.lost == logged - 1  # all but the first


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


def test_lines_that_a_waiting_library_does_not_take_are_counted(library):
    library.choose("hangs")
    given = {"project": "p", "run": "r", "name": "n", "folder": "f", "config": {}, "seconds": 1}
    lines = [json.dumps(given)] + ["[]"] * (tracking_child._WAITING + 5)  # noqa: SLF001 - a bound
    child = subprocess.run(
        [sys.executable, "-P", "-c", tracking._BOOT],  # noqa: SLF001 - as the trainer starts it
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == -signal.SIGALRM
    counted = [line.split()[1] for line in child.stderr.splitlines() if "lines of figures" in line]
    assert counted == ["1", "2", "4"]


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


@pytest.mark.parametrize("reports", [None, "true"])
def test_the_library_reads_its_own_variables_and_none_of_ours(
    library, tmp_path, monkeypatch, reports
):
    ours = "ASSAY_WALLET_PASSWORD", "ASSAY_STORE__URL", "AWS_SECRET_ACCESS_KEY", "BT_WALLET"
    for name in (*ours, "HF_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("WANDB_API_KEY", "its own")
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    if reports is not None:
        monkeypatch.setenv("WANDB_ERROR_REPORTING", reports)
    tracker = Tracker(plan(tmp_path))
    tracker.log("window", 1, {})
    tracker.close()
    given = json.loads((tmp_path / "told.environment").read_text())
    assert "hunter2" not in given.values()
    assert given["WANDB_API_KEY"] == "its own"
    assert given["WANDB_ERROR_REPORTING"] == (reports or "false")
