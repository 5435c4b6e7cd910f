"""Recurrent layers (gated DeltaNet) in the reference: torch's own functions, and packed rows.

A layer's own code reads each sequence of a packed row by itself, and starts from the state that the
sequence before it left (`assay.inference.packing`). No formula is written here.

Hugging Face's models take their functions from packages such as `fla` and `causal_conv1d` where
those are installed. A judge's arithmetic must not depend on that, so the layers get the library's
plain functions back, with chunks of one size.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import cache, wraps
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from assay.inference.packing import Packing, RecurrentState, Segment
from assay.inference.placing.model_sizes import RECURRENT_CHUNK

#: Classes of the layers that are known here.
GATED_DELTA_NETS = ("Qwen3NextGatedDeltaNet", "Qwen3_5GatedDeltaNet", "Qwen3_5MoeGatedDeltaNet")
#: The functions that packages may replace.
_RULE = "torch_chunk_gated_delta_rule"
_FUNCTIONS = (_RULE, "torch_recurrent_gated_delta_rule", "causal_conv1d_fn", "causal_conv1d_update")


def prepare_recurrent_layers(model: nn.Module) -> None:
    """Let the recurrent layers of a model compute by torch's own functions, and read packed rows.
    Models without such layers stay as they are. May be called again.

    Raises:
        RuntimeError: this version of transformers has no plain function of that name.
    """
    for module in model.modules():
        kind: Any = type(module)  # types of modules are not hashable to mypy
        if kind.__name__ in GATED_DELTA_NETS:
            _name_functions(sys.modules[kind.__module__])
            module.__class__ = _make_segmented(kind)


@cache
def _name_functions(library: ModuleType) -> None:
    """Put plain functions in the place of those that a package offers."""
    for name in _FUNCTIONS:
        plain = inspect.unwrap(getattr(library, name))
        if plain.__module__ != library.__name__:
            raise RuntimeError(f"{library.__name__} has no {name} of its own, but {plain}")
        setattr(library, name, _make_chunked(plain) if name == _RULE else plain)


def _make_chunked(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule in chunks of one size, and in fp32 where a learner's other products are bf16."""

    @wraps(rule)
    def compute(query: Tensor, *args: Any, **others: Any) -> Any:
        with torch.autocast(query.device.type, enabled=False):
            return rule(query, *args, chunk_size=RECURRENT_CHUNK, **others)

    return compute


@cache
def _make_segmented(kind: type) -> type:
    return type(f"Segmented{kind.__name__}", (_Segmented, kind), {})


class _Segmented(nn.Module):
    """A recurrent layer that reads each sequence of a packed row by itself."""

    layer_idx: int
    conv_kernel_size: int

    def forward(
        self,
        hidden_states: Tensor,
        cache_params: Any = None,
        attention_mask: Tensor | None = None,
        packing: Packing | None = None,
        **others: Any,
    ) -> Tensor:
        """Hidden states [B, N, H] → [B, N, H].

        Raises:
            ValueError: packed, and there is a cache or a mask.
        """
        if packing is None:
            return self._read(hidden_states, cache_params, attention_mask, **others)
        if cache_params is not None or attention_mask is not None:
            raise ValueError("packed rows hold whole sequences: neither masks nor caches")
        continued = {(s.shared_start, s.shared_end) for s in packing.segments}
        left: dict[tuple[int, int], RecurrentState] = {}
        parts = []
        for segment in packing.segments:
            bounds = segment.start, segment.end
            cache = _SegmentCache(self, self._find_state(segment, left))
            parts.append(self._read(hidden_states[:, slice(*bounds)], cache, None, **others))
            if segment.kept is not None:
                segment.kept.replace_state(self.layer_idx, cache.get_state())
            elif bounds in continued:
                left[bounds] = cache.get_state()
        return torch.cat(parts, dim=1)

    def _read(self, *args: Any, **others: Any) -> Tensor:
        read: Any = super().forward  # the library's own
        states: Tensor = read(*args, **others)
        return states

    def _find_state(
        self, segment: Segment, left: Mapping[tuple[int, int], RecurrentState]
    ) -> RecurrentState | None:
        """The state from which a sequence starts; None: it is the first."""
        if segment.kept is not None:
            return segment.kept.get_state(self.layer_idx)
        return left[segment.shared_start, segment.shared_end] if segment.first else None


class _SegmentCache:
    """The state of one layer and one sequence, in the form of the library's cache. Unlike that, it
    changes no tensor in place, so that gradients pass through states, and states can be shared."""

    record_past = True  # the layer's way for any number of tokens

    def __init__(self, layer: _Segmented, before: RecurrentState | None) -> None:
        self._kept_inputs = layer.conv_kernel_size - 1
        self._inputs: Tensor | None
        self._state: Tensor | None
        self._inputs, self._state = before or (None, None)
        self.layers = {layer.layer_idx: self}

    def has_previous_state(self, layer: int, state_idx: int = 0) -> bool:
        """Return whether tokens were read before."""
        return self._state is not None

    @property
    def recurrent_states(self) -> tuple[Tensor | None]:
        """The state before the new tokens."""
        return (self._state,)

    def update_conv_state(self, inputs: Tensor, layer: int, **_: Any) -> Tensor:
        """New inputs [1, channels, N] of the convolution, with the kept ones before them."""
        whole = inputs if self._inputs is None else torch.cat((self._inputs, inputs), dim=-1)
        # zeros stand before the first token; inputs beyond the kept ones are cut off
        self._inputs = functional.pad(whole, (self._kept_inputs - whole.shape[-1], 0))
        return whole

    def update_recurrent_state(self, state: Tensor, layer: int) -> None:
        """The state after the new tokens."""
        self._state = state

    def get_state(self) -> RecurrentState:
        """What the sequence has left behind."""
        assert self._inputs is not None
        assert self._state is not None
        return self._inputs, self._state
