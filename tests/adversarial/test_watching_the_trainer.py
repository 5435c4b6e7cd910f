"""The monitor with real checkpoints, and with a folder that another run has left."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.steps.config import StepConfig
from assay.artifacts.steps.file import ConsumedGroup
from assay.artifacts.steps.folder import StepFolder, make_record
from assay.audit.provenance.course import read_course
from assay.cli.program_view import render_program
from assay.network.files import write_json
from assay.neurons.program.counters import Counters
from assay.neurons.program.life import Sign
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.monitor import HALF, HeldOutPoint, LearningMonitor, LearningMonitorError
from assay.neurons.trainer.program import LessonNotes
from assay.protocol.amendment import ParameterHistory
from assay.settings.loading import ConfigError
from assay.training import Group, LearnConfig, Learner, LearnStats
from assay.training.figures import compute_group_figures
from assay.training.genesis_model import make_model
from assay.training.held_out import HeldOut, count_held_out
from assay.training.lesson import StaleAge
from assay.training.watch import WatchedWindow
from tests.commands import run_command
from tests.statuses import VALIDATOR

AGES: list[StaleAge] = [{"age": 2, "share": 0.5, "ess": 0.25, "kl": 0.01}]
STATS = LearnStats(2, 0, 1, 10, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0, stale_ages=AGES)


def make_monitor(world, folder, said, problems=32, opened=()):
    checkpoints = CheckpointFolder(folder / "models")
    checkpoints.add(world.checkpoint.folder, world.checkpoint.digest)
    checkpoints.opened.update(opened)
    return LearningMonitor(
        folder, checkpoints, HeldOut(ParameterHistory(world.parameters), problems), said.append
    )


def make_lesson(world, number=0, reward=500_000):
    """A step from the genesis' weights; only its number is made up."""
    manifest = world.checkpoint.manifest
    manifest = replace(manifest, number=number)
    return Lesson(0, (reward, reward), STATS, manifest, manifest.level_numbers, 40, 0)


def test_a_checkpoint_is_tried_and_drawn(world, tmp_path):
    said = []
    monitor = make_monitor(world, tmp_path, said)
    assert not monitor.step()
    monitor.note(make_lesson(world))
    assert monitor.step()
    assert not monitor.step()
    (point,) = json.loads((tmp_path / "progress.json").read_text())
    counts = count_held_out(world.checkpoint, world.parameters, 32)
    inside = [c for c in counts if c.level in world.checkpoint.manifest.level_numbers]
    assert sum(c.asked for c in counts) == 32
    asked = point["problems"]
    assert (point["correct"], asked) == (
        sum(c.solved for c in inside),
        sum(c.asked for c in inside),
    )
    assert 0 < point["correct"] < asked < 32  # those beside are not counted
    drawn = (tmp_path / "progress.svg").exists(), (tmp_path / "tensorboard").exists()
    assert any(drawn)
    assert f"{asked} held-out problems" in said[0]
    assert make_monitor(world, tmp_path, said).points == monitor.points


def test_a_step_whose_groups_have_no_reward_yet_is_told(world, tmp_path, caplog):
    """Of proposals that wait, nothing is compared with eval accuracy."""
    caplog.set_level("INFO")
    monitor, tally = make_monitor(world, tmp_path, []), Counters()
    suites = SimpleNamespace(note=lambda lesson: None)
    notes = LessonNotes(monitor, suites, tally, lambda: None)
    notes.note(replace(make_lesson(world), rewards=(), waiting=3, delayed=2, expired=1))
    assert not monitor.step()
    (record,) = caplog.records
    assert record.message == "step=0"  # there is nothing to say of reward, accuracy or speed
    assert [record.step[name] for name in ("waiting", "delayed", "expired")] == [3, 2, 1]
    counted = {name: sum(by.values()) for name, by in tally.read().items()}
    assert (counted["groups"], counted["step_tokens"]) == (0, 40)
    console = Console(width=200)
    with console.capture() as said:
        shown = VALIDATOR | notes.describe() | {"program": "trainer"}
        console.print(render_program(shown, Sign(held=True, age=1)))
    assert "in these steps 3 groups began to wait for their reward, 2 were learned" in said.get()
    assert "1 expired" in said.get()


