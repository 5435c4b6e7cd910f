"""Checks that a config.json fits the tensors beside it, before any library acts on it.

A library builds whatever a config says: thousands of layers, a table of a billion labels, a
quantiser fetched by name. So only configs of known families with known fields are accepted, and
every size must be that of an existing tensor. What is then built is as large as the files are.

This module does not know whether the model is any good, or loads at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import isfinite

from assay.inference.gate.rules import FLAG, Rule, is_integer, is_text, make_choice, make_number
from assay.protocol.encoding import Json

#: Families whose tensors carry the names below.
FAMILIES = ("llama", "qwen2", "qwen3")
#: The sizes, and the most that each may be.
SIZES = {
    "vocab_size": 1 << 20,
    "hidden_size": 1 << 16,
    "intermediate_size": 1 << 20,
    "num_hidden_layers": 1 << 10,
    "num_attention_heads": 1 << 12,
    "num_key_value_heads": 1 << 12,
}
#: The most that a head's size may be.
HEAD_MAX = 1 << 12
_NUMBER_MAX = 1 << 40
#: The tensors of the input's and the output's table of a model.
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def _is_number(value: Json) -> bool:
    return type(value) in (int, float) and isfinite(value) and abs(value) <= _NUMBER_MAX


def _are_ids(value: Json) -> bool:
    ids = value if isinstance(value, list) else [value]
    return value is None or (len(ids) <= 16 and all(is_integer(i, 0, (1 << 32) - 1) for i in ids))


def _make_optional(rule: Rule) -> Rule:
    """The rule for a field that may be null."""
    return Rule(f"{rule.about}, or null", lambda v: v is None or rule.holds(v))


_NUMBER = Rule("a number", _is_number)
_IDS = Rule("an id, at most 16 of them, or null", _are_ids)
_POSITIONS = make_number(1, 1 << 31)
_DTYPE = make_choice(None, "bfloat16", "float16", "float32")
_NAMES = Rule(
    "at most 4 names, or null",
    lambda v: v is None or (isinstance(v, list) and len(v) <= 4 and all(map(is_text, v))),
)
#: The other fields, and their rules. An unknown one could have a meaning in some version of a
#: library.
OTHERS: Mapping[str, Rule] = {
    "architectures": _NAMES,
    "attention_bias": FLAG,
    "attention_dropout": _NUMBER,
    "bos_token_id": _IDS,
    "dtype": _DTYPE,
    "eos_token_id": _IDS,
    "head_dim": make_number(2, HEAD_MAX),
    "hidden_act": make_choice("silu"),
    "initializer_range": _NUMBER,
    "layer_types": Rule("a list or null", lambda v: v is None or isinstance(v, list)),
    "max_position_embeddings": _POSITIONS,
    "max_window_layers": make_number(0, 1 << 31),
    "mlp_bias": FLAG,
    "model_type": make_choice(*FAMILIES),
    "pad_token_id": _IDS,
    "pretraining_tp": make_number(1, 1),
    "rms_norm_eps": _NUMBER,
    "rope_parameters": Rule("an object or null", lambda v: v is None or isinstance(v, dict)),
    "rope_scaling": Rule("an object or null", lambda v: v is None or isinstance(v, dict)),
    "rope_theta": Rule("a number above 1", lambda v: _is_number(v) and v > 1),
    "sliding_window": _make_optional(_POSITIONS),
    "tie_word_embeddings": FLAG,
    "torch_dtype": _DTYPE,
    "transformers_version": Rule("a text", is_text),
    "use_cache": FLAG,
    "use_mrope": Rule("false", lambda v: v is False),
    "use_sliding_window": FLAG,
}
FIELDS = frozenset({*SIZES, *OTHERS})
#: The boolean fields.
SWITCHES = tuple(name for name, rule in OTHERS.items() if rule is FLAG)
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
#: Numbers that a type must have.
_ROPE_NEEDS = {
    "linear": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
}
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
    fault = find_config_fault(config)
    if fault is not None or not isinstance(config, dict):
        return fault
    # compared with the number of existing layers before any work for each layer
    layers = len({name.split(".")[2] for name in shapes if name.startswith(_LAYERS)})
    if config["num_hidden_layers"] != layers:
        return f"config.json says another number of layers than the {layers} that there are"
    for name, shape in _iterate_shapes(config):
        if tuple(shapes.get(name, ())) != shape:
            return f"tensor {name} has not the shape {shape} that config.json says"
    return None


def compute_bytes_max(config: Json) -> int | None:
    """Most bytes of the safetensors files of a model in bf16, headers included, from its config
    alone. None where the config is of no known family.

    The bound counts all tensors that a family may have, including biases and a separate output
    matrix.
    """
    if find_config_fault(config) is not None or not isinstance(config, dict):
        return None
    hidden, inner, vocabulary = (config[f"{n}_size"] for n in ("hidden", "intermediate", "vocab"))
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    head, layers = get_head_size(config), config["num_hidden_layers"]
    attention = (2 * heads + 2 * shared) * head * (hidden + 1) + hidden + 2 * head
    layer = attention + 3 * (hidden + 1) * inner + 3 * hidden  # with two norms
    weights = layers * layer + 2 * vocabulary * hidden + hidden
    return 2 * weights + _HEADER_BYTES * (layers * _LAYER_TENSORS + _OTHER_TENSORS)


def find_config_fault(config: Json) -> str | None:
    """The reason why a config is not of a known family with known fields and all its sizes."""
    if not isinstance(config, dict):
        return "config.json is not an object"
    if config.get("model_type") not in FAMILIES:
        return f"model_type in config.json is none of {', '.join(FAMILIES)}"
    if unknown := sorted(set(config) - FIELDS):
        return (
            f"config.json has a field {unknown[0][:60]!r} that is not known here: remove it if the "
            "model does not need it"
        )
    if not all(is_integer(config.get(name), 1, most) for name, most in SIZES.items()):
        return f"config.json does not give {', '.join(SIZES)} as sizes within their bounds"
    for name, rule in OTHERS.items():
        if name in config and not rule.holds(config[name]):
            return f"{name} in config.json is not {rule.about}"
    return next(_find_illegal_values(config), None)


def find_tied_fault(config: Mapping[str, Json], same: bool | None) -> str | None:
    """The reason why a head of its own is refused, or None.

    Args:
        same: whether the head has the bytes of the embedding; None without a head of its own.
    """
    if same is False and config.get("tie_word_embeddings", False):
        return f"config.json ties the head to the embedding, and {HEAD} differs from it"
    return None


def get_head_size(config: Mapping[str, int]) -> int:
    """The size of an attention head."""
    return config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])


def _find_illegal_values(config: dict[str, Json]) -> Iterator[str]:
    """Settings of the config that not every version of the library builds alike, or builds into a
    model that breaks when it runs."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    if heads % shared:
        yield "num_key_value_heads in config.json does not divide num_attention_heads"
    if get_head_size(config) % 2 or ("head_dim" not in config and config["hidden_size"] % heads):
        yield "config.json gives heads no even size"
    places = ("rope_parameters", "rope_scaling")
    if all(config.get(name) is not None for name in places):
        yield f"config.json has both {' and '.join(places)}"
    for name in places:
        fault = _find_rope_fault(config.get(name))
        if fault is not None:
            yield f"{name} in config.json {fault}"
    kinds, layers = config.get("layer_types"), config["num_hidden_layers"]
    if kinds is not None and not (
        len(kinds) == layers and all(is_text(kind) and kind in LAYER_TYPES for kind in kinds)
    ):
        yield f"layer_types in config.json is not a list of {layers} of {', '.join(LAYER_TYPES)}"


