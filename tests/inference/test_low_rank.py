"""The one way to add low-rank factors: the same bits in any order of work, on any processor."""

import numpy as np
import pytest
import torch
from torch import Tensor

from assay.inference.low_rank import (
    Adapter,
    Factors,
    decode_adapter,
    encode_adapter,
    merge,
    round_factors,
)


def draw(shape: tuple[int, ...], seed: int, scale: float = 0.05) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def add_by_hand(weight: Tensor, factors: Factors) -> Tensor:
    """One number after the other, as the specification says it."""
    w, left, right = (part.float().numpy() for part in (weight, factors.left, factors.right))
    made = np.empty_like(w)
    for row, column in np.ndindex(w.shape):
        total = left[row, 0] * right[0, column]
        for k in range(1, left.shape[1]):
            total = np.float32(total + np.float32(left[row, k] * right[k, column]))
        made[row, column] = np.float32(w[row, column] + total)
    return torch.from_numpy(made).bfloat16()


@pytest.mark.parametrize("rank", [1, 8])
def test_it_is_the_sum_that_the_specification_describes(rank: int) -> None:
    weight = draw((13, 7), 0, 1.0).bfloat16()
    factors = round_factors(draw((13, rank), 1, 0.3), draw((rank, 7), 2, 0.3))
    made = add_by_hand(weight, factors)
    assert torch.equal(merge(weight, factors), made)


def test_the_order_of_the_sum_shows() -> None:
    left, right = torch.tensor([[1.0, 2.0**-24, 2.0**-24, -1.0]]), torch.ones(4, 1)
    nothing = torch.zeros(1, 1).bfloat16()
    assert merge(nothing, round_factors(left, right)).item() == 0.0
    assert merge(nothing, round_factors(left.flip(1), right)).item() == 2.0**-23


@pytest.mark.parametrize("shape", [(300, 200), (5, 60, 70)])
def test_no_order_of_work_changes_a_bit(shape: tuple[int, ...]) -> None:
    """Blocks of one row, of some and of all; one thread and several."""
    weight = draw(shape, 5, 1.0).bfloat16()
    factors = round_factors(draw((*shape[:-1], 8), 6), draw((*shape[:-2], 8, shape[-1]), 7))
    threads = torch.get_num_threads()
    made = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            made += [merge(weight, factors, block) for block in (1, 777, 10**6)]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(made[0], other) for other in made)
    assert made[0].shape == shape
    assert not torch.equal(made[0], weight)


def test_a_file_has_factors_and_base() -> None:
    factors = {
        "a.weight": round_factors(draw((6, 2), 8), draw((2, 9), 9)),
        "b": round_factors(draw((3, 6, 1), 10), draw((3, 1, 9), 11)),
    }
    data = encode_adapter(Adapter(b"\7" * 32, factors))
    read = decode_adapter(data)
    assert read.base == b"\7" * 32
    assert {name: pair.shape for name, pair in read.factors.items()} == {
        "a.weight": (6, 9),
        "b": (3, 6, 9),
    }
    for name, pair in factors.items():
        assert torch.equal(read.factors[name].left, pair.left)
        assert torch.equal(read.factors[name].right, pair.right)
    assert encode_adapter(read) == data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2.0**40])
def test_factors_that_nobody_would_take_are_not_published(value: float) -> None:
    left = draw((6, 2), 12)
    left[3, 1] = value
    with pytest.raises(ValueError, match="a factor is not a number, or far too large"):
        round_factors(left, draw((2, 9), 13))
