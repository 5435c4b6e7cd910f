"""`assay calibrate`."""

from typing import TYPE_CHECKING

import typer

from assay.cli.checks import require_own_out
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet
from assay.cli.start import TORCH, starting

if TYPE_CHECKING:
    from assay.settings.sections import CalibrateSettings

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "calibrate",
    "assay calibrate --model model --a fp32-sdpa --b fp32-eager",
    lambda s: (s.calibrate, s.compute),
)
def calibrate(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Measure how much two implementations of the verification pass differ, and fit honest rates.

    Implementations are fp32-sdpa, fp32-eager and split3; bf16 and split2 are examples that fail. It
    writes calibration.json (a manifest names its digest), report.json and calibration.svg. Exit
    code 1 if no network may permit this pair, or if the report has findings to fix first.
    """
    settings = invocation.load_settings()
    require_pair(settings.calibrate)
    require_own_out(settings.calibrate.out, "calibrate")
    settings.calibrate.model = open_model(settings, settings.calibrate.model, quiet)
    with starting(settings, loads=TORCH, quiet=quiet, problem_files=False):
        from assay.cli.calibrate_view import show_calibrated, showing_steps
        from assay.lab import calibration
    with showing_steps(quiet) as step:
        done = calibration.calibrate(settings.calibrate, settings.compute, step)
    show_calibrated(done, as_json)
    return OK if done.is_fit else FINDING


def require_pair(asked: "CalibrateSettings") -> None:
    """Check that there are a checkpoint and two implementations."""
    from assay.settings.loading import ConfigError

    if asked.model is None:
        raise ConfigError("name the folder of a checkpoint: --model FOLDER")
    if asked.a == asked.b:
        raise ConfigError(f"--a and --b are both {asked.a}: name two implementations")
