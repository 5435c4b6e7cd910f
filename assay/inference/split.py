"""Split products: the reference's accuracy from bf16 matrix units.

Stored weights are bf16, so they are exact. An activation in fp32 has 24 significant bits and bf16
keeps 8. Three bf16 terms, each the rounding of the remainder of the ones before, hold all of it,

    x = h₁ + h₂ + h₃,    h₁ = bf16(x),  h₂ = bf16(x − h₁),  h₃ = bf16(x − h₁ − h₂),

and the two subtractions are exact. A product of two bf16 numbers has 16 bits and is exact in fp32,
so x·W = h₃·W + h₂·W + h₁·W loses accuracy only in its sums, which run in fp32. That is what plain
fp32 loses, at the cost of three bf16 products. Two terms leave about 1/1500 of bf16's own noise,
too much for the cap (`bench/drift.py`).

A model is split by what its modules are, whatever its family: linear layers, embeddings, and the
stacked experts of a mixture hold nearly all of its weights. All else is fp32: norms, routers,
rotations, softmax, activation functions, and attention's products of two activations, without a
table of its scores.

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

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from assay.inference.draws.sampler import load_kernels, to_arrays
from assay.inference.grouping import Slots, get_stack, mix_slots
from assay.inference.head import get_output
from assay.inference.packing import PACKED_ATTENTION, Packing
from assay.inference.placing.precision import SUMMED, require_exact_products
from assay.inference.placing.triton_modules import load_triton_module
from assay.inference.plain.states import choose_attention, get_plain_head, read_states, see_states
from assay.inference.routing import mix_experts
from assay.inference.twins import copy_sharing

#: Terms that hold every bit of an fp32 activation.
EXACT_TERMS = 3
#: Elements of an activation that are multiplied at once: enough to keep a GPU busy; a CPU keeps its
#: cache. Tuning.
_CARD_ELEMENTS = 1 << 26
_CPU_ELEMENTS = 1 << 21
#: The same of tokens with their experts, on a card: results of all of them exist at once. Tuning.
_SLOT_ELEMENTS = 1 << 25
#: Most of these parts whose terms are kept for the next product. Tuning: beyond it, splitting once
#: more costs little beside the product.
_KEPT_PARTS = 4
#: Elements of a bf16 matrix that a CPU holds in fp32 at once. Tuning.
_FACTOR_ELEMENTS = 1 << 21

#: Names of the linear layers of a gated one.
_GATED = ("gate_proj", "up_proj", "down_proj")

#: Terms of some rows of an activation, the smallest first: bf16 on a GPU, float32 on a CPU.
_Terms = Sequence[Tensor]


class States(NamedTuple):
    """The result of `SplitModel.model`, named as Hugging Face names it: float32 [B, T, H]."""

    last_hidden_state: Tensor


class SplitModel:
    """A model whose matrix products are split. It works wherever `Reference` takes a model.

    It reads the given model's own parameters. Of matrices in fp32, a GPU holds a second copy in
    bf16. A model in bf16 is never held in fp32: a CPU converts a part of a matrix at a time.

    Args:
        model: Hugging Face's, in bf16 or fp32, every matrix holding bf16 numbers, in evaluation
            mode.
        terms: bf16 terms of an activation. Fewer than three exist to show that they do not suffice.

    Raises:
        ValueError: a weight is not a bf16 number, or a constant of the model was rounded to one.
    """

    dtype = torch.float32

    def __init__(self, model: PreTrainedModel, terms: int = EXACT_TERMS) -> None:
        _require_unrounded(model)
        require_exact_products()
        self.config = model.config
        self.device = model.device
        self._splitter = Splitter(terms)
        self.plain_head = get_plain_head(model)
        self.packs = self.plain_head is None
        self.twin = copy_sharing(model, PACKED_ATTENTION if self.packs else choose_attention(model))
        _replace_modules(self.twin, self._splitter)
        if self.plain_head is not None:
            see_states(self.twin, self.plain_head.output)

    def model(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        packing: Packing | None = None,
        use_cache: bool = False,
    ) -> States:
        """Normed last states of int64 [B, T]: float32 [B, T, H].

        Args:
            position_ids: int64 [1, T], with a packing; else positions ascend from 0.
            packing: of the sequences in each row. None: each row is one sequence, right-padded, so
                that no token sees padding.
            use_cache: accepted for Hugging Face's interface; there is no cache.
        """
        with self._splitter.keep_last():
            if self.plain_head is not None:
                return States(read_states(self.twin, input_ids))
            out = self.twin.model(
                input_ids, position_ids=position_ids, packing=packing, use_cache=False
            )
        return States(out.last_hidden_state)

    def lm_head(self, states: Tensor) -> Tensor:
        """Logits of states [T, H], float32 [T, V]."""
        with self._splitter.keep_last():
            logits: Tensor = get_output(self.twin)(states)
        return logits


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
        piece = max(1, _FACTOR_ELEMENTS // weight.shape[1])
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


class SplitLinear(nn.Module):
    """A linear layer with a split product; its bias is added in fp32."""

    def __init__(self, weight: Tensor, bias: Tensor | None, splitter: Splitter) -> None:
        super().__init__()
        self.weight = _as_factor(weight)
        self.bias = None if bias is None else bias.detach().float()
        self._splitter = splitter

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., in] → [..., out]."""
        return self._splitter.multiply(x, self.weight, self.bias)


