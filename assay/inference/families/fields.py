"""Rules for the fields of a config.json."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from assay.gate.rules import FLAG, Rule, is_integer, is_text, make_choice, make_number
from assay.inference.families.rotary import is_number
from assay.protocol.encoding import Json

#: The sizes that every config.json has, and the most that each may be.
SIZES: Mapping[str, int] = MappingProxyType(
    {
        "vocab_size": 1 << 20,
        "hidden_size": 1 << 16,
        "intermediate_size": 1 << 20,
        "num_hidden_layers": 1 << 10,
        "num_attention_heads": 1 << 12,
        "num_key_value_heads": 1 << 12,
    }
)
#: The most that a head's size may be.
HEAD_MAX = 1 << 12


def make_optional(rule: Rule) -> Rule:
    """The rule for a field that may be null."""
    return Rule(f"{rule.about}, or null", lambda v: v is None or rule.holds(v))


def make_only(value: Json) -> Rule:
    """The rule for a field with one legal value: with any other, other programs compute another
    model, or this one does."""
    return Rule(json.dumps(value), lambda v: type(v) is type(value) and v == value)


def _are_ids(value: Json) -> bool:
    ids = value if isinstance(value, list) else [value]
    return value is None or (len(ids) <= 16 and all(is_integer(i, 0, (1 << 32) - 1) for i in ids))


NUMBER = Rule("a number", is_number)
#: What a norm adds to a mean square: a negative one makes numbers that are none.
EPSILON = Rule("a number of at least 0", lambda v: is_number(v) and v >= 0)
POSITIVE = Rule("a number above 0", lambda v: is_number(v) and v > 0)
FRACTION_RULE = Rule("a number above 0, at most 1", lambda v: is_number(v) and 0 < v <= 1)
IDS = Rule("an id, at most 16 of them, or null", _are_ids)
POSITIONS = make_number(1, 1 << 31)
COUNT = make_number(0, 1 << 31)
HEAD = make_number(2, HEAD_MAX)
WINDOW = make_optional(POSITIONS)
LAYER_TYPES = Rule("a list or null", lambda v: v is None or isinstance(v, list))
OBJECT = Rule("an object or null", lambda v: v is None or isinstance(v, dict))
CAP = make_optional(POSITIVE)
OFF = make_only(value=False)
ON = make_only(value=True)
_DTYPE = make_choice(None, "bfloat16", "float16", "float32")
_NAMES = Rule(
    "at most 4 names, or null",
    lambda v: v is None or (isinstance(v, list) and len(v) <= 4 and all(map(is_text, v))),
)
#: The fields that every family may have, besides sizes and model_type. An unknown one could have a
#: meaning in some version of a library.
COMMON: Mapping[str, Rule] = MappingProxyType(
    {
        "architectures": _NAMES,
        "attention_dropout": NUMBER,
        "bos_token_id": IDS,
        "dtype": _DTYPE,
        "eos_token_id": IDS,
        "initializer_range": NUMBER,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": IDS,
        "rope_parameters": OBJECT,
        "tie_word_embeddings": FLAG,
        "torch_dtype": _DTYPE,
        "transformers_version": Rule("a text", is_text),
        "use_cache": FLAG,
    }
)
#: The older fields of rotary angles.
OLDER_ROPE: Mapping[str, Rule] = MappingProxyType(
    {
        "rope_scaling": OBJECT,
        "rope_theta": Rule("a number above 1", lambda v: is_number(v) and v > 1),
    }
)
