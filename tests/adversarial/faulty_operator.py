"""A machine with the smallest possible error, or a trainer with the smallest lie: one number of one
operator of a step is replaced by the next larger number of its type."""

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._pytree import tree_flatten

from assay.audit.tracing.operator_calls import get_address, get_plan


class FaultyMachine:
    """Runs operators, one of them with an error.

    Args:
        index: of the operator, from 0. An operator that computes no finite numbers of its own, such
            as a view, is left unchanged, and the error moves to the next one that does.
        element: index of the wrong number, modulo their count.

    Attributes:
        count: operators so far.
        fell_on: the operator with the error; None: none so far.
    """

    def __init__(self, index: int, element: int) -> None:
        self.count = 0
        self.fell_on: int | None = None
        self._index = index
        self._element = element

    def run(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of the operator."""
        result = func(*args, **kwargs)
        if self.fell_on is None and self.count >= self._index:
            made = _list_made(func, result, (args, kwargs))
            if any(self._spoil(tensor) for tensor in made):
                self.fell_on = self.count
        self.count += 1
        return result

    def _spoil(self, tensor: Tensor) -> bool:
        """Change a number if possible. Return whether it was."""
        with torch.no_grad():
            numbers = tensor.detach()
            places = numbers.isfinite().nonzero()
            if len(places):
                place = tuple(places[self._element % len(places)].tolist())
                numbers[place] = _get_next(numbers[place])
        return len(places) > 0


def _list_made(func: OpOverload, result: Any, given: Any) -> list[Tensor]:
    """Real numbers that an operator computed. Leaves out views of its inputs, and memory that is
    still to be written."""
    plan = get_plan(func)
    if plan.makes_unwritten:
        return []
    writes = bool(plan.names_written)
    held = {
        get_address(one.untyped_storage())
        for one in tree_flatten(given)[0]
        if isinstance(one, Tensor)
    }
    return [
        one
        for one in tree_flatten(result)[0]
        if isinstance(one, Tensor)
        and one.is_floating_point()
        and (writes or get_address(one.untyped_storage()) not in held)
    ]


def _get_next(number: Tensor) -> Tensor:
    """The next larger number of its type."""
    return torch.nextafter(number, torch.full_like(number, torch.inf))