def test_windows_are_kept_and_judged_and_survive_a_restart(world, tmp_path, caplog, monkeypatch):
    shown = SimpleNamespace(added=[], add_scalar=lambda *one: shown.added.append(one))
    shown.flush = lambda: None
    monkeypatch.setattr("assay.neurons.trainer.monitor._open_board", lambda folder: shown)
    monitor = make_monitor(world, tmp_path, [])
    windows = [WatchedWindow(n) for n in range(4)]
    with caplog.at_level("WARNING", logger="assay"):
        for window in windows:
            monitor.watch(window)
    assert caplog.text.count("the training run is starved") == 1  # said once, not in each window
    assert make_monitor(world, tmp_path, []).verdict == monitor.verdict
    again = WatchedWindow(2, 3, 1, make_figures(), STATS)
    monitor.watch(again)  # a step that was taken back is made again
    assert make_monitor(world, tmp_path, []).windows == [*windows[:2], again]
    named = {name: value for name, value, number in shown.added if number == 2}
    assert (named["groups/distinct"], named["step/loss"], named["window/staleness"]) == (2, 0, 1)
    assert named["step/stale_ess/age-2"] == 0.25
    (tmp_path / "windows.json").write_text("[1]")
    with pytest.raises(LearningMonitorError, match="move it away"):
        make_monitor(world, tmp_path, [])


def make_figures():
    return compute_group_figures([Group([1], [[2], [3]], [0, 1], [[-1.0], [-1.0]])], 8)


@pytest.mark.parametrize("kept", [True, False], ids=["own figures", "steps alone"])
def test_a_folder_is_judged_by_the_command(world, tmp_path, kept):
    groups = [Group([1], [[2], [3]], [0, 0], [[-1.0], [-1.0]])]
    rows = [WatchedWindow(n, n, 0, compute_group_figures(groups, 8)) for n in range(3)]
    if kept:
        write_json(tmp_path / "windows.json", [asdict(row) for row in rows])
    else:
        write_steps(world, tmp_path, groups)
    done = run_command("train", "watch", "--dir", tmp_path)
    assert done.returncode == 1
    assert "share of groups in which nothing was earned: 1, above 0.9" in done.stdout
    done = run_command("train", "watch", "--dir", tmp_path, "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["rules"]["all_wrong"]


def write_steps(world, folder, groups):
    steps, learner = StepFolder(folder / "steps", kept=0), make_small_learner()
    parameters, parent = world.parameters, world.checkpoint.manifest
    for n in range(3):
        taken = [
            ConsumedGroup(group, n, bytes(32), 0, parent.digest, bytes(32), bytes(32), (1,))
            for group in groups
        ]
        record = make_record(
            parameters,
            n,
            taken,
            (),
            replace(parent, number=n),
            StepConfig(learner.config),
            (bytes(32), bytes(32)),
            learner.bf16_state(),
            learner.device,
        )
        steps.folder.mkdir(exist_ok=True)
        steps.keep_data(record, parameters, taken)
        steps.keep_record(record, bytes(32))


def make_small_learner():
    return Learner(make_model(hidden=16, layers=1, heads=2, inner=16, seed=0), LearnConfig())


def test_a_folder_without_a_course_is_said(tmp_path):
    with pytest.raises(ConfigError, match="nor steps: name"):
        read_course(tmp_path)
    (tmp_path / "windows.json").write_text('[{"window": 1}]')
    with pytest.raises(ConfigError, match="cannot be read"):
        read_course(tmp_path)


def test_a_hack_in_progress_is_said_and_survives_a_restart(world, tmp_path, caplog):
    points = [
        asdict(HeldOutPoint(n, 0.1 + 0.1 * n, 0.01, 300, 1_000, (5, 6))) for n in range(1, 2 * HALF)
    ]
    (tmp_path / "progress.json").write_text(json.dumps(points))
    forged = replace(world.checkpoint.manifest, number=2 * HALF)
    weights = {forged.digest: world.checkpoint}  # the same again
    monitor = make_monitor(world, tmp_path, [], opened=weights)
    assert monitor.alarm is None
    lesson = make_lesson(world, reward=950_000)
    monitor.note(replace(lesson, published=forged))
    with caplog.at_level("WARNING", logger="assay"):
        assert monitor.step()
    assert monitor.alarm is not None
    assert "please the scorer" in caplog.text
    assert make_monitor(world, tmp_path, []).alarm == monitor.alarm


def test_a_checkpoint_that_is_gone_is_left_out(world, tmp_path):
    monitor = make_monitor(world, tmp_path, [])
    monitor.note(make_lesson(world, number=7))  # another digest: no folder has it
    assert monitor.step()
    assert monitor.points == []


def test_a_full_disk_and_a_damaged_file_are_said(world, tmp_path, monkeypatch):
    monitor = make_monitor(world, tmp_path, [])
    monitor.note(make_lesson(world))

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("assay.neurons.trainer.monitor.write_json", refuse)
        with pytest.raises(LearningMonitorError, match="No space left"):
            monitor.step()
    (tmp_path / "progress.json").write_text('[{"number": 1}]')
    with pytest.raises(LearningMonitorError, match="move it away"):
        make_monitor(world, tmp_path, [])
