"""The properties that packed measuring rests on, tried on a model itself.

The table of families says what a config.json may say. Whether the installed library still computes
it, only the model can tell. A property that fails refuses the model: none of them ever failed by a
little. Run by what makes a network of a model, not by each load.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from assay.inference.block_attention import BLOCK_ATTENTION
from assay.inference.folder import CheckpointError
from assay.inference.head import compute_logits
from assay.inference.implementations import make_packing_twin, make_twin
from assay.inference.reading import CausalModel, read, read_alone
from assay.inference.routing import FIRST_RAMP

#: Most tokens of a probe's row, and the share of the logits' standard deviation by which two
#: computations of one model may differ at most. Honest ones of fp32 differ by a tenth of it, and
#: the smallest fault that was seen by four times as much.
TOKENS_MAX, LIMIT = 512, 1e-3

#: One reader of completions behind prompts: `read` or `read_alone`.
_Reader = Callable[..., Any]


class ProbeError(CheckpointError):
    """A model that packed measuring would measure wrongly."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What one property came to.

    Attributes:
        name: of the property.
        about: what is wrong where it fails.
        difference: the largest between two logits that should be equal.
        allowed: the most that it may be.
        fault: the error that kept it from being measured, or None.
    """

    name: str
    about: str
    difference: float
    allowed: float
    fault: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the model has the property."""
        return self.fault is None and self.difference <= self.allowed


def probe(model: PreTrainedModel, seed: int = 0) -> list[Probe]:
    """Try all properties of a model in fp32, by about ten passes of at most `TOKENS_MAX` random
    tokens. A mixture without a ramp has `FIRST_RAMP` for that time."""
    ramped: Any = model
    ramp = getattr(ramped, "router_ramp", 0)
    ramped.router_ramp = ramp or FIRST_RAMP
    try:
        return _Probes(model, seed).try_all()
    finally:
        ramped.router_ramp = ramp


def require_holding(probes: Iterable[Probe]) -> list[Probe]:
    """All of them. Raises a ProbeError that names the first property that fails, and by how
    much."""
    held = []
    for found in probes:
        held.append(found)
        if not found.holds:
            why = found.fault or (
                "a logit is not a finite number"
                if not isfinite(found.difference)
                else f"logits differ by {found.difference:.2g}, and {found.allowed:.2g} is allowed"
            )
            raise ProbeError(f"this model cannot be measured ({found.name}): {found.about}: {why}")
    return held


class _Probes:
    def __init__(self, model: PreTrainedModel, seed: int) -> None:
        self._model = model
        self._eager: Any = make_twin(model, "eager")
        self._random = np.random.default_rng(seed)
        reach = min(TOKENS_MAX, model.config.max_position_embeddings)
        long, short = self._draw(reach // 12 + 1), self._draw(reach // 50 + 1)
        self._prompts = [long, long, short]
        self._completions = [self._draw(max(2, reach // share)) for share in (7, 15, 5)]
        self._row = [*long, *self._completions[0]]
        self._reach = reach

    def try_all(self) -> list[Probe]:
        with torch.inference_mode():
            whole = self._compute_whole()
            allowed = LIMIT * max(float(whole.std()), 1e-6)
            alone = self._read(self._eager, read_alone)
            found = []
            for name, about, compare in self._list_properties(whole, alone):
                difference, fault = np.inf, None
                try:
                    difference = compare()
                except (ValueError, RuntimeError, TypeError, AttributeError, LookupError) as error:
                    message = str(error).partition("\n")[0]
                    fault = f"{type(error).__name__}: {message[:200]}"
                found.append(Probe(name, about, difference, allowed, fault))
        return found

    def _list_properties(
        self, whole: Tensor, alone: Sequence[Tensor]
    ) -> list[tuple[str, str, Callable[[], float]]]:
        tail = min(8, len(self._row) // 2)
        changed = [*self._row[:-tail], *self._draw(tail)]
        rows = [*self._row], [*reversed(self._row)]
        return [
            (
                "head",
                "its logits are not those that its family's head makes of its last states",
                lambda: _compare(whole, alone[0]),
            ),
            (
                "packing",
                "several sequences in one row change each other",
                lambda: self._compare_alone(alone, make_packing_twin(self._model), read),
            ),
            (
                "blocks",
                "its attention in blocks is not its own",
                lambda: self._compare_alone(
                    alone, make_twin(self._model, BLOCK_ATTENTION), read_alone
                ),
            ),
            (
                "causality",
                "a later token changes what an earlier one draws",
                lambda: _compare(self._plain[:-tail], self._compute([changed], -tail)),
            ),
            (
                "length",
                "a longer row changes what an earlier token draws",
                lambda: _compare(
                    self._plain,
                    self._compute([[*self._row, *self._draw(self._reach - len(self._row))]]),
                ),
            ),
            (
                "batch",
                "another row changes what a token draws",
                lambda: _compare(self._plain, self._compute(rows)),
            ),
        ]

    def _draw(self, count: int) -> list[int]:
        ids: list[int] = self._random.integers(0, self._model.config.vocab_size, count).tolist()
        return ids

    def _compute_whole(self) -> Tensor:
        """The class's own logits, where the first completion is drawn."""
        ids = torch.tensor([self._row], device=self._model.device)
        logits: Tensor = self._eager(input_ids=ids, use_cache=False).logits[0]
        return logits[len(self._prompts[0]) - 1 : -1]

    @cached_property
    def _plain(self) -> Tensor:
        """The logits of the probe's row, read alone."""
        return self._compute([self._row])

    def _compute(self, rows: Sequence[Sequence[int]], end: int | None = None) -> Tensor:
        """Logits at the first row's places that the probe's row has."""
        ids = torch.tensor(rows, device=self._model.device)
        states = self._eager.model(ids, use_cache=False).last_hidden_state[0]
        return compute_logits(self._eager, states[: len(self._row)][:end])

    def _compare_alone(self, alone: Sequence[Tensor], model: CausalModel, reader: _Reader) -> float:
        return _compare(torch.cat(tuple(alone)), torch.cat(self._read(model, reader)))

    def _read(self, model: CausalModel, reader: _Reader) -> list[Tensor]:
        """Logits of each completion."""
        states: dict[int, Tensor] = {}
        for chosen, found in reader(model, self._prompts, self._completions):
            states |= zip(chosen, found, strict=True)
        return [compute_logits(model, states[i]) for i in range(len(self._completions))]


def _compare(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
