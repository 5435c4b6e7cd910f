"""Checks that a config.json fits the tensors beside it, before any library acts on it.

A library builds whatever a config says: thousands of layers, a table of a billion labels, a
quantiser fetched by name. So only configs of known families with known fields are accepted, and the
tensors must be those of the family's table, by name and shape. What is then built is as large as
the files are.

This module does not know whether the model is any good, or loads at all.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from assay.gate.rules import Rule, is_integer, is_text
from assay.inference.families.dense import DENSE
from assay.inference.families.family import (
    CHOSEN,
    Config,
    Family,
    Tensors,
    count_elements,
    count_matrices,
    iterate_shapes,
)
from assay.inference.families.fields import COMMON, OLDER_ROPE, SIZES
from assay.inference.families.hybrid import HYBRID
from assay.inference.families.mixtures import MIXTURES
from assay.inference.families.refused import REFUSED
from assay.protocol.encoding import Json

#: All families, by `model_type`.
FAMILIES: Mapping[str, Family] = MappingProxyType({**DENSE, **HYBRID, **MIXTURES})
#: The tensors of the input's and the output's table of a model.
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_ENDS = (
    Tensors("embedding", {EMBEDDING: "v h"}),
    Tensors("output matrix, unless it is the embedding", {HEAD: "v h"}),
)
_LAYERS = "model.layers."


def list_fields(family: Family) -> dict[str, Rule]:
    """The rule of every field that a family may have, besides sizes and model_type."""
    older = OLDER_ROPE if family.rotation.older else {}
    return dict(sorted({**COMMON, **older, **family.fields}.items()))


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
    family = FAMILIES[config["model_type"]]
    wanted = 0
    for name, shape in iterate_tensors(config):  # ends at the first that is not there
        if name == HEAD and name not in shapes and family.is_tied(config):
            continue
        if name not in shapes:
            return f"tensor {name} is missing: a {config['model_type']} of this config.json has it"
        if tuple(shapes[name]) != shape:
            return f"tensor {name} has not the shape {shape} that config.json says"
        wanted += 1
    if wanted < len(shapes):
        known = {name for name, _ in iterate_tensors(config)}
        other = min(shapes.keys() - known)
        return f"tensor {other[:100]} is none of a {config['model_type']} of this config.json"
    return None


def count_tensors(config: Config) -> tuple[int, int]:
    """The number of tensors of a model on disk, and of their elements, by its config, which is of a
    known family. An output matrix counts in any case."""
    family = FAMILIES[config["model_type"]]
    traits = family.list_traits(config)
    tensors, elements = count_elements((*_ENDS, *family.outside), family.measure(config), traits)
    for (values, layer_traits), times in _count_alike(family, config).items():
        more, larger = count_elements(family.layer, dict(values), layer_traits)
        tensors, elements = tensors + times * more, elements + times * larger
    return tensors, elements


def count_products(config: Config, *, of_all_experts: bool = False) -> int:
    """The weights that a token is multiplied by, by a config of a known family: the matrices of the
    layers and the output matrix. Of a layer's experts, those that a token takes, or all."""
    family = FAMILIES[config["model_type"]]
    chosen = None if of_all_experts else family.get(config, CHOSEN) or 0
    layers = sum(
        times * count_matrices(family.layer, dict(values), traits, chosen)
        for (values, traits), times in _count_alike(family, config).items()
    )
    return layers + config["vocab_size"] * config["hidden_size"]


def _count_alike(
    family: Family, config: Config
) -> Counter[tuple[frozenset[tuple[str, int]], frozenset[str]]]:
    """How many layers have the same words and traits."""
    return Counter(
        (frozenset(family.measure(config, layer).items()), family.list_traits(config, layer))
        for layer in range(config["num_hidden_layers"])
    )


