"""Groups of tensors that several families have, by their names on disk."""

from assay.inference.families.family import Tensors

ATTENTION = Tensors(
    "attention",
    {
        "self_attn.q_proj.weight": "q h",
        "self_attn.k_proj.weight": "k h",
        "self_attn.v_proj.weight": "k h",
        "self_attn.o_proj.weight": "h q",
    },
)
INNER_BIASES = Tensors(
    "biases of q, k, v",
    {"self_attn.q_proj.bias": "q", "self_attn.k_proj.bias": "k", "self_attn.v_proj.bias": "k"},
)
OUTER_BIAS = Tensors("bias behind attention", {"self_attn.o_proj.bias": "h"})
HEAD_NORMS = Tensors(
    "norms of heads", {"self_attn.q_norm.weight": "d", "self_attn.k_norm.weight": "d"}
)
ROW_NORMS = Tensors(
    "norms of q and k", {"self_attn.q_norm.weight": "q", "self_attn.k_norm.weight": "k"}
)
PLAIN = Tensors("MLP", {"mlp.up_proj.weight": "i h", "mlp.down_proj.weight": "h i"})
PLAIN_BIASES = Tensors("biases of the MLP", {"mlp.up_proj.bias": "i", "mlp.down_proj.bias": "h"})
GATED = Tensors("gated MLP", {"mlp.gate_proj.weight": "i h", **PLAIN.shapes})
GATED_BIASES = Tensors(
    "biases of the gated MLP", {"mlp.gate_proj.bias": "i", **PLAIN_BIASES.shapes}
)
FUSED = Tensors(
    "gated MLP, fused", {"mlp.gate_up_proj.weight": "2i h", "mlp.down_proj.weight": "h i"}
)
INPUT_NORM = Tensors("norm before attention", {"input_layernorm.weight": "h"})
MIDDLE_NORM = Tensors("norm before the MLP", {"post_attention_layernorm.weight": "h"})
NORMS = Tensors("two norms", {**INPUT_NORM.shapes, **MIDDLE_NORM.shapes})
NORMS_BEHIND = Tensors(
    "two norms behind",
    {"post_attention_layernorm.weight": "h", "post_feedforward_layernorm.weight": "h"},
)
FOUR_NORMS = Tensors(
    "four norms",
    {
        **NORMS.shapes,
        "pre_feedforward_layernorm.weight": "h",
        "post_feedforward_layernorm.weight": "h",
    },
)
#: Behind the last layer.
LAST_NORM = Tensors("norm behind the layers", {"model.norm.weight": "h"})
LAST_BIAS = Tensors("its bias", {"model.norm.bias": "h"})
