"""Types of models that Assay does not read, and what is missing for each."""

from collections.abc import Mapping
from types import MappingProxyType

_PICTURES = "it reads pictures, too: `assay adopt` keeps its text part"
_GROUPS = "its router chooses groups of experts first, a second step that nothing smooths here"
_MIXTURE = "its mixture of experts has a router that is not known here"
_LATENT = "its attention keeps compressed keys, which the packing does not know"
_MAMBA = (
    "its layers keep a Mamba state, which the packing does not carry from a prompt to completions"
)
_CONVOLUTION = "its convolutions would read across the sequences of a pack"
_CODE = "its code is not in the library transformers"

#: Types whose config has a text part, which is read alone.
SEEING = ("gemma3", "gemma4", "mistral3", "qwen3_5", "qwen3_5_moe", "qwen3_vl")
#: model_type → what is missing.
REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "bitnet": "its products are ternary, by kernels of its own",
        "deepseek_v2": _LATENT,
        "deepseek_v3": f"{_LATENT}, and {_GROUPS}",
        "deepseek_v4": f"{_LATENT}, and {_GROUPS}",
        "gemma3n": "its layers mix several streams and choose neurons, which is not known here",
        "glm_moe_dsa": f"{_LATENT}, and it chooses tokens to see",
        "internlm3": _CODE,
        "kimi_k25": f"{_LATENT}, and {_GROUPS}",
        "kimi_linear": f"{_LATENT}, and its linear layers keep a state that is not known here",
        "lfm2": _CONVOLUTION,
        "lfm2_moe": _CONVOLUTION,
        "llama4": "its attention sees chunks, which the packing does not know",
        "mimo": _CODE,
        "mimo_v2": _CODE,
        "nemotron": "its attention is its own, and does not read packs",
        "step3": _CODE,
    }
    | dict.fromkeys(SEEING, _PICTURES)
    | dict.fromkeys(
        (
            *("bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "mamba", "mamba2"),
            *("nemotron_h", "zamba", "zamba2"),
        ),
        _MAMBA,
    )
    | dict.fromkeys(("afmoe", "dots1", "granitemoe", "hy_v3", "laguna", "minimax_m2"), _MIXTURE)
)
