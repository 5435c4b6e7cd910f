"""The reference: the checkpoint's stored weights in fp32, a batched prefill.

What this does not know: who generated the tokens, with which engine, in which precision or whose
batch. It says what the model itself would have drawn at every position, and how far the claim is
from it. Specification, sections 3, 5 and 6.

What it costs: a prompt that several completions share is computed once, or, where it fits the
padding of its completions, within their pass. Completions whose lengths round up to the same
multiple of 64 are prefilled together and with no others, so short ones do not pay for long ones,
and what is measured of one depends on its company in the last bits of a matrix product only.
How much is computed together is the memory plan's. One [tokens, vocabulary] array lives at once, of
4 bytes an element; where nothing compiles (`assay.inference.sampler`) it is two on a CPU, and 40
bytes an element more on a card.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from assay.inference.memory_plan import MemoryBudget, MemoryPlan
from assay.inference.passages import Passage
from assay.inference.row_statistics import RowMeter
from assay.inference.sampler import KeyedSampler, make_keys
from assay.verification import SKETCH_CLIP, SKETCH_GAIN, Measurement, Projection

#: Completions are right-padded to a multiple of this many tokens: kernels see few shapes.
PAD_TOKENS = 64


class CausalModel(Protocol):
    """A causal model as `Reference` drives it: Hugging Face's Qwen2, Qwen3, Llama; `SplitModel`.

    Its `.model(input_ids, past_key_values=…, use_cache=…)` gives normed states [B, T, H] as
    `.last_hidden_state`, its `.lm_head(states)` logits.
    """

    @property
    def config(self) -> Any:
        """Hugging Face's."""

    @property
    def dtype(self) -> torch.dtype:
        """Of states and logits: float32."""

    @property
    def device(self) -> torch.device:
        """Where token ids are expected."""

    @property
    def model(self) -> Any:
        """See above."""

    @property
    def lm_head(self) -> Any:
        """See above."""


