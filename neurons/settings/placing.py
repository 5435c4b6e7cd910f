"""Where and how a program runs models, by its settings. Heavy: PyTorch comes with it."""

import torch

from assay.inference import Placement, make_placement
from assay.neurons.settings.sections import ComputeSettings


def open_placement(settings: ComputeSettings) -> Placement:
    """What `[compute]` names, found to be there; PyTorch's threads are set.

    Raises:
        DeviceError: the device is not there, or cannot be used. ImplementationError: there is none
        of that name.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    return make_placement(settings.device, settings.implementation, settings.memory_share)
