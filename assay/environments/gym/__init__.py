"""`reasoning_gym:NAME`: the datasets of reasoning-gym, made and scored in the sandbox."""

from assay.environments.gym.datasets import MAKING_MAX
from assay.environments.gym.environment import (
    FORM,
    VERSION,
    Entry,
    ReasoningGym,
    list_settings,
    require_dataset,
    require_image,
)
from assay.environments.gym.image import GYM, NAME, PACKAGE

__all__ = [
    "FORM",
    "GYM",
    "MAKING_MAX",
    "NAME",
    "PACKAGE",
    "VERSION",
    "Entry",
    "ReasoningGym",
    "list_settings",
    "require_dataset",
    "require_image",
]
