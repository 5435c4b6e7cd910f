"""`assay validate`."""

import typer

from assay.cli.checks import require_folder, require_signer
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet, program
from assay.cli.start import TORCH, has_json_lines, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "validate",
    "assay validate --netuid 3 --wallet mine --hotkey one",
    lambda s: (*program(s), s.validator.dir, s.validator.devices, s.cluster.address),
)
def validate(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Validate: judge every committed file, settle at every epoch, write weights on chain.

    It runs until Ctrl-C, and the same command continues: verdicts and weights are on disk before
    they count.
    """
    settings = invocation.load_settings()
    # without a store the record goes into its folder
    require_signer(settings, "hotkey", stores=settings.store.locator is not None)
    require_folder(settings.validator.dir, "validator")
    with starting(
        settings, loads=TORCH, opens=True, quiet=quiet, as_json=has_json_lines(settings, as_json)
    ):
        from assay.neurons.validator.program import run_validator
    run_validator(settings, as_json, quiet)
