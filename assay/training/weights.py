"""Weights that learn: fp32 masters, an optimiser's moments, and LoRA's factors beside the masters.

Their rounding to bf16 is published, and never feeds back into the masters. In a team of processes
(`sharding`) each holds a part of every tensor; all make the same calls, and the first one reads and
writes files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from assay.inference.expert_stacks import split_experts, stack_experts
from assay.inference.low_rank import Factors, merge, round_factors
from assay.inference.model_loading import read_tensors
from assay.training.lesson import LessonError
from assay.training.lora import find_tied, get_base_weights, get_factors, set_factors
from assay.training.optimizers import Optimizer, is_moment
from assay.training.sharding import (
    gather,
    get_team,
    is_in_team,
    load_tensors,
    read_names,
    save_tensors,
)

#: Prefix of the weights' names in a state, and the name of the number of steps.
_MASTER, _STEP = "master.", "step"
#: Most steps of a course that a state's float32 counts exactly.
STEPS_MAX = 1 << 24


class Weights:
    """A model's weights, and the number of steps behind them.

    Args:
        model: in the form that packs, with LoRA's factors if any learn.
        family: its `model_type`: stacked experts have tensors of their own in files.
        has_factors: LoRA's factors learn.
        step: steps behind it.

    Attributes:
        step: the same. They are in its state, and survive its moments.
    """

    def __init__(
        self, model: nn.Module, family: str, optimizer: Optimizer, *, has_factors: bool, step: int
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.step = step
        self._family = family
        self._has_factors = has_factors

    def clip_gradients(self, most: float) -> float:
        """Scale the gradients down to a norm of `most`. Returns the norm before."""
        return gather(nn.utils.clip_grad_norm_(self.model.parameters(), most)).item()

    def load(self, folder: Path) -> None:
        """Fill an outline from a model's folder, in a team. Raises as `load_tensors` does."""
        load_tensors(self._get_published(), folder, self._family)

    def bf16_state(self) -> dict[str, Tensor]:
        """See `Learner.bf16_state`."""
        factors = self.export_factors()
        rounded = (
            (name, gather(weight.detach().bfloat16()).cpu())
            for name, weight in self._get_published().items()
        )
        return {
            name: merge(part, factors[name]) if name in factors else part.contiguous()
            for whole, weight in rounded
            if get_team()[0] == 0
            for name, part in split_experts(self._family, whole, weight)
        }

    def export_factors(self) -> dict[str, Factors]:
        """See `Learner.export_factors`."""
        pairs = get_factors(self.model) if self._has_factors else {}
        factors: dict[str, Factors] = {}
        for whole, (left, right) in pairs.items():
            for name, *parts in self._split_factors(whole, left, right):
                try:
                    factors[name] = round_factors(*parts)
                except ValueError as error:
                    raise LessonError(f"{name}: {error}: lower learning_rate") from None
        return factors

    def take_factors(self, factors: Mapping[str, Factors]) -> None:
        """See `Learner.take_factors`."""
        pairs = {}
        for whole, shapes in get_factors(self.model).items():
            left, right = (torch.empty_like(part) for part in shapes)
            for name, lefts, rights in self._split_factors(whole, left, right):
                taken = factors.get(name)
                if taken is None or taken.left.shape != lefts.shape:
                    raise ValueError(f"{name} has no factors of rank {lefts.shape[-1]}")
                lefts.copy_(taken.left)
                rights.copy_(taken.right)
            pairs[whole] = left, right
        set_factors(self.model, pairs)

    def export_state(self) -> Iterator[tuple[str, Tensor]]:
        """See `Learner.export_state`."""
        for name, tensor in self._get_state().items():
            yield from split_experts(self._family, name, gather(tensor).cpu())

    def save_state(self, path: Path) -> None:
        """See `Learner.save_state`."""
        save_tensors(self._get_state(), path)

    def load_state(self, path: Path) -> None:
        """See `Learner.load_state`."""
        if not is_in_team():
            self.import_state(read_tensors(path))
            return
        moments = [name for name in read_names(path) if is_moment(name)]
        state = {n: t for n, t in self._get_state().items() if not is_moment(n)}
        state |= self.optimizer.make_outline(moments)
        load_tensors(state, path)
        self._take_moments(state)

    def import_state(self, state: Mapping[str, Tensor]) -> None:
        """See `Learner.import_state`."""
        here = self.model.state_dict()
        masters = stack_experts(self._family, pick_masters(state))
        loading = self.model.load_state_dict(masters, strict=False)
        missing = here.keys() - get_weights(self.model)
        if loading.unexpected_keys or set(loading.missing_keys) != missing:
            raise RuntimeError("the masters are another model's")
        self._take_moments({name: tensor.clone() for name, tensor in state.items()})

    def _get_state(self) -> dict[str, Tensor]:
        """Masters, moments and counters; in a team each process's own part of them."""
        weights = get_weights(self.model)
        state = name_masters({n: w.detach() for n, w in weights.items()})
        return state | self.optimizer.get_state() | name_step(self.step)

    def _take_moments(self, state: Mapping[str, Tensor]) -> None:
        moments = {name: tensor for name, tensor in state.items() if is_moment(name)}
        self.optimizer.take_state(moments)
        self.step = int(state[_STEP])

    def _get_published(self) -> dict[str, Tensor]:
        """The weights by their names in files, without factors."""
        return get_base_weights(self.model) if self._has_factors else get_weights(self.model)

    def _split_factors(
        self, whole: str, left: Tensor, right: Tensor
    ) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Views of a weight's factors, by the names that files have. All matrices that an expert
        has in one stack share their right factors."""
        parts = list(split_experts(self._family, whole, left))
        each = len(parts) // len(left)
        for at, (name, part) in enumerate(parts):
            yield name, part, right if part.dim() == right.dim() else right[at // each]


def get_weights(model: nn.Module) -> dict[str, Tensor]:
    """A model's weights by name, each once."""
    tied = find_tied(model)
    return {n: w for n, w in model.state_dict().items() if n not in tied}


def name_masters(masters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masters by their names in a state."""
    return {_MASTER + name: master for name, master in masters.items()}


def pick_masters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masters in a state, by the weights' names."""
    return {n.removeprefix(_MASTER): t for n, t in state.items() if n.startswith(_MASTER)}


def name_step(step: int) -> dict[str, Tensor]:
    """The number of steps behind a learner, as its state has it."""
    return {_STEP: torch.tensor([float(step)])}
