"""Types of models that are refused by their names, and what is missing for each.

Any other type without a family is read by its own class, if it is a continuous function of its
tokens (`assay.inference.plain`). Of the types here that is known to fail, or there is no class.
"""

from collections.abc import Mapping
from types import MappingProxyType

_PICTURES = "it reads pictures, too: `assay adopt` keeps its text part"
_MIXTURE = "its router chooses experts by `topk`, and nothing ramps it here"
_INDEXER = "it chooses the tokens that it sees by `topk`, and nothing ramps that"
_CODE = "its code is not in the library transformers"

#: Types whose config has a text part, which is read alone.
SEEING = (
    *("gemma3", "gemma3n", "gemma4", "llama4", "mistral3", "qwen3_5", "qwen3_5_moe", "qwen3_vl"),
)
#: model_type → what is missing.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "bitnet": "its products are ternary, by kernels of its own",
        "deepseek_v4": f"{_MIXTURE}, and {_INDEXER}",
        "glm_moe_dsa": f"{_MIXTURE}, and {_INDEXER}",
        "kimi_k25": _CODE,
        "mimo": _CODE,
        "mimo_v2": _CODE,
        "step3": _CODE,
    }
    | dict.fromkeys(SEEING, _PICTURES)
    | dict.fromkeys(
        (
            *("afmoe", "dots1", "granitemoe", "hy_v3", "kimi_linear", "laguna", "lfm2_moe"),
            "minimax_m2",
        ),
        _MIXTURE,
    )
)
