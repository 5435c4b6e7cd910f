"""Split products: the reference's accuracy from bf16 matrix units.

Stored weights are bf16, so they are exact. An activation in fp32 has 24 significant bits and bf16
keeps 8. Three bf16 terms, each the rounding of the remainder of the ones before, hold all of it,

    x = h₁ + h₂ + h₃,    h₁ = bf16(x),  h₂ = bf16(x − h₁),  h₃ = bf16(x − h₁ − h₂),

and the two subtractions are exact. A product of two bf16 numbers has 16 bits and is exact in fp32,
so x·W = h₃·W + h₂·W + h₁·W loses accuracy only in its sums, which run in fp32. That is what plain
fp32 loses, at the cost of three bf16 products. Two terms leave about 1/1500 of bf16's own noise,
too much for the cap (`bench/drift.py`). Norms, rotations, softmax, activation functions and
attention's products of two activations are plain fp32, attention without a table of its scores.

On a GPU each term is a product of bf16 into fp32, added to the earlier terms. A CPU has no such
product, and multiplies the same three terms in fp32: three times the work of plain fp32. A
calibration against the CPU therefore measures the same arithmetic.

This module does not know how a GPU's matrix units round their fp32 sums. Some truncate where IEEE
rounds. `bench/drift.py` measures it on the GPU at hand.

Sources: Henry, Tang and Heinecke, "Leveraging the bfloat16 artificial intelligence datatype for
higher-precision computations" (2019); Ootomo and Yokota, "Recovering single precision accuracy from
tensor cores" (2022). Specification, section 3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from assay.inference.draws.sampler import load_kernels, to_arrays
from assay.inference.packing import Packing, attend_packed
from assay.inference.placing.model_sizes import SPLIT_FAMILIES
from assay.inference.placing.precision import require_exact_products

#: Terms that hold every bit of an fp32 activation.
EXACT_TERMS = 3
#: Rotations whose frequencies do not depend on the length of the sequence.
_STATIC_ROTATIONS = ("default", "linear", "yarn", "llama3")
#: Activations whose terms exist at once: enough to keep a GPU busy; a CPU keeps its cache. Tuning.
_CARD_ELEMENTS = 1 << 26
_CPU_ELEMENTS = 1 << 21
#: Elements of a bf16 matrix that a CPU holds in fp32 at once. Tuning.
_FACTOR_ELEMENTS = 1 << 21


class States(NamedTuple):
    """The result of `SplitModel.model`, named as Hugging Face names it: float32 [B, T, H]."""

    last_hidden_state: Tensor


@dataclass(frozen=True, slots=True)
class _Layer:
    """Weights of one decoder layer. Matrices [out, in], vectors [out]; norms of q and k: Qwen3."""

    attention_norm: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None
    o_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    mlp_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    activate: Callable[[Tensor], Tensor]


class SplitModel:
    """A Qwen2 or Qwen3 whose matrix products are split. It works wherever `Reference` takes a
    model.

    It reads the given model's own parameters. Of matrices in fp32, a GPU holds a second copy in
    bf16. A model in bf16 is never held in fp32: a CPU converts a part of a matrix at a time.

    Args:
        model: Hugging Face's, in bf16 or fp32, every matrix holding bf16 numbers, in evaluation
            mode.
        terms: bf16 terms of an activation. Fewer than three exist to show that they do not suffice.

    Raises:
        ValueError: another architecture, sliding windows, or a weight that is not a bf16 number.
    """

    dtype = torch.float32
    packs = True

    def __init__(self, model: Any, terms: int = EXACT_TERMS) -> None:
        _require_supported(model)
        require_exact_products()
        self.config = model.config
        self.device = model.device
        self._terms = terms
        self._heads = model.config.num_attention_heads
        self._epsilon = model.config.rms_norm_eps
        self._embedding = model.get_input_embeddings().weight
        self.layers = [_read_layer(layer) for layer in model.model.layers]
        self._width = len(self.layers[0].q) // self._heads
        self._norm = model.model.norm.weight.float()
        self._rotary = model.model.rotary_emb
        self.head = _as_factor(model.get_output_embeddings().weight)

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
        x = functional.embedding(input_ids, self._embedding).float()
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        cos, sin = self._rotary(x, position_ids)
        for number, layer in enumerate(self.layers):
            normed = _normalise(x, layer.attention_norm, self._epsilon)
            q, k, v = self._project(layer, normed)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            mixed = attend_packed(q, k, v, packing, number).transpose(1, 2).flatten(2)
            x = x + self._multiply(mixed, layer.o, bias=layer.o_bias)
            normed = _normalise(x, layer.mlp_norm, self._epsilon)
            gate, up = multiply_split(normed, (layer.gate, layer.up), self._terms)
            x = x + self._multiply(layer.activate(gate).mul_(up), layer.down)
        return States(_normalise(x, self._norm, self._epsilon))

    def lm_head(self, states: Tensor) -> Tensor:
        """Logits of states [T, H], float32 [T, V]."""
        return self._multiply(states, self.head)

    def _multiply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        (product,) = multiply_split(x, (weight,), self._terms)
        return product if bias is None else product + bias

    def _project(self, layer: _Layer, x: Tensor) -> list[Tensor]:
        """Queries, keys and values, float32 [B, heads of each, T, width]."""
        products = multiply_split(x, (layer.q, layer.k, layer.v), self._terms)
        biases = (layer.q_bias, layer.k_bias, layer.v_bias)
        norms = (layer.q_norm, layer.k_norm, None)
        heads = []
        for product, bias, norm in zip(products, biases, norms, strict=True):
            y = product if bias is None else product + bias
            y = y.unflatten(-1, (-1, self._width))
            y = y if norm is None else _normalise(y, norm, self._epsilon)
            heads.append(y.transpose(1, 2))
        return heads


def split_terms(x: Tensor, terms: int) -> list[Tensor]:
    """Split float32 [...] into this many bf16 [...] that add up to it, the smallest first.

    With three terms the sum is x itself for all 2^-110 < |x| < 2^127.
    """
    parts = []
    rest = x
    for _ in range(terms):
        term = rest.to(torch.bfloat16)
        parts.append(term)
        rest = rest - term
    return parts[::-1]


def multiply_split(x: Tensor, weights: Sequence[Tensor], terms: int) -> list[Tensor]:
    """x @ Wᵀ for each of several weights, with x split once.

    Each term's product is added to one accumulator, the smallest first.

    Args:
        x: float32 [..., in].
        weights: [out, in], as `_as_factor` gives them.

    Returns:
        float32 [..., out] a weight.
    """
    rows = x.reshape(-1, x.shape[-1])
    multiply = _multiply_on_cpu if rows.device.type == "cpu" else multiply_on_card
    elements = _CPU_ELEMENTS if rows.device.type == "cpu" else _CARD_ELEMENTS
    step = max(1, elements // rows.shape[1])
    products = [rows.new_empty(len(rows), len(weight)) for weight in weights]
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        multiply(rows[part], weights, terms, [product[part] for product in products])
    return [product.view(*x.shape[:-1], -1) for product in products]


def multiply_on_card(
    rows: Tensor, weights: Sequence[Tensor], terms: int, products: Sequence[Tensor]
) -> None:
    """Multiply float32 [N, in] by bf16 weights [out, in] into float32 [N, out] each.

    Each term is one product of the GPU's library, with bf16 operands and fp32 sums, added to its
    result array. Only the terms (6 bytes an activation) and the results are ever in memory. One
    product of all terms' rows would leave three results to add, 36 bytes an output instead of 20. A
    kernel that splits in registers would save most of these 20 bytes, but would have to multiply as
    fast as the library does, on every GPU.
    """
    smallest, *larger = split_terms(rows, terms)
    for weight, product in zip(weights, products, strict=True):
        factor = weight.t()
        torch.mm(smallest, factor, out_dtype=torch.float32, out=product)
        for term in larger:
            torch.addmm(product, term, factor, out_dtype=torch.float32, out=product)


def _multiply_on_cpu(
    rows: Tensor, weights: Sequence[Tensor], terms: int, products: Sequence[Tensor]
) -> None:
    """The same with terms and weights held in fp32. A bf16 weight is converted in parts."""
    smallest, *larger = _split_on_cpu(rows, terms)
    for weight, product in zip(weights, products, strict=True):
        parts = len(weight)
        if weight.dtype != torch.float32:
            parts = max(1, _FACTOR_ELEMENTS // weight.shape[1])
        for start in range(0, len(weight), parts):
            factor = weight[start : start + parts].float().t()
            total = product[:, start : start + parts]
            torch.mm(smallest, factor, out=total)
            for term in larger:
                total.addmm_(term, factor)


def _split_on_cpu(rows: Tensor, terms: int) -> Sequence[Tensor]:
    """`split_terms` as float32, in one pass where that compiles."""
    kernels = load_kernels()
    if kernels is None or terms != EXACT_TERMS:
        return [term.float() for term in split_terms(rows, terms)]
    parts = rows.new_empty(terms, *rows.shape)
    kernels.split_floats(*to_arrays(rows.flatten(), parts.view(terms, -1)))
    return parts.unbind()


def _normalise(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Root-mean-square norm over the last dimension (Zhang and Sennrich, 2019)."""
    return weight * (x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + epsilon))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021): [B, heads, T, width] with [1, T, width] of angles."""
    low, high = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-high, low), dim=-1) * sin[:, None]


def _read_layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        attention_norm=layer.input_layernorm.weight.float(),
        q=_as_factor(attention.q_proj.weight),
        k=_as_factor(attention.k_proj.weight),
        v=_as_factor(attention.v_proj.weight),
        o=_as_factor(attention.o_proj.weight),
        q_bias=_as_vector(attention.q_proj.bias),
        k_bias=_as_vector(attention.k_proj.bias),
        v_bias=_as_vector(attention.v_proj.bias),
        o_bias=_as_vector(attention.o_proj.bias),
        q_norm=_as_vector(attention.q_norm.weight) if hasattr(attention, "q_norm") else None,
        k_norm=_as_vector(attention.k_norm.weight) if hasattr(attention, "k_norm") else None,
        mlp_norm=layer.post_attention_layernorm.weight.float(),
        gate=_as_factor(mlp.gate_proj.weight),
        up=_as_factor(mlp.up_proj.weight),
        down=_as_factor(mlp.down_proj.weight),
        activate=mlp.act_fn,
    )


def _as_vector(vector: Tensor | None) -> Tensor | None:
    return None if vector is None else vector.detach().float()


def _as_factor(weight: Tensor) -> Tensor:
    """The matrix in the form for products: bf16 on a GPU, unchanged elsewhere."""
    weight = weight.detach()
    if weight.dtype == torch.bfloat16:
        return weight
    # in parts, so that a large matrix is not held three times
    parts = weight.split(max(1, _FACTOR_ELEMENTS // weight.shape[1]))
    if not all(torch.equal(part.to(torch.bfloat16).float(), part) for part in parts):
        raise ValueError("a matrix holds numbers that are not bf16: splitting is exact for bf16")
    return weight.to(torch.bfloat16) if weight.is_cuda else weight


def _require_supported(model: Any) -> None:
    config = model.config
    if config.model_type not in SPLIT_FAMILIES:
        listed = " and ".join(SPLIT_FAMILIES)
        raise ValueError(f"split products serve {listed}, not {config.model_type}")
    if any(kind != "full_attention" for kind in config.layer_types):
        raise ValueError("split products know no sliding window: use fp32-sdpa")
    rotation = config.rope_parameters["rope_type"]
    if rotation not in _STATIC_ROTATIONS:
        raise ValueError(f"split products know no rotary positions of type {rotation!r}")
    kinds = {tensor.dtype for tensor in model.parameters()}
    if not kinds <= {torch.float32, torch.bfloat16}:
        raise ValueError(f"split products start from float32 or bf16 weights, not {model.dtype}")
    if model.model.rotary_emb.inv_freq.dtype != torch.float32:
        raise ValueError("the frequencies of rotary positions were rounded: keep them in float32")
