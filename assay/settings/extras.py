"""What a trainer's settings need of its machine: optional packages, a file, cards.

It loads no PyTorch, except for moments of 8 bits, whose arithmetic has one version, and for several
processes.
"""

from assay.environments.problem_file import ProblemFileError, compute_file_digest
from assay.network.extras import MissingExtraError, find_missing
from assay.settings.loading import ConfigError
from assay.settings.sections import TrainerSettings

_CPU = "cpu"


def list_lacks(trainer: TrainerSettings, device: str = "auto") -> list[str]:
    """A line for each thing that a trainer on this machine would lack, with what to do.

    Args:
        device: on which it learns, as in `[compute]`.
    """
    return [*_list_packages(trainer), *_list_others(trainer, device)]


def require_here(trainer: TrainerSettings, device: str = "auto") -> None:
    """The same where a trainer is to start.

    Raises:
        MissingExtraError: it lacks a package.
        ConfigError: something else.
    """
    require_extras(trainer)
    if lacks := _list_others(trainer, device):
        raise ConfigError("; ".join(f"[trainer] {line}" for line in lacks))


def require_extras(trainer: TrainerSettings) -> None:
    """The same of a host that follows: files are the first one's. Raises MissingExtraError: it
    lacks a package."""
    if missing := _list_packages(trainer):
        raise MissingExtraError("; ".join(missing))


def _list_packages(trainer: TrainerSettings) -> list[str]:
    found = []
    if trainer.lora_rank:
        found.append(find_missing("lora_rank", "peft", "train"))
    if trainer.optimizer == "adamw8bit":
        from assay.training.optimizers import BITSANDBYTES

        what = 'optimizer = "adamw8bit"'
        found.append(find_missing(what, "bitsandbytes", "adamw8bit", BITSANDBYTES))
    if trainer.tracker == "wandb":
        found.append(find_missing('tracker = "wandb"', "wandb", "wandb"))
    return [line for line in found if line is not None]


def _list_others(trainer: TrainerSettings, device: str) -> list[str]:
    found = []
    if trainer.sft is not None:
        try:
            compute_file_digest(trainer.sft)
        except ProblemFileError as error:
            found.append(f"sft: {error}")
    if trainer.processes > 1 and device != _CPU:
        from assay.training.team_meeting import is_member

        # one of a team has its own count; torchrun's hosts have several processes by themselves
        cards = 0 if is_member() else _count_cards()
        if 0 < cards < trainer.processes:  # without a card they learn on the CPU
            have = "one GPU" if cards == 1 else f"{cards} GPUs"
            found.append(
                f"processes: {trainer.processes} learn on one GPU each, and this machine has "
                f"{have}: set processes = {cards}, or device = cpu"
            )
    return found


def _count_cards() -> int:
    import torch

    return torch.cuda.device_count()
