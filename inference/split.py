"""Split products: the reference's accuracy from bf16 matrix units.

Stored weights are bf16, so they are exact. An activation in fp32 has 24 significant bits and bf16
keeps 8: three bf16 terms, each the rounding of what the ones before left over, hold all of it,

    x = h₁ + h₂ + h₃,    h₁ = bf16(x),  h₂ = bf16(x − h₁),  h₃ = bf16(x − h₁ − h₂),

and the two subtractions are exact. A product of two bf16 numbers has 16 bits and is exact in fp32,
so x·W = h₃·W + h₂·W + h₁·W loses nothing but in its sums, which run in fp32: what plain fp32 loses,
at the cost of three bf16 products. Two terms leave about 1/1500 of bf16's own noise, too much for
the cap (`bench/drift.py`). Norms, rotations, softmax, activation functions and attention's products
of two activations are plain fp32.

What this does not know: how a card's matrix units round their fp32 sums. Some cut where IEEE
rounds; `bench/drift.py` measures it on the card at hand.

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
from transformers import DynamicCache

#: Terms that hold every bit of an fp32 activation.
EXACT_TERMS = 3
_KINDS = ("qwen2", "qwen3")
#: Rotations whose frequencies do not change with the length of what is read.
_STATIC_ROTATIONS = ("default", "linear", "yarn", "llama3")
#: No product or table of attention scores in flight has more elements than this. Tuning.
_ELEMENTS_MAX = 1 << 26
#: Queries whose attention is computed together. Fixed: it decides the shapes of products.
_QUERY_TOKENS = 256


class States(NamedTuple):
    """What `SplitModel.model` returns, named as Hugging Face names it: float32 [B, T, H]."""

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
    """A Qwen2 or Qwen3 whose matrix products are split; serves wherever `Reference` takes a model.

    On the CPU it reads the given model's own parameters and multiplies in fp32: the same numbers,
    no gain in speed. On a card it holds the matrices a second time, in bf16 (half of fp32's bytes).

    Args:
        model: Hugging Face's, in fp32, every matrix holding bf16 numbers, in evaluation mode.
        terms: bf16 terms an activation. Fewer than three serve to show that they do not suffice.

    Raises:
        ValueError: another architecture, sliding windows, or a weight that is not a bf16 number.
    """

    dtype = torch.float32

    def __init__(self, model: Any, terms: int = EXACT_TERMS) -> None:
        _require_supported(model)
        _require_exact_sums()
        self.config = model.config
        self.device = model.device
        self._terms = terms
        self._heads = model.config.num_attention_heads
        self._epsilon = model.config.rms_norm_eps
        self._embedding = model.get_input_embeddings().weight
        self.layers = [_read_layer(layer) for layer in model.model.layers]
        self._width = len(self.layers[0].q) // self._heads
        self._norm = model.model.norm.weight
        self._rotary = model.model.rotary_emb
        self.head = _as_factor(model.get_output_embeddings().weight)

    def model(
        self,
        input_ids: Tensor,
        past_key_values: DynamicCache | None = None,
        use_cache: bool = False,
    ) -> States:
        """Normed last states of int64 [B, T], which continue what the cache holds, if any.

        Rows are right-padded, so that what is padding is never seen by what is not.
        """
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        x = functional.embedding(input_ids, self._embedding)
        positions = torch.arange(past, past + input_ids.shape[1], device=input_ids.device)
        cos, sin = self._rotary(x, positions[None])
        for number, layer in enumerate(self.layers):
            normed = _normalise(x, layer.attention_norm, self._epsilon)
            q, k, v = self._project(layer, normed)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            if past_key_values is not None:
                k, v = past_key_values.update(k, v, number)
            x = x + self._multiply(_attend(q, k, v), layer.o, bias=layer.o_bias)
            normed = _normalise(x, layer.mlp_norm, self._epsilon)
            gate, up = multiply_split(normed, (layer.gate, layer.up), self._terms)
            x = x + self._multiply(layer.activate(gate).mul_(up), layer.down)
        return States(_normalise(x, self._norm, self._epsilon))

    def lm_head(self, states: Tensor) -> Tensor:
        """Logits of states [T, H], float32 [T, V]; takes four times as much memory on its way."""
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


def split_terms(x: Tensor, terms: int) -> Tensor:
    """float32 [...] as bf16 [terms, ...] that add up to it, the smallest first.

    With three terms the sum is x itself for all 2^-110 < |x| < 2^127.
    """
    found = []
    rest = x
    for _ in range(terms):
        term = rest.to(torch.bfloat16)
        found.append(term)
        rest = rest - term
    return torch.stack(found[::-1])


def multiply_split(x: Tensor, weights: Sequence[Tensor], terms: int) -> list[Tensor]:
    """x @ Wᵀ for each of several weights, with x split once.

    The terms' rows stand below one another, so that each weight is one product; its blocks are
    added smallest first.

    Args:
        x: float32 [..., in].
        weights: [out, in], as `_as_factor` gives them.

    Returns:
        float32 [..., out] a weight.
    """
    rows = x.reshape(-1, x.shape[-1])
    step = max(1, _ELEMENTS_MAX // (terms * max(map(len, weights))))
    products = [rows.new_empty(len(rows), len(weight)) for weight in weights]
    for start in range(0, len(rows), step):
        stacked = split_terms(rows[start : start + step], terms).flatten(0, 1)
        for product, weight in zip(products, weights, strict=True):
            total, *larger = multiply_bf16(stacked, weight).chunk(terms)
            for block in larger:
                total = total.add_(block)
            product[start : start + step] = total
    return [product.view(*x.shape[:-1], -1) for product in products]


def multiply_bf16(x: Tensor, weight: Tensor) -> Tensor:
    """bf16 [N, in] times a weight [out, in] of bf16 numbers, summed in fp32: float32 [N, out].

    A bf16 weight goes to the matrix units; a float32 one holds the same numbers for a processor
    without them.
    """
    if weight.dtype == torch.bfloat16:
        return torch.mm(x, weight.t(), out_dtype=torch.float32)
    return x.float() @ weight.t()


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention in fp32: the queries are the last T of the keys' positions.

    Args:
        q: [B, heads, T, width].
        k, v: [B, key heads, S, width]; each key head serves heads / key heads queries.

    Returns:
        [B, T, heads · width].
    """
    tokens, seen, heads = q.shape[2], k.shape[2], k.shape[1]
    q = q.unflatten(1, (heads, -1))
    out = torch.empty_like(q)
    places = torch.arange(seen, device=q.device)
    batch = max(1, _ELEMENTS_MAX // (q.shape[1] * q.shape[2] * min(tokens, _QUERY_TOKENS) * seen))
    for first in range(0, len(q), batch):
        rows = slice(first, first + batch)
        for start in range(0, tokens, _QUERY_TOKENS):
            end = min(start + _QUERY_TOKENS, tokens)
            last = seen - tokens + end  # keys that the block's last query sees
            part = q[rows, :, :, start:end]
            scores = part.flatten(2, 3) @ k[rows, :, :last].transpose(2, 3)
            scores = scores.mul_(q.shape[-1] ** -0.5).unflatten(2, (-1, end - start))
            hidden = places[:last] > places[seen - tokens + start : last, None]
            weights = scores.masked_fill_(hidden, -torch.inf).softmax(dim=-1)
            mixed = weights.flatten(2, 3) @ v[rows, :, :last]
            out[rows, :, :, start:end] = mixed.view_as(part)
    return out.flatten(1, 2).transpose(1, 2).flatten(2)


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
        attention_norm=layer.input_layernorm.weight,
        q=_as_factor(attention.q_proj.weight),
        k=_as_factor(attention.k_proj.weight),
        v=_as_factor(attention.v_proj.weight),
        o=_as_factor(attention.o_proj.weight),
        q_bias=attention.q_proj.bias,
        k_bias=attention.k_proj.bias,
        v_bias=attention.v_proj.bias,
        o_bias=attention.o_proj.bias,
        q_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        k_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        mlp_norm=layer.post_attention_layernorm.weight,
        gate=_as_factor(mlp.gate_proj.weight),
        up=_as_factor(mlp.up_proj.weight),
        down=_as_factor(mlp.down_proj.weight),
        activate=mlp.act_fn,
    )


def _as_factor(weight: Tensor) -> Tensor:
    """The matrix as products want it: bf16 on a card, as it is elsewhere."""
    rounded = weight.detach().to(torch.bfloat16)
    if not torch.equal(rounded.float(), weight):
        raise ValueError("a matrix holds numbers that are not bf16: splitting is exact for bf16")
    return rounded if weight.is_cuda else weight.detach()


def _require_supported(model: Any) -> None:
    config = model.config
    if config.model_type not in _KINDS:
        raise ValueError(f"split products serve {' and '.join(_KINDS)}, not {config.model_type}")
    if any(kind != "full_attention" for kind in config.layer_types):
        raise ValueError("split products know no sliding window: use fp32-sdpa")
    rotation = config.rope_parameters["rope_type"]
    if rotation not in _STATIC_ROTATIONS:
        raise ValueError(f"split products know no rotary positions of type {rotation!r}")
    if model.dtype != torch.float32:
        raise ValueError(f"split products start from float32 weights, the model is {model.dtype}")


def _require_exact_sums() -> None:
    """Process-wide switches of torch: no TF32 in fp32 products, no bf16 in sums of bf16 ones."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
