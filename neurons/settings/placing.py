"""Where and how a program runs models, by its settings. Heavy: PyTorch comes with it."""

from collections.abc import Sequence

import torch

from assay.inference import Placement, make_placement
from assay.inference.implementations import require_permitted
from assay.inference.workers.worker_messages import WorkerSettings
from assay.neurons.settings.sections import ComputeSettings


def open_placement(settings: ComputeSettings) -> Placement:
    """What `[compute]` names, found to be there; PyTorch's threads are set.

    Raises:
        DeviceError: the device is not there, or cannot be used. ImplementationError: there is none
        of that name.
    """
    require_permitted(settings.implementation)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    return make_placement(settings.device, settings.implementation, settings.memory_share)


def make_worker_settings(settings: ComputeSettings, devices: Sequence[str]) -> list[WorkerSettings]:
    """Of one worker process on each device, of one thread unless `[compute]` says more. Raises an
    ImplementationError: there is none of that name."""
    require_permitted(settings.implementation)
    return [
        WorkerSettings(
            device, settings.implementation, settings.memory_share, settings.threads or 1
        )
        for device in devices
    ]