class Reference:
    """`Forward` of the judge over a causal model.

    Args:
        model: weights in fp32, in evaluation mode.
        drawable: bool [V].
        temperature: Tq = 1024 · T.
        budget: what is computed together; None: as much as a tiny model may.
    """

    def __init__(
        self,
        model: CausalModel,
        drawable: NDArray[np.bool_],
        temperature: int,
        budget: MemoryBudget | None = None,
    ) -> None:
        if model.dtype != torch.float32:
            raise ValueError(f"the reference computes in float32, the model is {model.dtype}")
        #: bool [V], on the CPU.
        self.drawable = torch.from_numpy(drawable.copy())
        self.model = model
        self.budget = budget or MemoryBudget(MemoryPlan(), str(model.device))
        self._meter = RowMeter(KeyedSampler(drawable, temperature, model.device))

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`. Raises DeviceError: memory does not suffice for the
        longest of them alone."""
        what = _name_work(prompts, completions)
        return self.budget.run(
            lambda plan: self._measure(prompts, completions, seeds, projection, plan), what
        )

    def _measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        plan: MemoryPlan,
    ) -> list[Measurement]:
        device = self.model.device
        project = SketchBuilder(projection, device)
        keys = make_keys(seeds, device)
        measured: dict[int, Measurement] = {}
        with torch.inference_mode():
            for chosen, states in self._iterate_states(prompts, completions, plan):
                lengths = [len(state) for state in states]
                tokens = np.concatenate([completions[i] for i in chosen]).astype(np.int64)
                rows = Rows(
                    states=torch.cat(states),
                    tokens=torch.from_numpy(tokens).to(device),
                    keys=keys[chosen].repeat_interleave(
                        torch.tensor(lengths, device=device), dim=0, output_size=len(tokens)
                    ),
                    positions=torch.cat([torch.arange(n) for n in lengths]).to(device),
                )
                found = self._measure_rows(rows, project, lengths, plan)
                measured |= zip(chosen, found, strict=True)
        return [measured[i] for i in range(len(completions))]

    def compute_states(self, passages: Sequence[Passage]) -> list[Tensor]:
        """The state that drew each token of a completion, float32 [T, H] a passage.

        Prompts differ here and nothing is shared: whole passages, right-padded, in batches.

        Raises:
            DeviceError: as `measure`.
        """

        def compute(plan: MemoryPlan) -> list[Tensor]:
            states: dict[int, Tensor] = {}
            with torch.inference_mode():
                for chosen, found in self._iterate_whole(passages, plan):
                    states |= zip(chosen, found, strict=True)
            return [states[i] for i in range(len(passages))]

        longest = max((len(p.prompt) + len(p.completion) for p in passages), default=0)
        return self.budget.run(compute, f"a passage of {longest} tokens")

    def compute_logits(self, states: Tensor) -> Tensor:
        """Logits of states [T, H], float32 [T, V]. The caller bounds T."""
        with torch.inference_mode():
            return self.model.lm_head(states)

    def _iterate_states(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        plan: MemoryPlan,
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """Batches of (indices of completions, states [T, H] of each)."""
        sharing: dict[tuple[int, ...], list[int]] = {}
        for i, prompt in enumerate(prompts):
            sharing.setdefault(tuple(prompt), []).append(i)
        whole: list[int] = []
        for prompt, members in sharing.items():
            rows = [completions[i] for i in members]
            if len(members) == 1 or _fits_padding(prompt, rows):
                whole += members
                continue
            for chosen, states in self._iterate_shared(prompt, rows, plan):
                yield [members[i] for i in chosen], states
        whole.sort()
        passages = [Passage(tuple(prompts[i]), tuple(completions[i].tolist())) for i in whole]
        for chosen, states in self._iterate_whole(passages, plan):
            yield [whole[i] for i in chosen], states

    def _iterate_shared(
        self, prompt: Sequence[int], completions: Sequence[NDArray[np.uint32]], plan: MemoryPlan
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """The same of completions of one prompt, which is computed once."""
        device = self.model.device
        prefix = DynamicCache(config=self.model.config)
        if len(prompt) > 1:
            shared = torch.tensor([prompt[:-1]], device=device)
            self.model.model(shared, past_key_values=prefix, use_cache=True)
        for chosen, padded in iterate_buckets([len(c) for c in completions], plan.tokens):
            rows = torch.zeros((len(chosen), padded), dtype=torch.int64)
            rows[:, 0] = prompt[-1]  # draws the first token; the last token draws nothing
            for row, i in zip(rows, chosen, strict=True):
                row[1 : len(completions[i])] = torch.from_numpy(
                    completions[i][:-1].astype(np.int64)
                )
            cache = copy.deepcopy(prefix)
            if len(prompt) > 1:
                cache.batch_repeat_interleave(len(chosen))
            out = self.model.model(rows.to(device), past_key_values=cache, use_cache=True)
            states = out.last_hidden_state
            yield (
                chosen,
                [state[: len(completions[i])] for state, i in zip(states, chosen, strict=True)],
            )

    def _iterate_whole(
        self, passages: Sequence[Passage], plan: MemoryPlan
    ) -> Iterator[tuple[list[int], list[Tensor]]]:
        """The same of whole passages, each with a prompt of its own."""
        for chosen, padded in iterate_buckets(
            [len(p.prompt) + len(p.completion) for p in passages], plan.tokens
        ):
            rows = torch.zeros((len(chosen), padded), dtype=torch.int64)
            for row, i in zip(rows, chosen, strict=True):
                whole = passages[i].prompt + passages[i].completion
                row[: len(whole)] = torch.tensor(whole)
            out = self.model.model(rows.to(self.model.device), use_cache=False)
            states = []
            for state, i in zip(out.last_hidden_state, chosen, strict=True):
                first = len(passages[i].prompt) - 1
                states.append(state[first : first + len(passages[i].completion)])
            yield chosen, states

    def _measure_rows(
        self, rows: "Rows", project: "SketchBuilder", lengths: Sequence[int], plan: MemoryPlan
    ) -> list[Measurement]:
        step = max(1, plan.elements // len(self.drawable))
        parts = [
            self.measure_chunk(rows.cut(slice(start, start + step)), project)
            for start in range(0, len(rows.tokens), step)
        ]
        columns = [
            np.split(torch.cat(column).cpu().numpy(), np.cumsum(lengths)[:-1])
            for column in zip(*parts, strict=True)
        ]
        return [
            Measurement(margins, best, gini, logprobs.astype(np.uint32), sketch)
            for margins, best, gini, logprobs, sketch in zip(*columns, strict=True)
        ]

    def measure_chunk(self, rows: "Rows", project: "SketchBuilder") -> tuple[Tensor, ...]:
        """Margins, argmax, Gini impurity, log-probabilities and sketch of some rows."""
        logits = self.model.lm_head(rows.states)
        found = self._meter.measure(logits, rows.keys, rows.positions, rows.tokens)
        sketch = project.build(rows.states)
        return found.margins, found.best, found.gini, found.logprobs, sketch


def _fits_padding(prompt: Sequence[int], completions: Sequence[NDArray[np.uint32]]) -> bool:
    """Whether no completion is padded to more tokens when its prompt stands before it."""
    return all(
        -(-(len(prompt) + len(completion)) // PAD_TOKENS) == -(-len(completion) // PAD_TOKENS)
        for completion in completions
    )


def _name_work(prompts: Sequence[Sequence[int]], completions: Sequence[NDArray[np.uint32]]) -> str:
    pairs = zip(prompts, completions, strict=True)
    longest = max((len(prompt) + len(tokens) for prompt, tokens in pairs), default=0)
    return f"{len(completions)} completions, the longest of {longest} tokens with its prompt"


def iterate_buckets(lengths: Sequence[int], tokens_max: int) -> Iterator[tuple[list[int], int]]:
    """Batches of (indices, padded length): rows that round up to the same multiple of
    `PAD_TOKENS`, within so many tokens, shortest first."""
    buckets: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        buckets.setdefault(-(-length // PAD_TOKENS) * PAD_TOKENS, []).append(i)
    for padded, members in sorted(buckets.items()):
        batch = max(1, tokens_max // padded)
        for start in range(0, len(members), batch):
            yield members[start : start + batch], padded


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens of several completions, one after the other."""

    states: Tensor  # float32 [N, H]
    tokens: Tensor  # int64 [N]
    keys: Tensor  # int64 [N, 4]
    positions: Tensor  # int64 [N]

    def cut(self, rows: slice) -> "Rows":
        return Rows(self.states[rows], self.tokens[rows], self.keys[rows], self.positions[rows])


class SketchBuilder:
    """q = clip(round(32 · ((h − μ) @ R) / scale), ±127) on tensors, C columns.

    Gain and centre are folded into the matrix and a bias, so that states are read once and never
    copied: h @ (R · gain) − (μ @ R) · gain.
    """

    def __init__(self, projection: Projection, device: torch.device | None = None) -> None:
        scaled = projection.matrix.astype(np.float64).T * (SKETCH_GAIN / projection.scale)
        bias = -(scaled @ projection.centre)
        # [C, H] row-major: five times as fast as [H, 2] on a CPU
        self._matrix = torch.from_numpy(np.ascontiguousarray(scaled, np.float32)).to(device)
        self._bias = torch.from_numpy(bias.astype(np.float32)).to(device)

    def build(self, states: Tensor) -> Tensor:
        """States float32 [T, H] → int8 [T, C]."""
        projected = F.linear(states, self._matrix, self._bias)
        return projected.round_().clamp_(-SKETCH_CLIP, SKETCH_CLIP).to(torch.int8)
