"""`assay localnet` and `assay faucet`: a development chain on this machine."""

from typing import Annotated

import typer

from assay.cli import start
from assay.cli.checks import require_folder, require_there, require_wallet
from assay.cli.command import Invocation, command
from assay.cli.help_pages import PagedGroup
from assay.cli.hub_names import open_model
from assay.cli.options import AsJson, Quiet
from assay.cli.start import starting

app = typer.Typer(cls=PagedGroup)

#: Seconds between two checks that the chain still runs.
_LOOK_S = 0.5


@command(
    app,
    "localnet",
    "assay localnet --dir assay-localnet",
    lambda s: (s.localnet, s.environments.files, s.log.format),
)
def localnet(invocation: Invocation, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Run a subnet on this machine: a development chain, a beacon, a store and parameters.

    The chain is a simulator that the unchanged SDK connects to. The command prints addresses and
    the next commands to type. It runs until Ctrl-C. After that or a kill, the same command
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
        from assay.cli.localnet_view import show_localnet
        from assay.lab.localnet.services import read_subnet, run_services
        from assay.neurons.program.logs import log_lines, wants_json
        from assay.neurons.program.loop import catch_signals
    asked, has_json = settings.localnet, wants_json(settings, as_json)
    subnet = read_subnet(asked, settings.environments.files)
    if not quiet:
        start.announce(f"starting chain, beacon and store in {asked.dir}", has_json)
    with (
        log_lines(has_json, quiet, "subtensor_devnet"),
        catch_signals(lambda: None) as stop,
        run_services(asked.dir, asked.block_time, asked.port, subnet) as services,
    ):
        show_localnet(asked.dir, services.localnet, quiet, as_json)
        while not stop.wait(_LOOK_S):
            services.require_running()


@command(
    app,
    "faucet",
    "assay faucet 1000 --localnet assay-localnet --wallet miner",
    lambda s: (s.chain.network, s.wallet),
)
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
