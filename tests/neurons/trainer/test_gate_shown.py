"""What a trainer's checkpoints show by their gate: status, figures, metrics."""

import io
from typing import Any

import pytest
from rich.console import Console

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.artifacts.gates.gains import follow_line
from assay.artifacts.status.trainer import GateStatus
from assay.cli.program_view import render_program
from assay.inference.folder import CheckpointError
from assay.neurons.program.life import Sign
from assay.neurons.program.trainer_metrics import TRAINER
from assay.neurons.trainer.gate_monitor import GateMonitor
from assay.protocol.gate import Outcome
from assay.protocol.manifest import Manifest
from assay.protocol.parameters import Gate
from tests import statuses
from tests.artifacts.gates.lines import GATE, KnownManifests, make_line, write_line


class Shown:
    """What a tracker would get."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, dict[str, float]]] = []

    def take(self, axis: str, at: int, figures: dict[str, float]) -> None:
        self.lines.append((axis, at, figures))


@pytest.fixture(scope="module")
def line() -> list[Manifest]:
    return make_line([0.03] * 8 + [-0.2] * 4 + [0.03] * 4)


@pytest.fixture(scope="module")
def models(line: list[Manifest], tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    folder = tmp_path_factory.mktemp("models")
    write_line(line, folder)
    return CheckpointFolder(folder)


def look(line: list[Manifest], models: CheckpointFolder) -> GateStatus:
    found = GateMonitor(models, Shown().take).look(line[-1].digest, GATE)
    assert found is not None
    return found


def test_the_status_is_that_of_the_newest_manifest(
    line: list[Manifest], models: CheckpointFolder
) -> None:
    status = look(line, models)
    statuses.check_part(status, GateStatus)
    known = {one.digest: one for one in line}
    found = follow_line(line[-1].digest, KnownManifests(line), GATE)
    assert found is not None
    newest = found.measured[-1]
    back = [one for one in line if one.course.outcome is Outcome.RETURN][-1]
    assert status["checkpoint"] == newest.number
    assert status["gain"] == newest.gain.mean / 1_000
    assert status["gain_low"] == newest.gain.low / 1_000
    assert status["returned"] == {
        "number": back.number,
        "milestone": known[back.course.milestone].number,
    }
    assert status["attempt"] == found.course.attempt
    assert status["measured"] == len(found.course.counts)
    assert (status["better_needed"], status["worse_needed"]) == (
        pytest.approx(32.898 * status["attempt"] ** 2, abs=0.02),
        20.0,
    )


def test_each_measured_checkpoint_is_shown_once(
    line: list[Manifest], models: CheckpointFolder
) -> None:
    """Several may be measured between two looks, and a look may find nothing new."""
    shown = Shown()
    monitor = GateMonitor(models, shown.take)
    for manifest in (*line[3::2], line[-1], line[-1]):
        monitor.look(manifest.digest, GATE)
    found = follow_line(line[-1].digest, KnownManifests(line), GATE)
    assert found is not None
    gains = [(at, f["gate/gain"]) for _, at, f in shown.lines if "gate/gain" in f]
    first = gains[0][0]
    assert gains == [
        (one.number, one.gain.mean / 1_000) for one in found.measured if one.number >= first
    ]
    assert {axis for axis, _, _ in shown.lines} == {"checkpoint"}
    assert any("gate/worse" in figures for _, _, figures in shown.lines)


def test_nothing_is_told_without_a_gate(line: list[Manifest], models: CheckpointFolder) -> None:
    monitor = GateMonitor(models, Shown().take)
    assert monitor.look(line[-1].digest, Gate()) is None
    assert monitor.look(None, GATE) is None
    assert monitor.look(bytes(32), GATE) is None


def test_manifests_are_read_and_never_fetched(models: CheckpointFolder) -> None:
    assert models.read_manifest(bytes(32)) is None
    with pytest.raises(CheckpointError):
        models.get_outline(bytes(32))


def draw(gate: GateStatus | None) -> str:
    console = Console(file=io.StringIO(), width=250)
    status: Any = statuses.VALIDATOR | {"program": "trainer", "steps": [], "gate": gate}
    with console.capture() as said:
        console.print(render_program(status, Sign(True, 1)))
    return said.get()


def test_a_person_reads_gain_course_and_return(
    line: list[Manifest], models: CheckpointFolder
) -> None:
    status = look(line, models)
    said = draw(status)
    assert status["gain_sentence"] in said
    assert status["course_sentence"] in said
    assert f"newest return: checkpoint {status['returned']['number']} is " in said  # type: ignore[index]
    assert "first checkpoint" not in draw(None)


def test_metrics_follow_the_status(line: list[Manifest], models: CheckpointFolder) -> None:
    status: Any = {"gate": look(line, models)}
    gate = status["gate"]
    read = {metric.name: metric for metric in TRAINER}
    bounds = read["assay_trainer_gain"].read(status)
    assert bounds == {"mean": gate["gain"], "low": gate["gain_low"], "high": gate["gain_high"]}
    assert list(read["assay_trainer_milestone"].read(status).values()) == [gate["milestone"]]
    none: Any = {"gate": None}
    for name in ("gain", "evidence_ratio", "pairs", "milestone", "return_checkpoint"):
        assert not read[f"assay_trainer_{name}"].read(none)
