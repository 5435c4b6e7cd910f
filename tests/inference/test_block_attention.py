"""Attention in blocks: its results are those of the whole table of scores, in a fraction of its
memory."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assay.inference import block_attention
from assay.inference.block_attention import attend_in_blocks
from assay.inference.packing import attend_for_models
from tests.inference.test_attention import FORMS, attend_exactly

HEADS, KEY_HEADS, TOKENS, WIDTH = 4, 2, 150, 8


@pytest.fixture
def row():
    """Queries, keys and values of one row, which some heads share."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, n, TOKENS, WIDTH, generator=random) for n in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize("queries", [1, 16, 1_000])
def test_blocks_are_the_whole_table(row, monkeypatch, window, queries):
    monkeypatch.setattr(block_attention, "SCORES", 0)
    monkeypatch.setattr(block_attention, "QUERIES_MIN", queries)
    names = {"cap": "softcap", "sinks": "s_aux"}  # as Hugging Face's models call them
    for form in FORMS.values():
        more = {names[name]: value for name, value in form.items()}
        found, _ = attend_in_blocks(None, *row, None, sliding_window=window, **more)
        exact = attend_exactly(*row, window, **form)
        assert torch.allclose(found.transpose(1, 2).double(), exact, atol=1e-6)


@pytest.mark.parametrize("attend", [attend_in_blocks, attend_for_models])
@pytest.mark.parametrize("more", [{"is_causal": False}, {"position_bias": 1}, {"dropout": 0.1}])
def test_an_argument_that_is_not_known_is_refused(row, attend, more):
    """Ignored, it would be another function without an error."""
    attend(None, *row, None, dropout=0.0, position_ids=None, use_cache=False)
    with pytest.raises(ValueError, match="no argument"):
        attend(None, *row, None, **more)
    with pytest.raises(ValueError, match="causal"):
        attend(SimpleNamespace(is_causal=False), *row, None)


def test_a_mask_or_a_cache_is_refused(row):
    q, k, v = row
    with pytest.raises(ValueError, match="whole sequences"):
        attend_in_blocks(None, q, k, v, torch.zeros(1))
    with pytest.raises(ValueError, match="whole sequences"):
        attend_in_blocks(None, q[:, :, 1:], k, v, None)


def test_no_table_of_all_scores_exists(row, monkeypatch):
    """Counted in elements of the largest tensor that an operation makes."""
    monkeypatch.setattr(block_attention, "SCORES", 1 << 12)
    largest = 0

    class Largest(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            largest = max(largest, made.numel() if isinstance(made, torch.Tensor) else 0)
            return made

    with Largest():
        attend_in_blocks(None, *row, None)
    most = block_attention.QUERIES_MIN * HEADS * TOKENS
    assert largest <= max(most, HEADS * TOKENS * WIDTH) < HEADS * TOKENS**2
