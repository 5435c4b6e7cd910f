"""A trainer in two processes, with miners' groups: it publishes what one process would, and a
killed process costs no step."""

import json

import pytest
import torch
from safetensors.torch import load_file

from assay.artifacts.checkpoints.folder import CheckpointFolder
from assay.training import GENESIS
from assay.training.team import TeamError
from tests.adversarial.round_bench import NAMES
from tests.adversarial.team_neuron import RATE, play_round, train
from tests.training.forked_team import run_forked_team


def run_team(folder, *dying):
    folder.mkdir(exist_ok=True)
    return run_forked_team(2, "tests.adversarial.team_neuron", str(folder), *dying)


def read_published(bench_folder):
    """Weights of the last checkpoint."""
    folders = (bench_folder / "models").glob("*/manifest.json")
    newest = max(folders, key=lambda path: json.loads(path.read_text())["number"])
    assert json.loads(newest.read_text())["number"] == 2
    CheckpointFolder(bench_folder / "models").get(bytes.fromhex(newest.parent.name))
    return load_file(newest.parent / "model.safetensors")


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    bench = train(folder, world)
    return read_published(folder), [
        [lesson.window, lesson.stats.tokens] for lesson in bench.lessons
    ]


def require_alike(published, alone):
    """To rounding: a weight whose gradient is no more than that may move by two whole steps of
    Adam, and hardly any does."""
    genesis = load_file(GENESIS / "model.safetensors")
    assert published.keys() == alone.keys() == genesis.keys()
    moved, apart, count = 0.0, 0.0, 0
    for name, weight in alone.items():
        first, own, other = (t.to(torch.float64) for t in (genesis[name], weight, published[name]))
        assert (own - other).abs().max() <= 4 * RATE + own.abs().max() / 128
        moved += float((own - first).abs().sum())
        apart += float((own - other).abs().sum())
        count += weight.numel()
    assert moved / count > RATE / 10
    assert apart < moved / 50


@pytest.mark.slow
def test_two_processes_learn_from_miners_what_one_does(tmp_path, alone):
    assert run_team(tmp_path) == 0
    assert (tmp_path / "followed").exists()
    assert json.loads((tmp_path / "lessons.json").read_text()) == alone[1]
    require_alike(read_published(tmp_path), alone[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dying", "where", "left"), [("0", "lesson", [1]), ("1", "lesson", [1]), ("0", "save", [0, 1])]
)
def test_a_process_that_is_killed_ends_the_team_and_costs_no_step(
    tmp_path, world, alone, capfd, dying, where, left
):
    """The next start has one process: another number of processes continues with the same state."""
    with pytest.raises(TeamError, match=f"^process {dying} of 2 ended by SIGKILL"):
        run_team(tmp_path, dying, where)
    assert capfd.readouterr().err == ""
    bench = train(tmp_path, world)
    assert [lesson.window for lesson in bench.lessons] == left
    require_alike(read_published(tmp_path), alone[0])


@pytest.mark.slow
@pytest.mark.parametrize("stopped", ["0", "1"])
def test_a_process_that_hangs_ends_the_team_and_costs_no_step(
    tmp_path, world, alone, capfd, stopped
):
    """Nothing comes from it, not even an error; the other tells by its silence."""
    ended = f"^process {1 - int(stopped)} of 2 ended with exit code 1, and so have the others$"
    with pytest.raises(TeamError, match=ended):
        run_team(tmp_path, stopped, "stop")
    (why,) = capfd.readouterr().err.splitlines()
    assert why.startswith(f"assay: process {stopped} of 2 has given no sign of life for 10 s: ")
    bench = train(tmp_path, world)
    assert [lesson.window for lesson in bench.lessons] == [1]
    require_alike(read_published(tmp_path), alone[0])


@pytest.mark.slow
def test_a_team_has_its_part_in_a_round(tmp_path):
    """Its child is merged, and the merge is what one process would have published."""
    torch.set_num_threads(1)
    alone = play_round(tmp_path / "alone")
    assert run_team(tmp_path / "team", "0", "round") == 0
    played = json.loads((tmp_path / "team" / "round.json").read_text())
    assert played["lessons"] == alone["lessons"]
    assert len(alone["lessons"]) >= 3
    weights = [
        load_file(tmp_path / who / "rounds" / NAMES[0] / "models" / base / "model.safetensors")
        for who, base in (("team", played["base"]), ("alone", alone["base"]))
    ]
    require_alike(*weights)
