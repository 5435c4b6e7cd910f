"""Feeds many completions to a model: token ids in, the states that drew each completion's tokens
out.

A model that packs (`assay.inference.packing`) reads completions of any lengths in one row, without
padding, each behind its prompt, which is read once for all of them. Any other model reads one
completion at a time with its prompt. That is the plainest way, and a second opinion uses it too.

The state at a token draws the next one, so a completion's last token is not needed. The replies of
an episode are read between its turns, and no state of theirs is given but the one that draws a
turn's first token. The measurement of a completion depends on the others only in the last bits of a
matrix product.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from assay.inference.packing import make_packing
from assay.inference.placing.model_sizes import TOKENS_MAX
from assay.inference.plain.states import get_plain_head, read_states
from assay.protocol.episode import Reply, weave

#: A completion that is read alone is right-padded to a multiple of this: kernels see few shapes.
PAD_TOKENS = 64

#: Indices of completions, and the states that drew each, float32 [T, H].
Batch = tuple[list[int], list[Tensor]]
#: Of each completion, as `weave` takes them; None: no completion has any.
Replies = Sequence[Sequence[Reply]] | None


class CausalModel(Protocol):
    """A causal model as `Reference` calls it: Hugging Face's, or `SplitModel`.

    Its `.model(input_ids, use_cache=False)` gives normed states [B, T, H] as `.last_hidden_state`,
    its `.lm_head(states)` what `assay.inference.head` makes logits of. If its attribute `packs` is
    true, `.model` also takes `position_ids` and `packing` with one row of ids.
    """

    @property
    def config(self) -> Any:
        """Hugging Face's configuration."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of states and logits: float32."""

    @property
    def device(self) -> torch.device:
        """The device where token ids are expected."""

    @property
    def model(self) -> Any:
        """See above."""

    @property
    def lm_head(self) -> Any:
        """See above."""


def read(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int = TOKENS_MAX,
    *,
    share: bool = True,
    replies: Replies = None,
) -> Iterator[Batch]:
    """Read all completions, in the best way that the model supports.

    Args:
        prompts: of each completion, at least one token.
        completions: own tokens, at least one each.
        tokens_max: of one pass; more where a single completion needs it.
        share: read a prompt of several completions once.
    """
    if not getattr(model, "packs", False):
        yield from read_alone(model, prompts, completions, replies)
        return
    for pack in make_packs(prompts, completions, tokens_max, share=share, replies=replies):
        yield pack.indices, read_pack(model, pack)


def read_pack(model: CausalModel, pack: "Pack", *, together: bool | None = None) -> list[Tensor]:
    """The states [T, H] that drew each completion of a pack. The model packs, or its own class
    reads one sequence after the other. `together`: see `assay.inference.packing.Packing`."""
    if get_plain_head(model) is not None:
        return _read_apart(model, pack)
    packing = make_packing(pack.lengths, together=together)
    ids = torch.tensor([pack.tokens], device=model.device)
    positions = packing.make_positions(model.device)
    out = model.model(ids, position_ids=positions, packing=packing, use_cache=False)
    states = out.last_hidden_state[0]
    return [_take(states, rows) for rows in pack.rows]


def _read_apart(model: Any, pack: "Pack") -> list[Tensor]:
    """The states of a pack whose sequences are read one at a time, each behind what it shares."""
    starts, start = [], 0
    for length, _ in pack.lengths:
        starts.append(start)
        start += length
    found: list[Tensor] = []
    for rows in pack.rows:
        number = bisect_right(starts, rows[0].start) - 1
        (length, shared), begin = pack.lengths[number], starts[number]
        before: Sequence[int] = ()
        if shared is not None:
            before = pack.tokens[starts[shared] : starts[shared] + pack.lengths[shared][0]]
        whole = [*before, *pack.tokens[begin : begin + length]]
        states = read_states(model, torch.tensor([whole], device=model.device))[0]
        move = len(before) - begin
        found.append(_take(states, [slice(row.start + move, row.stop + move) for row in rows]))
    return found


