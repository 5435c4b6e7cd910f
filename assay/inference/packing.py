"""Many sequences in one row of tokens, without padding, with a shared prompt read once.

Every part of a decoder but attention works on tokens one by one, and takes the row as it is. Only
attention must know where sequences begin. It is computed for each sequence separately: its queries
see their own sequence and the one that it continues, which is another sequence of the row before
it, or one whose keys and values were kept. So completions of one prompt follow it in the row, and
none of them is padded.

A card starts kernels more slowly than it computes a short sequence: there, short ones of about one
length that continue the same sequence are attended together, padded behind their ends, where no
query of theirs looks. A learner's are on a processor too: their last bits may depend on each other,
and a completion of 30 tokens costs a small model twice as much alone.

Recurrent layers must know it, too (`assay.inference.recurrent`): a sequence starts from the state
that the one it continues has left.

This module does not know any model. `attend_for_models` is attention as Hugging Face's models call
it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface

from assay.inference.attention import BLOCK, attend
from assay.inference.placing.model_sizes import KEYS_TOGETHER

#: The name by which Hugging Face's models find `attend_for_models`.
PACKED_ATTENTION = "assay_packed"
#: Arguments of a model's forward pass that reach attention and have no meaning in it.
_MEANINGLESS = frozenset({"output_attentions", "output_router_logits", "position_ids", "use_cache"})
#: Sequences that are attended together have fewer tokens, so that one block of queries holds them,
#: lengths within this many tokens, and as many keys in all. Tuning: keys of 8 heads of 128 take 64
#: MiB.
_SHORT, _PADDED, _KEYS = 2 * BLOCK, 64, 1 << 14


#: What a sequence leaves behind in a recurrent layer: the last inputs of its convolution, [1,
#: channels, kernel - 1], and its state, [1, heads, key width, value width]. Never changed in place.
RecurrentState = tuple[Tensor, Tensor]


class KeptKeys(NamedTuple):
    """Room for a layer's keys and values, of a sequence's tokens from `first` on."""

    keys: Tensor
    values: Tensor
    window: int | None
    first: int = 0

    def count_unseen(self, length: int) -> int:
        """The tokens at the start that none behind `length` ones sees, as a multiple with which
        attention stays the same to the last bit."""
        if self.window is None:
            return 0
        return max(0, length - self.window) // KEYS_TOGETHER * KEYS_TOGETHER

    def move(self, first: int, end: int, room: int) -> "KeptKeys":
        """A copy of the tokens from `first` to before `end`, with room for `room` tokens."""
        part = slice(first - self.first, end - self.first)
        keys, values = (_copy(x[:, :, part], room) for x in (self.keys, self.values))
        return KeptKeys(keys, values, self.window, first)


def _copy(x: Tensor, room: int) -> Tensor:
    one, heads, tokens, width = x.shape
    with torch.inference_mode(False):  # passes in this mode and outside it write here
        made = x.new_empty(one, heads, room, width)
    made[:, :, :tokens] = x
    return made


class KeptState:
    """What one sequence has left behind in all layers, as far as it has been read: keys and values
    of attention, and the states of recurrent layers.

    Tokens can be taken back. Keys and values are simply cut. A recurrent state cannot be cut: it
    returns to where it was marked, and the tokens since then are read again.

    Room for keys and values grows by doubling: few completions are as long as they may be. Where
    tokens see only a window, keys before it are dropped once the tokens behind it stay.

    Args:
        capacity: most tokens.
        stays: all tokens do: none is taken back.

    Attributes:
        length: tokens that were read.
        is_recurrent: some layers are.
    """

    def __init__(self, capacity: int, *, stays: bool = False) -> None:
        self.length = 0
        self.is_recurrent = False
        self._capacity = capacity
        self._stays = stays
        self._keys: dict[int, KeptKeys] = {}
        self._states: dict[int, RecurrentState] = {}
        self._mark: tuple[int, dict[int, RecurrentState]] = 0, {}

    def extend(
        self, layer: int, k: Tensor, v: Tensor, window: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Append [1, heads, N, width] to a layer's keys and values, which may differ in width, and
        return all that are kept. The caller updates `length` once all layers are extended.

        Args:
            window: number of tokens that a token sees there, itself included; None: all.
        """
        kept = self._keys.get(layer) or KeptKeys(k[:, :, :0], v[:, :, :0], window)
        end = self.length + k.shape[2]
        if end - kept.first > kept.keys.shape[2]:
            kept = kept.move(kept.first, self.length, self._choose_room(kept, end))
        new = slice(self.length - kept.first, end - kept.first)
        kept.keys[:, :, new], kept.values[:, :, new] = k, v
        self._keys[layer] = kept
        if self._stays:
            self._drop(layer, end)
        return kept.keys[:, :, : new.stop], kept.values[:, :, : new.stop]

    def _choose_room(self, kept: KeptKeys, end: int) -> int:
        """The tokens that there is to be room for: those up to `end`, and where there was some
        room twice as much."""
        most = self._capacity - kept.first
        if kept.window is not None:
            most = min(most, kept.window + 2 * KEYS_TOGETHER)
        return max(end - kept.first, min(2 * kept.keys.shape[2], most))

    def _drop(self, layer: int, end: int) -> None:
        """Free the keys that no token behind `end` others sees."""
        kept = self._keys[layer]
        first = kept.count_unseen(end)
        if first > kept.first:
            self._keys[layer] = kept.move(first, end, end - first)

    def get_state(self, layer: int) -> RecurrentState | None:
        """The state of a recurrent layer; None where nothing was read."""
        return self._states.get(layer)

    def replace_state(self, layer: int, state: RecurrentState) -> None:
        """Take a recurrent layer's state after new tokens."""
        self.is_recurrent = True
        self._states[layer] = state

    def mark(self) -> None:
        """Note that the tokens so far stay. Each state exists once until more tokens are read, and
        then twice."""
        self._mark = self.length, dict(self._states)
        for layer in self._keys:
            self._drop(layer, self.length)

    def rewind(self, length: int) -> None:
        """Forget the tokens beyond `length`, and with recurrent layers all since the mark, unless
        there are none beyond. Raises a ValueError where the mark is beyond `length`."""
        if length < self._mark[0]:
            raise ValueError(f"{self._mark[0]} tokens were marked, and {length} are to stay")
        if not self.is_recurrent:
            self.length = length
        elif length < self.length:
            self.return_to_mark()

    def return_to_mark(self) -> None:
        """Forget all tokens since the mark, also those of a pass that has failed."""
        self.length, states = self._mark
        self._states = dict(states)

    def fork(self, capacity: int) -> "KeptState":
        """Another sequence that begins with this one, marked there."""
        other = KeptState(capacity)
        for layer, kept in self._keys.items():
            first = kept.count_unseen(self.length)
            other._keys[layer] = kept.move(first, self.length, self.length - first)
        other.length, other._states = self.length, dict(self._states)
        other.is_recurrent = self.is_recurrent
        other.mark()
        return other


