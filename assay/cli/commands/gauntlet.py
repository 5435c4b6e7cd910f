"""`assay gauntlet`."""

import typer

from assay.cli.checks import require_own_out
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

app = typer.Typer(cls=PagedGroup)


@command(app, "gauntlet", "assay gauntlet --fast", lambda s: (s.gauntlet, s.compute))
def gauntlet(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Run every known way to cheat against the validators' own judge, and show what it earns.

    Each strategy runs on the shipped model and on a bench model of high entropy. From these
    measurements it resamples the income of 200 windows. Exit code 1 if a legal strategy is refused,
    or an illegal one earns more than honest work.
    """
    settings = invocation.load_settings()
    require_own_out(settings.gauntlet.out, "gauntlet")
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.cli.gauntlet_view import choose_report, show_gauntlet
        from assay.lab.gauntlet.run import play_gauntlet
    played = play_gauntlet(settings.gauntlet, settings.compute, choose_report(quiet))
    show_gauntlet(played, as_json)
    return FINDING if played.broken else OK
