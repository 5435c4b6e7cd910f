"""Other models over the weights of one that is loaded."""

import copy
from itertools import chain
from typing import Any

from transformers import PreTrainedModel

from assay.inference.recurrent import prepare_recurrent_layers
from assay.inference.routing import ramp_routers


def copy_sharing(model: PreTrainedModel, attention: str) -> Any:
    """The same modules and configuration once more, over the same parameters and buffers. Its
    recurrent layers read packed rows, and its routers are ramped.

    Args:
        model: unchanged.
        attention: of the copy, by Hugging Face's name.

    Raises:
        ValueError: it is a mixture of experts without a ramp.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    twin = copy.deepcopy(model, shared)
    twin.set_attn_implementation(attention)
    if getattr(model, "plain_head", None) is None:  # of a class without a family nothing changes
        prepare_recurrent_layers(twin)
        ramp_routers(twin)
    return twin