class Segment(NamedTuple):
    """One sequence in a row: its tokens, and the sequence that it continues: another one in the
    row, or a kept one."""

    start: int
    end: int
    shared_start: int = 0  # equal to the next: it continues none
    shared_end: int = 0
    kept: KeptState | None = None

    @property
    def first(self) -> int:
        """The position of its first token."""
        return self.shared_end - self.shared_start if self.kept is None else self.kept.length


class Batch(NamedTuple):
    """Sequences that are attended together.

    Attributes:
        places: of each one's tokens in the row, int64 [n, N]. Those behind its end are its first
            one again.
        kept: those of the n · N results that are not behind an end, int64, in order.
        shared: places of the sequence that all continue.
    """

    places: Tensor
    kept: Tensor
    shared: slice


class Batches(NamedTuple):
    """A packing for a card: its batches, the segments in none, and where each place of the row is
    in the results of both, int64 [N]."""

    batches: list[Batch]
    others: list[Segment]
    order: Tensor


@dataclass(frozen=True)
class Packing:
    """The places of sequences in a row. They follow each other without gaps.

    Attributes:
        segments: in order. A segment that another one continues comes before it, and continues
            none.
        together: short sequences are attended together; None: on a card.
    """

    segments: tuple[Segment, ...]
    together: bool | None = None
    _batches: dict[torch.device, Batches] = field(default_factory=dict, compare=False, repr=False)

    def get_batches(self, device: torch.device) -> Batches:
        """The same for all layers."""
        if device not in self._batches:
            self._batches[device] = _make_batches(self.segments, device)
        return self._batches[device]

    def make_positions(self, device: torch.device) -> Tensor:
        """Each token's position in its sequence, int64 [1, N]."""
        parts = [
            torch.arange(s.first, s.first + s.end - s.start, device=device) for s in self.segments
        ]
        return torch.cat(parts)[None]


