"""Files of a team that its first process cannot read or write: what passes costs no more than it
costs a single process."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from assay.inference.checkpoint import load_checkpoint
from assay.neurons.trainer.setup import resume_learner
from assay.training import GENESIS, LearnConfig, Learner, sharding, weights
from assay.training.objectives import Imitation
from assay.training.sharding import DisagreementError, load_tensors, read_names, save_tensors
from tests.training.team import make_examples

DISK = OSError(5, "Input/output error")


def fail(*arguments: object, **named: object) -> None:
    raise DISK


def test_a_state_that_cannot_be_read_at_present_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trainer begins anew, and removes the file, where `resume_learner` returns False."""
    parent = load_checkpoint(GENESIS)
    own, resumed = (Learner(parent.load_trainable(), LearnConfig()) for _ in range(2))
    file = tmp_path / "state.safetensors"
    own.update(make_examples(), Imitation(), 0.0)
    own.save_state(file)
    monkeypatch.setattr(weights, "is_in_team", lambda: True)
    said = re.escape(f"{file} cannot be read: process 0: {DISK}")
    for place, name in (sharding, "safe_open"), (sharding._Files, "read"):  # noqa: SLF001
        with monkeypatch.context() as patched:
            patched.setattr(place, name, fail)
            with pytest.raises(OSError, match=said):
                resume_learner(resumed, file, parent)
    assert resume_learner(resumed, file, parent)
    assert resumed.step == own.step == 1
    states = dict(own.export_state()), dict(resumed.export_state())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    file.write_bytes(b"\xff" * 64)
    assert not resume_learner(resumed, file, parent)


def test_a_file_that_is_gone_or_damaged(tmp_path: Path) -> None:
    file, here = tmp_path / "state.safetensors", {"a": torch.zeros(2)}
    for read in (lambda: load_tensors(here, file), lambda: read_names(file)):
        with pytest.raises(OSError, match=re.escape(f"{file} cannot be read: process 0: ")):
            read()
    file.write_bytes(b"no safetensors at all")
    for read in (lambda: load_tensors(here, file), lambda: read_names(file)):
        with pytest.raises(DisagreementError, match=re.escape(f"process 0: {file} cannot")):
            read()
    save_file({"a": torch.ones(2)}, file)
    load_tensors(here, file)
    assert here["a"].tolist() == [1, 1]


def test_a_file_that_fails_as_it_is_closed_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network's file system may: the error is one of all processes."""

    class Closing:
        def __init__(self, file: Any) -> None:
            self.write, self.flush, self._file = file.write, file.flush, file

        def __enter__(self) -> "Closing":
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def close(self) -> None:
            self._file.close()
            raise DISK

    def agree(seen: dict[str, str], fault: str | None) -> None:
        if fault is not None:
            raise DisagreementError(fault)

    opened, file = Path.open, tmp_path / "state"
    monkeypatch.setattr(sharding, "is_in_team", lambda: True)
    monkeypatch.setattr(sharding, "get_team", lambda: (0, 1))
    monkeypatch.setattr(sharding, "agree", agree)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda path, mode: Closing(opened(path, mode)))
        with pytest.raises(OSError, match=re.escape(f"{file} cannot be written: {DISK}")):
            save_tensors({"a": torch.zeros(2)}, file)
