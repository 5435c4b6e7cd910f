"""The law of margins against sampling and against sums without tricks; rates and their envelope."""

import math

import numpy as np
import pytest
import torch

from assay.inference import calibration
from assay.inference.calibration import (
    Side,
    compare,
    compute_gini,
    compute_survival,
    measure_centre,
    measure_rates,
)
from assay.inference.folder import CheckpointError, read_passages
from assay.inference.passages import Passage
from assay.protocol.parameters import SMALL_MODEL_TESTS
from assay.training import GENESIS
from tests.inference.live_bytes import count_live_bytes


def compute_plainly(a, b, tau, t):
    """P(margin > τ) of one row by the double sum, a row of it at a time."""
    p = np.exp((a.numpy() - a.max().item()) / t)
    p /= math.fsum(p)
    delta = (a - b).numpy() / t
    total = 0.0
    for c, pc in enumerate(p):
        gaps = np.maximum(delta[c] - delta - tau / t, 0)
        f = float(p @ np.expm1(gaps))
        total += pc * f / (1 + f)
    return total


def make_logits(apart, vocabulary=40, rows=3):
    generator = torch.Generator().manual_seed(5)
    b = 2 * torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, vocabulary, generator=generator, dtype=torch.float64)
    return b + apart * noise + 3.0, b  # a constant changes nothing


@pytest.mark.parametrize("t", [1.0, 0.5])
@pytest.mark.parametrize("apart", [1e-6, 1e-2, 1.0])
def test_the_law_is_the_double_sum(apart, t):
    a, b = make_logits(apart)
    taus = [0.0, apart / 10, apart, 3 * apart]
    found = compute_survival(a, b, torch.tensor(taus, dtype=torch.float64), t)
    for row in range(len(a)):
        for k, tau in enumerate(taus):
            wanted = compute_plainly(a[row], b[row], tau, t)
            assert math.isclose(found[row, k], wanted, rel_tol=1e-6, abs_tol=1e-18)


def test_small_differences_follow_the_flip_law():
    a, b = make_logits(1e-5)
    taus = torch.tensor([0.0, 5e-6, 2e-5], dtype=torch.float64)
    p, delta = b.softmax(dim=1), a - b
    pairs = p[:, :, None] * p[:, None, :]
    apart = (delta[:, :, None] - delta[:, None, :]).abs()
    law = torch.stack([(pairs * (apart - tau).clamp(min=0)).sum(dim=(1, 2)) / 2 for tau in taus], 1)
    assert torch.allclose(compute_survival(a, b, taus, 1.0), law, rtol=1e-3, atol=0)


@pytest.mark.parametrize("t", [1.0, 0.7])
def test_the_law_is_what_shared_noise_gives(t):
    """Frequencies of a million draws a threshold, another model's logits: within five sigma."""
    a, b = make_logits(0.7, vocabulary=12, rows=1)
    draws = 1_000_000
    noise = -torch.log(-torch.log(torch.rand(draws, 12, dtype=torch.float64)))
    drawn = (a + t * noise).argmax(dim=1, keepdim=True)
    scores = b + t * noise
    margins = scores.max(dim=1).values - scores.gather(1, drawn)[:, 0]
    taus = torch.tensor([0.0, 0.05, 0.3, 1.0], dtype=torch.float64)
    for tau, wanted in zip(taus, compute_survival(a, b, taus, t)[0].tolist(), strict=True):
        sigma = math.sqrt(wanted * (1 - wanted) / draws)
        assert abs(float((margins > tau).double().mean()) - wanted) < 5 * sigma


def test_rare_ids_may_be_left_out_of_large_vocabularies(monkeypatch):
    a, b = make_logits(1e-3, vocabulary=400)
    taus = torch.tensor([0.0, 1e-3], dtype=torch.float64)
    whole = compute_survival(a, b, taus, 1.0)
    monkeypatch.setattr(calibration, "_TOP", 300)
    part = compute_survival(a, b, taus, 1.0)
    assert (part <= whole).all()
    assert torch.allclose(part, whole, rtol=0.05)


