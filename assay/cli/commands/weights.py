"""`assay weights`."""

from pathlib import Path
from typing import Annotated

import typer

from assay.cli.checks import require_signer, require_subnet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, Yes, network
from assay.cli.start import confirm, starting

app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="Weights on chain.")


@command(app, "show", network)
def show(
    invocation: Invocation,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", metavar="DIR", help="Folder of a validator, to show its unsent weights too."
        ),
    ] = None,
    block: Annotated[int | None, typer.Option(help="Block to read [default: the newest].")] = None,
    as_json: AsJson = False,
) -> None:
    """Show every validator's weights, and with --dir the delivery of a validator's settlements."""
    settings = invocation.load_settings()
    require_subnet(settings)
    with starting(settings, opens=True):
        from assay.cli.subnet import run_weights_show
    run_weights_show(settings, directory, block, as_json)


@command(app, "set", lambda s: (*network(s), s.wallet))
def set_(
    invocation: Invocation,
    weights: Annotated[
        list[str], typer.Argument(metavar="UID=SHARE", help="Shares, such as 0=1 5=3.")
    ],
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the chain's rate limit allows it.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set a validator's weights by hand, and read them back.

    It scales them so that the largest is 65,535. `assay validate` sets weights by itself. Use
    this in the first epoch of a new subnet, or to replace a validator.
    """
    settings = invocation.load_settings()
    require_signer(settings, "hotkey")
    with starting(settings, opens=True):
        from assay.cli.subnet import run_weights_set
    run_weights_set(settings, weights, wait, confirm(yes, as_json), as_json)
