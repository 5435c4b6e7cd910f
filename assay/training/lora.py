"""Low-rank factors beside a model's matrices (Hu et al., "LoRA", 2021), through peft.

peft belongs to the extra `train`, and is imported when it is needed.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from assay.protocol.errors import OperatorError
from assay.training.sharding import spread

#: An adapter's contribution is scaled by this over the square root of the rank ("rsLoRA"), so that
#: another rank needs no other learning rate.
_ALPHA = 16
_NAME = "default"
#: Parts of the names of factors, and of matrices beside factors.
_FACTOR, _BASE = ".lora_", "base_layer."


class MissingPeftError(OperatorError):
    """LoRA is requested and peft is not installed."""


def find_tied(model: nn.Module) -> set[str]:
    """Second names of weights: an output matrix that is tied to the embedding has the embedding's
    name."""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return names - {name for name, _ in model.named_parameters()}


def list_stacks(model: nn.Module) -> list[str]:
    """The names of stacked matrices: those of a mixture's experts, which no linear layer holds."""
    return [
        name for name, weight in model.named_parameters() if weight.dim() == 3 and "experts" in name
    ]


def _list_linear(model: Any) -> list[str]:
    """The names of the matrices of all linear layers but the output's."""
    output = model.get_output_embeddings()
    return [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not output
    ]


def add_factors(model: nn.Module, rank: int) -> nn.Module:
    """The model with factors beside every linear layer but the output's, and beside the matrices of
    each expert of a mixture. Only they take gradients.
    `draw_factors` gives them values.

    Raises:
        MissingPeftError: peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingPeftError(
            "lora_rank needs peft: install the extra `train` (pip install 'assay[train]')"
        ) from None
    stacks = list_stacks(model)
    # of a mixture, peft would leave out the linear layers that share a name with an expert's matrix
    named = {"target_modules": [], "target_parameters": [*_list_linear(model), *stacks]}
    config = LoraConfig(
        r=rank,
        lora_alpha=_ALPHA,
        use_rslora=True,
        bias="none",
        **(named if stacks else {"target_modules": "all-linear"}),
    )
    return get_peft_model(model, config).eval()


def draw_factors(model: nn.Module, seed: int) -> None:
    """Set the first values of factors, which may be spread over a team: one as peft draws it, the
    other zero, so that their product is zero. The same seed gives the same values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if f"{_FACTOR}A." in name:
                whole = torch.empty(weight.shape)
                nn.init.kaiming_uniform_(whole, a=math.sqrt(5), generator=generator)
                weight.copy_(spread(whole.to(weight.device), weight))
            elif f"{_FACTOR}B." in name:
                weight.zero_()


def get_base_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight of the model that was given to `add_factors`, by its name there, each once."""
    inner = model.get_base_model()  # type: ignore[operator] # peft's
    tied = find_tied(inner)
    return {
        name.replace(_BASE, ""): weight
        for name, weight in inner.state_dict().items()
        if _FACTOR not in name and name not in tied
    }


def merge_factors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The same with factors added.

    Computed beside the model: merging in place and undoing it would change the model's last bits.
    """
    inner = model.get_base_model()  # type: ignore[operator] # peft's
    for name, weight in get_base_weights(model).items():
        layer, _, end = name.rpartition(".")
        factors = _find_factors(inner.get_submodule(layer), end)
        with torch.no_grad():
            yield name, weight if factors is None else weight + factors.get_delta_weight(_NAME)


def _find_factors(module: Any, parameter: str) -> Any:
    """The module with the factors beside a parameter, or None. Around stacks of experts there is
    one for each of them."""
    while hasattr(module, "get_delta_weight"):
        if getattr(module, "parameter_name", "weight") == parameter:
            return module
        module = module.base_layer
    return None