def test_equal_sides_never_differ():
    a, _ = make_logits(0.0)
    taus = torch.tensor([0.0, 1e-6], dtype=torch.float64)
    assert compute_survival(a, a, taus, 1.0).abs().max() < 1e-20
    assert float(compute_gini(torch.zeros(1, 4, dtype=torch.float64))) == 0.75


@pytest.mark.parametrize(
    ("a", "b"), [("fp32-sdpa", "fp32-eager"), ("fp32-sdpa", "split3"), ("split3", "fp32-eager")]
)
def test_the_shipped_rates_cover_every_permitted_pair(checkpoint, a, b):
    tests = SMALL_MODEL_TESTS
    contexts = read_passages(GENESIS)[:48]
    levels = (*tests.margin_levels, tests.margin_cap)
    sides = [checkpoint.get_reference(1_024, name) for name in (a, b)]
    found = measure_rates(*sides, contexts, levels, 1_024)
    assert found.tokens == sum(len(context.completion) for context in contexts)
    assert found.rates[0] > 0
    floor = tests.rate_floor
    for rate, stored in zip(found.rates, checkpoint.calibration.rates, strict=False):
        assert rate <= tests.rate_inflation * stored + floor
    assert found.rates[-1] <= 10**8  # 1e-10 a token beyond the cap, in 1e-18


def test_a_pad_that_is_never_drawn_is_no_part_of_the_law(checkpoint):
    contexts = read_passages(GENESIS)[:2]
    sides = [calibration.Side.compute(checkpoint.get_reference(1_024), contexts) for _ in range(2)]
    _, a, _ = next(calibration.iterate_logits(*sides))
    drawable = checkpoint.tokenizer.drawable
    assert a.shape[1] == int(drawable.sum()) < len(drawable)
    assert np.isfinite(a.numpy()).all()


def test_a_calibration_set_that_nobody_drew_is_refused(checkpoint, projection):
    drawable = checkpoint.tokenizer.drawable
    contexts = [Passage((5,), (int(drawable.argmin()), int(drawable.argmax())))]
    side = Side.compute(checkpoint.get_reference(1_024), contexts)
    with pytest.raises(CheckpointError, match="nobody draws"):
        compare(side, side, contexts, [0.1], 1_024, projection)


def test_ids_that_only_the_judge_finds_likely_count_at_large_vocabularies():
    """Beyond 4,096 ids the likeliest of either side are kept: what b alone prefers counts."""
    generator = torch.Generator().manual_seed(5)
    a, b = torch.randn(2, 2, 4_300, generator=generator, dtype=torch.float64) * 0.01
    a[:, 4_200:] -= 9.0  # the least likely under a
    b[:, 4_200:] += 3.0
    found = compute_survival(a, b, torch.tensor([0.0, 0.5], dtype=torch.float64), 1.0)
    for row in range(2):
        for k, tau in enumerate((0.0, 0.5)):
            wanted = compute_plainly(a[row], b[row], tau, 1.0)
            assert math.isclose(found[row, k], wanted, rel_tol=0.1)


def test_a_set_is_measured_in_parts_and_held_one_part_at_a_time(checkpoint, monkeypatch):
    """One context at a time: the same centre, scale and number of tokens, however many there
    are."""
    contexts = read_passages(GENESIS)[:24]
    reference = checkpoint.get_reference(1_024)
    centre, scale = measure_centre(reference, contexts)
    monkeypatch.setattr(calibration, "_TOKENS", 1)
    in_parts, scale_in_parts = measure_centre(reference, contexts)
    assert max(abs(a - b) for a, b in zip(centre, in_parts, strict=True)) <= 1
    assert abs(scale - scale_in_parts) <= 1
    measured = measure_rates(reference, reference, contexts, (0,), 1_024)
    assert measured.tokens == sum(len(context.completion) for context in contexts)
    few, many = (
        count_live_bytes(lambda repeats=repeats: measure_centre(reference, contexts[:2] * repeats))
        for repeats in (2, 8)
    )
    assert many <= 1.01 * few
