"""The loss, token by token, against values worked out by hand."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch

from assay.training import (
    Dppo,
    Grpo,
    Gspo,
    Icepop,
    LearnConfig,
    LossConfig,
    LossName,
    compute_advantages,
    compute_loss,
)
from assay.training.grpo import LOSSES

CLIP = Grpo(low=0.2, high=0.28, cap=4.0)
#: New and behaviour log-probability, advantage → gain, its gradient, whether a bound holds it.
Formula = Callable[[float, float, float], tuple[float, float, bool]]


def measure(ratio: float, advantage: float, kl_weight: float = 0.0) -> tuple[float, float]:
    """(loss, its gradient by the log-probability) of one token whose ratio is `ratio`."""
    logprob = torch.tensor([[math.log(ratio) - 1.0]], requires_grad=True)
    behaviour, mask = torch.tensor([[-1.0]]), torch.tensor([[True]])
    loss = compute_loss(logprob, behaviour, torch.tensor([advantage]), mask, 1.0, CLIP, kl_weight)
    loss.value.backward()
    assert logprob.grad is not None
    return loss.value.item(), logprob.grad.item()


def test_advantages_are_centred_and_not_scaled() -> None:
    assert compute_advantages([1_000_000, 0, 0, 0]) == [0.75, -0.25, -0.25, -0.25]
    assert compute_advantages([200_000, 100_000]) == [0.05, -0.05]


@pytest.mark.parametrize("rewards", [[0, 0, 0], [1_000_000], [7, 7]])
def test_a_group_without_variance_is_dropped(rewards: list[int]) -> None:
    assert compute_advantages(rewards) is None


def test_an_empty_group_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="at least one"):
        compute_advantages([])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.0, -1.0, 1.0, 1.0),
        (1.27, 1.0, -1.27, -1.27),
        (1.5, 1.0, -1.28, 0.0),  # clip-higher
        (0.5, 1.0, -0.5, -0.5),  # a good token that fell is pulled back
        (0.5, -1.0, 0.8, 0.0),  # a bad token has fallen enough
        (2.0, -1.0, 2.0, 2.0),  # a bad token that rose is pushed down
        (50.0, -1.0, 4.0, 0.0),  # … but a runaway ratio is capped
    ],
)
def test_clipping(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    assert measure(ratio, advantage) == pytest.approx((loss, gradient), abs=1e-5)


@pytest.mark.parametrize("name", get_args(LossName))
def test_what_is_no_number_is_noticed(name: LossName) -> None:
    nothing, mask = torch.tensor([[math.nan, -1.0]]), torch.tensor([[True, True]])
    behaviour, config = torch.tensor([[-1.0, -1.0]]), LOSSES[name]()
    loss = compute_loss(nothing, behaviour, torch.tensor([1.0]), mask, 1.0, config)
    assert not loss.value.isfinite()


def draw_batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probabilities, the behaviour's, advantages, mask: ratios and moves beyond every bound."""
    generator = torch.Generator().manual_seed(seed)
    behaviour = -3 * torch.rand(6, 9, generator=generator)
    logprobs = (behaviour + torch.randn(6, 9, generator=generator)).clamp(max=-1e-3)
    lengths = torch.randint(1, 10, (6,), generator=generator)
    mask = torch.arange(9) < lengths[:, None]
    return logprobs, behaviour, torch.randn(6, generator=generator), mask


def sum_icepop(new: float, old: float, advantage: float) -> tuple[float, float, bool]:
    """INTELLECT-3, equation 1: M(k) = k within [α, β], else 0. With its gradient by log π."""
    k = math.exp(new) / math.exp(old)
    gain = k * advantage if 0.5 <= k <= 2.5 else 0.0
    return gain, gain, not 0.5 <= k <= 2.5


def sum_dppo(new: float, old: float, advantage: float) -> tuple[float, float, bool]:
    """The mask M of "Rethinking the trust region", with D the binary total variation |π − μ|:
    0 if A > 0, r > 1 and D > δ, or if A < 0, r < 1 and D > δ. Ours caps r at 3 besides."""
    ratio, moved = math.exp(new) / math.exp(old), abs(math.exp(new) - math.exp(old))
    out = (ratio > 1 and moved > 0.3) if advantage > 0 else (ratio < 1 and moved > 0.1)
    gain = 0.0 if out else min(ratio, 3.0) * advantage
    return gain, gain if ratio < 3 else 0.0, out


