"""How a trainer learns, from its settings or from a step's record. Loads PyTorch."""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_args

from assay.artifacts.steps.config import StepChoice, StepConfig
from assay.artifacts.steps.folder import StepError, parse_config
from assay.environments.problem_file import ProblemFileError, compute_file_digest
from assay.protocol.step import StepRecord
from assay.settings.extras import require_here
from assay.settings.loading import ConfigError
from assay.settings.losses import LOSS_TABLES, STALE, list_bounds
from assay.settings.sections import TrainerSettings
from assay.training import LearnConfig, LossConfig, Schedule
from assay.training.grpo import LOSSES, StaleWeight
from assay.training.rows.reader import READER
from assay.training.team_network import TeamNetwork
from assay.training.weights import STEPS_MAX

#: Fields of `Schedule`, which are settings of the same name.
_SCHEDULE = tuple(f.name for f in fields(Schedule))
#: Further fields of `LearnConfig` that are settings of the same name.
_SHARED = tuple(
    f.name
    for f in fields(LearnConfig)
    if f.name in TrainerSettings.model_fields and f.name not in (*_SCHEDULE, "loss")
)
#: Fields of `StepChoice` that are.
_CHOICE = tuple(f.name for f in fields(StepChoice) if f.name in TrainerSettings.model_fields)


def make_learning(settings: TrainerSettings) -> LearnConfig:
    """The learner's configuration. Raises ConfigError: the settings do not fit together."""
    if (conflict := settings.find_conflict()) is not None:
        raise ConfigError(f"[trainer] {conflict}")
    given, table = settings.model_dump(), settings.loss_table
    return LearnConfig(
        **{name: given[name] for name in _SHARED},
        **table.model_dump(include=set(STALE)),
        schedule=Schedule(**{name: given[name] for name in _SCHEDULE}),
        loss=make_loss(settings),
        from_genesis=settings.kl_reference == "genesis",
    )


def make_loss(settings: TrainerSettings) -> LossConfig:
    """The loss by its settings."""
    table = settings.loss_table
    return LOSSES[table.type](**{name: getattr(table, name) for name in list_bounds(type(table))})


def make_choice(settings: TrainerSettings) -> StepChoice:
    """By what a trainer chooses groups. Raises ConfigError: its file of examples cannot be read."""
    try:
        sft = "" if settings.sft is None else compute_file_digest(settings.sft)
    except ProblemFileError as error:
        raise ConfigError(f"[trainer] sft: {error}") from None
    reader = READER if sft else 1
    chosen = {name: getattr(settings, name) for name in _CHOICE}
    return StepChoice(**chosen, sft_sha256=sft, sft_reader=reader)


def make_step_config(settings: TrainerSettings) -> StepConfig:
    """Both together. Raises ConfigError: as either."""
    return StepConfig(make_learning(settings), make_choice(settings))


def make_learning_here(settings: TrainerSettings, device: str = "auto") -> LearnConfig:
    """The same for a learner of this machine.

    Args:
        device: that of `[compute]`.

    Raises:
        ConfigError: the settings do not fit together, or this machine lacks a file or cards.
        MissingExtraError: a package that they need is not installed.
    """
    config = make_learning(settings)
    require_here(settings, device)
    return config


def describe_learning(settings: TrainerSettings) -> dict[str, str]:
    """The settings of learning by name, which all processes of a team should have alike. Files
    with examples are the first one's own."""
    given = settings.model_dump()
    names = sorted({*_SHARED, *_CHOICE, *_SCHEDULE, "kl_reference"})
    return {name: str(given[name]) for name in names} | {"loss": str(settings.loss_table)}


def describe_network(settings: TrainerSettings) -> TeamNetwork:
    """The network between the hosts of a team."""
    return TeamNetwork(settings.local_addr, settings.open_to_network)


def read_config(record: StepRecord) -> StepConfig:
    """The settings that a step was made with, within the bounds of `make_learning`. Raises
    StepError: they are not within them."""
    config = parse_config(record)
    learning, choice = config.learning, config.choice
    values = {name: getattr(learning, name) for name in _SHARED}
    values |= {name: getattr(choice, name) for name in _CHOICE}
    values |= {name: getattr(learning.schedule, name) for name in _SCHEDULE}
    values["sft"] = Path(choice.sft_sha256) if choice.sft_sha256 else None
    loss = {"type": learning.loss.name, **asdict(learning.loss)}
    # a weight that its loss has not was once written, too: the loss does not read it
    unread = [one for one in get_args(StaleWeight) if one not in learning.loss.stale_weights]
    named = STALE[:1] if learning.stale_weight in unread else STALE
    loss |= {name: getattr(learning, name) for name in named}
    try:  # beyond these bounds, an untrusted record could cause endless work
        values["loss"] = LOSS_TABLES[learning.loss.name].model_validate(loss, strict=True)
        conflict = TrainerSettings.model_validate(values, strict=True).find_conflict()
        if conflict is not None:
            raise ValueError(conflict)
        if type(learning.step) is not int or not 0 <= learning.step <= STEPS_MAX:
            raise ValueError(f"step {learning.step} is not a number from 0 to {STEPS_MAX:,}")
        is_named = re.fullmatch("[0-9a-f]{64}", choice.sft_sha256) is not None
        if choice.sft_sha256 and not is_named:
            raise ValueError("sft_sha256 is no digest")
        if not 1 <= choice.sft_reader <= (READER if is_named else 1):
            raise ValueError(f"sft_reader {choice.sft_reader} is none that this program has")
        if len(learning.betas) != 2 or not all(0 <= beta < 1 for beta in learning.betas):
            raise ValueError(f"betas {learning.betas} are not two numbers from 0 to 1")
    except (ValueError, TypeError) as error:
        raise StepError(f"the record's settings are not a learner's: {error}") from None
    return config
