"""What a trainer's rounds need of its program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from assay.artifacts.steps.folder import StepFolder
from assay.inference.checkpoint import Checkpoint
from assay.network.store.base import ObjectStore
from assay.protocol.context import Context
from assay.protocol.manifest import HeldOutCounts
from assay.protocol.parameters import Parameters


class CountHeldOut(Protocol):
    """Measures a checkpoint on held-out problems: its success under a window's parameters, with
    other weights if there are any."""

    def __call__(
        self, checkpoint: Checkpoint, window: int, weights: Mapping[str, Tensor] | None = None
    ) -> HeldOutCounts: ...


@dataclass(frozen=True, slots=True)
class RoundConfig:
    """The parts of a trainer's program that its rounds need.

    Attributes:
        store: the trainer's own store; locator: its address, as on chain.
        steps: records of its steps.
        get_context: returns a window's context; None if it is not known yet.
        count: None: levels stay.
        count_steps: returns the steps behind a course that goes on with a checkpoint, from its own
            count, if it has one, and stores that may have the checkpoint's step.
    """

    folder: Path
    store: ObjectStore
    locator: str
    steps: StepFolder
    publish_states: bool
    get_context: Callable[[Parameters, int], Context | None]
    count: CountHeldOut | None
    count_steps: Callable[[Checkpoint, int | None, Sequence[ObjectStore]], int]

    @property
    def children(self) -> Path:
        """Return the folder for steps, pieces and masters of others."""
        return self.folder / "children"
