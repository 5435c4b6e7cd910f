"""`assay wallet`."""

from typing import Annotated

import typer

from assay.cli.checks import require_wallet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, network
from assay.cli.start import starting

app = typer.Typer(cls=PagedGroup, no_args_is_help=True, help="Wallets: the SDK's key files.")


@command(app, "create", lambda s: (s.wallet,))
def create(
    invocation: Invocation,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="Do not encrypt the coldkey; only for test money.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the missing coldkey and hotkey. It asks for a password and never overwrites."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.account import run_wallet_create
    run_wallet_create(settings, no_password, as_json)


@command(app, "list", lambda s: (s.wallet.path,))
def list_(invocation: Invocation, as_json: AsJson = False) -> None:
    """List this machine's wallets with their public addresses."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.account import run_wallet_list
    run_wallet_list(settings, as_json)


@command(app, "show", lambda s: (*network(s), s.wallet))
def show(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""
    settings = invocation.load_settings()
    require_wallet(settings)
    with starting(settings, opens=True):
        from assay.cli.account import run_wallet_show
    run_wallet_show(settings, as_json)
