"""A trainer's folder of rounds."""

from dataclasses import replace

import pytest
import torch

from assay.protocol.hashing import ZERO_DIGEST
from assay.rounds.folder import RoundFolder, RoundFolderError, RoundState

ONE, TWO = b"1" * 32, b"2" * 32
STATE = RoundState(bytes(32), 4, bytes(32), bytes(32), (), ZERO_DIGEST, ONE, ())


def test_a_residual_stays_until_the_round_ends(tmp_path):
    """A child may be made again in its round: it begins with the residual of the round before."""
    folder = RoundFolder(tmp_path)
    folder.write_residual(ONE, {"w": torch.ones(2)})
    folder.save(STATE)
    folder.write_residual(TWO, {"w": torch.zeros(2)})
    shown = replace(STATE, child=TWO)
    folder.save(shown)
    assert folder.load(bytes(32)) == shown
    assert folder.load_residual(ONE)["w"].tolist() == [1, 1]
    folder.save(replace(STATE, residual=TWO))
    assert folder.load_residual(TWO)["w"].tolist() == [0, 0]
    assert folder.load_residual(ONE) is None


def test_a_child_may_leave_nothing_out(tmp_path):
    folder = RoundFolder(tmp_path)
    folder.write_residual(ONE, {})
    assert folder.load_residual(ONE) == {}
    assert folder.load_residual(ZERO_DIGEST) == {}


def test_a_state_of_another_version_says_what_to_move_away(tmp_path):
    (tmp_path / "rounds.json").write_text("{}")
    with pytest.raises(RoundFolderError, match=f"another version .*: move {tmp_path} away"):
        RoundFolder(tmp_path).load(bytes(32))


@pytest.mark.parametrize("write", ["write_begin", "write_residual"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, write):
    (tmp_path / "file").write_text("")
    given = ({"w": torch.ones(2)},) if write == "write_begin" else (ONE, {})
    write = getattr(RoundFolder(tmp_path / "file"), write)
    with pytest.raises(RoundFolderError, match="see that the folder is yours to write"):
        write(*given)