def find_config_fault(config: Json) -> str | None:
    """The reason why a config is not of a known family with known fields and all its sizes."""
    if not isinstance(config, dict):
        return "config.json is not an object"
    kind = config.get("model_type")
    fault = find_type_fault(kind)
    if fault is not None:
        return fault
    family = FAMILIES[str(kind)]
    rules = list_fields(family)
    sizes = {name: most for name, most in SIZES.items() if name not in family.without}
    if unknown := sorted(set(config) - {"model_type", *sizes, *rules}):
        return (
            f"config.json has a field {unknown[0][:60]!r} that is not known here: remove it if the "
            "model does not need it"
        )
    if not all(is_integer(config.get(name), 1, most) for name, most in sizes.items()):
        return f"config.json does not give {', '.join(sizes)} as sizes within their bounds"
    for name, rule in rules.items():
        if name in config and not rule.holds(config[name]):
            return f"{name} in config.json is not {rule.about}"
    if lacking := [name for name in family.required if config.get(name) is None]:
        return f"config.json has no {lacking[0]}"
    return next(_find_illegal_values(family, config), None)


def find_type_fault(kind: Any) -> str | None:
    """The reason why no model of a `model_type` is read, or None."""
    if not isinstance(kind, str) or kind not in FAMILIES:
        names = (kind, kind.removesuffix("_text")) if isinstance(kind, str) else ()
        known = next((name for name in names if name in REFUSED), None)
        if known is not None:
            return f"model_type {kind} in config.json: {REFUSED[known]}"
        shown = repr(kind)[:60]
        return f"model_type {shown} in config.json is none of {', '.join(FAMILIES)}"
    return None


def get_expert_bounds(config: Config) -> tuple[int, int]:
    """The experts that a token needs at least, those that a router chooses, and at most, all of a
    layer; 0 and 0 if the config, of a known family, is no mixture's."""
    family = FAMILIES[config["model_type"]]
    experts = family.experts
    if experts is None or not family.is_sparse(config):
        return 0, 0
    return config[CHOSEN], experts.count(config)


def is_tied(config: Config) -> bool:
    """Whether the output matrix is the embedding, by a config of a known family."""
    return FAMILIES[config["model_type"]].is_tied(config)


def _find_illegal_values(family: Family, config: dict[str, Json]) -> Iterator[str]:
    """Settings of the config that not every version of the library builds alike, or builds into a
    model that breaks when it runs."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    if heads % shared:
        yield "num_key_value_heads in config.json does not divide num_attention_heads"
    head = family.get_head_size(config)
    given = family.get(config, "head_dim") is not None
    if head % 2 or (not given and config["hidden_size"] % heads):
        yield "config.json gives heads no even size"
    yield from family.rotation.find_faults(config, head)
    kinds, layers = config.get("layer_types"), config["num_hidden_layers"]
    if kinds is not None and not (
        len(kinds) == layers and all(is_text(kind) and kind in family.kinds for kind in kinds)
    ):
        yield f"layer_types in config.json is not a list of {layers} of {', '.join(family.kinds)}"
    elif kinds is not None and "sliding_attention" in kinds:
        if "sliding_window" in config and config["sliding_window"] is None:
            yield "layer_types in config.json has sliding_attention, and sliding_window is null"
        if "use_sliding_window" in family.fields and not config.get("use_sliding_window", False):
            yield "layer_types in config.json has sliding_attention, and use_sliding_window is off"
    fault = None if family.check is None else family.check(config)
    if fault is not None:
        yield fault
    if family.experts is not None and family.is_sparse(config):
        fault = family.experts.find_fault(config)
        if fault is not None:
            yield fault


def iterate_tensors(config: Config) -> Iterator[tuple[str, tuple[int, ...]]]:
    """All tensors of a model with the shapes that its config implies, which is of a known family.
    An output matrix is among them in any case."""
    family = FAMILIES[config["model_type"]]
    yield from iterate_shapes(
        (*_ENDS, *family.outside), family.measure(config), family.list_traits(config)
    )
    for layer in range(config["num_hidden_layers"]):
        prefix, traits = f"{_LAYERS}{layer}.", family.list_traits(config, layer)
        for name, shape in iterate_shapes(family.layer, family.measure(config, layer), traits):
            yield f"{prefix}{name}", shape
