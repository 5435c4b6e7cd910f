"""Sums on a GPU in an order that does not depend on which of its threads comes first.

torch then takes no kernel that adds in any order, and raises an error where it has no other. It has
none for running sums. Along the last of several dimensions theirs add each row in one block of
threads, always in the same order, so the error is about another case: a single row, over several
blocks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import deterministic

_RUNNING_SUMS = (torch.cumsum, Tensor.cumsum)
#: What torch's errors about it say.
_UNFIXED = "deterministic"


def lacks_order(error: BaseException) -> bool:
    """Return whether torch refused to compute something for want of a kernel of a fixed order."""
    return isinstance(error, RuntimeError) and _UNFIXED in str(error)


@contextmanager
def fix_order(device: torch.device, is_strict: bool = True) -> Iterator[None]:
    """Within it everything on a GPU gives the same bits each time. A CPU always does.

    Args:
        is_strict: what torch has no such kernel for is refused. If not, attention's gradients, too,
            are added in any order, and torch warns.

    Raises:
        RuntimeError: something is refused, see `lacks_order`.
    """
    if device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=not is_strict)
    # memory is written before it is read: filling it first is a quarter of a lesson's kernels
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


class RowSums(TorchFunctionMode):
    """Lets running sums of rows pass, and their gradients."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _RUNNING_SUMS:
            dim = args[1] if len(args) > 1 else kwargs["dim"]
            if args[0].dim() > 1 and dim in (-1, args[0].dim() - 1):
                return _SumRows.apply(args[0])
        return func(*args, **(kwargs or {}))


class _SumRows(torch.autograd.Function):
    """Running sums along the last of several dimensions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum_rows(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _sum_rows(gradient.flip(-1)).flip(-1)


def _sum_rows(x: Tensor) -> Tensor:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(False)
    try:
        return x.cumsum(-1)
    finally:
        torch.use_deterministic_algorithms(before)
