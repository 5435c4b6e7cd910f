"""The reference: a batched prefill in fp32 over the checkpoint's stored weights.

The reference does not know who generated the tokens, with which engine, in which precision or in
which batch. It measures what the model itself would have drawn at every position, and how far the
claim is from it. Specification, sections 3, 5 and 6.

It reads each token of a completion once, and a prompt that several completions share once
(`assay.inference.reading`). The memory plan says how much is computed together. One [tokens,
vocabulary] array exists at a time, with 4 bytes an element. Where nothing compiles
(`assay.inference.draws.sampler`) there are two on a CPU, and 40 bytes more an element on a GPU.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from assay.inference.draws.row_statistics import RowMeter
from assay.inference.draws.sampler import KeyedSampler, make_keys
from assay.inference.head import compute_logits
from assay.inference.passages import Passage
from assay.inference.placing.memory_plan import MemoryBudget
from assay.inference.placing.model_sizes import MemoryPlan
from assay.inference.reading import Batch, CausalModel, Replies, read
from assay.sandbox.usage import using
from assay.verification import SKETCH_CLIP, SKETCH_GAIN, Measurement, Projection


class Reference:
    """The judge's `Forward` over a causal model.

    Args:
        model: weights in fp32, in evaluation mode.
        drawable: bool [V].
        temperature: Tq = 1024 · T.
        budget: amount computed together; None: the limits of a tiny model.
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
        self.budget = budget or MemoryBudget(MemoryPlan(), str(model.device), len(drawable))
        self._meter = RowMeter(KeyedSampler(drawable, temperature, model.device))

    def measure(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Replies = None,
    ) -> list[Measurement]:
        """See `assay.verification.Forward`. Raises DeviceError: memory does not suffice for the
        longest completion alone."""
        texts = Texts(prompts, completions, replies)
        measured = self._measure_all(texts, seeds, projection, self.measure_chunk)
        return [_make_measurement(*columns) for columns in measured]

    def measure_with_leads(
        self,
        prompts: Sequence[Sequence[int]],
        completions: Sequence[NDArray[np.uint32]],
        seeds: Sequence[bytes],
        projection: Projection,
        replies: Replies = None,
    ) -> list[tuple[Measurement, NDArray[np.int64]]]:
        """The same as `measure`, each with the leads of its tokens: see `RowMeter.find_leads`."""
        texts = Texts(prompts, completions, replies)
        measured = self._measure_all(texts, seeds, projection, self.lead_chunk)
        return [(_make_measurement(*columns), leads) for leads, *columns in measured]

    def _measure_all(
        self,
        texts: "Texts",
        seeds: Sequence[bytes],
        projection: Projection,
        measure: "ChunkMeasure",
    ) -> list["Columns"]:
        count, longest = len(texts.completions), max(texts.lengths, default=0)
        what = f"{count} completions, the longest of {longest} tokens with its prompt"
        with using(f"device {self.model.device}"):
            return self.budget.run(
                lambda plan: self._measure(texts, seeds, projection, plan, measure), what, longest
            )

    def _measure(
        self,
        texts: "Texts",
        seeds: Sequence[bytes],
        projection: Projection,
        plan: MemoryPlan,
        measure: "ChunkMeasure",
    ) -> list["Columns"]:
        device = self.model.device
        project = SketchBuilder(projection, device)
        keys = make_keys(seeds, device)
        measured: dict[int, Columns] = {}
        with torch.inference_mode():
            for chosen, states in self._iterate_states(texts, plan):
                lengths = [len(state) for state in states]
                tokens = np.concatenate([texts.completions[i] for i in chosen]).astype(np.int64)
                rows = Rows(
                    states=torch.cat(states),
                    tokens=torch.from_numpy(tokens).to(device),
                    keys=keys[chosen].repeat_interleave(
                        torch.tensor(lengths, device=device), dim=0, output_size=len(tokens)
                    ),
                    positions=torch.cat([torch.arange(n) for n in lengths]).to(device),
                )
                columns = self.split_columns(rows, lengths, project, plan, measure)
                measured |= zip(chosen, columns, strict=True)
        return [measured[i] for i in range(len(texts.completions))]

    def compute_states(self, passages: Sequence[Passage]) -> list[Tensor]:
        """The states that drew each token of a completion, float32 [T, H] for each passage.

        Reads whole passages: nothing is shared.

        Raises:
            DeviceError: as `measure`.
        """
        prompts = [passage.prompt for passage in passages]
        completions = [passage.completion for passage in passages]
        replies = [passage.replies for passage in passages]

        def compute(plan: MemoryPlan) -> list[Tensor]:
            states: dict[int, Tensor] = {}
            with torch.inference_mode():
                for chosen, chosen_states in read(
                    self.model, prompts, completions, plan.tokens, share=False, replies=replies
                ):
                    states |= zip(chosen, chosen_states, strict=True)
            return [states[i] for i in range(len(passages))]

        longest = max((passage.length for passage in passages), default=0)
        return self.budget.run(compute, f"a passage of {longest} tokens", longest)

    def compute_logits(self, states: Tensor) -> Tensor:
        """Logits of states [T, H], float32 [T, V]. The caller bounds T."""
        with torch.inference_mode():
            return compute_logits(self.model, states)

    def _iterate_states(self, texts: "Texts", plan: MemoryPlan) -> Iterator[Batch]:
        """Batches of (indices of completions, states [T, H] of each)."""
        return read(self.model, texts.prompts, texts.rows, plan.tokens, replies=texts.replies)

    def split_columns(
        self,
        rows: "Rows",
        lengths: Sequence[int],
        project: "SketchBuilder",
        plan: MemoryPlan,
        measure: "ChunkMeasure",
    ) -> list["Columns"]:
        """The measurements of rows, as many together as the plan allows.

        Args:
            lengths: of the completions that the rows are of, one after the other.
            measure: `measure_chunk` or `lead_chunk`.

        Returns:
            For each completion, the results of `measure`.
        """
        step = max(1, plan.elements // len(self.drawable))
        parts = [
            measure(rows.cut(slice(start, start + step)), project)
            for start in range(0, len(rows.tokens), step)
        ]
        columns = [
            np.split(torch.cat(column).cpu().numpy(), np.cumsum(lengths)[:-1])
            for column in zip(*parts, strict=True)
        ]
        return list(zip(*columns, strict=True))

    def measure_chunk(self, rows: "Rows", project: "SketchBuilder") -> tuple[Tensor, ...]:
        """Margins, argmax, Gini impurity, log-probabilities and sketch of some rows."""
        return self._measure_logits(compute_logits(self.model, rows.states), rows, project)

    def lead_chunk(self, rows: "Rows", project: "SketchBuilder") -> tuple[Tensor, ...]:
        """The same after the leads, see `RowMeter.find_leads`."""
        logits = compute_logits(self.model, rows.states)
        leads = self._meter.find_leads(logits, rows.keys, rows.positions)
        return leads, *self._measure_logits(logits, rows, project)

    def _measure_logits(
        self, logits: Tensor, rows: "Rows", project: "SketchBuilder"
    ) -> tuple[Tensor, ...]:
        statistics = self._meter.measure(logits, rows.keys, rows.positions, rows.tokens)
        sketch = project.build(rows.states)
        return statistics.margins, statistics.best, statistics.gini, statistics.logprobs, sketch


def _make_measurement(
    margins: NDArray[Any],
    best: NDArray[Any],
    gini: NDArray[Any],
    logprobs: NDArray[Any],
    sketch: NDArray[Any],
) -> Measurement:
    return Measurement(margins, best, gini, logprobs.astype(np.uint32), sketch)


@dataclass(frozen=True, slots=True)
class Texts:
    """What is measured: see `assay.verification.Forward`."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[NDArray[np.uint32]]
    replies: Replies

    @property
    def rows(self) -> list[list[int]]:
        """The completions as `read` takes them."""
        return [completion.tolist() for completion in self.completions]

    @property
    def lengths(self) -> list[int]:
        """Tokens of each completion with its prompt and replies."""
        replies = [()] * len(self.completions) if self.replies is None else self.replies
        return [
            len(prompt) + len(tokens) + sum(len(reply.ids) for reply in said)
            for prompt, tokens, said in zip(self.prompts, self.completions, replies, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Rows:
    """Tokens of several completions, one after the other."""

    states: Tensor  # float32 [N, H]
    tokens: Tensor  # int64 [N]
    keys: Tensor  # int64 [N, 4]
    positions: Tensor  # int64 [N]

    def cut(self, rows: slice) -> "Rows":
        return Rows(self.states[rows], self.tokens[rows], self.keys[rows], self.positions[rows])


#: Measures some rows. Returns tensors with an element, or a row of them, for each.
ChunkMeasure = Callable[[Rows, "SketchBuilder"], tuple[Tensor, ...]]
#: The same for one completion's rows.
Columns = tuple[NDArray[Any], ...]


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
