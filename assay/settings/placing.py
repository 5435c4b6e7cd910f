"""The device and implementation of a program's models, from its settings. Loads PyTorch."""

from collections.abc import Sequence

import torch

from assay.inference.implementations import require_permitted
from assay.inference.placement import Placement, make_placement
from assay.inference.workers.messages import WorkerSettings
from assay.settings.sections import ComputeSettings


def open_placement(settings: ComputeSettings) -> Placement:
    """The placement that `[compute]` names, on an existing device. Sets PyTorch's threads.

    Raises:
        DeviceError: the device does not exist, or cannot be used.
        ImplementationError: there is no implementation of that name.
    """
    require_permitted(settings.implementation)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    return make_placement(settings.device, settings.implementation, settings.memory_share)


def make_worker_settings(settings: ComputeSettings, devices: Sequence[str]) -> list[WorkerSettings]:
    """The settings of one worker process on each device, with one thread unless `[compute]` says
    more. Raises an ImplementationError: there is no implementation of that name."""
    require_permitted(settings.implementation)
    return [
        WorkerSettings(
            device, settings.implementation, settings.memory_share, settings.threads or 1
        )
        for device in devices
    ]
