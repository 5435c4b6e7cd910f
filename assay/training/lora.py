"""Low-rank factors beside a model's matrices (Hu et al., "LoRA", 2021), through peft.

peft belongs to the extra `train`, and is imported when it is needed.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from assay.network.extras import require_package
from assay.training.sharding import gather, spread

#: An adapter's contribution is scaled by this over the square root of the rank ("rsLoRA"), so that
#: another rank needs no other learning rate.
_ALPHA = 16
_NAME = "default"
#: Parts of the names of factors, and of matrices beside factors.
_FACTOR, _BASE = ".lora_", "base_layer."


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


def list_linear(model: Any) -> list[str]:
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
        MissingExtraError: peft is not installed.
    """
    require_package("lora_rank", "peft", "train")
    from peft import LoraConfig, get_peft_model

    stacks = list_stacks(model)
    # of a mixture, peft would leave out the linear layers that share a name with an expert's matrix
    named = {"target_modules": [], "target_parameters": [*list_linear(model), *stacks]}
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


def get_factors(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """The factors of each weight that has some, by its name: left [*stack, rows, rank] and right
    [*stack, rank, columns], the scale in one of them. fp32, on the CPU; in a team whole in each
    process."""
    return {
        name: _split_stack(
            weight,
            module,
            gather(module.lora_B[_NAME].weight.detach()).cpu() * module.scaling[_NAME],
            gather(module.lora_A[_NAME].weight.detach()).cpu(),
        )
        for name, weight, module in _list_factors(model)
    }


def set_factors(model: nn.Module, factors: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Set factors as `get_factors` returns them. Raises a ValueError where they are of another
    model or rank."""
    found = list(_list_factors(model))
    if {name for name, _, _ in found} != factors.keys():
        raise ValueError("the factors are of other weights")
    for name, weight, module in found:
        pair = _join_stack(weight, module, *factors[name])
        places = module.lora_B[_NAME].weight, module.lora_A[_NAME].weight
        scales = module.scaling[_NAME], 1.0
        for part, place, scale in zip(pair, places, scales, strict=True):
            if part.shape != place.shape:
                raise ValueError(f"the factors of {name} have another size")
            with torch.no_grad():
                place.copy_(spread((part / scale).to(place.device), place))


def _list_factors(model: nn.Module) -> Iterator[tuple[str, Tensor, Any]]:
    """Each weight with factors, and the module that has them."""
    inner = model.get_base_model()  # type: ignore[operator] # peft's
    for name, weight in get_base_weights(model).items():
        layer, _, end = name.rpartition(".")
        module = _find_factors(inner.get_submodule(layer), end)
        if module is not None:
            yield name, weight, module


def _split_stack(weight: Tensor, module: Any, b: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """peft's two factors of a weight as left and right ones. Beside a stack it has one matrix for
    the factors of all experts."""
    if weight.dim() == 2:
        return b, a
    experts = len(weight)
    right = a.reshape(experts, -1, a.shape[-1])
    left = b.reshape(len(b), -1, experts).permute(2, 0, 1)
    if _is_transposed(module):
        return right.transpose(-2, -1), left.transpose(-2, -1)
    return left, right


def _join_stack(weight: Tensor, module: Any, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same back."""
    if weight.dim() == 2:
        return left, right
    if _is_transposed(module):
        left, right = right.transpose(-2, -1), left.transpose(-2, -1)
    b = left.permute(1, 2, 0).reshape(left.shape[1], -1)
    return b, right.reshape(-1, right.shape[-1])


def _is_transposed(module: Any) -> bool:
    """Return whether a family's stacks are [experts, in, out], as its own code says."""
    return bool(getattr(module.get_base_layer(), "is_transposed", False))


def _find_factors(module: Any, parameter: str) -> Any:
    """The module with the factors beside a parameter, or None. Around stacks of experts there is
    one for each of them."""
    while hasattr(module, "get_delta_weight"):
        if getattr(module, "parameter_name", "weight") == parameter:
            return module
        module = module.base_layer
    return None
