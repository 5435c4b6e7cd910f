"""Families with mixtures of experts. A router with several groups chooses twice, and only one of
the two is ramped: such a config.json is refused."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from assay.gate.rules import FLAG, Rule, is_integer, make_choice, make_number
from assay.inference.families.blocks import (
    ATTENTION,
    GATED,
    HEAD_NORMS,
    INNER_BIASES,
    LAST_NORM,
    NORMS,
    OUTER_BIAS,
    ROW_NORMS,
)
from assay.inference.families.family import SPARSE, Config, Experts, Family, Mask, Tensors
from assay.inference.families.fields import (
    CAP,
    COUNT,
    EPSILON,
    HEAD,
    LAYER_TYPES,
    NUMBER,
    OFF,
    POSITIONS,
    POSITIVE,
    WINDOW,
    make_only,
    make_optional,
)
from assay.inference.families.rotary import Rotation

_EXPERTS_MAX, _LAYERS_MAX = 1 << 12, 1 << 10
_NUMBER_OF = make_number(1, _EXPERTS_MAX)
INNER = make_number(1, 1 << 20)
_ONE = make_number(1, 1)
_PLAIN = {"hidden_act": make_choice("silu"), "rms_norm_eps": EPSILON}
#: Fields of routers.
ROUTED = {
    **_PLAIN,
    "num_experts_per_tok": _NUMBER_OF,
    "output_router_logits": FLAG,
    "router_aux_loss_coef": NUMBER,
}
_BIASES = (INNER_BIASES.under("attention_bias"), OUTER_BIAS.under("attention_bias"))


def _make_experts(about: str, gate: str, up: str, down: str, router: str, width: str) -> Tensors:
    """A router `[e, h]`, and experts of a width."""
    block = router.partition(".")[0]
    return Tensors(
        about,
        {
            f"{router}.weight": "e h",
            f"{block}.experts.{{e}}.{gate}.weight": f"{width} h",
            f"{block}.experts.{{e}}.{up}.weight": f"{width} h",
            f"{block}.experts.{{e}}.{down}.weight": f"h {width}",
        },
        when=SPARSE,
    )


_USUAL = ("gate_proj", "up_proj", "down_proj", "mlp.gate")
_EXPERTS = _make_experts("router and experts", *_USUAL, "i")
#: Of narrower experts than an MLP.
NARROW = _make_experts("router and narrow experts", *_USUAL, "m")
_MIXTRALS = _make_experts(
    "router and numbered experts", "w1", "w3", "w2", "block_sparse_moe.gate", "i"
)


def is_list_of_layers(value: Any) -> bool:
    """Whether a value is a list of layers, or null. A list is searched for each layer."""
    return value is None or (
        isinstance(value, list)
        and len(value) <= _LAYERS_MAX
        and all(is_integer(layer, 0, _LAYERS_MAX - 1) for layer in value)
    )


LAYERS = Rule("a list of at most 1024 layers, or null", is_list_of_layers)


def mark_sparse(config: Config, layer: int | None) -> set[str]:
    """The layers with routers, by the fields of Qwen3."""
    if layer is None or layer in (config.get("mlp_only_layers") or ()):
        return set()
    if config.get("num_experts") == 0:
        return set()
    return {SPARSE} if (layer + 1) % config.get("decoder_sparse_step", 1) == 0 else set()


def mark_all(_: Config, layer: int | None) -> set[str]:
    """All layers have routers."""
    return set() if layer is None else {SPARSE}


def mark_glm4(config: Config, layer: int | None) -> set[str]:
    return {SPARSE} if layer is not None and layer >= config["first_k_dense_replace"] else set()


_QWEN3_MOE = Family(
    layer=(ATTENTION, *_BIASES, HEAD_NORMS, NORMS, NARROW, GATED.under(unless=SPARSE)),
    fields={
        **ROUTED,
        "attention_bias": FLAG,
        "decoder_sparse_step": make_number(1, 1 << 10),
        "head_dim": HEAD,
        "max_window_layers": COUNT,
        "mlp_only_layers": LAYERS,
        "moe_intermediate_size": INNER,
        "norm_topk_prob": FLAG,
        "num_experts": _NUMBER_OF,
        "num_local_experts": _NUMBER_OF,
        "sliding_window": WINDOW,
        "use_sliding_window": OFF,
    },
    outside=(LAST_NORM,),
    required=("num_experts_per_tok", "moe_intermediate_size", "head_dim"),
    sizes={"m": "moe_intermediate_size"},
    mark=mark_sparse,
    experts=Experts(("num_experts", "num_local_experts"), normalised="norm_topk_prob"),
)
_OLMOE = Family(
    layer=(ATTENTION, *_BIASES, ROW_NORMS, NORMS, _EXPERTS),
    fields={
        **ROUTED,
        "attention_bias": FLAG,
        "clip_qkv": CAP,
        "norm_topk_prob": FLAG,
        "num_experts": _NUMBER_OF,
    },
    outside=(LAST_NORM,),
    required=("num_experts_per_tok", "num_experts"),
    mark=mark_all,
    experts=Experts(("num_experts",), normalised="norm_topk_prob"),
)
_MIXTRAL = Family(
    layer=(ATTENTION, NORMS, _MIXTRALS),
    fields={
        **ROUTED,
        "head_dim": make_optional(HEAD),
        "num_local_experts": _NUMBER_OF,
        "router_jitter_noise": NUMBER,
        "sliding_window": WINDOW,
    },
    outside=(LAST_NORM,),
    required=("num_experts_per_tok", "num_local_experts"),
    mask=Mask.WINDOW,
    mark=mark_all,
    experts=Experts(("num_local_experts",)),
)
#: With a gate.
SHARED_GATED = Tensors(
    "gated expert of all tokens",
    {
        "mlp.shared_expert.gate_proj.weight": "s h",
        "mlp.shared_expert.up_proj.weight": "s h",
        "mlp.shared_expert.down_proj.weight": "h s",
        "mlp.shared_expert_gate.weight": "1 h",
    },
    when=SPARSE,
)
_SHARED = Tensors(
    "experts of all tokens",
    {
        "mlp.shared_experts.gate_proj.weight": "s h",
        "mlp.shared_experts.up_proj.weight": "s h",
        "mlp.shared_experts.down_proj.weight": "h s",
        "mlp.gate.e_score_correction_bias": "e",
    },
    when=SPARSE,
)
_GLM4_MOE = Family(
    layer=(
        ATTENTION,
        INNER_BIASES.under("attention_bias"),
        HEAD_NORMS.under("use_qk_norm"),
        NORMS,
        NARROW,
        _SHARED,
        GATED.under(unless=SPARSE),
    ),
    fields={
        **_PLAIN,
        "attention_bias": FLAG,
        "first_k_dense_replace": COUNT,
        "head_dim": HEAD,
        "moe_intermediate_size": INNER,
        "n_group": _ONE,
        "n_routed_experts": _NUMBER_OF,
        "n_shared_experts": make_number(1, 1 << 8),
        "norm_topk_prob": FLAG,
        "num_experts_per_tok": _NUMBER_OF,
        "num_nextn_predict_layers": COUNT,  # of drafts, whose tensors no file may have
        "output_router_logits": FLAG,
        "partial_rotary_factor": NUMBER,
        "routed_scaling_factor": POSITIVE,
        "topk_group": _ONE,
        "use_qk_norm": FLAG,
    },
    outside=(LAST_NORM,),
    required=(
        "num_experts_per_tok",
        "n_routed_experts",
        "n_shared_experts",
        "moe_intermediate_size",
        "first_k_dense_replace",
        "head_dim",
        "n_group",
        "topk_group",
    ),
    sizes={"m": "moe_intermediate_size", "s": "n_shared_experts · moe_intermediate_size"},
    rotation=Rotation(fraction=0.5),
    mark=mark_glm4,
    experts=Experts(
        ("n_routed_experts",),
        sigmoid=True,
        normalised="norm_topk_prob",
        scaling="routed_scaling_factor",
    ),
)
_STACKED = Tensors(
    "router and stacked experts",
    {
        "mlp.router.weight": "e h",
        "mlp.router.bias": "e",
        "mlp.experts.gate_up_proj": "e h 2i",
        "mlp.experts.gate_up_proj_bias": "e 2i",
        "mlp.experts.down_proj": "e i h",
        "mlp.experts.down_proj_bias": "e h",
    },
    when=SPARSE,
)


def _find_gpt_oss_fault(config: Config) -> str | None:
    """The makers' own programs read another name, which no class of the library does."""
    named = config.get("experts_per_token", config["num_experts_per_tok"])
    if named != config["num_experts_per_tok"]:
        return "experts_per_token in config.json contradicts num_experts_per_tok: remove one"
    return None