class SplitEmbedding(nn.Module):
    """An embedding of any class, by that class's own arithmetic, on fp32 copies of the rows that
    are looked up."""

    def __init__(self, inner: nn.Embedding) -> None:
        super().__init__()
        self._table = inner.weight.detach()
        del inner.weight
        inner.padding_idx = None  # it matters to gradients only
        self._inner = inner

    @property
    def weight(self) -> Tensor:
        """The table, as it is stored: classes ask where it is."""
        return self._table

    def forward(self, ids: Tensor) -> Tensor:
        """int64 [...] → float32 [..., H]."""
        rows = self._table[ids.flatten()].float()
        alone = copy.deepcopy(self._inner)  # other threads may read at the same time
        alone.weight = nn.Parameter(rows, requires_grad=False)
        found: Tensor = alone(torch.arange(len(rows), device=ids.device).view(ids.shape))
        return found


class SplitExperts(nn.Module):
    """The stacked experts of a mixture with split products."""

    def __init__(self, inner: Any, splitter: Splitter) -> None:
        super().__init__()
        for name in ("gate_up_proj", "down_proj"):
            factor = _as_factor(getattr(inner, name))
            delattr(inner, name)
            setattr(inner, name, factor)
        self._inner = inner
        self._splitter = splitter
        stack, biases = get_stack(inner, "gate_up_proj")
        self._widest = max(stack.shape[1:])
        has_kernels = splitter.load_kernels(stack) is not None
        self._is_gated = has_kernels and biases is None and _is_silu_gate(inner, stack)

    def forward(self, states: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
        """See `mix_experts`."""
        splitter, inner = self._splitter, self._inner
        if splitter.load_kernels(states) is None:
            return mix_experts(inner, states, numbers, weights, splitter.multiply)
        tokens = max(1, _SLOT_ELEMENTS // (numbers.shape[1] * self._widest))
        parts = zip(*(each.split(tokens) for each in (states, numbers, weights)), strict=True)
        return torch.cat([self._mix(*part) for part in parts])

    def _mix(self, states: Tensor, numbers: Tensor, weights: Tensor) -> Tensor:
        """The same of some tokens, in one launch."""
        splitter, inner = self._splitter, self._inner
        if not self._is_gated:
            return mix_slots(inner, states, numbers, weights, splitter.multiply_slots)
        slots = Slots.sort(numbers, weights, inner.num_experts)
        return splitter.mix_gates(inner, states, slots)


def _is_silu_gate(experts: Any, stack: Tensor) -> bool:
    """Whether what experts do between their products is silu(gate) · up, of halves."""
    row = torch.linspace(-4, 4, stack.shape[1], device=stack.device)[None]
    gate, up = row.chunk(2, dim=-1)
    return torch.equal(experts._apply_gate(row), functional.silu(gate) * up)  # noqa: SLF001


class _Gated(nn.Module):
    """A layer down(silu(gate(x)) · up(x)) of any class, by `Splitter.multiply_gates`."""

    splitter: Splitter

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., in] → [..., out]."""
        gate, up, down = (getattr(self, name) for name in _GATED)
        made = self.splitter.multiply_gates(x, gate.weight, up.weight, down.weight, down.bias)
        return made


@cache
def _make_gated(kind: type) -> type:
    return type(f"Gated{kind.__name__}", (_Gated, kind), {})


def _join_gates(module: nn.Module, splitter: Splitter) -> None:
    """Let a layer that is gated by silu, whatever its family, multiply by the card's kernels. One
    row is computed both ways."""
    layers: list[Any] = [getattr(module, name, None) for name in _GATED]
    if not all(isinstance(layer, SplitLinear) for layer in layers):
        return
    gate, up, down = layers
    same = gate.weight.shape == up.weight.shape and gate.weight.stride() == up.weight.stride()
    if not same or gate.bias is not None or up.bias is not None:
        return
    if splitter.load_kernels(gate.weight) is None:
        return
    if len(inspect.signature(module.forward).parameters) != 1:
        return
    row = torch.linspace(-1, 1, gate.weight.shape[1], device=gate.weight.device)[None]
    with torch.no_grad():
        if torch.equal(module(row), down(functional.silu(gate(row)) * up(row))):
            gated: Any = module
            gated.__class__ = _make_gated(gated.__class__)
            gated.splitter = splitter


def _looks_up(table: nn.Embedding) -> bool:
    """Whether an embedding's forward pass takes ids alone, and looks up the rows of these: tables
    of positions take a mask or a shape, and count. Such a one stays whole, in fp32."""
    if type(table).forward is nn.Embedding.forward:
        return True
    return len(inspect.signature(table.forward).parameters) == 1


def _replace_modules(twin: nn.Module, splitter: Splitter) -> None:
    """Put split modules in the place of those that hold matrices, and all else in fp32."""
    for module in list(twin.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and type(child).forward is nn.Linear.forward:
                setattr(module, name, SplitLinear(child.weight, child.bias, splitter))
            elif isinstance(child, Conv1D):  # GPT-2's linear layer: its matrix lies the other way
                setattr(module, name, SplitLinear(child.weight.t(), child.bias, splitter))
            elif isinstance(child, nn.Embedding) and _looks_up(child):
                setattr(module, name, SplitEmbedding(child))
            elif hasattr(child, "_apply_gate"):
                setattr(module, name, SplitExperts(child, splitter))
    for module in twin.modules():
        _join_gates(module, splitter)
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dtype != torch.float32:
                setattr(module, name, nn.Parameter(parameter.float(), requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.dtype == torch.bfloat16:
                setattr(module, name, buffer.float())


def _as_factor(weight: Tensor) -> Tensor:
    """A matrix, or several, in the form for products: bf16 on a GPU, unchanged elsewhere."""
    weight = weight.detach()
    if weight.dtype == torch.bfloat16:
        return weight
    # in parts, so that a large matrix is not held three times
    parts = weight.split(max(1, _FACTOR_ELEMENTS // weight[0].numel()))
    if not all(torch.equal(part.to(torch.bfloat16).float(), part) for part in parts):
        raise ValueError("a matrix holds numbers that are not bf16: splitting is exact for bf16")
    return weight.to(torch.bfloat16) if weight.is_cuda else weight


def _require_unrounded(model: PreTrainedModel) -> None:
    kinds = {tensor.dtype for tensor in model.parameters()}
    if not kinds <= {torch.float32, torch.bfloat16}:
        raise ValueError(f"split products start from float32 or bf16 weights, not {model.dtype}")
    stored = model.state_dict().keys()
    for name, buffer in model.named_buffers():
        if name not in stored and buffer.dtype in (torch.bfloat16, torch.float16):
            raise ValueError(f"{name}, which no file stores, was rounded: keep it in float32")
