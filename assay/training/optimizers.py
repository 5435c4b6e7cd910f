"""The optimisers that a learner may have, and their states as a step record binds them.

A state's tensors are named KIND.INDEX.NAME: INDEX is the weight's place among all that learn, and
NAME the library's own name. Specification, section 11.

    adam.3.exp_avg            float32, as the weight; and exp_avg_sq
    adam.3.step               float32 [1], updates so far
    adam8bit.3.state1         uint8, as the weight: codes; and state2
    adam8bit.3.absmax1        float32 [blocks], the largest size in each block; and absmax2
    adam8bit.3.step           float32 [1]
    muon.3.momentum_buffer    float32, as the weight

A weight of fewer than 4,096 values has float32 moments `state1` and `state2` at 8 bits, and no
`absmax`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from assay.network.extras import require_package
from assay.protocol.errors import OperatorError

OptimizerName = Literal["adamw", "adamw8bit", "muon"]

#: Its arithmetic decides a state's bits: a record's `code` covers this line.
BITSANDBYTES = "0.50.2"
#: Values that share one scale at 8 bits, and the fewest for which there are codes.
BLOCK, FEWEST = 256, 4_096
#: bitsandbytes' tables from codes to values, the same in every state: signed, and not.
_TABLES = {"qmap1": "dynamic", "qmap2": "udynamic"}


class OptimizerError(OperatorError):
    """This optimiser does not fit the other settings. The message says what to set."""


def find_conflict(name: OptimizerName, is_shared: bool, has_factors: bool) -> str | None:
    """The reason why an optimiser cannot learn; None: it can.

    Args:
        is_shared: a team's processes hold parts of each weight.
        has_factors: LoRA's factors learn.
    """
    if name != "adamw" and is_shared:
        reason = {
            "adamw8bit": "would round each process's part of a weight in blocks of its own",
            "muon": "needs whole matrices, of which each process holds a part",
        }[name]
        instead = 'set processes = 1 and offload = false, or optimizer = "adamw"'
        return f"optimizer: {name} {reason}: {instead}"
    if name == "muon" and has_factors:
        return (
            "optimizer: muon makes the update of a whole matrix orthogonal, and LoRA's factors are "
            'parts of one: set lora_rank = 0, or optimizer = "adamw"'
        )
    return None


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the libraries' optimisers.

    Attributes:
        kind: first part of its tensors' names.
        places: of its weights among all that learn.
    """

    kind: str
    optimizer: torch.optim.Optimizer
    places: Sequence[int]

    @property
    def weights(self) -> list[Tensor]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def iterate_moments(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for place, weight in zip(self.places, self.weights, strict=True):
            if weight in self.optimizer.state:
                yield place, self.optimizer.state[weight]

    def list_shapes(self, weight: Tensor) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Type and shape of each tensor in the state of a weight."""
        shape, step = tuple(weight.shape), (torch.float32, (1,))
        whole = (torch.float32, shape)
        if self.kind == "muon":
            return {"momentum_buffer": whole}
        if self.kind == "adam":
            return {"step": step, "exp_avg": whole, "exp_avg_sq": whole}
        if weight.numel() < FEWEST:
            return {"step": step, "state1": whole, "state2": whole}
        codes, scales = (torch.uint8, shape), (torch.float32, (-(-weight.numel() // BLOCK),))
        coded = {"state1": codes, "state2": codes, "absmax1": scales, "absmax2": scales}
        return {"step": step} | coded

    def take(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Set the state, from tensors by place and name. Raises a ValueError where they do not fit
        a weight."""
        state: dict[int, dict[str, Any]] = {}
        for local, (place, weight) in enumerate(zip(self.places, self.weights, strict=True)):
            given = moments.get(place)
            if given is None:
                continue
            shapes = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in given.items()}
            if shapes != self.list_shapes(weight):
                raise ValueError(f"the state of weight {place} is of another weight or optimiser")
            taken: dict[str, Any] = dict(given)
            if self.kind == "adam":
                taken["step"] = taken["step"].reshape(())
            elif self.kind == "adam8bit":
                taken["step"] = int(taken["step"])
                if "absmax1" in taken:
                    tables: Any = self.optimizer
                    taken |= {name: tables.name2qmap[table] for name, table in _TABLES.items()}
            state[local] = taken
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


