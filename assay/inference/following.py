"""The reference that follows a growing draft: it keeps what the tokens before have left in its
layers, and reads only new ones. After a correction a recurrent layer's state returns to the start
of the stretch, and the stretch's right tokens are read once more.

Its findings on a token are those of a prefill of the whole, except for the last bits: the shapes
differ. Where an id came second by so little that those bits could decide, a prefill of exactly the
tokens before it decides. The result does not depend on the drafter, nor on how far ahead it
drafted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from assay.inference.draws.sampler import make_keys
from assay.inference.packing import KeptState, make_kept_packing
from assay.inference.passages import Passage
from assay.inference.placing.devices import free_memory, get_free_memory, is_out_of_memory
from assay.inference.placing.model_sizes import MemoryPlan, measure_shape
from assay.inference.plain.states import get_plain_head
from assay.inference.playing import Play
from assay.inference.reference import Reference, Rows, SketchBuilder
from assay.protocol.episode import Reply, weave
from assay.verification import Projection

#: Bytes of an element of a key or value: the reference keeps them in fp32.
_FLOAT_BYTES = 4
#: 2^-20 logits. Another pass may reverse a lead of this size or less. Honest passes differ by more
#: in fewer than one in 10^10 tokens: it is `margin_cap` of the parameters (section 0), here that of
#: a model of about a million parameters.
NEAR = 210


@dataclass(slots=True, eq=False)
class FollowedRow:
    """One rollout in progress.

    Attributes:
        prompt: of the problem.
        tokens: its own so far, of all turns.
        measured: number of tokens at its start that are the reference's own.
        logprobs, sketch: of these, one part for each pass: int64 [n] and int8 [n, 2].
        settled: place of a token that its own prefill has decided, and the token.
        kept: what has been read of it.
        play: its episode, up to the turn in progress; None: it has one turn.
    """

    prompt: tuple[int, ...]
    seed: bytes
    tokens: list[int] = field(default_factory=list)
    measured: int = 0
    logprobs: list[NDArray[np.int64]] = field(default_factory=list)
    sketch: list[NDArray[np.int8]] = field(default_factory=list)
    settled: tuple[int, int] | None = None
    kept: KeptState | None = None
    play: Play | None = None

    @property
    def at(self) -> int:
        """Own tokens before the turn in progress."""
        return 0 if self.play is None else self.play.episode.own

    @property
    def turn(self) -> list[int]:
        """The tokens of the turn in progress."""
        return self.tokens[self.at :]

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Of the episode so far. All are before the turn in progress."""
        return () if self.play is None else self.play.episode.replies

    @property
    def sequence(self) -> list[int]:
        """All its tokens: of the prompt, of turns and of replies."""
        return [*self.prompt, *weave(self.tokens, self.replies)[0]]

    def locate(self, own: int) -> int:
        """The place in its sequence of own token `own`, of the turn in progress."""
        before = len(self.prompt) if self.play is None else self.play.episode.length
        return before + own - self.at

    @property
    def unread(self) -> int:
        """The number of tokens that must go through the model to measure the unmeasured ones."""
        read = 0 if self.kept is None else self.kept.length
        return self.locate(len(self.tokens)) - 1 - read


class _NewTokens(NamedTuple):
    """The results of a pass for a row's new tokens, each [n]."""

    leads: NDArray[np.int64]
    best: NDArray[np.int64]
    logprobs: NDArray[np.int64]
    sketch: NDArray[np.int8]  # [n, 2]


@dataclass(slots=True)
class FollowCount:
    """The cost of following, in tokens that went through the model, prompts among them."""

    read: int = 0
    settling: int = 0  # in addition, in prefills that decided near ties
    wrong: int = 0  # tokens that were corrected
    near: int = 0  # tokens that such a prefill decided


