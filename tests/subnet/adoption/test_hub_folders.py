"""Folders in the shapes of hubs: each is adopted and opens, or is refused in the one right line."""

from pathlib import Path

import pytest

from assay.inference.folder import CheckpointError
from assay.inference.model_loading import load_model
from assay.subnet.adoption.adopt import Adoption, adopt_model, find_unadopted
from tests.hub_folders import FOLDERS


def adopt(source: Path, out: Path, *ends: str) -> Adoption:
    return adopt_model(source, out, ends, probes=False)


@pytest.mark.parametrize("shape", [name for name, one in FOLDERS.items() if one.refused is None])
def test_it_is_adopted_and_opens(tmp_path: Path, shape: str) -> None:
    wanted, out = FOLDERS[shape], tmp_path / "out"
    source = wanted.make().write(tmp_path / "source")
    adoption = adopt(source, out)
    told = [f"{kind}: {text}" for kind, text in adoption.notes.iterate()]
    for note in wanted.notes:
        kind, _, text = note.partition(": ")
        assert any(one.startswith(f"{kind}: ") and text in one for one in told), told
    if wanted.ends is not None:
        assert [text for _, text in adoption.texts.ends] == list(wanted.ends)
    load_model(out)
    assert find_unadopted(out) is None  # a second adoption would change nothing


@pytest.mark.parametrize("shape", [name for name, one in FOLDERS.items() if one.refused])
def test_it_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path, shape: str) -> None:
    wanted = FOLDERS[shape]
    source = wanted.make().write(tmp_path / "source")
    with pytest.raises(CheckpointError, match=str(wanted.refused)) as caught:
        adopt(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
