"""Implementations of the reference, by name: one checkpoint's weights, several ways to multiply.

Permitted implementations differ by less than the cap (`assay calibrate` measures it), and miners
and validators may use any of them. The others exist to show that calibration refuses them. All of
them share the weights of the model that they are made from.
"""

import copy
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.inference.block_attention import BLOCK_ATTENTION
from assay.inference.head import get_output
from assay.inference.packing import PACKED_ATTENTION, Packing
from assay.inference.placing.model_sizes import MemoryPlan
from assay.inference.placing.precision import require_exact_products
from assay.inference.plain.states import PlainModel, choose_attention, get_plain_head, read_states
from assay.inference.reading import Batch, CausalModel, read_alone
from assay.inference.recurrent import prepare_recurrent_layers
from assay.inference.reference import Reference, Texts
from assay.inference.routing import has_routers
from assay.inference.split_model import SplitModel, States
from assay.inference.twins import copy_sharing
from assay.protocol.errors import OperatorError


class ImplementationError(OperatorError):
    """An implementation that does not exist, or that cannot run this model."""


def make_twin(model: PreTrainedModel, attention: str) -> PreTrainedModel:
    """The same parameters under another attention implementation. `model` is unchanged.

    Args:
        attention: Hugging Face's name.

    Raises:
        ValueError: the model is not in fp32, or is a mixture without a ramp.
    """
    if model.dtype != torch.float32:
        raise ValueError(f"it computes in float32, and the model is {model.dtype}")
    twin: PreTrainedModel = copy_sharing(model, attention)
    return twin


def make_reading_twin(model: PreTrainedModel) -> CausalModel:
    """The same parameters in the form that reads fastest: packed rows, or by its own class where no
    family describes it."""
    return PlainModel(make_plain_twin(model)) if get_plain_head(model) else make_packing_twin(model)


def make_learning_twin(model: PreTrainedModel) -> PreTrainedModel:
    """The same parameters as `read_pack` reads them, a module of torch's."""
    return make_plain_twin(model) if get_plain_head(model) else make_packing_twin(model)


def make_plain_twin(model: PreTrainedModel, attention: str = "sdpa") -> PreTrainedModel:
    """The same parameters of a model that is read plainly, under its class's own `attention`, or
    the only one that it has."""
    return make_twin(model, choose_attention(model, attention))


def make_packing_twin(model: PreTrainedModel) -> PreTrainedModel:
    """The same parameters, with torch's own attention for several sequences in one row."""
    twin: Any = make_twin(model, PACKED_ATTENTION)
    twin.packs = True
    packing: PreTrainedModel = twin
    return packing


def make_alone(model: PreTrainedModel) -> CausalModel:
    """The model itself, if it is what the reference computes. A mixture's routers are ramped there,
    and the library's kernels cap no scores."""
    if get_plain_head(model):
        return make_reading_twin(model)
    capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    return make_packing_twin(model) if capped or has_routers(model) else model


class RoundedModel:
    """The model in bf16 throughout, as an engine would serve it. It is not a reference."""

    dtype = torch.float32  # of its results

    def __init__(self, model: PreTrainedModel) -> None:
        self._rounded: Any = copy.deepcopy(model).bfloat16()
        self.plain_head = get_plain_head(model)
        self.packs = self.plain_head is None
        if self.packs:
            self._rounded.set_attn_implementation(PACKED_ATTENTION)
            prepare_recurrent_layers(self._rounded)
        self.config = model.config
        self.device = model.device

    def model(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        packing: Packing | None = None,
        use_cache: bool = False,
    ) -> States:
        """The same as `SplitModel.model`."""
        if self.plain_head is not None:
            return States(read_states(self._rounded, input_ids).float())
        out = self._rounded.model(
            input_ids, position_ids=position_ids, packing=packing, use_cache=use_cache
        )
        return States(out.last_hidden_state.float())

    def lm_head(self, states: Tensor) -> Tensor:
        """The same as `SplitModel.lm_head`."""
        products: Tensor = get_output(self._rounded)(states.to(torch.bfloat16))
        return products.float()


def _make_eager(model: PreTrainedModel) -> CausalModel:
    if get_plain_head(model):
        return PlainModel(make_plain_twin(model, "eager"))
    return make_twin(model, BLOCK_ATTENTION)


#: Those that miners and validators may use. Any two of them agree within the cap.
PERMITTED = MappingProxyType[str, Callable[[PreTrainedModel], CausalModel]](
    {"fp32-sdpa": make_reading_twin, "fp32-eager": _make_eager, "split3": SplitModel}
)
#: Those that differ by too much, to show that calibration refuses them.
REFUSED = MappingProxyType[str, Callable[[PreTrainedModel], CausalModel]](
    {"bf16": RoundedModel, "split2": lambda model: SplitModel(model, terms=2)}
)
DEFAULT_IMPLEMENTATION = "fp32-sdpa"
APPEAL_IMPLEMENTATION = "fp32-eager"
#: The second opinion on a model that its own class reads, which may have one attention only.
SPLIT_IMPLEMENTATION = "split3"


def require_known(implementation: str) -> None:
    """Raise an ImplementationError where there is no implementation of that name. For use before
    minutes of work."""
    known = (*PERMITTED, *REFUSED)
    if implementation not in known:
        names = ", ".join(known)
        raise ImplementationError(f"no implementation {implementation!r}: one of {names}")


def require_permitted(implementation: str) -> None:
    """Raise an ImplementationError where no miner or validator may use the implementation."""
    if implementation not in PERMITTED:
        names = ", ".join(PERMITTED)
        raise ImplementationError(f"implementation {implementation!r} is none of {names}")


def find_pair(model: PreTrainedModel) -> tuple[str, str]:
    """The two implementations that measure a model's rates. A class with one attention only, or
    none, is compared with its split products."""
    if get_plain_head(model):
        ids = torch.arange(24, device=model.device)[None] % model.config.vocab_size
        with torch.inference_mode():
            one, other = (
                make_model(model, name).model(ids).last_hidden_state
                for name in (DEFAULT_IMPLEMENTATION, APPEAL_IMPLEMENTATION)
            )
        if torch.equal(one, other):
            return DEFAULT_IMPLEMENTATION, SPLIT_IMPLEMENTATION
    return DEFAULT_IMPLEMENTATION, APPEAL_IMPLEMENTATION


def make_model(model: PreTrainedModel, implementation: str) -> CausalModel:
    """A model over the weights of `model`, fp32 and in evaluation mode; `split3` takes bf16, too.
    Turns off everything that would round its products (`assay.inference.placing.precision`). Raises
    an ImplementationError where there is none of that name, or it cannot run this architecture."""
    require_known(implementation)
    require_exact_products()
    try:
        return {**PERMITTED, **REFUSED}[implementation](model)
    except ValueError as error:
        raise ImplementationError(f"{implementation} cannot run this model: {error}") from None


class PlainReference(Reference):
    """The plainest reference: one completion at a time, read with its prompt.

    It gives a second opinion on a packed prefill with a shared prompt, since its shapes differ.
    """

    def _iterate_states(self, texts: Texts, plan: MemoryPlan) -> Iterator[Batch]:
        return read_alone(self.model, texts.prompts, texts.rows, texts.replies)
