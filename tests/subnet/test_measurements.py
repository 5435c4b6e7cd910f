"""What was measured of a model is not measured again, and what others could have written is not
believed."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from assay.inference import measurable
from assay.inference.calibration import MarginCurve
from assay.inference.folder import CheckpointError, read_passages
from assay.inference.pair_report import CAP_DISTANCE, GRID, list_thresholds
from assay.inference.probes import Probe, ProbeError
from assay.protocol.manifest import Calibration
from assay.protocol.parameters import SMALL_MODEL_TESTS, Tests, make_tests
from assay.subnet import model_measurements
from assay.subnet.adoption.adopt import ADOPTED_FILES, ADOPTION_FILE, adopt_model
from assay.subnet.calibration_findings import make_findings
from assay.subnet.genesis_checkpoint import calibrate_recipe, make_recipe_genesis
from assay.subnet.measurements import Measurements
from assay.subnet.recipe import Recipe, read_recipe
from assay.training import GENESIS

FILES = ("calibration.json", "calibration_set.json", "manifest.json")


@pytest.fixture
def recipe() -> Recipe:
    """Of 6 problems, in parts of 4."""
    recipe = read_recipe("genesis-arithmetic")
    calibration = recipe.calibration.model_copy(update={"problems": 6})
    return recipe.model_copy(update={"calibration": calibration})


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_measurements, "_PART", 4)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A line for each model that was loaded."""
    lines, load = [], model_measurements.load_model

    def note(folder: Path, *given: object, **named: object) -> object:
        lines.append(str(folder))
        return load(folder, *given, **named)  # type: ignore[arg-type] # passed on

    monkeypatch.setattr(model_measurements, "load_model", note)
    return lines


def make(recipe: Recipe, out: Path, kept: Measurements, model: Path = GENESIS) -> list[bytes]:
    make_recipe_genesis(recipe, model, out, recipe.make_rules(), kept=kept)
    return [(out / name).read_bytes() for name in FILES]


def test_a_second_calibration_loads_no_model_and_makes_the_same_bytes(
    tmp_path: Path, recipe: Recipe, loaded: list[str]
) -> None:
    kept = Measurements(tmp_path / "kept")
    first = make(recipe, tmp_path / "a", kept)
    assert len(loaded) == 1
    assert make(recipe, tmp_path / "b", kept) == first
    assert len(loaded) == 1
    assert make(recipe, tmp_path / "c", Measurements()) == first  # measured anew
    assert len(loaded) == 2
    assert len(read_passages(tmp_path / "a")) == 6


def test_a_wider_cap_that_was_foreseen_is_not_measured_again(
    tmp_path: Path, recipe: Recipe, loaded: list[str]
) -> None:
    kept, folder = Measurements(tmp_path / "kept"), tmp_path / "model"
    adopt_model(GENESIS, folder, probes=False)
    first, wide = make_tests(300), make_tests(600)

    def calibrate(tests: Tests, kept: Measurements, *others: Tests) -> Calibration:
        rules = replace(recipe.make_rules(), tests=tests)
        made = calibrate_recipe(recipe, folder, rules, kept=kept, others=others)
        return made.findings.calibration

    calibrate(first, kept, wide)
    found = calibrate(wide, kept)
    assert len(loaded) == 1
    assert found == calibrate(wide, Measurements())  # measured alone
    assert len(loaded) == 2


def test_a_stopped_calibration_goes_on_with_the_next_part(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, sizes, sample = Measurements(tmp_path / "kept"), [], model_measurements.sample_passages

    def stop(*given: object) -> object:
        if len(sizes) == 1:
            raise KeyboardInterrupt
        sizes.append(len(given[3]))  # type: ignore[arg-type] # the problems
        return sample(*given)  # type: ignore[arg-type] # passed on

    with monkeypatch.context() as patched:
        patched.setattr(model_measurements, "sample_passages", stop)
        with pytest.raises(KeyboardInterrupt):
            make(recipe, tmp_path / "a", kept)
    assert not (tmp_path / "a").exists()

    def go_on(*given: object) -> object:
        sizes.append(len(given[3]))  # type: ignore[arg-type] # the problems
        return sample(*given)  # type: ignore[arg-type] # passed on

    with monkeypatch.context() as patched:
        patched.setattr(model_measurements, "sample_passages", go_on)
        resumed = make(recipe, tmp_path / "a", kept)
    assert sizes == [4, 2]
    assert resumed == make(recipe, tmp_path / "b", Measurements())


def change_weight(folder: Path) -> None:
    """Change a bit of the last tensor."""
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-2] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def change_levels(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"levels": (3,)})


