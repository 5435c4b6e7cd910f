"""A model whose matrix products are split: see `assay.inference.split`.

A model is split by what its modules are, whatever its family: linear layers, embeddings, and the
stacked experts of a mixture hold nearly all of its weights. All else is fp32: norms, routers,
rotations, softmax, activation functions, and attention's products of two activations, without a
table of its scores.

This module knows no family. Specification, section 3.
"""

import copy
import inspect
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from assay.inference.grouping import Slots, get_stack, mix_slots
from assay.inference.head import get_output
from assay.inference.packing import PACKED_ATTENTION, Packing
from assay.inference.placing.precision import require_exact_products
from assay.inference.plain.states import choose_attention, get_plain_head, read_states, see_states
from assay.inference.routing import mix_experts
from assay.inference.split import EXACT_TERMS, FACTOR_ELEMENTS, Splitter
from assay.inference.twins import copy_sharing

#: Elements of all experts' results of some tokens, which exist at once on a card. Tuning.
_SLOT_ELEMENTS = 1 << 25
#: Names of the linear layers of a gated one.
_GATED = ("gate_proj", "up_proj", "down_proj")
#: Sizes of what is tried between two products.
_TRIED = (4.0, 60.0, 1e3, 1e4)


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
    """Whether what experts do between their products is silu(gate) · up, of halves. Some bound
    one or the other, so large numbers are tried too."""
    half = stack.shape[1] // 2
    row = torch.linspace(-1, 1, half, device=stack.device)
    rows = torch.stack([row * size for size in _TRIED])
    gate, up = torch.cat([rows, rows]), torch.cat([rows, rows.flip(-1)])
    made = experts._apply_gate(torch.cat([gate, up], dim=-1))  # noqa: SLF001
    return torch.equal(made, functional.silu(gate) * up)


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
    """Let a layer that is gated by silu, whatever its family, multiply by the card's kernels. Rows
    are computed both ways, large ones too: some layers bound what they multiply."""
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
    row = torch.linspace(-1, 1, gate.weight.shape[1], device=gate.weight.device)
    with torch.no_grad():
        reach = torch.minimum(gate(row[None]).abs().max(), up(row[None]).abs().max())
        scale = 1 / float(reach.clamp(min=1e-6))
        rows = torch.stack([row * size for size in (1, *(size * scale for size in _TRIED))])
        rows = torch.cat([rows, -rows])
        if torch.equal(module(rows), down(functional.silu(gate(rows)) * up(rows))):
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
    parts = weight.split(max(1, FACTOR_ELEMENTS // weight[0].numel()))
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
