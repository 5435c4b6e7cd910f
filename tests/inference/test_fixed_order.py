"""Running sums in a fixed order: values and gradients are torch's, and other sums pass by."""

import pytest
import torch

from assay.inference.fixed_order import RowSums, fix_order


@pytest.mark.parametrize("dim", [-1, 2, 0, 1])
def test_running_sums_are_torchs(dim: int) -> None:
    x = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    with RowSums():
        found = x.cumsum(dim=dim)
        assert torch.autograd.gradcheck(lambda x: torch.cumsum(x, dim), x)
    assert torch.equal(found, x.cumsum(dim))


def test_a_single_row_is_not_let_through() -> None:
    x = torch.randn(5, requires_grad=True)
    with RowSums():
        assert "SumRows" not in type(x.cumsum(-1).grad_fn).__name__


def test_a_cpu_needs_nothing() -> None:
    with fix_order(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
