"""The placement of a checkpoint: its tensors in memory, and their devices.

No card is needed to see that a tensor stayed behind: PyTorch's device `meta` replaces one, on which
tensors have shapes and no values, and every operation that mixes it with the processor is refused.
The draw asks for a value, its bound, so it is replaced by a function that looks at the devices of
its arguments. (Fake tensors of device cuda cannot be indexed by a PyTorch that is built without.)
"""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assay.inference import checkpoint as checkpoint_module
from assay.inference import reference as module
from assay.inference.checkpoint import load_checkpoint
from assay.inference.draws.row_statistics import RowStatistics
from assay.inference.folder import CheckpointError
from assay.inference.implementations import ImplementationError, make_model
from assay.inference.passages import Passage
from assay.inference.placement import Placement
from assay.inference.placing.devices import DeviceError
from assay.inference.reference import Reference, SketchBuilder
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings
from assay.training import GENESIS
from assay.verification import Projection
from tests.inference.conftest import build_random_model

CARD = torch.device("meta")


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "fp32-eager", "split3"])
def test_a_placement_decides_what_judges(projection, requests, checkpoint, implementation):
    placed = load_checkpoint(GENESIS, placement=Placement(implementation=implementation))
    assert placed.get_reference(1_024).model is placed.get_model(implementation)
    request = requests[0]
    tokens = [np.arange(5, 15, dtype=np.uint32)]
    ours, theirs = (
        c.get_reference(1_024).measure([request.prompt], tokens, [bytes(32)], projection)
        for c in (placed, checkpoint)
    )
    assert np.array_equal(ours[0].best, theirs[0].best)
    assert np.abs(ours[0].margins - theirs[0].margins).max() < 1 << 5


def test_weights_that_are_multiplied_as_stored_are_not_in_memory_in_fp32(checkpoint):
    placed = load_checkpoint(GENESIS, placement=Placement(implementation="split3"))
    placed.get_reference(1_024)
    twin = placed.get_model("split3").twin
    factors = {twin.lm_head.weight.dtype, twin.model.layers[0].mlp.gate_proj.weight.dtype}
    assert factors == {torch.bfloat16}
    assert not placed.models.has_plain
    # where fp32 is in memory, it serves
    assert checkpoint.get_model("split3").twin.lm_head.weight.dtype == torch.float32


def test_an_implementation_that_cannot_run_a_model_is_named(monkeypatch):
    def refuse(model, implementation):
        raise ImplementationError("split3 cannot run this model: its weights are finer")

    monkeypatch.setattr(checkpoint_module, "make_model", refuse)
    with pytest.raises(CheckpointError, match="are finer; name another implementation"):
        load_checkpoint(GENESIS, placement=Placement(implementation="split3"))


def test_an_appeal_is_heard_by_another_implementation():
    pairs = ("fp32-sdpa", "fp32-eager"), ("fp32-eager", "fp32-sdpa"), ("split3", "fp32-eager")
    for own, other in pairs:
        placed = load_checkpoint(GENESIS, placement=Placement(implementation=own))
        assert placed.get_appeal(1_024).model is placed.get_model(other)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
    ],
)
def test_a_card_that_fails_is_no_fault_of_what_it_was_given(checkpoint, monkeypatch, error):
    """Otherwise everybody who is judged after that moment would be refused."""
    reference = checkpoint.get_reference(1_024)

    def fail(plan):
        raise error

    with pytest.raises(DeviceError, match=r"cpu has failed .*: start this program again, or name"):
        reference.budget.run(fail, "a pass")


def test_a_placement_that_no_validator_may_use_is_refused():
    for name in ("bf16", "split2", "fp16"):
        with pytest.raises(ImplementationError, match="is none of fp32-sdpa"):
            open_placement(ComputeSettings(implementation=name))


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, as a card does. A number may come along; to
    copy is what moves a tensor. Asked for a value, it says yes: Hugging Face's models ask whether
    positions ascend."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function.overloadpacket)
        if name in ("aten._local_scalar_dense", "aten.is_nonzero", "aten.equal"):
            return True
        if name not in ("aten._to_copy", "aten.copy_"):
            tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
            devices = {tensor.device.type for tensor in tensors if tensor.dim()}
            if len(devices) > 1:
                raise RuntimeError(f"{function} is given tensors on {' and '.join(devices)}")
        return function(*args, **(kwargs or {}))


@pytest.fixture
def on_card():
    """A model on the device that replaces a card, within `OneDevice`."""
    model = build_random_model().to(torch.bfloat16).float().to(CARD)
    with OneDevice():
        yield model


@pytest.mark.parametrize("implementation", ["fp32-sdpa", "fp32-eager", "split3", "bf16"])
def test_nothing_of_a_prefill_stays_on_the_processor(on_card, implementation):
    """Prompts apart, shared and within the padding."""
    model = make_model(on_card, implementation)
    reference = Reference(model, np.ones(model.config.vocab_size, bool), 1_024)
    states = reference.compute_states([Passage((1, 2, 3), (4, 5)), Passage((1, 2), (4, 5, 6))])
    assert {state.device for state in states} == {CARD}
    assert reference.compute_logits(states[0]).device == CARD
    hidden = model.config.hidden_size
    projection = Projection(np.ones((hidden, 4), np.float32), np.zeros(hidden, np.float32), 1.0)
    assert SketchBuilder(projection, CARD).build(states[0]).device == CARD


def test_measurements_run_on_the_card(on_card, monkeypatch):
    """All inputs of a draw are there; its results leave at the end, at once."""
    given = []

    class Meter:
        def __init__(self, sampler):
            pass

        def measure(self, *tensors):
            given.append({tensor.device for tensor in tensors})
            return RowStatistics(*[torch.zeros(len(tensors[3])) for _ in range(4)])

    monkeypatch.setattr(module, "RowMeter", Meter)
    model = make_model(on_card, "fp32-sdpa")
    monkeypatch.setattr(
        module.SketchBuilder, "build", lambda self, states: torch.zeros(len(states), 2)
    )
    hidden = model.config.hidden_size
    projection = Projection(np.ones((hidden, 4), np.float32), np.zeros(hidden, np.float32), 1.0)
    reference = Reference(model, np.ones(model.config.vocab_size, bool), 1_024)
    prompts = [[1, 2, 3], [1] * 70, [1] * 70]
    tokens = [np.array(row, np.uint32) for row in ([4, 5], [4, 5, 6], [7])]
    found = reference.measure(prompts, tokens, [bytes([i]) * 32 for i in range(3)], projection)
    assert [len(measurement.best) for measurement in found] == [2, 3, 1]
    assert given
    assert all(devices == {CARD} for devices in given)


def test_the_guard_sees_what_it_is_for(on_card):
    with pytest.raises(RuntimeError, match="is given tensors on"):
        on_card.lm_head(torch.zeros(2, on_card.config.hidden_size))
