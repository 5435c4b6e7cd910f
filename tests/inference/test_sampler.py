"""Keyed sampling on tensors gives the integers of the protocol, by every path."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.inference import KeyedSampler, NumericalError, make_keys
from assay.inference import sampler as module
from assay.protocol.gumbel import compute_gumbel
from assay.protocol.prf import compute_key, compute_word

SEEDS = [bytes([i]) * 32 for i in range(4)]


def draw_slowly(logits, seed, position, temperature, drawable):
    """The normative draw: Python integers over the whole vocabulary, lowest id wins."""
    key = compute_key(seed)
    scores = [
        round(float(logit) * 2**20)
        + ((compute_gumbel(compute_word(key, position, v)) * temperature) >> 10)
        for v, logit in enumerate(logits)
    ]
    return max((v for v in range(len(scores)) if drawable[v]), key=lambda v: (scores[v], -v))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(2, 300),
    st.integers(0, 2**32 - 1),
    st.sampled_from([717, 1_024, 2_048]),
    st.floats(0.01, 30),
)
def test_draw_is_the_normative_argmax(vocabulary, position, temperature, spread):
    generator = np.random.default_rng(position)
    logits = torch.tensor(generator.normal(0, spread, (1, vocabulary)), dtype=torch.float32)
    drawable = generator.random(vocabulary) < 0.8
    drawable[0] = True
    sampler = KeyedSampler(drawable, temperature)
    ids, _ = sampler.draw(logits, make_keys(SEEDS[:1]), torch.tensor([position]))
    expected = draw_slowly(logits[0], SEEDS[0], position, temperature, drawable)
    assert int(ids[0]) == expected


@pytest.mark.parametrize("spread", [0.0, 0.5, 3.0, 50.0])
def test_fast_path_equals_the_whole_vocabulary(spread):
    """Also for constant logits, where nothing separates the best 64 from the rest."""
    torch.manual_seed(1)
    logits = torch.randn(4, 5_003) * spread
    drawable = np.ones(5_003, bool)
    drawable[::7] = False
    sampler = KeyedSampler(drawable, 1_024)
    keys, positions = make_keys(SEEDS), torch.tensor([0, 1, 31, 4_095])
    fast = sampler._draw_fast(logits, keys, positions)
    whole = sampler._draw_whole(logits, keys, positions)
    assert torch.equal(fast[0], whole[0])
    assert torch.equal(fast[1], whole[1])
    assert drawable[fast[0].numpy()].all()


def test_ties_go_to_the_lowest_id(monkeypatch):
    """With the noise taken out every id ties: both paths must name the first that may be drawn."""
    monkeypatch.setattr(
        KeyedSampler, "_noise", lambda self, words: torch.zeros_like(words, dtype=torch.int64)
    )
    monkeypatch.setattr(module, "compute_word_threshold", lambda value: 0)
    drawable = np.ones(5_000, bool)
    drawable[:3] = False
    sampler = KeyedSampler(drawable, 1_024)
    logits = torch.zeros(1, 5_000)
    for path in (sampler._draw_fast, sampler._draw_whole):
        assert path(logits, make_keys(SEEDS[:1]), torch.tensor([0]))[0].tolist() == [3]


def test_words_on_tensors_are_the_protocols():
    keys, positions = make_keys(SEEDS), torch.tensor([0, 5, 77, 2**32 - 1])
    words = module.compute_words(keys, positions, 21)
    some = module.compute_words_at(keys, positions, torch.tensor([[0, 3, 20]] * 4))
    for row, (seed, position) in enumerate(zip(SEEDS, positions.tolist(), strict=True)):
        expected = [compute_word(compute_key(seed), position, v) for v in range(21)]
        assert words[row].tolist() == expected
        assert some[row].tolist() == [expected[v] for v in (0, 3, 20)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e13])
def test_our_own_broken_logits_are_our_fault(bad):
    logits = torch.zeros(1, 10)
    logits[0, 4] = bad
    with pytest.raises(NumericalError):
        KeyedSampler(np.ones(10, bool), 1_024).draw(logits, make_keys(SEEDS[:1]), torch.tensor([0]))
