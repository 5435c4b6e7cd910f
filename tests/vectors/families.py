"""Vectors of the families of models: their table as data, a small config of each with all tensors,
and what is refused of both.

The rules are in the words of the specification's tables, which a reader has to give a meaning.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))
from assay.inference.families import (
    CHOSEN,
    FAMILIES,
    REFUSED,
    Family,
    find_config_fault,
    find_misfit,
    list_fields,
)
from assay.inference.families.family import WORDS, Tensors
from assay.inference.families.fields import COMMON, OLDER_ROPE, SIZES
from assay.inference.families.fit import iterate_tensors
from assay.inference.families.mixtures import mark_all, mark_glm4, mark_sparse
from assay.inference.families.rotary import ROPE_LISTS, ROPE_NUMBERS, ROPE_TYPES
from tests.inference.family_models import make_fields

Json = Any
#: Which layers have a router, in words.
_ROUTED_LAYERS = {
    mark_all: "all",
    mark_sparse: "by decoder_sparse_step, without mlp_only_layers",
    mark_glm4: "from first_k_dense_replace",
}
#: What a field is tried with.
_VALUES: tuple[Json, ...] = (None, False, True, -1, 0, 1, 2, 7, 1.0, 0.5, 1 << 41, "", "x", [], {})
_LONG: dict[str, Json] = {
    "rope_type": "longrope",
    "original_max_position_embeddings": 64,
    "short_factor": [1.0, 1.5, 2, 3.0],
    "long_factor": [1.0, 2.5, 4, 8.0],
}
_LONG_ROPES: tuple[dict[str, Json], ...] = (
    {"rope_parameters": _LONG},
    {"rope_parameters": _LONG, "original_max_position_embeddings": 64},
    {"rope_parameters": _LONG, "original_max_position_embeddings": 32},
    *(
        {"rope_parameters": rope, "original_max_position_embeddings": 64}
        for rope in (
            {**_LONG, "short_factor": [1.0, 1.5, 2]},
            {**_LONG, "long_factor": [1.0, 2.5, 4, 0]},
            {k: v for k, v in _LONG.items() if k != "long_factor"},
        )
    ),
    {"rope_parameters": {**_LONG, "rope_type": "default"}},
)
#: Changes that rules of several fields find, each where a family has the fields.
_CHANGES: tuple[dict[str, Json], ...] = (
    {"is_causal": False},
    {"head_dim": 7},
    {"num_attention_heads": 5},
    {"num_key_value_heads": 3},
    {"layer_types": ["full_attention"]},
    {"layer_types": ["full_attention"] * 2},
    {"layer_types": ["sliding_attention"] * 2},
    {"layer_types": ["chunked_attention"] * 2},
    {"sliding_window": None},
    {"use_sliding_window": False},
    {"no_rope_layers": [1]},
    {"no_rope_layers": [0, 1]},
    {"no_rope_layers": [0, 2]},
    {"partial_rotary_factor": 0.1},
    {"rope_parameters": {}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rope_theta": 10_000},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}, "rope_theta": 20_000},
    {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
    {"rope_parameters": {"rope_type": "longrope", "factor": 2.0}},
    *_LONG_ROPES,
    {"rope_parameters": {"rope_type": "dynamic", "factor": 1.0, "alpha": 1000.0}},
    {"rope_parameters": {"rope_type": "dynamic", "factor": 1.0, "alpha": 0}},
    {"head_dim": 2, "rope_parameters": {"rope_type": "dynamic", "factor": 1.0, "alpha": 1000.0}},
    {"rope_parameters": {"rope_type": "linear"}},
    {"rope_parameters": {"type": "linear", "factor": 2}},
    {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}},
    {
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 2.0,
            "llama_4_scaling_beta": 0.1,
            "original_max_position_embeddings": 64,
        }
    },
    {
        "rope_parameters": {
            "rope_type": "llama3",
            "factor": 2.0,
            "low_freq_factor": 4.0,
            "high_freq_factor": 1.0,
        }
    },
    {"rope_parameters": {"partial_rotary_factor": 0.5}},
    {"rope_parameters": {"partial_rotary_factor": 0.3}},
    {"rope_parameters": {"partial_rotary_factor": 0.5}, "partial_rotary_factor": 1.0},
    {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
    {
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default"},
        }
    },
    {
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0},
            "sliding_attention": {"rope_type": "default"},
        }
    },
    {"rope_parameters": {"rope_type": "default"}, "rope_scaling": {"type": "default"}},
    {"num_kv_shared_layers": 0},
    {"num_kv_shared_layers": 2},
    {"num_kv_shared_layers": 3},
    {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
    {"attention_k_eq_v": True, "num_global_key_value_heads": 3},
    {"per_layer_config": {"00": {"head_dim": 12}, "2": {"num_key_value_heads": 1}}},
    {"per_layer_config": {"00": {"hidden_size": 12}}},
    {"per_layer_config": {"00": {}, "0": {}}},
    {"hidden_size_per_layer_input": 0},
    {"use_double_wide_mlp": False},
    {"full_attention_interval": 2},
    {"full_attention_interval": 1},
    {"mlp_only_layers": [0]},
    {"decoder_sparse_step": 2},
    {"first_k_dense_replace": 2},
    {"num_experts_per_tok": 6},
    {"experts_per_token": 1},
    {"experts_per_token": 2},
    {"num_experts": 2},
    {"num_experts": 0},
    {"num_experts": 6, "num_local_experts": 6},
    {"linear_num_key_heads": 3},
)


def make_families() -> Json:
    """The table; fields and changes with what is refused; each family's config and tensors."""
    return {
        "words": dict(WORDS),
        "sizes": dict(SIZES),
        "common": {name: rule.about for name, rule in COMMON.items()},
        "older": {name: rule.about for name, rule in OLDER_ROPE.items()},
        "rotary": {
            "types": {k: list(v) for k, v in ROPE_TYPES.items()},
            "lists": {k: list(v) for k, v in ROPE_LISTS.items()},
            "numbers": ROPE_NUMBERS,
        },
        "refused": sorted(REFUSED),
        "families": {kind: _describe(family) for kind, family in FAMILIES.items()},
        "values": _VALUES,
        "fields": list(_try_fields()),
        "changes": list(_try_changes()),
        "models": {kind: _make_model(kind) for kind in FAMILIES},
    }


