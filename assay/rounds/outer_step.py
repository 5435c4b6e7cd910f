"""The outer step: from children to the next parent's masters, the same bytes on every machine.

Nesterov's step over the children's differences (DiLoCo: Douillard et al., 2023; OpenDiLoCo:
Jaghouar et al., 2024), each with its factor (`agreement`). It uses numpy's float32, element by
element, one rounded operation after another: no sum whose order a library chooses, no product that
another instruction fuses. Children are read slice by slice, so they may lie in files.
Specification, section 11.1.

This module does not know whether a child was honestly made.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.artifacts.steps.folder import digest_tensors_of
from assay.protocol.parameters import MILLION, Rounds
from assay.rounds.agreement import (
    FACTOR_BITS,
    Products,
    Values,
    compute_factors,
    find_exponent,
    multiply,
)

Masters = Mapping[str, Tensor]
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
        children: masters of the merged children, in order of their hotkeys. Each differs from the
            state's somewhere.
    """
    if not children:
        return state
    million, unit = np.float32(MILLION), np.float32(1 << FACTOR_BITS)
    rate, momentum = np.float32(rounds.rate) / million, np.float32(rounds.momentum) / million
    factors = [np.float32(f) / unit for f in weigh_children(state.masters, children)]
    masters, velocity = (_copy(one) for one in (state.masters, state.velocity))
    for name, part, differences in _cut(state.masters, children):
        theta, speed = (_get_values(one[name])[part] for one in (masters, velocity))
        total = differences[0] * factors[0]
        for difference, factor in zip(differences[1:], factors[1:], strict=True):
            total = total + difference * factor
        speed[:] = speed * momentum + total
        theta[:] = theta + (speed * momentum + total) * rate
    return OuterState(masters, velocity)


def _copy(masters: Masters) -> dict[str, Tensor]:
    return {name: tensor.detach().clone().contiguous() for name, tensor in masters.items()}


def weigh_children(theta: Masters, children: Sequence[Masters]) -> list[int]:
    """Each child's factor in the merged difference, in units of 2^-24; see `agreement`."""
    if len(children) == 1:
        return [1 << FACTOR_BITS]
    largest = [0.0] * len(children)
    for _, _, differences in _cut(theta, children):
        tops = (float(np.abs(one).max()) for one in differences)
        largest = list(map(max, largest, tops))
    exponents = list(map(find_exponent, largest))
    products: Products = [[0] * len(children) for _ in children]
    for _, _, differences in _cut(theta, children):
        for row, more in zip(products, multiply(differences, exponents), strict=True):
            row[:] = [old + new for old, new in zip(row, more, strict=True)]
    return compute_factors(products, exponents)


def _cut(theta: Masters, children: Sequence[Masters]) -> Iterator[tuple[str, slice, list[Values]]]:
    """The children's differences, some elements of a tensor at a time. An empty tensor has none."""
    for name, tensor in theta.items():
        before = _get_values(tensor)
        flat = [_get_values(child[name]) for child in children]
        for start in range(0, len(before), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield name, part, [values[part] - before[part] for values in flat]


def _get_values(tensor: Tensor) -> Values:
    """A tensor's elements in order; without a copy where it is contiguous."""
    values: Values = tensor.detach().contiguous().numpy().reshape(-1)
    return values


def round_masters(masters: Masters) -> dict[str, Tensor]:
    """The masters as published."""
    return {name: round_master(tensor) for name, tensor in masters.items()}


def round_master(tensor: Tensor) -> Tensor:
    """bf16, to nearest even."""
    return tensor.to(torch.bfloat16).contiguous()


def has_same_form(one: Masters, other: Masters) -> bool:
    """Whether names, shapes and kinds of number are equal."""

    def describe(masters: Masters) -> dict[str, tuple[object, ...]]:
        return {name: (tensor.dtype, *tensor.shape) for name, tensor in masters.items()}

    return describe(one) == describe(other)


def is_finite(masters: Masters) -> bool:
    return all(bool(np.isfinite(_get_values(tensor)).all()) for tensor in masters.values())


def measure_square(masters: Masters, parent: Masters) -> int | None:
    """The square of the difference's Euclidean norm, in units of 2^-60; None: beyond every bound,
    or no number. Differences are truncated to whole numbers of 2^-30, then squared and summed as
    integers, so that every machine gets the same result."""
    total = 0
    for _, _, (difference,) in _cut(parent, [masters]):
        chunk = np.abs(difference).astype(np.float64) * 2.0**_UNIT_BITS
        if not bool((chunk < 2.0 ** (2 * _HALF)).all()):
            return None
        total += _sum_squares(chunk.astype(np.uint64))
    return total


def is_within_bound(square: int, bound: int) -> bool:
    """Whether a norm with this square is at most `bound`, in units of 2^-20."""
    return square <= (bound << (_UNIT_BITS - _BOUND_BITS)) ** 2


def _sum_squares(values: NDArray[np.uint64]) -> int:
    """The exact sum of squares of at most 2^20 numbers below 2^40. It works on halves, so that sums
    of their products fit."""
    high, low = values >> np.uint64(_HALF), values & np.uint64((1 << _HALF) - 1)
    parts = (int(np.dot(a, b)) for a, b in ((high, high), (high, low), (low, low)))
    top, middle, bottom = parts
    return (top << (2 * _HALF)) + (middle << (_HALF + 1)) + bottom
