"""Feeds many completions to a model: token ids in, the states that drew each completion's tokens
out.

A model that packs (`assay.inference.packing`) reads completions of any lengths in one row, without
padding, each behind its prompt, which is read once for all of them. Any other model reads one
completion at a time with its prompt. That is the plainest way, and a second opinion uses it too.

The state at a token draws the next one, so a completion's last token is not needed. The measurement
of a completion depends on the others only in the last bits of a matrix product.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from assay.inference.packing import make_packing
from assay.inference.placing.memory_plan import TOKENS_MAX

#: A completion that is read alone is right-padded to a multiple of this: kernels see few shapes.
PAD_TOKENS = 64

#: Indices of completions, and the states that drew each, float32 [T, H].
Batch = tuple[list[int], list[Tensor]]


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
) -> Iterator[Batch]:
    """Read all completions, in the best way that the model supports.

    Args:
        prompts: of each completion, at least one token.
        completions: at least one token each.
        tokens_max: of one pass; more where a single completion needs it.
        share: read a prompt of several completions once.
    """
    if not getattr(model, "packs", False):
        yield from read_alone(model, prompts, completions)
        return
    for pack in make_packs(prompts, completions, tokens_max, share=share):
        yield pack.indices, read_pack(model, pack)


def read_pack(model: CausalModel, pack: "Pack") -> list[Tensor]:
    """The states [T, H] that drew each completion of a pack. The model must pack."""
    packing = make_packing(pack.lengths)
    ids = torch.tensor([pack.tokens], device=model.device)
    positions = packing.make_positions(model.device)
    out = model.model(ids, position_ids=positions, packing=packing, use_cache=False)
    states = out.last_hidden_state[0]
    return [states[rows] for rows in pack.rows]


def read_alone(
    model: CausalModel, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> Iterator[Batch]:
    """Read one completion at a time, with its prompt before it, right-padded."""
    for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        whole = [*prompt, *completion]
        row = torch.zeros((1, -(-len(whole) // PAD_TOKENS) * PAD_TOKENS), dtype=torch.int64)
        row[0, : len(whole)] = torch.tensor(whole)
        states = model.model(row.to(model.device), use_cache=False).last_hidden_state[0]
        yield [index], [states[len(prompt) - 1 : len(whole) - 1]]


@dataclass(slots=True)
class Pack:
    """The sequences that go through a model together.

    Attributes:
        tokens: the row. lengths: of its sequences, as `make_packing` takes them.
        indices: of the completions in it. rows: places of the states that drew each.
    """

    tokens: list[int] = field(default_factory=list)
    lengths: list[tuple[int, int | None]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    rows: list[slice] = field(default_factory=list)

    def add(self, tokens: Sequence[int], shared: int | None = None) -> int:
        """Append a sequence and return its number."""
        self.tokens += tokens
        self.lengths.append((len(tokens), shared))
        return len(self.lengths) - 1

    def add_completion(self, index: int, length: int) -> None:
        """Note that the row's last `length` tokens draw a completion."""
        self.indices.append(index)
        self.rows.append(slice(len(self.tokens) - length, len(self.tokens)))


def make_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int = TOKENS_MAX,
    *,
    share: bool = True,
) -> Iterator[Pack]:
    """Packs of at most `tokens_max` tokens; more where a single completion needs it.

    Completions of one prompt follow each other. The prompt, without its last token, comes before
    them, once in each pack that has some of them.
    """
    sharing: dict[object, list[int]] = {}
    for index, prompt in enumerate(prompts):
        sharing.setdefault(tuple(prompt) if share else index, []).append(index)
    pack = Pack()
    for members in sharing.values():
        *before, last = prompts[members[0]]
        prefix: int | None = None  # its number in the pack
        for index in members:
            tokens = [last, *completions[index][:-1]]
            needed = len(tokens) + (0 if prefix is not None else len(before))
            if pack.tokens and len(pack.tokens) + needed > tokens_max:
                yield pack
                pack, prefix = Pack(), None
            if len(members) == 1:
                tokens = [*before, *tokens]
            elif before and prefix is None:
                prefix = pack.add(before)
            pack.add(tokens, prefix)
            pack.add_completion(index, len(completions[index]))
    if pack.tokens:
        yield pack


def make_even_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int,
    processes: int,
) -> list[Pack]:
    """Packs for processes that take one each at a time: no more rounds than `make_packs` needs, in
    packs of about one size, since a round takes as long as its largest pack."""
    packs = list(make_packs(prompts, completions, tokens_max))
    if processes == 1:
        return packs
    count = -(-len(packs) // processes) * processes
    least, most = 1, tokens_max
    while least < most:  # finds the smallest size that needs no more packs
        size = (least + most) // 2
        if sum(1 for _ in make_packs(prompts, completions, size)) <= count:
            most = size
        else:
            least = size + 1
    return list(make_packs(prompts, completions, least))