_SINKS = Tensors("sinks", {"self_attn.sinks": "n"})
_GPT_OSS = Family(
    layer=(ATTENTION, *_BIASES, _SINKS, NORMS, _STACKED),
    fields={
        **ROUTED,
        "attention_bias": FLAG,
        "experts_per_token": _NUMBER_OF,
        "head_dim": HEAD,
        "initial_context_length": POSITIONS,
        "layer_types": LAYER_TYPES,
        "num_local_experts": _NUMBER_OF,
        "sliding_window": WINDOW,
        "swiglu_alpha": make_only(1.702),
        "swiglu_limit": POSITIVE,
    },
    outside=(LAST_NORM,),
    defaults={"attention_bias": True},
    required=(
        *("num_experts_per_tok", "num_local_experts", "head_dim", "layer_types", "sliding_window"),
        "rope_parameters",
    ),
    mask=Mask.BY_LAYER,
    kinds=("full_attention", "sliding_attention"),
    rotation=Rotation(switches=("truncate",), older=False),
    mark=mark_all,
    check=_find_gpt_oss_fault,
    experts=Experts(("num_local_experts",)),
)
_QWEN2_MOE = Family(
    layer=(
        ATTENTION,
        INNER_BIASES.under("qkv_bias"),
        NORMS,
        NARROW,
        SHARED_GATED,
        GATED.under(unless=SPARSE),
    ),
    fields={
        **ROUTED,
        "decoder_sparse_step": make_number(1, 1 << 10),
        "layer_types": LAYER_TYPES,
        "max_window_layers": COUNT,
        "mlp_only_layers": LAYERS,
        "moe_intermediate_size": INNER,
        "norm_topk_prob": FLAG,
        "num_experts": _NUMBER_OF,
        "qkv_bias": FLAG,
        "shared_expert_intermediate_size": INNER,
        "sliding_window": make_optional(COUNT),  # off
        "use_sliding_window": OFF,
    },
    outside=(LAST_NORM,),
    defaults={"qkv_bias": True},
    required=(
        *("num_experts_per_tok", "num_experts", "moe_intermediate_size"),
        "shared_expert_intermediate_size",
    ),
    sizes={"m": "moe_intermediate_size", "s": "shared_expert_intermediate_size"},
    kinds=("full_attention",),
    mark=mark_sparse,
    experts=Experts(("num_experts",), normalised="norm_topk_prob"),
)
#: Families with routers, by `model_type`.
MIXTURES: Mapping[str, Family] = MappingProxyType(
    {
        "glm4_moe": _GLM4_MOE,
        "gpt_oss": _GPT_OSS,
        "mixtral": _MIXTRAL,
        "olmoe": _OLMOE,
        "qwen2_moe": _QWEN2_MOE,
        "qwen3_moe": _QWEN3_MOE,
    }
)
