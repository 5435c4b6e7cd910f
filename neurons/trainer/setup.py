"""A trainer's configuration of learning and publishing, made from the settings."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from assay.artifacts.steps.folder import StepError, StepFolder, parse_config
from assay.inference import Checkpoint, read_tensors
from assay.inference.placing.devices import MemoryLackError, explain_lack, is_out_of_memory
from assay.network import ObjectStore
from assay.neurons.settings.loading import ConfigError
from assay.neurons.settings.sections import TrainerSettings
from assay.protocol import StepRecord
from assay.training import LearnConfig, Learner, LossConfig
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


#: Fields of `LearnConfig` that are settings of the same name.
_SHARED = tuple(f.name for f in fields(LearnConfig) if f.name in TrainerSettings.model_fields)
#: Fields of `LossConfig` → the settings.
_LOSS = {
    "low": "clip_low",
    "high": "clip_high",
    "cap": "clip_cap",
    "kl_weight": "kl_weight",
    "level": "level",
}


def make_learning(settings: TrainerSettings) -> LearnConfig:
    """The learner's configuration. Raises ConfigError: the settings do not fit together."""
    conflict = settings.find_conflict()
    if conflict is not None:
        raise ConfigError(f"[trainer] {conflict}")
    given = settings.model_dump()
    return LearnConfig(
        **{name: given[name] for name in _SHARED},
        loss=LossConfig(**{name: given[setting] for name, setting in _LOSS.items()}),
        from_genesis=settings.kl_reference == "genesis",
    )


def read_config(record: StepRecord) -> LearnConfig:
    """The settings that a step was made with, within the bounds of `make_learning`. Raises
    StepError: they are not within them."""
    config = parse_config(record)
    values = {name: getattr(config, name) for name in _SHARED}
    values |= {setting: getattr(config.loss, name) for name, setting in _LOSS.items()}
    try:  # beyond these bounds, an untrusted record could cause endless work
        TrainerSettings.model_validate(values, strict=True)
        if len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas):
            raise ValueError(f"betas {config.betas} are not two numbers from 0 to 1")
    except (ValueError, TypeError) as error:
        raise StepError(f"the record's settings are not a learner's: {error}") from None
    return config


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
