"""`assay demo`."""

import typer

from assay.cli.checks import require_own_out, require_there
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.interrupts import catch_interrupts
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(app, "demo", "assay demo --fast", lambda s: (s.demo, s.environments.files, s.compute))
def demo(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Run a whole subnet in this process: miners, cheats, validator, trainer.

    Two honest miners, three cheats, one validator and one trainer work for some windows: they mine,
    audit, pay and learn. The chain is a development simulator on a free port, and the bittensor SDK
    connects to it. Rules, signatures, consensus, model, judge and learning are real. Exit code 1 if
    a cheat was paid, an honest miner was refused, no weights were set, or the model did not
    improve. With --recipe it is that recipe's subnet and model, in short windows, with two honest
    miners and one cheat, on --device. It then promises nothing about how much the model learns. On
    a virtual clock the same command goes on after a stop.
    """
    settings = invocation.load_settings()
    require_own_out(settings.demo.out, "demo")
    settings.demo.model = open_model(settings, settings.demo.model, quiet)
    require_there(settings.demo.model)
    with starting(settings, loads=TORCH, quiet=quiet):
        from assay.cli.demo_view import holding, show_summary, showing
        from assay.lab.demo.play import place_demo, plan_demo, play_demo
    out, placement = settings.demo.out, place_demo(settings.demo, settings.compute)
    plan = plan_demo(settings.demo, settings.compute)
    with holding(out, plan) as point, catch_interrupts(), showing(out, quiet) as (update, report):
        if point is not None:
            report(f"going on where the last run was stopped, at block {point.block:,}")
        summary = play_demo(settings.demo, placement, update, report, plan, point)
    show_summary(summary, settings.demo, as_json)
    return FINDING if summary["promises_broken"] else OK