def test_other_weights_and_other_questions_are_measured(
    tmp_path: Path, recipe: Recipe, loaded: list[str]
) -> None:
    kept, model = Measurements(tmp_path / "kept"), tmp_path / "model"
    adopt_model(GENESIS, model, probes=False)
    make(recipe, tmp_path / "a", kept, model)
    change_weight(model)
    make(recipe, tmp_path / "b", kept, model)
    make(change_levels(recipe), tmp_path / "c", kept, model)
    assert len(loaded) == 3


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each probe of a model fails."""
    bad = [Probe("packing", "it fails", 1.0, 0.0)]
    monkeypatch.setattr(measurable, "probe", lambda *_: bad)


def test_probes_are_tried_once_where_adopt_and_publish_have_the_same_weights(
    tmp_path: Path, recipe: Recipe, request: pytest.FixtureRequest
) -> None:
    kept = Measurements(tmp_path / "kept")
    adopted = adopt_model(GENESIS, tmp_path / "a", kept=kept)
    assert "probes hold" in adopted.notes.kept[-1]
    request.getfixturevalue("failing")
    again = adopt_model(tmp_path / "a", tmp_path / "b", kept=kept)
    assert again.notes.kept[-1] == adopted.notes.kept[-1]
    change_weight(tmp_path / "b")
    with pytest.raises(CheckpointError, match="it fails"):
        adopt_model(tmp_path / "b", tmp_path / "c", kept=kept)
    with pytest.raises(ProbeError, match="it fails"):
        make(recipe, tmp_path / "d", kept, tmp_path / "b")


@pytest.mark.usefixtures("failing")
def test_a_folders_own_word_about_itself_is_not_believed(tmp_path: Path, recipe: Recipe) -> None:
    """A stranger hands an owner a folder that says its probes held."""
    model = tmp_path / "model"
    adopt_model(GENESIS, model, probes=False)
    notes = json.loads((model / ADOPTION_FILE).read_text())
    notes["kept"].append("6 probes hold: logits differ by at most 0 of 1 (packing)")
    (model / ADOPTION_FILE).write_text(json.dumps(notes))
    for name in (".cache", "measured"):  # whatever else it brings along
        shutil.copytree(model, model / name, ignore=lambda *_: [".cache", "measured"])
    kept = Measurements(tmp_path / "kept")
    with pytest.raises(ProbeError, match="it fails"):
        make(recipe, tmp_path / "a", kept, model)
    with pytest.raises(CheckpointError, match="it fails"):
        adopt_model(model, tmp_path / "b", kept=kept)
    assert {path.name for path in model.iterdir() if path.suffix == ".json"} <= ADOPTED_FILES


def list_results(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*.json")


@pytest.mark.parametrize("spoil", ["shared file", "shared folder", "link", "cut", "other"])
def test_what_others_could_have_written_is_measured_again(tmp_path: Path, spoil: str) -> None:
    folder = tmp_path / "kept"
    kept = Measurements(folder)
    kept.keep("probes", {"tensors": "aa"}, [1, 2])
    assert kept.recall("probes", {"tensors": "aa"}) == [1, 2]
    assert kept.recall("probes", {"tensors": "ab"}) is None
    assert kept.recall("centre", {"tensors": "aa"}) is None
    (path,) = list_results(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    if spoil == "shared file":
        path.chmod(0o620)
    elif spoil == "shared folder":
        folder.chmod(0o770)
    elif spoil == "link":
        target = path.rename(tmp_path / "elsewhere.json")
        path.symlink_to(target)
    else:
        path.write_bytes(path.read_bytes()[:-4] if spoil == "cut" else b"[]")
    assert kept.recall("probes", {"tensors": "aa"}) is None


def test_results_that_nobody_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.subnet.measurements._KEPT", 2)
    kept = Measurements(tmp_path / "kept")
    for number in range(3):
        kept.keep("probes", {"number": number}, number + 1)
        for path in list_results(tmp_path / "kept"):  # a disk's clock may tick slowly
            os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
        if number == 1:
            assert kept.recall("probes", {"number": 0}) == 1
    found = [kept.recall("probes", {"number": number}) for number in range(3)]
    assert found == [1, None, 3]


def test_a_folder_that_cannot_be_written_costs_no_command(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Measurements(tmp_path / "file" / "kept")
    kept.keep("probes", {}, [1])
    assert kept.recall("probes", {}) is None


def test_findings_are_the_rule_of_the_documents() -> None:
    """A margin that one token in 1e8 exceeds on the grid, of a million tokens."""
    tests = SMALL_MODEL_TESTS
    taus = torch.tensor(list_thresholds(tests), dtype=torch.float64)
    edge = GRID[12]  # 1e-5 logits: twenty times as much is 2e-4
    tokens = 1_000_000
    survival = torch.where(taus <= edge, tokens * 1e-8, 0.0).numpy()
    curve = MarginCurve(survival, 0.5 * tokens, tokens)
    found = make_findings(("a", "b"), tests, curve, 1_024, 5 << 16, 0.01)
    assert found.margin == pytest.approx(edge)
    assert found.cap == -(-CAP_DISTANCE * found.margin * 2**20 // 1)
    assert tuple(found.levels) == make_tests(found.cap).margin_levels
    assert found.scale_max == 1 << 20 >= 2 * found.scale
    assert found.cap <= tests.margin_cap + 15
    assert "margin_cap = " in "\n".join(found.lines)
    wide = make_findings(("a", "b"), make_tests(100), curve, 1_024, (64 << 16) + 1, 0.01)
    assert [fault.partition(" ")[0] for fault in wide.faults][:1] == ["margin_cap"]
    assert any(fault.startswith("scale ") for fault in wide.faults)
    document = wide.to_json()
    assert document["proposed"]["margin_cap"] == wide.cap > document["margin_cap"] == 100
    assert [line for line in wide.describe() if line.startswith("  ! ")] == [
        f"  ! {fault}" for fault in wide.faults
    ]
