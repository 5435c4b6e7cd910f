"""How many checkpoints a program keeps open: on a processor large ones leave room for a lesson."""

import shutil

import pytest

from assay.artifacts.checkpoints import folder
from assay.artifacts.checkpoints.folder import OPENED_MAX, CheckpointFolder, count_opened
from tests.small_genesis import make_small_genesis


@pytest.mark.parametrize(
    ("weights", "device", "count"),
    [
        (1 << 20, "cpu", OPENED_MAX),
        (1 << 28, "cpu", 4),
        (3 << 27, "cpu", 2),
        (538_060_032, "cpu", 2),  # SmolLM2-135M
        (1 << 36, "cpu", 2),  # windows overlap
        (0, "cpu", OPENED_MAX),
        (1 << 36, "cuda:0", OPENED_MAX),
    ],
)
def test_how_many_are_open(weights, device, count):
    assert count_opened(weights, device) == count


def test_what_is_beyond_is_closed(tmp_path, monkeypatch):
    digests = []
    for number in range(3):
        digest = make_small_genesis(tmp_path / "new", number=number)
        shutil.move(tmp_path / "new", tmp_path / "models" / digest.hex())
        digests.append(digest)
    wide, narrow = (CheckpointFolder(tmp_path / "models") for _ in range(2))
    for digest in digests:
        wide.get(digest)
    assert list(wide.opened) == digests
    monkeypatch.setattr(folder, "_OPENED_BYTES", 1 << 20)
    for digest in (*digests, digests[1], digests[0]):
        narrow.get(digest)
    assert list(narrow.opened) == [digests[1], digests[0]]
