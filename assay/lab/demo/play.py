"""A demo from its settings to its summary."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch

from assay.inference.placement import Placement
from assay.lab.demo.report import describe_summary
from assay.lab.demo.run import Demo, DemoRun
from assay.lab.demo.view import plot_reward
from assay.network.files import write_file, write_json
from assay.settings.loading import make_cards_repeat
from assay.settings.placing import open_placement
from assay.settings.sections import ComputeSettings, DemoSettings
from assay.subnet.waiting import Report, ignore_report


def place_demo(settings: DemoSettings, compute: ComputeSettings) -> Placement | None:
    """Where a demo's models run. Sets torch's threads in this process."""
    if settings.recipe is None:
        torch.set_num_threads(1)  # the programs are threads, and the model is small
        return None
    make_cards_repeat()
    return open_placement(compute)


def play_demo(
    settings: DemoSettings,
    placement: Placement | None,
    update: Callable[[DemoRun], None],
    report: Report = ignore_report,
) -> dict[str, Any]:
    """Play a demo, and leave its bundle, summary and picture in `settings.out`. Args: see `Demo`.
    Returns the summary, see `describe_summary`."""
    started = time.monotonic()
    with closing(Demo(settings, update, report=report, placement=placement)) as demo:
        demo.play()
        audit = demo.leave_bundle()
        summary = describe_summary(demo.run, audit, time.monotonic() - started)
    write_json(settings.out / "summary.json", summary)
    write_file(settings.out / "reward.svg", plot_reward(summary).encode())
    return summary
