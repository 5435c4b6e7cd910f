"""The outer step: from children to the next parent's masters, the same bytes on every machine.

Nesterov's step over the mean difference (DiLoCo: Douillard et al., 2023; OpenDiLoCo: Jaghouar et
al., 2024). It uses numpy's float32, element by element, one rounded operation after another: no sum
whose order a library chooses, no product that another instruction fuses. Specification, section
11.1.

This module does not know whether a child was honestly made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.artifacts.steps.folder import digest_tensors_of
from assay.protocol.parameters import MILLION, Rounds

Masters = Mapping[str, Tensor]
_Values = NDArray[np.float32]
#: A norm is summed over differences as whole numbers of 2^-30, in chunks that fit 64 bits.
_UNIT_BITS, _BOUND_BITS = 30, 20
_CHUNK, _HALF = 1 << 20, 20


@dataclass(frozen=True, slots=True)
class OuterState:
    """fp32 masters by name, and the outer step's velocity, of the same names and shapes."""

    masters: Masters
    velocity: Masters

    def to_tensors(self) -> dict[str, Tensor]:
        """Tensors by the names under which they are written and hashed."""
        named = {f"master.{name}": tensor for name, tensor in self.masters.items()}
        return named | {f"velocity.{name}": tensor for name, tensor in self.velocity.items()}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "OuterState":
        """The state from `to_tensors`' result. Raises ValueError if the tensors are not such a
        result."""
        parts: dict[str, dict[str, Tensor]] = {"master": {}, "velocity": {}}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind not in parts or tensor.dtype != torch.float32:
                raise ValueError(f"{name} is not a tensor of an outer state")
            parts[kind][rest] = tensor
        state = OuterState(parts["master"], parts["velocity"])
        if not has_same_form(state.masters, state.velocity):
            raise ValueError("masters and velocity are not of one form")
        return state


def begin_outer(weights: Masters) -> OuterState:
    """The state at a checkpoint that no merge made: its weights as fp32, and no velocity."""
    masters = {name: tensor.to(torch.float32) for name, tensor in weights.items()}
    return OuterState(masters, {name: torch.zeros_like(t) for name, t in masters.items()})


def compute_outer_root(state: OuterState) -> bytes:
    """Root over a state's tensors, 32 bytes, computed like a checkpoint's root in section 7."""
    return digest_tensors_of(state.to_tensors().items())


def step_outwards(state: OuterState, children: Sequence[Masters], rounds: Rounds) -> OuterState:
    """The state after a round. Without children it is unchanged.

    Args:
        children: masters of the merged children, in order of their hotkeys.
    """
    if not children:
        return state
    million = np.float32(MILLION)
    rate, momentum = np.float32(rounds.rate) / million, np.float32(rounds.momentum) / million
    count = np.float32(len(children))
    masters, velocity = {}, {}
    for name, tensor in state.masters.items():
        theta = _get_values(tensor)
        total = _get_values(children[0][name]) - theta
        for child in children[1:]:
            total = total + (_get_values(child[name]) - theta)
        mean = total / count
        speed = _get_values(state.velocity[name]) * momentum + mean
        masters[name] = torch.from_numpy(theta + (speed * momentum + mean) * rate)
        velocity[name] = torch.from_numpy(speed)
    return OuterState(masters, velocity)


def _get_values(tensor: Tensor) -> _Values:
    values: _Values = tensor.detach().contiguous().numpy()
    return values


def round_masters(masters: Masters) -> dict[str, Tensor]:
    """The masters as published: bf16, to nearest even."""
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in masters.items()}


def has_same_form(one: Masters, other: Masters) -> bool:
    """Whether names, shapes and kinds of number are equal."""

    def describe(masters: Masters) -> dict[str, tuple[object, ...]]:
        return {name: (tensor.dtype, *tensor.shape) for name, tensor in masters.items()}

    return describe(one) == describe(other)


def is_finite(masters: Masters) -> bool:
    return all(bool(np.isfinite(_get_values(tensor)).all()) for tensor in masters.values())


def is_within_bound(masters: Masters, parent: Masters, bound: int) -> bool:
    """Whether the Euclidean norm of the difference is at most `bound`, in units of 2^-20.
    Differences are truncated to whole numbers of 2^-30, then squared and summed as integers, so
    that every machine gets the same result."""
    limit = (bound << (_UNIT_BITS - _BOUND_BITS)) ** 2
    total = 0
    for name, tensor in masters.items():
        flat = np.abs(_get_values(tensor) - _get_values(parent[name])).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            chunk = flat[start : start + _CHUNK].astype(np.float64) * 2.0**_UNIT_BITS
            if not bool((chunk < 2.0 ** (2 * _HALF)).all()):  # beyond any bound, or no number
                return False
            total += _sum_squares(chunk.astype(np.uint64))
            if total > limit:
                return False
    return True


def _sum_squares(values: NDArray[np.uint64]) -> int:
    """The exact sum of squares of at most 2^20 numbers below 2^40. It works on halves, so that sums
    of their products fit."""
    high, low = values >> np.uint64(_HALF), values & np.uint64((1 << _HALF) - 1)
    parts = (int(np.dot(a, b)) for a, b in ((high, high), (high, low), (low, low)))
    top, middle, bottom = parts
    return (top << (2 * _HALF)) + (middle << (_HALF + 1)) + bottom