class Optimizer:
    """All weights that learn, each with one of the libraries' optimisers."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._parts = parts
        placed = (pair for part in parts for pair in zip(part.places, part.weights, strict=True))
        #: the weights that learn, in the model's order
        self.weights = [weight for _, weight in sorted(placed, key=lambda pair: pair[0])]

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the updates to come."""
        for part in self._parts:
            for group in part.optimizer.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.optimizer.zero_grad()

    def step(self) -> None:
        """Update all weights by their gradients."""
        for part in self._parts:
            part.optimizer.step()

    def list_tensors(self) -> list[Tensor]:
        """All tensors of the state that belong where the weights are, each once."""
        tensors = (
            tensor
            for part in self._parts
            for _, moments in part.iterate_moments()
            for name, tensor in moments.items()
            if name != "step"
        )
        return list({id(tensor): tensor for tensor in tensors}.values())

    def get_state(self) -> dict[str, Tensor]:
        """The state by name. Counters are float32 [1]: torch 2.13's code that assembles a team's
        parts supports neither integers nor scalars."""
        return {
            f"{part.kind}.{place}.{name}": _export(name, value)
            for part in self._parts
            for place, moments in part.iterate_moments()
            for name, value in moments.items()
            if name not in _TABLES
        }

    def make_outline(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Tensors to be filled from a file with these names, in a team. Raises an IndexError: there
        is no such weight."""
        outline = {}
        for name in names:
            _, place, moment = _read_name(name)
            weight = self.weights[place].detach()
            outline[name] = torch.zeros(1) if moment == "step" else torch.zeros_like(weight)
        return outline

    def take_state(self, state: Mapping[str, Tensor]) -> None:
        """Set the state, from its tensors by name.

        Raises:
            IndexError: there are moments of a weight that does not exist.
            ValueError: they are another optimiser's, or do not fit a weight.
        """
        moments: dict[str, dict[int, dict[str, Tensor]]] = {part.kind: {} for part in self._parts}
        for name, tensor in state.items():
            kind, place, moment = _read_name(name)
            if place not in range(len(self.weights)):
                raise IndexError("moments of a weight that there is not")
            if kind not in moments:
                raise ValueError(f"{name} is another optimiser's")
            moments[kind].setdefault(place, {})[moment] = tensor
        for part in self._parts:
            if moments[part.kind].keys() - set(part.places):
                raise ValueError("moments of a weight that learns by another optimiser")
            part.take(moments[part.kind])


def is_moment(name: str) -> bool:
    """Return whether a tensor of a learner's state, by its name, is an optimiser's."""
    return name.partition(".")[0] in ("adam", "adam8bit", "muon")


def make_optimizer(
    name: OptimizerName,
    model: nn.Module,
    matrices: Iterable[str],
    rate: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> Optimizer:
    """An optimiser of all weights of a model that take gradients, with an empty state.

    Args:
        matrices: the names of those that Muon updates; AdamW has the rest.

    Raises:
        MissingExtraError: bitsandbytes is not installed, or in another version.
    """
    named = [(n, weight) for n, weight in model.named_parameters() if weight.requires_grad]
    own = set(matrices) if name == "muon" else set()
    places = [i for i, (n, _) in enumerate(named) if n in own]
    rest = [i for i, (n, _) in enumerate(named) if n not in own]
    settings: dict[str, Any] = {"lr": rate, "weight_decay": weight_decay}
    parts = []
    if places:
        # by this adjustment, AdamW's learning rate is Muon's (Liu et al., "Muon is Scalable", 2025)
        muon = torch.optim.Muon(
            [named[i][1] for i in places], adjust_lr_fn="match_rms_adamw", **settings
        )
        parts.append(_Part("muon", muon, places))
    if rest:
        adam = _import_8bit() if name == "adamw8bit" else torch.optim.AdamW
        kind = "adam8bit" if name == "adamw8bit" else "adam"
        others = adam([named[i][1] for i in rest], betas=betas, **settings)
        parts.append(_Part(kind, others, rest))
    return Optimizer(parts)


def _import_8bit() -> Any:
    """bitsandbytes' AdamW of 8-bit moments (Dettmers et al., 2022)."""
    require_package('optimizer = "adamw8bit"', "bitsandbytes", "adamw8bit", BITSANDBYTES)
    from bitsandbytes.optim.adamw import AdamW8bit

    return AdamW8bit


def _export(name: str, value: Tensor | int) -> Tensor:
    if not isinstance(value, Tensor):
        return torch.tensor([float(value)])
    return value.reshape(1) if name == "step" else value.detach()


def _read_name(name: str) -> tuple[str, int, str]:
    """Kind, the weight's place and the moment, from a name such as `adam.3.exp_avg`. Raises a
    ValueError for another name."""
    kind, place, moment = name.split(".")
    return kind, int(place), moment
