"""Low-rank factors beside a model's matrices (Hu et al., "LoRA", 2021), through peft.

peft is of the extra `train`, and imported when it is asked for.
"""

from typing import Any

import torch
from torch import Tensor, nn

from assay.protocol.errors import OperatorError

#: What an adapter adds is scaled by this over the square root of the rank ("rsLoRA"): another rank
#: then needs no other learning rate.
_ALPHA = 16
_NAME = "default"


class MissingPeftError(OperatorError):
    """LoRA is asked for and peft is not there."""


def find_tied(model: nn.Module) -> set[str]:
    """Second names of weights: an output matrix that is the embedding's goes by the embedding's."""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return names - {name for name, _ in model.named_parameters()}


def add_factors(model: nn.Module, rank: int, seed: int) -> nn.Module:
    """The model with factors beside every linear layer but the output's; only they take gradients.

    The factors' product is zero at first. The same seed gives the same factors.

    Raises:
        MissingPeftError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingPeftError(
            "lora_rank needs peft: install the extra `train` (pip install 'assay[train]')"
        ) from None
    config = LoraConfig(
        r=rank, lora_alpha=_ALPHA, use_rslora=True, target_modules="all-linear", bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return get_peft_model(model, config).eval()


def merge_factors(model: nn.Module) -> dict[str, Tensor]:
    """Every weight of the model that was given to `add_factors`, by its name there, factors added.

    Computed beside the model: merging in place and back would change its last bits.
    """
    inner = model.get_base_model()  # type: ignore[operator] # peft's
    merged: dict[str, Tensor] = {}
    with torch.no_grad():
        tied = find_tied(inner)
        for name, weight in inner.state_dict().items():
            if ".lora_" in name or name in tied:
                continue
            layer, _, end = name.rpartition(".base_layer.")
            if layer:
                factors: Any = inner.get_submodule(layer)
                delta = factors.get_delta_weight(_NAME) if end == "weight" else 0.0
                merged[f"{layer}.{end}"] = weight + delta
            else:
                merged[name] = weight
    return merged
