"""Implementations by name: the same weights in memory, each its own arithmetic."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from assay.inference.implementations import (
    PERMITTED,
    ImplementationError,
    PlainReference,
    make_model,
    make_twin,
)
from assay.inference.reference import Reference, Rows, SketchBuilder
from assay.training import GENESIS
from assay.verification import Projection


def test_eager_attention_is_what_hugging_face_loads(checkpoint):
    """A twin over shared weights is bit for bit the model that a second loading would give."""
    loaded = AutoModelForCausalLM.from_pretrained(
        GENESIS, dtype=torch.float32, attn_implementation="eager"
    )
    twin = make_twin(checkpoint.model, "eager")
    ids = torch.arange(2, 90)[None]
    with torch.inference_mode():
        before = checkpoint.model(ids).logits
        assert torch.equal(twin(ids).logits, loaded(ids).logits)
        assert not torch.equal(before, twin(ids).logits)
        assert torch.equal(before, checkpoint.model(ids).logits)
    assert checkpoint.model.config._attn_implementation == "sdpa"


def test_weights_are_in_memory_once(checkpoint):
    places = {p.data_ptr() for p in checkpoint.model.parameters()}
    twin = checkpoint.get_model("fp32-eager")
    assert {p.data_ptr() for p in twin.parameters()} == places
    split = checkpoint.get_model("split3").twin
    factors = split.lm_head.weight, split.model.layers[0].mlp.gate_proj.weight
    assert {factor.data_ptr() for factor in factors} <= places
    for name in PERMITTED:
        assert checkpoint.get_model(name) is checkpoint.get_model(name)


class Recording:
    """A model that records its inputs."""

    def __init__(self, model):
        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        self.lm_head = model.lm_head
        self._model, self.shapes = model, []

    def model(self, input_ids, **given):
        self.shapes.append(
            (tuple(input_ids.shape), given.get("cache", given.get("past_key_values")))
        )
        return self._model.model(input_ids, **given)


def test_an_appeal_reads_each_completion_alone_and_shares_no_prompt(
    checkpoint, requests, projection
):
    request = requests[0]
    completions = [np.arange(5, 5 + n, dtype=np.uint32) for n in (3, 40, 17)]
    seeds = request.seeds[:3]
    model = Recording(checkpoint.get_model("fp32-eager"))
    drawable = checkpoint.tokenizer.drawable
    found = PlainReference(model, drawable, 1_024).measure(
        [request.prompt] * len(completions), completions, seeds, projection
    )
    assert len(model.shapes) == 3
    for (shape, cache), completion in zip(model.shapes, completions, strict=True):
        assert shape[0] == 1
        assert shape[1] >= len(request.prompt) + len(completion)
        assert cache is None
    appeal = checkpoint.get_appeal(1_024)
    assert isinstance(appeal, PlainReference)
    for one, completion, seed in zip(found, completions, seeds, strict=True):
        (alone,) = appeal.measure([request.prompt], [completion], [seed], projection)
        assert (alone.margins == one.margins).all()
        assert (alone.sketch == one.sketch).all()


def test_an_implementation_that_cannot_run_is_named(make_random_model, checkpoint):
    with pytest.raises(ImplementationError, match="'fp64': one of fp32-sdpa, fp32-eager, split3"):
        checkpoint.get_reference(1_024, "fp64")
    with pytest.raises(ImplementationError, match=r"split3 cannot run this model: .*float64"):
        make_model(make_random_model().double(), "split3")


def test_split_products_switch_off_what_would_round_their_sums(checkpoint):
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True
        make_model(checkpoint.model, "split3")
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    finally:
        torch.set_float32_matmul_precision(before)


class Stub:
    """A model whose logits are given."""

    config, device, dtype = None, torch.device("cpu"), torch.float32

    def __init__(self, logits):
        self.lm_head = lambda states: logits[: len(states)].clone()


def test_logprobs_are_rounded_to_the_nearest_and_clipped():
    logits = torch.tensor([[0.0, -1.0], [0.0, -300.0], [0.0, -1.00002]])
    reference = Reference(Stub(logits), np.ones(2, bool), 1_024)
    projection = Projection(np.ones((4, 2), np.float32), np.zeros(4, np.float32), 1.0)
    rows = Rows(
        torch.zeros(3, 4),
        torch.ones(3, dtype=torch.int64),
        torch.zeros(3, 4, dtype=torch.int64),
        torch.arange(3),
    )
    found = reference.measure_chunk(rows, SketchBuilder(projection))[3].tolist()
    surprise = [-float(row.double().log_softmax(0)[1]) * 2**16 for row in logits]
    assert found == [round(surprise[0]), 2**24 - 1, round(surprise[2])]
    assert surprise[0] - int(surprise[0]) > 0.5  # rounding down would show


def test_a_reference_in_another_precision_is_refused(checkpoint):
    model = Stub(torch.zeros(1, 2))
    model.dtype = torch.bfloat16
    with pytest.raises(ValueError, match="float32"):
        Reference(model, np.ones(2, bool), 1_024)