class Follower:
    """Measures new tokens of rollouts, and corrects them.

    Args:
        reference: its model must pack. One that its own class reads does not, and reads whole
            sequences again.
        projection: of the window's sketches.
        max_tokens: of a completion.
        context: most tokens of a sequence with replies; 0: none has any.
        near: see `NEAR`.
        kept_max: most sequences of which the state is kept. Fewer are kept if half of the free
            memory has no room for them, and once memory runs out. The others are read again at
            their turn.

    Raises (`follow`):
        DeviceError: memory does not suffice for a single sequence.
    """

    def __init__(
        self,
        reference: Reference,
        projection: Projection,
        max_tokens: int,
        near: int = NEAR,
        kept_max: int = 256,
        context: int = 0,
    ) -> None:
        self._reference = reference
        self._projection = projection
        self._project = SketchBuilder(projection, reference.model.device)
        self._max_tokens = max_tokens
        self._context = context
        self._near = near
        self.kept_max = self._fit(kept_max)
        self._keeping: dict[FollowedRow, None] = {}  # oldest first
        self._prompt: tuple[tuple[int, ...], KeptState] | None = None
        self._rereads = get_plain_head(reference.model) is not None
        self.count = FollowCount()

    def _fit(self, wanted: int) -> int:
        """The number of sequences that fit into memory, with prompts as long as completions, and
        with the states of recurrent layers twice: now, and at the mark."""
        model = self._reference.model
        free = get_free_memory(str(model.device))
        if free is None:
            return wanted
        shape = measure_shape(model.config, 0)
        longest = max(self._context, 2 * self._max_tokens)
        each = _FLOAT_BYTES * (shape.count_kept(longest) + 2 * shape.state)
        return max(1, min(wanted, free // 2 // each))

    def follow(self, rows: Sequence[FollowedRow]) -> int:
        """Measure the unmeasured tokens. Cut each row at the first token that is not the
        reference's own, and replace that token. Return how many tokens were removed."""
        longest = max((row.locate(len(row.tokens)) for row in rows), default=0)
        what = f"new tokens of {len(rows)} completions"
        waiting = [row for row in rows if row.measured < len(row.tokens)]
        cut = 0

        def read_some(plan: MemoryPlan) -> list[_NewTokens]:
            while True:
                try:
                    with torch.inference_mode():
                        return self._read(self._choose(waiting, plan.tokens), plan)
                except (RuntimeError, MemoryError) as error:
                    if len(self._keeping) < 2 or not is_out_of_memory(error):
                        raise  # with a single row, a smaller plan is the only way
                    self.kept_max = len(self._keeping) // 2
                for row in list(self._keeping):
                    self.forget(row)
                free_memory(str(self._reference.model.device))

        while waiting:
            new_tokens = self._reference.budget.run(read_some, what, longest)
            cut += sum(map(self._settle, waiting, new_tokens))
            del waiting[: len(new_tokens)]
        return cut

    def forget(self, row: FollowedRow) -> None:
        """Free the memory of a finished row."""
        row.kept = None
        self._keeping.pop(row, None)

    # --- reading

    def _choose(self, waiting: Sequence[FollowedRow], tokens: int) -> list[FollowedRow]:
        """The first rows, as many as go through the model together."""
        if self._rereads:
            return [*waiting[:1]]
        batch: list[FollowedRow] = []
        for row in waiting[: self.kept_max]:
            self._open(row)
            tokens -= row.unread
            if batch and tokens < 0:
                break
            batch.append(row)
        return batch

    def _open(self, row: FollowedRow) -> None:
        """Allocate what is kept of a row, with that of its prompt, which its whole group shares."""
        if row.kept is not None:
            self._keeping[row] = self._keeping.pop(row)
            return
        while len(self._keeping) >= self.kept_max:
            self.forget(next(iter(self._keeping)))
        longest = max(self._context, len(row.prompt) + self._max_tokens)
        row.kept = self._read_prompt(row.prompt).fork(longest)
        self._keeping[row] = None

    def _read_prompt(self, prompt: tuple[int, ...]) -> KeptState:
        """What a prompt but for its last token leaves behind."""
        if self._prompt is None or self._prompt[0] != prompt:
            kept = KeptState(len(prompt), stays=True)
            if len(prompt) > 1:
                self._run([prompt[:-1]], [kept])
            self._prompt = prompt, kept
        return self._prompt[1]

    def _run(self, parts: Sequence[Sequence[int]], kept: Sequence[KeptState]) -> list[Tensor]:
        """The states of new tokens, float32 [n, H] for each sequence, which `kept` then counts."""
        lengths = [len(part) for part in parts]
        packing = make_kept_packing(list(zip(lengths, kept, strict=True)))
        device = self._reference.model.device
        ids = torch.tensor([[token for part in parts for token in part]], device=device)
        positions = packing.make_positions(device)
        out = self._reference.model.model(
            ids, position_ids=positions, packing=packing, use_cache=False
        )
        for length, each in zip(lengths, kept, strict=True):
            each.length += length
        self.count.read += sum(lengths)
        return list(out.last_hidden_state[0].split(lengths))

    def _read(self, batch: Sequence[FollowedRow], plan: MemoryPlan) -> list[_NewTokens]:
        if self._rereads:
            return self._measure(batch, [self._reread(row) for row in batch], plan)
        kept = [row.kept for row in batch if row.kept is not None]
        assert len(kept) == len(batch), "more rows are read together than are kept"
        whole = [row.sequence for row in batch]
        try:
            self._catch_up(
                [
                    (each, tokens[each.length : row.locate(row.measured) - 1])
                    for row, tokens, each in zip(batch, whole, kept, strict=True)
                    if each.is_recurrent
                ]
            )
            parts = [tokens[each.length : -1] for tokens, each in zip(whole, kept, strict=True)]
            return self._measure(batch, self._run(parts, kept), plan)
        except (RuntimeError, MemoryError):
            for each in kept:
                each.return_to_mark()  # the tokens are read again
            raise

    def _reread(self, row: FollowedRow) -> Tensor:
        """The states that drew a row's own tokens, by a prefill of all that is known of it."""
        passage = Passage(row.prompt, tuple(row.tokens), row.replies)
        (states,) = self._reference.compute_states([passage])
        self.count.read += row.locate(len(row.tokens))
        return states

    def _catch_up(self, settled: Sequence[tuple[KeptState, Sequence[int]]]) -> None:
        """Read the tokens that are known to be right, and mark them: no other correction goes back
        before them."""
        behind = [(each, tokens) for each, tokens in settled if tokens]
        if behind:
            self._run([tokens for _, tokens in behind], [each for each, _ in behind])
            for each, _ in behind:
                each.mark()

    def _measure(
        self, batch: Sequence[FollowedRow], states: Sequence[Tensor], plan: MemoryPlan
    ) -> list[_NewTokens]:
        device = self._reference.model.device
        counts = [len(row.tokens) - row.measured for row in batch]
        fresh = [s[len(s) - n :] for s, n in zip(states, counts, strict=True)]
        tokens = [token for row in batch for token in row.tokens[row.measured :]]
        places = [torch.arange(row.measured, len(row.tokens)) for row in batch]
        rows = Rows(
            states=torch.cat(fresh),
            tokens=torch.tensor(tokens, device=device),
            keys=make_keys([row.seed for row in batch], device).repeat_interleave(
                torch.tensor(counts, device=device), dim=0
            ),
            positions=torch.cat(places).to(device),
        )
        measured = self._reference.split_columns(
            rows, counts, self._project, plan, self._reference.lead_chunk
        )
        return [
            _NewTokens(leads, best, logprobs, sketch)
            for leads, _, best, _, logprobs, sketch in measured
        ]

    # --- corrections

    def _settle(self, row: FollowedRow, measured: _NewTokens) -> int:
        """Keep the results up to the first wrong token, and replace that with the right one. Return
        how many tokens were removed."""
        new = np.array(row.tokens[row.measured :])
        wrong = find_wrong(
            new, measured.best, measured.leads, self._near, partial(self._decide, row)
        )
        right = len(new) if wrong is None else wrong[0]
        row.logprobs.append(measured.logprobs[:right])
        row.sketch.append(measured.sketch[:right])
        row.measured += right
        cut = 0
        if wrong is not None:
            cut = len(row.tokens) - row.measured
            row.tokens[row.measured :] = [wrong[1]]
            self.count.wrong += 1
        if row.kept is not None:  # the state that draws a right token is read again, with it
            row.kept.rewind(row.locate(row.measured) - 1)
            row.kept.mark()
        return cut

    def _decide(self, row: FollowedRow, index: int) -> int:
        place = row.measured + index
        if row.settled is None or row.settled[0] != place:
            before = row.tokens[:place]
            asked = self._reference, row.prompt, before, row.seed, self._projection, row.replies
            row.settled = place, decide_token(*asked)
            self.count.near += 1
            self.count.settling += row.locate(place)
        return row.settled[1]


def find_wrong(
    tokens: NDArray[Any],
    best: NDArray[np.int64],
    leads: NDArray[np.int64],
    near: int,
    decide: Callable[[int], int],
) -> tuple[int, int] | None:
    """The index of the first token that is not the reference's own, and the right token.

    Args:
        tokens, best, leads: [n] each: the claimed ids, the keyed argmax, and its lead.
        near: see `NEAR`.
        decide: returns the token at an index where the lead is that small.
    """
    for i in np.flatnonzero((best != tokens) | (leads <= near)).tolist():
        drawn = decide(i) if leads[i] <= near else int(best[i])
        if drawn != tokens[i]:
            return i, drawn
    return None


def decide_token(
    reference: Reference,
    prompt: Sequence[int],
    before: Sequence[int],
    seed: bytes,
    projection: Projection,
    replies: Sequence[Reply] = (),
) -> int:
    """The token that follows part of a completion, by a prefill of exactly those tokens. `before`
    has the completion's own tokens so far, and `replies` stand between them or behind them."""
    whole = np.array([*before, 0], np.uint32)  # the draw does not depend on the claimed token
    (alone,) = reference.measure([prompt], [whole], [seed], projection, [replies])
    return int(alone.best[-1])
