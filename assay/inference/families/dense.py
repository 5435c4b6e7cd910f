"""Families whose layers are attention and one MLP."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from assay.gate.rules import FLAG, NOTHING, Rule, is_integer, is_text, make_choice, make_number
from assay.inference.families.blocks import (
    ATTENTION,
    FOUR_NORMS,
    FUSED,
    GATED,
    GATED_BIASES,
    HEAD_NORMS,
    INNER_BIASES,
    INPUT_NORM,
    LAST_BIAS,
    LAST_NORM,
    NORMS,
    NORMS_BEHIND,
    OUTER_BIAS,
    PLAIN,
    PLAIN_BIASES,
    ROW_NORMS,
)
from assay.inference.families.family import Config, Family, Finish, Mask, Tensors
from assay.inference.families.fields import (
    CAP,
    COUNT,
    EPSILON,
    FRACTION_RULE,
    HEAD,
    IDS,
    LAYER_TYPES,
    NUMBER,
    OFF,
    ON,
    POSITIVE,
    WINDOW,
    make_only,
    make_optional,
)
from assay.inference.families.rotary import COMMON_TYPES, FRACTION, Rotation
from assay.protocol.encoding import Json

_WINDOWS = ("full_attention", "sliding_attention")
_SILU = {"hidden_act": make_choice("silu"), "rms_norm_eps": EPSILON}
_SIZED = {"head_dim": HEAD}
_EITHER = {"head_dim": make_optional(HEAD)}
_TYPED = {"layer_types": LAYER_TYPES, "sliding_window": WINDOW}
_SWITCHED = {**_TYPED, "use_sliding_window": FLAG, "max_window_layers": COUNT}
_BIASED = {"attention_bias": FLAG}
_ONE = make_number(1, 1)
_PATTERN = make_number(1, 1 << 10)
_TANH = make_choice("gelu_pytorch_tanh")
_GEMMA = {
    **_SIZED,
    **_BIASED,
    "hidden_activation": _TANH,
    "rms_norm_eps": EPSILON,
    "use_bidirectional_attention": Rule("false or null", lambda v: v is False or v is None),
}
#: Gemma 2 and 3: some of their files repeat the activation, and name a kind of cache.
_GEMMA_WINDOWS = {
    **_GEMMA,
    **_TYPED,
    "attn_logit_softcapping": CAP,
    "cache_implementation": make_only("hybrid"),
    "final_logit_softcapping": CAP,
    "hidden_act": _TANH,
    "query_pre_attn_scalar": POSITIVE,
}
_BIASES = (INNER_BIASES.under("attention_bias"), OUTER_BIAS.under("attention_bias"))
_CAPPED = Finish("cap", "final_logit_softcapping")
_SCALED = Finish("multiply", "logit_scale")
_HALF = Rotation(fraction=0.5)
#: Gemma's and Olmo's: a layer's type has its own angles.
_BY_LAYER = Rotation(by_layer=_WINDOWS)
_ORIGINAL = "original_max_position_embeddings"
_TIED = {"tie_word_embeddings": True}


def _make_gemma(layer: tuple[Tensors, ...], fields: Mapping[str, Rule], **more: Any) -> Family:
    defaults = {**_TIED, "head_dim": 256, **more.pop("defaults", {})}
    return Family(layer, fields, more.pop("outside", (LAST_NORM,)), defaults, **more)


def _make_layered(layer: tuple[Tensors, ...], fields: Mapping[str, Rule], **more: Any) -> Family:
    """A family with windows in some layers."""
    return Family(
        layer, {**_TYPED, **fields}, (LAST_NORM,), mask=Mask.BY_LAYER, kinds=_WINDOWS, **more
    )


def _find_rotated_fault(config: Config) -> str | None:
    """SmolLM3 turns queries and keys in some layers only."""
    layers, rotated = config["num_hidden_layers"], config.get("no_rope_layers")
    if rotated is not None and not (
        len(rotated) == layers and all(is_integer(turned, 0, 1) for turned in rotated)
    ):
        return f"no_rope_layers in config.json is not a list of {layers} of 0 and 1"
    return None


def _find_phi3_fault(config: Config) -> str | None:
    """Its class scales long angles by the original length beside the object, or its own default."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type")) != "longrope" or _ORIGINAL in config:
        return None
    return f"config.json has a longrope, and no {_ORIGINAL} beside it"


# --- Gemma 4: heads of another size where a layer sees all tokens, layers that use the keys of an
# earlier one, and further inputs of each layer.
_LAYER_NAME = re.compile("[0-9]{1,4}")
_OVERRIDES = {"head_dim": HEAD, "num_key_value_heads": make_number(1, 1 << 12)}


