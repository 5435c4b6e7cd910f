"""A trainer's folder of rounds."""

from dataclasses import replace

import torch

from assay.protocol.hashing import ZERO_DIGEST
from assay.rounds.round_folder import RoundFolder, RoundState

ONE, TWO = b"1" * 32, b"2" * 32
STATE = RoundState(bytes(32), 4, bytes(32), bytes(32), (), ONE, ONE, ())


def test_a_residual_counts_once_a_state_names_it(tmp_path):
    """A trainer killed before then makes its child again, and adds the same residual to it."""
    folder = RoundFolder(tmp_path)
    folder.write_residual(ONE, {"w": torch.ones(2)})
    folder.save(STATE)
    folder.write_residual(TWO, {"w": torch.zeros(2)})
    assert folder.load(bytes(32)) == STATE
    assert folder.load_residual(STATE.residual)["w"].tolist() == [1, 1]
    folder.save(replace(STATE, child=TWO, residual=TWO))
    assert folder.load_residual(TWO)["w"].tolist() == [0, 0]
    assert folder.load_residual(ONE) == {}


def test_a_state_without_a_residual_removes_it(tmp_path):
    """Else a later sparse child would send a part that an exact child had sent already."""
    folder = RoundFolder(tmp_path)
    folder.write_residual(ONE, {"w": torch.ones(2)})
    folder.save(replace(STATE, residual=ZERO_DIGEST))
    assert folder.load_residual(ONE) == {}
    assert folder.load_residual(ZERO_DIGEST) == {}
