"""A demo from its settings to its summary."""

from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch

from assay.inference.placement import Placement
from assay.lab.demo.report import describe_summary
from assay.lab.demo.run import Demo, DemoRun, choose_subnet
from assay.lab.demo.saved_point import Point, describe_plan, describe_program, forget_points
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


def plan_demo(settings: DemoSettings, compute: ComputeSettings) -> str:
    """What must be the same for a demo to go on, see `describe_plan`. Raises ConfigError."""
    return describe_plan(settings, compute, choose_subnet(settings)[0], describe_program())


def play_demo(
    settings: DemoSettings,
    placement: Placement | None,
    update: Callable[[DemoRun], None],
    report: Report = ignore_report,
    plan: str | None = None,
    point: Point | None = None,
) -> dict[str, Any]:
    """Play a demo, and leave its bundle, summary and picture in `settings.out`. Args: see `Demo`;
    point: where it goes on. Returns the summary, see `describe_summary`."""
    played = None if point is None else point.played
    made = Demo(settings, update, report=report, placement=placement, plan=plan, played=played)
    with closing(made) as demo:
        demo.play()
        audit = demo.leave_bundle()
        summary = describe_summary(demo.run, audit, demo.seconds)
    write_json(settings.out / "summary.json", summary)
    forget_points(settings.out)  # it is over
    write_file(settings.out / "reward.svg", plot_reward(summary).encode())
    return summary
