"""A model's memory from its size, by arithmetic alone: torch takes seconds to load."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from assay.inference.families import CHOSEN, FAMILIES, Mask

#: Most tokens of one pass, padding included, and elements of logits, however much memory there is.
TOKENS_MAX, ELEMENTS_MAX_CPU, ELEMENTS_MAX = 1 << 15, 1 << 24, 1 << 28
#: Logits that a learner computes at once: `assay.training.LOGITS_MAX`, whose module loads torch.
LEARNED_LOGITS_MAX = 1 << 25
#: Tokens of a recurrent layer whose values are solved for together, which decides the last bits.
#: 64, as the library has it, loses three to ten times as much to rounding, and is no faster on a
#: CPU.
RECURRENT_CHUNK = 16
#: Keys that torch's kernel of attention takes together on a CPU. What is kept for a window begins
#: with whole ones, and has room for as many more.
KEYS_TOGETHER = 512
#: Experts of a token that ramped routers need, relative to those that a family's own choose. A
#: network's limit is `experts_max`.
EXPERTS_SHARE = 1.25
#: Copies of a layer's activations that a class without a family is taken to make.
_COPIES = 4
#: Implementations of the reference that keep weights as stored, in bf16. The others convert them to
#: fp32.
BF16_WEIGHTS = frozenset({"split3", "split2"})


def compute_weight_bytes(stored: int, implementation: str) -> int:
    """Bytes of memory that weights take. `stored` is the size of their files, in bf16."""
    return stored if implementation in BF16_WEIGHTS else 2 * stored


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model's size. Figures are floats per token unless noted otherwise."""

    parameters: int  # all of them
    tables: int  # of these, in embeddings and a separate head
    block: int  # of these, in one layer; the norm behind the last layer counts with it
    cached: int  # of keys and values in all layers
    state: int  # floats of a sequence, however long, in all recurrent layers
    wide: int  # of a layer at its widest
    kept: int  # kept by all layers for gradients
    recomputed: int  # the same if layers keep only inputs and recompute the rest in turn
    vocabulary: int  # ids
    #: floats of LoRA factors beside a mixture's experts in all layers, for each unit of their rank
    factors: int = 0
    stacked: int = 0  # of all parameters, those of a mixture's experts
    #: of `cached`, those in layers whose tokens see only a window, with the window's tokens
    windowed: tuple[tuple[int, int], ...] = ()

    def count_kept(self, tokens: int) -> int:
        """Floats of keys and values of a sequence of so many tokens: layers with a window keep what
        its next tokens see."""
        floats = tokens * self.cached
        for each, window in self.windowed:
            floats -= each * max(0, tokens - window - 2 * KEYS_TOGETHER)
        return floats


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The most that is computed together.

    Attributes:
        tokens: of one pass, padding included. A longer row goes alone.
        elements: of an array [rows, vocabulary]. At least one row goes.
    """

    tokens: int = TOKENS_MAX
    elements: int = ELEMENTS_MAX_CPU

    def halve(self, least: "MemoryPlan") -> "MemoryPlan | None":
        """Half of it, but at least `least`; None if that is not smaller."""
        tokens, elements = (
            max(current // 2, min(current, floor))
            for current, floor in ((self.tokens, least.tokens), (self.elements, least.elements))
        )
        smaller = MemoryPlan(tokens, elements)
        return None if smaller == self else smaller


@dataclass(frozen=True, slots=True)
class _LayerShape:
    """The size of one layer of a kind, floats per token unless noted otherwise."""

    cached: int
    state: int  # floats of a sequence
    wide: int
    kept: int


def measure_shape(config: Any, parameters: int) -> ModelShape:
    """The size of a model from its Hugging Face configuration."""
    if getattr(config, "model_type", "") not in FAMILIES:
        return _estimate_shape(config, parameters)
    kinds = getattr(config, "layer_types", None) or ()
    recurrent = sum(kind == "linear_attention" for kind in kinds)
    attending = _list_layer_configs(config)[: config.num_hidden_layers - recurrent]
    layers = [_measure_attention(config, layer) for layer in attending]
    windowed = [
        (layer.cached, window)
        for layer, window in zip(layers, list_windows(config), strict=True)
        if window is not None
    ]
    layers += [_measure_recurrence(config)] * recurrent if recurrent else []
    tables = (1 if config.tie_word_embeddings else 2) * config.vocab_size * config.hidden_size
    inputs = getattr(config, "hidden_size_per_layer_input", 0)  # Gemma 4: each layer has its own
    if inputs:
        tables += config.vocab_size_per_layer_input * config.num_hidden_layers * inputs
    experts, own = _count_experts(config)
    return ModelShape(
        parameters=parameters,
        tables=tables,
        block=ceil((parameters - tables) / config.num_hidden_layers),
        cached=sum(layer.cached for layer in layers),
        state=sum(layer.state for layer in layers),
        wide=max(layer.wide for layer in layers),
        kept=sum(layer.kept for layer in layers),
        recomputed=len(layers) * config.hidden_size + max(layer.kept for layer in layers),
        vocabulary=config.vocab_size,
        factors=experts * (2 * config.hidden_size + 3 * own),
        stacked=experts * 3 * config.hidden_size * own,
        windowed=tuple(windowed),
    )


def _estimate_shape(config: Any, parameters: int) -> ModelShape:
    """A bound for a class that no family describes, of which only three sizes are known. A layer's
    matrices have about twelve times its states' width as rows, and each of them is an activation;
    classes without kernels of their own keep several copies, and scans a state for each token."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    tables = (1 if config.tie_word_embeddings else 2) * config.vocab_size * hidden
    block = ceil(max(0, parameters - tables) / layers)
    rows = max(ceil(block / hidden), 12 * hidden)
    return ModelShape(
        parameters=parameters,
        tables=tables,
        block=block,
        cached=2 * layers * hidden,
        state=0,
        wide=_COPIES * rows,
        kept=_COPIES * layers * rows,
        recomputed=layers * hidden + _COPIES * rows,
        vocabulary=config.vocab_size,
    )


