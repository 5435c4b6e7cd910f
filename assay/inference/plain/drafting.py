"""Rows that a class decodes together, with its own cache if that gives what a reading of the whole
gives, and by reading the whole at each step else.

No row is padded: rows of one length go together, as a group's rollouts do until corrections tell
them apart. A draft need not be exact, since the reference reads every token of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.inference.plain.states import make_cache, read_states

#: Tokens of the row by which a cache is tried, of these the ones that are read one by one, and the
#: share of the states' deviation by which it may be off: drafts of engines in bf16 are off by more.
_TRIED, _SINGLE, _ALLOWED = 24, 8, 1e-2


def has_cache(model: Any) -> bool:
    """Whether a class's cache gives the states that a reading of the whole gives. Tried once for
    each model."""
    found: bool | None = getattr(model, "plain_cache", None)
    if found is None:
        found = model.plain_cache = _try_cache(model)
    return found


def _try_cache(model: Any) -> bool:
    vocabulary = model.config.vocab_size
    ids = torch.randint(vocabulary, (2, _TRIED), generator=torch.Generator().manual_seed(0))
    ids = ids.to(model.device)
    with torch.inference_mode():
        whole = read_states(model, ids).float()
        try:
            cache = make_cache(model)
            parts = [read_states(model, ids[:, :-_SINGLE], cache)]
            parts += [
                read_states(model, ids[:, at : at + 1], cache)
                for at in range(_TRIED - _SINGLE, _TRIED - 1)
            ]
            chosen = torch.tensor([1, 0, 1], device=model.device)
            _choose(cache, chosen)
            parts = [torch.cat(parts, dim=1)[chosen], read_states(model, ids[chosen, -1:], cache)]
            whole = whole[chosen]
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
            return False
        off = (torch.cat(parts, dim=1).float() - whole).abs().max()
    return bool(off <= _ALLOWED * whole.std())


def _choose(cache: Any, rows: Tensor) -> None:
    """Let a cache have these of its rows, of which some may repeat. The library's other function
    for this leaves out states of recurrent layers."""
    cache.reorder_cache(rows)


@dataclass(slots=True)
class _Part:
    """Rows of one length.

    Attributes:
        slots: their places among all rows.
        ids: int64 [n, T], all tokens. read: of these, in the cache.
    """

    slots: list[int]
    ids: Tensor
    read: int = 0
    cache: Any = field(default=None, repr=False)


class PlainBatch:
    """Rows that are decoded together.

    Args:
        rows: the tokens of each.
    """

    def __init__(self, rows: Sequence[Sequence[int]], model: PreTrainedModel) -> None:
        self._model = model
        self._keeps = has_cache(model)
        lengths: dict[int, list[int]] = {}
        for slot, row in enumerate(rows):
            lengths.setdefault(len(row), []).append(slot)
        self._parts = [
            _Part(slots, torch.tensor([list(rows[slot]) for slot in slots], device=model.device))
            for slots in lengths.values()
        ]
        self._count = len(rows)

    def step(self) -> Tensor:
        """The states that draw the next tokens, [N, H]."""
        found: dict[int, Tensor] = {}
        for part in self._parts:
            found |= zip(part.slots, self._read(part), strict=True)
        return torch.stack([found[slot] for slot in range(self._count)])

    def _read(self, part: _Part) -> Tensor:
        if not self._keeps:
            return read_states(self._model, part.ids)[:, -1]
        if part.cache is not None:
            new = part.ids[:, part.read :]
            part.read = part.ids.shape[1]
            return read_states(self._model, new, part.cache)[:, -1]
        part.cache, part.read = make_cache(self._model), part.ids.shape[1]
        alike, places = torch.unique(part.ids, dim=0, return_inverse=True)
        states = read_states(self._model, alike, part.cache)[:, -1]
        if len(alike) < len(part.ids):  # a group's prompt is read once
            _choose(part.cache, places)
        return states[places]

    def append(self, drawn: Tensor) -> None:
        """Append the drawn tokens, int64 [N]."""
        for part in self._parts:
            part.ids = torch.cat((part.ids, drawn[part.slots][:, None]), dim=1)

    def keep(self, slots: Sequence[int]) -> None:
        """Drop all rows but these."""
        places = {slot: place for place, slot in enumerate(slots)}
        kept = []
        for part in self._parts:
            chosen = [i for i, slot in enumerate(part.slots) if slot in places]
            if not chosen:
                continue
            indices = torch.tensor(chosen, device=part.ids.device)
            part.ids = part.ids[indices]
            if part.cache is not None:
                _choose(part.cache, indices)
            part.slots = [places[part.slots[i]] for i in chosen]
            kept.append(part)
        self._parts, self._count = kept, len(slots)
