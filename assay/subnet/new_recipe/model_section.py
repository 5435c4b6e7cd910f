"""`[model]` of a new recipe: the sizes in an adopted config.json."""

from collections.abc import Mapping
from typing import Any

from assay.inference.families.fields import COMMON, OLDER_ROPE
from assay.inference.plain_config import PLAIN_SIZES, is_plain
from assay.subnet.model_numbers import ModelNumbers
from assay.subnet.new_recipe.writing import Entry

#: Fields that nothing counted depends on, besides those that every family has.
_OTHER = frozenset(
    {"hidden_act", "hidden_activation", "layer_norm_eps", "norm_eps", "rms_norm_eps"}
)
_CONTEXT = "max_position_embeddings"
_SIZES = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "tie_word_embeddings",
)
_NAME_MAX = 200


def list_model_entries(
    name: str, config: Mapping[str, Any], weights: int
) -> tuple[list[Entry], list[Entry]]:
    """The entries of `[model]` and of `[model.config]`.

    Args:
        name: where the model's folder is from.
        config: as an adoption completes it.
        weights: all of them, for a type that no family describes.
    """
    named = Entry("name", name[:_NAME_MAX])
    if is_plain(config):
        sizes = ("model_type", *PLAIN_SIZES)
        entries = [Entry(key, config[key]) for key in sizes]
        tied = bool(config.get("tie_word_embeddings", False))
        more = [
            Entry("tie_word_embeddings", tied),
            Entry("weights", weights, "no family counts it"),
        ]
        kept = {_CONTEXT: config[_CONTEXT]} if config.get(_CONTEXT) else {}
        return [named, *entries, *more], [Entry(key, kept[key]) for key in kept]
    given = {**config, "tie_word_embeddings": bool(config.get("tie_word_embeddings", False))}
    entries = [Entry(key, given[key]) for key in _SIZES if given.get(key) is not None]
    left_out = {*_SIZES, *_OTHER, *OLDER_ROPE, *(COMMON.keys() - {_CONTEXT})}
    kept = {
        key: value
        for key, value in sorted(config.items())
        if key not in left_out and key not in ModelNumbers.model_fields and _is_stated(key, value)
    }
    return [named, *entries], [Entry(key, value) for key, value in kept.items()]


def _is_stated(key: str, value: Any) -> bool:
    """Whether a field says something that a recipe has room for."""
    if value is None or isinstance(value, Mapping):
        return False
    return key != "layer_types" or set(value) != {"full_attention"}