def _is_layer_config(value: Json) -> bool:
    """Whether a value has changes for layers, by their numbers in text, one a layer."""
    if not isinstance(value, dict) or not all(_LAYER_NAME.fullmatch(name) for name in value):
        return False
    return len({int(name) for name in value}) == len(value) and all(
        isinstance(changes, dict)
        and all(key in _OVERRIDES and _OVERRIDES[key].holds(of) for key, of in changes.items())
        for changes in value.values()
    )


def _lay_out_gemma4(config: Config, layer: int | None) -> dict[str, int]:
    inputs = config.get("hidden_size_per_layer_input", 256)
    if layer is None:
        return {"s": config["num_hidden_layers"] * inputs}
    values = {"w": config["intermediate_size"]}
    if config.get("use_double_wide_mlp", False) and _uses_earlier_keys(config, layer):
        values["w"] *= 2
    changes, here = config.get("per_layer_config"), dict[str, Any]()
    if changes is not None:
        names = (f"{layer:0{digits}}" for digits in range(1, 5))
        here = next((changes[name] for name in names if name in changes), {})
    elif config["layer_types"][layer] == "full_attention":
        here = {"head_dim": config.get("global_head_dim", 512)}
        if config.get("attention_k_eq_v", False):
            here["num_key_value_heads"] = config.get("num_global_key_value_heads")
    named = {"d": here.get("head_dim"), "g": here.get("num_key_value_heads")}
    return values | {word: value for word, value in named.items() if value}


def _mark_gemma4(config: Config, layer: int | None) -> set[str]:
    marks = set()
    if config.get("hidden_size_per_layer_input", 256):
        marks.add("inputs")
    if layer is None:
        return marks
    if _uses_earlier_keys(config, layer):
        marks |= {"earlier keys", "earlier values"}
    if config.get("attention_k_eq_v", False) and config["layer_types"][layer] == "full_attention":
        marks.add("earlier values")
    return marks


def _uses_earlier_keys(config: Config, layer: int) -> bool:
    first: int = config["num_hidden_layers"] - config.get("num_kv_shared_layers", 0)
    return layer >= first


def _find_gemma4_fault(config: Config) -> str | None:
    kinds, layers = config["layer_types"], config["num_hidden_layers"]
    shared = config.get("num_kv_shared_layers", 0)
    if kinds[-1] != "full_attention":
        return "layer_types in config.json does not end with full_attention"
    if (
        config.get("hidden_size_per_layer_input", 256)
        and config.get("vocab_size_per_layer_input", 1 << 18) < config["vocab_size"]
    ):
        return "vocab_size_per_layer_input in config.json is less than vocab_size"
    if shared >= layers or not {*kinds[layers - shared :]} <= {*kinds[: layers - shared]}:
        return "num_kv_shared_layers in config.json leaves a layer without keys of its type"
    for layer in range(layers):
        values = GEMMA4.measure(config, layer)
        if values["n"] % values["g"] or values["d"] % 2:
            return f"config.json gives layer {layer} heads that do not fit each other"
    return None


