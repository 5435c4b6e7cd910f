"""Drafting: guesses at the reference's own sample, by an engine or by a decode loop of our own.

A drafter does not know whether tokens are right. `assay.inference.generate` verifies them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer

from assay.inference.decode_attention import share_keys_in_steps
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.head import compute_logits
from assay.inference.placing.devices import MemoryLackError, explain_lack, free_memory, require_lack
from assay.inference.placing.model_sizes import TOKENS_MAX
from assay.inference.plain.drafting import PlainBatch
from assay.inference.plain.states import get_plain_head, name_cache
from assay.inference.time_limit import TimeLimit

#: Steps on a GPU between two looks at the drawn tokens, since each look waits for the GPU. Tuning.
_BURST = 8
#: Elements of the mask that the library makes for the padded rows of a pass: 5 bytes each. Tuning.
_MASKED = 1 << 25


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for drawing and ending completions: from the parameters and the manifest."""

    temperature: int  # 1024 · T
    end_tokens: tuple[int, ...]
    max_tokens: int

    def cut(self, tokens: Sequence[int], at: int = 0) -> tuple[int, ...]:
        """A turn's draft up to its first end token. A drafter may have continued behind it.

        Args:
            at: the rollout's own tokens before this turn.
        """
        limited = tuple(tokens[: self.max_tokens - at])
        ends = (place for place, token in enumerate(limited) if token in self.end_tokens)
        return limited[: next(ends, len(limited)) + 1]

    def is_finished(self, tokens: Sequence[int], at: int = 0) -> bool:
        """Return whether a turn has ended. `at`: as for `cut`."""
        is_ended = bool(tokens) and tokens[-1] in self.end_tokens
        return is_ended or at + len(tokens) == self.max_tokens


@dataclass(frozen=True, slots=True)
class Request:
    """One turn to continue. A completion of one turn is its only turn.

    Attributes:
        prompt: all that is before it: the problem's prompt, and earlier turns and replies.
        seed: of the rollout.
        tokens: its verified part.
        at: the rollout's own tokens before it, from which its draws count.
    """

    prompt: tuple[int, ...]
    seed: bytes
    tokens: tuple[int, ...] = ()
    at: int = 0


class Drafter(Protocol):
    """Continues many turns at once."""

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        """Continue each turn until it ends. The results include the part that it came with.

        Args:
            ahead: most tokens to add to each; None: as many as it needs.
            limit: from then on no further token is drawn, and turns may be left unfinished; None:
                there is none.

        Raises:
            OperatorError: drafting failed; says why.
        """


