"""Attention in blocks: its results are those of the whole table of scores, in a fraction of its
memory."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from assay.inference import block_attention
from assay.inference.block_attention import attend_in_blocks

HEADS, KEY_HEADS, TOKENS, WIDTH = 4, 2, 150, 8


@pytest.fixture
def row():
    """Queries, keys and values of one row, which some heads share."""
    random = torch.Generator().manual_seed(0)
    return [
        torch.randn(1, n, TOKENS, WIDTH, generator=random) for n in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


def attend_exactly(q, k, v, window):
    """The whole table in fp64, [1, heads, T, width]."""
    q, k, v = (x.double() for x in (q, *(x.repeat_interleave(2, dim=1) for x in (k, v))))
    places = torch.arange(TOKENS)
    ahead = places[:, None] - places
    seen = (ahead >= 0) & (ahead < (window or TOKENS))
    scores = (q @ k.mT / math.sqrt(WIDTH)).masked_fill(~seen, -math.inf)
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize("queries", [1, 16, 1_000])
def test_blocks_are_the_whole_table(row, monkeypatch, window, queries):
    monkeypatch.setattr(block_attention, "SCORES", 0)
    monkeypatch.setattr(block_attention, "QUERIES_MIN", queries)
    found, _ = attend_in_blocks(None, *row, None, sliding_window=window)
    assert torch.allclose(found.transpose(1, 2).double(), attend_exactly(*row, window), atol=1e-6)


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