GEMMA4 = _make_gemma(
    (
        Tensors("queries", {"self_attn.q_proj.weight": "q h", "self_attn.q_norm.weight": "d"}),
        Tensors(
            "keys",
            {"self_attn.k_proj.weight": "k h", "self_attn.k_norm.weight": "d"},
            unless="earlier keys",
        ),
        Tensors("values", {"self_attn.v_proj.weight": "k h"}, unless="earlier values"),
        Tensors("behind attention", {"self_attn.o_proj.weight": "h q"}),
        Tensors(
            "gated MLP of its width",
            {
                "mlp.gate_proj.weight": "w h",
                "mlp.up_proj.weight": "w h",
                "mlp.down_proj.weight": "h w",
            },
        ),
        FOUR_NORMS,
        Tensors("scale of the layer", {"layer_scalar": "1"}),
        Tensors(
            "inputs of the layer",
            {
                "per_layer_input_gate.weight": "p h",
                "per_layer_projection.weight": "h p",
                "post_per_layer_input_norm.weight": "h",
            },
            "inputs",
        ),
    ),
    {
        **_GEMMA,
        **_TYPED,
        "attention_bias": OFF,
        "attention_k_eq_v": FLAG,
        "enable_moe_block": OFF,
        "final_logit_softcapping": CAP,
        "global_head_dim": HEAD,
        "hidden_size_per_layer_input": make_number(0, 1 << 16),
        "moe_intermediate_size": NOTHING,
        "num_experts": NOTHING,
        "num_global_key_value_heads": make_optional(make_number(1, 1 << 12)),
        "num_kv_shared_layers": make_number(0, 1 << 10),
        "per_layer_config": Rule(
            "layers' numbers with head_dim and num_key_value_heads", _is_layer_config
        ),
        "top_k_experts": NOTHING,
        "use_bidirectional_attention": NOTHING,
        "use_double_wide_mlp": FLAG,
        "vocab_size_per_layer_input": make_number(1, 1 << 20),
    },
    outside=(
        LAST_NORM,
        Tensors(
            "inputs of layers",
            {
                "model.embed_tokens_per_layer.weight": "u s",
                "model.per_layer_model_projection.weight": "s h",
                "model.per_layer_projection_norm.weight": "p",
            },
            "inputs",
        ),
    ),
    defaults={"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 1 << 18},
    required=("layer_types",),
    sizes={"p": "hidden_size_per_layer_input", "u": "vocab_size_per_layer_input"},
    mask=Mask.BY_LAYER,
    kinds=_WINDOWS,
    finish=_CAPPED,
    rotation=Rotation(
        types=(*COMMON_TYPES, "proportional"), fraction=1, by_layer=_WINDOWS, older=False
    ),
    lay_out=_lay_out_gemma4,
    mark=_mark_gemma4,
    check=_find_gemma4_fault,
)

#: By `model_type`.
DENSE: Mapping[str, Family] = MappingProxyType(
    {
        "llama": Family(
            (ATTENTION, GATED, NORMS, *_BIASES, GATED_BIASES.under("mlp_bias")),
            {**_SILU, **_EITHER, **_BIASED, "mlp_bias": FLAG, "pretraining_tp": _ONE},
            (LAST_NORM,),
        ),
        "qwen2": Family(
            (ATTENTION, INNER_BIASES, GATED, NORMS),
            {**_SILU, **_SIZED, **_SWITCHED, "use_mrope": OFF},
            (LAST_NORM,),
            mask=Mask.BY_LAYER,
            kinds=_WINDOWS,
        ),
        "qwen3": Family(
            (ATTENTION, HEAD_NORMS, GATED, NORMS, *_BIASES),
            {**_SILU, **_SIZED, **_SWITCHED, **_BIASED},
            (LAST_NORM,),
            {"head_dim": 128},
            mask=Mask.BY_LAYER,
            kinds=_WINDOWS,
        ),
        "mistral": Family(
            (ATTENTION, GATED, NORMS),
            {**_SILU, **_EITHER, "sliding_window": WINDOW},
            (LAST_NORM,),
            mask=Mask.WINDOW,
        ),
        "ministral": _make_layered(
            (ATTENTION, GATED, NORMS), {**_SILU, **_SIZED}, required=("head_dim",)
        ),
        "ministral3": Family(
            (ATTENTION, GATED, NORMS),
            {**_SILU, **_SIZED, "sliding_window": WINDOW},
            (LAST_NORM,),
            {"head_dim": 128},
            mask=Mask.WINDOW,
            rotation=Rotation(
                numbers=(
                    "llama_4_scaling_beta",
                    "max_position_embeddings",
                    "mscale",
                    "mscale_all_dim",
                ),
                needs=("llama_4_scaling_beta", "original_max_position_embeddings"),
                older=False,
            ),
        ),
        "smollm3": _make_layered(
            (ATTENTION, GATED, NORMS, *_BIASES, GATED_BIASES.under("mlp_bias")),
            {
                **_SILU,
                **_SWITCHED,
                **_BIASED,
                "mlp_bias": FLAG,
                "no_rope_layer_interval": _PATTERN,
                "no_rope_layers": LAYER_TYPES,
                "pretraining_tp": make_number(1, 2),  # of older files, and read by nothing
            },
            defaults=_TIED,
            check=_find_rotated_fault,
        ),
        "olmo": Family(
            (ATTENTION, GATED, *_BIASES),
            {"hidden_act": make_choice("silu"), **_BIASED, "clip_qkv": CAP},
            (),
        ),
        "olmo2": Family(
            (ATTENTION, ROW_NORMS, GATED, NORMS_BEHIND, *_BIASES),
            {**_SILU, **_BIASED},
            (LAST_NORM,),
        ),
        "olmo3": _make_layered(
            (ATTENTION, ROW_NORMS, GATED, NORMS_BEHIND, *_BIASES),
            {**_SILU, **_BIASED},
            rotation=_BY_LAYER,
        ),
        "gemma": _make_gemma(
            (ATTENTION, GATED, NORMS, *_BIASES),
            {name: rule for name, rule in _GEMMA.items() if name != "hidden_activation"}
            | {"hidden_act": _TANH, "hidden_activation": make_choice(None, "gelu_pytorch_tanh")},
        ),
        "gemma2": _make_gemma(
            (ATTENTION, GATED, FOUR_NORMS, *_BIASES),
            _GEMMA_WINDOWS,
            mask=Mask.BY_LAYER,
            kinds=_WINDOWS,
            finish=_CAPPED,
        ),
        "gemma3_text": _make_gemma(
            (ATTENTION, HEAD_NORMS, GATED, FOUR_NORMS, *_BIASES),
            {
                **_GEMMA_WINDOWS,
                "_sliding_window_pattern": _PATTERN,
                "rope_local_base_freq": POSITIVE,
                "sliding_window_pattern": _PATTERN,
            },
            mask=Mask.BY_LAYER,
            kinds=_WINDOWS,
            finish=_CAPPED,
            rotation=_BY_LAYER,
        ),
        "gemma4_text": GEMMA4,
        "phi3": Family(
            (
                Tensors(
                    "attention, fused",
                    {"self_attn.qkv_proj.weight": "q+2k h", "self_attn.o_proj.weight": "h q"},
                ),
                FUSED,
                NORMS,
            ),
            {
                **_SILU,
                **_SIZED,
                "attention_bias": OFF,
                "embd_pdrop": NUMBER,
                _ORIGINAL: make_number(1, 1 << 31),
                FRACTION: FRACTION_RULE,
                "resid_pdrop": NUMBER,
                "sliding_window": WINDOW,
            },
            (LAST_NORM,),
            mask=Mask.WINDOW,
            rotation=Rotation(types=("default", "longrope"), fraction=1),
            check=_find_phi3_fault,
        ),
        "granite": Family(
            (ATTENTION, GATED, NORMS, *_BIASES, GATED_BIASES.under("mlp_bias")),
            {
                **_SILU,
                **_SIZED,
                **_BIASED,
                "attention_multiplier": POSITIVE,
                "embedding_multiplier": POSITIVE,
                "logits_scaling": POSITIVE,
                "mlp_bias": FLAG,
                "residual_multiplier": POSITIVE,
            },
            (LAST_NORM,),
            finish=Finish("divide", "logits_scaling"),
        ),
        "glm": Family(
            (ATTENTION, INNER_BIASES.under("attention_bias"), FUSED, NORMS),
            {**_SILU, **_SIZED, **_BIASED, FRACTION: FRACTION_RULE},
            (LAST_NORM,),
            {"head_dim": 128, "attention_bias": True},
            rotation=_HALF,
        ),
        "glm4": Family(
            (
                ATTENTION,
                INNER_BIASES.under("attention_bias"),
                FUSED,
                NORMS,
                Tensors(
                    "two further norms",
                    {"post_self_attn_layernorm.weight": "h", "post_mlp_layernorm.weight": "h"},
                ),
            ),
            {**_SILU, **_SIZED, **_BIASED, FRACTION: FRACTION_RULE},
            (LAST_NORM,),
            {"head_dim": 128, "attention_bias": True},
            rotation=_HALF,
        ),
        "exaone4": _make_layered(
            (ATTENTION, HEAD_NORMS, GATED, NORMS_BEHIND),
            {
                **_SILU,
                **_SIZED,
                "sliding_window_pattern": Rule(
                    "an integer from 0 to 1024, a text, or null",
                    lambda v: v is None or is_integer(v, 0, 1 << 10) or is_text(v),
                ),
            },
            required=("layer_types",),
        ),
        "seed_oss": Family(
            (
                ATTENTION,
                INNER_BIASES.under("attention_bias"),
                OUTER_BIAS.under("attention_out_bias"),
                GATED,
                GATED_BIASES.under("mlp_bias"),
                NORMS,
            ),
            {
                **_SILU,
                **_SIZED,
                **_BIASED,
                "attention_out_bias": FLAG,
                "mlp_bias": FLAG,
                "pretraining_tp": _ONE,
                "residual_dropout": NUMBER,
            },
            (LAST_NORM,),
            {"head_dim": 128, "attention_bias": True},
        ),
        "cohere": Family(
            (
                ATTENTION,
                GATED,
                INPUT_NORM,
                *_BIASES,
                Tensors(
                    "norms of each head",
                    {"self_attn.q_norm.weight": "n d", "self_attn.k_norm.weight": "g d"},
                    "use_qk_norm",
                ),
            ),
            {
                **_SIZED,
                **_BIASED,
                "hidden_act": make_choice("silu"),
                "layer_norm_eps": EPSILON,
                "logit_scale": POSITIVE,
                "use_qk_norm": FLAG,
            },
            (LAST_NORM,),
            _TIED,
            finish=_SCALED,
        ),
        "cohere2": _make_layered(
            (ATTENTION, GATED, INPUT_NORM, *_BIASES),
            {
                **_SIZED,
                **_BIASED,
                "cache_implementation": make_only("hybrid"),
                "hidden_act": make_choice("silu"),
                "layer_norm_eps": EPSILON,
                "layer_switch": _PATTERN,
                "logit_scale": POSITIVE,
                "order_of_interleaved_layers": make_only("local_attn_first"),
                "position_embedding_type": make_only("rope_gptj"),
                "rotary_pct": make_only(1.0),
                "sliding_window_pattern": _PATTERN,
                "use_embedding_sharing": ON,
                "use_gated_activation": ON,
                "use_parallel_block": ON,
                "use_parallel_embedding": ON,
                "use_qk_norm": OFF,
            },
            defaults=_TIED,
            finish=_SCALED,
        ),
        "starcoder2": Family(
            (
                ATTENTION,
                Tensors("MLP of two", {"mlp.c_fc.weight": "i h", "mlp.c_proj.weight": "h i"}),
                NORMS,
                Tensors(
                    "biases of norms",
                    {"input_layernorm.bias": "h", "post_attention_layernorm.bias": "h"},
                ),
                INNER_BIASES.under("use_bias"),
                OUTER_BIAS.under("use_bias"),
                Tensors(
                    "biases of the MLP of two",
                    {"mlp.c_fc.bias": "i", "mlp.c_proj.bias": "h"},
                    "use_bias",
                ),
            ),
            {
                **_EITHER,
                "embedding_dropout": NUMBER,
                "hidden_act": _TANH,
                "norm_epsilon": EPSILON,
                "residual_dropout": NUMBER,
                "sliding_window": WINDOW,
                "use_bias": FLAG,
            },
            (LAST_NORM, LAST_BIAS),
            {**_TIED, "use_bias": True},
            mask=Mask.WINDOW,
        ),
        "apertus": Family(
            (
                ATTENTION,
                HEAD_NORMS,
                PLAIN,
                Tensors(
                    "numbers of xIELU",
                    {
                        "mlp.act_fn.alpha_n": "1",
                        "mlp.act_fn.alpha_p": "1",
                        "mlp.act_fn.beta": "",
                        "mlp.act_fn.eps": "",
                    },
                ),
                Tensors(
                    "two norms, by other names",
                    {"attention_layernorm.weight": "h", "feedforward_layernorm.weight": "h"},
                ),
                *_BIASES,
            ),
            {
                **_SIZED,
                **_BIASED,
                "hidden_act": make_choice("xielu"),
                "mlp_bias": OFF,
                "post_norm": OFF,
                "qk_norm": ON,
                "rms_norm_eps": EPSILON,
            },
            (LAST_NORM,),
        ),
        "hunyuan_v1_dense": Family(
            (
                ATTENTION,
                Tensors(
                    "norms of heads, by other names",
                    {
                        "self_attn.query_layernorm.weight": "d",
                        "self_attn.key_layernorm.weight": "d",
                    },
                ),
                GATED,
                NORMS,
                *_BIASES,
            ),
            {**_SILU, **_SIZED, **_BIASED, "eod_token_id": IDS, "pretraining_tp": _ONE},
            (LAST_NORM,),
            required=("head_dim",),
            rotation=Rotation(types=(*COMMON_TYPES, "dynamic"), numbers=("alpha",)),
        ),
        "arcee": Family(
            (ATTENTION, PLAIN, NORMS, *_BIASES, PLAIN_BIASES.under("mlp_bias")),
            {
                **_EITHER,
                **_BIASED,
                "hidden_act": make_choice("relu2"),
                "mlp_bias": FLAG,
                "rms_norm_eps": EPSILON,
            },
            (LAST_NORM,),
        ),
        "helium": Family(
            (
                ATTENTION,
                INNER_BIASES.under("attention_bias"),
                GATED,
                GATED_BIASES.under("mlp_bias"),
                NORMS,
            ),
            {**_SILU, **_SIZED, **_BIASED, "mlp_bias": FLAG},
            (LAST_NORM,),
            {"head_dim": 128},
        ),
        "ernie4_5": Family(
            (
                ATTENTION,
                GATED,
                NORMS,
                INNER_BIASES.under("use_bias"),
                OUTER_BIAS.under("use_bias"),
                GATED_BIASES.under("use_bias"),
            ),
            {**_SILU, **_SIZED, "use_bias": FLAG},
            (LAST_NORM,),
            {**_TIED, "head_dim": 128},
        ),
    }
)
