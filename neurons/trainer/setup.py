"""A trainer's configuration of learning and publishing, and its learner."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from assay.artifacts.steps.folder import StepFolder
from assay.inference import Checkpoint, read_tensors
from assay.inference.placing.devices import MemoryLackError, explain_lack, is_out_of_memory
from assay.network import ObjectStore
from assay.neurons.settings.learning import make_learning
from assay.neurons.settings.sections import TrainerSettings
from assay.training import LearnConfig, Learner
from assay.training.held_out import HeldOut
from assay.training.sharding import is_in_team
from assay.training.team import make_shared


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """The configuration of a trainer: how it learns, and where it publishes."""

    learning: LearnConfig
    locator: str  # of the store with its checkpoints, as on chain
    #: where checkpoints are uploaded; None: readers share the trainer's model folder
    store: ObjectStore | None = None
    folder: Path | None = None  # for the state that it must not lose; None: it keeps none
    last_window: int | None = None  # the trainer stops after it; None: it has no end
    retry_s: float = 5.0  # seconds from trouble to the next attempt
    staleness: int = 8  # checkpoints that rollouts may be behind the one learned from; 0: none
    local_groups: int = 0  # of the trainer's own, in each lesson
    external_groups: int | None = None  # of the miners', at most; None: all
    #: where step records go; None: nowhere, and consumed groups are not kept
    steps: StepFolder | None = None
    #: tries each checkpoint, which decides the levels of the next; None: levels stay
    held_out: HeldOut | None = None
    publish_states: bool = False  # upload each step's initial state, too


def make_trainer_config(
    settings: TrainerSettings, locator: str, store: ObjectStore, held_out: HeldOut
) -> TrainerConfig:
    """The configuration of a trainer that keeps everything in its folder."""
    return TrainerConfig(
        make_learning(settings),
        locator,
        store,
        settings.dir / "course",
        staleness=settings.staleness if settings.sync == "async" else 0,
        local_groups=settings.local_groups,
        external_groups=settings.external_groups,
        steps=StepFolder(settings.dir / "steps", settings.steps_kept),
        held_out=held_out,
        publish_states=settings.publish_states,
    )


def resume_learner(learner: Learner, state: Path, parent: Checkpoint) -> bool:
    """Restore the learner from a file of its state. Return whether that worked and the state
    belongs to the checkpoint. Raises OSError, MemoryLackError: it cannot be read at present."""
    try:
        learner.load_state(state)
    except (LookupError, RuntimeError, ValueError, SafetensorError) as error:
        if is_out_of_memory(error):
            what = "the learner's state"
            raise MemoryLackError(explain_lack(what, "cpu", str(error))) from None
        return False
    weights: dict[str, Tensor] = {}
    for file in parent.folder.glob("*.safetensors"):
        weights |= read_tensors(file)
    rounded = learner.bf16_state()
    return all(torch.equal(weight, weights[name]) for name, weight in rounded.items())


def make_learner(
    parent: Checkpoint, learning: LearnConfig, get_first: Callable[[], Checkpoint]
) -> Learner:
    """A learner that begins with a checkpoint's weights and no moments, and learns on the device
    where the checkpoint is. `get_first` gives the network's first checkpoint, if the divergence is
    measured from it."""
    never_drawn = np.flatnonzero(~parent.tokenizer.drawable).tolist()
    # left out as the reference leaves them out
    config = replace(learning, excluded=tuple(never_drawn))
    wanted = config.from_genesis and config.loss.kl_weight
    reference = get_first() if wanted else None
    device = parent.models.placement.device
    if is_in_team():
        first = None if reference is None else reference.folder
        return make_shared(parent.folder, config, first, device)
    plain = None if reference is None else reference.load_plain()
    return Learner(parent.load_trainable(), config, plain, device)
