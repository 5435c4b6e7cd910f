"""Token ids in, the states that drew each completion's tokens out: how a model is given many.

A model that packs (`assay.inference.packing`) reads completions of any lengths in one row, without
padding, each behind its prompt, which is read once for all of them. Any other reads one completion
at a time with its prompt: the plainest way, which a second opinion takes as well.

The state at a token draws the next one, so a completion's last token is not needed. What is
measured of a completion depends on its company in the last bits of a matrix product only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from assay.inference.packing import make_packing
from assay.inference.placing.memory_plan import TOKENS_MAX

#: What is read alone is right-padded to a multiple of this many tokens: kernels see few shapes.
PAD_TOKENS = 64

#: Indices of completions, and of each the states that drew it, float32 [T, H].
Batch = tuple[list[int], list[Tensor]]


class CausalModel(Protocol):
    """A causal model as `Reference` drives it: Hugging Face's Qwen2, Qwen3, Llama; `SplitModel`.

    Its `.model(input_ids, use_cache=False)` gives normed states [B, T, H] as `.last_hidden_state`,
    its `.lm_head(states)` logits. Where it has an attribute `packs` that is true, `.model` also
    takes `position_ids` and `packing` with one row of ids.
    """

    @property
    def config(self) -> Any:
        """Hugging Face's."""

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
    """All completions, by the best way that the model knows.

    Args:
        prompts: of each completion, at least one token.
        completions: at least one token each.
        tokens_max: of one pass; more where a single completion needs it.
        share: read a prompt that several have once.
    """
    if not getattr(model, "packs", False):
        yield from read_alone(model, prompts, completions)
        return
    for pack in make_packs(prompts, completions, tokens_max, share=share):
        yield pack.indices, read_pack(model, pack)


def read_pack(model: CausalModel, pack: "Pack") -> list[Tensor]:
    """The states [T, H] that drew each completion of a pack, of a model that packs."""
    packing = make_packing(pack.lengths)
    ids = torch.tensor([pack.tokens], device=model.device)
    positions = packing.make_positions(model.device)
    out = model.model(ids, position_ids=positions, packing=packing, use_cache=False)
    states = out.last_hidden_state[0]
    return [states[rows] for rows in pack.rows]


def read_alone(
    model: CausalModel, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
) -> Iterator[Batch]:
    """One completion at a time, its prompt before it, right-padded."""
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
        indices: of the completions in it. rows: where the states lie that drew each.
    """

    tokens: list[int] = field(default_factory=list)
    lengths: list[tuple[int, int | None]] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    rows: list[slice] = field(default_factory=list)

    def add(self, tokens: Sequence[int], shared: int | None = None) -> int:
        """Appends a sequence; its number."""
        self.tokens += tokens
        self.lengths.append((len(tokens), shared))
        return len(self.lengths) - 1

    def add_completion(self, index: int, length: int) -> None:
        """The last so many tokens of the row draw a completion."""
        self.indices.append(index)
        self.rows.append(slice(len(self.tokens) - length, len(self.tokens)))


def make_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int = TOKENS_MAX,
    *,
    share: bool = True,
) -> Iterator[Pack]:
    """Packs of so many tokens at most; one has more where a single completion needs it.

    Completions of one prompt follow each other; the prompt, without its last token, stands before
    them, again in each pack that has some of them.
    """
    sharing: dict[object, list[int]] = {}
    for index, prompt in enumerate(prompts):
        sharing.setdefault(tuple(prompt) if share else index, []).append(index)
    pack = Pack()
    for members in sharing.values():
        *before, last = prompts[members[0]]
        prefix: int | None = None  # its number in the pack
        for index in members:
            own = [last, *completions[index][:-1]]
            needed = len(own) + (0 if prefix is not None else len(before))
            if pack.tokens and len(pack.tokens) + needed > tokens_max:
                yield pack
                pack, prefix = Pack(), None
            if len(members) == 1:
                own = [*before, *own]
            elif before and prefix is None:
                prefix = pack.add(before)
            pack.add(own, prefix)
            pack.add_completion(index, len(completions[index]))
    if pack.tokens:
        yield pack


def make_even_packs(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    tokens_max: int,
    processes: int,
) -> list[Pack]:
    """Packs for processes that take one each at a time: no more rounds than `make_packs` needs, and
    packs of about one size, since a round takes as long as its largest."""
    packs = list(make_packs(prompts, completions, tokens_max))
    if processes == 1:
        return packs
    count = -(-len(packs) // processes) * processes
    least, most = 1, tokens_max
    while least < most:  # the smallest size that needs no more packs
        size = (least + most) // 2
        if sum(1 for _ in make_packs(prompts, completions, size)) <= count:
            most = size
        else:
            least = size + 1
    return list(make_packs(prompts, completions, least))