def _describe(family: Family) -> Json:
    rotation = family.rotation
    return {
        "layer": [_write_group(group) for group in family.layer],
        "outside": [_write_group(group) for group in family.outside],
        "fields": {name: rule.about for name, rule in family.fields.items()},
        "defaults": dict(family.defaults),
        "required": list(family.required),
        "sizes": dict(family.sizes),
        "without": list(family.without),
        "kinds": list(family.kinds),
        "mask": family.mask.value,
        "experts": _describe_experts(family),
        "finish": None if family.finish is None else [family.finish.rule, family.finish.field],
        "rotary": {
            "types": list(rotation.types),
            "numbers": list(rotation.numbers),
            "switches": list(rotation.switches),
            "needs": list(rotation.needs),
            "fraction": float(rotation.fraction),
            "sections": rotation.sections,
            "by_layer": list(rotation.by_layer),
            "older": rotation.older,
        },
    }


def _describe_experts(family: Family) -> Json:
    experts = family.experts
    if experts is None or family.mark is None:
        return None
    layers = _ROUTED_LAYERS[family.mark]
    return {"counts": experts.counts, "chosen": CHOSEN, "layers": layers}


def _write_group(group: Tensors) -> Json:
    conditions = {"when": group.when, "unless": group.unless}
    return {"tensors": dict(group.shapes)} | {k: v for k, v in conditions.items() if v}


def _make_config(kind: str) -> dict[str, Json]:
    return {"model_type": kind, **make_fields(kind)}


def _make_model(kind: str) -> Json:
    config = _make_config(kind)
    shapes = {name: list(shape) for name, shape in iterate_tensors(config)}
    if FAMILIES[kind].is_tied(config):
        del shapes["lm_head.weight"]
    if (fault := find_misfit(config, shapes)) is not None:
        raise ValueError(f"{kind}: {fault}")
    return {"config": config, "tensors": shapes}


def _try_fields() -> Iterator[Json]:
    """[family, field, 1 for each of the values that is refused]: each rule of a field once."""
    tried = set()
    for kind, family in FAMILIES.items():
        rules = {name: rule.about for name, rule in list_fields(family).items()}
        config = _make_config(kind)
        for name, about in rules.items():
            if (name, about) in tried:
                continue
            tried.add((name, about))
            faults = [find_config_fault(config | {name: value}) for value in _VALUES]
            yield [kind, name, "".join("0" if fault is None else "1" for fault in faults)]


def _try_changes() -> Iterator[Json]:
    """[family, changes, refused]."""
    for kind, family in FAMILIES.items():
        config = _make_config(kind)
        known = {*list_fields(family), *SIZES, "is_causal", "head_dim"}
        for changes in _CHANGES:
            if changes.keys() <= known:
                fault = find_config_fault(config | changes)
                yield [kind, changes, fault is not None]
