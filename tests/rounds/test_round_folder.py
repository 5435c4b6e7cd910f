"""A trainer's folder of rounds."""

import torch

from assay.rounds.round_folder import RoundFolder


def test_a_child_that_leaves_nothing_out_removes_the_residual(tmp_path):
    """Else a later sparse child would send a part that an exact child had sent already."""
    folder = RoundFolder(tmp_path)
    folder.save_residual({"w": torch.ones(2)})
    assert folder.load_residual()["w"].tolist() == [1, 1]
    folder.save_residual({})
    assert folder.load_residual() == {}
    folder.save_residual({})
