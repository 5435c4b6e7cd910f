"""Keyed sampling on tensors gives the integers of the protocol, by every path."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from assay.inference.draws import sampler as module
from assay.inference.draws.sampler import KeyedSampler, NumericalError, make_keys
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
