"""Implementations by name: the same weights in memory, each its own arithmetic."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from assay.inference import PERMITTED, ImplementationError, PlainReference, make_model, make_twin
from assay.training import GENESIS


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
    split = checkpoint.get_model("split3")
    assert {split._layers[0].gate.data_ptr(), split._head.data_ptr()} <= places
    for name in PERMITTED:
        assert checkpoint.get_model(name) is checkpoint.get_model(name)
    other = replace(checkpoint, model=checkpoint.load_trainable())
    assert other.get_model("fp32-eager") is not twin  # another model's weights


class Recording:
    """A model that remembers what it was asked to read."""

    def __init__(self, model):
        self.config, self.dtype, self.device = model.config, model.dtype, model.device
        self.lm_head = model.lm_head
        self._model, self.shapes = model, []

    def model(self, input_ids, **given):
        self.shapes.append((tuple(input_ids.shape), given.get("past_key_values")))
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
        request.prompt, completions, seeds, projection
    )
    assert len(model.shapes) == 3
    for (shape, cache), completion in zip(model.shapes, completions, strict=True):
        assert shape[0] == 1
        assert shape[1] >= len(request.prompt) + len(completion)
        assert cache is None
    appeal = checkpoint.get_appeal(1_024)
    assert isinstance(appeal, PlainReference)
    for one, completion, seed in zip(found, completions, seeds, strict=True):
        (alone,) = appeal.measure(request.prompt, [completion], [seed], projection)
        assert (alone.margins == one.margins).all()
        assert (alone.sketch == one.sketch).all()


def test_what_does_not_exist_or_cannot_run_is_named(make_random_model, checkpoint):
    with pytest.raises(ImplementationError, match="'fp64': one of fp32-sdpa, fp32-eager, split3"):
        checkpoint.get_reference(1_024, "fp64")
    windows = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1}
    with pytest.raises(ImplementationError, match=r"split3 cannot run this model: .*sliding"):
        make_model(make_random_model(**windows), "split3")
