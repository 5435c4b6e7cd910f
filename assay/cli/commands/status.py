"""`assay status`."""

from typing import Annotated

import typer

from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson
from assay.cli.start import starting

app = typer.Typer(cls=PagedGroup)


@command(app, "status", lambda s: (s.status.dir,))
def status(
    invocation: Invocation,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Show a validator's public record: a folder or a locator."
        ),
    ] = None,
    hotkey: Annotated[
        str | None,
        typer.Option(metavar="SS58", help="The record's validator [default: the only one]."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every second, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a demo, miner, validator or trainer from its folder.

    It shows window, phase and countdown, beacons, checkpoint, verdicts, weights, and whether the
    program is running and keeps up. With --record it shows the newest settlement of a validator's
    public record, which anybody can read. `assay audit` says whether that record is true.
    """
    settings = invocation.load_settings()
    with starting(settings, problem_files=False):
        from assay.cli.status import run_status
    run_status(settings, record, hotkey, watch, as_json)