def list_windows(config: Any) -> list[int | None]:
    """The number of tokens that a token sees in each layer of attention, itself included; None:
    all. Recurrent layers are left out."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    window = getattr(config, "sliding_window", None)
    if family is not None and family.mask is Mask.WINDOW:
        return [window] * config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    return [
        window if kind == "sliding_attention" else None
        for kind in kinds
        if kind != "linear_attention"
    ]


def _list_layer_configs(config: Any) -> list[Any]:
    """Each layer's configuration: with changes of its own, or that of all."""
    changed = getattr(config, "per_layer_config", None)
    layers = range(config.num_hidden_layers)
    return [config if changed is None else changed[layer] for layer in layers]


def _measure_attention(config: Any, layer: Any) -> _LayerShape:
    head = getattr(layer, "head_dim", None) or config.hidden_size // config.num_attention_heads
    inner, together, copies = _measure_inner(config)
    queries, keys = (
        number * head for number in (config.num_attention_heads, layer.num_key_value_heads)
    )
    wider = max(0, queries - config.hidden_size)
    return _LayerShape(
        cached=2 * keys,
        state=0,
        wide=3 * inner + 4 * (config.hidden_size + wider),
        kept=(5 if getattr(config, "hidden_act", "") == "xielu" else 4) * together
        + (14 + copies) * config.hidden_size
        + 6 * wider
        + _count_normed(config, queries + keys),
    )


def _count_normed(config: Any, heads: int) -> int:
    """Floats that norms beyond two a layer keep for gradients: of states, or of queries and keys,
    which have `heads` floats together."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    shapes = {} if family is None else {n: s for p in family.layer for n, s in p.shapes.items()}
    norms = [words for name, words in shapes.items() if name.endswith("norm.weight")]
    further = max(0, norms.count("h") - 2)
    return 2 * further * config.hidden_size + (2 * heads if {"d", "q", "n d"} & {*norms} else 0)


def _measure_inner(config: Any) -> tuple[int, int, int]:
    """The width between a layer's two products, at most at a time and of all that take part; and
    copies of a state. A mixture's experts run one after the other. Where routers ramp, a token
    needs a quarter more of them than its family chooses, by the usual limit."""
    chosen = getattr(config, CHOSEN, None)
    if not chosen:
        double = getattr(config, "use_double_wide_mlp", False)
        inner = config.intermediate_size * (2 if double else 1)
        return inner, inner, 0
    own = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    shared = own * (getattr(config, "n_shared_experts", None) or 0)
    shared = getattr(config, "shared_expert_intermediate_size", None) or shared
    needed = ceil(EXPERTS_SHARE * chosen)
    together = needed * own + shared
    dense = getattr(config, "intermediate_size", None) or 0  # of layers without routers
    return max(own, shared, dense), max(together, dense), 2 * needed


def _count_experts(config: Any) -> tuple[int, int]:
    """Experts in all layers, and an expert's width. Each has a matrix [2 · width, hidden] and a
    matrix [hidden, width]. Layers without routers count like the others: they are few."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    if family is None or family.experts is None:
        return 0, 0
    experts = max(getattr(config, name, None) or 0 for name in family.experts.counts)
    own = getattr(config, "moe_intermediate_size", None) or config.intermediate_size
    return config.num_hidden_layers * experts, own


def _measure_recurrence(config: Any) -> _LayerShape:
    """A gated DeltaNet by torch's own code, as counted in it: copies of queries, keys and values
    with as many heads as values have, matrices of chunks, and for gradients each chunk's state."""
    heads, width = config.linear_num_value_heads, config.linear_value_head_dim
    keys, values = heads * config.linear_key_head_dim, heads * width
    mixed = 2 * config.linear_num_key_heads * config.linear_key_head_dim + values
    chunks = heads * RECURRENT_CHUNK
    inner, together, copies = _measure_inner(config)
    state = keys * width
    wide = 5 * config.hidden_size + 2 * mixed + 5 * (keys + values) + 3 * chunks
    kept = 8 * config.hidden_size + 4 * mixed + 8 * (keys + values) + 5 * chunks
    return _LayerShape(
        cached=0,
        state=state + (config.linear_conv_kernel_dim - 1) * mixed,
        wide=max(wide, 3 * inner + 4 * config.hidden_size),
        kept=kept + state // RECURRENT_CHUNK + 4 * together + copies * config.hidden_size,
    )
