"""Where a model runs, and how: device, implementation, share of the device's memory.

What this does not know: how fast anything is there, or whether a calibration covers it.
"""

from dataclasses import dataclass

import torch

from assay.inference.implementations import DEFAULT_IMPLEMENTATION, require_known
from assay.protocol.errors import OperatorError


class DeviceError(OperatorError):
    """A device that is not there, or that this PyTorch cannot use."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a checkpoint's models run.

    Attributes:
        device: torch's name of it: cpu, cuda:0.
        implementation: of the reference; see `assay.inference.implementations`.
        memory_share: of the memory that is free when a model is loaded, at most this much is used.
    """

    device: str = "cpu"
    implementation: str = DEFAULT_IMPLEMENTATION
    memory_share: float = 1.0


def make_placement(device: str, implementation: str, memory_share: float) -> Placement:
    """What an operator has named, found to be there.

    Raises:
        DeviceError: see `find_device`. ImplementationError: there is none of that name.
    """
    require_known(implementation)
    return Placement(find_device(device), implementation, memory_share)


def find_device(name: str) -> str:
    """The device that an operator means: `auto` is the first card where there is one.

    Raises:
        DeviceError: it is not there, or this PyTorch cannot use it.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    if name == "cpu":
        return name
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise DeviceError(f"device {name!r} is none of auto, cpu, cuda:0, cuda:1, …")
    index = int(number or 0)
    count = _count_cards(name)
    if index >= count:
        cards = "one card, cuda:0" if count == 1 else f"{count} cards, up to cuda:{count - 1}"
        raise DeviceError(f"device {name} is not here: this machine has {cards}")
    return f"cuda:{index}"


def _count_cards(name: str) -> int:
    """Raises a DeviceError: this PyTorch sees none; why."""
    if not torch.backends.cuda.is_built():
        raise DeviceError(
            f"device {name} cannot be used: this PyTorch ({torch.__version__}) is built without "
            "CUDA; install one that is built with it, or name cpu"
        )
    try:
        torch.cuda.init()
    except RuntimeError as error:  # no driver, or one that is too old: torch says which
        why = str(error).splitlines()[0]
        raise DeviceError(f"device {name} cannot be used: {why}") from None
    return torch.cuda.device_count()
