"""Recurrent layers (gated DeltaNet) in the reference: torch's own functions, and packed rows.

A layer's own code reads the sequences of a packed row as rows of a batch, each from the state that
the sequence before it left (`assay.inference.packing`). No formula is written here.

Hugging Face's models take their functions from packages such as `fla` and `causal_conv1d` where
those are installed. A judge's arithmetic must not depend on that, so the layers get the library's
plain functions back, with chunks of one size.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from functools import cache, wraps
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from assay.inference.fixed_order import RowSums
from assay.inference.packing import Packing, RecurrentState, Segment
from assay.inference.placing.model_sizes import RECURRENT_CHUNK
from assay.inference.plain.states import name_cache

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
        plain = _find_plain(getattr(library, name))
        if getattr(plain, "__module__", None) != library.__name__:
            raise RuntimeError(f"{library.__name__} has no {name} of its own, but {plain}")
        setattr(library, name, _make_chunked(plain) if name == _RULE else plain)


def _find_plain(function: Any) -> Any:
    """The innermost function. Where the package `kernels` is installed, there is a module around
    it, so that a kernel of a hub could take its place."""
    while isinstance(function, nn.Module):
        function = inspect.getclosurevars(type(function).forward).nonlocals.get("func")
    return inspect.unwrap(function)


def _make_chunked(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule in chunks of one size, and in fp32 where a learner's other products are bf16."""

    @wraps(rule)
    def compute(query: Tensor, *args: Any, **others: Any) -> Any:
        # in a backward pass this may be another thread than the learner's
        is_ordered = query.is_cuda and torch.are_deterministic_algorithms_enabled()
        sums = RowSums() if is_ordered else nullcontext()
        with torch.autocast(query.device.type, enabled=False), sums:
            return rule(query, *args, chunk_size=RECURRENT_CHUNK, **others)

    return compute


@cache
def _make_segmented(kind: type) -> type:
    return type(f"Segmented{kind.__name__}", (_Segmented, kind), {})


class _Segmented(nn.Module):
    """A recurrent layer that keeps the sequences of a packed row apart."""

    layer_idx: int
    conv_kernel_size: int

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        packing: Packing | None = None,
        **others: Any,
    ) -> Tensor:
        """Hidden states [B, N, H] → [B, N, H].

        Raises:
            ValueError: packed, and there is a cache or a mask.
        """
        if packing is None:
            return self._read(hidden_states, attention_mask=attention_mask, **others)
        cached = name_cache(super())
        if others.pop(cached, None) is not None or attention_mask is not None:
            raise ValueError("packed rows hold whole sequences: neither masks nor caches")
        if len(hidden_states) > 1:
            raise ValueError("packed rows are one row")
        continued = {(s.shared_start, s.shared_end) for s in packing.segments}
        left: dict[tuple[int, int], RecurrentState] = {}
        found: dict[int, Tensor] = {}
        for batch in _make_batches(packing.segments, continued):
            before = [self._find_state(segment, left) for segment in batch]
            cache = _SegmentCache(self, _join(before))
            rows = [hidden_states[0, segment.start : segment.end] for segment in batch]
            given = {cached: cache, **others}
            states = self._read(pad_sequence(rows, batch_first=True), **given)
            for place, segment in enumerate(batch):
                found[segment.start] = states[place, : len(rows[place])]
                if segment.kept is not None:
                    state = tuple(part.clone() for part in cache.get_state(place))
                    segment.kept.replace_state(self.layer_idx, (state[0], state[1]))
                elif (segment.start, segment.end) in continued:
                    left[segment.start, segment.end] = cache.get_state(place)
        return torch.cat([found[start] for start in sorted(found)])[None]

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
    """The states of one layer and some sequences, in the form of the library's cache. Unlike that,
    it changes no tensor in place: gradients pass through states, and states can be shared."""

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

    # newer versions of the library ask for the same by these

    def is_recording_past(self, layer: int) -> bool:
        """See `record_past`."""
        return self.record_past

    def get_recurrent_state(self, layer: int, state_idx: int = 0) -> Tensor | None:
        """The state before the new tokens."""
        return self._state

    def get_conv_state(self, layer: int, state_idx: int = 0) -> Tensor | None:
        """The kept inputs before the new ones."""
        return self._inputs

    def update_conv_state(self, inputs: Tensor, layer: int, **_: Any) -> Tensor:
        """New inputs [S, channels, N] of the convolution, with the kept ones before them."""
        whole = inputs if self._inputs is None else torch.cat((self._inputs, inputs), dim=-1)
        # zeros stand before the first token; inputs beyond the kept ones are cut off
        self._inputs = functional.pad(whole, (self._kept_inputs - whole.shape[-1], 0))
        return whole

    def update_recurrent_state(self, state: Tensor, layer: int) -> None:
        """The state after the new tokens."""
        self._state = state

    def get_state(self, place: int) -> RecurrentState:
        """What one of the sequences has left behind, if none is longer."""
        assert self._inputs is not None
        assert self._state is not None
        return self._inputs[place : place + 1], self._state[place : place + 1]


def _make_batches(
    segments: Sequence[Segment], continued: Collection[tuple[int, int]]
) -> list[list[Segment]]:
    """Sequences that go through a layer together, padded: on a card each chunk would take as long
    for one of them. Those that others continue come first. A state behind padding is wrong, so all
    of whose state is needed have one length, and the others nearly one."""
    batches: dict[tuple[bool, bool, bool, int], list[Segment]] = {}
    for segment in segments:
        length = segment.end - segment.start
        is_continued = (segment.start, segment.end) in continued
        is_exact = is_continued or segment.kept is not None
        step = 1 if is_exact else 1 << max(0, length.bit_length() - 3)
        kind = not is_continued, segment.first > 0, is_exact, -(-length // step) * step
        batches.setdefault(kind, []).append(segment)
    return [batches[kind] for kind in sorted(batches)]


def _join(states: Sequence[RecurrentState | None]) -> RecurrentState | None:
    """The states of several sequences as one, or None where all begin."""
    there = [state for state in states if state is not None]
    if not there:
        return None
    assert len(there) == len(states), "sequences that begin are no batch with others"
    inputs, values = (torch.cat(parts) for parts in zip(*there, strict=True))
    return inputs, values
