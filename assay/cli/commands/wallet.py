"""`assay wallet`."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.checks import require_wallet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.options import AsJson, network
from assay.cli.start import starting

if TYPE_CHECKING:
    from assay.settings.sections import WalletSettings

app = typer.Typer(
    cls=PagedGroup,
    no_args_is_help=True,
    help="Wallets: the SDK's key files.",
    epilog="assay wallet create --wallet mine --hotkey one",
)


@command(app, "create", "assay wallet create --wallet mine --hotkey one", lambda s: (s.wallet,))
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
        from assay.cli.account_view import show_mnemonic, show_wallet
        from assay.network.chain.wallets import create_wallet
    chosen = settings.wallet
    _require_password(chosen, no_password)
    encrypted = not no_password
    wallet = create_wallet(
        chosen.name, chosen.hotkey, chosen.path, show_mnemonic, encrypted=encrypted
    )
    show_wallet(chosen, wallet, as_json)


def _require_password(chosen: "WalletSettings", no_password: bool) -> None:
    """Check that a new coldkey's password can be asked for."""
    from assay.settings.loading import ConfigError

    if chosen.name.startswith("//"):
        raise ConfigError("development keys need no files: use them as they are")
    coldkey = chosen.path.expanduser() / chosen.name / "coldkey"  # only a new one gets a password
    if not no_password and not coldkey.exists() and not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask for a password on: run this on one, or leave the coldkey "
            "unencrypted with --no-password"
        )


@command(app, "list", "assay wallet list", lambda s: (s.wallet.path,))
def list_(invocation: Invocation, as_json: AsJson = False) -> None:
    """List this machine's wallets with their public addresses."""
    settings = invocation.load_settings()
    with starting(settings):
        from assay.cli.account_view import show_wallets
    show_wallets(settings.wallet, as_json)


@command(
    app,
    "show",
    "assay wallet show --netuid 3 --wallet mine --hotkey one",
    lambda s: (*network(s), s.wallet),
)
def show(invocation: Invocation, as_json: AsJson = False) -> None:
    """Show a wallet's addresses, its balance, and whether its hotkey holds a uid."""
    settings = invocation.load_settings()
    require_wallet(settings)
    with starting(settings, opens=True):
        from assay.cli.account_view import show_account
        from assay.network.chain.acts import find_uid
        from assay.network.chain.subnet_owner import get_balance
        from assay.session.resources import connect, open_account, open_chain
    account, uid, netuid = open_account(settings), None, settings.chain.netuid
    if netuid is None:
        with connect(settings.chain) as connection:
            balance = get_balance(connection, account.coldkey)
    else:
        with open_chain(settings.chain) as chain:
            balance, uid = chain.get_balance(account.coldkey), find_uid(chain, account.hotkey)
    show_account(account, balance, netuid, uid, as_json)
