"""Tiny hybrids that are larger than those of all families: a prompt of them takes many chunks."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from assay.inference.families import FAMILIES
from assay.inference.families.hybrid import RECURRENT
from tests.inference.family_models import make_config, make_model

#: Every family with recurrent layers.
KINDS = tuple(kind for kind, family in FAMILIES.items() if RECURRENT in family.kinds)
VOCABULARY = 512
#: ε of a mixture's routers, 2^-20: half a logit.
RAMP = 1 << 19


def build_hybrid(
    kind: str,
    vocabulary: int = VOCABULARY,
    layer_types: Sequence[str] = (RECURRENT, "full_attention", RECURRENT),
) -> PreTrainedModel:
    """In fp32, with weights that bf16 holds; its logits have a standard deviation of about 1.5."""
    layers = len(layer_types)
    dense = {"mlp_only_layers": list(range(layers))} if kind == "qwen3_next" else {}
    config = make_config(
        kind,
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        layer_types=list(layer_types),
        head_dim=16,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        max_position_embeddings=2_048,
        **dense,
    )
    model: Any = make_model(config)
    model.router_ramp = RAMP  # the slope of a narrower one would multiply the states' rounding
    built: PreTrainedModel = model
    return built