def make_packing(
    lengths: Sequence[tuple[int, int | None]], *, together: bool | None = None
) -> Packing:
    """The packing of sequences with these numbers of tokens, each with the index of the one it
    continues. `together`: see `Packing`."""
    segments: list[Segment] = []
    start = 0
    for length, shared in lengths:
        bounds = (start, start + length)
        segments.append(
            Segment(*bounds) if shared is None else Segment(*bounds, *segments[shared][:2])
        )
        start += length
    return Packing(tuple(segments), together)


def _make_batches(segments: Sequence[Segment], device: torch.device) -> Batches:
    alike = defaultdict[tuple[int, ...], list[Segment]](list)
    others = []
    for one in segments:
        length = one.end - one.start
        if one.kept is not None or length >= _SHORT:
            others.append(one)
            continue
        if not length:  # it gets nothing
            continue
        # attention is made in another way where there are more keys before the queries than these
        key = one.shared_start, one.shared_end, one.first > length, -(-length // _PADDED)
        alike[key].append(one)
    batches, spans = [], list[tuple[int, int]]()
    for found in alike.values():
        longest = max(one.end - one.start for one in found)
        most = max(1, _KEYS // (found[0].first + longest))
        for start in range(0, len(found), most):
            chosen = found[start : start + most]
            if len(chosen) == 1:
                others += chosen
                continue
            starts = torch.tensor([one.start for one in chosen])[:, None]
            lengths = torch.tensor([one.end - one.start for one in chosen])[:, None]
            steps = torch.arange(int(lengths.max()))
            is_own = steps < lengths
            places = (starts + steps * is_own).to(device)
            kept = is_own.flatten().nonzero()[:, 0].to(device)
            shared = slice(chosen[0].shared_start, chosen[0].shared_end)
            batches.append(Batch(places, kept, shared))
            spans += [one[:2] for one in chosen]
    spans += [one[:2] for one in others]
    order = torch.cat([torch.arange(start, end) for start, end in spans]).argsort()
    return Batches(batches, others, order.to(device))


def make_kept_packing(sequences: Sequence[tuple[int, KeptState]]) -> Packing:
    """The packing of new tokens of sequences of which the state after earlier ones is kept."""
    segments: list[Segment] = []
    start = 0
    for length, kept in sequences:
        segments.append(Segment(start, start + length, kept=kept))
        start += length
    return Packing(tuple(segments))


def attend_packed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing | None,
    layer: int = 0,
    scale: float | None = None,
    window: int | None = None,
    cap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Causal attention in every sequence, see `assay.inference.attention`.

    Args:
        q: [B, heads, N, width].
        k, v: [B, key heads, N, width]; each key head serves heads / key heads queries.
        packing: of the N tokens of each row; None: one sequence.
        layer: of these keys, where some are kept.
        scale: of scores; None: 1 / √width.
        window: number of tokens that a token sees, itself included; None: all.
        cap, sinks: see there.

    Returns:
        [B, heads, N, width].
    """
    packing = packing or make_packing([(q.shape[2], None)])
    together = q.is_cuda if packing.together is None else packing.together
    is_plain = window is None and cap is None and sinks is None
    if together and is_plain and len(q) == 1 and packing.get_batches(q.device).batches:
        return _attend_together(q, k, v, packing, layer, scale)
    # a slice's gradient is as large as the row, and all of them are added up: pieces' are joined
    lengths = [segment.end - segment.start for segment in packing.segments]
    pieces = zip(*(x.split(lengths, dim=2) for x in (q, k, v)), strict=True)
    # by both ends: an empty sequence starts where the next one does
    own = {segment[:2]: piece for segment, piece in zip(packing.segments, pieces, strict=True)}
    parts = []
    for segment in packing.segments:
        queries, *seen = own[segment[:2]]
        before = own.get((segment.shared_start, segment.shared_end), ())[1:]
        keys, values = _find_keys(segment, seen, before, layer, window)
        parts.append(attend(queries, keys, values, scale, window, cap, sinks))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def _attend_together(
    q: Tensor, k: Tensor, v: Tensor, packing: Packing, layer: int, scale: float | None
) -> Tensor:
    batches, others, order = packing.get_batches(q.device)
    parts = []  # [tokens, heads, width] each
    for places, kept, shared in batches:
        queries, *seen = (x[0, :, places].transpose(0, 1) for x in (q, k, v))
        if shared.stop > shared.start:
            before = (x[:, :, shared].expand(len(places), -1, -1, -1) for x in (k, v))
            seen = [torch.cat(pair, dim=2) for pair in zip(before, seen, strict=True)]
        keys, values = seen
        parts.append(attend(queries, keys, values, scale).transpose(1, 2).flatten(0, 1)[kept])
    for segment in others:
        queries, *seen = (x[:, :, segment.start : segment.end] for x in (q, k, v))
        first = [x[:, :, segment.shared_start : segment.shared_end] for x in (k, v)]
        keys, values = _find_keys(segment, seen, first, layer, None)
        parts.append(attend(queries, keys, values, scale)[0].transpose(0, 1))
    return torch.cat(parts)[order].transpose(0, 1)[None]


def _find_keys(
    segment: Segment,
    own: Sequence[Tensor],
    before: Sequence[Tensor],
    layer: int,
    window: int | None,
) -> tuple[Tensor, Tensor]:
    """All keys and values that a sequence may see: behind those of the one that it continues, or
    appended to kept ones."""
    keys, values = own
    if segment.kept is not None:
        return segment.kept.extend(layer, keys, values, window)
    if segment.first:
        keys, values = (torch.cat(pair, dim=2) for pair in zip(before, own, strict=True))
    return keys, values


def attend_for_models(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    packing: Packing | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """`attend_packed` in the form that Hugging Face's models call, without a mask: they make none
    for an attention that they do not know.

    Raises:
        ValueError: there are keys of a cache, a mask, or an argument that is not known.
    """
    if attention_mask is not None or key.shape[2] != query.shape[2]:
        raise ValueError("packed attention reads whole sequences: neither masks nor caches")
    require_known_arguments(module, others)
    layer = getattr(module, "layer_idx", 0)
    mixed = attend_packed(
        query, key, value, packing, layer, scaling, sliding_window, softcap, s_aux
    )
    return mixed.transpose(1, 2).contiguous(), None


def require_known_arguments(module: Any, others: Mapping[str, Any]) -> None:
    """Raise a ValueError where a model asks its attention for more than causal attention of whole
    rows: what is ignored would make another function, without an error."""
    for name, value in others.items():
        if value is not None and name not in _MEANINGLESS and not (name == "dropout" and not value):
            raise ValueError(f"attention has no argument {name!r}: this model needs another")
    if not getattr(module, "is_causal", True):
        raise ValueError("attention is causal here, and this model's is not")


AttentionInterface.register(PACKED_ATTENTION, attend_for_models)
