"""Which config.json the plain path takes, before any library acts on it.

Of a type without a family no table says which fields are legal. So this checks only what our own
programs read, and what would let a folder's code run. The rest is decided by the class itself,
which a child process builds without values (`opening`), and by a network's parameters, which fix
the bytes of config.json.
"""

import re
from collections.abc import Mapping
from typing import Any

from assay.gate.rules import is_integer
from assay.inference.families import FAMILIES, REFUSED, SEEING
from assay.inference.families.fields import SIZES
from assay.protocol.encoding import Json

#: The sizes that every config.json of the plain path has, by these names.
PLAIN_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers")
#: What a folder may name to have its own code run.
_CODE = ("auto_map", "custom_pipelines")
_TYPE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_plain(config: Json) -> bool:
    """Whether a config.json, parsed, is of a type that no family describes."""
    kind = config.get("model_type") if isinstance(config, Mapping) else None
    return isinstance(kind, str) and kind not in FAMILIES


def find_learning_conflict(*, is_shared: bool, has_factors: bool) -> str | None:
    """The reason why a model of a type without a family is not learned by settings, or None. Some
    of their classes multiply by a layer's weight themselves, past its factors, and none is known to
    stay the same when its modules are shared by processes.

    Args:
        is_shared: by a team's processes, or offloaded. has_factors: LoRA's factors learn.
    """
    instead = "no family describes the model, whose own class reads it: set"
    if is_shared:
        return f"{instead} processes = 1 and offload = false"
    return f"{instead} lora_rank = 0" if has_factors else None


def find_plain_type_fault(kind: Any) -> str | None:
    """The reason why no model of a `model_type` without a family is read, or None: its class may
    yet be refused, or not be there."""
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        return f"model_type {repr(kind)[:60]} in config.json is no type of models"
    for name in (kind, kind.removesuffix("_text")):
        if name in REFUSED and (name == kind or name not in SEEING):
            return f"model_type {kind} in config.json: {REFUSED[name]}"
    return None


def find_plain_fault(config: Json) -> str | None:
    """The reason why a config.json of a type without a family is not read, or None."""
    if not isinstance(config, dict):
        return "config.json is not an object"
    fault = find_plain_type_fault(config.get("model_type"))
    if fault is not None:
        return fault
    for name in _CODE:
        if name in config:
            return f"{name} in config.json: code of a folder never runs"
    if config.get("quantization_config") is not None:
        return "quantization_config in config.json: weights are bf16"
    for name in PLAIN_SIZES:
        if not is_integer(config.get(name), 1, SIZES[name]):
            return f"{name} in config.json is not 1 to {SIZES[name]}"
    return None
