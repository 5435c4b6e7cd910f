"""The trainer's own folder: one course at a time, and what others left aside."""

import pytest

from assay.neurons.trainer.folder import TrainerFolder, TrainerState

A, B, HOTKEY = b"a" * 32, b"b" * 32, b"h" * 32


def learn(folder, place, parameters: bytes, step: str) -> None:
    """Leave what a step leaves."""
    folder.save(TrainerState(parameters, HOTKEY, 5, step.encode() * 32, 1, 0))
    steps = place / "steps"
    steps.mkdir(exist_ok=True)
    for suffix in ("json", "parquet"):
        (steps / f"step-00000001-{step}.{suffix}").write_text(step)


@pytest.fixture
def folder(tmp_path):
    opened = TrainerFolder(tmp_path / "run")
    yield opened
    opened.close()


def list_steps(place):
    return sorted(path.name for path in (place / "steps").glob("step-*.json"))


def test_another_network_s_steps_are_not_mixed_with_the_old_ones(folder, tmp_path):
    """They would be exported and published as one run's."""
    learn(folder, tmp_path / "run", A, "1")
    (tmp_path / "run" / "steps" / "rules").mkdir()
    aside = folder.set_aside(B, HOTKEY)
    assert list_steps(tmp_path / "run") == []
    assert list_steps(aside) == ["step-00000001-1.json"]
    assert (aside / "steps" / "step-00000001-1.parquet").exists()
    assert (tmp_path / "run" / "steps" / "rules").exists()  # by digest: any course's
    assert folder.load(B, HOTKEY) is None


def test_a_move_that_was_cut_off_goes_on_in_the_same_place(folder, tmp_path):
    learn(folder, tmp_path / "run", A, "1")
    aside = tmp_path / "run" / f"parameters-{A.hex()[:32]}"
    (aside / "steps").mkdir(parents=True)
    name = "step-00000001-1.json"
    (tmp_path / "run" / "steps" / name).rename(aside / "steps" / name)  # killed here
    assert folder.set_aside(B, HOTKEY) == aside
    assert {path.suffix for path in (aside / "steps").iterdir()} == {".json", ".parquet"}


def test_courses_under_the_same_parameters_are_kept_apart(folder, tmp_path):
    places = []
    for step, (old, new) in enumerate([(A, B), (B, A), (A, B)]):
        learn(folder, tmp_path / "run", old, str(step))
        places.append(folder.set_aside(new, HOTKEY))
    assert len(set(places)) == 3
    assert [list_steps(place) for place in places] == [
        [f"step-00000001-{n}.json"] for n in range(3)
    ]
