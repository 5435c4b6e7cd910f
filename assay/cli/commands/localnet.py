"""`assay localnet` and `assay faucet`: a development chain on this machine."""

from typing import Annotated

import typer

from assay.cli.checks import require_folder, require_there, require_wallet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet
from assay.cli.start import starting

app = typer.Typer(cls=PagedGroup)


@command(app, "localnet", lambda s: (s.localnet, s.environments.files, s.log.format))
def localnet(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> int:
    """Run a subnet on this machine: a development chain, a beacon, a store and parameters.

    The chain is a simulator that the unchanged SDK connects to. At the start the command prints
    what the simulator lacks. It runs until Ctrl-C. After that or a kill, the same command
    continues. Other commands join with --localnet DIR. With --json it prints DIR/localnet.json when
    everything runs. With --recipe the subnet has that recipe's rules, problems and model, in short
    windows.
    """
    from assay.settings.loading import ConfigError

    settings = invocation.load_settings()
    require_folder(settings.localnet.dir, "localnet", alone=True)
    if settings.localnet.model is not None and settings.localnet.recipe is None:
        raise ConfigError("--model needs a recipe: name one with --recipe")
    settings.localnet.model = open_model(settings, settings.localnet.model, quiet)
    require_there(settings.localnet.model)
    with starting(settings):
        from assay.cli.localnet import run_localnet
    return run_localnet(settings, as_json, quiet)


@command(app, "faucet", lambda s: (s.chain.network, s.wallet))
def faucet(
    invocation: Invocation,
    amount: Annotated[str, typer.Argument(metavar="TAO", help="Amount.")] = "1000",
    as_json: AsJson = False,
) -> None:
    """Give a wallet's coldkey money, on a development chain of this machine."""
    settings = invocation.load_settings()
    _require_development_chain(settings.chain.network)
    require_wallet(settings)
    with starting(settings, opens=True):
        from assay.cli.account_view import show_received
        from assay.lab.localnet.development_calls import send_tao
        from assay.session.resources import connect, open_account, parse_tao
    rao, account = parse_tao(amount), open_account(settings)
    with connect(settings.chain) as connection:
        receipt = send_tao(connection, {account.coldkey: rao})
    show_received(account.coldkey, rao, receipt.block, as_json)


def _require_development_chain(network: str) -> None:
    """Check that the chain is on this machine: development keys sign for no other."""
    from assay.network.chain.target import ChainTarget
    from assay.settings.loading import ConfigError

    ChainTarget.require_named(network)
    if network != "local" and not ChainTarget((network,)).is_loopback:
        raise ConfigError(
            f"there is no faucet on {network}: name a development chain of this machine with "
            "--localnet DIR or --network ws://127.0.0.1:PORT"
        )
