"""Families of which most layers are recurrent: gated DeltaNet."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from assay.gate.rules import FLAG, Rule, make_choice, make_number
from assay.inference.families.blocks import ATTENTION, GATED, HEAD_NORMS, LAST_NORM, NORMS
from assay.inference.families.family import SPARSE, Config, Experts, Family, Tensors
from assay.inference.families.fields import (
    EPSILON,
    FRACTION_RULE,
    HEAD,
    LAYER_TYPES,
    OFF,
    ON,
    make_only,
)
from assay.inference.families.mixtures import (
    INNER,
    LAYERS,
    NARROW,
    ROUTED,
    SHARED_GATED,
    mark_all,
    mark_sparse,
)
from assay.inference.families.rotary import FRACTION, Rotation

#: The recurrent layers' name in `layer_types`.
RECURRENT = "linear_attention"
_ATTENDING = "full_attention"
#: Queries come with a gate of their size.
_GATED_ATTENTION = Tensors(
    "attention with a gate", {**ATTENTION.shapes, "self_attn.q_proj.weight": "2q h"}
)
_DELTA_NET = Tensors(
    "gated DeltaNet",
    {
        "linear_attn.A_log": "ln",
        "linear_attn.conv1d.weight": "2lk+lv 1 lc",
        "linear_attn.dt_bias": "ln",
        "linear_attn.norm.weight": "ld",
        "linear_attn.out_proj.weight": "h lv",
    },
    RECURRENT,
)
_APART = Tensors(
    "its inputs apart",
    {
        "linear_attn.in_proj_a.weight": "ln h",
        "linear_attn.in_proj_b.weight": "ln h",
        "linear_attn.in_proj_qkv.weight": "2lk+lv h",
        "linear_attn.in_proj_z.weight": "lv h",
    },
    RECURRENT,
)
_FUSED = Tensors(
    "its inputs, fused",
    {"linear_attn.in_proj_ba.weight": "2ln h", "linear_attn.in_proj_qkvz.weight": "2lk+2lv h"},
    RECURRENT,
)
_HEADS = make_number(1, 1 << 12)
_WIDTH = make_number(1, 1 << 8)  # a state, which no tensor shows, is a width times the other
_SIZES = {
    "linear_conv_kernel_dim": make_number(2, 64),
    "linear_key_head_dim": _WIDTH,
    "linear_num_key_heads": _HEADS,
    "linear_num_value_heads": _HEADS,
    "linear_value_head_dim": _WIDTH,
}
_WORDS = {
    "lc": "linear_conv_kernel_dim",
    "ld": "linear_value_head_dim",
    "lk": "linear_num_key_heads · linear_key_head_dim",
    "ln": "linear_num_value_heads",
    "lv": "linear_num_value_heads · linear_value_head_dim",
}
_FIELDS = {
    **_SIZES,
    FRACTION: FRACTION_RULE,
    "attention_bias": OFF,
    "full_attention_interval": make_number(1, 1 << 10),
    "head_dim": HEAD,
    "hidden_act": make_choice("silu"),
    "layer_types": LAYER_TYPES,
    "rms_norm_eps": EPSILON,
}
#: Of a mixture in the layers.
_MIXTURE = {
    **ROUTED,
    "moe_intermediate_size": INNER,
    "num_experts": make_number(0, 1 << 12),
    "shared_expert_intermediate_size": INNER,
}
#: Where some layers may have none.
_MIXED = {
    **_MIXTURE,
    "decoder_sparse_step": make_number(1, 1 << 10),
    "mlp_only_layers": LAYERS,
    "norm_topk_prob": FLAG,
}


def _find_fault(config: Config) -> str | None:
    """The reason why no layers are built by these fields, or others than layer_types says."""
    kinds, interval = config["layer_types"], config.get("full_attention_interval")
    if config["linear_num_value_heads"] % config["linear_num_key_heads"]:
        return "linear_num_key_heads in config.json does not divide linear_num_value_heads"
    if _ATTENDING not in kinds:
        return f"layer_types in config.json has no {_ATTENDING}"
    periodic = [(number + 1) % (interval or 1) == 0 for number in range(len(kinds))]
    if interval is not None and periodic != [kind == _ATTENDING for kind in kinds]:
        return "full_attention_interval in config.json contradicts layer_types: remove it"
    return None


def _make_hybrid(
    inputs: Tensors, mlp: tuple[Tensors, ...], fields: Mapping[str, Rule], **more: Any
) -> Family:
    return Family(
        (
            _DELTA_NET,
            inputs,
            _GATED_ATTENTION.under(_ATTENDING),
            HEAD_NORMS.under(_ATTENDING),
            *mlp,
            NORMS,
        ),
        {**_FIELDS, **fields},
        (LAST_NORM,),
        required=("head_dim", "layer_types", *_SIZES, *more.pop("required", ())),
        sizes={**_WORDS, **more.pop("sizes", {})},
        kinds=(_ATTENDING, RECURRENT),
        check=_find_fault,
        **more,
    )


_EXPERTS_SIZES = {"m": "moe_intermediate_size", "s": "shared_expert_intermediate_size"}
_QWEN3_5 = {
    "attn_output_gate": ON,
    "mamba_ssm_dtype": make_choice("float32"),
    "mlp_only_layers": make_only([]),
}
_SECTIONS = Rotation(fraction=0.25, sections=True, switches=("mrope_interleaved",))
HYBRID: Mapping[str, Family] = MappingProxyType(
    {
        "qwen3_5_text": _make_hybrid(_APART, (GATED,), _QWEN3_5, rotation=_SECTIONS),
        "qwen3_5_moe_text": _make_hybrid(
            _APART,
            (NARROW, SHARED_GATED),
            {**_QWEN3_5, **_MIXTURE},
            required=("num_experts_per_tok", *_EXPERTS_SIZES.values()),
            sizes=_EXPERTS_SIZES,
            rotation=_SECTIONS,
            mark=mark_all,
            experts=Experts(("num_experts",)),
            without=("intermediate_size",),
        ),
        "qwen3_next": _make_hybrid(
            _FUSED,
            (NARROW, SHARED_GATED, GATED.under(unless=SPARSE)),
            _MIXED,
            sizes=_EXPERTS_SIZES,
            rotation=Rotation(fraction=0.25),
            mark=mark_sparse,
            experts=Experts(("num_experts",), normalised="norm_topk_prob"),
        ),
    }
)
