"""Checks that a config.json fits the tensors beside it, before any library acts on it.

A library builds whatever a config says: thousands of layers, a table of a billion labels, a
quantiser fetched by name. So only configs of known families with known fields are accepted, and
every size must be that of an existing tensor. What is then built is as large as the files are.

This module does not know whether the model is any good, or loads at all.
"""

from collections.abc import Iterator, Mapping, Sequence

from assay.protocol.encoding import Json

#: Families whose tensors carry the names below.
FAMILIES = ("llama", "qwen2", "qwen3")
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)
#: Fields that change no size. An unknown field could have a meaning in some version of a library.
_OTHERS = (
    "architectures",
    "attention_bias",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "initializer_range",
    "layer_types",
    "max_position_embeddings",
    "max_window_layers",
    "mlp_bias",
    "model_type",
    "pad_token_id",
    "pretraining_tp",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "use_mrope",
    "use_sliding_window",
)
FIELDS = frozenset({*SIZES, *_OTHERS})
#: The boolean fields.
SWITCHES = ("attention_bias", "mlp_bias", "tie_word_embeddings", "use_sliding_window")
#: Methods to place rotary angles. Others, such as `dynamic`, depend on the longest sequence of a
#: batch, so that a measurement would depend on the other sequences.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")
#: The field that names the type (the second in older files), and the numbers beside it.
ROPE_NAMES = ("rope_type", "type")
ROPE_NUMBERS = (
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "high_freq_factor",
    "low_freq_factor",
    "original_max_position_embeddings",
    "rope_theta",
)
LAYER_TYPES = ("full_attention", "sliding_attention")
_LAYERS = "model.layers."
#: Most tensors of one layer, and besides the layers; bytes of a file's description of one tensor.
_LAYER_TENSORS, _OTHER_TENSORS, _HEADER_BYTES = 18, 3, 1 << 10


def find_misfit(config: Json, shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The reason why a config cannot belong to these tensors, or None.

    Args:
        config: config.json, parsed.
        shapes: tensor name → shape, of everything in the folder's safetensors files.
    """
    fault = _find_fault(config)
    if fault is not None or not isinstance(config, dict):
        return fault
    # compared with the number of existing layers before any work for each layer
    layers = len({name.split(".")[2] for name in shapes if name.startswith(_LAYERS)})
    if config["num_hidden_layers"] != layers:
        return f"config.json says another number of layers than the {layers} that there are"
    kinds = config.get("layer_types")
    if kinds is not None and len(kinds) != layers:
        return f"layer_types is not a list of {layers}"
    for name, shape in _iterate_shapes(config):
        if tuple(shapes.get(name, ())) != shape:
            return f"tensor {name} has not the shape {shape} that config.json says"
    return None


def find_vocabulary(config: Json) -> int | None:
    """V, the rows of the output matrix, from a config alone. None where the config is of no known
    family."""
    if _find_fault(config) is not None or not isinstance(config, dict):
        return None
    return int(config["vocab_size"])


def compute_bytes_max(config: Json) -> int | None:
    """Most bytes of the safetensors files of a model in bf16, headers included, from its config
    alone. None where the config is of no known family.

    The bound counts all tensors that a family may have, including biases and a separate output
    matrix.
    """
    if _find_fault(config) is not None or not isinstance(config, dict):
        return None
    hidden, inner, vocabulary = (config[f"{n}_size"] for n in ("hidden", "intermediate", "vocab"))
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    head, layers = config.get("head_dim", hidden // heads), config["num_hidden_layers"]
    attention = (2 * heads + 2 * shared) * head * (hidden + 1) + hidden + 2 * head
    layer = attention + 3 * (hidden + 1) * inner + 3 * hidden  # with two norms
    weights = layers * layer + 2 * vocabulary * hidden + hidden
    return 2 * weights + _HEADER_BYTES * (layers * _LAYER_TENSORS + _OTHER_TENSORS)


def _find_fault(config: Json) -> str | None:
    """The reason why a config is not of a known family with known fields and all its sizes."""
    if not isinstance(config, dict):
        return "config.json is not an object"
    if config.get("model_type") not in FAMILIES:
        return f"model_type is none of {', '.join(FAMILIES)}"
    if unknown := sorted(set(config) - FIELDS):
        return f"config.json has a field {unknown[0][:60]!r} that is not known here"
    sizes = [config.get(name) for name in (*SIZES, "head_dim") if name in config]
    if len(sizes) < len(SIZES) or not all(type(size) is int and size > 0 for size in sizes):
        return f"config.json does not give {', '.join(SIZES)} as sizes"
    return next(_find_illegal_values(config), None)


def _find_illegal_values(config: dict[str, Json]) -> Iterator[str]:
    """Settings of the config that not every version of the library builds alike."""
    if config.get("hidden_act", "silu") != "silu":
        yield "hidden_act in config.json is not silu"
    for name in SWITCHES:
        if type(config.get(name, False)) is not bool:
            yield f"{name} in config.json is neither true nor false"
    places = ("rope_parameters", "rope_scaling")
    if all(config.get(name) is not None for name in places):
        yield f"config.json has both {' and '.join(places)}"
    for name in places:
        fault = _find_rope_fault(config.get(name))
        if fault is not None:
            yield f"{name} in config.json {fault}"
    kinds = config.get("layer_types")
    if kinds is not None and not (
        isinstance(kinds, list) and all(kind in LAYER_TYPES for kind in kinds)
    ):
        yield f"layer_types in config.json is not a list of {' and '.join(LAYER_TYPES)}"


def _find_rope_fault(rope: Json) -> str | None:
    if rope is None:
        return None
    if not isinstance(rope, dict):
        return "is not an object"
    if unknown := sorted(set(rope) - {*ROPE_NAMES, *ROPE_NUMBERS}):
        return f"has a field {unknown[0][:60]!r} that is not known here"
    kinds = [rope[name] for name in ROPE_NAMES if name in rope]
    if any(kind not in ROPE_TYPES or kind != kinds[0] for kind in kinds):
        return f"is none of {', '.join(ROPE_TYPES)}"
    if not all(type(rope[name]) in (int, float) for name in ROPE_NUMBERS if name in rope):
        return f"gives something else than a number as one of {', '.join(ROPE_NUMBERS)}"
    return None


def _iterate_shapes(config: dict[str, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The tensors that together show every size of a config, with the shapes that it implies."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim", hidden // heads)
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"{_LAYERS}{layer}."
        yield f"{prefix}self_attn.q_proj.weight", (heads * head, hidden)
        yield f"{prefix}self_attn.k_proj.weight", (config["num_key_value_heads"] * head, hidden)
        yield f"{prefix}mlp.up_proj.weight", (config["intermediate_size"], hidden)