class OwnDrafter:
    """A decode loop with a key–value cache, in any precision: the embedded `Drafter`.

    Rows of unequal length are padded on the left.

    Args:
        model: any precision; has `.model` and `.lm_head`.
        drawable: bool [V].
        rules: of the checkpoint in force.
        batch: most rows decoded together; halved whenever memory runs out.
        burst: steps between two looks at the drawn tokens; None: by the device.

    Attributes:
        rules: as given.
        sampler: draws the tokens. Both may be changed between two drafts.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        drawable: NDArray[np.bool_],
        rules: Rules,
        batch: int = 256,
        burst: int | None = None,
    ) -> None:
        share_keys_in_steps()
        self._model = model
        self.rules = rules
        self._batch = batch
        self._burst = burst or (1 if model.device.type == "cpu" else _BURST)
        self.sampler = KeyedSampler(drawable, rules.temperature, model.device)

    def draft(
        self, requests: Sequence[Request], ahead: int | None = None, limit: TimeLimit | None = None
    ) -> list[tuple[int, ...]]:
        """See `Drafter`.

        Raises:
            MemoryLackError: memory does not suffice for one of them alone.
        """
        most = self.rules.max_tokens
        ahead = most if ahead is None else ahead
        drafted = [list(request.tokens) for request in requests]
        ends = [min(most - r.at, len(r.tokens) + ahead) for r in requests]
        open_rows = [i for i, row in enumerate(drafted) if len(row) < ends[i]]
        # a batch is padded to its longest row: sorted rows need little padding
        open_rows.sort(key=lambda i: len(requests[i].prompt) + len(requests[i].tokens))
        with torch.inference_mode():
            while open_rows and not (limit is not None and limit.is_over):
                chosen = open_rows[: self._batch]
                rows = [drafted[i] for i in chosen]
                begun = [replace(requests[i], tokens=tuple(drafted[i])) for i in chosen]
                if self._try_batch(begun, rows, [ends[i] for i in chosen], limit):
                    open_rows = open_rows[len(chosen) :]
                else:  # rows that ended before memory ran out have their tokens
                    open_rows = [
                        i
                        for i in open_rows
                        if len(drafted[i]) < ends[i]
                        and not self.rules.is_finished(drafted[i], requests[i].at)
                    ]
        return [tuple(row) for row in drafted]

    def _try_batch(
        self,
        requests: Sequence[Request],
        drafted: Sequence[list[int]],
        ends: Sequence[int],
        limit: TimeLimit | None,
    ) -> bool:
        """Draft a batch. Return whether memory sufficed. If not, fewer rows are decoded together
        from now on."""
        longest = max(len(request.prompt) for request in requests) + self.rules.max_tokens
        device = str(self._model.device)
        try:
            self._draft_batch(requests, drafted, ends, limit)
        except (RuntimeError, MemoryError) as error:
            message = require_lack(error, device)
            if len(requests) == 1:
                what = f"a completion of up to {longest} tokens, one row at a time"
                raise MemoryLackError(explain_lack(what, device, message)) from None
        else:
            return True
        free_memory(device)
        self._batch = len(requests) // 2
        return False

    def _draft_batch(
        self,
        requests: Sequence[Request],
        drafted: Sequence[list[int]],
        ends: Sequence[int],
        limit: TimeLimit | None,
    ) -> None:
        """Append to each of `drafted` until it ends, reaches its length, or time is up. Finished
        rows are removed whenever they are half of the batch."""
        last = frozenset(self.rules.end_tokens)
        ahead = max(end - len(row) for row, end in zip(drafted, ends, strict=True))
        batch: _Batch | _PlainRows = (
            _Batch(requests, self._model, ahead + self._burst)
            if get_plain_head(self._model) is None
            else _PlainRows(requests, self._model)
        )
        open_rows: list[tuple[list[int], int] | None] = [*zip(drafted, ends, strict=True)]
        while True:
            drawn = []
            for _ in range(self._burst):
                logits = compute_logits(self._model, batch.step(self._model))
                drawn.append(self.sampler.draw(logits, batch.keys, batch.counts)[0])
                batch.append(drawn[-1])
            for slot, tokens in enumerate(torch.stack(drawn, dim=1).tolist()):
                open_row = open_rows[slot]
                if open_row is not None and _extend(*open_row, tokens, last):
                    open_rows[slot] = None
            open_slots = [slot for slot, row in enumerate(open_rows) if row is not None]
            if not open_slots or (limit is not None and limit.is_over):
                return
            if 2 * len(open_slots) <= len(open_rows):
                batch.keep(open_slots)
                open_rows = [open_rows[slot] for slot in open_slots]


def _extend(row: list[int], end: int, tokens: Sequence[int], last: frozenset[int]) -> bool:
    """Extend a row. Return whether it has ended, with an end token or at its length. Tokens drawn
    beyond its end are dropped."""
    for token in tokens:
        row.append(token)
        if token in last or len(row) == end:
            return True
    return False


class _RoomyLayer(DynamicLayer):
    """Keys and values of a layer that are rarely copied as they grow: whenever the memory is full,
    twice as much is allocated.

    Args:
        room: most tokens of a row.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self._whole: tuple[Tensor, Tensor] | None = None  # [N, heads, capacity, D] each

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """See `DynamicLayer.update`."""
        if self._whole is None:
            self.lazy_initialization(key_states, value_states)
            return self._take(key_states, value_states)
        begin = self.get_seq_length()
        if begin + key_states.shape[2] > self._whole[0].shape[2]:
            assert self.keys is not None
            assert self.values is not None
            self._take(self.keys, self.values)
        return self._append(begin, key_states, value_states)

    def batch_select_indices(self, indices: Tensor) -> None:
        """See `DynamicLayer.batch_select_indices`."""
        assert self.keys is not None, "rows leave after a step"
        assert self.values is not None
        self._take(self.keys[indices], self.values[indices])

    def _take(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Allocate memory for these rows and twice their tokens, and copy the kept ones."""
        rows, heads, length, width = keys.shape
        taken = min(self._room, 2 * length)
        self._whole = (
            keys.new_empty(rows, heads, taken, width),
            values.new_empty(rows, heads, taken, values.shape[-1]),
        )
        return self._append(0, keys, values)

    def _append(self, begin: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        assert self._whole is not None
        end = begin + keys.shape[2]
        grown = []
        for whole, new in zip(self._whole, (keys, values), strict=True):
            whole[:, :, begin:end] = new
            grown.append(whole[:, :, :end])
        self.keys, self.values = grown
        return grown[0], grown[1]


class _StateLayer(LinearAttentionLayer):
    """States of a recurrent layer, of which rows can be dropped."""

    def batch_select_indices(self, indices: Tensor) -> None:
        """See `DynamicLayer.batch_select_indices`."""
        chosen: Any = indices  # the library wants a type that torch has no values of
        self.reorder_cache(chosen)


def _make_cache(config: Any, room: int) -> DynamicCache:
    """A cache for a model of this configuration, for rows of at most `room` tokens."""
    cache = DynamicCache(config=config)
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[place] = _RoomyLayer(room)
        elif type(layer) is LinearAttentionLayer:
            cache.layers[place] = _StateLayer()
    return cache


class _PlainRows:
    """The same as `_Batch` for a model that its own class reads: nothing is padded."""

    def __init__(self, requests: Sequence[Request], model: PreTrainedModel) -> None:
        self._rows = PlainBatch([request.prompt + request.tokens for request in requests], model)
        self.keys = make_keys([request.seed for request in requests], model.device)
        counts = [request.at + len(request.tokens) for request in requests]
        self.counts = torch.tensor(counts, device=model.device)

    def step(self, _: PreTrainedModel) -> Tensor:
        """Run one step. Return the states that draw the next tokens, [N, H]."""
        return self._rows.step()

    def append(self, drawn: Tensor) -> None:
        """Append the drawn tokens, int64 [N], as the next step's input."""
        self._rows.append(drawn)
        self.counts = self.counts + 1

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all rows but these."""
        indices = torch.tensor(slots, device=self.counts.device)
        self.keys, self.counts = self.keys[indices], self.counts[indices]
        self._rows.keep(slots)


class _Batch:
    """Rows that are decoded together, left-padded, with their key–value cache. What several rows
    begin with alike, as a group's rollouts do with their prompt, goes through the model once.

    Args:
        ahead: most steps.
    """

    def __init__(self, requests: Sequence[Request], model: PreTrainedModel, ahead: int) -> None:
        device = model.device
        begun = [request.prompt + request.tokens for request in requests]
        rows = [*dict.fromkeys(begun)]
        width = max(map(len, rows))
        ids = torch.zeros((len(rows), width), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :] = torch.tensor(row)
            mask[i, width - len(row) :] = 1
        self._ids = ids.to(device)
        self._mask = mask.to(device) if bool((mask == 0).any()) else None
        self._positions = (mask.cumsum(dim=1) - 1).clamp_(min=0).to(device)
        self._cache = _make_cache(model.config, width + ahead)
        places = {row: place for place, row in enumerate(rows)}
        #: int64 [N]: of the rows that the first step reads, the one of each request; None: its own
        self._copies: Tensor | None = None
        if len(rows) < len(begun):
            self._copies = torch.tensor([places[row] for row in begun], device=device)
        #: int64 [N, 4], and int64 [N]: own tokens of each rollout so far
        self.keys = make_keys([request.seed for request in requests], device)
        counts = [request.at + len(request.tokens) for request in requests]
        self.counts = torch.tensor(counts, device=device)

    def step(self, model: PreTrainedModel) -> Tensor:
        """Run one step. Return the states that draw the next tokens, [N, H]."""
        width = self._ids.shape[1]
        before = self._cache.get_seq_length()
        size = self._count_columns(before + width)
        for start in range(0, width, size):
            columns = slice(start, start + size)
            out = model.model(
                self._ids[:, columns],
                attention_mask=None
                if self._mask is None
                else self._mask[:, : before + start + size],
                position_ids=self._positions[:, columns],
                use_cache=True,
                **{name_cache(model.model): self._cache},
            )
        states: Tensor = out.last_hidden_state[:, -1]
        if self._copies is not None:
            states = states[self._copies]
            self._choose(self._copies)
            self._copies = None
        return states

    def _count_columns(self, length: int) -> int:
        """The number of columns of a prompt that go through the model together. All do with
        recurrent layers: the library leaves out padding only before their first tokens."""
        rows, width = self._ids.shape
        if any(isinstance(layer, _StateLayer) for layer in self._cache.layers):
            return width
        return max(1, min(width, _MASKED // (rows * length), TOKENS_MAX // rows))

    def append(self, drawn: Tensor) -> None:
        """Append the drawn tokens, int64 [N], as the next step's input."""
        self._ids = drawn[:, None]
        self._positions = self._positions[:, -1:] + 1
        self.counts = self.counts + 1
        if self._mask is not None:
            self._mask = torch.cat([self._mask, torch.ones_like(self._ids)], dim=1)

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all rows but these."""
        indices = torch.tensor(slots, device=self._ids.device)
        self.keys, self.counts = self.keys[indices], self.counts[indices]
        self._choose(indices)

    def _choose(self, indices: Tensor) -> None:
        """Let the model have these rows, of which some may repeat."""
        self._ids, self._positions = self._ids[indices], self._positions[indices]
        self._mask = None if self._mask is None else self._mask[indices]
        self._cache.batch_select_indices(indices)
