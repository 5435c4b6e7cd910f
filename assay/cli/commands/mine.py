"""`assay mine`."""

from typing import Annotated

import typer

from assay.cli.checks import require_folder, require_signer
from assay.cli.command import Invocation, command
from assay.cli.exits import FINDING, OK
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Quiet, program
from assay.cli.start import TORCH, has_json_lines, starting

app = typer.Typer(cls=PagedGroup)


@command(
    app,
    "mine",
    "assay mine --netuid 3 --wallet mine --hotkey one --store URL --dry-run",
    lambda s: (*program(s), s.miner.dir, s.miner.groups, s.miner.engines, s.miner.engine_python),
)
def mine(
    invocation: Invocation,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and time some groups, but send nothing."),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Mine: generate each window's groups, upload them, commit, and judge them afterwards.

    It runs until Ctrl-C, and the same command continues. `assay status --dir DIR` shows each window
    with its verdict. --dry-run shows the price of registration and an estimate of the earnings, and
    exits with 1 if a problem would stop the miner.
    """
    settings = invocation.load_settings()
    require_signer(settings, "hotkey", stores=True)
    if not dry_run:
        require_folder(settings.miner.dir, "miner")
    with starting(
        settings, loads=TORCH, opens=True, quiet=quiet, as_json=has_json_lines(settings, as_json)
    ):
        from assay.neurons.miner.program import check_mining, run_miner
    if not dry_run:
        run_miner(settings, as_json, quiet)
        return OK
    from assay.cli.checks_view import render_dry_run
    from assay.cli.console import print_result

    result = check_mining(settings, as_json)
    print_result(result.to_json(), as_json, render_dry_run(result))
    return OK if result.ready else FINDING