def read_alone(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    replies: Replies = None,
) -> Iterator[Batch]:
    """Read one completion at a time, with its prompt before it, right-padded. A class of no family
    reads just these tokens: it may have places for no more."""
    woven = weave_all(completions, replies)
    unit = PAD_TOKENS if get_plain_head(model) is None else 1
    for index, (prompt, one) in enumerate(zip(prompts, woven, strict=True)):
        whole = [*prompt, *one.tokens]
        row = torch.zeros((1, -(-len(whole) // unit) * unit), dtype=torch.int64)
        row[0, : len(whole)] = torch.tensor(whole)
        states = model.model(row.to(model.device), use_cache=False).last_hidden_state[0]
        yield [index], [_take(states, one.find_rows(len(prompt) - 1))]


@dataclass(frozen=True, slots=True)
class Woven:
    """Own tokens of a completion with the replies between its turns.

    Attributes:
        tokens: all of them. turns: places of the own ones.
    """

    tokens: Sequence[int]
    turns: tuple[slice, ...]

    def find_rows(self, start: int) -> tuple[slice, ...]:
        """Places of the states that draw the own tokens, if the one that draws the first token is
        at `start`."""
        return tuple(slice(start + turn.start, start + turn.stop) for turn in self.turns)


def weave_all(completions: Sequence[Sequence[int]], replies: Replies) -> list[Woven]:
    """Each completion with its replies."""
    each = [()] * len(completions) if replies is None else replies
    return [_weave(*one) for one in zip(completions, each, strict=True)]


def _weave(completion: Sequence[int], replies: Sequence[Reply]) -> Woven:
    if not replies:
        return Woven(completion, (slice(0, len(completion)),))
    tokens, places = weave(completion, replies)
    turns = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
    return Woven(tokens, tuple(slice(int(turn[0]), int(turn[-1]) + 1) for turn in turns))


def _take(states: Tensor, rows: Sequence[slice]) -> Tensor:
    """Some of the states, without a copy where they are adjacent."""
    return states[rows[0]] if len(rows) == 1 else torch.cat([states[some] for some in rows])


@dataclass(slots=True)
class Pack:
    """The sequences that go through a model together.

    Attributes:
        tokens: the row. lengths: of its sequences, as `make_packing` takes them.
        indices: of the completions in it. rows: places of the states that drew each, a slice for
            each turn.
    """

    tokens: list[int] = field(default_factory=list)
    lengths: list[tuple[int, int | None]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    rows: list[tuple[slice, ...]] = field(default_factory=list)

    def add(self, tokens: Sequence[int], shared: int | None = None) -> int:
        """Append a sequence and return its number."""
        self.tokens += tokens
        self.lengths.append((len(tokens), shared))
        return len(self.lengths) - 1

    def add_completion(self, index: int, woven: Woven) -> None:
        """Note that the row's last tokens draw a completion and are its replies."""
        self.indices.append(index)
        self.rows.append(woven.find_rows(len(self.tokens) - len(woven.tokens)))


def make_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int = TOKENS_MAX,
    *,
    share: bool = True,
    replies: Replies = None,
) -> Iterator[Pack]:
    """Packs of at most `tokens_max` tokens; more where a single completion needs it.

    Completions of one prompt follow each other. The prompt, without its last token, comes before
    them, once in each pack that has some of them.
    """
    sharing: dict[object, list[int]] = {}
    for index, prompt in enumerate(prompts):
        sharing.setdefault(tuple(prompt) if share else index, []).append(index)
    pack, woven = Pack(), weave_all(completions, replies)
    for members in sharing.values():
        *before, last = prompts[members[0]]
        prefix: int | None = None  # its number in the pack
        for index in members:
            tokens = [last, *woven[index].tokens[:-1]]
            needed = len(tokens) + (0 if prefix is not None else len(before))
            if pack.tokens and len(pack.tokens) + needed > tokens_max:
                yield pack
                pack, prefix = Pack(), None
            if len(members) == 1:
                tokens = [*before, *tokens]
            elif before and prefix is None:
                prefix = pack.add(before)
            pack.add(tokens, prefix)
            pack.add_completion(index, woven[index])
    if pack.tokens:
        yield pack


def make_even_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int,
    processes: int,
    replies: Replies = None,
) -> list[Pack]:
    """Packs for processes that take one each at a time: no more rounds than `make_packs` needs, in
    packs of about one size, since a round takes as long as its largest pack."""
    packs = list(make_packs(prompts, completions, tokens_max, replies=replies))
    if processes == 1:
        return packs
    count = -(-len(packs) // processes) * processes
    least, most = 1, tokens_max
    while least < most:  # finds the smallest size that needs no more packs
        size = (least + most) // 2
        if sum(1 for _ in make_packs(prompts, completions, size, replies=replies)) <= count:
            most = size
        else:
            least = size + 1
    return list(make_packs(prompts, completions, least, replies=replies))
