"""A model that a GPU cannot compute in a fixed order learns all the same, and the log says so."""

import contextlib
import logging
from collections.abc import Iterator

import pytest
import torch

from assay.inference.checkpoint import load_checkpoint
from assay.training import GENESIS, Group, LearnConfig, Learner, device_turns

GROUPS = [Group([20, 21], [[25, 1], [28, 1]], [1_000_000, 0], [[-2.0] * 2, [-2.5] * 2])]


def refuse() -> None:
    raise RuntimeError("cumsum_cuda_kernel does not have a deterministic implementation, but …")


def make_learner(monkeypatch: pytest.MonkeyPatch) -> tuple[Learner, list[bool]]:
    """A learner for which a device has kernels of a fixed order only as long as none is asked."""
    asked: list[bool] = []

    @contextlib.contextmanager
    def fix_order(device: torch.device, is_strict: bool) -> Iterator[None]:
        asked.append(is_strict)
        if is_strict:
            refuse()
        yield

    monkeypatch.setattr(device_turns, "fix_order", fix_order)
    return Learner(load_checkpoint(GENESIS).load_trainable(), LearnConfig(epochs=1)), asked


def test_it_learns_without_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, asked = make_learner(monkeypatch)
    with caplog.at_level(logging.WARNING, "assay"):
        assert made.learn(GROUPS).updates == 1
        made.learn(GROUPS)
    assert asked == [True, False, False]
    assert [record.event for record in caplog.records] == ["order_lacked"]
    plain = Learner(load_checkpoint(GENESIS).load_trainable(), LearnConfig(epochs=1))
    for _ in range(2):
        plain.learn(GROUPS)
    for name, tensor in plain.export_state():
        assert torch.equal(tensor, dict(made.export_state())[name]), name


def test_once_weights_have_changed_the_lesson_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Learner(load_checkpoint(GENESIS).load_trainable(), LearnConfig(epochs=2))
    step = made._weights.optimizer.step  # noqa: SLF001
    monkeypatch.setattr(made._weights.optimizer, "step", lambda: (step(), refuse()))  # noqa: SLF001
    with pytest.raises(RuntimeError, match="deterministic"):
        made.learn(GROUPS)
