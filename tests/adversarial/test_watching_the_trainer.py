"""The monitor with real checkpoints, and with a folder that another run has left."""

import json
from dataclasses import asdict, replace

import pytest

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.neurons.trainer.lessons import Lesson
from assay.neurons.trainer.monitor import HALF, HeldOutPoint, LearningMonitor, LearningMonitorError
from assay.protocol.amendment import ParameterHistory
from assay.training import LearnStats
from assay.training.held_out import HeldOut, count_held_out

STATS = LearnStats(2, 0, 1, 10, 0.5, 0.0, 1.0, 0.0, 0.0, 1.0)


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
