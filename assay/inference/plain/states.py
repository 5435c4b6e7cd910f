"""Runs a class as it is, and takes the states in front of its output matrix.

A hook on the output matrix sees its input, which is the state that draws the next token. While it
is seen, the matrix gets the last position alone: logits of all positions would cost more than many
a model, and nobody here reads them. Nothing of the class is replaced, so it does what it would do
for anybody.

This module does not know whether the class reads only the tokens before a position: `probes` do.
"""

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from assay.inference.head import Finisher

#: The names by which a class's forward pass takes a cache, the one of newer versions first.
_CACHES = ("cache", "past_key_values", "cache_params")


@dataclass(frozen=True, slots=True)
class PlainHead:
    """What is known of a plain model's head.

    Attributes:
        output: the output matrix's place in the model, as `get_submodule` takes it.
        finisher: what follows it.
    """

    output: str
    finisher: Finisher


class _Seen(threading.local):
    """What this thread's pass has put into the output matrix."""

    is_asked = False
    states: Tensor | None = None


_SEEN = _Seen()


def _see(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if not _SEEN.is_asked or not args:
        return None
    _SEEN.states = args[0]
    return (args[0][..., -1:, :], *args[1:])


def get_plain_head(model: Any) -> PlainHead | None:
    """The head of a model that is read plainly; None: a family describes it."""
    head: PlainHead | None = getattr(model, "plain_head", None)
    return head


def choose_attention(model: Any, wanted: str = "sdpa") -> str:
    """The attention that a class has, by Hugging Face's name: the wanted one, or its only one. The
    library's kernels cap no scores."""
    has_kernels = type(model)._supports_sdpa  # noqa: SLF001 - classes declare it by this name
    capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    return wanted if has_kernels and not capped else "eager"


def find_output(model: Any) -> tuple[str, nn.Module]:
    """The output matrix of a class and its place. Raises a ValueError where it has none that is
    linear."""
    output = model.get_output_embeddings()
    place = next((name for name, module in model.named_modules() if module is output), None)
    weight = getattr(output, "weight", None)
    if output is None or place is None or weight is None or weight.dim() != 2:
        raise ValueError("its class has no output matrix of its own")
    return place, output


def see_states(model: nn.Module, place: str) -> None:
    """Let `read_states` see what goes into the output matrix. Once for each model, and after its
    modules have changed."""
    module: Any = model.get_submodule(place)
    hooks = module._forward_pre_hooks  # noqa: SLF001 - a copied model has its hooks
    if _see not in hooks.values():
        module.register_forward_pre_hook(_see)


@contextmanager
def _seeing() -> Iterator[_Seen]:
    before = _SEEN.is_asked, _SEEN.states
    _SEEN.is_asked, _SEEN.states = True, None
    try:
        yield _SEEN
    finally:
        _SEEN.is_asked, _SEEN.states = before


def read_states(model: Any, ids: Tensor, cache: Any = None) -> Tensor:
    """The states of rows of tokens, int64 [B, T] → [B, T, H].

    Args:
        model: a class's, seen by `see_states`.
        cache: of the tokens before, which takes these, too; None: there are none.

    Raises:
        ValueError: the class asked its output matrix for something else.
    """
    given = {"use_cache": False} if cache is None else {name_cache(model): cache, "use_cache": True}
    with _seeing() as seen:
        model(input_ids=ids, **given)
        states = seen.states
    if states is None or states.shape[:-1] != ids.shape:
        raise ValueError("its class gives its output matrix no state for each token")
    return states


def name_cache(model: Any) -> str:
    """How a forward pass of a class, or of a layer, takes a cache. Raises a ValueError where it
    takes none."""
    taken = inspect.signature(model.forward).parameters
    name = next((name for name in _CACHES if name in taken), None)
    if name is None:
        raise ValueError("its class takes no cache")
    return name


def make_cache(model: Any) -> DynamicCache:
    """An empty cache for a class."""
    return DynamicCache(config=model.config)


class PlainModel:
    """A class's model as `Reference` takes one: it reads rows that are padded on the right.

    Args:
        model: with a `plain_head`. Its modules are not changed.
    """

    dtype = torch.float32
    packs = False

    def __init__(self, model: Any) -> None:
        head = get_plain_head(model)
        assert head is not None, "a family describes this model"
        self.plain_head = head
        self.twin = model
        self.config = model.config
        self.device = model.device
        see_states(model, head.output)

    def model(self, input_ids: Tensor, use_cache: bool = False) -> "PlainStates":
        """States of int64 [B, T]: float32 [B, T, H]."""
        return PlainStates(read_states(self.twin, input_ids))

    @property
    def lm_head(self) -> Any:
        """The output matrix, with its bias."""
        return self.twin.get_submodule(self.plain_head.output)


@dataclass(frozen=True, slots=True)
class PlainStates:
    """The result of a pass, named as Hugging Face names it: float32 [B, T, H]."""

    last_hidden_state: Tensor
