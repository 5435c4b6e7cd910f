"""The fast draws, compiled, on tensors and in numpy, are the slow one: every row, every bit.

The slow one scores the whole vocabulary in integers. 100,000 rows in the ordinary run, a million
in the nightly one.
"""

from functools import partial

import numpy as np
import pytest
import torch

from assay.inference.draws import sampler as module
from assay.inference.draws.sampler import KeyedSampler, NumericalError, load_kernels, make_keys
from assay.protocol import draw
from assay.protocol.draw import draw_token
from assay.protocol.gumbel import GUMBEL_MAX, compute_gumbel, compute_gumbels
from assay.protocol.parameters import FRACTION_BITS
from assay.protocol.prf import compute_key, compute_word
from assay.protocol.words import compute_words

ROWS = 500
TEMPERATURES = (1, 717, 1_024, 1_024, 2_048, 65_536)
NUMPY_ROWS = 20  # numpy draws row by row, so only these of each batch
LAST = 2**32 - 1
#: Words at the ends of their range under the key of 32 zero bytes: (position, id, word).
EXTREMES = [
    (912_458, 579, 0),
    (1_789_872, 3_200, 0),
    (1_367_078, 1_121, LAST),
    (4_606_878, 4_089, LAST),
]


def draw_slowly(logits, drawable, words, temperature):
    """Ids and scores of the whole vocabulary's argmax; numpy's argmax names the lowest id."""
    scores = np.rint(logits.astype(np.float64) * 2**FRACTION_BITS).astype(np.int64)
    scores += (compute_gumbels(words) * temperature) >> 10
    scores[:, ~drawable] = -(2**63)
    ids = scores.argmax(axis=1)
    return ids, scores[np.arange(len(ids)), ids]


def make_logits(kind, shape, words, temperature, rng):
    """Rows where something could go wrong, float32."""
    noise = compute_gumbels(words) * temperature / 2 ** (FRACTION_BITS + 10)
    shapes = {
        "flat": lambda: np.full(shape, rng.normal()),
        "normal": lambda: rng.normal(0, rng.choice([0.01, 0.5, 3, 12]), shape),
        "equal": lambda: rng.integers(-2, 3, shape) / 2,
        "all but tied": lambda: -noise + rng.normal(0, 1e-6, shape),
        "tied to a unit": lambda: np.rint(-noise * 2**FRACTION_BITS) / 2**FRACTION_BITS,
        "huge": lambda: rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(0, 39.9, shape),
        "huge and tied": lambda: np.full(shape, 2.0 ** rng.integers(10, 40)),
        "tiny": lambda: rng.normal(0, 1e-30, shape),
        "ascending": lambda: np.sort(rng.normal(0, 3, shape), axis=1),
        "one peak": lambda: np.where(rng.random(shape) < 2 / shape[1], 30.0, -30.0),
        "signed zeros": lambda: rng.choice([-0.0, 0.0], shape),
    }
    return shapes[kind]().astype(np.float32)


KINDS = (
    "flat",
    "normal",
    "normal",
    "equal",
    "all but tied",
    "tied to a unit",
    "huge",
    "huge and tied",
    "tiny",
    "ascending",
    "one peak",
    "signed zeros",
)


def get_paths(sampler):
    """The three fast draws."""
    kernels = load_kernels()
    assert kernels is not None
    return (partial(sampler.draw_compiled, kernels), sampler.draw_on_tensors, sampler.draw_in_numpy)


def check_batch(number):
    """One batch of rows under one vocabulary, temperature and kind, by all three paths."""
    rng = np.random.default_rng(number)
    vocabulary = int(2 ** (rng.uniform(0, 9) if number % 19 else rng.uniform(9, 12)))
    vocabulary = vocabulary if number % 97 else 4_096
    temperature = TEMPERATURES[number % len(TEMPERATURES)]
    drawable = rng.random(vocabulary) < rng.choice([1.0, 0.9, 2 / vocabulary])
    drawable[rng.integers(vocabulary)] = True
    keys = torch.from_numpy(rng.integers(0, 2**32, (ROWS, 4)))
    positions = torch.from_numpy(rng.integers(0, rng.choice([8, 2**32]), ROWS))
    words = module.compute_words(keys, positions, vocabulary).numpy().astype(np.uint32)
    kind = KINDS[number % len(KINDS)]
    logits = make_logits(kind, words.shape, words, temperature, rng)
    ids, scores = draw_slowly(logits, drawable, words, temperature)

    sampler = KeyedSampler(drawable, temperature)
    tensor = torch.from_numpy(logits)
    compiled, on_tensors, in_numpy = get_paths(sampler)
    for path in (compiled, on_tensors):
        drawn = path(tensor, keys, positions)
        assert drawn[0].tolist() == ids.tolist(), (number, kind)
        assert drawn[1].tolist() == scores.tolist(), (number, kind)
    claimed = sampler.score(tensor, keys, positions, torch.from_numpy(ids)[:, None])
    assert claimed[:, 0].tolist() == scores.tolist()
    some = slice(0, NUMPY_ROWS)
    drawn = in_numpy(tensor[some], keys[some], positions[some])
    assert (drawn[0].tolist(), drawn[1].tolist()) == (ids[some].tolist(), scores[some].tolist())