def _find_rope_fault(rope: Json) -> str | None:
    if rope is None:
        return None
    if unknown := sorted(set(rope) - {*ROPE_NAMES, *ROPE_NUMBERS}):
        return f"has a field {unknown[0][:60]!r} that is not known here"
    kinds = [rope[name] for name in ROPE_NAMES if name in rope]
    if any(not is_text(kind) or kind not in ROPE_TYPES or kind != kinds[0] for kind in kinds):
        return f"is none of {', '.join(ROPE_TYPES)}"
    numbers = {name: rope[name] for name in ROPE_NUMBERS if name in rope}
    if not all(_is_number(number) and number > 0 for number in numbers.values()):
        return f"gives something else than a positive number as one of {', '.join(ROPE_NUMBERS)}"
    needed = _ROPE_NEEDS.get(kinds[0], ()) if kinds else ()
    if lacking := [name for name in needed if name not in numbers]:
        return f"has type {kinds[0]} and no {lacking[0]}"
    if numbers.get("rope_theta", 2) <= 1 or any(
        numbers[low] >= numbers[high] for low, high in pairwise(needed[1:])
    ):
        return "has a rope_theta of 1 or less, or factors that are not in order"
    return None


def _iterate_shapes(config: dict[str, int]) -> Iterator[tuple[str, tuple[int, int]]]:
    """The tensors that together show every size of a config, with the shapes that it implies."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = get_head_size(config)
    yield EMBEDDING, (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"{_LAYERS}{layer}."
        yield f"{prefix}self_attn.q_proj.weight", (heads * head, hidden)
        yield f"{prefix}self_attn.k_proj.weight", (config["num_key_value_heads"] * head, hidden)
        yield f"{prefix}mlp.up_proj.weight", (config["intermediate_size"], hidden)
