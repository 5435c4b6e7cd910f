"""One class for both of vLLM's model runners, each of which has its own interface.

V1 reports before each step which request has which row of a batch; V2 keeps a slot for each
request, and a request may have several rows, those of tokens that a smaller model has drafted among
them. The arguments of the constructor say which of the two it is.
"""

from typing import Any

import torch
import vllm
from torch import Tensor
from vllm.config import VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.v1.sample.logits_processor import LogitsProcessor as LogitsProcessorV1
from vllm.v1.sample.logits_processor import MoveDirectionality
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as LogitsProcessorV2

from assay_vllm.drawable import find_drawable
from assay_vllm.keyed_draw import KeyedDraw, KeyedRow, choose, read_row

#: Releases of vLLM that this was tried with; the interfaces change between releases.
SUPPORTED = ("0.32",)


def require_supported(found: str = vllm.__version__) -> None:
    """Raises a RuntimeError: this vLLM is another than this was tried with."""
    if ".".join(found.split(".")[:2]) not in SUPPORTED:
        wanted = " or ".join(f"vllm=={release}.*" for release in SUPPORTED)
        raise RuntimeError(f"assay-vllm was not tried with vLLM {found}: install {wanted}")


def _read(params: SamplingParams) -> KeyedRow | None:
    return read_row(params.extra_args, params.temperature)


class KeyedProcessor(LogitsProcessorV1, LogitsProcessorV2):  # type: ignore[misc]
    """Draws the tokens of requests that name a rollout; see README.md for how they do."""

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Raises a ValueError: the request names a rollout in another way."""
        _read(sampling_params)

    def __init__(self, vllm_config: VllmConfig, *given: Any) -> None:
        """given: a device and whether memory is pinned (V1), or the state of requests (V2)."""
        require_supported()
        config = vllm_config.model_config
        drawable = find_drawable(config.model, config.get_vocab_size())
        self._runner = (_RunnerV1 if len(given) == 2 else _RunnerV2)(drawable, given[0])

    def is_argmax_invariant(self) -> bool:
        """It is not: the draw is what is taken."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """V1: which rows are whose from now on."""
        self._runner.update_state(batch_update)

    def add_request(self, slot: int, params: SamplingParams) -> bool:
        """V2: a slot's new request; whether its rows are of any interest here."""
        return self._runner.add_request(slot, params)

    def apply_staged_writes(self) -> None:
        """V2: what was told of new requests goes to the device."""
        self._runner.apply_staged_writes()

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        """Makes each keyed row's id its largest logit."""
        return self._runner.apply(logits, ctx)


class _RunnerV1:
    def __init__(self, drawable: Tensor, device: torch.device) -> None:
        self._draw = KeyedDraw(drawable, device)
        #: row of the batch → whose it is, and the list that its tokens come to
        self._rows: dict[int, tuple[KeyedRow, list[int]]] = {}

    def update_state(self, batch_update: Any) -> None:
        if batch_update is None:
            return
        rows = self._rows
        for index in batch_update.removed:
            rows.pop(index, None)
        for index, params, _, tokens in batch_update.added:
            rows.pop(index, None)
            row = _read(params)
            if row is not None:
                rows[index] = row, tokens
        for a, b, direction in batch_update.moved:
            first, second = rows.pop(a, None), rows.pop(b, None)
            if first is not None:
                rows[b] = first
            if direction == MoveDirectionality.SWAP and second is not None:
                rows[a] = second

    def apply(self, logits: Tensor, _: Any) -> Tensor:
        for temperature in {row.temperature for row, _ in self._rows.values()}:
            chosen = [i for i in sorted(self._rows) if self._rows[i][0].temperature == temperature]
            found = [self._rows[i] for i in chosen]
            device = logits.device
            keys = torch.tensor([row.key for row, _ in found], device=device)
            positions = torch.tensor([row.at + len(made) for row, made in found], device=device)
            rows = torch.tensor(chosen, device=device)
            part = logits if len(chosen) == len(logits) else logits[rows]
            choose(logits, rows, self._draw.draw(part, keys, positions, temperature))
        return logits


class _RunnerV2:
    def __init__(self, drawable: Tensor, states: Any) -> None:
        self._draw = KeyedDraw(drawable, states.device)
        self._prompt_lengths = states.prompt_len
        # of each slot: key, tokens of the completion in its prompt, temperature or 0
        self._told = torch.zeros((states.max_num_reqs, 6), dtype=torch.int64)
        self._slots = self._told.to(states.device)
        self._is_staged = False
        self._temperatures: dict[int, int] = {}  # by slot, of requests that name a rollout

    def add_request(self, slot: int, params: SamplingParams) -> bool:
        row = _read(params)
        self._temperatures.pop(slot, None)
        self._told[slot] = 0
        if row is not None:
            self._told[slot] = torch.tensor([*row.key, row.at, row.temperature])
            self._temperatures[slot] = row.temperature
        self._is_staged = True
        return row is not None

    def apply_staged_writes(self) -> None:
        if self._is_staged:
            # from a copy: the host may be told of the next request before this one has arrived
            self._slots.copy_(self._told.clone(), non_blocking=True)
            self._is_staged = False

    def apply(self, logits: Tensor, ctx: Any) -> Tensor:
        slots = ctx.expanded_idx_mapping.long().clamp(min=0)
        rows = self._slots[slots]
        prompts = torch.as_tensor(self._prompt_lengths.gpu, device=logits.device)[slots]
        positions = (ctx.pos + 1 - prompts + rows[:, 4]).clamp(min=0)
        numbers = torch.arange(len(logits), device=logits.device)
        for temperature in set(self._temperatures.values()):
            ids = self._draw.draw(logits, rows[:, :4].contiguous(), positions, temperature)
            choose(logits, numbers, ids, rows[:, 5] == temperature)
        return logits