@pytest.mark.parametrize("eighth", range(8))
def test_fast_is_slow_on_100_000_rows(eighth):
    for number in range(eighth, 100_000 // ROWS, 8):
        check_batch(number)


@pytest.mark.slow
@pytest.mark.nightly
def test_fast_is_slow_on_a_million_rows():
    for number in range(1_000, 1_000 + 1_000_000 // ROWS):
        check_batch(number)


@pytest.mark.parametrize(("position", "extreme", "word"), EXTREMES)
@pytest.mark.parametrize("rest", [-30.0, 0.0, 22.8, 45.0])
def test_the_ends_of_a_words_range(position, extreme, word, rest):
    """Γ at its largest and smallest, against a vocabulary far below, level, near and far above."""
    seed = bytes(32)
    assert compute_word(compute_key(seed), position, extreme) == word
    logits = np.full((1, 4_096), rest, np.float32)
    logits[0, extreme] = 0
    drawable = np.ones(4_096, bool)
    keys, positions = make_keys([seed]), torch.tensor([position])
    words = compute_words(
        np.array([compute_key(seed)], np.uint64), np.array([position], np.uint64), 4_096
    )
    expected = draw_slowly(logits, drawable, words, 1_024)
    sampler, tensor = KeyedSampler(drawable, 1_024), torch.from_numpy(logits)
    for path in get_paths(sampler):
        drawn = path(tensor, keys, positions)
        assert (drawn[0].item(), drawn[1].item()) == (int(expected[0][0]), int(expected[1][0]))


def test_a_score_that_rounding_lifts_above_its_bound():
    """At T = 1/1024 a unit of 2^-20 is worth more than a bound's excess: the slack covers it.

    Id 2,199 has a word whose bound is nearly exact, and a logit that rounds up by half a unit to
    tie with another id: the lowest must win.
    """
    seed, position, low, high, temperature = bytes(32), 1_361_552, 2_199, 4_000, 1
    word, other = (compute_word(compute_key(seed), position, v) for v in (low, high))
    assert word == LAST - 2**19
    logits = np.zeros((1, 4_096), np.float32)
    logits[0, low] = 0.51 / 2**FRACTION_BITS
    score = 1 + (compute_gumbel(word) >> 10)
    logits[0, high] = (score - (compute_gumbel(other) >> 10)) / 2**FRACTION_BITS
    drawable = np.zeros(4_096, bool)
    drawable[[low, high]] = True
    for path in get_paths(KeyedSampler(drawable, temperature)):
        ids, scores = path(torch.from_numpy(logits), make_keys([seed]), torch.tensor([position]))
        assert (ids.tolist(), scores.tolist()) == ([low], [score])


@pytest.mark.parametrize("other", [0, 1, 255, 256, 2**31 - 1, 2**31, LAST - 256, LAST - 1])
@pytest.mark.parametrize("apart", [-1, 0, 1])
def test_ties_at_words_of_every_region(monkeypatch, other, apart):
    """Word 2^32 − 1 against another whose logit makes up for it to a unit of 2^-20, either way."""
    lead = GUMBEL_MAX - compute_gumbel(other) + apart
    words = np.full((1, 70), 7, np.uint32)
    words[0, [9, 40]] = other, LAST
    logits = np.full((1, 70), -99, np.float32)
    logits[0, 40] = 0
    logits[0, 9] = lead / 2**FRACTION_BITS  # a float32 holds it: below 2^25 units
    lead = round(float(logits[0, 9]) * 2**FRACTION_BITS)
    winner = 9 if lead + compute_gumbel(other) >= GUMBEL_MAX else 40
    monkeypatch.setattr(draw, "compute_words", lambda *_: words)
    monkeypatch.setattr(module, "compute_words", lambda *_: torch.from_numpy(words).long())
    drawable = np.ones(70, bool)
    assert draw_token(logits[0], drawable, (0, 0, 0, 0), 0, 1_024)[0] == winner
    sampler = KeyedSampler(drawable, 1_024)
    drawn = sampler.draw_on_tensors(
        torch.from_numpy(logits), make_keys([bytes(32)]), torch.zeros(1)
    )
    assert drawn[0].tolist() == [winner]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 1e13])
def test_every_path_refuses_broken_logits(bad):
    logits = torch.zeros(2, 5_000)
    logits[1, 4_999] = bad
    sampler = KeyedSampler(np.ones(5_000, bool), 1_024)
    keys, positions = make_keys([bytes(32)] * 2), torch.tensor([0, 1])
    for path in get_paths(sampler):
        with pytest.raises(NumericalError):
            path(logits, keys, positions)


def test_without_a_compiler_the_same_tokens(monkeypatch):
    """Small vocabularies on tensors, large ones in numpy: the results are unchanged."""
    torch.manual_seed(0)
    for vocabulary in (98, 5_000):
        logits = torch.randn(3, vocabulary)
        sampler = KeyedSampler(np.ones(vocabulary, bool), 1_024)
        row = logits, make_keys([bytes([i]) * 32 for i in range(3)]), torch.tensor([0, 1, 2])
        compiled = sampler.draw(*row), sampler.score(*row, torch.tensor([[1], [2], [3]]))
        with monkeypatch.context() as patch:
            patch.setattr(module, "load_kernels", lambda: None)
            plain = sampler.draw(*row), sampler.score(*row, torch.tensor([[1], [2], [3]]))
        assert torch.equal(compiled[1], plain[1])
        assert all(torch.equal(a, b) for a, b in zip(compiled[0], plain[0], strict=True))
