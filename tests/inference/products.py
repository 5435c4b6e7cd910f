"""Every matrix product and attention that runs, as torch dispatches it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.inference.rounding import iterate_rounding

_PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "linear", "matmul", "dot", "mv")


@dataclass(frozen=True)
class Product:
    name: str  # the operator's: mm, addmm_, _scaled_dot_product_flash_attention_for_cpu
    operands: set[torch.dtype]  # of the operator's factors; an accumulator is none
    result: torch.dtype
    shapes: list[tuple[int, ...]]  # shapes of the factors
    rounding: list[str]  # switches that were on
    left: Tensor | None  # a copy of its first factor, if kept


class RecordedProducts(TorchDispatchMode):
    """Records the products that were computed while the mode was active: `made`.

    Args:
        keep: also keep the first factors.
    """

    def __init__(self, keep: bool = False) -> None:
        super().__init__()
        self.made: list[Product] = []
        self._keep = keep

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in _PRODUCTS or "attention" in name or "conv" in name:
            first = 1 if "add" in name else 0
            factors = [x for x in args[first : first + 3] if torch.is_tensor(x)]
            result = out if torch.is_tensor(out) else out[0]
            self.made.append(
                Product(
                    name,
                    {x.dtype for x in factors},
                    result.dtype,
                    [tuple(x.shape) for x in factors],
                    list(iterate_rounding()),
                    factors[0].clone() if self._keep else None,
                )
            )
        return out
