"""`assay status`."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson
from assay.cli.start import starting

if TYPE_CHECKING:
    from assay.cli.status_view import Look

app = typer.Typer(cls=PagedGroup)


@command(app, "status", "assay status --watch", lambda s: (s.status.dir,))
def status(
    invocation: Invocation,
    record: Annotated[
        str | None,
        typer.Option(
            metavar="STORE", help="Show a validator's public record: a folder or a store URL."
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
    """Show the progress of each demo, miner, validator or trainer that runs here, or of one.

    It looks in the usual folders, also in those of a localnet, or in --dir. It shows window, phase
    and countdown, beacons, checkpoint, verdicts, weights, and whether the program is running and
    keeps up. With --record it shows the newest settlement of a validator's public record, which
    anybody can read. `assay audit` says whether that record is true. Without --dir, --json prints
    `localnet`, its description or null, and `runs`, folder → status.
    """
    settings = invocation.load_settings()
    with starting(settings, problem_files=False):
        from assay.cli.console import FIGURES, print_result
        from assay.cli.status_view import look_at_all, look_at_record, look_at_run, watch_status
        from assay.settings.loading import ConfigError, parse_hotkey
    if record is not None:
        validator = None if hotkey is None else parse_hotkey(hotkey, "--hotkey")
        look: Look = partial(look_at_record, record, validator)
    elif hotkey is not None:
        raise ConfigError("--hotkey chooses a record: name its store with --record")
    elif settings.status.dir is None:
        look = partial(look_at_all, settings)
    else:
        look = partial(look_at_run, settings.status.dir, settings.demo.out)
    if as_json and watch:
        raise ConfigError("--watch draws, --json prints one document: use one of the two")
    if watch:
        watch_status(look)
    document, drawn = look()
    print_result(document, as_json, drawn, FIGURES)
