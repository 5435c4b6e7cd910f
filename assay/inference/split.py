"""Split products: the reference's accuracy from bf16 matrix units.

Stored weights are bf16, so they are exact. An activation in fp32 has 24 significant bits and bf16
keeps 8. Three bf16 terms, each the rounding of the remainder of the ones before, hold all of it,

    x = h₁ + h₂ + h₃,    h₁ = bf16(x),  h₂ = bf16(x − h₁),  h₃ = bf16(x − h₁ − h₂),

and the two subtractions are exact. A product of two bf16 numbers has 16 bits and is exact in fp32,
so x·W = h₃·W + h₂·W + h₁·W loses accuracy only in its sums, which run in fp32. That is what plain
fp32 loses, at the cost of three bf16 products. Two terms leave about 1/1500 of bf16's own noise,
too much for the cap (`bench/drift.py`).

On a GPU `assay.inference.split_kernels` multiplies all three terms at once, both matrices of a
gate, and a mixture's experts in one launch. Where Triton does not run, each term is a product of
the GPU's library, of bf16 into fp32, added to the earlier terms. A CPU has no such product, and
multiplies the same three terms in fp32: three times the work of plain fp32. A calibration against
the CPU therefore measures the same arithmetic.

This module does not know how a GPU's matrix units round their fp32 sums. Some truncate where IEEE
rounds, so sums that matter are made in pieces. `bench/drift.py` measures the drift on the GPU at
hand.

Sources: Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
higher-precision computations" (2019); Ootomo and Yokota, "Recovering single precision accuracy from
tensor cores" (2022). Specification, section 3.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from assay.inference.draws.sampler import load_kernels, to_arrays
from assay.inference.grouping import Slots, get_stack
from assay.inference.placing.precision import SUMMED
from assay.inference.placing.triton_modules import load_triton_module

#: Terms that hold every bit of an fp32 activation.
EXACT_TERMS = 3
#: Elements of an activation that are multiplied at once: enough to keep a GPU busy; a CPU keeps its
#: cache. Tuning.
_CARD_ELEMENTS = 1 << 26
_CPU_ELEMENTS = 1 << 21
#: Most of these parts whose terms are kept for the next product. Tuning: beyond it, splitting once
#: more costs little beside the product.
_KEPT_PARTS = 4
#: Elements of a bf16 matrix that a CPU holds in fp32 at once. Tuning.
FACTOR_ELEMENTS = 1 << 21

#: Terms of some rows of an activation, the smallest first: bf16 on a GPU, float32 on a CPU.
_Terms = Sequence[Tensor]


class _Split(NamedTuple):
    """An activation, the number of changes to it so far, and the terms of all its rows."""

    activation: Tensor
    version: int
    terms: list[_Terms]


class Splitter:
    """Split products. Matrices that multiply one activation in turn, as those of queries, keys and
    values do, find its terms kept. Safe to use from several threads.

    Args:
        terms: of an activation.
    """

    def __init__(self, terms: int) -> None:
        self._terms = terms
        self._last: _Split | None = None

    @contextmanager
    def keep_last(self) -> Iterator[None]:
        """Keep the terms of the last activation until the next one, or the end."""
        # in inference mode tensors would not count their changes
        with torch.inference_mode(False), torch.no_grad():
            try:
                yield
            finally:
                self._last = None

    def multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x @ Wᵀ + bias. Each term's product is added to one accumulator, the smallest first.

        Args:
            x: float32 [..., in].
            weight: [out, in], as `_as_factor` gives it.
            bias: float32 [out], or None.

        Returns:
            float32 [..., out].
        """
        product = x.new_empty(x.shape[:-1].numel(), len(weight))
        kernels = self.load_kernels(x)
        on_cpu = x.device.type == "cpu"
        multiply = _multiply_on_cpu if on_cpu else multiply_on_card
        rest = product
        for parts in self._iterate_parts(x, _CPU_ELEMENTS if on_cpu else _CARD_ELEMENTS):
            rows = sum(len(terms[0]) for terms in parts)
            if kernels is None:
                multiply(parts, weight, rest[:rows])
            else:
                for terms, total in _iterate_rows(parts, rest[:rows]):
                    kernels.multiply(terms, weight, bias, total)
            rest = rest[rows:]
        if bias is not None and kernels is None:
            product += bias
        return product.view(*x.shape[:-1], -1)

    def multiply_slots(
        self, x: Tensor, sources: Tensor, slots: Slots, stack: Tensor, biases: Tensor | None
    ) -> Tensor:
        """x[sources] by the matrix of each slot's expert, on a card that has the kernels: see
        `assay.inference.grouping.Multiply`."""
        kernels = self.load_kernels(x)
        assert kernels is not None, "only a card with Triton has them"
        product = x.new_empty(len(sources), stack.shape[1])
        groups = kernels.Groups(slots.ends, sources)
        (terms,) = self._split(x, max(1, x.numel()))
        kernels.multiply(terms, stack, biases, product, groups)
        return product

    def multiply_gates(
        self, x: Tensor, gate: Tensor, up: Tensor, down: Tensor, bias: Tensor | None
    ) -> Tensor:
        """(silu(x @ gateᵀ) · (x @ upᵀ)) @ downᵀ + bias, on a card that has the kernels: of what is
        between both products, only terms exist. Arguments as in `multiply`."""
        kernels = self.load_kernels(x)
        assert kernels is not None, "only a card with Triton has them"
        product = x.new_empty(x.shape[:-1].numel(), len(down))
        rows = max(1, _CARD_ELEMENTS // max(gate.shape))
        parts = zip(x.reshape(-1, x.shape[-1]).split(rows), product.split(rows), strict=True)
        for part, total in parts:
            gates = kernels.multiply_gates(kernels.split(part).unbind(), gate, up)
            kernels.multiply(gates.unbind(), down, bias, total)
        return product.view(*x.shape[:-1], -1)

    def mix_gates(self, experts: nn.Module, states: Tensor, slots: Slots) -> Tensor:
        """The same of a mixture's experts: see `mix_experts`."""
        kernels = self.load_kernels(states)
        assert kernels is not None, "only a card with Triton has them"
        if not len(slots.tokens):
            return torch.zeros_like(states)
        outer = states.new_empty(len(slots.tokens), states.shape[1])
        stack, _ = get_stack(experts, "gate_up_proj")
        gate, up = stack.chunk(2, dim=1)
        groups = kernels.Groups(slots.ends, slots.tokens)
        gates = kernels.multiply_gates(kernels.split(states).unbind(), gate, up, groups)
        groups = kernels.Groups(slots.ends, torch.arange(len(outer), device=outer.device))
        down, bias = get_stack(experts, "down_proj")
        kernels.multiply(gates.unbind(), down, bias, outer, groups)
        return slots.mix(outer, states)

    def load_kernels(self, x: Tensor) -> ModuleType | None:
        """The card's kernels for an activation, or None where others split and multiply it."""
        is_for_them = x.is_cuda and self._terms == EXACT_TERMS
        return load_split_kernels(x.device) if is_for_them else None

    def _iterate_parts(self, x: Tensor, elements: int) -> Iterator[Sequence[_Terms]]:
        """The terms of all rows, in parts of so many elements: all parts at once if they are kept,
        or else one after the other."""
        if x.is_inference() or x.numel() > _KEPT_PARTS * elements:
            yield from ([terms] for terms in self._split(x, elements))
            return
        last, version = self._last, x._version  # noqa: SLF001 - torch documents it by this name
        if last is None or last.activation is not x or last.version != version:
            self._last = last = _Split(x, version, list(self._split(x, elements)))
        yield last.terms

    def _split(self, x: Tensor, elements: int) -> Iterator[_Terms]:
        kernels = self.load_kernels(x)
        split = _split_on_cpu if x.device.type == "cpu" else split_terms
        for rows in x.reshape(-1, x.shape[-1]).split(max(1, elements // x.shape[-1])):
            yield split(rows, self._terms) if kernels is None else kernels.split(rows).unbind()


def split_terms(x: Tensor, terms: int) -> list[Tensor]:
    """Split float32 [...] into this many bf16 [...] that add up to it, the smallest first.

    With three terms the sum is x itself for all 2^-110 < |x| < 2^127.
    """
    parts = [x.to(torch.bfloat16)]
    rest = x
    while len(parts) < terms:
        rest = rest - parts[-1]
        parts.append(rest.to(torch.bfloat16))
    return parts[::-1]


def multiply_on_card(parts: Sequence[_Terms], weight: Tensor, product: Tensor) -> None:
    """Multiply the bf16 terms [n, in] of each part by bf16 [out, in] into float32 [N, out].

    Each term is one product of the GPU's library, the largest one several, with bf16 operands and
    fp32 sums, added to the result; the smaller terms' sums are too small to matter. Only the terms
    (6 bytes an activation) and the result are ever in memory. One product over all terms' factors,
    [h₃ h₂ h₁]·[W W W], would write a result once, but sum all of the largest terms in the matrix
    units. With one for each piece, as a batch whose results are added, as many bytes move as here.
    `bench/card_rows.py` times both.
    """
    factor = weight.t()
    for (smallest, *larger), total in _iterate_rows(parts, product):
        torch.mm(smallest, factor, out_dtype=torch.float32, out=total)
        *middle, largest = larger
        pairs = [(term, factor) for term in middle]
        pairs += zip(largest.split(SUMMED, dim=1), factor.split(SUMMED), strict=True)
        for term, part in pairs:
            torch.addmm(total, term, part, out_dtype=torch.float32, out=total)


def _multiply_on_cpu(parts: Sequence[_Terms], weight: Tensor, product: Tensor) -> None:
    """The same with terms and weights held in fp32. A bf16 weight is converted a piece at a
    time."""
    piece = len(weight)
    if weight.dtype != torch.float32:
        piece = max(1, FACTOR_ELEMENTS // weight.shape[1])
    for start in range(0, len(weight), piece):
        factor = weight[start : start + piece].float().t()
        for (smallest, *larger), total in _iterate_rows(parts, product[:, start : start + piece]):
            torch.mm(smallest, factor, out=total)
            for term in larger:
                total.addmm_(term, factor)


def _iterate_rows(parts: Sequence[_Terms], product: Tensor) -> Iterator[tuple[_Terms, Tensor]]:
    """Each part's terms and its rows of the product."""
    return zip(parts, product.split([len(terms[0]) for terms in parts]), strict=True)


@cache
def load_split_kernels(device: torch.device) -> ModuleType | None:
    """The module `split_kernels`, or None where it does not run on this device."""
    return load_triton_module(
        "assay.inference.split_kernels",
        lambda kernels: try_out(kernels, device),
        "split products by the library, at about twice the time",
    )


def try_out(kernels: ModuleType, device: torch.device) -> None:
    """Multiply a few and many rows, as a trial. Raises a RuntimeError where products are wrong."""
    for rows in (1, 256):
        x = torch.ones(rows, SUMMED + 1, device=device)
        product, weight = x.new_empty(rows, 1), x[:1].bfloat16()
        kernels.multiply(kernels.split(x).unbind(), weight, None, product)
        gates = kernels.multiply_gates(kernels.split(x).unbind(), weight, weight)
        whole = x.shape[1]
        if not bool((product == whole).all() and (gates.float().sum(0) == whole**2).all()):
            raise RuntimeError("products are wrong")


def _split_on_cpu(rows: Tensor, terms: int) -> _Terms:
    """`split_terms` as float32, in one pass where that compiles."""
    kernels = load_kernels()
    if kernels is None or terms != EXACT_TERMS:
        return [term.float() for term in split_terms(rows, terms)]
    parts = rows.new_empty(terms, *rows.shape)
    kernels.split_floats(*to_arrays(rows.flatten(), parts.view(terms, -1)))
    return parts.unbind()
