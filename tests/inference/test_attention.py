"""Attention of a sequence's last tokens: its results are those of the whole table of scores, and
its memory grows with the tokens, not with their square."""

import math

import pytest
import torch
from torch.nn import functional

from assay.inference import attention
from assay.inference.attention import BLOCK, attend
from tests.inference.live_bytes import count_live_bytes

HEADS, KEY_HEADS, WIDTH, VALUE_WIDTH = 4, 2, 8, 6
#: Tokens before the queries, and queries: none before, fewer, and more than there are queries.
SIZES = [(0, 150), (50, 100), (100, 50), (149, 1)]


def make_row(ahead, count, width=WIDTH, value_width=WIDTH):
    """Queries of the last tokens, and keys and values of all."""
    random = torch.Generator().manual_seed(0)
    shapes = (HEADS, count, width), (KEY_HEADS, ahead + count, width)
    shapes += ((KEY_HEADS, ahead + count, value_width),)
    return [torch.randn(1, *shape, generator=random) for shape in shapes]


def make_mask(ahead, count, window):
    places = torch.arange(ahead + count)
    behind = places[ahead:, None] - places
    return (behind >= 0) & (behind < (window or ahead + count))


#: More than the causal scores: a cap, or the score of a further key for each head.
FORMS = {"plain": {}, "capped": {"cap": 0.7}, "sinks": {"sinks": torch.tensor([0.5, -1, 2, 0])}}


def attend_exactly(q, k, v, window, cap=None, sinks=None):
    """The whole table in fp64, [1, heads, N, width]."""
    repeats = HEADS // KEY_HEADS
    q, k, v = (x.double() for x in (q, *(x.repeat_interleave(repeats, dim=1) for x in (k, v))))
    mask = make_mask(k.shape[2] - q.shape[2], q.shape[2], window)
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    scores = scores if cap is None else cap * torch.tanh(scores / cap)
    scores = scores.masked_fill(~mask, -math.inf)
    if sinks is not None:
        column = sinks.double().view(1, HEADS, 1, 1).expand(1, -1, q.shape[2], -1)
        scores = torch.cat((scores, column), dim=-1)
    return scores.softmax(-1)[..., : k.shape[2]] @ v


@pytest.mark.parametrize("block", [16, BLOCK])
@pytest.mark.parametrize("window", [None, 1, 20, 150])
@pytest.mark.parametrize(("ahead", "count"), SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_attention_is_its_formula(monkeypatch, form, ahead, count, window, block):
    monkeypatch.setattr(attention, "BLOCK", block)
    monkeypatch.setattr(attention, "KEYS_TOGETHER", 2 * block)
    for width in (WIDTH, VALUE_WIDTH):
        row = make_row(ahead, count, value_width=width)
        exact = attend_exactly(*row, window, **FORMS[form])
        found = attend(*row, window=window, **FORMS[form])
        assert torch.allclose(found.double(), exact, atol=1e-6)


@pytest.mark.parametrize("window", [None, 1, 20])
@pytest.mark.parametrize(("ahead", "count"), SIZES)
@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_the_formulas(monkeypatch, form, ahead, count, window):
    """Masks are made again for them: in blocks of 16 the same gradients as in one."""
    row = [x.requires_grad_() for x in make_row(ahead, count)]
    slopes = torch.randn(1, HEADS, count, WIDTH, generator=torch.Generator().manual_seed(1))
    learned = [x.clone().requires_grad_() for x in FORMS[form].values() if torch.is_tensor(x)]
    more = dict.fromkeys(("sinks",), learned[0]) if learned else FORMS[form]
    exact = torch.autograd.grad(
        (attend_exactly(*row, window, **more) * slopes).sum(), [*row, *learned]
    )
    for block in (16, BLOCK):
        monkeypatch.setattr(attention, "BLOCK", block)
        found = torch.autograd.grad(
            (attend(*row, window=window, **more) * slopes).sum(), [*row, *learned]
        )
        for each, right in zip(found, exact, strict=True):
            assert torch.allclose(each, right, atol=1e-5)


def test_no_model_has_sinks_beside_capped_scores():
    with pytest.raises(ValueError, match="no sinks"):
        attend(*make_row(0, 2), cap=1.0, sinks=torch.zeros(HEADS))


@pytest.mark.parametrize("window", [None, 700])
def test_blocks_give_the_bits_of_a_whole_mask(window):
    """Queries and keys are multiples of what torch's kernel takes together, so that it multiplies
    the same matrices."""
    row = make_row(1_024, 512, width=32, value_width=32)
    whole = functional.scaled_dot_product_attention(
        *row, attn_mask=make_mask(1_024, 512, window), enable_gqa=True
    )
    assert torch.equal(attend(*row, window=window), whole)


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("window", [None, 256])
@pytest.mark.parametrize("share", [0, 1, 3])
def test_memory_grows_with_tokens(share, window, learns):
    """Twice the tokens take no more than twice the bytes, whatever share of them are queries."""

    def count(tokens):
        row = make_row(share * tokens // 4, tokens - share * tokens // 4)
        if not learns:
            return count_live_bytes(lambda: attend(*row, window=window))
        row = [x.requires_grad_() for x in row]
        return count_live_bytes(lambda: attend(*row, window=window).sum().backward())

    assert count(4_096) <= 2 * count(2_048)


def test_tensors_that_are_let_go_no_longer_count():
    def run():
        kept = torch.zeros(1_000)
        for _ in range(3):
            torch.zeros(2_000).add_(1)
        return kept.view(10, 100)

    assert count_live_bytes(run) == 4 * 3_000
