"""The loss, token by token, against values worked out by hand."""

import math

import pytest
import torch

from assay.training import Level, LossConfig, compute_advantages, compute_loss

CLIP = LossConfig(low=0.2, high=0.28, cap=4.0)


def measure(ratio: float, advantage: float, clip: LossConfig = CLIP) -> tuple[float, float]:
    """(loss, its gradient by the log-probability) of one token whose ratio is `ratio`."""
    logprob = torch.tensor([[math.log(ratio) - 1.0]], requires_grad=True)
    behaviour, mask = torch.tensor([[-1.0]]), torch.tensor([[True]])
    loss = compute_loss(logprob, behaviour, torch.tensor([advantage]), mask, 1.0, clip)
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


def test_divergence_pulls_towards_the_behaviour() -> None:
    clip = LossConfig(kl_weight=0.1)
    assert measure(1.0, 0.0, clip) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert measure(2.0, 0.0, clip)[1] > 0 > measure(0.5, 0.0, clip)[1]


def test_padding_counts_for_nothing_whatever_it_holds() -> None:
    logprobs = torch.tensor([[-1.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, False]])
    behaviour = torch.tensor([[-1.0, 0.0]])
    loss = compute_loss(logprobs, behaviour, torch.tensor([0.5]), mask, 2.0, CLIP)
    loss.value.backward()
    assert loss.value.item() == -0.25
    assert (loss.tokens, loss.clipped, loss.ratio_sum) == (1, 0, 1.0)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.25, 0.0]]


@pytest.mark.parametrize("bounds", [{"low": 0.0}, {"high": 5.0}, {"kl_weight": -1.0}])
def test_illegal_bounds(bounds: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"clip|divergence"):
        LossConfig(**bounds)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("gap", [300.0, -300.0])
def test_a_ratio_beyond_every_float_leaves_a_finite_gradient(level: Level, gap: float) -> None:
    logprob = torch.tensor([[-1.0]], requires_grad=True)
    config = LossConfig(level=level, kl_weight=0.1)
    behaviour, mask = logprob.detach() - gap, torch.tensor([[True]])
    loss = compute_loss(logprob, behaviour, torch.tensor([-1.0]), mask, 1.0, config)
    loss.value.backward()
    assert loss.value.isfinite()
    assert logprob.grad is not None
    assert logprob.grad.isfinite().all()


def test_at_sequence_level_each_completion_counts_alike() -> None:
    """Four tokens against one, ratios e^0.1 as geometric means, whatever single tokens do."""
    behaviour = torch.full((2, 4), -1.0)
    logprobs = behaviour + torch.tensor([[0.9, -0.5, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    config = LossConfig(level="sequence")
    loss = compute_loss(logprobs, behaviour, torch.tensor([1.0, 1.0]), mask, 2.0, config)
    assert loss.value.item() == pytest.approx(-math.exp(0.1), rel=1e-6)
    assert loss.clipped == 0