@pytest.mark.parametrize(
    ("config", "formula"),
    [(Icepop(low=0.5, high=1.5), sum_icepop), (Dppo(fall=0.1, rise=0.3, cap=3.0), sum_dppo)],
    ids=["icepop", "dppo"],
)
@pytest.mark.parametrize("seed", range(20))
def test_masks_are_the_papers(config: LossConfig, formula: Formula, seed: int) -> None:
    logprobs, behaviour, advantages, mask = draw_batch(seed)
    logprobs.requires_grad_()
    loss = compute_loss(logprobs, behaviour, advantages, mask, 10.0, config)
    loss.value.backward()
    value, clipped, gradient = 0.0, 0, torch.zeros(6, 9)
    for row, place in mask.nonzero().tolist():
        gain, slope, out = formula(
            logprobs[row, place].item(), behaviour[row, place].item(), advantages[row].item()
        )
        value -= gain / 10
        clipped += out
        gradient[row, place] = -slope / 10
    assert 0 < clipped == loss.clipped
    assert loss.value.item() == pytest.approx(value, rel=1e-5, abs=1e-6)
    assert logprobs.grad is not None
    torch.testing.assert_close(logprobs.grad, gradient, rtol=1e-5, atol=1e-6)


def test_divergence_pulls_towards_the_behaviour() -> None:
    assert measure(1.0, 0.0, kl_weight=0.1) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert measure(2.0, 0.0, kl_weight=0.1)[1] > 0 > measure(0.5, 0.0, kl_weight=0.1)[1]


@pytest.mark.parametrize("name", get_args(LossName))
def test_padding_counts_for_nothing_whatever_it_holds(name: LossName) -> None:
    logprobs = torch.tensor([[-1.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    behaviour = torch.tensor([[-1.0, 0.0]])
    config = LOSSES[name]()
    loss = compute_loss(logprobs, behaviour, torch.tensor([0.5]), mask, 2.0, config)
    loss.value.backward()
    assert loss.value.item() == (0.25 if name == "cispo" else -0.25)
    assert (loss.tokens, loss.clipped, loss.ratio_sum) == (1, 0, 1.0)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.25, 0.0]]


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("grpo", {"low": 0.0}),
        ("grpo", {"high": 5.0}),
        ("gspo", {"cap": 1.1}),
        ("cispo", {"high": 0.0}),
        ("icepop", {"low": 1.0}),
        ("dppo", {"fall": 1.0}),
        ("dppo", {"rise": 0.0}),
    ],
)
def test_illegal_bounds(name: LossName, bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"bounds? needs? "):
        LOSSES[name](**bounds)


def test_a_divergence_that_would_push_is_refused() -> None:
    with pytest.raises(ValueError, match="is negative"):
        LearnConfig(kl_weight=-1.0)


@pytest.mark.parametrize("name", get_args(LossName))
@pytest.mark.parametrize("gap", [300.0, -300.0])
def test_a_ratio_beyond_every_float_leaves_a_finite_gradient(name: LossName, gap: float) -> None:
    logprob = torch.tensor([[-1.0]], requires_grad=True)
    config = LOSSES[name]()
    behaviour, mask = logprob.detach() - gap, torch.tensor([[True]])
    loss = compute_loss(logprob, behaviour, torch.tensor([-1.0]), mask, 1.0, config, 0.1)
    loss.value.backward()
    assert loss.value.isfinite()
    assert logprob.grad is not None
    assert logprob.grad.isfinite().all()


def test_with_gspo_each_completion_counts_alike() -> None:
    """Four tokens against one, ratios e^0.1 as geometric means, whatever single tokens do."""
    behaviour = torch.full((2, 4), -1.0)
    logprobs = behaviour + torch.tensor([[0.9, -0.5, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    config = Gspo()
    loss = compute_loss(logprobs, behaviour, torch.tensor([1.0, 1.0]), mask, 2.0, config)
    assert loss.value.item() == pytest.approx(-math.exp(0.1), rel=1e-6)
    assert loss.clipped == 0
