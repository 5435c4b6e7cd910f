"""The optional packages that a trainer's settings need. Loads no PyTorch, except for moments of 8
bits, whose arithmetic has one version."""

from assay.network.extras import MissingExtraError, find_missing
from assay.settings.sections import TrainerSettings


def list_missing_extras(trainer: TrainerSettings) -> list[str]:
    """A line for each package that a trainer on this machine would lack, with the extra that
    installs it."""
    found = []
    if trainer.lora_rank:
        found.append(find_missing("lora_rank", "peft", "train"))
    if trainer.optimizer == "adamw8bit":
        from assay.training.optimizers import BITSANDBYTES

        what = 'optimizer = "adamw8bit"'
        found.append(find_missing(what, "bitsandbytes", "adamw8bit", BITSANDBYTES))
    return [line for line in found if line is not None]


def require_extras(trainer: TrainerSettings) -> None:
    """Raise MissingExtraError if a trainer of this machine lacks a package."""
    if missing := list_missing_extras(trainer):
        raise MissingExtraError("; ".join(missing))
